//! A process group and its leader, from spawn to the last of it.
//!
//! What must hold: the group is only ever signalled before its leader was reaped. Until then the
//! leader's process id, which is also the group's, cannot be given to anybody else. So the end of
//! the leader is noticed without reaping it, then the rest of the group is killed, then the leader
//! is reaped, in this order. Dropping the group kills it.

use std::io;
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::signal::unix::{self, SignalKind, signal};
use tracing::debug;

use super::processes::Processes;

pub(super) struct Group {
    leader: Child,
    id: Pid,
    /// Tells that some child of the worker has changed, perhaps this one.
    children: unix::Signal,
    reaped: bool,
    processes: Processes,
}

/// Our ends of the leader's pipes.
pub(super) struct ChildPipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl Group {
    /// Starts the command as the leader of a group of its own. All three pipes must be set up.
    pub(super) fn spawn(
        command: &mut Command,
        processes: &Processes,
    ) -> io::Result<(Self, ChildPipes)> {
        // Before the leader is there, so that its end cannot be missed.
        let children = signal(SignalKind::child())?;
        let mut leader = command.process_group(0).spawn()?;
        let pipes = ChildPipes {
            stdin: leader.stdin.take().expect("stdin is piped"),
            stdout: leader.stdout.take().expect("stdout is piped"),
            stderr: leader.stderr.take().expect("stderr is piped"),
        };
        let id = leader
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let id = id.expect("a child that was not waited for has an id");
        processes.enter(id);
        Ok((
            Self {
                leader,
                id,
                children,
                reaped: false,
                processes: processes.clone(),
            },
            pipes,
        ))
    }

    pub(super) fn signal(&self, signal: Signal) {
        if self.reaped {
            return;
        }
        if let Err(error) = kill_process_group(self.id, signal) {
            debug!(group = self.id.as_raw_nonzero(), ?signal, %error, "could not signal the group");
        }
    }

    /// Waits for the leader's end, and kills what it left behind. Safe to drop and call again.
    ///
    /// An error means that somebody else has reaped the leader: its group is nobody's then.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let ended = self.leader_ended().await;
        if ended.is_ok() {
            self.signal(Signal::KILL);
        }
        self.processes.strike(self.id);
        let status = self.leader.wait().await;
        self.reaped = true;
        ended.and(status)
    }

    /// Waits for the leader's end without reaping it.
    async fn leader_ended(&mut self) -> io::Result<()> {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while !self.reaped {
            match waitid(WaitId::Pid(self.id), look) {
                Ok(Some(_)) => break,
                Ok(None) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.children.recv().await;
        }
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The runtime reaps a child that nobody waits for.
        self.signal(Signal::KILL);
        self.processes.strike(self.id);
    }
}
