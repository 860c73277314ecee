//! Probes: one node after the other is asked whether it is there (gossip.md section 6.3), and our side of the probes of
//! others.
//!
//! ```text
//! sent              + probe_timeout                     sent + probe_interval * (score + 1)
//!   | ping             | ask others, ping over a stream    | no ack: suspect
//!   |<---- direct ---->|<------------ indirect ----------->|
//! ```
//!
//! Any ack ends a probe at once; a direct one is a sample of the round trip. The result over a stream counts only at the
//! deadline, but for one: if the node's machine refuses the stream, nobody listens there any more, and what is left of the
//! time is cut to what an ack by way of another node takes. A process that was killed is suspected half a second earlier so
//! (Consul waits on); one that is there after all has the whole suspicion to deny it. One probe runs at a time: while it does, one tick is remembered and the others are dropped, as Go's ticker
//! does it, which Consul uses. (To drop that one too would halve the rate of probes that fail, which end where the next
//! tick falls.)

use std::net::SocketAddr;
use std::time::Duration;

use tribune_types::text::Text;
use tribune_types::time::Mono;

use crate::action::{Action, Notice, Packet, Warning};
use crate::gossip::understands_checksums;
use crate::message::{Accusation, Ack, IndirectPing, Message, NodeState, Ping};
use crate::relay::{Relay, Relays};
use crate::swim::Swim;
use crate::table::LOCAL;
use crate::tick::Tick;

/// The share of the direct time that acks by way of others get after a stream was refused.
const REFUSED_GRACE: u32 = 5;

/// Progress through the table, and the probe that runs.
#[derive(Debug)]
pub(crate) struct Prober {
    pub(crate) tick: Tick,
    /// A tick came while a probe ran.
    missed: bool,
    /// Position in the table's order.
    at: usize,
    seq: u32,
    running: Option<Probe>,
    relays: Relays,
}

#[derive(Debug)]
struct Probe {
    seq: u32,
    slot: u32,
    addr: SocketAddr,
    /// Known when the probe began.
    incarnation: u32,
    sent: Mono,
    deadline: Mono,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Only the node itself was asked, until then.
    Direct(Mono),
    /// Others were asked, too.
    Indirect(Answers),
}

#[derive(Debug, Default)]
struct Answers {
    nacks_expected: u32,
    nacks: u32,
    stream_acked: bool,
    stream_refused: bool,
}

impl Prober {
    /// Begins at the first entry with the first tick.
    pub(crate) fn new(tick: Tick) -> Prober {
        Prober {
            tick,
            missed: false,
            at: 0,
            seq: 0,
            running: None,
            relays: Relays::default(),
        }
    }

    /// When something is to be done; `clock` if at once.
    pub(crate) fn next(&self, clock: Mono) -> Option<Mono> {
        let phase = match &self.running {
            None if self.missed => Some(clock),
            None => None,
            Some(probe) => Some(match probe.phase {
                Phase::Direct(until) => until.min(probe.deadline),
                Phase::Indirect(_) => probe.deadline,
            }),
        };
        [phase, self.tick.due(), self.relays.next()]
            .into_iter()
            .flatten()
            .min()
    }

    fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }
}

impl Swim {
    /// Carries the probes on.
    pub(crate) fn probe_on_time(&mut self, now: Mono, out: &mut Vec<Action>) {
        self.expire_relays(now, out);
        self.advance_probe(now, out);
        if self.prober.tick.take(now) {
            self.prober.missed = true;
        }
        self.begin_probe(now, out);
    }

    /// Begins the next probe if one is due and none runs.
    pub(crate) fn begin_probe(&mut self, now: Mono, out: &mut Vec<Action>) {
        if self.prober.running.is_some() || !std::mem::take(&mut self.prober.missed) {
            return;
        }
        let Some(slot) = self.next_target(now) else {
            return;
        };
        let seq = self.prober.next_seq();
        let entry = self.table.get(slot);
        let (incarnation, state) = (entry.incarnation, entry.state);
        self.tally.degraded_probes += u64::from(self.awareness.score() > 0);
        let peer = self.table.peer(slot).clone();
        let timing = &self.options.timing;
        self.prober.running = Some(Probe {
            seq,
            slot,
            addr: peer.addr,
            incarnation,
            sent: now,
            deadline: now + self.awareness.scale(timing.probe_interval),
            phase: Phase::Direct(now + timing.probe_timeout),
        });
        let ping = self.ping(seq, &peer.name);
        if state == NodeState::Alive {
            self.send(peer.addr, &ping, out);
            return;
        }
        // Told what it is accused of, it can deny it in its very answer.
        let suspect = Message::Suspect(Accusation {
            incarnation,
            node: Text::clone(&peer.name),
            from: Text::clone(self.name()),
        });
        out.push(Action::Packet(Packet {
            to: peer.addr,
            parts: vec![self.encode(&ping), self.encode(&suspect)],
            checksum: understands_checksums(&peer),
        }));
    }

    /// The next entry that is worth a probe. At the end of the order the old dead are forgotten and a new order begins.
    ///
    /// What is left of this round and the whole next one are considered, so somebody is found if there is anybody. Consul
    /// gives up after as many entries as the table has, and so leaves out ticks in small pools.
    fn next_target(&mut self, now: Mono) -> Option<u32> {
        for _ in 0..2 * self.table.len() {
            if self.prober.at >= self.table.len() {
                self.table
                    .purge(now, self.options.timing.gossip_to_the_dead);
                self.table.shuffle(&mut self.rng);
                self.prober.at = 0;
            }
            let slot = self.table.order()[self.prober.at];
            self.prober.at += 1;
            if slot != LOCAL && self.table.get(slot).is_up() {
                return Some(slot);
            }
        }
        None
    }

    fn advance_probe(&mut self, now: Mono, out: &mut Vec<Action>) {
        let Some(probe) = &self.prober.running else {
            return;
        };
        let deadline = probe.deadline;
        if let Phase::Direct(until) = probe.phase
            && now >= until.min(deadline)
        {
            self.ask_others(now, out);
        }
        if now >= deadline {
            self.end_unanswered(now, out);
        }
    }

    /// The direct time is over.
    fn ask_others(&mut self, now: Mono, out: &mut Vec<Action>) {
        let Some(probe) = &self.prober.running else {
            return;
        };
        let (seq, target, deadline) = (probe.seq, probe.slot, probe.deadline);
        let peer = self.table.peer(target).clone();
        let helpers = self.table.pick(
            self.options.timing.indirect_checks,
            &mut self.rng,
            |slot, entry| slot != target && entry.state == NodeState::Alive,
        );
        let mut answers = Answers::default();
        for slot in helpers {
            let helper = self.table.peer(slot);
            let (addr, nack) = (
                helper.addr,
                helper
                    .versions
                    .is_some_and(|versions| versions.protocol_max() >= 4),
            );
            answers.nacks_expected += u32::from(nack);
            let request = Message::IndirectPing(IndirectPing {
                seq,
                target: peer.addr,
                node: Text::clone(&peer.name),
                nack,
                source: Some(self.options.addr),
                source_node: Text::clone(self.name()),
            });
            self.send(addr, &request, out);
        }
        let understands = peer
            .versions
            .is_some_and(|versions| versions.protocol_max() >= 3);
        if self.options.stream_fallback && understands && now < deadline {
            out.push(Action::StreamPing {
                to: peer.addr,
                node: Text::clone(&peer.name),
                seq,
                deadline,
            });
        }
        if let Some(probe) = &mut self.prober.running {
            probe.phase = Phase::Indirect(answers);
        }
    }

    /// The whole time is over.
    fn end_unanswered(&mut self, now: Mono, out: &mut Vec<Action>) {
        let Some(probe) = self.prober.running.take() else {
            return;
        };
        let answers = match probe.phase {
            Phase::Direct(_) => Answers::default(),
            Phase::Indirect(answers) => answers,
        };
        self.tally.probed = Some(now.since(probe.sent));
        let node = Text::clone(&self.table.peer(probe.slot).name);
        if answers.stream_acked {
            self.awareness.better();
            out.push(Action::Notice(Notice::Warning(Warning::DatagramsBlocked(
                node,
            ))));
            return;
        }
        // Helpers that say nothing at all make us doubt ourselves rather than the node; after a refusal they had no time.
        if !answers.stream_refused {
            self.awareness.worse(match answers.nacks_expected {
                0 => 1,
                expected => expected.saturating_sub(answers.nacks),
            });
        }
        out.push(Action::Notice(Notice::Warning(Warning::Suspected(
            Text::clone(&node),
        ))));
        let suspect = Accusation {
            incarnation: probe.incarnation,
            node,
            from: Text::clone(self.name()),
        };
        self.decide_suspect(now, &suspect, out);
    }

    /// An answer to a probe, ours or one that we carry out for somebody else.
    pub(crate) fn on_ack(&mut self, now: Mono, ack: Ack, out: &mut Vec<Action>) {
        if let Some(probe) = self.prober.running.take_if(|probe| probe.seq == ack.seq) {
            self.awareness.better();
            self.tally.probed = Some(now.since(probe.sent));
            if let Phase::Direct(_) = probe.phase {
                out.push(Action::Notice(Notice::Measured {
                    node: Text::clone(&self.table.peer(probe.slot).name),
                    rtt: now.since(probe.sent),
                    payload: ack.payload,
                }));
            }
        } else if let Some(relay) = self.prober.relays.acked(ack.seq) {
            let answer = Message::Ack(Ack {
                seq: relay.seq,
                payload: None,
            });
            self.send(relay.asker, &answer, out);
        }
    }

    /// A helper is there, but got no answer either.
    pub(crate) fn on_nack(&mut self, seq: u32) {
        if let Some(probe) = &mut self.prober.running
            && probe.seq == seq
            && let Phase::Indirect(answers) = &mut probe.phase
        {
            answers.nacks = answers.nacks.saturating_add(1);
        }
    }

    /// The result of [`Action::StreamPing`].
    pub fn on_stream_ack(&mut self, now: Mono, seq: u32, acked: bool, out: &mut Vec<Action>) {
        if let Some(probe) = &mut self.prober.running
            && probe.seq == seq
            && let Phase::Indirect(answers) = &mut probe.phase
        {
            answers.stream_acked |= acked;
        }
        self.settle(now, out);
    }

    /// The machine of the node refused the stream of [`Action::StreamPing`]: nothing listens there.
    pub fn on_stream_refused(&mut self, now: Mono, seq: u32, out: &mut Vec<Action>) {
        let grace = self.options.timing.probe_timeout / REFUSED_GRACE;
        if let Some(probe) = &mut self.prober.running
            && probe.seq == seq
            && let Phase::Indirect(answers) = &mut probe.phase
            && !answers.stream_acked
        {
            answers.stream_refused = true;
            probe.deadline = probe.deadline.min(now + grace);
        }
        self.settle(now, out);
    }

    /// A datagram could not be handed to the system for a local reason: a running probe of that address counts neither way.
    pub fn on_send_failed(&mut self, now: Mono, to: SocketAddr) {
        self.clock = self.clock.max(now);
        self.prober
            .running
            .take_if(|probe| probe.addr == to && matches!(probe.phase, Phase::Direct(_)));
    }

    /// Somebody asks whether we are there.
    pub(crate) fn on_ping(&mut self, from: SocketAddr, ping: &Ping, out: &mut Vec<Action>) {
        if !self.answers_stream_ping(&ping.node) {
            return;
        }
        let ack = Message::Ack(Ack {
            seq: ping.seq,
            payload: self.ack_payload.clone(),
        });
        self.send(ping.source.unwrap_or(from), &ack, out);
    }

    /// Somebody asks us to ask somebody else.
    pub(crate) fn on_indirect_ping(
        &mut self,
        now: Mono,
        from: SocketAddr,
        request: &IndirectPing,
        out: &mut Vec<Action>,
    ) {
        if self.prober.relays.is_full() {
            self.refuse(&request.node, "too many probes for others".to_owned(), out);
            return;
        }
        let seq = self.prober.next_seq();
        let relay = Relay {
            asker: request.source.unwrap_or(from),
            seq: request.seq,
            nack: request.nack,
        };
        let until = now + self.options.timing.probe_timeout;
        self.prober.relays.add(seq, relay, until);
        let ping = self.ping(seq, &request.node);
        self.send(self.or_own_port(request.target), &ping, out);
    }

    fn expire_relays(&mut self, now: Mono, out: &mut Vec<Action>) {
        while let Some(relay) = self.prober.relays.take_due(now) {
            if relay.nack {
                self.send(relay.asker, &Message::Nack(relay.seq), out);
            }
        }
    }

    fn ping(&self, seq: u32, node: &Text) -> Message {
        Message::Ping(Ping {
            seq,
            node: Text::clone(node),
            source: Some(self.options.addr),
            source_node: Text::clone(self.name()),
        })
    }
}

/// A random point of a timer's first interval.
pub(crate) fn first_tick(now: Mono, interval: Duration, rng: &mut crate::random::Rng) -> Tick {
    Tick::new(now + rng.below_duration(interval), interval)
}
