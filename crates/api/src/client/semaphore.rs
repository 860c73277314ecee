//! A semaphore held through the KV store: up to a fixed number of holders under one prefix.
//!
//! Every contender owns the key `PREFIX/<session>`; the holders are listed, with the agreed limit, as JSON in
//! `PREFIX/.lock`, which is changed by compare-and-set only. A holder whose contender key lost its session is dead
//! and is struck off by whoever comes next. Rules: spec cli.md `lock`, agent.md section 7.
//!
//! Invariant: a list with more holders alive than its limit is never written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::mpsc::{self, Receiver},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Client, KvPair, KvWrite, QueryOptions, host,
    lock::{Lease, LockError, call, monitor, time_left},
};

/// Marks keys as used for semaphores.
pub const SEMAPHORE_FLAG: u64 = 0xe0f6_9a2b_aa41_4de0;
/// Name of the list of holders below the prefix.
const LIST: &str = ".lock";

/// How to hold.
#[derive(Debug, Clone)]
pub struct SemaphoreOptions {
    /// Prefix of the keys.
    pub prefix: String,
    /// Largest number of holders; at least 1, and the same for all contenders.
    pub limit: u64,
    /// Value of the contender's key.
    pub value: Vec<u8>,
    /// Session to use; empty makes one that lives as long as the slot.
    pub session: String,
    /// Name of a session made here.
    pub session_name: String,
    /// Give up after this time; `None` waits for ever.
    pub give_up_after: Option<Duration>,
    /// How many answers of status 500 to bear in a row while held before the slot counts as lost.
    pub monitor_retries: u32,
    /// Pause between those.
    pub monitor_retry_pause: Duration,
    /// Datacenter and token of all requests.
    pub query: QueryOptions,
}

impl SemaphoreOptions {
    /// The defaults for a prefix and limit.
    pub fn new(prefix: &str, limit: u64) -> Self {
        Self {
            prefix: prefix.trim_end_matches('/').to_owned(),
            limit,
            value: Vec::new(),
            session: String::new(),
            session_name: "Consul API Semaphore".to_owned(),
            give_up_after: None,
            monitor_retries: 0,
            monitor_retry_pause: Duration::from_secs(2),
            query: QueryOptions::default(),
        }
    }

    fn list_key(&self) -> String {
        format!("{}/{LIST}", self.prefix)
    }

    fn contender_key(&self, session: &str) -> String {
        format!("{}/{session}", self.prefix)
    }
}

/// The JSON in the list's key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Holders {
    limit: u64,
    holders: BTreeMap<String, bool>,
}

/// The list with the dead struck off, and the index to compare with (0: the key is not there).
fn read_list(pairs: &[KvPair], options: &SemaphoreOptions) -> Result<(Holders, u64), LockError> {
    let list_key = options.list_key();
    let Some(pair) = pairs.iter().find(|p| p.key == list_key) else {
        let fresh = Holders {
            limit: options.limit,
            ..Holders::default()
        };
        return Ok((fresh, 0));
    };
    let mut list = decode(pair)?;
    let alive: BTreeSet<&str> = pairs
        .iter()
        .filter(|p| p.key != list_key && !p.session.is_empty())
        .map(|p| p.session.as_str())
        .collect();
    list.holders
        .retain(|session, _| alive.contains(session.as_str()));
    Ok((list, pair.modify_index))
}

fn decode(pair: &KvPair) -> Result<Holders, LockError> {
    if pair.flags != SEMAPHORE_FLAG {
        return Err(LockError::Conflict("semaphore"));
    }
    serde_json::from_slice(pair.bytes()).map_err(LockError::Holders)
}

/// A slot that is held until [`Semaphore::release`], or until [`Semaphore::lost`] says otherwise.
pub struct Semaphore {
    client: Client,
    options: SemaphoreOptions,
    lease: Lease,
    lost: Receiver<()>,
}

impl Semaphore {
    /// Takes a slot. `Ok(None)` when `give_up_after` passed. Blocks; `keep_trying` is asked between requests.
    pub fn acquire(
        client: &Client,
        options: SemaphoreOptions,
        keep_trying: &dyn Fn() -> bool,
    ) -> Result<Option<Self>, LockError> {
        let lease = Lease::take(
            client,
            &options.session,
            &options.session_name,
            // The contender's key shall not outlive the session.
            "delete",
            &options.query,
        )?;
        let taken = enter(client, &options, &lease.id)
            .and_then(|()| wait_for(client, &options, &lease.id, keep_trying));
        if !matches!(taken, Ok(true)) {
            // The contender's key goes with the session only if we take it away here.
            let key = options.contender_key(&lease.id);
            let _ = client.kv_delete(&key, None, &options.query);
            lease.end();
            return taken.map(|_| None);
        }
        let (tx, lost) = mpsc::channel();
        let (watcher, watched, id) = (client.clone(), options.clone(), lease.id.clone());
        let started = host::spawn("semaphore-monitor", move || {
            monitor(
                &watched.query,
                watched.monitor_retries,
                watched.monitor_retry_pause,
                |query| {
                    let (pairs, meta) = watcher.kv_list(&watched.prefix, query)?;
                    let held = read_list(&pairs.unwrap_or_default(), &watched)
                        .is_ok_and(|(list, _)| list.holders.contains_key(&id));
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

    /// Receives once, or hangs up, when the slot is no longer held.
    pub fn lost(&self) -> &Receiver<()> {
        &self.lost
    }

    /// Gives the slot back, removes the contender's key and ends an own session.
    pub fn release(self) -> Result<(), LockError> {
        let done = self.strike_off();
        let key = self.options.contender_key(&self.lease.id);
        let gone = self
            .client
            .kv_delete(&key, None, &self.options.query)
            .map_err(call("remove contender entry"));
        self.lease.end();
        done?;
        gone.map(|_| ())
    }

    fn strike_off(&self) -> Result<(), LockError> {
        let (options, key) = (&self.options, self.options.list_key());
        loop {
            let (pair, _) = self
                .client
                .kv_get(&key, &options.query)
                .map_err(call("read semaphore"))?;
            let Some(pair) = pair else { return Ok(()) };
            let mut list = decode(&pair)?;
            if list.holders.remove(&self.lease.id).is_none()
                || write_list(&self.client, options, &list, pair.modify_index)?
            {
                return Ok(());
            }
        }
    }

    /// Deletes the list of a semaphore that nobody holds.
    pub fn destroy(client: &Client, options: &SemaphoreOptions) -> Result<(), LockError> {
        let (pairs, _) = client
            .kv_list(&options.prefix, &options.query)
            .map_err(call("read prefix"))?;
        let (list, index) = read_list(&pairs.unwrap_or_default(), options)?;
        if index == 0 {
            return Ok(());
        }
        if !list.holders.is_empty() {
            return Err(LockError::InUse("Semaphore"));
        }
        let gone = client
            .kv_delete(&options.list_key(), Some(index), &options.query)
            .map_err(call("destroy semaphore"))?;
        if gone {
            Ok(())
        } else {
            Err(LockError::InUse("Semaphore"))
        }
    }
}

fn enter(client: &Client, options: &SemaphoreOptions, session: &str) -> Result<(), LockError> {
    let how = KvWrite {
        flags: SEMAPHORE_FLAG,
        acquire: session.to_owned(),
        ..KvWrite::default()
    };
    let key = options.contender_key(session);
    let done = client
        .kv_put(&key, options.value.clone(), &how, &options.query)
        .map_err(call("make contender entry"))?;
    if done {
        Ok(())
    } else {
        Err(LockError::Contender)
    }
}

fn wait_for(
    client: &Client,
    options: &SemaphoreOptions,
    session: &str,
    keep_trying: &dyn Fn() -> bool,
) -> Result<bool, LockError> {
    let start = host::now();
    let mut query = options.query.clone();
    let mut first = true;
    loop {
        query.wait = match time_left(start, options.give_up_after) {
            Some(left) => left,
            None if first => Duration::from_millis(1),
            None => return Ok(false),
        };
        first = false;
        if !keep_trying() {
            return Ok(false);
        }
        let (pairs, meta) = client
            .kv_list(&options.prefix, &query)
            .map_err(call("read prefix"))?;
        let (mut list, index) = read_list(&pairs.unwrap_or_default(), options)?;
        if list.limit != options.limit {
            let (stored, local) = (list.limit, options.limit);
            return Err(LockError::Limit { stored, local });
        }
        if list.holders.len() as u64 >= options.limit {
            query.wait_index = meta.last_index;
            continue;
        }
        list.holders.insert(session.to_owned(), true);
        if write_list(client, options, &list, index)? {
            return Ok(true);
        }
        // Another contender was quicker: look again at once.
        query.wait_index = 0;
    }
}

fn write_list(
    client: &Client,
    options: &SemaphoreOptions,
    list: &Holders,
    index: u64,
) -> Result<bool, LockError> {
    let how = KvWrite {
        flags: SEMAPHORE_FLAG,
        cas: Some(index),
        ..KvWrite::default()
    };
    let value = serde_json::to_vec(list).map_err(LockError::Holders)?;
    client
        .kv_put(&options.list_key(), value, &how, &options.query)
        .map_err(call("update semaphore"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, session: &str, value: &str) -> KvPair {
        KvPair {
            key: key.to_owned(),
            session: session.to_owned(),
            value: Some(value.as_bytes().to_vec()),
            flags: SEMAPHORE_FLAG,
            modify_index: 9,
            ..KvPair::default()
        }
    }

    #[test]
    fn the_dead_are_struck_off_the_list() {
        let options = SemaphoreOptions::new("p/", 2);
        let list = r#"{"Limit":2,"Holders":{"a":true,"b":true,"c":true}}"#;
        let pairs = [
            pair("p/.lock", "", list),
            pair("p/a", "a", ""),
            pair("p/b", "", ""),
        ];
        let (got, index) = read_list(&pairs, &options).unwrap();
        assert_eq!(got.holders.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!((got.limit, index), (2, 9));
    }

    #[test]
    fn a_missing_list_is_fresh_and_a_foreign_one_a_conflict() {
        let options = SemaphoreOptions::new("p", 3);
        let (fresh, index) = read_list(&[], &options).unwrap();
        assert_eq!((fresh.limit, fresh.holders.len(), index), (3, 0, 0));
        let mut foreign = pair("p/.lock", "", "{}");
        foreign.flags = 0;
        let err = read_list(&[foreign], &options).unwrap_err();
        assert_eq!(err.to_string(), "Existing key does not match semaphore use");
    }
}
