//! Asks a server whether it is ready, with no more of NATS than the line that it greets with.

use std::{fs, io, path::Path, time::Duration};

use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::JetStream;

const GREETING_LIMIT: Duration = Duration::from_secs(2);
/// The line has some hundred bytes, and more in a large cluster.
const GREETING_BYTES_MAX: u64 = 64 * 1024;

/// What the server tells each new connection, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    #[serde(default)]
    jetstream: bool,
}

impl Info {
    /// A server opens its port after JetStream has recovered, so one that says so can be used.
    pub(super) fn is_ready(&self, wanted: JetStream) -> bool {
        match wanted {
            JetStream::On => self.jetstream,
            JetStream::Off => true,
        }
    }
}

/// Connects and reads the first line.
pub(super) async fn greeting(port: u16) -> io::Result<Info> {
    timeout(GREETING_LIMIT, read_greeting(port)).await?
}

async fn read_greeting(port: u16) -> io::Result<Info> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut line = String::new();
    BufReader::new(stream.take(GREETING_BYTES_MAX))
        .read_line(&mut line)
        .await?;
    parse_greeting(&line)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not the greeting of a server"))
}

fn parse_greeting(line: &str) -> Option<Info> {
    serde_json::from_str(line.strip_prefix("INFO ")?).ok()
}

#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

/// The port for clients from the file that the server writes once it listens. A file that is not
/// there yet, or half written, is none.
pub(super) fn read_port(folder: &Path) -> Option<u16> {
    let file = fs::read_dir(folder).ok()?.flatten().next()?;
    parse_ports(&fs::read_to_string(file.path()).ok()?)
}

/// The process id of the server that wrote the ports file: `<program>_<pid>.ports`.
pub(super) fn read_pid(folder: &Path) -> Option<u32> {
    let file = fs::read_dir(folder).ok()?.flatten().next()?.path();
    file.file_stem()?.to_str()?.rsplit_once('_')?.1.parse().ok()
}

fn parse_ports(text: &str) -> Option<u16> {
    let ports: Ports = serde_json::from_str(text).ok()?;
    ports.nats.first()?.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_tells_whether_jetstream_is_up() {
        let info = |line| parse_greeting(line).unwrap();
        let with = info("INFO {\"version\":\"2.15.1\",\"jetstream\":true} \r\n");
        let without = info("INFO {\"version\":\"2.15.1\"}\r\n");
        assert!(with.is_ready(JetStream::On) && with.is_ready(JetStream::Off));
        assert!(!without.is_ready(JetStream::On) && without.is_ready(JetStream::Off));
        assert!(parse_greeting("SSH-2.0-OpenSSH_9.2\r\n").is_none());
        assert!(parse_greeting("INFO {\"jetstr").is_none());
    }

    #[test]
    fn the_port_is_read_from_a_whole_file_only() {
        assert_eq!(
            parse_ports(r#"{"nats":["nats://127.0.0.1:37071"]}"#),
            Some(37071)
        );
        assert_eq!(parse_ports(r#"{"nats":["nats://127.0"#), None);
        assert_eq!(parse_ports(r#"{"nats":[]}"#), None);
    }
}
