//! The task of a pool: it owns the core's turns, the socket of datagrams, and the timer.
//!
//! In: datagrams, commands, the time. Out: whatever the core asks for, in its order. Datagrams leave within the turn that
//! asked for them: an ack that waits behind other work makes this node look slow to its peers.
//!
//! The core is behind a mutex only so that readers can look at it; it changes in this task alone, so that news keep their
//! order. Nothing is awaited while the mutex is held.
//!
//! Bounds: one receive takes what fits into 128 KiB; between two receives all due timers and up to 32 commands run, so
//! that a flood of datagrams cannot starve either. Outgoing exchanges run in tasks of their own, at most 16 at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, info, warn};
use tribune_rt::net::{RecvBatch, UdpSocket};
use tribune_rt::{CancellationToken, TaskGroup, millis};
use tribune_serf::{Action, KeyOperation, MemberChange, MemberEvent, Record};
use tribune_swim::{Message, Packet, Warning};
use tribune_types::time::Mono;

use super::codec;
use super::exchange::{Purpose, stream_ping};
use super::figures::{self, EventNames};
use super::options::Fired;
use super::snapshot::Snapshot;
use super::turn::{Command, Turn, Waiters};
use super::{Pool, spawn};

/// Largest datagram.
const DATAGRAM_SIZE_MAX: usize = 65_536;
/// Room for datagrams of one receive. Only touched pages cost memory.
const RECV_BUFFER: usize = 2 * DATAGRAM_SIZE_MAX;
/// Datagrams of one receive.
const RECV_COUNT: usize = 32;
/// Between two samples of the core's figures.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);
/// Commands between two receives.
const COMMANDS_PER_ROUND: usize = 32;

/// What the task owns.
pub(super) struct Driver {
    pub(super) pool: Pool,
    pub(super) socket: Arc<UdpSocket>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) tasks: TaskGroup,
    pub(super) events: Option<mpsc::Sender<Fired>>,
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) waiters: Waiters,
    pub(super) names: EventNames,
    /// Reused: what the core asked for, and a datagram on its way.
    pub(super) out: Vec<Action>,
    pub(super) buffer: Vec<u8>,
    /// When figures were sampled for the last time.
    pub(super) sampled: Mono,
}

impl Driver {
    /// Runs until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let env = self.pool.env().clone();
        let mut batch = RecvBatch::new(DATAGRAM_SIZE_MAX, RECV_COUNT, RECV_BUFFER);
        self.carry_out().await;
        loop {
            let wake = self.pool.shared.core.lock().next_wake();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                received = self.socket.recv_batch(&mut batch) => match received {
                    Ok(_) => self.on_datagrams(&batch).await,
                    // An earlier send was refused, for one.
                    Err(err) => debug!(%err, "memberlist: receive failed"),
                },
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command).await,
                    None => return,
                },
                () = env.sleep_until(wake) => {}
            }
            for _ in 0..COMMANDS_PER_ROUND {
                let Ok(command) = self.commands.try_recv() else {
                    break;
                };
                self.on_command(command).await;
            }
            self.on_time().await;
        }
    }

    async fn on_time(&mut self) {
        let now = self.pool.env().mono();
        {
            let mut core = self.pool.shared.core.lock();
            if core.next_wake() > now {
                return;
            }
            core.on_time(now, &mut self.out);
            figures::count(&core.take_tally());
            if now.since(self.sampled) >= SAMPLE_INTERVAL {
                self.sampled = now;
                figures::sample(&core.stats());
            }
        }
        self.carry_out().await;
        // Each look at the clock is one at what there is to say, too.
        figures::gossiped(self.pool.env().mono().since(now));
    }

    async fn on_command(&mut self, command: Command) {
        let now = self.pool.env().mono();
        {
            let mut core = self.pool.shared.core.lock();
            let mut turn = Turn {
                serf: &mut core,
                now,
                out: &mut self.out,
                waiters: &mut self.waiters,
                members_changed: false,
            };
            command(&mut turn);
            if turn.members_changed {
                self.pool.shared.changed();
            }
        }
        self.carry_out().await;
    }

    async fn on_datagrams(&mut self, batch: &RecvBatch) {
        for (from, bytes) in batch.iter() {
            let from = super::canonical(from);
            metrics::counter!("memberlist.udp.received").increment(bytes.len() as u64);
            let now = self.pool.env().mono();
            let (cipher, strict) = self.pool.shared.keys.incoming();
            // Nobody without a key can have made what passes then.
            let mut trusted = (cipher.is_some() && strict).then_some(true);
            let opened = codec::open_datagram(cipher.as_deref(), strict, bytes, |message| {
                self.on_message(now, from, &mut trusted, message);
            });
            if let Err(problem) = opened {
                let hostile = &self.pool.shared.hostile;
                hostile.dropped(now, from.ip(), &problem);
            }
            // Before the next datagram: an ack does not wait for the rest of the batch.
            self.carry_out().await;
        }
    }

    /// Gives one message to the core. `trusted` says whether its sender may bring any number of new names; it is looked up
    /// once for a datagram, and only if need be, since that is a search.
    fn on_message(
        &mut self,
        now: Mono,
        from: SocketAddr,
        trusted: &mut Option<bool>,
        message: Message,
    ) {
        let shared = &self.pool.shared;
        let mut core = shared.core.lock();
        match &message {
            Message::Alive(alive)
                if *trusted != Some(true)
                    && core.member(&alive.peer.name).is_none()
                    && shared.hostile.introduces(now, from.ip(), 1) == 0
                    && !*trusted
                        .get_or_insert_with(|| super::established(&core, now, from.ip())) =>
            {
                drop(core);
                let problem = &"too many members from a stranger";
                return shared.hostile.dropped(now, from.ip(), problem);
            }
            Message::User(bytes) => {
                metrics::histogram!("serf.msgs.received").record(bytes.len() as f64);
                // An intent changes what a reader sees without news of its own.
                if codec::is_intent(bytes) {
                    shared.changed();
                }
            }
            _ => {}
        }
        core.on_message(now, from, message, &mut self.out);
    }

    /// Does what the core asked for, in its order.
    async fn carry_out(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let mut actions = std::mem::take(&mut self.out);
        for action in actions.drain(..) {
            if let Action::Packet(packet) = action {
                self.send(packet).await;
            } else {
                self.carry_out_one(action);
            }
        }
        // Sending may have added nothing; the vector's memory is used again.
        if self.out.is_empty() {
            self.out = actions;
        }
    }

    async fn send(&mut self, packet: Packet) {
        self.buffer.clear();
        let cipher = self.pool.shared.keys.outgoing();
        codec::seal_datagram(
            self.pool.env(),
            cipher.as_deref(),
            &packet,
            &mut self.buffer,
        );
        metrics::counter!("memberlist.udp.sent").increment(self.buffer.len() as u64);
        figures::sent(&packet.parts);
        if let Err(err) = self.socket.send_to(&self.buffer, packet.to).await {
            debug!(%err, to = %packet.to, "memberlist: send failed");
            let now = self.pool.env().mono();
            self.pool.shared.core.lock().on_send_failed(now, packet.to);
        }
    }

    fn carry_out_one(&mut self, action: Action) {
        match action {
            // Sent by the caller, which may wait.
            Action::Packet(_) => {}
            Action::StreamPing {
                to,
                node,
                seq,
                deadline,
            } => {
                let pool = self.pool.clone();
                spawn(&self.tasks, "gossip-ping", async move {
                    stream_ping(&pool, to, &node, seq, deadline).await;
                });
            }
            Action::PushPull { to, node, join } => {
                let pool = self.pool.clone();
                let purpose = if join {
                    Purpose::Rejoin
                } else {
                    Purpose::Periodic
                };
                spawn(&self.tasks, "gossip-push-pull", async move {
                    if let Err(err) = pool.push_pull(to, purpose).await {
                        debug!(%node, %to, %err, "memberlist: push/pull failed");
                    }
                });
            }
            Action::Member(event) => self.on_member(&event),
            Action::UserEvent {
                ltime,
                name,
                payload,
            } => {
                self.names.event(&name);
                let fired = Fired {
                    ltime,
                    name,
                    payload,
                };
                if let Some(events) = &self.events
                    && events.try_send(fired).is_err()
                {
                    metrics::counter!("serf.events.dropped").increment(1);
                }
            }
            // Consul answers no queries but those of the layer itself.
            Action::Query(asked) => self.names.query(&asked.name),
            Action::KeyQuery { operation, asked } => {
                self.names.query(&asked.name);
                info!("serf: Received {} query", query_word(operation));
                let pool = self.pool.clone();
                self.tasks.spawn("gossip-keys", async move {
                    pool.answer_key_query(operation, asked).await;
                });
            }
            Action::QueryAck { .. } => metrics::counter!("serf.query_acks").increment(1),
            Action::QueryAnswer {
                query,
                from,
                payload,
            } => {
                metrics::counter!("serf.query_responses").increment(1);
                self.waiters.answer(query, from, payload);
            }
            Action::QueryOver(query) => self.waiters.over(query),
            Action::Record(record) => self.record(&record),
            Action::Sent(ticket) => self.waiters.sent(ticket, true),
            Action::Unsent(ticket) => self.waiters.sent(ticket, false),
            Action::Left => {
                self.pool.shared.changed();
                self.waiters.left();
            }
            Action::CoordinateMoved(by) => {
                metrics::histogram!("serf.coordinate.adjustment-ms").record(millis(by));
            }
            Action::Conflict { holder, claimant } => self.warn(|suppressed| {
                warn!(
                    node = %holder.name, holder = %holder.addr, claimant = %claimant.addr, suppressed,
                    "memberlist: conflicting address"
                );
            }),
            Action::Warning(warning) => self.on_warning(warning),
        }
    }

    fn record(&self, record: &Record) {
        if let Some(snapshot) = &self.snapshot {
            snapshot.push(record);
        }
    }

    fn on_member(&mut self, event: &MemberEvent) {
        let MemberEvent {
            change,
            peer,
            status,
        } = event;
        let (word, metric) = match change {
            MemberChange::Joined => ("EventMemberJoin", Some("serf.member.join")),
            MemberChange::Left => ("EventMemberLeave", Some("serf.member.left")),
            MemberChange::Failed => ("EventMemberFailed", Some("serf.member.failed")),
            MemberChange::Updated => ("EventMemberUpdate", Some("serf.member.update")),
            MemberChange::Reaped => ("EventMemberReap", None),
        };
        if let Some(metric) = metric {
            metrics::counter!(metric).increment(1);
        }
        let now = self.pool.env().mono();
        match self.pool.shared.hostile.may_tell_member(now) {
            Some(0) => info!("serf: {word}: {} {}", peer.name, peer.addr.ip()),
            Some(suppressed) => {
                info!(suppressed, "serf: {word}: {} {}", peer.name, peer.addr.ip());
            }
            None => {}
        }
        self.pool.shared.changed();
        self.pool.shared.followers.tell(*change, peer, *status);
    }

    /// Writes a line about the pool, unless there were too many.
    fn warn(&self, line: impl FnOnce(u64)) {
        let now = self.pool.env().mono();
        if let Some(suppressed) = self.pool.shared.hostile.may_warn(now) {
            line(suppressed);
        }
    }

    fn on_warning(&self, warning: Warning) {
        match warning {
            Warning::DatagramsBlocked(node) => self.warn(|suppressed| {
                warn!(
                    %node, suppressed,
                    "memberlist: node answers over TCP but not over UDP; network may be misconfigured"
                );
            }),
            Warning::Suspected(node) => self.warn(|suppressed| {
                info!(%node, suppressed, "memberlist: suspect has failed, no acks received");
            }),
            Warning::Refuted { from } => self.warn(|suppressed| {
                warn!(%from, suppressed, "memberlist: refuting a suspect or dead message");
            }),
            Warning::Refused { node, reason } => self.warn(|suppressed| {
                warn!(%node, %reason, suppressed, "memberlist: ignoring an alive message");
            }),
        }
    }
}

fn query_word(operation: KeyOperation) -> &'static str {
    match operation {
        KeyOperation::Install => "install-key",
        KeyOperation::Use => "use-key",
        KeyOperation::Remove => "remove-key",
        KeyOperation::List => "list-keys",
    }
}
