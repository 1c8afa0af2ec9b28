//! The processes of a worker's commands, so that none of them outlives the worker.
//!
//! Each command is the leader of a process group and stands in these books from its start until it is
//! about to be reaped. The worker's guardian hears of each entry; and the worker itself kills all that
//! stand here when it ends without waiting for them.
//!
//! What must hold: a group is struck off before its leader is reaped, for then its number may become
//! another's; who is entered after the end is killed at once; and nothing here ever waits for the
//! guardian.

use std::collections::HashSet;
use std::io::{self, PipeWriter, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use rota_wire::WorkerId;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::sync::Notify;

use crate::guardian::line::Line;

/// The books of one worker. Clones are the same books.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes {
    worker: Option<WorkerId>,
    books: Arc<Mutex<Books>>,
    /// The guardian takes no more.
    deaf: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Books {
    groups: HashSet<Pid>,
    state: State,
    guardian: Option<PipeWriter>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Over,
}

/// Ends all processes when it is dropped.
#[derive(Debug)]
pub(crate) struct EndOnDrop(Processes);

impl Processes {
    /// Of the commands of this worker.
    pub(crate) fn of(worker: WorkerId) -> Self {
        Self {
            worker: Some(worker),
            ..Self::default()
        }
    }

    /// The worker whose they are; none where attempts are run without one.
    pub(crate) fn worker(&self) -> Option<&WorkerId> {
        self.worker.as_ref()
    }

    /// Ends all when the value is dropped.
    #[must_use]
    pub(crate) fn end_on_drop(&self) -> EndOnDrop {
        EndOnDrop(self.clone())
    }

    pub(super) fn enter(&self, group: Pid) {
        let mut books = self.books();
        match books.state {
            State::Open => {
                books.groups.insert(group);
                self.tell(&mut books, &Line::Group(group));
            }
            State::Over => kill(group),
        }
    }

    pub(super) fn strike(&self, group: Pid) {
        let mut books = self.books();
        if books.groups.remove(&group) {
            self.tell(&mut books, &Line::Over(group));
        }
    }

    /// From now on this guardian hears of all groups, first of those that there are.
    pub(crate) fn attach(&self, guardian: PipeWriter) {
        let mut books = self.books();
        // Told of none: the worker is at its end, and this one must learn it from the end of the pipe.
        if books.state == State::Over {
            return;
        }
        books.guardian = Some(guardian);
        // That the one before it was deaf says nothing of this one.
        let _ = self.deaf.notified().now_or_never();
        let groups: Vec<Pid> = books.groups.iter().copied().collect();
        for group in groups {
            self.tell(&mut books, &Line::Group(group));
        }
    }

    /// Lets go of a guardian that is dead: for a living one it would mean the death of the worker.
    pub(crate) fn detach(&self) {
        self.books().guardian = None;
    }

    /// Tells the guardian that the worker leaves in order, if it takes that.
    pub(crate) fn say_goodbye(&self) -> io::Result<()> {
        let mut books = self.books();
        let pipe = books.guardian.as_mut();
        pipe.map_or(Ok(()), |pipe| {
            pipe.write_all(Line::Goodbye.to_string().as_bytes())
        })
    }

    /// Waits until a guardian does not take what it is told.
    pub(crate) async fn deaf(&self) {
        self.deaf.notified().await;
    }

    /// A line is written whole or not at all, as it is so short.
    fn tell(&self, books: &mut Books, line: &Line) {
        if let Some(pipe) = &mut books.guardian
            && pipe.write_all(line.to_string().as_bytes()).is_err()
        {
            self.deaf.notify_one();
        }
    }

    fn end(&self) {
        let mut books = self.books();
        books.state = State::Over;
        books.groups.iter().copied().for_each(kill);
        // The end of the pipe tells the guardian that the worker is over, with no goodbye.
        books.guardian = None;
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Whatever panicked, each change is whole.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn kill(group: Pid) {
    // It can only fail for a group that is gone.
    let _ = kill_process_group(group, Signal::KILL);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn sleeper() -> (Child, Pid) {
        let mut command = Command::new("sleep");
        let child = command.arg("600").stdin(Stdio::null()).process_group(0);
        let child = child.spawn().expect("there is a sleep");
        let group = Pid::from_raw(child.id().cast_signed()).expect("not 0");
        (child, group)
    }

    fn killed(mut child: Child) -> bool {
        child.wait().expect("a child").signal() == Some(9)
    }

    #[test]
    fn the_end_kills_all_groups_and_each_that_comes_after_it() {
        let processes = Processes::default();
        let end = processes.end_on_drop();
        let (early, early_group) = sleeper();
        let (mut gone, gone_group) = sleeper();
        processes.enter(early_group);
        processes.enter(gone_group);
        processes.strike(gone_group);
        drop(end);
        assert!(killed(early));
        assert_eq!(gone.try_wait().unwrap(), None, "it may be another's by now");
        gone.kill().unwrap();
        gone.wait().unwrap();
        let (late, late_group) = sleeper();
        processes.enter(late_group);
        assert!(killed(late));
    }

    #[test]
    fn a_guardian_is_told_of_what_runs_already_and_of_all_that_follows() {
        let processes = Processes::default();
        let group = |id| Pid::from_raw(id).expect("not 0");
        processes.enter(group(70_001));
        let (mut theirs, ours) = io::pipe().unwrap();
        processes.attach(ours);
        processes.enter(group(70_002));
        processes.strike(group(70_001));
        processes.strike(group(70_001));
        processes.say_goodbye().unwrap();
        processes.detach();
        processes.enter(group(70_003));
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "group 70001\ngroup 70002\nover 70001\ngoodbye\n");
    }

    #[tokio::test]
    async fn a_guardian_that_does_not_read_holds_up_nobody_and_is_found_out() {
        let processes = Processes::default();
        let (theirs, ours) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&ours, true).unwrap();
        processes.attach(ours);
        for id in 100_000..110_000 {
            processes.enter(Pid::from_raw(id).expect("not 0"));
        }
        processes.deaf().await;
        assert!(processes.say_goodbye().is_err());
        drop(theirs);
    }
}
