//! Life of sessions: creation on a live node with live checks, end with release or deletion of what they hold, and with
//! the prepared queries that are bound to them
//! (spec agent.md 7).
//!
//! Lock-delays are reported as effects: only the leader keeps them, by its clock.

use std::sync::Arc;

use tribune_types::catalog::Status;
use tribune_types::error::StateError;
use tribune_types::id::SessionId;
use tribune_types::kv::Key;
use tribune_types::session::{Behavior, Session};
use tribune_types::text::Text;

use crate::apply::Effect;
use crate::change::Change;
use crate::intern::folded;
use crate::watch::WatchKey;

impl Change<'_> {
    pub(crate) fn session_create(&mut self, mut session: Session) -> Result<SessionId, StateError> {
        let node = self.interner.folded(&session.node);
        if !self.tables.nodes.contains_key(&node) {
            return Err(StateError::MissingNode);
        }
        for id in session.check_ids() {
            match self.tables.checks.get(&(node.clone(), folded(id))) {
                None => return Err(StateError::MissingCheck(id.to_string())),
                Some(check) if check.status == Status::Critical => {
                    return Err(StateError::CriticalCheck(id.to_string()));
                }
                Some(_) => {}
            }
        }
        if self.tables.sessions.contains_key(&session.id) {
            return Err(StateError::Other(format!("session {} exists", session.id)));
        }
        self.interner.share(&mut session.node);
        session.create = self.index;
        session.modify = self.index;
        let session = Arc::new(session);
        self.tables.place_session(session.clone(), self.index);
        self.touch_session(&session);
        let id = session.id;
        self.effects.push(Effect::SessionCreated(session));
        Ok(id)
    }

    /// Ends a session; an unknown one is fine.
    pub(crate) fn session_end(&mut self, id: &SessionId) {
        let Some(session) = self.tables.remove_session(id, self.index) else {
            return;
        };
        let held: Vec<Key> = self
            .tables
            .session_keys
            .range((*id, [].into())..)
            .take_while(|(holder, _)| holder == id)
            .map(|(_, key)| Key::from(&**key))
            .collect();
        for key in &held {
            match session.behavior {
                Behavior::Release => self.kv_release(key),
                Behavior::Delete => self.kv_delete(key),
            }
        }
        self.delete_queries_of_session(id);
        self.touch_session(&session);
        let delayed_keys = if session.lock_delay.is_zero() {
            Vec::new()
        } else {
            held
        };
        self.effects.push(Effect::SessionEnded {
            session,
            delayed_keys,
        });
    }

    /// Ends the sessions that a check keeps alive.
    pub(crate) fn end_sessions_of_check(&mut self, node: &Text, check: &Text) {
        let ids: Vec<SessionId> = self
            .tables
            .session_checks
            .range((node.clone(), check.clone(), SessionId::default())..)
            .take_while(|(on, of, _)| on == node && of == check)
            .map(|(_, _, id)| *id)
            .collect();
        for id in &ids {
            self.session_end(id);
        }
    }

    /// Ends the sessions of a node.
    pub(crate) fn end_sessions_on(&mut self, node: &Text) {
        let ids: Vec<SessionId> = self
            .tables
            .sessions_on(node)
            .map(|session| session.id)
            .collect();
        for id in &ids {
            self.session_end(id);
        }
    }

    fn touch_session(&mut self, session: &Session) {
        self.touch(WatchKey::Sessions);
        self.touch(WatchKey::Session(session.id));
        self.touch(WatchKey::SessionsOfNode(folded(&session.node)));
    }
}
