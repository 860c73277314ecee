//! A machine that remembers what it was told, and servers wired to each other in one process.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "shared by several test programs"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tribune_raft::{
    Committed, Machine, Member, Raft, RaftConfig, RaftNodeId, SnapshotSource, SnapshotStream,
    Timing, Transport, TransportError, TransportFuture,
};
use tribune_rt::Env;
use tribune_types::command::Outcome;
use tribune_types::id::Uuid;

pub type Seen = Arc<Mutex<Vec<(u64, Bytes)>>>;

/// Keeps every payload with its index.
#[derive(Default)]
pub struct Memory(pub Seen);

struct View(Vec<(u64, Bytes)>);

impl Machine for Memory {
    fn apply(&mut self, batch: &[Committed], out: &mut Vec<Outcome>) {
        let mut seen = self.0.lock();
        for entry in batch {
            assert!(
                seen.last().is_none_or(|(last, _)| *last < entry.index.0),
                "entries come in order and once"
            );
            seen.push((entry.index.0, entry.payload.clone()));
            out.push(Outcome::Verdict(entry.payload.len().is_multiple_of(2)));
        }
    }

    fn snapshot(&self) -> Box<dyn SnapshotSource> {
        Box::new(View(self.0.lock().clone()))
    }

    fn restore(
        &mut self,
        from: &mut dyn Read,
        progress: &mut dyn FnMut(u64),
    ) -> std::io::Result<()> {
        let mut all = Vec::new();
        let mut head = [0; 12];
        while from.read_exact(&mut head).is_ok() {
            let index = u64::from_le_bytes(head[..8].try_into().unwrap());
            let mut payload = vec![0; u32::from_le_bytes(head[8..].try_into().unwrap()) as usize];
            from.read_exact(&mut payload)?;
            all.push((index, Bytes::from(payload)));
            progress(all.len() as u64);
        }
        *self.0.lock() = all;
        Ok(())
    }
}

impl SnapshotSource for View {
    fn write_to(&mut self, out: &mut dyn Write) -> std::io::Result<()> {
        for (index, payload) in &self.0 {
            out.write_all(&index.to_le_bytes())?;
            out.write_all(&(payload.len() as u32).to_le_bytes())?;
            out.write_all(payload)?;
        }
        Ok(())
    }
}

/// Links between servers; a cut server neither sends nor receives.
#[derive(Clone, Default)]
pub struct Hub(Arc<Mutex<HubState>>);

#[derive(Default)]
struct HubState {
    servers: BTreeMap<RaftNodeId, Raft>,
    cut: BTreeSet<RaftNodeId>,
    /// Links that carry nothing, one way.
    dead: BTreeSet<(RaftNodeId, RaftNodeId)>,
    /// Each way takes a random time up to this.
    slow: Option<(Env, Duration)>,
    /// Servers that moved; only the right address reaches them.
    addrs: BTreeMap<RaftNodeId, String>,
    /// Messages by their tag.
    sent: BTreeMap<u8, usize>,
}

struct Link {
    hub: Hub,
    from: RaftNodeId,
}

impl Hub {
    pub fn transport(&self, from: RaftNodeId) -> Arc<dyn Transport> {
        Arc::new(Link {
            hub: self.clone(),
            from,
        })
    }

    pub fn join(&self, raft: &Raft) {
        self.0.lock().servers.insert(raft.id(), raft.clone());
    }

    pub fn cut(&self, id: RaftNodeId) {
        self.0.lock().cut.insert(id);
    }

    pub fn heal(&self) {
        let mut state = self.0.lock();
        state.cut.clear();
        state.dead.clear();
    }

    pub fn kill_link(&self, from: RaftNodeId, to: RaftNodeId) {
        self.0.lock().dead.insert((from, to));
    }

    pub fn slow_down(&self, env: &Env, up_to: Duration) {
        self.0.lock().slow = Some((env.clone(), up_to));
    }

    pub fn move_to(&self, id: RaftNodeId, addr: &str) {
        self.0.lock().addrs.insert(id, addr.to_owned());
    }

    /// How many messages with this tag were sent.
    pub fn sent(&self, tag: u8) -> usize {
        self.0.lock().sent.get(&tag).copied().unwrap_or_default()
    }

    async fn delay(&self) {
        let slow = self.0.lock().slow.clone();
        if let Some((env, up_to)) = slow {
            env.sleep(env.jitter(up_to)).await;
        }
    }

    pub fn forget(&self) {
        self.0.lock().servers.clear();
    }

    fn find(
        &self,
        from: RaftNodeId,
        to: RaftNodeId,
        member: &Member,
    ) -> Result<Raft, TransportError> {
        let state = self.0.lock();
        let moved = state.addrs.get(&to).is_some_and(|at| *at != member.addr);
        if moved || state.dead.contains(&(from, to)) {
            return Err(TransportError::Unreachable("not there".to_owned()));
        }
        if state.cut.contains(&from) || state.cut.contains(&to) {
            return Err(TransportError::Unreachable("cut".to_owned()));
        }
        let found = state.servers.get(&to).cloned();
        found.ok_or_else(|| TransportError::Unreachable("down".to_owned()))
    }
}

impl Transport for Link {
    fn call(
        &self,
        target: RaftNodeId,
        member: &Member,
        request: Bytes,
        limit: Duration,
    ) -> TransportFuture<'_> {
        let member = member.clone();
        *self.hub.0.lock().sent.entry(request[1]).or_default() += 1;
        Box::pin(async move {
            let call = async {
                self.hub.delay().await;
                let raft = self.hub.find(self.from, target, &member)?;
                let answer = raft.handle(request).await;
                self.hub.delay().await;
                self.hub.find(self.from, target, &member)?;
                // The way back.
                if self.hub.0.lock().dead.contains(&(target, self.from)) {
                    return Err(TransportError::Failed("no answer".to_owned()));
                }
                Ok(answer)
            };
            tokio::time::timeout(limit, call)
                .await
                .unwrap_or_else(|_| Err(TransportError::Failed("late".to_owned())))
        })
    }

    fn send_snapshot(
        &self,
        target: RaftNodeId,
        member: &Member,
        header: Bytes,
        mut body: SnapshotStream,
    ) -> TransportFuture<'_> {
        let member = member.clone();
        Box::pin(async move {
            let raft = self.hub.find(self.from, target, &member)?;
            let (mut tx, mut rx) = tokio::io::duplex(1000);
            let send = async move {
                while let Some(chunk) = body.next_chunk().unwrap() {
                    if tx.write_all(&chunk).await.is_err() {
                        return;
                    }
                }
            };
            let ((), answer) = tokio::join!(send, raft.handle_snapshot(header, &mut rx));
            Ok(answer)
        })
    }
}

/// So many seeds, or as many as `RAFT_SEEDS` says: more are run by hand.
pub fn seeds(usual: u64) -> u64 {
    std::env::var("RAFT_SEEDS").map_or(usual, |count| count.parse().unwrap())
}

pub fn id(n: u8) -> RaftNodeId {
    Uuid([n; 16])
}

pub fn member(n: u8) -> Member {
    Member {
        addr: format!("10.0.0.{n}:8300"),
    }
}

pub fn members(ns: impl IntoIterator<Item = u8>) -> BTreeMap<RaftNodeId, Member> {
    ns.into_iter().map(|n| (id(n), member(n))).collect()
}

pub fn config(n: u8, dir: Option<&std::path::Path>) -> RaftConfig {
    let mut config = RaftConfig::new(
        id(n),
        member(n).addr,
        dir.map(|dir| dir.join(n.to_string())),
    );
    config.timing = Timing {
        heartbeat: Duration::from_millis(300),
        election: Duration::from_millis(300),
    };
    config.segment_size = 64 * 1024;
    config
}

pub struct Server {
    pub raft: Raft,
    pub seen: Seen,
}

pub async fn start(env: &Env, hub: &Hub, config: RaftConfig) -> Server {
    let seen = Seen::default();
    let transport = hub.transport(config.id);
    let raft = Raft::open(env, config, Box::new(Memory(seen.clone())), transport)
        .await
        .unwrap();
    hub.join(&raft);
    Server { raft, seen }
}

/// Waits until `check` holds, up to a minute.
pub async fn until<T>(env: &Env, what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    for _ in 0..12_000 {
        if let Some(value) = check() {
            return value;
        }
        env.sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain: {what}");
}

pub async fn leader<'a>(env: &Env, servers: &'a [Server]) -> &'a Server {
    until(env, "a leader", || {
        servers
            .iter()
            .find(|server| server.raft.is_leader_lease_valid())
    })
    .await
}

pub fn payload(n: u64) -> Bytes {
    Bytes::from(format!("entry {n}").into_bytes())
}

/// Servers 1 to `count` at the default timing, in memory, with their leader.
pub async fn cluster(env: &Env, hub: &Hub, count: u8, timing: Timing) -> Vec<Server> {
    let mut servers = Vec::new();
    for n in 1..=count {
        let mut settings = config(n, None);
        settings.timing = timing;
        settings.propose_timeout = Duration::from_secs(2);
        servers.push(start(env, hub, settings).await);
    }
    servers[0].raft.bootstrap(members(1..=count)).await.unwrap();
    leader(env, &servers).await;
    servers
}

/// Stops all and lets go of them.
pub async fn stop(hub: &Hub, servers: &[Server]) {
    for server in servers {
        server.raft.shutdown().await;
    }
    hub.forget();
}

pub fn real(test: impl AsyncFnOnce(Env)) {
    let env = Env::real(tribune_rt::RealConfig {
        front_workers: Some(1),
    })
    .unwrap();
    env.block_on(test(env.clone()));
}
