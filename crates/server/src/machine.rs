//! The replicated state machine: committed entries in, outcomes out, versions published, readers woken.
//!
//! Runs on the apply task, the only writer of the state. One call applies everything that is ready, publishes one
//! version, then tells the hub and the leader's memory. Outcomes are handed back after publication, so that whoever
//! gets one can read what it wrote.
//!
//! A committed entry that cannot be understood stops the process: going on would let this server diverge.

use std::io::{self, Read, Write};
use std::sync::Arc;

use metrics::histogram;
use tracing::{error, info};
use tribune_raft::{Committed, Machine, SnapshotSource};
use tribune_rt::{Env, Stopwatch, millis};
use tribune_state::{Applied, Effect, State, Version, WatchKey};
use tribune_types::command::Outcome;
use tribune_types::error::StateError;
use tribune_types::id::{Index, LogIndex};
use tribune_types::uuid::parse_query;
use tribune_wire::entry;

use crate::figures::Applying;
use crate::hub::Hub;
use crate::snapshots;
use crate::soft::Soft;
use crate::store::Store;

/// The state with those who must hear of its changes.
pub(crate) struct StateMachine {
    env: Env,
    state: State,
    store: Arc<Store>,
    hub: Arc<Hub>,
    soft: Arc<Soft>,
    timers: Applying,
}

impl StateMachine {
    pub(crate) fn new(
        env: &Env,
        state: State,
        store: Arc<Store>,
        hub: Arc<Hub>,
        soft: Arc<Soft>,
    ) -> StateMachine {
        StateMachine {
            env: env.clone(),
            state,
            store,
            hub,
            soft,
            timers: Applying::new(),
        }
    }

    fn apply_one(&mut self, committed: &Committed) -> Applied {
        let command = match entry::decode(&committed.payload) {
            Ok(command) => command,
            Err(err) => {
                error!(index = committed.index.0, %err, "a committed log entry cannot be understood");
                // Divergence is worse than death.
                std::process::abort();
            }
        };
        let index = Index(committed.index.0 + self.state.index_offset());
        let is_known = |id: &str| {
            let id = parse_query(id).ok().flatten();
            id.is_some_and(|id| self.state.version().prepared_query(&id).is_some())
        };
        let timer = self.timers.of(&command, is_known);
        let began = self.env.mono();
        let mut applied = self.state.apply(index, command);
        if let Some(timer) = timer {
            timer.record(millis(self.env.mono().since(began)));
        }
        let ready = applied
            .effects
            .iter()
            .position(|effect| matches!(effect, Effect::RestoreReady { .. }));
        if let Some(at) = ready
            && let Effect::RestoreReady { data, index } = applied.effects.swap_remove(at)
        {
            self.finish_restore(committed.index, &data, index, &mut applied);
        }
        applied
    }

    /// Decodes a user's archive and puts it in the place of the state, or refuses it.
    fn finish_restore(
        &mut self,
        log: LogIndex,
        data: &[Arc<[u8]>],
        index: Index,
        applied: &mut Applied,
    ) {
        match snapshots::read_state(&mut snapshots::Pieces::new(data), &mut |_| {}) {
            Ok(restored) => {
                *applied = self.state.replace(restored, log, index);
                // The leader's memory is about the old state.
                self.soft.changed.notify_one();
                info!(
                    index = self.state.last_index().0,
                    "state replaced by a restored snapshot"
                );
            }
            Err(err) => applied.outcome = Outcome::Refused(StateError::Restore(err.to_string())),
        }
    }

    fn publish(&self, touched: Vec<WatchKey>) {
        let replaced = touched.contains(&WatchKey::Everything);
        let generation = self.store.publish(self.state.version(), replaced);
        self.hub.on_published(generation, touched);
    }
}

impl Machine for StateMachine {
    fn apply(&mut self, batch: &[Committed], out: &mut Vec<Outcome>) {
        let began = self.env.mono();
        let mut touched = Vec::new();
        let mut effects = Vec::new();
        for committed in batch {
            let applied = self.apply_one(committed);
            out.push(applied.outcome);
            touched.extend(applied.touched);
            effects.extend(applied.effects);
        }
        // Lock delays first: they must hold before anyone can see that a lock is free.
        self.soft.on_effects(effects);
        self.publish(touched);
        let took = self.env.mono().since(began);
        self.timers.batch.record(millis(took));
        self.timers.batch_count.set(batch.len() as f64);
    }

    fn snapshot(&self) -> Box<dyn SnapshotSource> {
        Box::new(Source(self.state.version(), self.env.clone()))
    }

    fn restore(&mut self, from: &mut dyn Read, progress: &mut dyn FnMut(u64)) -> io::Result<()> {
        self.state = snapshots::read_internal(from, progress)?;
        self.publish(vec![WatchKey::Everything]);
        Ok(())
    }
}

/// A version on its way to disk or to another server.
struct Source(Version, Env);

impl SnapshotSource for Source {
    fn write_to(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let _timed = Stopwatch::start(&self.1, &histogram!("fsm.persist"));
        snapshots::write_internal(&self.0, out)
    }
}
