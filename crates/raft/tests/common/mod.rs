//! A machine that remembers what it was told, and servers wired to each other in one process.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
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
        self.0.lock().cut.clear();
    }

    pub fn forget(&self) {
        self.0.lock().servers.clear();
    }

    fn find(&self, from: RaftNodeId, to: RaftNodeId) -> Result<Raft, TransportError> {
        let state = self.0.lock();
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
        _: &Member,
        request: Bytes,
        _: Duration,
    ) -> TransportFuture<'_> {
        Box::pin(async move {
            let raft = self.hub.find(self.from, target)?;
            let answer = raft.handle(request).await;
            self.hub.find(self.from, target)?;
            Ok(answer)
        })
    }

    fn send_snapshot(
        &self,
        target: RaftNodeId,
        _: &Member,
        header: Bytes,
        mut body: SnapshotStream,
    ) -> TransportFuture<'_> {
        Box::pin(async move {
            let raft = self.hub.find(self.from, target)?;
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

/// Waits until `check` holds, up to 20 s.
pub async fn until<T>(env: &Env, what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    for _ in 0..4000 {
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
