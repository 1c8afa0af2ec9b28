//! A worker inside the test's own process.

use std::time::Duration;

use anyhow::{Context, Result};
use rota_local::NatsServer;
use rota_worker::{RunError, Shutdown, WorkerBuilder};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::scheduler::{LIMIT, Scheduler};

pub(crate) struct Single {
    shutdown: Shutdown,
    running: JoinHandle<Result<(), RunError>>,
}

impl Single {
    pub(crate) async fn start(server: &NatsServer, builder: WorkerBuilder) -> Self {
        let worker = builder
            .nats(&server.url())
            .name("test")
            .grace(Duration::from_millis(100))
            .build()
            .expect("a good builder");
        let shutdown = Shutdown::new();
        let running = tokio::spawn(worker.run_until(shutdown.clone()));
        Self { shutdown, running }
    }

    /// Ends a worker of which all is settled.
    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.drain();
        let ended = timeout(LIMIT, self.running).await;
        Ok(ended.context("the worker does not end")???)
    }

    /// Ends a worker whose last outcomes the scheduler has yet to settle.
    pub(crate) async fn stop_after(self, scheduler: &mut Scheduler) -> Result<()> {
        self.shutdown.drain();
        scheduler.settle_until_gone().await?;
        self.stop().await
    }
}
