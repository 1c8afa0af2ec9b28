//! A client that knows no more of NATS than its lines, as anybody could write one: it sends what the bus,
//! with its typed subjects, would not, and asks the server's own API.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

const INBOX: &str = "raw.inbox";
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A connection. It panics when anything goes wrong: a test has nothing better to do.
#[derive(Debug)]
pub struct RawClient {
    stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The lines of its headers; empty when it has none.
    pub headers: String,
    /// Its body.
    pub body: Vec<u8>,
}

impl RawClient {
    /// Connects to a server of this machine.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.set_nodelay(true).expect("it is connected");
        let timeout = stream.set_read_timeout(Some(ANSWER_MAX));
        timeout.expect("the timeout is not zero");
        let stream = BufReader::new(stream);
        let mut client = Self { stream };
        let greeting = client.line();
        assert!(greeting.starts_with("INFO "), "{greeting}");
        client.write(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n");
        client.write(format!("SUB {INBOX} 1\r\n").as_bytes());
        client
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) {
        let written = self.stream.get_mut().write_all(bytes);
        written.expect("the server takes what is sent");
    }

    /// Publishes without asking for an answer.
    pub fn publish(&mut self, subject: &str, body: &[u8]) {
        self.write(format!("PUB {subject} {}\r\n", body.len()).as_bytes());
        self.write(body);
        self.write(b"\r\n");
    }

    /// Publishes with headers, and waits for the answer.
    pub fn request(&mut self, subject: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut head = String::from("NATS/1.0\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let total = head.len() + body.len();
        let line = format!("HPUB {subject} {INBOX} {} {total}\r\n{head}", head.len());
        self.write(line.as_bytes());
        self.write(body);
        self.write(b"\r\n");
        self.reply()
    }

    /// Stores a message in whichever stream has its subject, and gives its sequence.
    pub fn store(&mut self, subject: &str, headers: &[(&str, &str)], body: &[u8]) -> u64 {
        let answer = self.request(subject, headers, body).json();
        answer["seq"].as_u64().unwrap_or_else(|| panic!("{answer}"))
    }

    /// Asks the server's own API.
    pub fn api(&mut self, subject: &str, body: &Value) -> Value {
        let answer = self.request(subject, &[], body.to_string().as_bytes());
        let answer = answer.json();
        assert!(answer.get("error").is_none(), "{subject}: {answer}");
        answer
    }

    /// Waits until the server has taken all that was sent.
    pub fn flush(&mut self) {
        self.write(b"PING\r\n");
        while self.line() != "PONG" {}
    }

    fn reply(&mut self) -> Reply {
        loop {
            let line = self.line();
            if line.starts_with("MSG ") {
                let [total] = sizes(&line);
                return self.read_reply(0, total);
            }
            if line.starts_with("HMSG ") {
                let [head, total] = sizes(&line);
                return self.read_reply(head, total);
            }
        }
    }

    fn read_reply(&mut self, head: usize, total: usize) -> Reply {
        let mut bytes = vec![0; total + 2];
        let read = self.stream.read_exact(&mut bytes);
        read.expect("the server sends what it announced");
        Reply {
            headers: String::from_utf8_lossy(&bytes[..head]).into_owned(),
            body: bytes[head..total].to_vec(),
        }
    }

    /// The next line that is not the server's own ping.
    fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line);
            read.expect("the server answers in time");
            assert!(!line.is_empty(), "the server has closed the connection");
            match line.trim_end() {
                "PING" => self.write(b"PONG\r\n"),
                error if error.starts_with("-ERR") => panic!("{error}"),
                line => return line.to_owned(),
            }
        }
    }
}

impl Reply {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// The numbers at the end of a line.
fn sizes<const N: usize>(line: &str) -> [usize; N] {
    let numbers: Vec<usize> = line
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let last = numbers.last_chunk().copied();
    last.unwrap_or_else(|| panic!("no sizes in {line:?}"))
}
