//! One session per destination, and the locks its flows hold with it.
//!
//! In: a client of the destination. Out: a session that is kept alive, and locks on keys. Who wants a lock that another
//! holds waits for it; nobody is told when a lock is lost, because every transaction of its flow checks it anyway
//! ([`crate::writers`]). The session has no lock delay: what a lost holder had under way is refused by that check.
//!
//! A session in another datacenter cannot be bound to the agent's node, which is unknown there; it is bound to a server
//! of that datacenter, without checks, and lives by its time to live alone.

use std::{
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Sender},
    },
    time::Duration,
};

use tribune_api::client::{Client, Error, KvWrite, QueryOptions, SessionRequest, lock::LOCK_FLAG};

use crate::{
    host::{self, JoinHandle},
    settings::{Level, Log},
};

/// Time to live of the session: after a crash another replicator takes over within about twice this.
const SESSION_TTL: Duration = Duration::from_secs(10);
/// Longest single wait for a lock; also how soon a wait notices a stop that no answer brings.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// Pause when a free lock is refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);

/// Why a lock could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HoldError {
    #[error("{doing}: {source}")]
    Call {
        doing: &'static str,
        #[source]
        source: Error,
    },
    #[error("key {0:?} is in use for something else than this lock")]
    Conflict(String),
    #[error("no node to bind a session to")]
    NoNode,
}

fn call(doing: &'static str) -> impl FnOnce(Error) -> HoldError {
    move |source| HoldError::Call { doing, source }
}

/// A session and its renewal.
struct Session {
    id: String,
    /// Dropping it ends the renewal, which destroys the session.
    stop: Sender<()>,
    renewal: JoinHandle<()>,
}

/// The session of one destination. Shared by its flows.
pub(crate) struct Holder {
    /// Not stopped with the flows: the session is destroyed after them.
    client: Client,
    query: QueryOptions,
    session: Mutex<Option<Session>>,
}

impl Holder {
    pub(crate) fn new(client: Client, query: QueryOptions) -> Self {
        Self {
            client,
            query,
            session: Mutex::new(None),
        }
    }

    /// The session's ID; makes one if there is none.
    fn session(&self) -> Result<String, HoldError> {
        let mut slot = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = slot.as_ref()
            && !session.renewal.is_finished()
        {
            return Ok(session.id.clone());
        }
        let mut wanted = SessionRequest {
            name: "tribune replicate".to_owned(),
            ttl: format!("{}s", SESSION_TTL.as_secs()),
            lock_delay: "0s".to_owned(),
            behavior: "release".to_owned(),
            ..SessionRequest::default()
        };
        if self.is_abroad() {
            wanted.node = self.server_there()?;
            wanted.checks = Some(Vec::new());
        }
        let id = self
            .client
            .session_create(&wanted, &self.query)
            .map_err(call("cannot create a session"))?;
        let (stop, stopped) = mpsc::channel();
        let (client, query, own) = (self.client.clone(), self.query.clone(), id.clone());
        let renewal = host::spawn("session-renew", move || {
            // A session that is gone is noticed by whoever uses it.
            let _ = client.session_renew_until(&own, SESSION_TTL, &stopped, &query);
        })
        .map_err(|e| HoldError::Call {
            doing: "cannot keep a session",
            source: Error::Read(e),
        })?;
        *slot = Some(Session {
            id: id.clone(),
            stop,
            renewal,
        });
        Ok(id)
    }

    /// Whether the destination is not the agent's own datacenter. An agent that does not say counts as foreign, which
    /// serves for its own datacenter, too.
    fn is_abroad(&self) -> bool {
        let wanted = self.query.datacenter.as_str();
        !wanted.is_empty()
            && self
                .client
                .agent_self()
                .map_or(true, |agent| agent.config_text("Datacenter") != wanted)
    }

    fn server_there(&self) -> Result<String, HoldError> {
        let (servers, _) = self
            .client
            .service_nodes("consul", &self.query)
            .map_err(call("cannot find a node for a session"))?;
        let first = servers.into_iter().map(|s| s.node).min();
        first.ok_or(HoldError::NoNode)
    }

    /// Drops a session that the servers no longer know, or whose lock was lost. Another one is left alone.
    pub(crate) fn forget(&self, id: &str) {
        let mut slot = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref().is_some_and(|s| s.id == id) {
            *slot = None;
        }
    }

    /// Destroys the session, which frees its locks, and waits for the answer.
    pub(crate) fn end(&self) {
        let mut slot = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Session { stop, renewal, .. }) = slot.take() {
            drop(stop);
            // A panic there would have been told already.
            let _ = renewal.join();
        }
    }

    /// Takes the lock on `key` and returns the session that holds it; `None` once `stopped` says so. `waiter` is the
    /// flow's own client, whose waits a stop ends.
    pub(crate) fn acquire(
        &self,
        waiter: &Client,
        key: &str,
        name: &str,
        stopped: &dyn Fn() -> bool,
        log: &Log,
    ) -> Result<Option<String>, HoldError> {
        let mut told = false;
        let mut query = QueryOptions {
            consistent: true,
            wait: LOOK_MAX,
            ..self.query.clone()
        };
        loop {
            if stopped() {
                return Ok(None);
            }
            let session = self.session()?;
            let look = waiter.kv_get(key, &query);
            if stopped() {
                return Ok(None);
            }
            let (pair, meta) = look.map_err(call("cannot look at the lock"))?;
            match pair {
                Some(pair) if pair.flags != LOCK_FLAG => {
                    return Err(HoldError::Conflict(key.to_owned()));
                }
                Some(pair) if pair.session == session => return Ok(Some(session)),
                Some(pair) if !pair.session.is_empty() => {
                    if !told {
                        log(
                            Level::Info,
                            &format!("{name}: another replicator is active, standing by"),
                        );
                        told = true;
                    }
                    query.wait_index = meta.last_index;
                    continue;
                }
                _ => {}
            }
            let how = KvWrite {
                flags: LOCK_FLAG,
                acquire: session.clone(),
                ..KvWrite::default()
            };
            match waiter.kv_put(key, name.as_bytes().to_vec(), &how, &self.query) {
                Ok(true) => return Ok(Some(session)),
                Ok(false) => {
                    query.wait_index = 0;
                    host::sleep(REFUSED_PAUSE);
                }
                Err(Error::Status { body, .. }) if body.contains("invalid session") => {
                    self.forget(&session);
                }
                Err(e) => return Err(call("cannot take the lock")(e)),
            }
        }
    }
}
