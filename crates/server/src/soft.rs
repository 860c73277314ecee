//! What a leader knows beside the replicated state: lock delays, session deadlines, tombstone bins.
//!
//! Fed by the apply task with the effects of commands, read by the leader's endpoints and its task. Locks are held for
//! short synchronous sections only.

use parking_lot::Mutex;
use tokio::sync::Notify;
use tribune_leader::lock_delay::LockDelays;
use tribune_leader::sessions::SessionTimers;
use tribune_leader::tombstones::TombstoneGc;
use tribune_rt::Env;
use tribune_state::Effect;

/// The leader's memory.
pub(crate) struct Soft {
    env: Env,
    pub(crate) delays: Mutex<LockDelays>,
    pub(crate) sessions: Mutex<SessionTimers>,
    pub(crate) tombstones: Mutex<TombstoneGc>,
    /// A deadline may have moved.
    pub(crate) changed: Notify,
}

impl Soft {
    pub(crate) fn new(env: Env) -> Soft {
        Soft {
            env,
            delays: Mutex::default(),
            sessions: Mutex::default(),
            tombstones: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Takes in the effects of an applied command. On followers this is harmless and cleared when they take over.
    pub(crate) fn on_effects(&self, effects: Vec<Effect>) {
        if effects.is_empty() {
            return;
        }
        let now = self.env.mono();
        for effect in effects {
            match effect {
                Effect::SessionCreated(session) => self.sessions.lock().on_session(now, &session),
                Effect::SessionEnded {
                    session,
                    delayed_keys,
                } => {
                    self.sessions.lock().on_ended(session.id);
                    let mut delays = self.delays.lock();
                    for key in &delayed_keys {
                        delays.on_invalidated(now, key, session.lock_delay);
                    }
                }
                Effect::Tombstones(index) => self.tombstones.lock().on_delete(now, index),
                Effect::RestoreReady { .. } => {}
            }
        }
        self.changed.notify_one();
    }

    /// Forgets everything; a new leader builds it anew.
    pub(crate) fn clear(&self) {
        self.delays.lock().clear();
        self.sessions.lock().clear();
        self.tombstones.lock().clear();
    }
}
