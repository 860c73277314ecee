//! Writes of keys: conditions, locks and deletion (spec http-api.md 3.4, agent.md 7, rpc.md 5.4).
//!
//! A write that leaves value, flags and lock as they are changes nothing, not even the index. Deletion leaves a
//! tombstone (one for the prefix when a tree goes) so that the index of a list never falls while someone waits on it.
//! A plain write keeps holder and lock index; 1.8.7 resets the lock index to 0 there, which is not copied.

use std::sync::Arc;

use tribune_types::command::Outcome;
use tribune_types::error::StateError;
use tribune_types::id::{Index, SessionId};
use tribune_types::kv::{KvEntry, KvOp};

use crate::apply::Effect;
use crate::change::Change;
use crate::watch::WatchKey;

/// What a write does to the lock of its key.
enum Lock {
    Keep,
    Set {
        session: Option<SessionId>,
        lock_index: u64,
    },
}

impl Change<'_> {
    pub(crate) fn kv(&mut self, op: KvOp, entry: KvEntry) -> Result<Outcome, StateError> {
        Ok(match op {
            KvOp::Set => {
                self.kv_set(entry);
                Outcome::Done
            }
            KvOp::Cas => Outcome::Verdict(self.kv_cas(entry).is_some()),
            KvOp::Lock => Outcome::Verdict(self.kv_lock(entry)?.is_some()),
            KvOp::Unlock => Outcome::Verdict(self.kv_unlock(entry)?.is_some()),
            KvOp::Delete => {
                self.kv_delete(&entry.key);
                Outcome::Done
            }
            KvOp::DeleteCas => Outcome::Verdict(self.kv_delete_cas(&entry.key, entry.modify)),
            KvOp::DeleteTree => {
                self.kv_delete_tree(&entry.key);
                Outcome::Done
            }
        })
    }

    /// Sets value and flags. Returns the pair as it is afterwards.
    pub(crate) fn kv_set(&mut self, entry: KvEntry) -> Arc<KvEntry> {
        self.kv_store(entry, Lock::Keep)
    }

    /// Sets if the stored modify index is the entry's; 0 means absent.
    pub(crate) fn kv_cas(&mut self, entry: KvEntry) -> Option<Arc<KvEntry>> {
        let stored = self
            .tables
            .pair(&entry.key)
            .map_or(Index(0), |old| old.modify);
        (stored == entry.modify).then(|| self.kv_store(entry, Lock::Keep))
    }

    /// Takes the lock, unless another session holds it. Taking it again keeps the lock index.
    pub(crate) fn kv_lock(&mut self, entry: KvEntry) -> Result<Option<Arc<KvEntry>>, StateError> {
        let session = lock_session(&entry)?;
        if !self.tables.sessions.contains_key(&session) {
            return Err(StateError::InvalidSession(session.to_string()));
        }
        let lock_index = match self.tables.pair(&entry.key) {
            None => 1,
            Some(old) if old.session == Some(session) => old.lock_index,
            Some(old) if old.session.is_some() => return Ok(None),
            Some(old) => old.lock_index.saturating_add(1),
        };
        Ok(Some(self.kv_store(
            entry,
            Lock::Set {
                session: Some(session),
                lock_index,
            },
        )))
    }

    /// Releases the lock if the entry's session holds it.
    pub(crate) fn kv_unlock(&mut self, entry: KvEntry) -> Result<Option<Arc<KvEntry>>, StateError> {
        let session = lock_session(&entry)?;
        let held = self
            .tables
            .pair(&entry.key)
            .filter(|old| old.session == Some(session));
        let Some(lock_index) = held.map(|old| old.lock_index) else {
            return Ok(None);
        };
        Ok(Some(self.kv_store(
            entry,
            Lock::Set {
                session: None,
                lock_index,
            },
        )))
    }

    fn kv_store(&mut self, mut entry: KvEntry, lock: Lock) -> Arc<KvEntry> {
        let old = self.tables.pair(&entry.key);
        let (session, lock_index) = match lock {
            Lock::Keep => old.map_or((None, 0), |old| (old.session, old.lock_index)),
            Lock::Set {
                session,
                lock_index,
            } => (session, lock_index),
        };
        if let Some(old) = old {
            let is_same = old.value == entry.value
                && old.flags == entry.flags
                && old.session == session
                && old.lock_index == lock_index;
            if is_same {
                return old.clone();
            }
        }
        entry.create = old.map_or(self.index, |old| old.create);
        entry.modify = self.index;
        entry.session = session;
        entry.lock_index = lock_index;
        let entry = Arc::new(entry);
        self.tables.place_pair(entry.clone(), self.index);
        self.touch(WatchKey::KvKey(entry.key.clone()));
        entry
    }

    /// Clears the holder of a key whose session ended.
    pub(crate) fn kv_release(&mut self, key: &[u8]) {
        let Some(old) = self.tables.pair(key) else {
            return;
        };
        let entry = KvEntry {
            session: None,
            modify: self.index,
            ..KvEntry::clone(old)
        };
        self.tables.place_pair(Arc::new(entry), self.index);
        self.touch(WatchKey::KvKey(key.into()));
    }

    /// Deletes a key; an absent one is fine.
    pub(crate) fn kv_delete(&mut self, key: &[u8]) {
        if self.tables.remove_pair(key, self.index).is_none() {
            return;
        }
        self.tables.place_tombstone(key, self.index);
        self.touch(WatchKey::KvKey(key.into()));
        self.hint_tombstones();
    }

    /// Deletes a key of this modify index. An absent key counts as done.
    pub(crate) fn kv_delete_cas(&mut self, key: &[u8], expected: Index) -> bool {
        match self.tables.pair(key) {
            None => true,
            Some(old) if old.modify == expected => {
                self.kv_delete(key);
                true
            }
            Some(_) => false,
        }
    }

    /// Deletes every key of a prefix.
    pub(crate) fn kv_delete_tree(&mut self, prefix: &[u8]) {
        let keys: Vec<Arc<KvEntry>> = self.tables.pairs_under(prefix).cloned().collect();
        if keys.is_empty() {
            return;
        }
        for entry in &keys {
            self.tables.remove_pair(&entry.key, self.index);
        }
        // Lists below the prefix would find older tombstones than this deletion and answer an index that falls, which
        // 1.8.7 does. Without any they answer the table's index, as lists of everything do.
        self.tables.remove_tombstones_under(prefix);
        if !prefix.is_empty() {
            self.tables.place_tombstone(prefix, self.index);
            self.hint_tombstones();
        }
        self.touch(WatchKey::KvPrefix(prefix.into()));
    }

    fn hint_tombstones(&mut self) {
        let hint = Effect::Tombstones(self.index);
        if !self.effects.contains(&hint) {
            self.effects.push(hint);
        }
    }
}

fn lock_session(entry: &KvEntry) -> Result<SessionId, StateError> {
    entry
        .session
        .ok_or_else(|| StateError::Other("missing session".to_owned()))
}
