//! One `rota up` as a value: its lines, its children, and clients that talk to it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// Longer than a worker takes to give up its tasks.
const LEFT_BEHIND_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

pub(crate) struct Installation {
    up: Child,
    lines: Receiver<String>,
    /// All lines so far.
    pub(crate) seen: Vec<String>,
    pub(crate) url: String,
    /// All that were ever seen as children, so that none is left behind by a test that fails.
    children: Vec<(u32, String)>,
    store: Option<TempDir>,
}

impl Installation {
    /// Starts one on a free port, and waits until a scheduler assigns.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), flags)
    }

    /// Another one with the store of this one, which has ended.
    pub(crate) fn start_again(mut self, flags: &[&str]) -> Self {
        let store = self.store.take().unwrap();
        Self::start_in(store, flags)
    }

    fn start_in(store: TempDir, flags: &[&str]) -> Self {
        let folder = store.path().to_str().unwrap().to_owned();
        let mut command = rota(&["up", "--port", "0", "--store", &folder]);
        let mut up = command.args(flags).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(up.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut installation = Self {
            up,
            lines,
            seen: Vec::new(),
            url: String::new(),
            children: Vec::new(),
            store: Some(store),
        };
        let told = installation.line_with(&["nats-server", "nats://127.0.0.1:"]);
        let url = told
            .split_whitespace()
            .find(|word| word.starts_with("nats://"));
        installation.url = url.unwrap().to_owned();
        installation.line_with(&["scheduler", "roll called, assigning"]);
        installation
    }

    /// The next line with all these texts.
    pub(crate) fn line_with(&mut self, texts: &[&str]) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {texts:?} in {:#?}", self.seen);
            };
            self.seen.push(line.clone());
            if texts.iter().all(|text| line.contains(text)) {
                return line;
            }
        }
    }

    /// The first line with all these texts, which may have been seen while another was waited for.
    pub(crate) fn line_ever_with(&mut self, texts: &[&str]) -> String {
        let fits = |line: &&String| texts.iter().all(|text| line.contains(text));
        match self.seen.iter().find(fits) {
            Some(line) => line.clone(),
            None => self.line_with(texts),
        }
    }

    /// A client command for this installation, to its end.
    pub(crate) fn client(&self, args: &[&str]) -> Output {
        rota(args).args(["--nats", &self.url]).output().unwrap()
    }

    pub(crate) fn client_with_input(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = rota(args);
        command.args(["--nats", &self.url]).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that has read enough closes its end.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// The process ids of the children whose command line has this text.
    pub(crate) fn children_with(&mut self, text: &str) -> Vec<u32> {
        self.children.extend(children_of(self.up.id()));
        let of_now = children_of(self.up.id());
        let named = of_now
            .into_iter()
            .filter(|(_, command)| command.contains(text));
        named.map(|(pid, _)| pid).collect()
    }

    /// What nobody can answer.
    pub(crate) fn kill(&mut self) {
        self.children.extend(children_of(self.up.id()));
        signal(self.up.id(), Signal::KILL);
    }

    /// What Ctrl-C does.
    pub(crate) fn interrupt(&mut self) {
        self.children.extend(children_of(self.up.id()));
        signal(self.up.id(), Signal::INT);
    }

    /// Waits for the end of `rota up` and of its output.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.up.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "rota up does not end: {:#?}",
                self.seen
            );
            thread::sleep(POLL);
        };
        self.seen.extend(self.lines.iter());
        status
    }

    /// Those that were children and still live, a while after the end.
    pub(crate) fn left_behind(&self) -> Vec<&(u32, String)> {
        let deadline = Instant::now() + LEFT_BEHIND_LIMIT;
        loop {
            let left: Vec<_> = self
                .children
                .iter()
                .filter(|(pid, _)| lives(*pid))
                .collect();
            if left.is_empty() || Instant::now() >= deadline {
                return left;
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if let Ok(None) = self.up.try_wait() {
            self.interrupt();
            let deadline = Instant::now() + Duration::from_secs(20);
            while matches!(self.up.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(POLL);
            }
            // Nothing happens to one that has ended.
            let _ = self.up.kill();
            let _ = self.up.wait();
        }
        drop(self.store.take());
    }
}

/// The executable, free of what this machine's environment says of an installation.
pub(crate) fn rota(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rota"));
    let own = std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        name.starts_with("ROTA_") && name != "ROTA_NATS_SERVER"
    });
    for (name, _) in own {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn children_of(parent: u32) -> Vec<(u32, String)> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children = pids.filter(|pid: &u32| status_field(*pid, "PPid:") == Some(parent.to_string()));
    let named = children.map(|pid| {
        let command = std::fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline"));
        let command = String::from_utf8_lossy(&command.unwrap_or_default()).replace('\0', " ");
        (pid, command)
    });
    named.collect()
}

/// An ended process stays listed as a zombie until somebody has reaped it.
fn lives(pid: u32) -> bool {
    status_field(pid, "State:").is_some_and(|state| !state.starts_with('Z'))
}

fn status_field(pid: u32, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().to_owned())
}
