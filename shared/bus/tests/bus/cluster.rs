//! Three servers: what the bus makes of leaders that change and servers that die.

use std::net::TcpListener;
use std::time::Duration;

use rota_bus::{
    Bus, Found, Freshness, LaneEvent, LaneReader, Lease, LeaseName, Opened, PullEnd, Settlement,
    StoredRetry, StreamOptions,
};
use rota_local::{NatsServer, ServerOptions};
use rota_wire::{Lane, Span};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::lookups::result;
use crate::world::{LIMIT, event, id, lane, put, task};

const OPTIONS: StreamOptions = StreamOptions { replicas: 3 };
/// A cluster takes its time, more so on a machine that builds beside it.
const CLUSTER_LIMIT: Duration = Duration::from_secs(60);

struct Cluster {
    servers: Vec<NatsServer>,
    bus: Bus,
    raw: async_nats::Client,
}

impl Cluster {
    /// Three servers with the streams on them; the bus is connected to the first.
    async fn start() -> Self {
        let free = |_| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("it is bound").port()
        };
        let ports: Vec<u16> = (0..3).map(free).collect();
        let routes: Vec<String> = ports
            .iter()
            .map(|port| format!("\"nats://127.0.0.1:{port}\""))
            .collect();
        let start = ports.iter().enumerate().map(|(number, port)| {
            NatsServer::start(ServerOptions {
                extra: vec![
                    format!("server_name: s{number}"),
                    format!(
                        "cluster {{ name: test, listen: \"127.0.0.1:{port}\", no_advertise: true, routes: [{}] }}",
                        routes.join(", ")
                    ),
                ],
                ..ServerOptions::default()
            })
        });
        let started = futures_util::future::try_join_all(start).await;
        let servers = started.expect("three servers");
        let bus = connect_when_ready(&servers[0]).await;
        let raw = async_nats::connect(servers[0].url()).await;
        let raw = raw.expect("a connection");
        Self { servers, bus, raw }
    }

    /// The number of the server that leads something.
    async fn leader_of(&self, call: &str) -> usize {
        let asking = async {
            loop {
                let answer = self.api(call).await;
                if let Some(name) = answer["cluster"]["leader"].as_str() {
                    return name[1..].parse().expect("a server's name");
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(CLUSTER_LIMIT, asking).await.expect("a leader")
    }

    async fn api(&self, call: &str) -> Value {
        let answer = self.raw.request(format!("$JS.API.{call}"), "".into()).await;
        let Ok(answer) = answer else {
            return Value::Null;
        };
        serde_json::from_slice(&answer.payload).expect("JSON")
    }

    /// Moves the leader of something until it is one of these servers.
    async fn lead_by(&self, info: &str, step_down: &str, wanted: &[usize]) -> usize {
        let moving = async {
            loop {
                let leader = self.leader_of(info).await;
                if wanted.contains(&leader) {
                    return leader;
                }
                self.api(step_down).await;
            }
        };
        timeout(CLUSTER_LIMIT, moving).await.expect("it moves")
    }
}

async fn connect_when_ready(server: &NatsServer) -> Bus {
    let connecting = async {
        loop {
            let bus = rota_bus::Bus::connect(crate::world::options(server, None)).await;
            if let Ok(bus) = bus
                && bus.ensure_streams(OPTIONS).await.is_ok()
            {
                return bus;
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(CLUSTER_LIMIT, connecting).await.expect("a cluster")
}

/// One cluster for all, since it takes its time to come up.
#[tokio::test]
async fn leaders_change_and_servers_die_and_nothing_false_is_told() {
    let mut cluster = Cluster::start().await;
    the_latest_is_read_from_the_leaders(&cluster).await;
    a_pull_is_cut_when_its_consumer_gets_another_leader(&cluster).await;
    a_lane_is_opened_anew_though_nothing_was_pulled(&cluster).await;
    a_pull_is_cut_when_the_server_dies_that_had_it(&mut cluster).await;
    a_lease_ends_in_time_when_nobody_answers_for_it_and_is_had_again(&mut cluster).await;
}

async fn the_latest_is_read_from_the_leaders(cluster: &Cluster) {
    for number in 0..50 {
        let text = format!("t{number}");
        let settled = cluster.bus.settle_result(&result(&text), "x".into()).await;
        assert_eq!(settled.expect("settled"), Settlement::Stored);
        let ids = [id(&text), id("none")];
        let found = cluster.bus.look_up(&ids, Freshness::Latest).await;
        assert_eq!(found.expect("told"), [Found::Result, Found::Nothing]);
    }
    let mut retry = task(&lane("mail"), "later");
    retry.attempt = 3;
    let wait = Span::from_secs(3_600);
    let stored = cluster.bus.store_retry(&retry, "x".into(), wait).await;
    assert_eq!(stored.expect("stored"), StoredRetry::New);
    let found = cluster.bus.look_up(&[id("later")], Freshness::Latest).await;
    assert_eq!(found.expect("told"), [Found::Scheduled { attempt: 3 }]);
    for (attempt, stored) in [
        (2, StoredRetry::Already { attempt: 3 }),
        (4, StoredRetry::New),
    ] {
        retry.attempt = attempt;
        let settled = cluster.bus.store_retry(&retry, "x".into(), wait).await;
        assert_eq!(settled.expect("settled"), stored);
    }
    let found = cluster.bus.look_up(&[id("later")], Freshness::Latest).await;
    assert_eq!(found.expect("told"), [Found::Scheduled { attempt: 4 }]);
    let ids: Vec<_> = (0..50).map(|number| id(&format!("t{number}"))).collect();
    let catching_up = async {
        loop {
            let found = cluster.bus.look_up(&ids, Freshness::AnyCopy).await;
            if found.expect("told") == [Found::Result; 50] {
                return;
            }
        }
    };
    timeout(LIMIT, catching_up)
        .await
        .expect("the copies catch up");
}

const INFO: &str = "CONSUMER.INFO.ROTA_READY.lane_mail_5";
const STEP_DOWN: &str = "CONSUMER.LEADER.STEPDOWN.ROTA_READY.lane_mail_5";

/// A reader of the lane with one pull open, at a server that the bus is not connected to.
async fn pulling(cluster: &Cluster, count: u32) -> (LaneReader, usize) {
    let lane = lane("mail");
    let opened = open(cluster, &lane).await;
    let leader = cluster.lead_by(INFO, STEP_DOWN, &[1, 2]).await;
    let mut reader = cluster.bus.lane_reader().await.expect("a reader");
    reader.add(lane.clone(), &opened);
    reader.pull(&lane, count).await.expect("pulled");
    // Until the pull is open there, and not cut by the last change of leader.
    loop {
        let waiting = cluster.api(INFO).await["num_waiting"].as_u64();
        match reader.try_next() {
            Some(LaneEvent::PullEnded { lane, unused, .. }) => {
                reader.pull(&lane, unused).await.expect("pulled");
            }
            Some(LaneEvent::Gone { lane }) => open_again(cluster, &mut reader, &lane, count).await,
            Some(other) => panic!("{other:?}"),
            None if waiting == Some(1) => return (reader, leader),
            None => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Opens a lane; servers that elect leaders refuse at first.
async fn open(cluster: &Cluster, lane: &Lane) -> Opened {
    let opening = async {
        loop {
            match cluster.bus.open_lane(lane).await {
                Ok(opened) => return opened,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    timeout(CLUSTER_LIMIT, opening).await.expect("opened")
}

async fn open_again(cluster: &Cluster, reader: &mut LaneReader, lane: &Lane, count: u32) {
    let opened = open(cluster, lane).await;
    reader.add(lane.clone(), &opened);
    reader.pull(lane, count).await.expect("pulled");
}

/// Whatever was on its way is lost, so the lane is to be opened again.
async fn until_cut(reader: &mut LaneReader) {
    let cutting = async {
        loop {
            match reader.next().await {
                Some(LaneEvent::PullEnded {
                    end: PullEnd::Cut, ..
                }) => break,
                Some(LaneEvent::PullEnded { lane, unused, .. }) => {
                    reader.pull(&lane, unused).await.expect("pulled");
                }
                other => panic!("{other:?}"),
            }
        }
        let gone = reader.next().await;
        assert!(matches!(gone, Some(LaneEvent::Gone { .. })), "{gone:?}");
    };
    timeout(CLUSTER_LIMIT, cutting).await.expect("it is cut");
}

async fn a_pull_is_cut_when_its_consumer_gets_another_leader(cluster: &Cluster) {
    let (mut reader, _) = pulling(cluster, 5).await;
    cluster.api(STEP_DOWN).await;
    until_cut(&mut reader).await;
}

/// Its acks may be lost all the same.
async fn a_lane_is_opened_anew_though_nothing_was_pulled(cluster: &Cluster) {
    let lane = lane("mail");
    let opened = open(cluster, &lane).await;
    let mut reader = cluster.bus.lane_reader().await.expect("a reader");
    reader.add(lane.clone(), &opened);
    cluster.bus.flush().await.expect("received");
    cluster.api(STEP_DOWN).await;
    let told = event(&mut reader).await;
    assert!(matches!(told, LaneEvent::Gone { .. }), "{told:?}");
}

/// Nobody says a word to those who waited there, until another leads.
async fn a_pull_is_cut_when_the_server_dies_that_had_it(cluster: &mut Cluster) {
    let (mut reader, leader) = pulling(cluster, 7).await;
    cluster.servers[leader].kill().expect("killed");
    until_cut(&mut reader).await;
    // What was delivered and lost on its way would not be missed for a day, if the lane were not opened again.
    let lane = lane("mail");
    let storing = async {
        while put(&cluster.bus, &lane, "a", "x".into()).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LIMIT, storing).await.expect("it is stored");
    open_again(cluster, &mut reader, &lane, 1).await;
    loop {
        match event(&mut reader).await {
            LaneEvent::Delivered(_) => break,
            LaneEvent::PullEnded { unused, .. } => {
                reader.pull(&lane, unused).await.expect("pulled");
            }
            LaneEvent::Gone { lane } => open_again(cluster, &mut reader, &lane, 1).await,
        }
    }
    let again = cluster.servers[leader].start_again().await;
    again.expect("it starts again");
}

async fn a_lease_ends_in_time_when_nobody_answers_for_it_and_is_had_again(cluster: &mut Cluster) {
    let mut lease = lead(cluster).await;
    let info = "STREAM.INFO.KV_rota_leases";
    let step_down = "STREAM.LEADER.STEPDOWN.KV_rota_leases";
    let leader = tokio::select! {
        leader = cluster.lead_by(info, step_down, &[1, 2]) => leader,
        error = lease.keep() => panic!("{error}"),
    };
    let (term, validity) = (lease.term(), lease.validity());
    cluster.servers[leader].kill().expect("killed");
    let killed = Instant::now();
    // An election may take longer than a lease lasts, or not.
    let ended = timeout(Duration::from_secs(12), lease.keep()).await;
    if ended.is_ok() {
        assert!(!validity.is_valid());
        assert!(
            killed.elapsed() < Duration::from_secs(5),
            "{:?}",
            killed.elapsed()
        );
    }
    drop(lease);
    assert!(lead(cluster).await.term() > term);
}

/// Asks for the lease until it is had.
async fn lead(cluster: &Cluster) -> Lease {
    let acquiring = async {
        loop {
            let lease = cluster.bus.acquire_lease(LeaseName::Scheduler, "a").await;
            if let Ok(Some(lease)) = lease {
                return lease;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let lease = timeout(CLUSTER_LIMIT, acquiring).await;
    lease.expect("it can be had")
}
