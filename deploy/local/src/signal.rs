//! The signals that this crate sends, and who gets them.
//!
//! Each child leads a process group of its own. A request to end goes to the child alone, which may
//! want what it has started to finish while it drains; what leaves no choice goes to the whole
//! group, so that nothing is left behind.

use std::io;

use rustix::process::{Pid, kill_process, kill_process_group};

/// A signal for a child process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ask the process itself to end: services drain.
    Terminate,
    /// What Ctrl-C sends, to the process itself.
    Interrupt,
    /// End at once, with everything in its group.
    Kill,
    /// Stand still, as a machine does that has lost its processor or its network. Threads stop one
    /// by one, shortly after the signal was sent.
    Pause,
    /// Go on after [`Signal::Pause`].
    Resume,
}

impl From<Signal> for rustix::process::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Terminate => Self::TERM,
            Signal::Interrupt => Self::INT,
            Signal::Kill => Self::KILL,
            Signal::Pause => Self::STOP,
            Signal::Resume => Self::CONT,
        }
    }
}

/// Signals the one process. The caller must not have reaped it yet, or the id may be another's by
/// now.
pub(crate) fn signal_process(pid: u32, signal: Signal) -> io::Result<()> {
    Ok(kill_process(parse_pid(pid)?, signal.into())?)
}

/// Signals a child that leads a group: it alone, or all of the group.
pub(crate) fn signal_leader(leader: u32, signal: Signal) -> io::Result<()> {
    match signal {
        Signal::Terminate | Signal::Interrupt => signal_process(leader, signal),
        Signal::Kill | Signal::Pause | Signal::Resume => signal_group(leader, signal),
    }
}

/// Signals the group that `leader` leads. A group that is already gone is no error.
pub(crate) fn signal_group(leader: u32, signal: Signal) -> io::Result<()> {
    match kill_process_group(parse_pid(leader)?, signal.into()) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn parse_pid(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("no process id: {pid}")))
}
