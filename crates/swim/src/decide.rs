//! What is believed about nodes: the decision tables for alive, suspect and dead, and refutation (gossip.md sections
//! 6.7 and 6.8). The comments name the rows of those tables.
//!
//! Statements carry incarnations; a node alone raises its own. So an accusation needs at least the incarnation known,
//! and a denial a higher one. News that is believed is passed on through the broadcast queue, under the node's name, and
//! there replaces what was queued about that node.
//!
//! **The last incarnation.** Incarnations are 32 bits wide and the arithmetic saturates. Whoever accuses a node at
//! `u32::MAX` cannot be denied: the denial carries the same number and only those believe it who did not hear the
//! accusation, or forgot the node. Wrapping around to small numbers, as Consul does, would be believed by even fewer.
//! Either way the node is back when the others have purged it (`gossip_to_the_dead`), which a restart cannot speed up.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tribune_types::text::{Text, text};
use tribune_types::time::Mono;

use crate::action::{Action, Notice, Ticket, Warning};
use crate::index::SLOTS_MAX;
use crate::message::{Accusation, Alive, Message, NodeState, Peer, Versions};
use crate::suspicion::{Bounds, Due};
use crate::swim::Swim;
use crate::table::LOCAL;

/// Whose word an alive statement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    /// It was received, from whomever.
    Heard,
    /// We say it about ourselves.
    Own,
}

/// Bytes of metadata (gossip.md section 3.2).
const META_SIZE_MAX: usize = 512;
/// Bytes of a name: longer ones do not fit into a packet with the rest of the record.
const NAME_SIZE_MAX: usize = 512;

impl Swim {
    /// A node is said to be alive. True if it was taken over and passed on.
    pub(crate) fn decide_alive(
        &mut self,
        now: Mono,
        alive: &Alive,
        voice: Voice,
        ticket: Option<Ticket>,
        out: &mut Vec<Action>,
    ) -> bool {
        let with_port;
        let alive = if alive.peer.addr.port() == 0 {
            with_port = self.with_own_port(alive);
            &with_port
        } else {
            alive
        };
        let peer = &alive.peer;
        let known = self.table.find(&peer.name);
        let is_local = known == Some(LOCAL);
        // Row 1.
        if is_local && self.leaving {
            return false;
        }
        // Rows 2, 3 and 9 in one step: old news of others is ignored whether it is admissible or not, and most of what
        // comes in an exchange of states is old news.
        if let Some(slot) = known
            && !is_local
            && alive.incarnation <= self.table.get(slot).incarnation
            && self.table.peer(slot).addr == peer.addr
        {
            return false;
        }
        if let Err(reason) = self.admits(peer) {
            self.refuse(&peer.name, reason, out);
            return false;
        }
        let (slot, moved) = match known {
            // Rows 4 and 5.
            None => match self.introduce(peer) {
                Ok(slot) => (slot, false),
                Err(reason) => {
                    self.refuse(&peer.name, reason, out);
                    return false;
                }
            },
            Some(slot) if self.table.peer(slot).addr == peer.addr => (slot, false),
            // Rows 6 to 8.
            Some(slot) => {
                if !self.options.admit.address(peer.addr.ip()) {
                    self.refuse(&peer.name, not_allowed(peer.addr.ip()), out);
                    return false;
                }
                if !self.may_move(now, slot) {
                    out.push(Action::Notice(Notice::Conflict {
                        holder: Arc::clone(self.table.peer(slot)),
                        claimant: Arc::clone(peer),
                    }));
                    return false;
                }
                (slot, true)
            }
        };
        let entry = self.table.get(slot);
        // Rows 9 and 10.
        let is_old = if is_local {
            alive.incarnation < entry.incarnation
        } else {
            alive.incarnation <= entry.incarnation && !moved
        };
        if is_old {
            return false;
        }
        let old_state = entry.state;
        // Row 11.
        self.suspicions.cancel(slot);
        if is_local && voice == Voice::Heard {
            let own = self.table.peer(LOCAL);
            // Row 12.
            if alive.incarnation == self.table.get(LOCAL).incarnation
                && peer.meta == own.meta
                && peer.versions == own.versions
            {
                return false;
            }
            // Row 13. Nothing for row 15 follows: the record stays as it is.
            let from = Text::clone(&own.name);
            self.refute(alive.incarnation, &from, out);
            return false;
        }
        // Row 14.
        let meta_changed = self.table.peer(slot).meta != peer.meta;
        self.tally.alive += 1;
        self.pass_on(&peer.name, &Message::Alive(alive.clone()), ticket);
        self.table.set_peer(slot, peer);
        self.table.set_incarnation(slot, alive.incarnation);
        if old_state != NodeState::Alive {
            self.table.set_state(slot, NodeState::Alive, now);
        }
        // Row 15.
        let peer = Arc::clone(self.table.peer(slot));
        if matches!(old_state, NodeState::Dead | NodeState::Left) {
            out.push(Action::Notice(Notice::Joined(peer)));
        } else if meta_changed {
            out.push(Action::Notice(Notice::Updated(peer)));
        }
        true
    }

    /// A node is said to be silent.
    pub(crate) fn decide_suspect(
        &mut self,
        now: Mono,
        suspect: &Accusation,
        out: &mut Vec<Action>,
    ) {
        // Row 1.
        let Some(slot) = self.accused(suspect) else {
            return;
        };
        // Row 2: passed on with the accuser's name, or others could not tell confirmations apart.
        if let Some(is_news) = self.suspicions.confirm(slot, &suspect.from, now) {
            if is_news {
                self.pass_on(&suspect.node, &Message::Suspect(suspect.clone()), None);
                self.expire_suspicions(now, out);
            }
            return;
        }
        // Row 3.
        if self.table.get(slot).state != NodeState::Alive {
            return;
        }
        // Row 4.
        if slot == LOCAL {
            self.refute(suspect.incarnation, &suspect.from, out);
            return;
        }
        // Row 5.
        self.tally.suspect += 1;
        self.pass_on(&suspect.node, &Message::Suspect(suspect.clone()), None);
        self.table.set_incarnation(slot, suspect.incarnation);
        self.table.set_state(slot, NodeState::Suspect, now);
        let bounds = Bounds::new(&self.options.timing, self.table.len());
        self.suspicions.start(slot, &suspect.from, bounds, now);
    }

    /// A node is said to have failed, or to have left.
    pub(crate) fn decide_dead(
        &mut self,
        now: Mono,
        dead: &Accusation,
        ticket: Option<Ticket>,
        out: &mut Vec<Action>,
    ) {
        // Row 1.
        let Some(slot) = self.accused(dead) else {
            return;
        };
        // Row 2.
        self.suspicions.cancel(slot);
        // Row 3.
        if !self.table.get(slot).is_up() {
            return;
        }
        // Row 4.
        if slot == LOCAL && !self.leaving {
            self.refute(dead.incarnation, &dead.from, out);
            return;
        }
        // Rows 5 to 7.
        self.tally.dead += 1;
        self.pass_on(&dead.node, &Message::Dead(dead.clone()), ticket);
        let state = if dead.node == dead.from {
            NodeState::Left
        } else {
            NodeState::Dead
        };
        self.table.set_incarnation(slot, dead.incarnation);
        self.table.set_state(slot, state, now);
        let peer = Arc::clone(self.table.peer(slot));
        out.push(Action::Notice(Notice::Gone(peer)));
    }

    /// Buries the suspects whose time is over.
    pub(crate) fn expire_suspicions(&mut self, now: Mono, out: &mut Vec<Action>) {
        while let Some(due) = self.suspicions.take_due(now) {
            let (slot, from) = match due {
                Due::TellAgain { slot, from } => (slot, Some(from)),
                Due::Bury { slot, confirmed } => {
                    self.tally.degraded_timeouts += u64::from(!confirmed);
                    (slot, None)
                }
            };
            let tell_again = from.is_some();
            let word = Accusation {
                incarnation: self.table.get(slot).incarnation,
                node: Text::clone(&self.table.peer(slot).name),
                from: from.unwrap_or_else(|| Text::clone(self.name())),
            };
            if tell_again {
                self.pass_on(&Text::clone(&word.node), &Message::Suspect(word), None);
            } else {
                self.decide_dead(now, &word, None, out);
            }
        }
    }

    /// Says that we are alive, with a number above that of the accusation.
    fn refute(&mut self, accused: u32, from: &Text, out: &mut Vec<Action>) {
        let own = self.table.get(LOCAL).incarnation;
        let incarnation = own.max(accused).saturating_add(1);
        self.table.set_incarnation(LOCAL, incarnation);
        self.awareness.worse(1);
        self.announce(None);
        out.push(Action::Notice(Notice::Warning(Warning::Refuted {
            from: Text::clone(from),
        })));
    }

    /// Queues what we say about ourselves.
    pub(crate) fn announce(&mut self, ticket: Option<Ticket>) {
        let alive = Alive {
            incarnation: self.table.get(LOCAL).incarnation,
            peer: Arc::clone(self.table.peer(LOCAL)),
        };
        let name = Text::clone(self.name());
        self.pass_on(&name, &Message::Alive(alive), ticket);
    }

    /// Queues news of a node.
    fn pass_on(&mut self, node: &Text, message: &Message, ticket: Option<Ticket>) {
        let bytes = self.encode(message);
        self.outbox.push_news(node, bytes, ticket);
    }

    /// The slot of an accused node, unless it is unknown or has said something newer since.
    fn accused(&self, accusation: &Accusation) -> Option<u32> {
        let slot = self.table.find(&accusation.node)?;
        (accusation.incarnation >= self.table.get(slot).incarnation).then_some(slot)
    }

    /// Rows 2 and 3 of alive.
    pub(crate) fn admits(&self, peer: &Peer) -> Result<(), String> {
        let Some(Versions([min, max, ..])) = peer.versions else {
            return Err("it does not tell its protocol versions".to_owned());
        };
        if min == 0 || max == 0 || min > max {
            return Err(format!(
                "its protocol versions are impossible: {min} to {max}"
            ));
        }
        self.options.admit.alive(peer).map_err(|refusal| refusal.0)
    }

    /// Rows 4 and 5 of alive, and the bounds that keep strangers from filling the memory.
    fn introduce(&mut self, peer: &Arc<Peer>) -> Result<u32, String> {
        if !self.options.admit.address(peer.addr.ip()) {
            return Err(not_allowed(peer.addr.ip()));
        }
        if peer.name.is_empty() || peer.name.len() > NAME_SIZE_MAX {
            return Err(format!("a name has 1 to {NAME_SIZE_MAX} bytes"));
        }
        if peer.meta.len() > META_SIZE_MAX {
            return Err(format!("metadata has at most {META_SIZE_MAX} bytes"));
        }
        if self.table.len() >= self.options.nodes_max.min(SLOTS_MAX) {
            return Err("the node table is full".to_owned());
        }
        let long_ago = Mono(0);
        Ok(self.table.insert(
            Arc::clone(peer),
            0,
            NodeState::Dead,
            long_ago,
            &mut self.rng,
        ))
    }

    /// Row 7 of alive: the name may come back at another address.
    fn may_move(&self, now: Mono, slot: u32) -> bool {
        let entry = self.table.get(slot);
        let reclaim = self.options.timing.dead_node_reclaim;
        match entry.state {
            NodeState::Left => true,
            NodeState::Dead => !reclaim.is_zero() && now.since(entry.since) > reclaim,
            NodeState::Alive | NodeState::Suspect => false,
        }
    }

    /// The statement, with our own port in place of 0.
    fn with_own_port(&self, alive: &Alive) -> Alive {
        let mut peer = Peer::clone(&alive.peer);
        peer.addr = self.or_own_port(peer.addr);
        Alive {
            incarnation: alive.incarnation,
            peer: Arc::new(peer),
        }
    }

    /// The address, with our own port in place of 0.
    pub(crate) fn or_own_port(&self, mut addr: SocketAddr) -> SocketAddr {
        if addr.port() == 0 {
            addr.set_port(self.options.addr.port());
        }
        addr
    }

    /// Reports that a statement was ignored, unless this input gave enough such reports already.
    pub(crate) fn refuse(&mut self, node: &str, reason: String, out: &mut Vec<Action>) {
        if self.warnings_left == 0 {
            return;
        }
        self.warnings_left -= 1;
        out.push(Action::Notice(Notice::Warning(Warning::Refused {
            node: text(node),
            reason,
        })));
    }
}

/// Why a statement about a node at a forbidden address, or from one, is ignored.
pub(crate) fn not_allowed(addr: IpAddr) -> String {
    format!("the address {addr} is not allowed")
}
