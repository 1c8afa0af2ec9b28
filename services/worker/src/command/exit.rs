//! What the exit of a command means for its task.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use bytes::Bytes;

use crate::ended::{Exit, Verdict};

/// `EX_DATAERR` of sysexits.h: the input is wrong, so no other attempt will do better.
const EX_DATAERR: i32 = 65;

pub(super) fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => unreachable!("a process that was waited for has exited or was killed"),
    }
}

pub(super) fn verdict_of(exit: Exit, output: Bytes) -> Verdict {
    match exit {
        Exit::Code(0) => Verdict::Completed(output),
        Exit::Code(EX_DATAERR) => Verdict::fatal("exited with code 65 (bad data)"),
        Exit::Code(code) => Verdict::retry(format!("exited with code {code}")),
        Exit::Signal(signal) => Verdict::retry(format!("killed by signal {signal}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ended::Retry;

    fn verdict(wait_status: i32) -> Verdict {
        verdict_of(exit_of(ExitStatus::from_raw(wait_status)), "out".into())
    }

    #[test]
    fn only_exit_0_completes() {
        assert_eq!(verdict(0), Verdict::Completed("out".into()));
    }

    #[test]
    fn only_exit_65_fails_for_good() {
        for code in 1..=255 {
            let Verdict::Failed { retry, reason } = verdict(code << 8) else {
                panic!("code {code} must fail");
            };
            assert_eq!(retry == Retry::Never, code == 65, "{code}");
            assert!(reason.contains(&code.to_string()), "{reason}");
        }
    }

    #[test]
    fn death_by_a_signal_is_retried() {
        let reason = "killed by signal 11".to_owned();
        assert_eq!(
            verdict(11),
            Verdict::Failed {
                retry: Retry::Later,
                reason
            }
        );
    }
}
