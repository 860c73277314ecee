//! Agents of a datacenter with three servers, over real connections on loopback addresses of their own.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a failed step of a test may end it, and tests have a clock and tasks of their own"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tribune_agent::Handle;
use tribune_agent::start::Agent;
use tribune_rt::Env;
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::event::UserEvent;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::query::{Consistency, Query, ReadOptions, Reply};
use tribune_types::session::Session;
use tribune_types::text::text;
use tribune_types::write::{Write, WriteReply};

/// Longest wait for what gossip and elections do, on a busy machine.
const LONG: Duration = Duration::from_secs(90);

/// An agent in a folder of its own.
struct Running {
    agent: Agent,
    env: Env,
    addr: String,
    _folder: tempfile::TempDir,
}

async fn start(subnet: u8, number: u8, more: &str) -> Running {
    let env = Env::ambient().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let addr = format!("127.102.{subnet}.{number}");
    let hcl = format!(
        "data_dir = {:?} node_name = \"n{number}\" bind_addr = {addr:?} {more}
         retry_join = [\"127.102.{subnet}.1\", \"127.102.{subnet}.2\"] retry_interval = \"1s\"
         ports {{ http = -1 dns = -1 grpc = -1 }}",
        folder.path()
    );
    Running {
        agent: support::start(&env, hcl).await,
        env,
        addr: format!("{addr}:8300"),
        _folder: folder,
    }
}

/// Three servers that follow one leader.
async fn datacenter(subnet: u8) -> Vec<Running> {
    let mut servers = Vec::new();
    for number in 1..=3 {
        servers.push(start(subnet, number, "server = true bootstrap_expect = 3").await);
    }
    for server in &servers {
        let formed = async || {
            server.leader().await.is_some() && { server.handle().status_peers(None).await }
                .is_ok_and(|peers| peers.len() == 3)
        };
        server.until("formed", formed).await;
    }
    servers
}

fn take_leader(servers: &mut Vec<Running>, addr: &str) -> Running {
    let at = servers.iter().position(|s| s.addr == addr).unwrap();
    servers.remove(at)
}

fn caller() -> Caller {
    Caller::internal()
}

fn kv(key: &str, value: &str) -> Write {
    let entry = KvEntry {
        key: key.as_bytes().into(),
        value: value.as_bytes().into(),
        ..KvEntry::default()
    };
    Write::Kv(KvOp::Set, entry)
}

impl Running {
    fn handle(&self) -> &Handle {
        self.agent.handle()
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let deadline = self.env.mono() + LONG;
        while !holds().await {
            assert!(self.env.mono() < deadline, "never: {what}");
            self.env.sleep(Duration::from_millis(50)).await;
        }
    }

    async fn leader(&self) -> Option<String> {
        let leader = self.handle().status_leader(None).await;
        leader.ok().filter(|addr| !addr.is_empty())
    }

    async fn write(&self, write: Write) -> Result<WriteReply, RpcError> {
        self.handle().write(&caller(), None, write).await
    }

    async fn value(&self, key: &str, consistency: Consistency) -> Result<Option<String>, RpcError> {
        let query = Query::KvGet {
            key: key.as_bytes().into(),
        };
        let options = ReadOptions {
            consistency,
            ..ReadOptions::default()
        };
        let answer = self.handle().read(&caller(), query, &options).await?;
        let Reply::Kv(found) = answer.reply() else {
            panic!("{answer:?}")
        };
        let text = |entry: &Arc<KvEntry>| String::from_utf8_lossy(&entry.value).into_owned();
        Ok(found.first().map(text))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_agent_of_a_datacenter_writes_and_reads_the_same() {
    let servers = datacenter(1).await;
    let client = start(1, 9, "").await;
    client
        .until("client reads", async || client.leader().await.is_some())
        .await;
    let agents: Vec<&Running> = servers.iter().chain([&client]).collect();
    for (round, writer) in agents.iter().enumerate() {
        let value = round.to_string();
        writer.write(kv("k", &value)).await.unwrap();
        for reader in &agents {
            for mode in [Consistency::Default, Consistency::Consistent] {
                let found = reader.value("k", mode).await.unwrap();
                assert_eq!(found.as_ref(), Some(&value), "{} {mode:?}", reader.addr);
            }
        }
        let session = Session {
            node: text("n1"),
            ..Session::default()
        };
        let created = writer.write(Write::SessionCreate(Box::new(session))).await;
        assert!(matches!(created, Ok(WriteReply::Session(_))), "{created:?}");
        let event = UserEvent {
            name: text("e"),
            ..UserEvent::default()
        };
        let fired = writer.write(Write::EventFire(Box::new(event))).await;
        assert_eq!(fired, Ok(WriteReply::Done));
        let judged = async || {
            let health = writer.handle().operator_health(&caller(), None).await;
            health.is_ok_and(|health| health.servers.len() == 3)
        };
        writer.until("all servers are judged", judged).await;
    }
    for agent in servers.into_iter().chain([client]) {
        agent.agent.shutdown().await;
    }
}

/// Writes one key after the other until told to stop. Longest time between two successes, and what was refused.
async fn write_on(agent: &Running, stop: &AtomicBool) -> (Duration, Vec<String>) {
    let (mut longest, mut errors) = (Duration::ZERO, Vec::new());
    let mut last = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        match agent.write(kv("k", "v")).await {
            Ok(_) => {
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            Err(err) => errors.push(err.to_string()),
        }
        agent.env.sleep(Duration::from_millis(2)).await;
    }
    (longest, errors)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_through_every_agent_when_the_leader_dies() {
    let mut servers = datacenter(2).await;
    let client = start(2, 9, "").await;
    client
        .until("client reads", async || client.leader().await.is_some())
        .await;
    let leader = client.leader().await.unwrap();
    let leader = take_leader(&mut servers, &leader);
    let stop = AtomicBool::new(false);
    let death = async {
        client.env.sleep(Duration::from_millis(500)).await;
        leader.agent.shutdown().await;
        client.env.sleep(Duration::from_secs(4)).await;
        stop.store(true, Ordering::SeqCst);
    };
    let (of_client, of_server, ()) = tokio::join!(
        write_on(&client, &stop),
        write_on(&servers[0], &stop),
        death
    );
    for (longest, errors) in [of_client, of_server] {
        assert!(longest < Duration::from_secs(3), "{longest:?} {errors:?}");
        // At most the write that was under way, whose fate nobody knows.
        assert!(errors.len() <= 1, "{errors:?}");
    }
    for agent in servers.into_iter().chain([client]) {
        agent.agent.shutdown().await;
    }
}
