//! Connections: dialing, bytes in order, the window, retransmission, resets and keepalive.
//!
//! End 0 of a connection dialed, end 1 listens. Each end has a queue of what it sent and has not arrived. While the queue's
//! head does not get through, or arrived and the acknowledgement does not get back, the end is *stuck*: it tries again after
//! 0.2 s, then in doubling steps of at most 2 minutes, until both directions carry or it gives up.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Waker;

use rand::Rng;

use super::state::{Death, Event, HostId, State};
use super::trace::{Traced, word_of};
use super::udp::gone;

/// Bytes that were sent and not yet read by the peer; a writer waits beyond it.
const WINDOW: usize = 256 << 10;
/// A waiting writer goes on below this.
const WINDOW_LOW: usize = WINDOW / 3 * 2;
const SECOND_NS: u64 = 1_000_000_000;
/// Time until something is sent again, at first and at most.
const RETRY_FIRST_NS: u64 = SECOND_NS / 5;
const RETRY_MAX_NS: u64 = 120 * SECOND_NS;
/// Time after which what was sent is given up.
const GIVE_UP_NS: u64 = 924 * SECOND_NS;
/// A dial is tried again this many times.
const SYN_RETRIES: u32 = 6;
/// Unanswered keepalive probes that end a connection.
const PROBES_MAX: u32 = 9;

/// A listener and the connections that wait for it.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) host: HostId,
    pub(super) local: SocketAddr,
    pub(super) queue: VecDeque<u64>,
    backlog: usize,
    pub(super) acceptors: Vec<Waker>,
}

/// A connection, or a dial.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) phase: Phase,
    pub(super) ends: [End; 2],
    /// Who will accept it.
    listener: u64,
}

/// How far a dial got.
#[derive(Debug)]
pub(super) enum Phase {
    /// Number of tries so far.
    Dialing(u32),
    /// There is a connection, or was.
    Open,
    /// The dialer is to be told why not.
    Failed(io::ErrorKind),
}

/// One side of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) host: HostId,
    pub(super) addr: SocketAddr,
    /// A process has it: as a stream, or in a listener's queue.
    pub(super) held: bool,
    /// Nothing is sent or taken any more.
    pub(super) dead: bool,
    /// What the process is told once.
    pub(super) error: Option<io::ErrorKind>,
    /// Arrived and not read, with the number of bytes read of the first.
    pub(super) unread: VecDeque<Vec<u8>>,
    pub(super) unread_start: usize,
    /// The peer sends no more.
    pub(super) fin_seen: bool,
    /// The process sends no more.
    pub(super) fin_sent: bool,
    pub(super) readers: Vec<Waker>,
    pub(super) writers: Vec<Waker>,
    sent: Sent,
    /// Bytes read of which the peer could not be told.
    untold: usize,
    /// Bytes read of which the peer is being told.
    telling: usize,
    keepalive: Option<Keepalive>,
    heard_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Keepalive {
    idle_ns: u64,
    interval_ns: u64,
    /// A probe is scheduled: something is broken.
    probing: bool,
    failed: u32,
}

/// What an end sent.
#[derive(Debug, Default)]
struct Sent {
    flight: VecDeque<InFlight>,
    /// Bytes on their way or not yet read.
    used: usize,
    /// A delivery is scheduled.
    scheduled: bool,
    last_at_ns: u64,
    stuck: Option<Stuck>,
}

#[derive(Debug)]
struct InFlight {
    at_ns: u64,
    /// The path was broken when it was sent.
    lost: bool,
    what: Item,
}

#[derive(Debug)]
enum Item {
    /// The dialer has the listener's answer; the connection can be accepted.
    Hello,
    Bytes(Vec<u8>),
    Fin,
    Reset,
}

#[derive(Debug, Clone, Copy)]
struct Stuck {
    since_ns: u64,
    pause_ns: u64,
    /// Time of the next try; earlier ones that are still scheduled are void.
    next_ns: u64,
    /// Nothing arrives; else only acknowledgements are missing.
    blocked: bool,
}

impl End {
    fn new(host: HostId, addr: SocketAddr, held: bool) -> Self {
        Self {
            host,
            addr,
            held,
            dead: false,
            error: None,
            unread: VecDeque::new(),
            unread_start: 0,
            fin_seen: false,
            fin_sent: false,
            readers: Vec::new(),
            writers: Vec::new(),
            sent: Sent::default(),
            untold: 0,
            telling: 0,
            keepalive: None,
            heard_ns: 0,
        }
    }

    /// Nothing keeps its side of the connection.
    fn is_over(&self) -> bool {
        !self.held && (self.dead || self.sent.flight.is_empty() && self.sent.stuck.is_none())
    }

    /// Copies what was not read to `out`, without taking it.
    pub(super) fn peek(&self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        let mut start = self.unread_start;
        for bytes in &self.unread {
            let len = (bytes.len() - start).min(out.len() - filled);
            out[filled..filled + len].copy_from_slice(&bytes[start..start + len]);
            filled += len;
            start = 0;
        }
        filled
    }

    /// Takes `len` of the bytes that were not read.
    fn consume(&mut self, mut len: usize) {
        while let Some(first) = self.unread.front() {
            let left = first.len() - self.unread_start;
            if len < left {
                self.unread_start += len;
                return;
            }
            len -= left;
            self.unread_start = 0;
            self.unread.pop_front();
        }
    }

    /// How many more bytes it may send.
    pub(super) fn room(&self) -> usize {
        WINDOW.saturating_sub(self.sent.used)
    }
}

impl State {
    // --- listening --------------------------------------------------------------------------

    pub(super) fn listen(
        &mut self,
        host: HostId,
        addr: SocketAddr,
        shares: bool,
        backlog: u32,
    ) -> io::Result<(u64, SocketAddr)> {
        let ip = self.bindable(host, addr.ip())?;
        let id = self.fresh_id();
        let entry = &mut self.hosts[host];
        let port = entry.tcp.bind(ip, addr.port(), shares, id)?;
        let local = SocketAddr::new(ip.unwrap_or(entry.ip), port);
        self.listeners.insert(
            id,
            Listener {
                host,
                local,
                queue: VecDeque::new(),
                backlog: usize::try_from(backlog).unwrap_or(usize::MAX),
                acceptors: Vec::new(),
            },
        );
        Ok((id, local))
    }

    pub(super) fn close_listener(&mut self, id: u64) {
        let Some(mut gone) = self.listeners.remove(&id) else {
            return;
        };
        self.hosts[gone.host].tcp.release(gone.local.port(), id);
        Self::wake(&mut self.woken, &mut gone.acceptors);
        for conn in gone.queue {
            self.let_go(conn, 1);
            self.send_reset(conn, 1);
            self.tidy(conn);
        }
    }

    pub(super) fn end_listeners(&mut self, host: HostId) {
        let of_host = self.listeners.iter().filter(|(_, l)| l.host == host);
        let ids: Vec<(u64, u16)> = of_host.map(|(id, l)| (*id, l.local.port())).collect();
        for (id, port) in ids {
            // What waits in the queue ends as the process's other connections do.
            if let Some(mut gone) = self.listeners.remove(&id) {
                self.hosts[host].tcp.release(port, id);
                Self::wake(&mut self.woken, &mut gone.acceptors);
            }
        }
    }

    // --- dialing ----------------------------------------------------------------------------

    /// Begins a dial; the dialer polls the connection's phase.
    pub(super) fn dial(&mut self, host: HostId, to: SocketAddr) -> io::Result<u64> {
        let (to_host, to) = self.resolve(host, to);
        let id = self.fresh_id();
        let entry = &mut self.hosts[host];
        let port = entry.tcp.take(id)?;
        let ip = match to.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
            _ => entry.ip,
        };
        let dialer = End::new(host, SocketAddr::new(ip, port), true);
        let listener = End::new(to_host, to, false);
        self.conns.insert(
            id,
            Conn {
                phase: Phase::Dialing(0),
                ends: [dialer, listener],
                listener: 0,
            },
        );
        self.send_syn(id);
        Ok(id)
    }

    fn hosts_of(&self, conn: u64) -> Option<(HostId, HostId)> {
        let ends = &self.conns.get(&conn)?.ends;
        Some((ends[0].host, ends[1].host))
    }

    fn is_dialing(&self, conn: u64) -> bool {
        let conn = self.conns.get(&conn);
        conn.is_some_and(|conn| matches!(conn.phase, Phase::Dialing(_)))
    }

    fn send_syn(&mut self, conn: u64) {
        let Some((from, to)) = self.hosts_of(conn) else {
            return;
        };
        let broken = self.is_broken(from, to);
        let faults = self.faults(from, to);
        let lost = broken || from != to && faults.draws_loss(&mut self.rng);
        let at = self.arrival_ns(from, to, 0);
        self.schedule(at, Event::Syn { conn, lost });
    }

    /// The dial was not answered: it is tried again later.
    fn retry_syn(&mut self, conn: u64) {
        let now = self.now;
        if let Some(Conn {
            phase: Phase::Dialing(tries),
            ..
        }) = self.conns.get_mut(&conn)
        {
            let pause = SECOND_NS << (*tries).min(SYN_RETRIES);
            *tries += 1;
            self.schedule(now.saturating_add(pause), Event::SynRetry { conn });
        }
    }

    pub(super) fn on_syn_retry(&mut self, conn: u64) {
        match self.conns.get(&conn).map(|conn| &conn.phase) {
            Some(Phase::Dialing(tries)) if *tries > SYN_RETRIES => {
                self.fail_dial(conn, io::ErrorKind::TimedOut);
            }
            Some(Phase::Dialing(_)) => self.send_syn(conn),
            _ => {}
        }
    }

    pub(super) fn on_syn(&mut self, conn: u64, lost: bool) {
        let Some((from, to)) = self.hosts_of(conn) else {
            return;
        };
        if lost || self.is_broken(from, to) || self.is_broken(to, from) {
            return self.retry_syn(conn);
        }
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        let (dialer, target) = (entry.ends[0].addr, entry.ends[1].addr);
        let ports = &self.hosts[to].tcp;
        let found = ports.find(target.ip(), target.port(), word_of(dialer));
        let answer = match found.and_then(|id| self.listeners.get(&id).map(|l| (id, l))) {
            None => {
                self.note(Traced::Refused, dialer, target, 0);
                Event::Refused { conn }
            }
            Some((_, listener)) if listener.queue.len() > listener.backlog => {
                return self.retry_syn(conn);
            }
            Some((id, _)) => {
                entry.listener = id;
                self.note(Traced::Dialed, dialer, target, 0);
                Event::SynAck { conn }
            }
        };
        let at = self.arrival_ns(to, from, 0);
        self.schedule(at, answer);
    }

    pub(super) fn on_refused(&mut self, conn: u64) {
        let Some((from, to)) = self.hosts_of(conn) else {
            return;
        };
        if self.is_broken(to, from) {
            self.retry_syn(conn);
        } else if self.is_dialing(conn) {
            self.fail_dial(conn, io::ErrorKind::ConnectionRefused);
        }
    }

    fn fail_dial(&mut self, conn: u64, kind: io::ErrorKind) {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.phase = Phase::Failed(kind);
            Self::wake(&mut self.woken, &mut conn.ends[0].writers);
        }
    }

    pub(super) fn on_syn_ack(&mut self, conn: u64) {
        let Some((from, to)) = self.hosts_of(conn) else {
            return;
        };
        if self.is_broken(to, from) {
            return self.retry_syn(conn);
        }
        if !self.is_dialing(conn) {
            return;
        }
        let now = self.now;
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.phase = Phase::Open;
            for end in &mut conn.ends {
                end.heard_ns = now;
            }
            Self::wake(&mut self.woken, &mut conn.ends[0].writers);
        }
        self.push(conn, 0, Item::Hello);
    }

    // --- sending ----------------------------------------------------------------------------

    /// Sends some of `bytes`: as many as there is room for.
    pub(super) fn write(&mut self, conn: u64, end: usize, bytes: &[u8]) -> usize {
        let Some(entry) = self.conns.get_mut(&conn) else {
            return 0;
        };
        let sender = &mut entry.ends[end];
        let len = bytes.len().min(sender.room());
        if len > 0 {
            sender.sent.used += len;
            self.push(conn, end, Item::Bytes(bytes[..len].to_vec()));
        }
        len
    }

    /// Says that nothing more will be sent. Once.
    pub(super) fn send_fin(&mut self, conn: u64, end: usize) {
        if let Some(entry) = self.conns.get_mut(&conn) {
            let sender = &mut entry.ends[end];
            if !sender.dead && !std::mem::replace(&mut sender.fin_sent, true) {
                self.push(conn, end, Item::Fin);
            }
        }
    }

    /// Ends the connection from one end, which forgets it.
    fn send_reset(&mut self, conn: u64, end: usize) {
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        let sender = &mut entry.ends[end];
        sender.dead = true;
        if sender.sent.stuck.take().is_some_and(|stuck| stuck.blocked) {
            sender.sent.flight.clear();
        }
        let said = matches!(
            sender.sent.flight.back(),
            Some(InFlight {
                what: Item::Reset,
                ..
            })
        );
        if !said && !entry.ends[1 - end].dead {
            self.push(conn, end, Item::Reset);
        }
    }

    /// Puts something on its way.
    fn push(&mut self, conn: u64, end: usize, what: Item) {
        let Some(entry) = self.conns.get(&conn) else {
            return;
        };
        let (from, to) = (entry.ends[end].host, entry.ends[1 - end].host);
        let len = match &what {
            Item::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        let lost = self.is_broken(from, to);
        let mut at = self.arrival_ns(from, to, len);
        let faults = self.faults(from, to);
        let mut again = RETRY_FIRST_NS;
        while from != to && again < 100 * SECOND_NS && faults.draws_loss(&mut self.rng) {
            at = at.saturating_add(again);
            again *= 2;
        }
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        let sent = &mut entry.ends[end].sent;
        let at = at.max(sent.last_at_ns);
        sent.last_at_ns = at;
        // Small writes of one moment travel together.
        if let (
            Item::Bytes(new),
            Some(InFlight {
                at_ns,
                lost: was_lost,
                what: Item::Bytes(bytes),
            }),
        ) = (&what, sent.flight.back_mut())
            && (*at_ns, *was_lost) == (at, lost)
        {
            bytes.extend_from_slice(new);
            return;
        }
        sent.flight.push_back(InFlight {
            at_ns: at,
            lost,
            what,
        });
        self.schedule_delivery(conn, end);
    }

    fn schedule_delivery(&mut self, conn: u64, end: usize) {
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        let sent = &mut entry.ends[end].sent;
        let blocked = sent.stuck.is_some_and(|stuck| stuck.blocked);
        if let Some(first) = sent.flight.front()
            && !blocked
            && !sent.scheduled
        {
            sent.scheduled = true;
            let at = first.at_ns;
            self.schedule(at, Event::Deliver { conn, end });
        }
    }

    pub(super) fn on_deliver(&mut self, conn: u64, end: usize) {
        let now = self.now;
        loop {
            let Some(entry) = self.conns.get_mut(&conn) else {
                return;
            };
            let (from, to) = (entry.ends[end].host, entry.ends[1 - end].host);
            let sent = &mut entry.ends[end].sent;
            sent.scheduled = false;
            if sent.stuck.is_some_and(|stuck| stuck.blocked) {
                return;
            }
            let Some(first) = sent.flight.front() else {
                break;
            };
            if first.at_ns > now {
                self.schedule_delivery(conn, end);
                return;
            }
            let (lost, is_reset) = (first.lost, matches!(first.what, Item::Reset));
            if lost || self.is_broken(from, to) {
                if is_reset {
                    // Nobody sends it again: who was to get it finds out when it sends.
                    self.clear_flight(conn, end);
                    break;
                }
                self.get_stuck(conn, end, true);
                return;
            }
            let Some(item) = self.pop_flight(conn, end) else {
                break;
            };
            self.on_item(conn, 1 - end, item);
            if !is_reset && self.is_broken(to, from) {
                self.get_stuck(conn, end, false);
            }
        }
        self.tidy(conn);
    }

    fn pop_flight(&mut self, conn: u64, end: usize) -> Option<Item> {
        let entry = self.conns.get_mut(&conn)?;
        let first = entry.ends[end].sent.flight.pop_front()?;
        Some(first.what)
    }

    fn clear_flight(&mut self, conn: u64, end: usize) {
        if let Some(entry) = self.conns.get_mut(&conn) {
            entry.ends[end].sent.flight.clear();
            entry.ends[end].sent.stuck = None;
        }
    }

    /// Something arrives at `end`.
    fn on_item(&mut self, conn: u64, end: usize, item: Item) {
        let now = self.now;
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        let (from, to) = (entry.ends[1 - end].addr, entry.ends[end].addr);
        let receiver = &mut entry.ends[end];
        receiver.heard_ns = now;
        match item {
            Item::Hello => match self.listeners.get_mut(&entry.listener) {
                Some(listener) => {
                    receiver.held = true;
                    listener.queue.push_back(conn);
                    Self::wake(&mut self.woken, &mut listener.acceptors);
                }
                None => self.send_reset(conn, end),
            },
            Item::Bytes(bytes) => {
                let len = bytes.len();
                if receiver.held && !receiver.dead {
                    receiver.unread.push_back(bytes);
                    Self::wake(&mut self.woken, &mut receiver.readers);
                    self.note(Traced::Bytes, from, to, len);
                } else {
                    self.send_reset(conn, end);
                }
            }
            Item::Fin => {
                if receiver.held || !receiver.dead {
                    receiver.fin_seen = true;
                    Self::wake(&mut self.woken, &mut receiver.readers);
                    self.note(Traced::Fin, from, to, 0);
                } else {
                    self.send_reset(conn, end);
                }
            }
            Item::Reset => {
                self.note(Traced::Reset, from, to, 0);
                self.end_with(conn, end, io::ErrorKind::ConnectionReset);
            }
        }
    }

    /// An end learns that its connection is over.
    fn end_with(&mut self, conn: u64, end: usize, kind: io::ErrorKind) {
        if let Some(entry) = self.conns.get_mut(&conn) {
            let entry = &mut entry.ends[end];
            if !entry.dead {
                entry.dead = true;
                entry.error = Some(kind);
            }
            entry.sent.flight.clear();
            entry.sent.stuck = None;
            Self::wake(&mut self.woken, &mut entry.readers);
            Self::wake(&mut self.woken, &mut entry.writers);
        }
    }

    // --- retransmission ---------------------------------------------------------------------

    /// What `end` sent does not arrive (`blocked`), or is not acknowledged.
    fn get_stuck(&mut self, conn: u64, end: usize, blocked: bool) {
        let now = self.now;
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        let (from, to) = (entry.ends[end].addr, entry.ends[1 - end].addr);
        match &mut entry.ends[end].sent.stuck {
            Some(stuck) => stuck.blocked |= blocked,
            none => {
                let next_ns = now.saturating_add(RETRY_FIRST_NS);
                *none = Some(Stuck {
                    since_ns: now,
                    pause_ns: RETRY_FIRST_NS,
                    next_ns,
                    blocked,
                });
                self.schedule(next_ns, Event::Retry { conn, end });
                self.note(Traced::Stuck, from, to, 0);
            }
        }
    }

    pub(super) fn on_retry(&mut self, conn: u64, end: usize, at_ns: u64) {
        let Some(entry) = self.conns.get(&conn) else {
            return;
        };
        let (from, to) = (entry.ends[end].host, entry.ends[1 - end].host);
        let (addr, peer) = (entry.ends[end].addr, entry.ends[1 - end].addr);
        let Some(mut stuck) = entry.ends[end].sent.stuck else {
            return;
        };
        if stuck.next_ns != at_ns {
            return;
        }
        let arrives = !self.is_broken(from, to);
        let acknowledged = arrives && !self.is_broken(to, from);
        if !acknowledged && self.now.saturating_sub(stuck.since_ns) >= GIVE_UP_NS {
            self.note(Traced::GaveUp, addr, peer, 0);
            self.end_with(conn, end, io::ErrorKind::TimedOut);
            self.tidy(conn);
            return;
        }
        let again = (arrives && stuck.blocked).then(|| self.arrival_ns(from, to, 0));
        let now = self.now;
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        let sent = &mut entry.ends[end].sent;
        if let Some(at) = again {
            stuck.blocked = false;
            for item in &mut sent.flight {
                item.at_ns = at;
                item.lost = false;
            }
            sent.last_at_ns = at;
        }
        if acknowledged {
            sent.stuck = None;
            let untold = std::mem::take(&mut entry.ends[1 - end].untold);
            self.on_told(conn, end, untold);
        } else {
            stuck.pause_ns = (stuck.pause_ns * 2).min(RETRY_MAX_NS);
            stuck.next_ns = now.saturating_add(stuck.pause_ns);
            sent.stuck = Some(stuck);
            self.schedule(stuck.next_ns, Event::Retry { conn, end });
        }
        self.schedule_delivery(conn, end);
        self.tidy(conn);
    }

    // --- the window -------------------------------------------------------------------------

    /// Takes bytes that `end` has read.
    pub(super) fn consume(&mut self, conn: u64, end: usize, len: usize) {
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        entry.ends[end].consume(len);
        let (reader, writer) = (entry.ends[end].host, entry.ends[1 - end].host);
        if self.is_broken(reader, writer) {
            return self.keep_untold(conn, end, len);
        }
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        if entry.ends[1 - end].sent.used <= WINDOW / 2 {
            // Nobody waits for it; it need not travel.
            let sent = &mut entry.ends[1 - end].sent;
            sent.used = sent.used.saturating_sub(len);
            return;
        }
        let was = entry.ends[end].telling;
        entry.ends[end].telling += len;
        if was == 0 {
            let at = self.arrival_ns(reader, writer, 0);
            self.schedule(at, Event::Window { conn, end: 1 - end });
        }
    }

    fn keep_untold(&mut self, conn: u64, reader: usize, len: usize) {
        if let Some(entry) = self.conns.get_mut(&conn) {
            entry.ends[reader].untold += len;
            if !entry.ends[1 - reader].dead {
                self.get_stuck(conn, 1 - reader, false);
            }
        }
    }

    pub(super) fn on_window(&mut self, conn: u64, end: usize) {
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        let len = std::mem::take(&mut entry.ends[1 - end].telling);
        let (writer, reader) = (entry.ends[end].host, entry.ends[1 - end].host);
        if self.is_broken(reader, writer) {
            self.keep_untold(conn, 1 - end, len);
        } else {
            self.on_told(conn, end, len);
        }
    }

    fn on_told(&mut self, conn: u64, end: usize, len: usize) {
        if let Some(entry) = self.conns.get_mut(&conn) {
            let writer = &mut entry.ends[end];
            writer.sent.used = writer.sent.used.saturating_sub(len);
            if writer.sent.used <= WINDOW_LOW {
                Self::wake(&mut self.woken, &mut writer.writers);
            }
        }
    }

    // --- the end ----------------------------------------------------------------------------

    /// The process has dropped its stream, or its dial.
    pub(super) fn close(&mut self, conn: u64, end: usize) {
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        if !matches!(entry.phase, Phase::Open) {
            return self.forget(conn);
        }
        let unread = !entry.ends[end].unread.is_empty();
        if !entry.ends[end].held {
            return;
        }
        self.let_go(conn, end);
        if unread {
            self.send_reset(conn, end);
        } else {
            self.send_fin(conn, end);
        }
        self.tidy(conn);
    }

    /// The end is no longer a process's.
    fn let_go(&mut self, conn: u64, end: usize) {
        if let Some(entry) = self.conns.get_mut(&conn) {
            let entry = &mut entry.ends[end];
            entry.held = false;
            entry.keepalive = None;
            entry.unread.clear();
            entry.unread_start = 0;
            Self::wake(&mut self.woken, &mut entry.readers);
            Self::wake(&mut self.woken, &mut entry.writers);
        }
    }

    /// Forgets a connection that nobody has and nothing is on its way for.
    fn tidy(&mut self, conn: u64) {
        let over = self.conns.get(&conn).is_some_and(|entry| {
            matches!(entry.phase, Phase::Open) && entry.ends.iter().all(End::is_over)
        });
        if over {
            self.forget(conn);
        }
    }

    fn forget(&mut self, conn: u64) {
        if let Some(mut entry) = self.conns.remove(&conn) {
            let dialer = &mut entry.ends[0];
            let port = dialer.addr.port();
            self.hosts[dialer.host].tcp.release(port, conn);
            for end in &mut entry.ends {
                Self::wake(&mut self.woken, &mut end.readers);
                Self::wake(&mut self.woken, &mut end.writers);
            }
        }
    }

    /// The process on `host` is gone: its connections end.
    pub(super) fn end_conns(&mut self, host: HostId, death: Death) {
        let touched = |conn: &Conn| conn.ends.iter().any(|end| end.host == host);
        let all = self.conns.iter().filter(|(_, conn)| touched(conn));
        let ids: Vec<u64> = all.map(|(id, _)| *id).collect();
        for id in ids {
            for end in [0, 1] {
                self.end_conn(id, end, host, death);
            }
            self.tidy(id);
        }
    }

    fn end_conn(&mut self, id: u64, end: usize, host: HostId, death: Death) {
        let Some(entry) = self.conns.get_mut(&id) else {
            return;
        };
        if entry.ends[end].host != host {
            return;
        }
        if !matches!(entry.phase, Phase::Open) {
            if end == 0 {
                self.forget(id);
            }
            return;
        }
        if death == Death::Power {
            // Ends that the process had let go of are forgotten, too.
            self.let_go(id, end);
            if let Some(entry) = self.conns.get_mut(&id) {
                let gone = &mut entry.ends[end];
                gone.dead = true;
                if gone.sent.stuck.take().is_some() {
                    gone.sent.flight.clear();
                }
            }
        } else if entry.ends[end].held {
            let unread = !entry.ends[end].unread.is_empty();
            self.let_go(id, end);
            if unread || self.rng.random() {
                self.send_reset(id, end);
            } else {
                self.send_fin(id, end);
            }
        }
    }

    // --- keepalive --------------------------------------------------------------------------

    pub(super) fn set_keepalive(
        &mut self,
        conn: u64,
        end: usize,
        idle_ns: u64,
        interval_ns: u64,
    ) -> io::Result<()> {
        let entry = self.conns.get_mut(&conn).ok_or_else(gone)?;
        entry.ends[end].keepalive = Some(Keepalive {
            idle_ns: idle_ns.max(SECOND_NS),
            interval_ns: interval_ns.max(SECOND_NS),
            probing: false,
            failed: 0,
        });
        let (own, peer) = (entry.ends[end].host, entry.ends[1 - end].host);
        if self.is_broken(own, peer) || self.is_broken(peer, own) {
            self.start_probing(conn, end);
        }
        Ok(())
    }

    /// The path between two hosts has broken: who keeps watch will find out.
    pub(super) fn probe_between(&mut self, a: HostId, b: HostId) {
        self.probe_where(|x, y| (x, y) == (a, b) || (x, y) == (b, a));
    }

    /// A host is gone.
    pub(super) fn probe_around(&mut self, host: HostId) {
        self.probe_where(|x, y| x == host || y == host);
    }

    fn probe_where(&mut self, concerns: impl Fn(HostId, HostId) -> bool) {
        let all = self.conns.iter();
        let ids: Vec<u64> = all
            .filter(|(_, conn)| concerns(conn.ends[0].host, conn.ends[1].host))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.start_probing(id, 0);
            self.start_probing(id, 1);
        }
    }

    fn start_probing(&mut self, conn: u64, end: usize) {
        let now = self.now;
        if let Some(entry) = self.conns.get_mut(&conn) {
            let heard = entry.ends[end].heard_ns;
            if let Some(keepalive) = &mut entry.ends[end].keepalive
                && !std::mem::replace(&mut keepalive.probing, true)
            {
                keepalive.failed = 0;
                let at = now.max(heard.saturating_add(keepalive.idle_ns));
                self.schedule(at, Event::Probe { conn, end });
            }
        }
    }

    pub(super) fn on_probe(&mut self, conn: u64, end: usize) {
        let now = self.now;
        let Some(entry) = self.conns.get(&conn) else {
            return;
        };
        let (own, peer) = (&entry.ends[end], &entry.ends[1 - end]);
        let Some(keepalive) = own.keepalive.filter(|_| own.held && !own.dead) else {
            return;
        };
        let answered = !self.is_broken(own.host, peer.host) && !self.is_broken(peer.host, own.host);
        let forgotten = peer.dead;
        let busy = own.sent.stuck.is_some();
        let next = if answered || keepalive.failed >= PROBES_MAX {
            None
        } else if busy {
            // While bytes are on their way their own timer decides.
            Some((keepalive.idle_ns, 0))
        } else {
            Some((keepalive.interval_ns, keepalive.failed + 1))
        };
        if answered && forgotten {
            self.send_reset(conn, 1 - end);
        } else if !answered && next.is_none() {
            let (addr, to) = (own.addr, peer.addr);
            self.note(Traced::GaveUp, addr, to, 0);
            self.end_with(conn, end, io::ErrorKind::TimedOut);
        }
        if let Some(entry) = self.conns.get_mut(&conn)
            && let Some(keepalive) = &mut entry.ends[end].keepalive
        {
            keepalive.probing = next.is_some();
            if let Some((pause, failed)) = next {
                keepalive.failed = failed;
                let at = now.saturating_add(pause);
                self.schedule(at, Event::Probe { conn, end });
            }
        }
        self.tidy(conn);
    }
}
