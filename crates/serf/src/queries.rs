//! Queries of others, and our own as we answer them (gossip.md section 7.6): told apart from repetitions, filtered,
//! confirmed, handed to the application or answered here, and the answers sent directly and through relays.
//!
//! What may still be answered is bounded; when full, the oldest question can no longer be answered.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use tribune_types::member::MemberStatus;
use tribune_types::text::{Text, text};
use tribune_types::time::Mono;

use crate::action::{Action, Asked, KeyOperation, QueryId};
use crate::message::{ConflictAnswer, Filter, LTime, Message, Query, QueryResponse};
use crate::recent::{Recent, Seen};
use crate::serf::{Refused, Serf};

/// Received queries that may still be answered.
const ANSWERABLE_MAX: usize = 128;
/// Longest name of an asking node that is repeated in relays; beyond it no relay fits into its limit.
const SOURCE_NAME_MAX: usize = 1024;
/// Names that belong to this layer.
const INTERNAL_PREFIX: &str = "_serf_";

/// Queries heard of and those that wait for our answer.
#[derive(Debug)]
pub(crate) struct Heard {
    recent: Recent<u32>,
    answerable: VecDeque<Answerable>,
}

/// A query that may be answered.
#[derive(Debug, Clone)]
struct Answerable {
    id: QueryId,
    source: SocketAddr,
    source_node: Text,
    relay_factor: u8,
    own: bool,
    deadline: Mono,
}

impl Heard {
    /// Nothing heard, and nothing from before `time_min` considered.
    pub(crate) fn since(time_min: LTime) -> Heard {
        Heard {
            recent: Recent::since(time_min),
            answerable: VecDeque::new(),
        }
    }

    fn remember(&mut self, now: Mono, query: Answerable) {
        self.answerable.retain(|known| known.deadline >= now);
        if self.answerable.len() >= ANSWERABLE_MAX {
            self.answerable.pop_front();
        }
        self.answerable.push_back(query);
    }

    fn at(&self, now: Mono, id: QueryId) -> Option<usize> {
        let mut known = self.answerable.iter();
        known.position(|query| query.id == id && query.deadline >= now)
    }
}

impl Serf {
    /// A query, from here or from a packet; true if it was new and others should hear of it.
    pub(crate) fn on_query(&mut self, now: Mono, query: &Query, out: &mut Vec<Action>) -> bool {
        self.query_clock.witness(query.ltime);
        let clock = self.query_clock.time();
        match self.heard.recent.add(query.ltime, clock, query.id) {
            Seen::First => {}
            Seen::Stale => return false,
            Seen::Crowded => {
                self.warn(&query.name, "query dropped: too many at one time", out);
                return false;
            }
        }
        if self.passes(&query.filters) {
            self.take_query(now, query, out);
        }
        !query.no_broadcast
    }

    /// Answers a query of [`Action::Query`] or [`Action::KeyQuery`], once and in time.
    ///
    /// # Errors
    /// The query is not open for an answer (any more), or the answer is too large: then a smaller one may follow.
    pub fn respond(
        &mut self,
        now: Mono,
        query: QueryId,
        payload: &[u8],
        out: &mut Vec<Action>,
    ) -> Result<(), Refused> {
        let at = self.heard.at(now, query).ok_or(Refused::NoQuery)?;
        let response = QueryResponse {
            ltime: query.ltime,
            id: query.id,
            from: self.swim.name().clone(),
            ack: false,
            payload: Some(payload.into()),
        };
        let message = Message::QueryResponse(response.clone());
        let bytes = self.encoded(&message);
        let limit = self.options.query_size_max;
        if bytes.len() > limit {
            return Err(Refused::QuerySize(format!(
                "response exceeds limit of {limit} bytes"
            )));
        }
        if let Some(answerable) = self.heard.answerable.remove(at) {
            self.send_response(now, &answerable, response, bytes, out);
        }
        Ok(())
    }

    /// Hands a message on to the node it is for.
    pub(crate) fn on_relay(&mut self, to: SocketAddr, message: &[u8], out: &mut Vec<Action>) {
        if !message.is_empty() {
            self.send_user(to, message, out);
        }
    }

    fn passes(&self, filters: &[Filter]) -> bool {
        filters.iter().all(|filter| match filter {
            Filter::Nodes(names) => names.contains(self.swim.name()),
            Filter::Tag { tag, expr } => {
                let value = self.options.tags.get(tag).cloned().unwrap_or_default();
                (self.codec.matches)(expr, &value)
            }
            Filter::Unknown => false,
        })
    }

    fn take_query(&mut self, now: Mono, query: &Query, out: &mut Vec<Action>) {
        let id = QueryId {
            ltime: query.ltime,
            id: query.id,
        };
        let source_node = match query.source_node.len() {
            0..=SOURCE_NAME_MAX => query.source_node.clone(),
            _ => text(""),
        };
        let answerable = Answerable {
            id,
            source: query.source,
            source_node,
            relay_factor: query.relay_factor,
            own: self.questions.is_open(id),
            deadline: now + query.timeout,
        };
        if query.ack {
            let response = QueryResponse {
                ltime: query.ltime,
                id: query.id,
                from: self.swim.name().clone(),
                ack: true,
                payload: None,
            };
            let bytes = self.encoded(&Message::QueryResponse(response.clone()));
            self.send_response(now, &answerable, response, bytes, out);
        }
        self.ledger.query(query.ltime, out);
        let asked = Asked {
            query: id,
            name: query.name.clone(),
            payload: query.payload.clone(),
        };
        let Some(internal) = query.name.strip_prefix(INTERNAL_PREFIX) else {
            self.heard.remember(now, answerable);
            out.push(Action::Query(asked));
            return;
        };
        let operation = match internal {
            "install-key" => KeyOperation::Install,
            "use-key" => KeyOperation::Use,
            "remove-key" => KeyOperation::Remove,
            "list-keys" => KeyOperation::List,
            "conflict" => {
                self.heard.remember(now, answerable);
                self.answer_conflict(now, &asked, out);
                return;
            }
            // A ping wants the ack only; the others are not known to anybody.
            _ => return,
        };
        self.heard.remember(now, answerable);
        out.push(Action::KeyQuery { operation, asked });
    }

    /// Tells what we know of a name that two nodes claim, unless it is ours.
    fn answer_conflict(&mut self, now: Mono, asked: &Asked, out: &mut Vec<Action>) {
        let name = String::from_utf8_lossy(&asked.payload);
        if *name == **self.swim.name() {
            return;
        }
        let known = self.members.find(&name).and_then(|row| {
            let peer = self.members.peer(row)?;
            Some(ConflictAnswer {
                name: peer.name.clone(),
                addr: peer.addr,
                tags: (self.codec.decode_tags)(&peer.meta),
                status: self.members.status(row).as_number(),
                versions: peer.versions.map_or([0; 6], |versions| versions.0),
            })
        });
        let payload = (self.codec.encode_conflict)(known.as_ref());
        if let Err(Refused::QuerySize(reason)) = self.respond(now, asked.query, &payload, out) {
            self.warn(&asked.name, &reason, out);
        }
    }

    /// Sends an ack or an answer to the node that asked, and through random others if it wants that.
    fn send_response(
        &mut self,
        now: Mono,
        query: &Answerable,
        response: QueryResponse,
        bytes: Arc<[u8]>,
        out: &mut Vec<Action>,
    ) {
        if query.own {
            self.on_response(now, response, out);
            return;
        }
        self.send_user(query.source, &bytes, out);
        let count = usize::from(query.relay_factor);
        if count == 0 || self.members.len() < count + 1 {
            return;
        }
        let relayed = self.encoded(&Message::Relay {
            to: query.source,
            node: query.source_node.clone(),
            message: bytes,
        });
        let limit = self.options.query_size_max;
        if relayed.len() > limit {
            let reason = format!("relayed response exceeds limit of {limit} bytes");
            self.warn(&query.source_node, &reason, out);
            return;
        }
        let members = &self.members;
        let relays = self.swim.random_alive(count, |peer| {
            let versions = peer.versions.map_or(0, |versions| versions.protocol_max());
            versions >= 5
                && members
                    .find(&peer.name)
                    .is_some_and(|row| members.status(row) == MemberStatus::Alive)
        });
        for relay in relays {
            self.send_user(relay.addr, &relayed, out);
        }
    }
}
