//! Clients: they talk to any agent, server or not, and write down what they asked and what they were told.
//!
//! Requests run as tasks of the agent's node, so that a killed or paused process takes them along; the client itself
//! belongs to nobody and waits for a while. What has no answer by then has an unknown fate.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tribune_agent::Handle;
use tribune_rt::{CancellationToken, Env};
use tribune_types::caller::Caller;
use tribune_types::catalog::SERF_HEALTH;
use tribune_types::error::{RpcError, StateError};
use tribune_types::id::{Index, SessionId};
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::query::{Consistency, Query, ReadOptions, Reply};
use tribune_types::session::{Behavior, Session};
use tribune_types::text::{Text, text};
use tribune_types::write::{Write, WriteReply};

use super::bug::Bug;
use super::history::{History, Reader, Ticket};
use super::node::Slot;
use crate::linear::{Answer, Call, Entry};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// Plain keys, and keys with locks.
const KEYS: u32 = 3;
const LOCKS: u32 = 2;
/// TTL of sessions. They end after twice of it.
const SESSION_TTL: &str = "1s";

/// What everybody outside of the machines shares.
pub(super) struct Outside {
    /// Time and tasks of those outside.
    pub(super) env: Env,
    /// The agents that are asked.
    pub(super) slots: Vec<Arc<Slot>>,
    /// How many of them are servers that answer for themselves; these come first.
    pub(super) servers: usize,
    /// The datacenter that requests name; `None` is that of the agents.
    pub(super) datacenter: Option<Text>,
    /// Names of the machines of the datacenter that is asked.
    pub(super) names: Vec<String>,
    /// What was asked and told there.
    pub(super) history: Arc<History>,
    /// The workload ends.
    pub(super) stop: CancellationToken,
    /// A bug put in on purpose.
    pub(super) bug: Option<Bug>,
}

/// What became of a request.
pub(super) enum Sent<T> {
    /// Nobody was there.
    Not,
    /// No answer; it may have been served.
    Lost,
    /// The answer, from this life of the agent.
    Answered(T, u64),
}

impl Outside {
    /// Nanoseconds on the clock of the world.
    pub(super) fn now_ns(&self) -> u64 {
        self.env.mono().0
    }

    /// Sends a request to an agent and waits for the answer.
    pub(super) async fn ask<T, F>(
        &self,
        agent: usize,
        patience: Duration,
        work: impl FnOnce(Handle) -> F,
    ) -> Sent<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let Some(live) = self.slots.get(agent).and_then(|slot| slot.live()) else {
            return Sent::Not;
        };
        let mut task = live.env.spawn("request", work(live.handle));
        match self.env.timeout(patience, &mut task).await {
            Ok(Ok(answer)) => Sent::Answered(answer, live.life),
            Ok(Err(_)) => Sent::Lost,
            Err(_) => {
                // The client hangs up.
                task.abort();
                Sent::Lost
            }
        }
    }

    /// Reads.
    pub(super) async fn read(
        &self,
        agent: usize,
        query: Query,
        mut options: ReadOptions,
        patience: Duration,
    ) -> Option<(tribune_agent::Answer, u64)> {
        options.datacenter = self.asked_datacenter();
        let read = self.ask(agent, patience, |handle| async move {
            handle.read(&Caller::internal(), query, &options).await
        });
        match read.await {
            Sent::Answered(Ok(answer), life) => Some((answer, life)),
            _ => None,
        }
    }

    /// Writes.
    pub(super) async fn write(
        &self,
        agent: usize,
        write: Write,
    ) -> Sent<Result<WriteReply, RpcError>> {
        let dc = self.asked_datacenter();
        self.ask(agent, PATIENCE, |handle| async move {
            handle
                .write(&Caller::internal(), dc.as_deref(), write)
                .await
        })
        .await
    }

    /// What requests say of their datacenter.
    fn asked_datacenter(&self) -> Option<Text> {
        // The bug: the datacenter that is named is ignored.
        let ignored = self.bug == Some(Bug::IgnoredDatacenter);
        self.datacenter.clone().filter(|_| !ignored)
    }

    /// Reads a key as strongly as possible and records it; false without an answer.
    pub(super) async fn read_last(&self, client: u32, agent: usize, key: &str) -> bool {
        let ticket = self.history.begin(client, key, self.now_ns(), Call::Get);
        let options = ReadOptions {
            consistency: Consistency::Consistent,
            ..ReadOptions::default()
        };
        let found = self.read(agent, get(key), options, PATIENCE).await;
        match found.map(|(answer, _)| entry_of(answer.reply())) {
            Some(Ok(found)) => {
                self.history.end(ticket, self.now_ns(), Answer::Got(found));
                true
            }
            _ => {
                self.history.forget(ticket);
                false
            }
        }
    }
}

/// All keys that clients write.
pub(super) fn keys() -> Vec<String> {
    let plain = (0..KEYS).map(|n| format!("kv/{n}"));
    plain
        .chain((0..LOCKS).map(|n| format!("lock/{n}")))
        .collect()
}

fn get(key: &str) -> Query {
    Query::KvGet {
        key: key.as_bytes().into(),
    }
}

/// The state of a key as an answer shows it.
fn entry_of(reply: &Reply) -> Result<Option<Entry>, String> {
    let Reply::Kv(entries) = reply else {
        return Err("a KV read answered something else".to_owned());
    };
    let Some(entry) = entries.first() else {
        return Ok(None);
    };
    let value = std::str::from_utf8(&entry.value).ok();
    let value = value.and_then(|value| value.parse().ok());
    let value = value.ok_or_else(|| "a value that nobody can have written".to_owned())?;
    Ok(Some(Entry {
        value,
        index: entry.modify.0,
        session: entry.session.map(|id| id.to_string()),
    }))
}

/// One client.
pub(super) struct Client {
    outside: Arc<Outside>,
    id: u32,
    rng: SmallRng,
    /// The agent that it talks to now.
    agent: usize,
    /// The own session, and whether its end deletes what it holds.
    session: Option<(SessionId, bool)>,
    /// The last index it saw of each key.
    seen: Vec<(String, u64)>,
}

impl Client {
    pub(super) fn new(outside: Arc<Outside>, id: u32, seed: u64) -> Client {
        let mut rng = SmallRng::seed_from_u64(seed ^ u64::from(id) << 32);
        let agent = rng.random_range(0..outside.slots.len());
        Client {
            outside,
            id,
            rng,
            agent,
            session: None,
            seen: Vec::new(),
        }
    }

    /// Works until the workload ends. An operation that has begun is finished.
    pub(super) async fn run(mut self) {
        while !self.outside.stop.is_cancelled() {
            if self.rng.random_bool(0.1) {
                self.agent = self.rng.random_range(0..self.outside.slots.len());
            }
            let plain = format!("kv/{}", self.rng.random_range(0..KEYS));
            let lock = format!("lock/{}", self.rng.random_range(0..LOCKS));
            match self.rng.random_range(0..24) {
                0..4 => self.put(plain).await,
                4..8 => self.get(plain, Consistency::Consistent).await,
                8..10 => self.get(plain, Consistency::Default).await,
                10 => self.get(plain, Consistency::Stale).await,
                11..13 => self.cas(plain).await,
                13 => self.delete(plain).await,
                14 => self.put(lock).await,
                15..17 => self.get(lock, Consistency::Consistent).await,
                17..20 => self.acquire(lock).await,
                20 => self.release(lock).await,
                21..23 => self.renew().await,
                _ => self.destroy().await,
            }
            let pause = Duration::from_millis(self.rng.random_range(5..120));
            self.outside.env.sleep(pause).await;
        }
    }

    fn begin(&self, key: &str, call: Call) -> Ticket {
        let now = self.outside.now_ns();
        self.outside.history.begin(self.id, key, now, call)
    }

    fn end(&self, ticket: Ticket, answer: Answer) {
        let now = self.outside.now_ns();
        self.outside.history.end(ticket, now, answer);
    }

    async fn get(&mut self, key: String, consistency: Consistency) {
        // The bugs: a reader that does not wait until its server has what was acknowledged; one that takes what any server
        // says for the leader's word.
        let (asked, told) = match self.outside.bug {
            Some(Bug::StaleAsConsistent) => (Consistency::Stale, None),
            Some(Bug::IndexOfAnyServer) => (Consistency::Stale, Some(Consistency::Default)),
            // Nor is this one's index that of one datacenter; what it reads is to be noticed.
            Some(Bug::IgnoredDatacenter) => (consistency, None),
            _ => (consistency, Some(consistency)),
        };
        let ticket = self.begin(&key, Call::Get);
        let options = ReadOptions {
            consistency: asked,
            ..ReadOptions::default()
        };
        let read = self
            .outside
            .read(self.agent, get(&key), options, PATIENCE)
            .await;
        let Some((answer, life)) = read else {
            self.outside.history.forget(ticket);
            return;
        };
        let found = match entry_of(answer.reply()) {
            Ok(found) => found,
            Err(text) => return self.outside.history.wrong(format!("{key}: {text}")),
        };
        // A client agent asks this server or that.
        let comparable = self.agent < self.outside.servers || consistency != Consistency::Stale;
        if let Some(told) = told.filter(|_| comparable) {
            let reader = Reader::new(self.id, &key, told, (self.agent, life));
            self.outside.history.index(reader, answer.meta.index.0);
        }
        let is_old =
            consistency == Consistency::Stale || self.outside.bug == Some(Bug::IndexOfAnyServer);
        if is_old {
            self.outside.history.forget(ticket);
            let now = self.outside.now_ns();
            self.outside.history.stale(self.id, &key, now, found);
            return;
        }
        self.saw(&key, found.as_ref().map_or(0, |entry| entry.index));
        self.end(ticket, Answer::Got(found));
    }

    fn saw(&mut self, key: &str, index: u64) {
        match self.seen.iter_mut().find(|(name, _)| name == key) {
            Some(known) => known.1 = index,
            None => self.seen.push((key.to_owned(), index)),
        }
    }

    fn last_seen(&self, key: &str) -> u64 {
        let known = self.seen.iter().find(|(name, _)| name == key);
        known.map_or(0, |(_, index)| *index)
    }

    /// Sends a write and records what became of it. The answer that `answer_of` gives is recorded.
    async fn write(
        &mut self,
        ticket: Ticket,
        write: Write,
        answer_of: impl FnOnce(&WriteReply) -> Option<Answer>,
    ) -> Option<WriteReply> {
        match self.outside.write(self.agent, write).await {
            Sent::Not => self.outside.history.forget(ticket),
            Sent::Lost => {}
            Sent::Answered(Ok(reply), _) => {
                match answer_of(&reply) {
                    Some(answer) => self.end(ticket, answer),
                    None => {
                        let text = format!("a write was answered with {reply:?}");
                        self.outside.history.wrong(text);
                    }
                }
                return Some(reply);
            }
            Sent::Answered(Err(err), _) => match fate(&err) {
                Fate::NotDone => self.outside.history.forget(ticket),
                Fate::NoSession => {
                    self.end(ticket, Answer::NoSession);
                    return None;
                }
                Fate::Unknown => {}
            },
        }
        self.outside.history.failed();
        None
    }

    async fn put(&mut self, key: String) {
        let value = self.outside.history.fresh_value();
        let ticket = self.begin(&key, Call::Put(value));
        if self.outside.bug == Some(Bug::LostWrite) && value.is_multiple_of(20) {
            // The bug: a write is acknowledged and never done.
            return self.end(ticket, Answer::Done);
        }
        self.write(ticket, kv(KvOp::Set, &key, value, 0, None), done)
            .await;
    }

    async fn delete(&mut self, key: String) {
        let ticket = self.begin(&key, Call::Delete);
        self.write(ticket, kv(KvOp::Delete, &key, 0, 0, None), done)
            .await;
    }

    async fn cas(&mut self, key: String) {
        let index = self.last_seen(&key);
        if index != 0 && self.rng.random_bool(0.2) {
            let ticket = self.begin(&key, Call::DeleteCas { index });
            let write = kv(KvOp::DeleteCas, &key, 0, index, None);
            self.write(ticket, write, verdict).await;
            return;
        }
        let value = self.outside.history.fresh_value();
        let ticket = self.begin(&key, Call::Cas { index, value });
        self.write(ticket, kv(KvOp::Cas, &key, value, index, None), verdict)
            .await;
    }

    async fn acquire(&mut self, key: String) {
        let Some(id) = self.session_now().await else {
            return;
        };
        let value = self.outside.history.fresh_value();
        let session = id.to_string();
        let ticket = self.begin(&key, Call::Acquire { session, value });
        let write = kv(KvOp::Lock, &key, value, 0, Some(id));
        let reply = self.write(ticket, write, verdict).await;
        if reply == Some(WriteReply::Verdict(false)) && self.outside.bug == Some(Bug::DoubleGrant) {
            // The bug: a refused lock is taken for granted.
            self.end(ticket, Answer::Verdict(true));
        }
    }

    async fn release(&mut self, key: String) {
        let Some((id, _)) = self.session else {
            return;
        };
        let value = self.outside.history.fresh_value();
        let session = id.to_string();
        let ticket = self.begin(&key, Call::Release { session, value });
        self.write(ticket, kv(KvOp::Unlock, &key, value, 0, Some(id)), verdict)
            .await;
    }

    /// The own session; a new one if there is none.
    async fn session_now(&mut self) -> Option<SessionId> {
        if let Some((id, _)) = self.session {
            return Some(id);
        }
        let deletes = self.rng.random_bool(0.2);
        let checked = self.rng.random_bool(0.5);
        let session = Session {
            node: text(&self.outside.names[self.agent % self.outside.names.len()]),
            lock_delay: Duration::from_millis(self.rng.random_range(0..1500)),
            behavior: if deletes {
                Behavior::Delete
            } else {
                Behavior::Release
            },
            ttl: text(SESSION_TTL),
            node_checks: Some(if checked {
                vec![text(SERF_HEALTH)]
            } else {
                Vec::new()
            }),
            ..Session::default()
        };
        let began = self.outside.now_ns();
        let write = Write::SessionCreate(Box::new(session));
        let Sent::Answered(Ok(WriteReply::Session(id)), _) =
            self.outside.write(self.agent, write).await
        else {
            return None;
        };
        // From now on it may end by its TTL, with its node, or by a check.
        let call = Call::EndSession {
            session: id.to_string(),
            deletes,
        };
        self.outside.history.begin(self.id, "", began, call);
        self.session = Some((id, deletes));
        Some(id)
    }

    async fn renew(&mut self) {
        let Some((id, _)) = self.session else {
            return;
        };
        let renewed = self
            .outside
            .write(self.agent, Write::SessionRenew(id))
            .await;
        if let Sent::Answered(Ok(WriteReply::Renewed(found)), _) = renewed
            && found.is_empty()
        {
            self.session = None;
        }
    }

    async fn destroy(&mut self) {
        let Some((id, deletes)) = self.session.take() else {
            return;
        };
        let call = Call::EndSession {
            session: id.to_string(),
            deletes,
        };
        let ticket = self.begin("", call);
        self.write(ticket, Write::SessionDestroy(id), done).await;
    }
}

fn kv(op: KvOp, key: &str, value: u64, index: u64, session: Option<SessionId>) -> Write {
    let entry = KvEntry {
        key: key.as_bytes().into(),
        value: value.to_string().into_bytes().into(),
        modify: Index(index),
        session,
        ..KvEntry::default()
    };
    Write::Kv(op, entry)
}

fn done(reply: &WriteReply) -> Option<Answer> {
    match reply {
        WriteReply::Done | WriteReply::Verdict(true) => Some(Answer::Done),
        _ => None,
    }
}

fn verdict(reply: &WriteReply) -> Option<Answer> {
    match reply {
        WriteReply::Verdict(verdict) => Some(Answer::Verdict(*verdict)),
        _ => None,
    }
}

/// What an error says about a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    NotDone,
    NoSession,
    Unknown,
}

/// Errors that promise that nothing was done are believed: a promise that is broken shows as a violation.
fn fate(err: &RpcError) -> Fate {
    match err {
        RpcError::State(StateError::InvalidSession(_)) => Fate::NoSession,
        RpcError::Remote(text) if text.contains("invalid session") => Fate::NoSession,
        RpcError::Remote(text) if text.contains("No cluster leader") => Fate::NotDone,
        RpcError::NoLeader
        | RpcError::NoServers
        | RpcError::NotReady
        | RpcError::RateLimited
        | RpcError::NoPath
        | RpcError::RemoteUnreachable
        | RpcError::State(_)
        | RpcError::Invalid(_) => Fate::NotDone,
        _ => Fate::Unknown,
    }
}
