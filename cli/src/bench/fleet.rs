//! A nats-server and services of the benchmark's own, each its own process.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use anyhow::Context;
use rota_bus::{Bus, BusOptions, Prefix};
use rota_local::{NatsServer, ProcessSpec, Restart, ServerOptions, Supervisor};

const STOP_GRACE: Duration = Duration::from_secs(5);
const LINES_MAX: usize = 10_000;

/// What is started.
#[derive(Debug)]
pub(crate) struct FleetPlan {
    pub(crate) workers: u32,
    /// Of each worker.
    pub(crate) slots: u32,
    /// Further flags of the scheduler.
    pub(crate) scheduler: Vec<String>,
    /// Where the services write their logs.
    pub(crate) log: Option<File>,
}

pub(crate) struct BenchFleet {
    bus: Bus,
    supervisor: Supervisor,
    server: NatsServer,
}

impl BenchFleet {
    pub(crate) async fn start(mut plan: FleetPlan) -> anyhow::Result<Self> {
        let server = NatsServer::start(ServerOptions::default()).await?;
        let (mut supervisor, mut lines) = Supervisor::new(LINES_MAX);
        let mut log = plan.log.take();
        let reading = async move {
            while let Some(line) = lines.recv().await {
                if let Some(log) = &mut log {
                    // A log that cannot be written must not stop the measurement.
                    let _ = writeln!(log, "[{}] {}", line.process, line.line);
                }
            }
        };
        tokio::spawn(reading);
        let program = std::env::current_exe().context("finding this program")?;
        for (name, flags) in processes(&plan) {
            let mut spec = ProcessSpec::new(name, program.clone());
            spec.args = flags.into_iter().map(Into::into).collect();
            spec.args.extend(["--nats".into(), server.url().into()]);
            spec.restart = Restart::Never;
            supervisor.start(spec)?;
        }
        let options = BusOptions {
            servers: server.url(),
            credentials: None,
            name: "rota-bench".to_owned(),
            prefix: Prefix::default(),
            inbox_prefix: None,
        };
        let bus = Bus::connect(options).await?;
        bus.ensure_streams(rota_bus::StreamOptions::default())
            .await?;
        Ok(Self {
            bus,
            supervisor,
            server,
        })
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.bus
    }

    pub(crate) async fn stop(&mut self) {
        self.supervisor
            .stop_all_in_order(&["submitter"], STOP_GRACE)
            .await;
        // The store is temporary and goes with the value; a server that does not stop is killed with it.
        let _ = self.server.stop().await;
    }
}

/// Every service as a subcommand of this program.
fn processes(plan: &FleetPlan) -> Vec<(String, Vec<String>)> {
    let service = |name: &str| (name.to_owned(), vec![name.to_owned()]);
    let (name, mut flags) = service("scheduler");
    flags.extend(plan.scheduler.iter().cloned());
    let mut all = vec![service("submitter"), (name, flags), service("monitor")];
    for number in 1..=plan.workers {
        let name = format!("w{number}");
        let flags = [
            "worker",
            "--builtin",
            "--name",
            &name,
            "--slots",
            &plan.slots.to_string(),
        ];
        all.push((name.clone(), flags.map(str::to_owned).to_vec()));
    }
    all
}
