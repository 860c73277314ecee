//! Servers with their ports, and a test that plays the pool.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tribune_net::{CallFailure, CallResult, Handler, NetOptions, Pool, PoolOptions, SnapshotReply};
use tribune_rt::{CancellationToken, Env, TaskGroup};
use tribune_server::{Authorizer, Bootstrap, Origin, Server, ServerOptions};
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::id::NodeId;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::member::{Member, MemberStatus};
use tribune_types::query::{Consistency, Query, QueryMeta, ReadOptions, Reply};
use tribune_types::text::{Text, TextMap, text};
use tribune_types::write::{Write, WriteReply};
use tribune_wire::rpc::{self, Call, ReplyForm};

/// How long requests are held.
pub(crate) const HOLD: Duration = Duration::from_secs(3);
/// Longest wait for what should happen soon, on a busy machine.
const LONG: Duration = Duration::from_secs(60);
const RPC_PORT: u16 = 8300;

/// Runs a test on a runtime of two workers.
pub(crate) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

pub(crate) fn pair(key: &str, value: &str) -> KvEntry {
    KvEntry {
        key: key.as_bytes().into(),
        value: value.as_bytes().into(),
        ..KvEntry::default()
    }
}

pub(crate) fn kv(key: &str, value: &str) -> Write {
    Write::Kv(KvOp::Set, pair(key, value))
}

pub(crate) fn get(key: &str) -> Query {
    Query::KvGet {
        key: key.as_bytes().into(),
    }
}

pub(crate) fn with(consistency: Consistency) -> ReadOptions {
    ReadOptions {
        consistency,
        ..ReadOptions::default()
    }
}

/// A server port as an agent serves it, without what needs an agent.
pub(crate) struct Port {
    server: Server,
    passed_on: AtomicUsize,
    last: Mutex<Vec<u8>>,
    hangs: AtomicBool,
}

impl Port {
    /// Calls that came from other servers.
    pub(crate) fn passed_on(&self) -> usize {
        self.passed_on.load(Ordering::SeqCst)
    }

    /// The body of the last of them.
    pub(crate) fn last_body(&self) -> Vec<u8> {
        self.last.lock().clone()
    }

    /// From now on calls of other servers are not answered.
    pub(crate) fn hang(&self, hangs: bool) {
        self.hangs.store(hangs, Ordering::SeqCst);
    }

    async fn serve(&self, origin: Origin, method: &str, body: &[u8]) -> Result<Vec<u8>, RpcError> {
        if origin == Origin::PassedOn {
            self.passed_on.fetch_add(1, Ordering::SeqCst);
            *self.last.lock() = body.to_vec();
            if self.hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
        }
        if let Some(reply) = self.server.relay(origin, method, body).await? {
            return Ok(reply);
        }
        let caller = Caller::internal();
        let mut reply = Vec::new();
        match rpc::decode_call(method, body).unwrap().unwrap() {
            Call::ServerHealth(_) => {
                let health = self.server.operator_health(origin, &caller).await?;
                rpc::encode_server_health_reply(&health, &mut reply);
            }
            Call::Write { envelope, write } => {
                let form = ReplyForm::of(&write);
                let dc = Some(&*envelope.datacenter);
                let written = self.server.write_from(origin, &caller, dc, write).await?;
                rpc::encode_write_reply(form, &written, &mut reply);
            }
            Call::Ping => reply.extend_from_slice(rpc::EMPTY),
            Call::Leader(_) => rpc::encode_text(&self.server.status_leader(), &mut reply),
            Call::Peers(_) => rpc::encode_texts(&self.server.status_peers(), &mut reply),
            Call::RaftStats => rpc::encode_server_stats(&self.server.stats(), &mut reply),
            other => panic!("{other:?}"),
        }
        Ok(reply)
    }

    async fn answer(&self, origin: Origin, method: &str, body: &[u8]) -> CallResult {
        let served = self.serve(origin, method, body).await;
        served.map_err(|err| CallFailure::failed(err.to_string()))
    }
}

impl Handler for Port {
    fn call<'a>(
        &'a self,
        _: SocketAddr,
        method: &'a str,
        body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        Box::pin(self.answer(Origin::Asked, method, body))
    }

    fn passed_on<'a>(
        &'a self,
        _: SocketAddr,
        method: &'a str,
        body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        Box::pin(self.answer(Origin::PassedOn, method, body))
    }

    fn snapshot<'a>(
        &'a self,
        _: SocketAddr,
        request: &'a [u8],
        mut archive: mpsc::Receiver<Bytes>,
    ) -> Pin<Box<dyn Future<Output = SnapshotReply> + Send + 'a>> {
        Box::pin(async move {
            let call = rpc::decode_snapshot(request).unwrap();
            assert!(call.passed_on);
            let restored = async {
                let caller = Caller::internal();
                let restore = self
                    .server
                    .snapshot_restore(Origin::PassedOn, &caller, None)
                    .await?;
                while let Some(piece) = archive.recv().await {
                    if restore.chunks.send(piece).await.is_err() {
                        break;
                    }
                }
                drop(restore.chunks);
                restore.done.await.unwrap()
            };
            let error = restored
                .await
                .err()
                .map_or(String::new(), |err| err.to_string());
            SnapshotReply {
                head: rpc::encode_snapshot_reply(&error, &QueryMeta::default()),
                archive: None,
            }
        })
    }
}

/// One server with its port.
pub(crate) struct Node {
    pub(crate) name: Text,
    pub(crate) server: Server,
    pub(crate) port: Arc<Port>,
    env: Env,
    addr: SocketAddr,
    tasks: TaskGroup,
}

impl Node {
    pub(crate) async fn start(ip: IpAddr, number: u8, servers: u8) -> Node {
        let env = Env::ambient().unwrap();
        let stop = CancellationToken::new();
        let name = text(&format!("s{number}"));
        let options = ServerOptions {
            rpc_port: RPC_PORT,
            bootstrap: Bootstrap::Expect(servers.into()),
            rpc_hold_timeout: HOLD,
            timing: tribune_raft::Timing::scaled(1),
            ..ServerOptions::new(name.clone(), NodeId::from_random([number; 16]), ip)
        };
        let server = Server::start(&env, options, Authorizer::allow_all(), &stop)
            .await
            .unwrap();
        let port = Arc::new(Port {
            server: server.clone(),
            passed_on: AtomicUsize::new(0),
            last: Mutex::default(),
            hangs: AtomicBool::new(false),
        });
        let tasks = env.group(&stop);
        let addr = SocketAddr::new(ip, RPC_PORT);
        let net = NetOptions {
            peers: Some(server.peer_handler()),
            ..NetOptions::new(addr)
        };
        let handler = Arc::clone(&port);
        tribune_net::serve(&env, &tasks, net, handler).unwrap();
        Node {
            name,
            server,
            port,
            env,
            addr,
            tasks,
        }
    }

    pub(crate) fn as_member(&self, expect: usize) -> Member {
        let tags = [
            ("role", "consul"),
            ("dc", "dc1"),
            (
                "id",
                &NodeId::from_random([self.name.as_bytes()[1] - b'0'; 16]).to_string(),
            ),
            ("port", &RPC_PORT.to_string()),
            ("vsn", "2"),
            ("vsn_min", "2"),
            ("vsn_max", "3"),
            ("raft_vsn", "3"),
            ("build", "1.8.7:"),
            ("tribune", "1"),
            ("expect", &expect.to_string()),
        ]
        .into_iter()
        .map(|(k, v)| (text(k), text(v)))
        .collect::<TextMap>();
        Member {
            name: self.name.clone(),
            addr: text(&self.addr.ip().to_string()),
            port: 8301,
            tags,
            status: MemberStatus::Alive,
            protocol: [1, 5, 2],
            ..Member::default()
        }
    }

    /// Ends as a process that is killed: nobody is told.
    pub(crate) async fn kill(&self) {
        self.tasks.stop().cancel();
        self.tasks.shutdown(Duration::from_secs(5)).await;
        self.server.shutdown(Duration::from_secs(5)).await;
    }

    pub(crate) async fn pause(&self, time: Duration) {
        self.env.sleep(time).await;
    }

    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let deadline = self.env.mono() + LONG;
        while !holds().await {
            assert!(self.env.mono() < deadline, "never: {what}");
            self.env.sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn write(&self, write: Write) -> Result<WriteReply, RpcError> {
        self.server.write(&Caller::internal(), None, write).await
    }

    pub(crate) async fn set(&self, key: &str, value: &str) -> Result<WriteReply, RpcError> {
        self.write(kv(key, value)).await
    }

    pub(crate) async fn get(
        &self,
        key: &str,
        options: &ReadOptions,
    ) -> Result<(Option<String>, QueryMeta), RpcError> {
        let caller = Caller::internal();
        let answer = self.server.read(&caller, get(key), options).await?;
        let Reply::Kv(found) = answer.reply() else {
            panic!("{answer:?}")
        };
        let value = found
            .first()
            .map(|e| String::from_utf8(e.value.to_vec()).unwrap());
        Ok((value, answer.meta))
    }

    /// Calls the port as a client does.
    pub(crate) async fn call(
        &self,
        method: &str,
        body: &[u8],
    ) -> Result<Vec<u8>, tribune_net::CallError> {
        let pool = Pool::new(&self.env, &self.tasks, PoolOptions::default());
        pool.call(self.addr, method, body, LONG).await
    }
}

/// Servers that form one peer set.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
}

impl Cluster {
    /// Starts servers at 127.101.`test`.1 and up, and waits until all of them follow one leader with all voters.
    pub(crate) async fn form(test: u8, servers: u8) -> Cluster {
        let mut nodes = Vec::new();
        for number in 1..=servers {
            let ip = IpAddr::from([127, 101, test, number]);
            nodes.push(Node::start(ip, number, servers).await);
        }
        for node in &nodes {
            for other in &nodes {
                node.server.on_member(&other.as_member(nodes.len()));
            }
        }
        let cluster = Cluster { nodes };
        for node in &cluster.nodes {
            let what = format!("{} follows", node.name);
            node.until(&what, async || {
                let metrics = node.server.raft_metrics();
                let voters = metrics.membership.peers.iter().filter(|p| p.voter).count();
                voters == usize::from(servers) && !node.server.status_leader().is_empty()
            })
            .await;
        }
        let registered = async || {
            cluster
                .nodes
                .iter()
                .all(|node| node.server.version().node("s1").is_some())
        };
        cluster.nodes[0].until("registered", registered).await;
        cluster
    }

    fn leads(node: &Node) -> bool {
        node.server.status_leader() == node.addr.to_string()
    }

    pub(crate) fn leader(&self) -> &Node {
        self.nodes.iter().find(|node| Cluster::leads(node)).unwrap()
    }

    pub(crate) fn follower(&self) -> &Node {
        self.nodes
            .iter()
            .find(|node| !Cluster::leads(node))
            .unwrap()
    }

    pub(crate) fn take_leader(&mut self) -> Node {
        let at = self.nodes.iter().position(Cluster::leads).unwrap();
        self.nodes.remove(at)
    }

    pub(crate) fn take_follower(&mut self) -> Node {
        let at = self
            .nodes
            .iter()
            .position(|node| !Cluster::leads(node))
            .unwrap();
        self.nodes.remove(at)
    }

    /// Ends all that are left.
    pub(crate) async fn end(self) {
        for node in &self.nodes {
            node.kill().await;
        }
    }
}
