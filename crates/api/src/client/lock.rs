//! A lock held through the KV store: one holder per key.
//!
//! In: a client, a key, a session (made here if none is given). Out: a held lock with a channel that tells when it
//! was lost. The protocol is Consul's advisory one (spec agent.md section 7, cli.md `lock`): the holder's session is
//! in the key's `Session`, the key carries the flag value below, waiters block on the key.
//!
//! ```text
//! look --free--> put ?acquire --true--> HELD --session gone from key--> LOST
//!   ^  --ours-------------------------> HELD
//!   |  --other's--> block on index -+
//!   |                put --false--> look again: other's -> block, free -> lock delay, wait 5 s
//!   +-------------------------------+
//! ```
//!
//! Invariants: a key in other use (another flag value) is never touched; a lock is only reported held after the
//! servers accepted the acquire.

use std::{
    sync::mpsc::{self, Receiver, Sender},
    time::{Duration, Instant},
};

use tribune_types::duration::format_go;

use super::{Client, Error, KvPair, KvWrite, QueryOptions, SessionRequest, host};

/// Marks a key as used for locks.
pub const LOCK_FLAG: u64 = 0x2ddc_cbc0_58a5_0c18;
/// Pause when the servers refuse a free key, that is during its lock delay.
const LOCK_DELAY_RETRY: Duration = Duration::from_secs(5);
/// Time to live of sessions made here, and longest single wait for a key.
pub(super) const SESSION_TTL: Duration = Duration::from_secs(15);

/// How to hold.
#[derive(Debug, Clone)]
pub struct LockOptions {
    /// Key of the lock.
    pub key: String,
    /// Value to write into it.
    pub value: Vec<u8>,
    /// Session to use; empty makes one that lives as long as the lock.
    pub session: String,
    /// Name of a session made here.
    pub session_name: String,
    /// Give up after this time; `None` waits for ever.
    pub give_up_after: Option<Duration>,
    /// How many answers of status 500 to bear in a row while held before the lock counts as lost.
    pub monitor_retries: u32,
    /// Pause between those.
    pub monitor_retry_pause: Duration,
    /// Datacenter and token of all requests.
    pub query: QueryOptions,
}

impl LockOptions {
    /// The defaults for a key.
    pub fn new(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            value: Vec::new(),
            session: String::new(),
            session_name: "Consul API Lock".to_owned(),
            give_up_after: None,
            monitor_retries: 0,
            monitor_retry_pause: Duration::from_secs(2),
            query: QueryOptions::default(),
        }
    }
}

/// Why a lock or semaphore could not be taken, released or cleaned away.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The key is in use for something else.
    #[error("Existing key does not match {0} use")]
    Conflict(&'static str),
    /// Others hold it or wait for it.
    #[error("{0} in use")]
    InUse(&'static str),
    /// Semaphores: the holders agreed on another limit.
    #[error("semaphore limit conflict (lock: {stored}, local: {local})")]
    Limit {
        /// Limit stored in the semaphore's key.
        stored: u64,
        /// Limit asked for here.
        local: u64,
    },
    /// Semaphores: the stored list of holders is not readable.
    #[error("failed to decode semaphore lock: {0}")]
    Holders(#[source] serde_json::Error),
    /// Semaphores: the servers refused the contender's key.
    #[error("failed to make contender entry")]
    Contender,
    /// A call failed.
    #[error("failed to {doing}: {source}")]
    Call {
        /// What was tried.
        doing: &'static str,
        /// The cause.
        source: Error,
    },
}

pub(super) fn call(doing: &'static str) -> impl FnOnce(Error) -> LockError {
    move |source| LockError::Call { doing, source }
}

/// What a look at the key says.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Free,
    Ours,
    Others,
    Conflict,
}

fn standing(pair: Option<&KvPair>, session: &str) -> Standing {
    match pair {
        None => Standing::Free,
        Some(p) if p.flags != LOCK_FLAG => Standing::Conflict,
        Some(p) if p.session.is_empty() => Standing::Free,
        Some(p) if p.session == session => Standing::Ours,
        Some(_) => Standing::Others,
    }
}

/// A session in use by a lock, with its renewal when it is our own.
pub(super) struct Lease {
    pub(super) id: String,
    /// Dropping or sending ends the renewal, which destroys the session.
    stop: Option<(Sender<()>, std::thread::JoinHandle<()>)>,
}

impl Lease {
    /// Uses `session`, or makes one and keeps it alive. `behavior` is what its end does to its keys.
    pub(super) fn take(
        client: &Client,
        session: &str,
        name: &str,
        behavior: &str,
        query: &QueryOptions,
    ) -> Result<Self, LockError> {
        if !session.is_empty() {
            return Ok(Self {
                id: session.to_owned(),
                stop: None,
            });
        }
        let wanted = SessionRequest {
            name: name.to_owned(),
            ttl: format_go(SESSION_TTL),
            behavior: behavior.to_owned(),
            ..SessionRequest::default()
        };
        let id = client
            .session_create(&wanted, query)
            .map_err(call("create session"))?;
        let (tx, rx) = mpsc::channel();
        let (client, query, own) = (client.clone(), query.clone(), id.clone());
        let thread = host::spawn("session-renew", move || {
            // The monitor notices a session that is gone; there is nobody to tell here.
            let _ = client.session_renew_until(&own, SESSION_TTL, &rx, &query);
        });
        let stop = thread.ok().map(|handle| (tx, handle));
        Ok(Self { id, stop })
    }

    /// Ends an own session and waits until the servers know.
    pub(super) fn end(self) {
        if let Some((tx, handle)) = self.stop {
            drop(tx);
            let _ = handle.join();
        }
    }
}

/// A lock that is held until [`Lock::release`], or until [`Lock::lost`] says otherwise.
pub struct Lock {
    client: Client,
    options: LockOptions,
    lease: Lease,
    lost: Receiver<()>,
}

impl Lock {
    /// Takes the lock. `Ok(None)` when `give_up_after` passed. Blocks; `keep_trying` is asked between requests.
    pub fn acquire(
        client: &Client,
        options: LockOptions,
        keep_trying: &dyn Fn() -> bool,
    ) -> Result<Option<Self>, LockError> {
        let lease = Lease::take(
            client,
            &options.session,
            &options.session_name,
            "release",
            &options.query,
        )?;
        match wait_for(client, &options, &lease.id, keep_trying) {
            Ok(true) => {}
            Ok(false) => {
                lease.end();
                return Ok(None);
            }
            Err(e) => {
                lease.end();
                return Err(e);
            }
        }
        let (tx, lost) = mpsc::channel();
        let (watcher, watched, id) = (client.clone(), options.clone(), lease.id.clone());
        // Without a watcher the lock would never be seen lost, so that counts as lost at once.
        let started = host::spawn("lock-monitor", move || {
            monitor(
                &watched.query,
                watched.monitor_retries,
                watched.monitor_retry_pause,
                |query| {
                    let (pair, meta) = watcher.kv_get(&watched.key, query)?;
                    let held = standing(pair.as_ref(), &id) == Standing::Ours;
                    Ok((held, meta.last_index))
                },
            );
            let _ = tx.send(());
        });
        drop(started);
        Ok(Some(Self {
            client: client.clone(),
            options,
            lease,
            lost,
        }))
    }

    /// Receives once, or hangs up, when the lock is no longer held.
    pub fn lost(&self) -> &Receiver<()> {
        &self.lost
    }

    /// Gives the lock back and ends an own session.
    pub fn release(self) -> Result<(), LockError> {
        let how = KvWrite {
            flags: LOCK_FLAG,
            release: self.lease.id.clone(),
            ..KvWrite::default()
        };
        let value = self.options.value.clone();
        let done = self
            .client
            .kv_put(&self.options.key, value, &how, &self.options.query)
            .map_err(call("release lock"));
        self.lease.end();
        done.map(|_| ())
    }

    /// Deletes the key of a released lock, unless someone holds or changed it.
    pub fn destroy(client: &Client, options: &LockOptions) -> Result<(), LockError> {
        let (pair, _) = client
            .kv_get(&options.key, &options.query)
            .map_err(call("read lock"))?;
        let Some(pair) = pair else { return Ok(()) };
        match standing(Some(&pair), "") {
            Standing::Conflict => return Err(LockError::Conflict("lock")),
            Standing::Others | Standing::Ours => return Err(LockError::InUse("Lock")),
            Standing::Free => {}
        }
        let gone = client
            .kv_delete(&pair.key, Some(pair.modify_index), &options.query)
            .map_err(call("remove lock"))?;
        if gone {
            Ok(())
        } else {
            Err(LockError::InUse("Lock"))
        }
    }
}

/// Time left to wait: `None` when it is over, else the longest single wait.
pub(super) fn time_left(start: Instant, give_up_after: Option<Duration>) -> Option<Duration> {
    match give_up_after {
        None => Some(SESSION_TTL),
        Some(limit) => match limit.saturating_sub(start.elapsed()) {
            left if left.is_zero() => None,
            left => Some(left),
        },
    }
}

fn wait_for(
    client: &Client,
    options: &LockOptions,
    session: &str,
    keep_trying: &dyn Fn() -> bool,
) -> Result<bool, LockError> {
    let start = host::now();
    let mut query = options.query.clone();
    let mut first = true;
    loop {
        // One look at least, however short the limit.
        query.wait = match time_left(start, options.give_up_after) {
            Some(left) => left,
            None if first => Duration::from_millis(1),
            None => return Ok(false),
        };
        first = false;
        if !keep_trying() {
            return Ok(false);
        }
        let (pair, meta) = client
            .kv_get(&options.key, &query)
            .map_err(call("read lock"))?;
        match standing(pair.as_ref(), session) {
            Standing::Conflict => return Err(LockError::Conflict("lock")),
            Standing::Ours => return Ok(true),
            Standing::Others => {
                query.wait_index = meta.last_index;
                continue;
            }
            Standing::Free => {}
        }
        let how = KvWrite {
            flags: LOCK_FLAG,
            acquire: session.to_owned(),
            ..KvWrite::default()
        };
        let value = options.value.clone();
        if client
            .kv_put(&options.key, value, &how, &options.query)
            .map_err(call("acquire lock"))?
        {
            return Ok(true);
        }
        query.wait_index = 0;
        let (pair, meta) = client
            .kv_get(&options.key, &options.query)
            .map_err(call("read lock"))?;
        match standing(pair.as_ref(), session) {
            Standing::Others => query.wait_index = meta.last_index,
            _ => {
                let left = time_left(start, options.give_up_after).unwrap_or_default();
                host::sleep(match options.give_up_after {
                    Some(_) => left.min(LOCK_DELAY_RETRY),
                    None => LOCK_DELAY_RETRY,
                });
            }
        }
    }
}

/// Blocks on `look` while it says that we hold, bearing `retries` failures in a row.
pub(super) fn monitor(
    query: &QueryOptions,
    retries: u32,
    pause: Duration,
    look: impl Fn(&QueryOptions) -> Result<(bool, u64), Error>,
) {
    let mut query = QueryOptions {
        consistent: true,
        stale: false,
        wait_index: 0,
        ..query.clone()
    };
    let mut left = retries;
    loop {
        match look(&query) {
            Ok((true, index)) => {
                left = retries;
                query.wait_index = index;
            }
            Ok((false, _)) => return,
            Err(e) if e.is_retryable() && left > 0 => {
                left -= 1;
                query.wait_index = 0;
                host::sleep(pause);
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_tells_whose_the_lock_is() {
        let pair = |flags, session: &str| KvPair {
            flags,
            session: session.to_owned(),
            ..KvPair::default()
        };
        for (found, want) in [
            (None, Standing::Free),
            (Some(pair(LOCK_FLAG, "")), Standing::Free),
            (Some(pair(LOCK_FLAG, "me")), Standing::Ours),
            (Some(pair(LOCK_FLAG, "you")), Standing::Others),
            (Some(pair(0, "")), Standing::Conflict),
            (Some(pair(1, "me")), Standing::Conflict),
        ] {
            assert_eq!(standing(found.as_ref(), "me"), want, "{found:?}");
        }
    }

    #[test]
    fn the_monitor_bears_as_many_failures_as_it_was_told() {
        for (retries, want_looks) in [(0, 2), (3, 5)] {
            let looks = std::cell::Cell::new(0);
            monitor(&QueryOptions::default(), retries, Duration::ZERO, |q| {
                assert!(q.consistent);
                looks.set(looks.get() + 1);
                match looks.get() {
                    1 => Ok((true, 7)),
                    2 => {
                        assert_eq!(q.wait_index, 7);
                        Err(Error::BareStatus { status: 500 })
                    }
                    _ => Err(Error::BareStatus { status: 500 }),
                }
            });
            assert_eq!(looks.get(), want_looks);
        }
        let looks = std::cell::Cell::new(0);
        monitor(&QueryOptions::default(), 3, Duration::ZERO, |_| {
            looks.set(looks.get() + 1);
            Err(Error::BareStatus { status: 403 })
        });
        assert_eq!(looks.get(), 1, "only 500 and lost connections are borne");
    }
}
