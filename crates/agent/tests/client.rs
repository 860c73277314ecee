//! Client agents: against a server of our own in the same process, and against a real Consul 1.8.7 where `CONSUL_BIN`
//! names it.
#![allow(clippy::unwrap_used, reason = "a failed step of a test may end it")]

mod support;

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tribune_agent::start::Agent;
use tribune_agent::{Handle, ServerAddr};
use tribune_rt::Env;
use tribune_types::caller::Caller;
use tribune_types::catalog::{Check, Service, Status};
use tribune_types::definition::{CheckType, ServiceDefinition};
use tribune_types::error::RpcError;
use tribune_types::id::Index;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::query::{Consistency, ListOptions, Query, ReadOptions, Reply, ReverseMatch};
use tribune_types::session::Session;
use tribune_types::text::{Text, text};
use tribune_types::txn::{TxnOp, TxnOutcome};
use tribune_types::write::{Write, WriteReply};

/// Longest wait for what should happen soon, on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// An agent in a folder of its own.
struct Running {
    agent: Agent,
    env: Env,
    _folder: tempfile::TempDir,
}

async fn start(name: &str, addr: &str, more: &str) -> Running {
    let env = Env::ambient().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hcl = format!(
        "data_dir = {:?} node_name = {name:?} bind_addr = {addr:?} {more}
         ports {{ http = -1 dns = -1 grpc = -1 }}",
        folder.path()
    );
    Running {
        agent: support::start(&env, hcl).await,
        env,
        _folder: folder,
    }
}

fn server_at(name: &str, addr: &str) -> ServerAddr {
    ServerAddr {
        name: text(name),
        addr: format!("{addr}:8300").parse().unwrap(),
        datacenter: text("dc1"),
        id: None,
    }
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

    async fn read_with(&self, query: Query, options: &ReadOptions) -> Result<Reply, RpcError> {
        let answer = self.handle().read(&caller(), query, options).await?;
        assert!(answer.meta.index >= Index(1));
        assert_eq!(answer.meta.consistency, options.consistency);
        Ok(answer.reply().clone())
    }

    async fn read(&self, query: Query) -> Reply {
        let options = ReadOptions::default();
        self.read_with(query, &options).await.unwrap()
    }

    async fn write(&self, write: Write) -> Result<WriteReply, RpcError> {
        self.handle().write(&caller(), None, write).await
    }

    async fn set(&self, key: &str, value: &str) -> Result<WriteReply, RpcError> {
        self.write(Write::Kv(KvOp::Set, pair(key, value))).await
    }

    async fn value(&self, key: &str) -> Option<String> {
        match self.read(get(key)).await {
            Reply::Kv(found) => found
                .first()
                .map(|entry| String::from_utf8_lossy(&entry.value).into_owned()),
            other => panic!("{other:?}"),
        }
    }
}

/// Connections of this machine to `addr`.
fn connections_to(addr: SocketAddr) -> usize {
    const ESTABLISHED: &str = "01";
    let SocketAddr::V4(addr) = addr else {
        panic!("{addr} is none of these tests");
    };
    let ip = u32::from_ne_bytes(addr.ip().octets());
    let remote = format!("{ip:08X}:{:04X}", addr.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let is_one = |line: &&str| {
        let mut words = line.split_whitespace().skip(2);
        words.next() == Some(&remote) && words.next() == Some(ESTABLISHED)
    };
    table.lines().filter(is_one).count()
}

fn caller() -> Caller {
    Caller::internal()
}

fn pair(key: &str, value: &str) -> KvEntry {
    KvEntry {
        key: key.as_bytes().into(),
        value: value.as_bytes().to_vec().into(),
        flags: 42,
        ..KvEntry::default()
    }
}

fn get(key: &str) -> Query {
    Query::KvGet {
        key: key.as_bytes().into(),
    }
}

fn node_services(node: &str) -> Query {
    Query::NodeServices {
        node: text(node),
        filter: Text::default(),
    }
}

fn node_checks(node: &str) -> Query {
    Query::NodeChecks {
        node: text(node),
        filter: Text::default(),
    }
}

fn web() -> ServiceDefinition {
    ServiceDefinition {
        id: text("web1"),
        name: text("web"),
        port: 8080,
        address: text("127.44.200.1"),
        tags: vec![text("v1")],
        checks: vec![CheckType {
            ttl: Duration::from_secs(600),
            ..CheckType::default()
        }],
        ..ServiceDefinition::default()
    }
}

async fn services(of: &Running, node: &str) -> Vec<std::sync::Arc<Service>> {
    match of.read(node_services(node)).await {
        Reply::NodeServices(Some((_, services))) => services,
        Reply::NodeServices(None) => Vec::new(),
        other => panic!("{other:?}"),
    }
}

async fn checks(of: &Running, node: &str) -> Vec<std::sync::Arc<Check>> {
    match of.read(node_checks(node)).await {
        Reply::Checks(checks) => checks,
        other => panic!("{other:?}"),
    }
}

async fn restore(client: &Running, archive: &[u8]) -> Result<(), RpcError> {
    let started = client
        .handle()
        .snapshot_restore(&caller(), &ReadOptions::default())
        .await?;
    for piece in archive.chunks(10_000) {
        if started.chunks.send(piece.to_vec().into()).await.is_err() {
            break;
        }
    }
    drop(started.chunks);
    started.done.await.unwrap()
}

/// What a client does with a server, whoever made the server. `server` is its node name.
async fn use_the_server(client: &Running, server: &str) {
    // Keys.
    client
        .until("there is a leader", async || {
            client.set("a/b", "1").await.is_ok()
        })
        .await;
    assert_eq!(client.value("a/b").await.as_deref(), Some("1"));
    assert_eq!(client.value("nothing").await, None);
    client.set("a/c", &"v".repeat(400_000)).await.unwrap();
    let prefix = Query::KvList {
        prefix: b"a/".as_slice().into(),
    };
    let Reply::Kv(found) = client.read(prefix.clone()).await else {
        panic!("no pairs");
    };
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].flags, found[1].value.len()), (42, 400_000));
    let cas = |modify| {
        Write::Kv(
            KvOp::Cas,
            KvEntry {
                modify,
                ..pair("a/b", "2")
            },
        )
    };
    let modify = found[0].modify;
    assert_eq!(
        client.write(cas(Index(modify.0 + 1000))).await,
        Ok(WriteReply::Verdict(false))
    );
    assert_eq!(
        client.write(cas(modify)).await,
        Ok(WriteReply::Verdict(true))
    );

    // A query that waits, and another call meanwhile.
    let index = client
        .handle()
        .read(&caller(), get("a/b"), &ReadOptions::default())
        .await
        .unwrap()
        .meta
        .index;
    let waits = ReadOptions {
        min_index: index,
        wait: Some(Duration::from_secs(20)),
        ..ReadOptions::default()
    };
    let change = async {
        client.env.sleep(Duration::from_millis(200)).await;
        client.set("a/b", "3").await.unwrap();
    };
    let (seen, ()) = tokio::join!(client.read_with(get("a/b"), &waits), change);
    let Ok(Reply::Kv(seen)) = seen else {
        panic!("{seen:?}");
    };
    assert_eq!(&*seen[0].value, b"3");

    // A transaction.
    let ops = vec![TxnOp::Kv(tribune_types::txn::KvVerb::Get, pair("a/b", ""))];
    match client
        .write(Write::TxnRead(ops, Consistency::Default))
        .await
    {
        Ok(WriteReply::TxnRead(outcome, meta)) => {
            assert!(meta.known_leader);
            let TxnOutcome {
                results, errors, ..
            } = *outcome;
            assert!(errors.is_empty(), "{errors:?}");
            assert_eq!(results.len(), 1);
        }
        other => panic!("{other:?}"),
    }

    // This agent's own services, by anti-entropy.
    client
        .handle()
        .register_service(&caller(), web(), false)
        .await
        .unwrap();
    client
        .until("the service is in the catalog", async || {
            services(client, "client").await.iter().any(|service| {
                &*service.id == "web1" && service.port == 8080 && service.tags == [text("v1")]
            })
        })
        .await;
    client
        .until("its check is, too", async || {
            checks(client, "client")
                .await
                .iter()
                .any(|check| &*check.id == "service:web1" && check.status == Status::Critical)
        })
        .await;
    let Reply::Reverse(Some(ReverseMatch::Service(found))) = client
        .read(Query::Reverse {
            addr: "127.44.200.1".parse().unwrap(),
        })
        .await
    else {
        panic!("no service at that address");
    };
    assert_eq!(&*found.id, "web1");

    // A session of this node.
    let session = Session {
        node: text("client"),
        ..Session::default()
    };
    let Ok(WriteReply::Session(id)) = client.write(Write::SessionCreate(Box::new(session))).await
    else {
        panic!("no session");
    };
    match client.read(Query::SessionGet { id }).await {
        Reply::Sessions(found) => assert_eq!(&*found[0].node, "client"),
        other => panic!("{other:?}"),
    }
    client.write(Write::SessionDestroy(id)).await.unwrap();

    client
        .handle()
        .deregister_service(&caller(), "web1")
        .await
        .unwrap();
    client
        .until("the service is gone", async || {
            services(client, "client").await.is_empty()
        })
        .await;

    // A snapshot out and in; what was written in between is gone.
    let save = client
        .handle()
        .snapshot_save(&caller(), &ReadOptions::default())
        .await
        .unwrap();
    assert!(save.meta.index > Index(1) && save.meta.known_leader);
    let mut chunks = save.chunks;
    let mut archive = Vec::new();
    while let Some(piece) = chunks.recv().await {
        archive.extend_from_slice(&piece.unwrap());
    }
    client.set("after", "1").await.unwrap();
    assert_eq!(restore(client, &archive).await, Ok(()));
    client
        .until("the old state is back", async || {
            client.value("after").await.is_none()
        })
        .await;
    assert_eq!(client.value("a/b").await.as_deref(), Some("3"));
    let cut = restore(client, &archive[..archive.len() / 2]).await;
    assert!(cut.is_err(), "{cut:?}");
    assert!(restore(client, b"no archive at all").await.is_err());
    assert_eq!(client.value("a/b").await.as_deref(), Some("3"));

    // Nodes, the peer set, errors of servers.
    let Reply::Nodes(nodes) = client.read(Query::Nodes(ListOptions::default())).await else {
        panic!("no nodes");
    };
    let names: Vec<&str> = nodes.iter().map(|node| &*node.name).collect();
    assert!(
        names.contains(&server) && names.contains(&"client"),
        "{names:?}"
    );
    let leader = client.handle().status_leader(None).await.unwrap();
    assert!(leader.ends_with(":8300"), "{leader}");
    assert_eq!(client.handle().status_peers(None).await.unwrap(), [leader]);
    client
        .until("the leader has judged itself", async || {
            let health = client.handle().operator_health(&caller(), None).await;
            health.is_ok_and(|health| health.servers.len() == 1)
        })
        .await;
    let filter = Query::Nodes(ListOptions {
        filter: text("nonsense"),
        ..ListOptions::default()
    });
    let stale = ReadOptions {
        consistency: Consistency::Stale,
        ..ReadOptions::default()
    };
    let err = client.read_with(filter, &stale).await.unwrap_err();
    let shown = err.to_string();
    assert!(
        shown.starts_with("rpc error making call: Failed to create boolean expression evaluator"),
        "{shown}"
    );
    let elsewhere = ReadOptions {
        datacenter: Some(text("nowhere")),
        ..ReadOptions::default()
    };
    let err = client.read_with(get("a"), &elsewhere).await.unwrap_err();
    assert!(err.is_no_path(), "{err}");
    assert_eq!(
        err.to_string(),
        "rpc error making call: No path to datacenter"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_serves_from_its_server() {
    let server = start("server", "127.44.10.1", "server = true bootstrap = true").await;
    let client = start("client", "127.44.10.2", "server = false").await;
    let before = client.set("k", "v").await;
    assert_eq!(before, Err(RpcError::NoServers));
    assert!(
        client
            .handle()
            .read_now(&caller(), &get("k"), &ReadOptions::default())
            .is_none()
    );
    client
        .handle()
        .set_servers(vec![server_at("server", "127.44.10.1")]);
    use_the_server(&client, "server").await;
    // The server has what the client wrote.
    assert_eq!(server.value("a/b").await.as_deref(), Some("3"));
    let report = client.handle().self_report().await;
    assert_eq!(report.stats["consul"]["server"], "false");
    assert_eq!(report.stats["consul"]["known_servers"], "1");

    // One that is known by its identity is called in frames while much is asked.
    let addr = "127.44.10.1:8300".parse().unwrap();
    assert_eq!(connections_to(addr), 1);
    let known = ServerAddr {
        id: Some(server.handle().identity().id),
        ..server_at("server", "127.44.10.1")
    };
    client.handle().set_servers(vec![known]);
    client
        .until("there is a connection for frames", async || {
            for number in 0..10 {
                let value = number.to_string();
                client.set("f", &value).await.unwrap();
                assert_eq!(client.value("f").await, Some(value));
            }
            connections_to(addr) == 2
        })
        .await;
    assert!(client.value("none").await.is_none());
    let refused = client.set("", "v").await;
    assert!(matches!(refused, Err(RpcError::Remote(_))), "{refused:?}");

    // A server that cannot be reached costs nothing but the try.
    client.handle().set_servers(vec![
        server_at("gone", "127.44.10.9"),
        server_at("server", "127.44.10.1"),
    ]);
    for number in 0..4 {
        client.set("k", &number.to_string()).await.unwrap();
    }
    client.handle().set_servers(Vec::new());
    assert_eq!(client.set("k", "v").await, Err(RpcError::NoServers));
    client.agent.shutdown().await;
    server.agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_of_calls_is_limited_where_that_is_asked_for() {
    let client = start(
        "client",
        "127.44.11.2",
        "server = false limits { rpc_rate = 0.001 rpc_max_burst = 2 }",
    )
    .await;
    client
        .until("the burst is used up", async || {
            client.set("k", "v").await == Err(RpcError::RateLimited)
        })
        .await;
}

/// A real server.
struct Consul(Child);

impl Drop for Consul {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_serves_from_a_real_consul_server() {
    let Some(binary) = std::env::var_os("CONSUL_BIN") else {
        eprintln!("skipped: CONSUL_BIN is not set");
        return;
    };
    let addr = "127.44.12.1";
    let child = Command::new(binary)
        .args(["agent", "-dev", "-dns-port=-1", "-grpc-port=-1"])
        .args(["-node=real", "-bind", addr, "-client", addr])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _consul = Consul(child.expect("CONSUL_BIN starts"));
    let client = start("client", "127.44.12.2", "server = false").await;

    client.handle().set_servers(vec![server_at("real", addr)]);
    use_the_server(&client, "real").await;
    client.agent.shutdown().await;
}
