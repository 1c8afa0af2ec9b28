//! A nats-server and services of the benchmark's own, each its own process.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use anyhow::Context;
use rota_bus::{Bus, BusOptions, Prefix};
use rota_local::{NatsServer, ProcessSpec, Restart, ServerOptions, Supervisor};

use super::Args;

const STOP_GRACE: Duration = Duration::from_secs(5);
const LINES_MAX: usize = 10_000;

pub(crate) struct BenchFleet {
    bus: Bus,
    supervisor: Supervisor,
    server: NatsServer,
}

impl BenchFleet {
    pub(crate) async fn start(args: &Args) -> anyhow::Result<Self> {
        let server = NatsServer::start(ServerOptions::default()).await?;
        let (mut supervisor, mut lines) = Supervisor::new(LINES_MAX);
        let mut log = args
            .log
            .as_ref()
            .map(File::create)
            .transpose()
            .context("creating the log")?;
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
        for (name, flags) in processes(args) {
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
fn processes(args: &Args) -> Vec<(String, Vec<String>)> {
    let service = |name: &str| (name.to_owned(), vec![name.to_owned()]);
    let mut all = vec![
        service("submitter"),
        service("scheduler"),
        service("monitor"),
    ];
    for number in 1..=args.workers {
        let name = format!("w{number}");
        let flags = [
            "worker",
            "--builtin",
            "--name",
            &name,
            "--slots",
            &args.slots.to_string(),
        ];
        all.push((name.clone(), flags.map(str::to_owned).to_vec()));
    }
    all
}
