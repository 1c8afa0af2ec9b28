//! One installation: a nats-server of its own, the services that a test chooses, and a folder for their files.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rota_bus::{
    Bus, BusOptions, Expect, LaneState, Message, Prefix, StreamName, StreamOptions, StreamState,
};
use rota_local::{NatsServer, ServerOptions};
use rota_wire::headers::MSG_ID;
use rota_wire::result::{FinalState, TaskResult};
use rota_wire::{Headers, Kind, TaskId};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::binaries::{Service, built};
use crate::handler::Handler;
use crate::leftovers::{MARK, end_all, processes_with};
use crate::process::{Log, Process};
use crate::raw::RawClient;
use crate::wait::{LIMIT, wait_for};

/// Installations that run at the same time, so that none is starved on a small machine.
const AT_ONCE_MAX: usize = 2;
/// Submissions whose answers are awaited together.
const SUBMIT_BATCH: usize = 1_000;

static PLACES: Semaphore = Semaphore::const_new(AT_ONCE_MAX);

/// A running installation. Dropping it ends everything that runs in it.
#[derive(Debug)]
pub struct Installation {
    /// Its server, to be stopped and started again.
    pub server: NatsServer,
    /// A connection to it.
    pub bus: Bus,
    folder: TempDir,
    logs: Mutex<Vec<Arc<Log>>>,
    _place: SemaphorePermit<'static>,
}

impl Installation {
    /// A server with Rota's streams, and no service yet.
    pub async fn start() -> Self {
        Self::start_on(ServerOptions::default()).await
    }

    /// The same on a server with options of its own.
    pub async fn start_on(options: ServerOptions) -> Self {
        built().await;
        let place = PLACES.acquire().await.expect("it is never closed");
        let server = NatsServer::start(options).await;
        let server = server.unwrap_or_else(|error| panic!("no nats-server: {error:?}"));
        let bus = Bus::connect(BusOptions {
            servers: server.url(),
            credentials: None,
            name: "end-to-end test".to_owned(),
            prefix: Prefix::default(),
            inbox_prefix: None,
        });
        let bus = bus.await.expect("the server has just answered");
        let streams = bus.ensure_streams(StreamOptions::default()).await;
        streams.expect("the store is empty");
        Self {
            server,
            bus,
            folder: TempDir::new().expect("there is room for a folder"),
            logs: Mutex::default(),
            _place: place,
        }
    }

    /// A submitter and a scheduler, beside the server.
    pub async fn start_with_head() -> (Self, [Process; 2]) {
        let rota = Self::start().await;
        let head = [Service::Submitter, Service::Scheduler].map(|service| rota.run(service, &[]));
        (rota, head)
    }

    /// Starts a service with flags of its own.
    pub fn run(&self, service: Service, flags: &[&str]) -> Process {
        let name = format!("{service:?}").to_lowercase();
        self.start_process(&name, service, &self.server.url(), flags)
    }

    /// Starts a worker that is heard every half second, as by default.
    pub fn worker(&self, name: &str, flags: &[&str]) -> Process {
        self.worker_at(&self.server.url(), name, flags)
    }

    /// Starts a worker that finds the server elsewhere.
    pub fn worker_at(&self, url: &str, name: &str, flags: &[&str]) -> Process {
        self.start_process(
            name,
            Service::Worker,
            url,
            &[&["--name", name], flags].concat(),
        )
    }

    fn start_process(&self, name: &str, service: Service, url: &str, flags: &[&str]) -> Process {
        let folder = self.folder();
        // The last two as people set them; they are none of a command's business.
        let variables = [
            (MARK, folder.as_str()),
            ("ROTA_LOG", "info"),
            ("NATS_URL", url),
        ];
        let process = Process::start_in(service, name, url, flags, &variables);
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.push(process.log_handle());
        process
    }

    /// Writes a handlers file, and gives its path for `--handlers`.
    pub fn handlers(&self, name: &str, handlers: &[Handler]) -> String {
        let path = self.path(&format!("{name}.toml"));
        let text = Handler::file(handlers, self.folder.path());
        fs::write(&path, text).expect("the folder is there");
        path.display().to_string()
    }

    /// Makes an empty file, for which a command may wait.
    pub fn touch(&self, name: &str) {
        fs::write(self.path(name), "").expect("the folder is there");
    }

    /// The lines of a file, into which commands may write; none while there is no file.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until a file has so many lines.
    pub async fn until_lines(&self, name: &str, count: usize, limit: Duration) -> Vec<String> {
        let what = format!("{count} lines in `{name}`");
        wait_for(what, limit, async || {
            let lines = self.lines(name);
            let enough = lines.len() >= count;
            if enough {
                Ok(lines)
            } else {
                Err(format!("{} lines", lines.len()))
            }
        })
        .await
    }

    /// Where a file of that name lies, or would.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn folder(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// How many processes of a task's commands run.
    pub fn processes_of(&self, task: &TaskId) -> usize {
        let entries = [
            format!("{MARK}={}", self.folder()),
            format!("ROTA_TASK_ID={task}"),
        ];
        processes_with(&entries).len()
    }

    /// A client that speaks plain lines.
    pub fn raw(&self) -> RawClient {
        RawClient::connect(self.server.port())
    }

    /// Submits a task, and waits until it is stored.
    pub async fn submit(
        &self,
        kind: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> TaskId {
        let headers: Headers = headers.iter().copied().collect();
        let chosen = headers.value(MSG_ID).map(str::to_owned);
        let message = Message {
            subject: self.bus.subjects().submit(&kind_of(kind)),
            headers,
            payload: body.into(),
        };
        let sent = self.bus.store(message, Expect::Nothing).await;
        let stored = sent.expect("the server takes it").done().await;
        let sequence = stored.expect("the server stores it").seq();
        match chosen {
            Some(id) => TaskId::parse(&id).expect("a test chooses a proper id"),
            None => TaskId::from_sequence(sequence),
        }
    }

    /// Submits many tasks with the same body, and waits until all are stored.
    pub async fn submit_many(
        &self,
        kind: &str,
        headers: &[(&'static str, &str)],
        body: &'static str,
        count: usize,
    ) -> Vec<TaskId> {
        let mut ids = Vec::with_capacity(count);
        while ids.len() < count {
            let mut batch = Vec::new();
            for _ in 0..SUBMIT_BATCH.min(count - ids.len()) {
                let message = Message {
                    subject: self.bus.subjects().submit(&kind_of(kind)),
                    headers: headers.iter().copied().collect(),
                    payload: Bytes::from_static(body.as_bytes()),
                };
                let sent = self.bus.store(message, Expect::Nothing).await;
                batch.push(sent.expect("the server takes it"));
            }
            for storing in batch {
                let stored = storing.done().await.expect("the server stores it");
                ids.push(TaskId::from_sequence(stored.seq()));
            }
        }
        ids
    }

    /// The result of a task, if it has one yet.
    pub async fn try_result(&self, id: &TaskId) -> Option<(TaskResult, Bytes)> {
        // While the server is started again nobody answers.
        let found = self.bus.result(id).await.ok().flatten()?;
        Some((found.result.expect("Rota writes all headers"), found.body))
    }

    /// Waits for the result of a task.
    pub async fn result(&self, id: &TaskId) -> (TaskResult, Bytes) {
        let what = format!("the result of task {id}");
        wait_for(what, LIMIT, async || {
            self.try_result(id).await.ok_or_else(|| "none".to_owned())
        })
        .await
    }

    /// The results of tasks that have ended: each completed.
    pub async fn completed(&self, ids: &[TaskId]) -> Vec<TaskResult> {
        let mut results = Vec::with_capacity(ids.len());
        for id in ids {
            let (result, _) = self.result(id).await;
            assert_eq!(result.state, FinalState::Completed, "{result:?}");
            results.push(result);
        }
        results
    }

    /// The state of a stream.
    pub async fn state(&self, stream: StreamName) -> Option<StreamState> {
        self.bus.stream_state(stream).await.ok()
    }

    /// The state of a lane, if any task is in it.
    pub async fn lane(&self, kind: &str, priority: u8) -> Option<LaneState> {
        let lanes = self.bus.lane_states().await.ok()?;
        lanes.into_iter().find(|state| {
            state.lane.kind.as_str() == kind && state.lane.priority.level() == priority
        })
    }

    /// Waits until a stream has been given so many messages since it was made.
    pub async fn until_stored(&self, stream: StreamName, messages: u64) {
        let what = format!("{stream:?} is given {messages} messages");
        wait_for(what, LIMIT, async || match self.state(stream).await {
            Some(state) if state.last_sequence >= messages => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }

    /// Kills the server as a crash would, and starts it again on the same port and store.
    pub async fn restart_server(&mut self) {
        self.server.kill().expect("the server can be killed");
        let started = self.server.start_again().await;
        started.unwrap_or_else(|error| panic!("no nats-server again: {error:?}"));
    }

    /// Starts the server again as [`restart_server`](Self::restart_server) does, with an empty store.
    pub async fn wipe_server(&mut self) {
        self.server.kill().expect("the server can be killed");
        fs::remove_dir_all(self.server.store().join("jetstream")).expect("tasks were kept there");
        let started = self.server.start_again().await;
        started.unwrap_or_else(|error| panic!("no nats-server again: {error:?}"));
    }

    /// Waits until so many tasks have ended, and nothing is left in any queue; then each must have ended
    /// exactly once.
    pub async fn until_settled(&self, tasks: u64, limit: Duration) {
        let what = format!("{tasks} results, and empty queues");
        let results = wait_for(what, limit, async || {
            let unanswered = || "the server does not answer".to_owned();
            let mut queued = Vec::new();
            for stream in [StreamName::Intake, StreamName::Schedule, StreamName::Ready] {
                let state = self.state(stream).await.ok_or_else(unanswered)?;
                queued.push((stream, state.messages));
            }
            let results = self
                .state(StreamName::Results)
                .await
                .ok_or_else(unanswered)?;
            let empty = queued.iter().all(|(_, messages)| *messages == 0);
            if empty && results.messages >= tasks {
                Ok(results)
            } else {
                Err(format!("{} results, {queued:?}", results.messages))
            }
        })
        .await;
        // A second result of a task would have replaced the first.
        assert_eq!(
            (results.messages, results.last_sequence),
            (tasks, tasks),
            "each ends once"
        );
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if thread::panicking() {
            let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
            for log in logs.iter() {
                log.print();
            }
        }
        end_all(&self.folder());
    }
}

fn kind_of(text: &str) -> Kind {
    Kind::parse(text).expect("a test submits proper kinds through the bus")
}
