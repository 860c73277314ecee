//! Two datacenters in one process: calls on the server port of one for the other, and queries that nobody waits for.
#![allow(clippy::unwrap_used, reason = "a failed step of a test may end it")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use tribune_agent::Handle;
use tribune_agent::start::Agent;
use tribune_net::{CallError, Pool, PoolOptions};
use tribune_rt::{CancellationToken, Env, TaskGroup};
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::id::Index;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::query::{Query, ReadOptions, Reply};
use tribune_types::text::text;
use tribune_types::write::Write;
use tribune_wire::msgpack::encode::{put_map, put_raw, put_str};
use tribune_wire::rpc;

const LONG: Duration = Duration::from_secs(90);

struct World {
    env: Env,
    agents: Vec<Agent>,
    addrs: Vec<SocketAddr>,
    calls: Pool,
    tasks: TaskGroup,
    _folders: Vec<tempfile::TempDir>,
}

fn caller() -> Caller {
    Caller::internal()
}

/// A server in each of two datacenters, `s1` in `dc1` and `s2` in `dc2`, that know one another, and a client of the first.
async fn world(subnet: u8) -> World {
    let env = Env::ambient().unwrap();
    let mut agents = Vec::new();
    let mut folders = Vec::new();
    let mut addrs = Vec::new();
    for (number, dc, more) in [
        (1, "dc1", "server = true bootstrap = true"),
        (2, "dc2", "server = true bootstrap = true"),
        (3, "dc1", ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let addr = format!("127.62.{subnet}.{number}");
        let join = match number {
            2 => format!("retry_join_wan = [\"127.62.{subnet}.1\"] retry_interval_wan = \"1s\""),
            3 => format!("retry_join = [\"127.62.{subnet}.1\"] retry_interval = \"1s\""),
            _ => String::new(),
        };
        let hcl = format!(
            "data_dir = {:?} node_name = \"s{number}\" datacenter = \"{dc}\" bind_addr = {addr:?} {more} {join}
             ports {{ http = -1 dns = -1 grpc = -1 }}",
            folder.path()
        );
        agents.push(support::start(&env, hcl).await);
        folders.push(folder);
        addrs.push(format!("{addr}:8300").parse().unwrap());
    }
    let tasks = env.group(&CancellationToken::new());
    let world = World {
        calls: Pool::new(&env, &tasks, PoolOptions::default()),
        env,
        agents,
        addrs,
        tasks,
        _folders: folders,
    };
    for at in 0..3 {
        for dc in ["dc1", "dc2"] {
            world
                .until(async || {
                    let leader = world.handle(at).status_leader(Some(dc)).await;
                    leader.is_ok_and(|addr| !addr.is_empty())
                })
                .await;
        }
    }
    world
}

impl World {
    fn handle(&self, at: usize) -> &Handle {
        self.agents[at].handle()
    }

    async fn until(&self, mut holds: impl AsyncFnMut() -> bool) {
        let deadline = self.env.mono() + LONG;
        while !holds().await {
            assert!(self.env.mono() < deadline, "never");
            self.env.sleep(Duration::from_millis(50)).await;
        }
    }

    /// A call on the server port of `s1`.
    async fn call(&self, method: &str, body: &[u8]) -> Result<Vec<u8>, CallError> {
        self.calls.call(self.addrs[0], method, body, LONG).await
    }

    /// Queries that wait in `s2`.
    fn waiting(&self) -> usize {
        self.agents[1].server().unwrap().queries_blocking()
    }

    async fn end(self) {
        self.tasks.shutdown(LONG).await;
        for agent in self.agents {
            agent.shutdown().await;
        }
    }
}

fn set(key: &str, value: &str) -> Write {
    let entry = KvEntry {
        key: key.as_bytes().into(),
        value: value.as_bytes().into(),
        ..KvEntry::default()
    };
    Write::Kv(KvOp::Set, entry)
}

fn get(key: &str) -> Query {
    Query::KvGet {
        key: key.as_bytes().into(),
    }
}

fn remote(text: &str) -> CallError {
    CallError::Remote(text.to_owned())
}

#[tokio::test]
async fn calls_for_another_datacenter_are_passed_on_as_they_are() {
    let w = world(71).await;
    let (method, body) = rpc::encode_write(&set("k", "v"), "dc2", "").unwrap();
    assert_eq!(w.call(method, &body).await, Ok(vec![0xc2]), "as of a set");
    let options = ReadOptions::default();
    let (method, body) = rpc::encode_query(&get("k"), &options, "dc2", "").unwrap();
    let far = w.call(method, &body).await.unwrap();
    let near = w.calls.call(w.addrs[1], method, &body, LONG).await.unwrap();
    assert_eq!(far, near);
    assert!(far.windows(1).any(|byte| byte == b"v"));
    // (method, datacenter, what the caller is told)
    for (method, dc, want) in [
        ("KVS.Get", "nope", "No path to datacenter"),
        ("KVS.Apply", "nope", "No path to datacenter"),
        ("KVS.Get", "", "No path to datacenter"),
        ("KVS.Get", "DC2", "No path to datacenter"),
        ("KVS.Nope", "dc2", "rpc: can't find method KVS.Nope"),
        (
            "Operator.RaftRemovePeerByAddress",
            "dc2",
            "rpc error making call: address \"\" was not found in the Raft configuration",
        ),
        // Of what is not served here the other datacenter may know more: today it does not.
        (
            "Intention.List",
            "dc2",
            "rpc error making call: rpc: can't find method Intention.List",
        ),
    ] {
        let body = rpc::encode_status(dc, "");
        let got = w.call(method, &body).await;
        assert_eq!(got, Err(remote(want)), "{method} {dc:?}");
    }
    let body = rpc::encode_status("dc2", "");
    let leader = w.call(rpc::LEADER, &body).await.unwrap();
    assert_eq!(rpc::decode_text(&leader).unwrap(), "127.62.71.2:8300");
    // Names of datacenters are known here, whatever the request says.
    let (method, body) = rpc::encode_query(&Query::Datacenters, &options, "nope", "").unwrap();
    let names = w.call(method, &body).await.unwrap();
    let (reply, _) = rpc::decode_reply(&Query::Datacenters, &names).unwrap();
    let want = ["dc1", "dc2"].map(text).to_vec();
    assert_eq!(reply, Reply::Datacenters(want));
    // What cannot be understood there ends the stream there, and not the one here.
    let mut strange = Vec::new();
    put_map(&mut strange, 2);
    put_str(&mut strange, "Datacenter");
    put_str(&mut strange, "dc2");
    put_str(&mut strange, "Session");
    put_raw(&mut strange, b"\x01");
    let err = w.call("Session.Apply", &strange).await.unwrap_err();
    assert!(
        matches!(&err, CallError::Remote(text) if text.starts_with("rpc error making call: ")),
        "{err}"
    );
    w.end().await;
}

#[tokio::test]
async fn a_query_that_nobody_waits_for_ends_in_the_other_datacenter_too() {
    let w = world(72).await;
    let options = ReadOptions {
        datacenter: Some(text("dc2")),
        min_index: Index(1_000_000),
        wait: Some(Duration::from_secs(600)),
        ..ReadOptions::default()
    };
    // From a front of the server, and from one of a client, which is two servers away.
    for at in [0, 2] {
        let who = caller();
        let reading = w.handle(at).read(&who, get("k"), &options);
        let mut reading = Box::pin(reading);
        let waits = w.until(async || w.waiting() == 1);
        tokio::select! {
            biased;
            read = &mut reading => panic!("{read:?}"),
            () = waits => {}
        }
        drop(reading);
        w.until(async || w.waiting() == 0).await;
    }
    // A change there ends it with the index of there, and it may be asked for less than it takes.
    let short = ReadOptions {
        wait: Some(Duration::from_millis(200)),
        ..options.clone()
    };
    let answer = w.handle(2).read(&caller(), get("k"), &short).await.unwrap();
    assert!(answer.meta.index < Index(1_000_000));
    let known = ReadOptions {
        min_index: answer.meta.index,
        ..options
    };
    let who = caller();
    let (woken, written) = tokio::join!(w.handle(2).read(&who, get("k"), &known), async {
        w.until(async || w.waiting() == 1).await;
        w.handle(0).write(&who, Some("dc2"), set("k", "new")).await
    });
    written.unwrap();
    let woken = woken.unwrap();
    assert!(woken.meta.index > known.min_index);
    assert!(matches!(woken.reply(), Reply::Kv(found) if &*found[0].value == b"new"));
    w.end().await;
}

#[tokio::test]
async fn requests_that_wait_for_a_server_that_ends_are_told() {
    let mut w = world(73).await;
    let options = ReadOptions {
        datacenter: Some(text("dc2")),
        min_index: Index(1_000_000),
        ..ReadOptions::default()
    };
    let other = w.agents.remove(1);
    let who = caller();
    let reading = w.handle(0).read(&who, get("k"), &options);
    let ends = async {
        w.until(async || other.server().unwrap().queries_blocking() == 1)
            .await;
        other.shutdown().await;
    };
    let (read, ()) = tokio::join!(reading, ends);
    let err = read.unwrap_err();
    assert!(
        matches!(err, RpcError::Remote(_) | RpcError::RemoteUnreachable),
        "{err}"
    );
    let now = ReadOptions {
        min_index: Index(0),
        ..options
    };
    let err = w.handle(0).read(&who, get("k"), &now).await.unwrap_err();
    assert_eq!(err, RpcError::RemoteUnreachable);
    let err = w.handle(0).write(&who, Some("dc2"), set("k", "v")).await;
    assert_eq!(err.unwrap_err(), RpcError::RemoteUnreachable);
    // A client is told by its server.
    let err = w.handle(1).read(&who, get("k"), &now).await.unwrap_err();
    assert_eq!(
        err.to_string(),
        "rpc error making call: Remote DC has no server currently reachable"
    );
    w.end().await;
}
