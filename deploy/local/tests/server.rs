//! A real nats-server under [`NatsServer`]: started, killed, stopped, started again, and gone.

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rota_local::{JetStream, NatsServer, ServerError, ServerOptions, Signal};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(30);

/// The line that the server greets with.
fn greeting(port: u16) -> Result<String> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}

fn is_listed(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// The signal is sent before it has reached each thread.
async fn until_each_thread_stands(pid: u32) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut is_running = false;
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let status = std::fs::read_to_string(thread?.path().join("status"))?;
            is_running |= !status.contains("State:\tT");
        }
        if !is_running {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "process {pid} does not stand still"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_is_ready_when_it_is_handed_out_and_gone_when_it_is_dropped() -> Result<()> {
    let server = NatsServer::start(ServerOptions::default()).await?;
    let line = greeting(server.port())?;
    assert!(
        line.starts_with("INFO ") && line.contains("\"jetstream\":true"),
        "{line}"
    );
    assert_eq!(server.url(), format!("nats://127.0.0.1:{}", server.port()));
    let (pid, port) = (server.pid().context("it runs")?, server.port());
    let store = server.store().to_owned();
    assert!(store.join("jetstream").is_dir() && server.log_file().is_file());
    drop(server);
    assert!(!is_listed(pid));
    assert!(!store.exists());
    assert!(greeting(port).is_err());
    Ok(())
}

#[tokio::test]
async fn a_killed_and_a_stopped_server_come_back_on_the_same_port_and_store() -> Result<()> {
    let mut server = NatsServer::start(ServerOptions::default()).await?;
    let (port, store) = (server.port(), server.store().to_owned());
    let first = server.pid().context("it runs")?;
    server.kill()?;
    assert_eq!(server.pid(), None);
    assert!(!is_listed(first));
    assert!(greeting(port).is_err());
    server.start_again().await?;
    let second = server.pid().context("it runs again")?;
    assert_ne!(second, first);
    assert_eq!((server.port(), server.store()), (port, store.as_path()));
    assert!(greeting(port)?.contains("\"jetstream\":true"));

    server.start_again().await?;
    assert_eq!(server.pid(), Some(second), "a running server is left alone");
    server.stop().await?;
    server.stop().await?;
    assert!(!is_listed(second));
    let log = std::fs::read_to_string(server.log_file())?;
    assert!(log.trim_end().ends_with("Server Exiting.."), "{log}");
    server.start_again().await?;
    assert!(greeting(port)?.starts_with("INFO "));
    Ok(())
}

#[tokio::test]
async fn a_server_that_ends_by_itself_is_noticed() -> Result<()> {
    let mut server = NatsServer::start(ServerOptions::default()).await?;
    assert_eq!(server.try_exited()?, None);
    server.signal(Signal::Kill)?;
    let status = timeout(LIMIT, server.exited()).await??;
    assert!(!status.success());
    assert_eq!(server.pid(), None);
    server.start_again().await?;
    assert!(greeting(server.port())?.starts_with("INFO "));
    Ok(())
}

#[tokio::test]
async fn a_paused_server_says_nothing_until_it_goes_on_and_can_be_stopped() -> Result<()> {
    let mut server = NatsServer::start(ServerOptions::default()).await?;
    server.signal(Signal::Pause)?;
    until_each_thread_stands(server.pid().context("it runs")?).await?;
    let port = server.port();
    let mut silent = tokio::task::spawn_blocking(move || greeting(port));
    assert!(
        timeout(Duration::from_millis(300), &mut silent)
            .await
            .is_err()
    );
    server.signal(Signal::Resume)?;
    assert!(timeout(LIMIT, silent).await???.starts_with("INFO "));
    server.signal(Signal::Pause)?;
    let began = Instant::now();
    server.stop().await?;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "it had to be killed"
    );
    Ok(())
}

#[tokio::test]
async fn a_store_that_the_user_named_stays_and_serves_one_server_at_a_time() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("a \"b\"").join("store");
    let options = ServerOptions {
        store: Some(store.clone()),
        ..ServerOptions::default()
    };
    let first = NatsServer::start(options.clone()).await?;
    let second = NatsServer::start(options.clone()).await;
    match second {
        Err(ServerError::StoreInUse { pid, .. }) => assert_eq!(pid, first.pid()),
        other => bail!("unexpected {other:?}"),
    }
    assert!(greeting(first.port())?.starts_with("INFO "));
    drop(first);
    assert!(store.join("jetstream").is_dir());
    NatsServer::start(options).await?;
    Ok(())
}

#[tokio::test]
async fn options_reach_the_server() -> Result<()> {
    let options = ServerOptions {
        max_payload: Some(2048),
        jetstream: JetStream::Off,
        extra: vec!["server_name: by-the-test".to_owned()],
        ..ServerOptions::default()
    };
    let server = NatsServer::start(options).await?;
    let line = greeting(server.port())?;
    assert!(
        line.contains("\"max_payload\":2048") && line.contains("\"by-the-test\""),
        "{line}"
    );
    assert!(!line.contains("\"jetstream\":true"), "{line}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() -> Result<()> {
    let running = NatsServer::start(ServerOptions::default()).await?;
    let options = ServerOptions {
        port: Some(running.port()),
        ..ServerOptions::default()
    };
    let error = NatsServer::start(options)
        .await
        .err()
        .context("the port is taken")?
        .to_string();
    ensure!(error.contains("address already in use"), "{error}");

    let extra = vec!["no_such_setting: 1".to_owned()];
    let options = ServerOptions {
        extra,
        ..ServerOptions::default()
    };
    let error = NatsServer::start(options)
        .await
        .err()
        .context("no such setting")?
        .to_string();
    ensure!(error.contains("no_such_setting"), "{error}");
    Ok(())
}
