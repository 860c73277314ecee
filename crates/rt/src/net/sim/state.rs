//! The network's state: hosts, links, sockets, and the events that are due.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Waker};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::link::{Link, LinkFaults};
use super::ports::Ports;
use super::queue::Queue;
use super::tcp::{Conn, Listener};
use super::trace::{Trace, Traced};
use super::udp::{Datagram, Udp};
use crate::life::Life;

/// Index of a host.
pub(super) type HostId = usize;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// The host stays and ends its connections.
    Process,
    /// Nobody is told.
    Power,
}

/// What happens at a time.
#[derive(Debug)]
pub(super) enum Event {
    /// A dial reaches the other host, unless it was lost.
    Syn { conn: u64, lost: bool },
    /// The answer of a listener reaches the dialer.
    SynAck { conn: u64 },
    /// The answer of a host where nobody listens reaches the dialer.
    Refused { conn: u64 },
    /// A dial without an answer is tried again.
    SynRetry { conn: u64 },
    /// What an end sent reaches the other.
    Deliver { conn: u64, end: usize },
    /// What an end sent is tried again.
    Retry { conn: u64, end: usize },
    /// An end learns that its bytes were read.
    Window { conn: u64, end: usize },
    /// An end that hears nothing asks whether the other is there.
    Probe { conn: u64, end: usize },
    /// A datagram reaches the other host.
    Datagram(Box<Datagram>),
    /// A socket with a fixed peer learns that nobody listens there.
    Unreachable { socket: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    /// Nobody has the address.
    Absent,
    Off,
    On,
}

#[derive(Debug)]
struct Process {
    incarnation: u64,
    life: Life,
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) ip: IpAddr,
    power: Power,
    process: Option<Process>,
    paused: bool,
    /// Who waits for the end of a pause.
    parked: Vec<Waker>,
    pub(super) tcp: Ports,
    pub(super) udp: Ports,
}

/// Everything there is.
#[derive(Debug)]
pub(super) struct State {
    pub(super) now: u64,
    pub(super) rng: SmallRng,
    queue: Queue<Event>,
    /// When the driving task will look again; it is kicked for anything earlier.
    armed_ns: u64,
    pub(super) kick: bool,
    pub(super) woken: Vec<Waker>,
    by_ip: BTreeMap<IpAddr, HostId>,
    pub(super) hosts: Vec<Host>,
    pub(super) default_link: LinkFaults,
    links: BTreeMap<(HostId, HostId), Link>,
    next_id: u64,
    pub(super) conns: BTreeMap<u64, Conn>,
    pub(super) listeners: BTreeMap<u64, Listener>,
    pub(super) udp: BTreeMap<u64, Udp>,
    pub(super) trace: Trace,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: 0,
            rng: SmallRng::seed_from_u64(seed ^ 0x6e_65_74),
            queue: Queue::default(),
            armed_ns: 0,
            kick: false,
            woken: Vec::new(),
            by_ip: BTreeMap::new(),
            hosts: Vec::new(),
            default_link: LinkFaults::default(),
            links: BTreeMap::new(),
            next_id: 1,
            conns: BTreeMap::new(),
            listeners: BTreeMap::new(),
            udp: BTreeMap::new(),
            trace: Trace::default(),
        }
    }

    /// The next number of a socket or connection.
    pub(super) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    // --- events -----------------------------------------------------------------------------

    pub(super) fn schedule(&mut self, at_ns: u64, event: Event) {
        self.queue.push(at_ns, event);
        if at_ns < self.armed_ns {
            self.kick = true;
        }
    }

    /// Carries out everything that is due; returns when more is.
    pub(super) fn turn(&mut self) -> Option<u64> {
        // No need to be kicked while at it.
        self.armed_ns = 0;
        while let Some((at, event)) = self.queue.pop_due(self.now) {
            match event {
                Event::Syn { conn, lost } => self.on_syn(conn, lost),
                Event::SynAck { conn } => self.on_syn_ack(conn),
                Event::Refused { conn } => self.on_refused(conn),
                Event::SynRetry { conn } => self.on_syn_retry(conn),
                Event::Deliver { conn, end } => self.on_deliver(conn, end),
                Event::Retry { conn, end } => self.on_retry(conn, end, at),
                Event::Window { conn, end } => self.on_window(conn, end),
                Event::Probe { conn, end } => self.on_probe(conn, end),
                Event::Datagram(datagram) => self.on_datagram(*datagram),
                Event::Unreachable { socket } => self.on_unreachable(socket),
            }
        }
        let next = self.queue.next_at_ns();
        self.armed_ns = next.unwrap_or(u64::MAX);
        next
    }

    pub(super) fn note(&mut self, what: Traced, from: SocketAddr, to: SocketAddr, len: usize) {
        self.trace.note(self.now, what, from, to, len);
    }

    /// Wakes all of them when the lock is free.
    pub(super) fn wake(woken: &mut Vec<Waker>, wakers: &mut Vec<Waker>) {
        woken.append(wakers);
    }

    // --- hosts ------------------------------------------------------------------------------

    /// The host with this address; made up without power when it is new.
    pub(super) fn host(&mut self, ip: IpAddr) -> HostId {
        if let Some(&host) = self.by_ip.get(&ip) {
            return host;
        }
        let host = self.hosts.len();
        let (tcp, udp) = (self.rng.random(), self.rng.random());
        self.hosts.push(Host {
            ip,
            power: Power::Absent,
            process: None,
            paused: false,
            parked: Vec::new(),
            tcp: Ports::new(tcp),
            udp: Ports::new(udp),
        });
        self.by_ip.insert(ip, host);
        host
    }

    pub(super) fn start_process(&mut self, ip: IpAddr, life: Life) -> io::Result<(HostId, u64)> {
        let host = self.host(ip);
        if self.life(host).is_some() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let incarnation = self.fresh_id();
        let entry = &mut self.hosts[host];
        entry.power = Power::On;
        entry.process = Some(Process { incarnation, life });
        Ok((host, incarnation))
    }

    /// The tasks of the process on a host.
    pub(super) fn life(&self, host: HostId) -> Option<&Life> {
        let process = self.hosts[host].process.as_ref()?;
        Some(&process.life)
    }

    pub(super) fn is_current(&self, host: HostId, incarnation: u64) -> bool {
        let process = self.hosts[host].process.as_ref();
        process.is_some_and(|process| process.incarnation == incarnation)
    }

    pub(super) fn set_up(&mut self, ip: IpAddr) {
        let host = self.host(ip);
        self.hosts[host].power = Power::On;
    }

    /// Ends what is there of a process, and returns its tasks.
    pub(super) fn end_process(&mut self, host: HostId, death: Death) -> Option<Life> {
        let entry = &mut self.hosts[host];
        let process = entry.process.take();
        entry.paused = false;
        Self::wake(&mut self.woken, &mut entry.parked);
        if death == Death::Power {
            entry.power = Power::Off;
        }
        self.end_listeners(host);
        self.end_udp(host);
        self.end_conns(host, death);
        if death == Death::Power {
            self.probe_around(host);
        }
        process.map(|process| process.life)
    }

    pub(super) fn set_paused(&mut self, host: HostId, paused: bool) -> Option<Life> {
        let life = self.life(host).cloned()?;
        let entry = &mut self.hosts[host];
        entry.paused = paused;
        if !paused {
            Self::wake(&mut self.woken, &mut entry.parked);
        }
        Some(life)
    }

    /// True if the host's process stands still; the caller is woken when it goes on.
    pub(super) fn holds(&mut self, host: HostId, cx: &Context<'_>) -> bool {
        let entry = &mut self.hosts[host];
        if entry.paused {
            add_waker(&mut entry.parked, cx);
        }
        entry.paused
    }

    /// Which host an address means to someone on `from`, with the address that it has there.
    pub(super) fn resolve(&mut self, from: HostId, to: SocketAddr) -> (HostId, SocketAddr) {
        let mut to = to;
        if to.ip().is_unspecified() {
            to.set_ip(match to.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        if to.ip().is_loopback() {
            return (from, to);
        }
        (self.host(to.ip()), to)
    }

    /// The address that a socket is bound to: `None` for all of the host's.
    pub(super) fn bindable(&self, host: HostId, ip: IpAddr) -> io::Result<Option<IpAddr>> {
        if ip.is_unspecified() {
            Ok(None)
        } else if ip.is_loopback() || ip == self.hosts[host].ip {
            Ok(Some(ip))
        } else {
            Err(io::ErrorKind::AddrNotAvailable.into())
        }
    }

    // --- links ------------------------------------------------------------------------------

    fn link(&mut self, from: IpAddr, to: IpAddr) -> &mut Link {
        let key = (self.host(from), self.host(to));
        self.links.entry(key).or_default()
    }

    pub(super) fn set_link(&mut self, from: IpAddr, to: IpAddr, faults: Option<LinkFaults>) {
        let link = self.link(from, to);
        link.faults = faults;
        link.busy_until_ns = 0;
    }

    pub(super) fn reset_links(&mut self) {
        for link in self.links.values_mut() {
            link.faults = None;
            link.busy_until_ns = 0;
        }
    }

    pub(super) fn set_cut(&mut self, from: IpAddr, to: IpAddr, cut: bool) {
        let link = self.link(from, to);
        let was = std::mem::replace(&mut link.cut, cut);
        if cut && !was {
            let pair = (self.host(from), self.host(to));
            self.probe_between(pair.0, pair.1);
        }
    }

    pub(super) fn heal_all(&mut self) {
        for link in self.links.values_mut() {
            link.cut = false;
        }
    }

    /// True while nothing gets from one host to the other.
    pub(super) fn is_broken(&self, from: HostId, to: HostId) -> bool {
        if self.hosts[to].power != Power::On {
            return true;
        }
        from != to && self.links.get(&(from, to)).is_some_and(|link| link.cut)
    }

    pub(super) fn faults(&self, from: HostId, to: HostId) -> LinkFaults {
        let own = self.links.get(&(from, to)).and_then(|link| link.faults);
        own.unwrap_or(self.default_link)
    }

    /// When a packet that is sent now arrives; the link is busy with it for a while.
    pub(super) fn arrival_ns(&mut self, from: HostId, to: HostId, len: usize) -> u64 {
        if from == to {
            return self.now;
        }
        let faults = self.faults(from, to);
        let busy = faults.busy_ns(len);
        let mut sent = self.now;
        if busy > 0 {
            let link = self.links.entry((from, to)).or_default();
            sent = sent.max(link.busy_until_ns).saturating_add(busy);
            link.busy_until_ns = sent;
        }
        sent.saturating_add(faults.draw_delay_ns(&mut self.rng))
    }

    /// How long a packet would wait for the link.
    pub(super) fn backlog_ns(&self, from: HostId, to: HostId) -> u64 {
        let link = self.links.get(&(from, to));
        link.map_or(0, |link| link.busy_until_ns.saturating_sub(self.now))
    }
}

/// Remembers who waits.
pub(super) fn add_waker(wakers: &mut Vec<Waker>, cx: &Context<'_>) {
    if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
        wakers.push(cx.waker().clone());
    }
}
