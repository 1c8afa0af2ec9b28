//! A small NATS client of the storm's own: it submits, reads streams and asks the servers' API.
//!
//! It is apart from the bus on purpose: what is judged is not judged by its own code. It goes to the
//! servers directly, not through a proxy, and finds another server when one is gone.
//!
//! What must hold: each request ends, with an answer or without one, within its limit; and one that was
//! under way when the connection broke ends at once.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

const INBOX: &str = "_INBOX.chaos";
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const WRITE_LIMIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);
/// Answers that may wait for the one who asked.
const ANSWERS_MAX: usize = 4 * 1024;

/// A connection to whichever server takes it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    _reading: Arc<AbortOnDrop>,
}

/// A message that was received.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The status of a message without content, such as 404; 0 when there is none.
    pub status: u16,
    /// Its headers in their order.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Bytes,
}

#[derive(Debug)]
struct Shared {
    ports: Vec<u16>,
    writer: tokio::sync::Mutex<Option<OwnedWriteHalf>>,
    asked: Mutex<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    next: u64,
    waiting: HashMap<u64, mpsc::Sender<Reply>>,
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// A client of servers at these ports of this machine. It connects in the background.
    #[must_use]
    pub fn new(ports: Vec<u16>) -> Self {
        let shared = Arc::new(Shared {
            ports,
            writer: tokio::sync::Mutex::default(),
            asked: Mutex::default(),
        });
        let reading = tokio::spawn(stay_connected(shared.clone())).abort_handle();
        Self {
            shared,
            _reading: Arc::new(AbortOnDrop(reading)),
        }
    }

    /// Sends a message and gives the first answer, if one comes in time.
    pub async fn request(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        limit: Duration,
    ) -> Option<Reply> {
        let deadline = Instant::now() + limit;
        let (number, mut answers) = self.expect_answers();
        let reply_to = format!("{INBOX}.{number}");
        let sent = self.publish(subject, Some(&reply_to), headers, body).await;
        let answer = match sent {
            Ok(()) => timeout_at(deadline, answers.recv()).await.ok().flatten(),
            Err(_) => None,
        };
        self.expect_no_more(number);
        answer
    }

    /// Sends a message and gathers answers until one is the last, or until `limit`.
    pub async fn request_many(
        &self,
        subject: &str,
        body: &[u8],
        limit: Duration,
        is_last: impl Fn(&Reply) -> bool,
    ) -> Option<Vec<Reply>> {
        let deadline = Instant::now() + limit;
        let (number, mut answers) = self.expect_answers();
        let reply_to = format!("{INBOX}.{number}");
        let mut gathered = Vec::new();
        let mut complete = false;
        if self
            .publish(subject, Some(&reply_to), &[], body)
            .await
            .is_ok()
        {
            while let Ok(Some(answer)) = timeout_at(deadline, answers.recv()).await {
                complete = is_last(&answer);
                gathered.push(answer);
                if complete {
                    break;
                }
            }
        }
        self.expect_no_more(number);
        complete.then_some(gathered)
    }

    /// Asks the servers' API; nothing when there is no answer, or it is an error.
    pub async fn api(&self, subject: &str, body: &Value, limit: Duration) -> Option<Value> {
        let body = body.to_string();
        let answer = self.request(subject, &[], body.as_bytes(), limit).await?;
        let value: Value = serde_json::from_slice(&answer.body).ok()?;
        value.get("error").is_none().then_some(value)
    }

    /// Sends a message, with a subject to answer to if there is one.
    ///
    /// # Errors
    /// When there is no connection, or it takes nothing.
    pub async fn publish(
        &self,
        subject: &str,
        reply_to: Option<&str>,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let mut head = String::new();
        if !headers.is_empty() {
            head.push_str("NATS/1.0\r\n");
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
        }
        let (reply_to, total) = (reply_to.unwrap_or_default(), head.len() + body.len());
        let line = if head.is_empty() {
            format!("PUB {subject} {reply_to} {total}\r\n")
        } else {
            format!("HPUB {subject} {reply_to} {} {total}\r\n", head.len())
        };
        let mut bytes = Vec::with_capacity(line.len() + total + 2);
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(b"\r\n");
        self.shared.write(&bytes).await
    }

    fn expect_answers(&self) -> (u64, mpsc::Receiver<Reply>) {
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        let mut asked = self.shared.asked();
        let number = asked.next;
        asked.next += 1;
        asked.waiting.insert(number, sender);
        (number, answers)
    }

    fn expect_no_more(&self, number: u64) {
        self.shared.asked().waiting.remove(&number);
    }
}

impl Reply {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }
}

impl Shared {
    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write that fails or is cut short ends the connection: half a message would spoil the next.
    async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut writer = self.writer.lock().await;
        let Some(open) = writer.as_mut() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        match timeout(WRITE_LIMIT, open.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                *writer = None;
                Err(error)
            }
            Err(_) => {
                *writer = None;
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }

    fn take(&self, subject: &str, reply: Reply) {
        let number = subject
            .rsplit('.')
            .next()
            .and_then(|last| last.parse().ok());
        let Some(number) = number else { return };
        let sender = self.asked().waiting.get(&number).cloned();
        // Somebody who does not want it any more, or gets too much, goes without.
        let _ = sender.map(|sender: mpsc::Sender<Reply>| sender.try_send(reply));
    }
}

/// One connection after the other, to one server after the other.
async fn stay_connected(shared: Arc<Shared>) {
    let mut number = 0;
    loop {
        let port = shared.ports[number % shared.ports.len()];
        number += 1;
        if let Ok(Ok(reader)) = timeout(CONNECT_LIMIT, connect(&shared, port)).await {
            // However it ends: another one follows.
            let _ = read_all(&shared, reader).await;
        }
        *shared.writer.lock().await = None;
        shared.asked().waiting.clear();
        sleep(PAUSE).await;
    }
}

async fn connect(shared: &Shared, port: u16) -> io::Result<BufReader<OwnedReadHalf>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut greeting = String::new();
    reader.read_line(&mut greeting).await?;
    let connect = r#"CONNECT {"verbose":false,"headers":true,"no_responders":true,"name":"chaos"}"#;
    let begin = format!("{connect}\r\nSUB {INBOX}.* 1\r\nPING\r\n");
    writer.write_all(begin.as_bytes()).await?;
    *shared.writer.lock().await = Some(writer);
    Ok(reader)
}

async fn read_all(shared: &Shared, mut reader: BufReader<OwnedReadHalf>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("PING") => shared.write(b"PONG\r\n").await?,
            Some("MSG" | "HMSG") => {
                let subject = words.next().unwrap_or_default().to_owned();
                let reply = read_message(&mut reader, &line).await?;
                shared.take(&subject, reply);
            }
            _ => {}
        }
    }
}

async fn read_message(reader: &mut BufReader<OwnedReadHalf>, line: &str) -> io::Result<Reply> {
    let strange = || io::Error::new(io::ErrorKind::InvalidData, line.to_owned());
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let number = |word: Option<&&str>| word.and_then(|word| word.parse::<usize>().ok());
    let total = number(words.last()).ok_or_else(strange)?;
    let head = match words[0] {
        "HMSG" => number(words.get(words.len() - 2)).ok_or_else(strange)?,
        _ => 0,
    };
    let mut bytes = vec![0; total + 2];
    reader.read_exact(&mut bytes).await?;
    bytes.truncate(total);
    let bytes = Bytes::from(bytes);
    let (status, headers) = parse_head(&String::from_utf8_lossy(&bytes[..head]));
    Ok(Reply {
        status,
        headers,
        body: bytes.slice(head..),
    })
}

/// The first line may carry a status: `NATS/1.0 404 Message Not Found`.
pub(crate) fn parse_head(text: &str) -> (u16, Vec<(String, String)>) {
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    });
    (status.unwrap_or(0), headers.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_a_status_and_headers() {
        let (status, headers) = parse_head("NATS/1.0 404 Message Not Found\r\n\r\n");
        assert_eq!((status, headers.len()), (404, 0));
        let (status, headers) = parse_head("NATS/1.0\r\nRota-Id: 7\r\nRota-Reason: a: b\r\n\r\n");
        assert_eq!(status, 0);
        assert_eq!(headers[1], ("Rota-Reason".to_owned(), "a: b".to_owned()));
    }
}
