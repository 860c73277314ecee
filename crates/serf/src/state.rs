//! The state of this layer inside of exchanged states (gossip.md section 7.7).

use tribune_swim::{MergeError, NodeState, PushPull};
use tribune_types::member::MemberStatus;
use tribune_types::text::{Text, text};
use tribune_types::time::Mono;

use crate::action::Action;
use crate::events::EVENT_SLOTS;
use crate::message::{LTime, LeaveIntent, StateExchange};
use crate::serf::Serf;

impl Serf {
    /// The state to send over a stream.
    pub fn state(&self, join: bool) -> PushPull {
        let mut state = self.swim.state(join);
        (self.codec.encode_state)(&self.exchange(), &mut state.user_state);
        state
    }

    /// Takes over a remote state. `join` as in `Swim::merge`. `ignore_old`: this is our own join of the kind that does
    /// not want to hear of events from before it; false for what others began, for periodic exchanges, and for joins
    /// that only find back (after a failure, from the snapshot).
    ///
    /// # Errors
    /// The state is refused; nothing of it was taken over.
    pub fn merge(
        &mut self,
        now: Mono,
        remote: &PushPull,
        join: bool,
        ignore_old: bool,
        out: &mut Vec<Action>,
    ) -> Result<(), MergeError> {
        self.with_swim(now, out, |swim, low| swim.merge(now, remote, join, low))?;
        match (self.codec.decode_state)(&remote.user_state) {
            Some(mut state) => {
                self.drop_old_leaves(remote, &mut state);
                self.merge_exchange(now, &state, join && ignore_old, out);
            }
            None => self.warn(&text("push/pull"), "malformed user state", out),
        }
        Ok(())
    }

    fn exchange(&self) -> StateExchange {
        let members = self.members.sorted();
        let left = members
            .iter()
            .filter(|(row, _)| self.members.status(*row) == MemberStatus::Left)
            .map(|(_, peer)| peer.name.clone())
            .collect();
        StateExchange {
            ltime: self.clock.time(),
            status_ltimes: members
                .iter()
                .map(|(row, peer)| (peer.name.clone(), self.members.ltime(*row)))
                .collect(),
            left,
            event_ltime: self.event_clock.time(),
            events: self.events.slots(),
            event_slots: EVENT_SLOTS,
            query_ltime: self.query_clock.time(),
        }
    }

    /// The time of the last intent about this node that it knows.
    fn own_ltime(&self) -> LTime {
        let row = self.members.find(self.swim.name());
        row.map_or(0, |row| self.members.ltime(row))
    }

    /// Takes leaves out that are older than what we know: of members that are alive for us although the other side does
    /// not have them, or has them as gone, in the very table that we just merged. It has not heard of their return yet.
    /// (Consul shows such a member as leaving, perhaps for ever: what comes by exchange is not spread, so the member
    /// never hears of it and cannot refute. Found by the simulation; `sim` pins it.)
    fn drop_old_leaves(&self, remote: &PushPull, state: &mut StateExchange) {
        if remote.nodes.is_empty() {
            return;
        }
        // Sorted once: tables are large, and a hostile list of the left may be long.
        let mut there: Vec<&Text> = remote
            .nodes
            .iter()
            .filter(|node| matches!(node.state, NodeState::Alive | NodeState::Suspect))
            .map(|node| &node.peer.name)
            .collect();
        there.sort_unstable();
        state.left.retain(|name| {
            // One that the other side has as dead is suspected here since the merge, and may say that it lives.
            let is_here = |state| matches!(state, NodeState::Alive | NodeState::Suspect);
            let entry = self.swim.entry(name);
            if !entry.is_some_and(|entry| is_here(entry.state)) || *name == *self.swim.name() {
                return true;
            }
            there.binary_search(&name).is_ok()
        });
    }

    fn merge_exchange(
        &mut self,
        now: Mono,
        state: &StateExchange,
        ignore_old: bool,
        out: &mut Vec<Action>,
    ) {
        self.clock.witness_clock(state.ltime);
        self.event_clock.witness_clock(state.event_ltime);
        self.query_clock.witness_clock(state.query_ltime);
        self.ledger.clock_moved(now, self.clock);

        // The left first: a leave is one later than the intent it stands for, and must not meet a newer join.
        let mut left: Vec<&Text> = state.left.iter().collect();
        left.sort();
        left.dedup();
        let mut gone: Vec<(&Text, LTime)> = Vec::with_capacity(left.len());
        for (name, ltime) in &state.status_ltimes {
            if left.binary_search(&name).is_ok() {
                gone.push((name, *ltime));
            }
        }
        gone.sort();
        for name in &left {
            let known = gone.binary_search_by(|(other, _)| other.cmp(name));
            let ltime = known.map_or(0, |at| gone[at].1);
            let intent = LeaveIntent {
                ltime: ltime.saturating_add(1),
                node: (*name).clone(),
                prune: false,
            };
            self.on_leave_intent(now, &intent, out);
        }
        for (name, ltime) in &state.status_ltimes {
            if left.binary_search(&name).is_ok() {
                continue;
            }
            let was = self.own_ltime();
            self.on_join_intent(now, name, *ltime, out);
            if *name == *self.swim.name() && *ltime > was && !self.leaving.has_begun() {
                // Somebody said something about us that never came here: a leave, while we were cut off. It is not
                // spread any more, and whoever took us for alive when hearing it has us leaving, until we speak. (Only
                // here, and not when an intent comes by packet: two nodes of one name would outbid each other.)
                self.announce_join(now, out);
            }
        }
        if ignore_old {
            self.events.raise(state.event_ltime);
        }
        for slot in &state.events {
            for (name, payload) in &slot.events {
                self.on_user_event(slot.ltime, (name.clone(), payload.clone()), out);
            }
        }
    }
}
