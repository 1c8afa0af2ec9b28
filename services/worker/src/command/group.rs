//! A process group and its leader, from spawn to the last of it.
//!
//! What must hold: the group is only ever signalled before its leader was reaped. Until then the
//! leader's process id, which is also the group's, cannot be given to anybody else. So the end of
//! the leader is noticed through a pidfd, then the rest of the group is killed, then the leader is
//! reaped, in this order. Dropping the group kills it.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tracing::{debug, warn};

pub(super) struct Group {
    leader: Child,
    id: Pid,
    /// Readable when the leader has ended. `None` where there are no pidfds.
    end: Option<AsyncFd<OwnedFd>>,
    reaped: bool,
}

/// Our ends of the leader's pipes.
pub(super) struct ChildPipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl Group {
    /// Starts the command as the leader of a group of its own. All three pipes must be set up.
    pub(super) fn spawn(command: &mut Command) -> io::Result<(Self, ChildPipes)> {
        let mut leader = command.process_group(0).spawn()?;
        let pipes = ChildPipes {
            stdin: leader.stdin.take().expect("stdin is piped"),
            stdout: leader.stdout.take().expect("stdout is piped"),
            stderr: leader.stderr.take().expect("stderr is piped"),
        };
        let id = leader.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let id = id.expect("a child that was not waited for has an id");
        Ok((Self { leader, id, end: watch_end(id), reaped: false }, pipes))
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
    pub(super) async fn ended(&mut self) -> ExitStatus {
        if let Some(end) = &self.end
            && end.readable().await.is_ok()
        {
            self.signal(Signal::KILL);
            return self.reap().await;
        }
        // Without a pidfd the group's id is free for reuse for the moment between these two lines.
        let status = self.reap().await;
        let _ = kill_process_group(self.id, Signal::KILL);
        status
    }

    async fn reap(&mut self) -> ExitStatus {
        match self.leader.wait().await {
            Ok(status) => {
                self.reaped = true;
                status
            }
            Err(error) => {
                warn!(group = self.id.as_raw_nonzero(), %error, "could not wait for the leader");
                std::future::pending().await
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The runtime reaps a child that nobody waits for.
        self.signal(Signal::KILL);
    }
}

#[cfg(target_os = "linux")]
fn watch_end(leader: Pid) -> Option<AsyncFd<OwnedFd>> {
    use rustix::process::{PidfdFlags, pidfd_open};

    let pidfd = pidfd_open(leader, PidfdFlags::empty()).ok()?;
    AsyncFd::with_interest(pidfd, Interest::READABLE).ok()
}

#[cfg(not(target_os = "linux"))]
fn watch_end(_leader: Pid) -> Option<AsyncFd<OwnedFd>> {
    None
}
