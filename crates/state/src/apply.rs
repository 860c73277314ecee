//! The writer's copy of the state: commands in, outcome, touched keys and effects out.
//!
//! Errors: a refused command changes nothing but the last index. Restores of a user's archive arrive in pieces which
//! are kept in the state (every server must see the same replacement at the same position); the last step hands the
//! pieces back as [`Effect::RestoreReady`], because only the caller can decode them. It then calls [`State::replace`].

use std::sync::Arc;

use tribune_types::catalog::Register;
use tribune_types::command::{Command, Outcome, RestoreStep};
use tribune_types::error::StateError;
use tribune_types::id::{Index, LogIndex};
use tribune_types::kv::Key;
use tribune_types::session::Session;

use crate::change::Change;
use crate::intern::Interner;
use crate::restore::Staging;
use crate::tables::Tables;
use crate::version::Version;
use crate::watch::WatchKey;

/// The state as its single writer holds it.
#[derive(Debug, Default)]
pub struct State {
    pub(crate) tables: Arc<Tables>,
    pub(crate) interner: Interner,
}

/// What applying a command did.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// Answer to who proposed it.
    pub outcome: Outcome,
    /// What changed, sorted, without repeats. Empty if nothing did.
    pub touched: Vec<WatchKey>,
    /// What the leader or the apply task must act on, in order.
    pub effects: Vec<Effect>,
}

/// A consequence outside of the state.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A session began: start its timer.
    SessionCreated(Arc<Session>),
    /// A session ended: stop its timer, delay the locks it held.
    SessionEnded {
        /// The session.
        session: Arc<Session>,
        /// Keys that must refuse new holders for the session's lock-delay. Empty without a delay.
        delayed_keys: Vec<Key>,
    },
    /// Keys were deleted at this index: tombstones wait for collection.
    Tombstones(Index),
    /// A user's archive is complete: decode the pieces as one record stream and [`State::replace`] the state, or
    /// refuse the command and leave the state as it is.
    RestoreReady {
        /// The pieces in order.
        data: Vec<Arc<[u8]>>,
        /// Index the archive says it has.
        index: Index,
    },
}

impl State {
    /// An empty state.
    pub fn new() -> State {
        State::default()
    }

    /// An immutable copy for readers. O(1).
    pub fn version(&self) -> Version {
        Version::new(self.tables.clone())
    }

    /// Index of the last applied command, or of the restored snapshot.
    pub fn last_index(&self) -> Index {
        self.tables.last_index
    }

    /// What a client-visible index is ahead of its log index.
    pub fn index_offset(&self) -> u64 {
        self.tables.index_offset
    }

    /// Applies a command at its index. Never panics; content that makes no sense is refused.
    pub fn apply(&mut self, index: Index, command: Command) -> Applied {
        let tables = Arc::make_mut(&mut self.tables);
        tables.last_index = tables.last_index.max(index);
        let mut change = Change::new(tables, &mut self.interner, index);
        let result = match command {
            Command::Register(register) => change.register_whole(*register),
            Command::Deregister(deregister) => {
                change.deregister(&deregister);
                Ok(Outcome::Done)
            }
            Command::Kv(op, entry) => change.kv(op, entry),
            Command::SessionCreate(session) => {
                change.session_create(*session).map(Outcome::Session)
            }
            Command::SessionDestroy(id) => {
                change.session_end(&id);
                Ok(Outcome::Done)
            }
            Command::ReapTombstones(upto) => {
                change.reap_tombstones(upto);
                Ok(Outcome::Done)
            }
            Command::Coordinates(entries) => {
                change.coordinates(entries);
                Ok(Outcome::Done)
            }
            Command::Txn(ops) => Ok(Outcome::Txn(Box::new(change.txn(&ops)))),
            Command::Autopilot { config, cas } => {
                let stored = change.autopilot(config, cas);
                Ok(if cas.is_some() {
                    Outcome::Verdict(stored)
                } else {
                    Outcome::Done
                })
            }
            Command::QuerySet(query) => change.query_set(*query).map(|()| Outcome::Done),
            Command::QueryDelete(id) => {
                change.query_delete(&id);
                Ok(Outcome::Done)
            }
            Command::Restore(step) => change.restore_step(step),
        };
        let (outcome, mut touched, effects) = match result {
            Ok(outcome) => (outcome, change.touched, change.effects),
            Err(error) => (Outcome::Refused(error), Vec::new(), Vec::new()),
        };
        touched.sort_unstable();
        touched.dedup();
        Applied {
            outcome,
            touched,
            effects,
        }
    }

    /// Replaces everything by a restored archive, as the command at `log` demands. Indexes continue above both the
    /// current and the archive's: the [offset](State::index_offset) grows if the archive is ahead.
    pub fn replace(&mut self, restored: State, log: LogIndex, archive: Index) -> Applied {
        let reached = self
            .tables
            .last_index
            .max(archive)
            .max(restored.tables.last_index);
        self.tables = restored.tables;
        self.interner = restored.interner;
        let tables = Arc::make_mut(&mut self.tables);
        tables.last_index = reached;
        tables.index_offset = reached.0.saturating_sub(log.0);
        tables.staging = None;
        Applied {
            touched: vec![WatchKey::Everything],
            ..Applied::default()
        }
    }
}

impl Change<'_> {
    /// Registers all or nothing.
    fn register_whole(&mut self, mut register: Register) -> Result<Outcome, StateError> {
        if let Some(service) = register
            .service
            .as_mut()
            .filter(|service| service.id.is_empty())
        {
            service.id = service.name.clone();
        }
        for check in register
            .checks
            .iter_mut()
            .filter(|check| check.id.is_empty())
        {
            check.id = check.name.clone();
        }
        // A copy to go back to makes every write of this command copy its path, so it is made for the odd cases only.
        if !self.is_rename(&register) && self.precheck(&register) {
            return self.register(register).map(|()| Outcome::Done);
        }
        let before = self.tables.clone();
        self.register(register)
            .map(|()| Outcome::Done)
            .inspect_err(|_| *self.tables = before)
    }

    fn restore_step(&mut self, step: RestoreStep) -> Result<Outcome, StateError> {
        let refuse = |text: &str| Err(StateError::Restore(text.to_owned()));
        match step {
            RestoreStep::Begin { id } => {
                self.tables.staging = Some(Arc::new(Staging {
                    id,
                    chunks: Vec::new(),
                }))
            }
            RestoreStep::Chunk { id, seq, data } => {
                let Some(staging) = self.tables.staging.as_mut().filter(|s| s.id == id) else {
                    return refuse("no such restore is in progress");
                };
                if u32::try_from(staging.chunks.len()) != Ok(seq) {
                    return refuse("a piece of the archive is out of order");
                }
                Arc::make_mut(staging).chunks.push(Arc::from(data));
            }
            RestoreStep::Commit { id, chunks, index } => {
                let Some(staging) = self.tables.staging.clone().filter(|s| s.id == id) else {
                    return refuse("no such restore is in progress");
                };
                if u32::try_from(staging.chunks.len()) != Ok(chunks) {
                    return refuse("pieces of the archive are missing");
                }
                self.tables.staging = None;
                self.effects.push(Effect::RestoreReady {
                    data: staging.chunks.clone(),
                    index,
                });
            }
            RestoreStep::Abort { id } => {
                self.tables.staging.take_if(|s| s.id == id);
            }
        }
        Ok(Outcome::Done)
    }
}
