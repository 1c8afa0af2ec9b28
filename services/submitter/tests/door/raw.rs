//! A client that knows no more of NATS than its lines: it sends what the bus, with its typed subjects, would
//! not, and asks the server's own API.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

const INBOX: &str = "raw.inbox";
const ANSWER_MAX: Duration = Duration::from_secs(5);

pub(crate) struct RawClient {
    stream: BufReader<TcpStream>,
}

impl RawClient {
    pub(crate) fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        let mut client = Self {
            stream: BufReader::new(stream),
        };
        client.line()?;
        client.write(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n")?;
        client.write(format!("SUB {INBOX} 1\r\n").as_bytes())?;
        Ok(client)
    }

    /// Stores a message in whichever stream has its subject, and gives its sequence.
    pub(crate) fn store(
        &mut self,
        subject: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<u64> {
        let mut head = String::from("NATS/1.0\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let total = head.len() + body.len();
        self.write(format!("HPUB {subject} {INBOX} {} {total}\r\n{head}", head.len()).as_bytes())?;
        self.write(body)?;
        self.write(b"\r\n")?;
        let answer = self.answer()?;
        answer["seq"].as_u64().with_context(|| answer.to_string())
    }

    /// Changes one setting of a stream behind the back of whoever made it.
    pub(crate) fn set_stream(&mut self, stream: &str, field: &str, value: Value) -> Result<()> {
        let mut config =
            self.request(&format!("$JS.API.STREAM.INFO.{stream}"), "")?["config"].take();
        config[field] = value;
        let update = format!("$JS.API.STREAM.UPDATE.{stream}");
        let answer = self.request(&update, &config.to_string())?;
        anyhow::ensure!(answer.get("error").is_none(), "{answer}");
        Ok(())
    }

    pub(crate) fn request(&mut self, subject: &str, body: &str) -> Result<Value> {
        self.write(format!("PUB {subject} {INBOX} {}\r\n{body}\r\n", body.len()).as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Value> {
        let start = Instant::now();
        loop {
            let line = self.line()?;
            anyhow::ensure!(start.elapsed() < ANSWER_MAX, "no answer in time");
            if line == "PING" {
                self.write(b"PONG\r\n")?;
            } else if line.starts_with("MSG ") {
                let bytes: usize = line.rsplit(' ').next().context("no size")?.parse()?;
                let mut body = vec![0; bytes + 2];
                self.stream.read_exact(&mut body)?;
                return Ok(serde_json::from_slice(&body[..bytes])?);
            } else {
                anyhow::ensure!(!line.starts_with("-ERR"), "{line}");
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        anyhow::ensure!(!line.is_empty(), "the server has closed the connection");
        Ok(line.trim_end().to_owned())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }
}
