//! What the layer below reports, and what becomes of it here (gossip.md sections 7.1 and 7.3): packets pass through,
//! news of nodes change members, messages are read and handled.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tribune_swim::{Notice, Peer, Queue, Swim, Warning};
use tribune_types::member::MemberStatus;
use tribune_types::text::{Text, text};
use tribune_types::time::Mono;

use crate::action::{Action, MemberChange, MemberEvent};
use crate::intents::Wish;
use crate::members::Row;
use crate::message::Message;
use crate::serf::Serf;

/// Longest message that fits into a packet: larger ones are handled but cannot be spread further.
const SPREAD_SIZE_MAX: usize = 1400;
/// A member that comes back sooner than this after its failure is counted as flapping.
const FLAP_TIMEOUT: Duration = Duration::from_secs(60);
/// Mean size of messages at which a full queue is shortened for its bytes. Intents have 30 to 60.
const SPREAD_SIZE_MEAN: usize = 128;

impl Serf {
    /// Calls the layer below and handles what it reports.
    pub(crate) fn with_swim<T>(
        &mut self,
        now: Mono,
        out: &mut Vec<Action>,
        call: impl FnOnce(&mut Swim, &mut Vec<tribune_swim::Action>) -> T,
    ) -> T {
        let mut low = std::mem::take(&mut self.low);
        let result = call(&mut self.swim, &mut low);
        self.lift(now, &mut low, out);
        self.low = low;
        result
    }

    /// Handles what the layer below reports.
    pub(crate) fn lift(
        &mut self,
        now: Mono,
        low: &mut Vec<tribune_swim::Action>,
        out: &mut Vec<Action>,
    ) {
        for action in low.drain(..) {
            match action {
                tribune_swim::Action::Packet(packet) => out.push(Action::Packet(packet)),
                tribune_swim::Action::StreamPing {
                    to,
                    node,
                    seq,
                    deadline,
                } => out.push(Action::StreamPing {
                    to,
                    node,
                    seq,
                    deadline,
                }),
                tribune_swim::Action::PushPull { to, node } => out.push(Action::PushPull {
                    to,
                    node,
                    join: false,
                }),
                tribune_swim::Action::Notice(notice) => self.on_notice(now, notice, out),
            }
        }
    }

    /// Sends a message to one address, now.
    pub(crate) fn send_user(&mut self, to: SocketAddr, bytes: &[u8], out: &mut Vec<Action>) {
        let mut low = Vec::with_capacity(1);
        self.swim.send_user(to, bytes, &mut low);
        for action in low {
            if let tribune_swim::Action::Packet(packet) = action {
                out.push(Action::Packet(packet));
            }
        }
    }

    /// Says why something of somebody was not taken.
    pub(crate) fn warn(&self, node: &Text, reason: &str, out: &mut Vec<Action>) {
        out.push(Action::Warning(Warning::Refused {
            node: node.clone(),
            reason: reason.to_owned(),
        }));
    }

    /// Tells the application and the snapshot file what happened to a member.
    pub(crate) fn tell_member(
        &mut self,
        now: Mono,
        row: Row,
        change: MemberChange,
        out: &mut Vec<Action>,
    ) {
        let Some(peer) = self.members.peer(row) else {
            return;
        };
        let alive_at = match change {
            MemberChange::Joined => Some(Some(peer.addr)),
            MemberChange::Left | MemberChange::Failed => Some(None),
            MemberChange::Updated | MemberChange::Reaped => None,
        };
        let name = peer.name.clone();
        out.push(Action::Member(MemberEvent {
            change,
            peer: peer.clone(),
            status: self.members.status(row),
        }));
        match alive_at {
            Some(alive_at) => self.ledger.member(&name, alive_at, self.clock, out),
            None => self.ledger.clock_moved(now, self.clock),
        }
    }

    /// Takes the own entry of the node table over, whatever was or was not reported of it.
    pub(crate) fn ensure_self(&mut self, now: Mono, out: &mut Vec<Action>) {
        let local = self.swim.local().clone();
        match self.members.find(&local.name) {
            None => self.on_joined(now, local, out),
            Some(row) => self.members.set_peer(row, local),
        }
    }

    fn on_notice(&mut self, now: Mono, notice: Notice, out: &mut Vec<Action>) {
        match notice {
            Notice::Joined(peer) => self.on_joined(now, peer, out),
            Notice::Gone(peer) => self.on_gone(now, &peer, out),
            Notice::Updated(peer) => self.on_updated(now, peer, out),
            Notice::Conflict { holder, claimant } => {
                out.push(Action::Conflict { holder, claimant });
            }
            Notice::User { from, bytes } => self.on_user(now, from, bytes, out),
            Notice::Measured { node, rtt, payload } => {
                if let Some(payload) = payload {
                    self.on_measured(&node, rtt, &payload, out);
                }
            }
            Notice::Sent(ticket) => self.on_sent(now, ticket, out),
            Notice::Warning(warning) => out.push(Action::Warning(warning)),
        }
    }

    fn on_joined(&mut self, now: Mono, peer: Arc<Peer>, out: &mut Vec<Action>) {
        let row = match self.members.find(&peer.name) {
            Some(row) => {
                self.pruning.remove(&row);
                let failed = self.members.failed().get(&row);
                let flaps = failed.is_some_and(|since| now.since(*since) < FLAP_TIMEOUT);
                self.tally.flaps += u64::from(flaps);
                self.members.set_peer(row, peer);
                self.members.set_status(row, MemberStatus::Alive, now);
                row
            }
            None => {
                self.make_room(now, out);
                let intent = self.intents.take(&peer.name);
                let row = self.members.add(peer, intent.map_or(0, |(_, ltime)| ltime));
                if let Some((Wish::Leave, _)) = intent {
                    self.members.set_status(row, MemberStatus::Leaving, now);
                }
                self.swim.set_population(self.members.len());
                row
            }
        };
        self.tell_member(now, row, MemberChange::Joined, out);
    }

    /// The layer below bounds those that it knows, but drops the dead early, and we keep them for days: when the table
    /// is full of them, one is forgotten for each that comes.
    fn make_room(&mut self, now: Mono, out: &mut Vec<Action>) {
        if self.members.len() < self.members_max {
            return;
        }
        let (left, failed) = (self.members.left(), self.members.failed());
        if let Some(row) = left.keys().chain(failed.keys()).next().copied() {
            self.erase(now, row, out);
        }
    }

    fn on_gone(&mut self, now: Mono, peer: &Peer, out: &mut Vec<Action>) {
        let Some(row) = self.members.find(&peer.name) else {
            return;
        };
        let (status, change) = match self.members.status(row) {
            MemberStatus::Leaving => (MemberStatus::Left, MemberChange::Left),
            MemberStatus::Alive => (MemberStatus::Failed, MemberChange::Failed),
            MemberStatus::Left | MemberStatus::Failed | MemberStatus::None => return,
        };
        self.members.set_status(row, status, now);
        self.tell_member(now, row, change, out);
    }

    fn on_updated(&mut self, now: Mono, peer: Arc<Peer>, out: &mut Vec<Action>) {
        if let Some(row) = self.members.find(&peer.name) {
            self.members.set_peer(row, peer);
            self.tell_member(now, row, MemberChange::Updated, out);
        }
    }

    fn on_user(&mut self, now: Mono, from: SocketAddr, bytes: Arc<[u8]>, out: &mut Vec<Action>) {
        let Some(message) = (self.codec.decode)(&bytes) else {
            self.warn(&text(&from.to_string()), "malformed message", out);
            return;
        };
        let spread = match message {
            Message::Leave(intent) => {
                let news = self.on_leave_intent(now, &intent, out);
                news.then_some(Queue::Intents)
            }
            Message::Join(intent) => {
                let news = self.on_join_intent(now, &intent.node, intent.ltime, out);
                news.then_some(Queue::Intents)
            }
            Message::UserEvent(event) => {
                let news = self.on_user_event(event.ltime, (event.name, event.payload), out);
                news.then_some(Queue::Events)
            }
            Message::Query(query) => {
                let news = self.on_query(now, &query, out);
                news.then_some(Queue::Queries)
            }
            Message::QueryResponse(response) => {
                self.on_response(now, response, out);
                None
            }
            Message::Relay { to, message, .. } => {
                self.on_relay(to, &message, out);
                None
            }
        };
        if let Some(queue) = spread.filter(|_| bytes.len() <= SPREAD_SIZE_MAX) {
            self.respread(queue, bytes);
        }
    }

    /// Spreads a message of somebody else further, unchanged. A flood is kept short at once, not at the next check, in
    /// messages and in bytes.
    fn respread(&mut self, queue: Queue, bytes: Arc<[u8]>) {
        self.swim.broadcast(queue, bytes, None);
        let max = self.queue_len_max();
        let len = self.swim.queue_len(queue);
        if len > max + max / 4 {
            self.swim.prune(queue, max);
        } else if self.swim.queue_size_bytes(queue) > max * SPREAD_SIZE_MEAN {
            self.swim.prune(queue, len - len / 4);
        }
    }
}
