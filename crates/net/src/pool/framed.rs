//! Connections that carry calls in frames of the peer protocol: less work per call than a stream, for calls that are
//! answered promptly.
//!
//! In: a server whose identity is known. Out: a connection, or that calls go on streams: because there are few of them, or
//! because the server does not take frames, which is remembered for a while. A server that cannot be reached at all is the
//! same error as without frames.
//!
//! Memory: a few hundred bytes per server that calls are made to; the connection itself only while it is used.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::debug;
use tribune_rt::Env;
use tribune_types::time::Mono;

use super::Inner;
use super::error::NotSent;
use super::slot::{Link, Slot};
use super::vigil::{self, Asked, Voice};
use crate::peers::PeerId;
use crate::peers::conn::{self, Conn};
use crate::peers::dial::{self, DialError};
use crate::peers::hello::{Hello, Purpose};

/// How long a server that does not know this kind of connection is not asked for one again.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// The same for one that could not take it at that moment.
const BUSY_FOR: Duration = Duration::from_secs(1);
/// Silent rounds after which a server is given up: it is asked after two.
const DEAD_AFTER: u32 = 10;
/// The time in which calls are counted.
const WINDOW: Duration = Duration::from_secs(1);
/// Places kept before those that nobody needs are looked for.
const PLACES_SWEEP: usize = 64;

/// When calls are made in frames.
#[derive(Debug, Clone, Copy)]
pub struct Framed {
    /// Who makes the calls.
    pub own: PeerId,
    /// Calls to a server within a second before there is a connection for frames to it; 0: from the first call on.
    pub calls_min: u32,
    /// How long such a connection is kept without calls.
    pub idle_timeout: Duration,
}

impl Link for Conn {
    fn is_open(&self) -> bool {
        Conn::is_open(self)
    }
}

impl Voice for Conn {
    fn heard(&self) -> u64 {
        Conn::heard(self)
    }

    fn ping(&self) {
        Conn::ping(self);
    }

    fn asked(&self) -> &Asked {
        Conn::asked(self)
    }
}

/// Why there is no connection with frames.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The server takes none: calls go on streams.
    NotTaken,
    /// It cannot be reached.
    Unreachable(NotSent),
}

/// What is next for a call.
pub(super) enum Way {
    /// Frames on this connection.
    Open(Arc<Conn>),
    /// Frames, on a connection that is to be made.
    Dial(Arc<Place>),
    /// A stream.
    Stream,
}

/// The places of all servers.
#[derive(Default)]
pub(super) struct Places(Mutex<BTreeMap<(SocketAddr, PeerId), Arc<Place>>>);

/// The place of one server at one address.
#[derive(Default)]
pub(super) struct Place {
    slot: Slot<Conn, Failure>,
    usage: Mutex<Usage>,
}

#[derive(Default)]
struct Usage {
    /// Calls since then.
    since: Mono,
    calls: u32,
    /// No dial before.
    dial_at: Mono,
}

impl Places {
    /// The way for one more call to a server.
    pub(super) fn way(&self, env: &Env, options: &Framed, addr: SocketAddr, id: PeerId) -> Way {
        let place = self.place(env, addr, id);
        if let Some(conn) = place.slot.conn() {
            return Way::Open(conn);
        }
        let worth_it = { place.usage.lock() }.count(env.mono(), options.calls_min);
        match worth_it {
            true => Way::Dial(place),
            false => Way::Stream,
        }
    }

    fn place(&self, env: &Env, addr: SocketAddr, id: PeerId) -> Arc<Place> {
        let mut places = self.0.lock();
        if let Some(place) = places.get(&(addr, id)) {
            return Arc::clone(place);
        }
        if places.len() >= PLACES_SWEEP {
            let now = env.mono();
            places.retain(|_, place| Arc::strong_count(place) > 1 || place.is_needed(now));
        }
        Arc::clone(places.entry((addr, id)).or_default())
    }

    /// Addresses that there is a connection with frames to.
    pub(super) fn connected(&self) -> Vec<SocketAddr> {
        let places = self.0.lock();
        let open = { places.iter() }.filter(|(_, place)| place.slot.conn().is_some());
        open.map(|((addr, _), _)| *addr).collect()
    }
}

impl Usage {
    /// Counts a call; true if it is worth a connection.
    fn count(&mut self, now: Mono, calls_min: u32) -> bool {
        if now >= self.since + WINDOW {
            self.since = now;
            self.calls = 0;
        }
        self.calls = self.calls.saturating_add(1);
        self.calls >= calls_min && now >= self.dial_at
    }
}

impl Place {
    fn is_needed(&self, now: Mono) -> bool {
        let usage = self.usage.lock();
        self.slot.conn().is_some() || now < usage.dial_at || now < usage.since + WINDOW
    }

    /// The connection, or a new one, which is a task of `pool`'s group. Cancel safe.
    pub(super) async fn conn(
        self: &Arc<Self>,
        pool: &Inner,
        options: &Framed,
        (addr, id): (SocketAddr, PeerId),
    ) -> Result<Arc<Conn>, Failure> {
        let (env, group) = (&pool.env, &pool.group);
        self.slot
            .conn_or_dial(async || {
                let hello = Hello {
                    purpose: Purpose::Rpc,
                    from: options.own,
                    target: id,
                };
                let dialed = dial::dial(env, addr, &hello, pool.options.dial_timeout).await;
                let stream = match dialed {
                    Ok(stream) => stream,
                    Err(err) => return Err(self.on_failure(env.mono(), addr, &err)),
                };
                let (conn, driver) = conn::conn(env, addr, stream);
                let (place, made) = (Arc::downgrade(self), Arc::clone(&conn));
                let (stop, idle) = (group.stop().clone(), options.idle_timeout);
                let (env, heed) = (env.clone(), pool.options.heed.clone());
                let silent = Arc::clone(&pool.silent);
                group.spawn("rpc-frames", async move {
                    let driver = driver.patient(DEAD_AFTER).run(Some(idle));
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => {}
                        end = driver => debug!(%addr, err = %end, "connection for calls ended"),
                        never = vigil::keep(&env, &*made, addr, heed.as_ref(), &silent) => match never {},
                    }
                    if let Some(place) = place.upgrade() {
                        place.slot.forget(&made);
                    }
                });
                Ok(conn)
            })
            .await
    }

    fn on_failure(&self, now: Mono, addr: SocketAddr, err: &DialError) -> Failure {
        let unreachable = |why: &dyn std::fmt::Display| {
            let text = format!("dial tcp {addr}: {why}");
            Failure::Unreachable(NotSent::Dial(text.into()))
        };
        let pause = match err {
            DialError::Refused => return unreachable(&"connect: connection refused"),
            DialError::TimedOut => return unreachable(&"i/o timeout"),
            DialError::Connect(err) => return unreachable(err),
            DialError::Version(_) | DialError::Purpose | DialError::Stranger => UNKNOWN_FOR,
            DialError::OtherServer(_) | DialError::Busy | DialError::Io(_) => BUSY_FOR,
        };
        debug!(%addr, %err, "calls go on streams");
        self.usage.lock().dial_at = now + pause;
        Failure::NotTaken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_worth_it_once_there_are_so_many_calls_in_a_second() {
        let mut usage = Usage::default();
        let ms = |ms: u64| Mono((ms + 5_000) * 1_000_000);
        // (time in ms, calls needed, worth it)
        let cases = [
            (0, 3, false),
            (500, 3, false),
            (999, 3, true),
            (999, 3, true),
            (1000, 3, false),
            (1000, 0, true),
            (2500, 1, true),
        ];
        for (at, calls_min, want) in cases {
            assert_eq!(usage.count(ms(at), calls_min), want, "{at}");
        }
        usage.dial_at = ms(4000);
        assert!(!usage.count(ms(3999), 0));
        assert!(usage.count(ms(4000), 0));
    }
}
