//! A simulated network: hosts, links with faults, TCP and UDP, on virtual time and from one seed.
//!
//! One [`SimNet`] per world. A node made with [`Env::sim_node`](crate::Env::sim_node) is a process on one of its hosts (one
//! address each, and a loopback of its own); the sockets of that `Env` are its. Everything that is on its way is an event of
//! one queue, carried out by one task in order of arrival time. Events are processed when tokio's clock has reached them,
//! which moves in whole milliseconds: shorter delays order events, but do not shorten a wait.
//!
//! What can go wrong: delay, jitter, loss, duplication, slowness of a link ([`LinkFaults`]); a cut, of one direction or
//! both; a process that dies ([`SimNet::kill`]) or stands still ([`SimNet::pause`]); a host without power
//! ([`SimNet::set_down`]).
//!
//! TCP is modelled per direction of a connection, not per segment: bytes arrive in order after the link's delay, and wait
//! (as retransmission would have it, in growing steps) while the path is broken or acknowledgements are; after 15 minutes
//! of that the sender gives up. A dial that is not answered is tried again after 1, 3, 7, 15, 31 and 63 s and ends after
//! 127 s. A lost segment shows as 200 ms of delay. Unread bytes are bounded by a window that holds up the writer.
//! Numbers are Linux's defaults.
//!
//! Not here: Unix sockets, fragmentation, multicast, TIME_WAIT, congestion windows, name resolution.
//!
//! Invariant: no answer depends on anything but the seed and the order of calls.

mod link;
mod ports;
mod queue;
mod sockets;
mod state;
mod tcp;
#[cfg(test)]
mod tests;
mod trace;
mod udp;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use link::LinkFaults;
pub(crate) use sockets::{Dial, SimListener, SimStream, SimUdp};
pub use trace::{Stats, Traced, TracedEvent};

use crate::life::Life;
use state::{Death, HostId, State};

/// A simulated network. Clones share it.
#[derive(Debug, Clone)]
pub struct SimNet(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the task that carries out events.
    wake: Arc<Notify>,
    /// Set by the first process.
    anchor: OnceLock<Instant>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

impl Shared {
    fn now_ns(&self) -> u64 {
        let age = self.anchor.get().map_or(Duration::ZERO, Instant::elapsed);
        u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Does something with the state, then wakes whom that concerns.
    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let now = self.now_ns();
        let (result, woken, kick) = {
            let mut state = self.state.lock();
            state.now = now;
            let result = act(&mut state);
            let woken = std::mem::take(&mut state.woken);
            (result, woken, std::mem::take(&mut state.kick))
        };
        if kick {
            self.wake.notify_one();
        }
        for waker in woken {
            waker.wake();
        }
        result
    }

    /// Carries out what is due. Returns when there is more.
    fn turn(&self) -> Option<u64> {
        self.with(|state| state.turn())
    }
}

/// Carries out events until the network is gone.
async fn drive(net: Weak<Shared>, wake: Arc<Notify>, anchor: Instant) {
    let mut timer = std::pin::pin!(tokio::time::sleep_until(anchor));
    loop {
        let next = match net.upgrade() {
            Some(net) => net.turn(),
            None => return,
        };
        match next {
            None => wake.notified().await,
            Some(at_ns) => {
                timer.as_mut().reset(anchor + Duration::from_nanos(at_ns));
                tokio::select! {
                    biased;
                    () = &mut timer => {}
                    () = wake.notified() => {}
                }
            }
        }
    }
}

impl SimNet {
    /// A network without hosts. It begins with the first [`Env::sim_node`](crate::Env::sim_node), on that runtime.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State::new(seed)),
            wake: Arc::new(Notify::new()),
            anchor: OnceLock::new(),
        }))
    }

    // --- links ------------------------------------------------------------------------------

    /// Sets what the link from one host to another does, in this direction.
    pub fn set_link(&self, from: IpAddr, to: IpAddr, faults: LinkFaults) {
        self.0.with(|state| state.set_link(from, to, Some(faults)));
    }

    /// As [`SimNet::set_link`] in both directions.
    pub fn set_link_both(&self, a: IpAddr, b: IpAddr, faults: LinkFaults) {
        self.set_link(a, b, faults);
        self.set_link(b, a, faults);
    }

    /// Sets what the links do that have no setting of their own.
    pub fn set_default_link(&self, faults: LinkFaults) {
        self.0.with(|state| state.default_link = faults);
    }

    /// Takes back every [`SimNet::set_link`]. Cuts stay.
    pub fn reset_links(&self) {
        self.0.with(State::reset_links);
    }

    /// Nothing gets from one host to the other any more; the other direction is not touched.
    pub fn cut(&self, from: IpAddr, to: IpAddr) {
        self.0.with(|state| state.set_cut(from, to, true));
    }

    /// Nothing gets from either host to the other any more.
    pub fn cut_both(&self, a: IpAddr, b: IpAddr) {
        self.cut(a, b);
        self.cut(b, a);
    }

    /// Nothing gets from any host of one side to any of the other, both ways.
    pub fn partition(&self, left: &[IpAddr], right: &[IpAddr]) {
        for (&a, &b) in left.iter().flat_map(|a| right.iter().map(move |b| (a, b))) {
            if a != b {
                self.cut_both(a, b);
            }
        }
    }

    /// Ends a cut of this direction. What waited goes on at its next try.
    pub fn heal(&self, from: IpAddr, to: IpAddr) {
        self.0.with(|state| state.set_cut(from, to, false));
    }

    /// Ends the cuts of both directions.
    pub fn heal_both(&self, a: IpAddr, b: IpAddr) {
        self.heal(a, b);
        self.heal(b, a);
    }

    /// Ends all cuts.
    pub fn heal_all(&self) {
        self.0.with(State::heal_all);
    }

    // --- hosts ------------------------------------------------------------------------------

    /// Power is cut: the process is gone, and nobody is told. Peers' connections hang until their timeouts.
    pub fn set_down(&self, ip: IpAddr) {
        self.end_process(ip, Death::Power);
    }

    /// Power is back, without a process; one that starts there switches on, too.
    pub fn set_up(&self, ip: IpAddr) {
        self.0.with(|state| state.set_up(ip));
    }

    /// The process dies and the host stays: its tasks end where they stand, listeners are gone and dials refused. Its
    /// connections end as the system ends them: with a reset where bytes were unread, else with a reset or with an end of
    /// stream that is answered by resets from then on, as the seed decides. Without a process it does nothing.
    pub fn kill(&self, ip: IpAddr) {
        self.end_process(ip, Death::Process);
    }

    fn end_process(&self, ip: IpAddr, death: Death) {
        let life = self.0.with(|state| {
            let host = state.host(ip);
            state.end_process(host, death)
        });
        if let Some(life) = life {
            life.kill();
        }
    }

    /// The process stands still: nothing of it runs, and what arrives waits in its sockets' buffers.
    pub fn pause(&self, ip: IpAddr) {
        self.set_paused(ip, true);
    }

    /// Ends a pause.
    pub fn resume(&self, ip: IpAddr) {
        self.set_paused(ip, false);
    }

    fn set_paused(&self, ip: IpAddr, paused: bool) {
        let life = self.0.with(|state| {
            let host = state.host(ip);
            state.set_paused(host, paused)
        });
        if let Some(life) = life {
            life.set_paused(paused);
        }
    }

    /// True while a process runs there, paused or not.
    pub fn is_running(&self, ip: IpAddr) -> bool {
        self.0.with(|state| {
            let host = state.host(ip);
            state.life(host).is_some()
        })
    }

    /// Starts a process on a host that has none.
    pub(crate) fn start_process(&self, ip: IpAddr, life: Life) -> io::Result<NetNode> {
        let runtime = tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        self.0.anchor.get_or_init(|| {
            let anchor = Instant::now();
            let (net, wake) = (Arc::downgrade(&self.0), Arc::clone(&self.0.wake));
            runtime.spawn(drive(net, wake, anchor));
            anchor
        });
        if ip.is_unspecified() || ip.is_loopback() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let (host, incarnation) = self.0.with(|state| state.start_process(ip, life))?;
        Ok(NetNode {
            net: self.clone(),
            ip,
            host,
            incarnation,
        })
    }

    // --- looking on -------------------------------------------------------------------------

    /// Time since the first process started.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.0.now_ns())
    }

    /// A number made of everything that has arrived or was lost, with times: equal for equal runs.
    pub fn digest(&self) -> u64 {
        self.0.with(|state| state.trace.digest())
    }

    /// What was carried so far.
    pub fn stats(&self) -> Stats {
        self.0.with(|state| state.trace.stats())
    }

    /// Keeps events from now on, or stops that and forgets them.
    pub fn set_trace(&self, on: bool) {
        self.0.with(|state| state.trace.set_kept(on));
    }

    /// The events kept since the last call.
    pub fn take_trace(&self) -> Vec<TracedEvent> {
        self.0.with(|state| state.trace.take())
    }
}

/// One process of the network, as its sockets know it.
#[derive(Debug, Clone)]
pub(crate) struct NetNode {
    net: SimNet,
    ip: IpAddr,
    host: HostId,
    /// Tells processes on one host apart.
    incarnation: u64,
}

impl NetNode {
    /// Age of the network.
    pub(crate) fn elapsed_ns(&self) -> u64 {
        self.net.0.now_ns()
    }

    /// Ends the process, if it still runs.
    pub(crate) fn kill(&self) {
        if self.is_current() {
            self.net.kill(self.ip);
        }
    }

    /// Stops or wakes the process, if it still runs.
    pub(crate) fn set_paused(&self, paused: bool) {
        if self.is_current() {
            self.net.set_paused(self.ip, paused);
        }
    }

    fn is_current(&self) -> bool {
        self.net
            .0
            .with(|state| state.is_current(self.host, self.incarnation))
    }

    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        self.net.0.with(act)
    }
}
