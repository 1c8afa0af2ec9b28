//! Tells the person at the terminal that a service has died and lives again.

use std::time::Duration;

use rota_local::{ProcessHandle, Status};

use super::console::Console;

/// A wait must end; this one begins anew.
const WAIT: Duration = Duration::from_secs(3_600);

/// Until the process is stopped for good.
pub(super) async fn tell_restarts(process: ProcessHandle, console: Console) {
    let name = process.name().to_owned();
    let mut told = process.restarts();
    loop {
        let changed = process
            .wait_for(|status| !matches!(status, Status::Running { .. }), WAIT)
            .await;
        if let Some(Status::Waiting { last }) = changed {
            let how = last.map_or("cannot be started".to_owned(), |last| {
                format!("ended with {last}")
            });
            console.warn(&name, &format!("{how}, starting it again"));
        }
        let running = process
            .wait_for(|status| !matches!(status, Status::Waiting { .. }), WAIT)
            .await;
        let restarts = process.restarts();
        if let Some(Status::Running { pid }) = running
            && restarts > told
        {
            told = restarts;
            console.tell(
                &name,
                &format!("runs again as process {pid}, start number {}", restarts + 1),
            );
        }
        if process.status().is_final() {
            return;
        }
    }
}
