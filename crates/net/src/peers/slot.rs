//! The place of one peer at one address: its connection, the one dial that callers wait for, the pause after a failed one.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tribune_types::time::Mono;

use super::conn::Conn;

/// First pause after a failed dial; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long failures are remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Callers that wait for a dial before those that have given up are looked for.
const WAITING_SWEEP: usize = 64;

/// The outcome of a dial.
pub(super) type Dialed = Result<Arc<Conn>, Arc<str>>;

/// See the module.
#[derive(Default)]
pub(super) struct Slot(Mutex<State>);

#[derive(Default)]
struct State {
    link: Link,
    /// Dials that have failed since the last that did not.
    failures: u32,
    /// No dial before.
    dial_at: Mono,
    /// How the last dial failed.
    error: Option<Arc<str>>,
}

#[derive(Default)]
enum Link {
    #[default]
    None,
    Dialing(Vec<oneshot::Sender<Dialed>>),
    Open(Arc<Conn>),
}

/// What a caller does.
pub(super) enum Next {
    /// There is a connection.
    Open(Arc<Conn>),
    /// The last dial has failed a moment ago.
    Pausing(Arc<str>),
    /// Somebody dials: wait.
    Dialing(oneshot::Receiver<Dialed>),
    /// Dial, and wait.
    Dial(oneshot::Receiver<Dialed>),
}

impl Slot {
    /// What the caller does now. After [`Next::Dial`], [`Slot::opened`], [`Slot::failed`] or [`Slot::ended`] must follow.
    pub(super) fn next(&self, now: Mono) -> Next {
        let mut state = self.0.lock();
        match &mut state.link {
            Link::Open(conn) if conn.is_open() => return Next::Open(Arc::clone(conn)),
            Link::Dialing(waiting) => {
                let (tx, rx) = oneshot::channel();
                if waiting.len() >= WAITING_SWEEP {
                    waiting.retain(|waiter| !waiter.is_closed());
                }
                waiting.push(tx);
                return Next::Dialing(rx);
            }
            Link::Open(_) | Link::None => {}
        }
        if let Some(error) = &state.error
            && now < state.dial_at
        {
            return Next::Pausing(Arc::clone(error));
        }
        let (tx, rx) = oneshot::channel();
        state.link = Link::Dialing(vec![tx]);
        Next::Dial(rx)
    }

    /// A dial has brought a connection.
    pub(super) fn opened(&self, conn: Arc<Conn>) {
        let waiting = {
            let mut state = self.0.lock();
            state.failures = 0;
            state.error = None;
            std::mem::replace(&mut state.link, Link::Open(Arc::clone(&conn)))
        };
        waiting.tell(&Ok(conn));
    }

    /// A dial has failed.
    pub(super) fn failed(&self, now: Mono, error: Arc<str>) {
        let waiting = {
            let mut state = self.0.lock();
            let pause = PAUSE_FIRST.saturating_mul(1 << state.failures.min(10));
            state.failures = state.failures.saturating_add(1);
            state.dial_at = now + pause.min(PAUSE_MAX);
            state.error = Some(Arc::clone(&error));
            std::mem::take(&mut state.link)
        };
        waiting.tell(&Err(error));
    }

    /// The connection has ended, or the dial was given up.
    pub(super) fn ended(&self) {
        self.0.lock().link = Link::None;
    }

    /// True if there is a connection.
    pub(super) fn is_open(&self) -> bool {
        matches!(&self.0.lock().link, Link::Open(conn) if conn.is_open())
    }

    /// True if nothing would be lost by forgetting it.
    pub(super) fn is_stale(&self, now: Mono) -> bool {
        let state = self.0.lock();
        matches!(state.link, Link::None)
            && (state.failures == 0 || now >= state.dial_at + REMEMBERED)
    }
}

impl Link {
    fn tell(self, dialed: &Dialed) {
        if let Link::Dialing(waiting) = self {
            for waiter in waiting {
                // Whoever has given up does not want to know.
                let _ = waiter.send(dialed.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_nobody_dials_in_them() {
        let slot = Slot::default();
        let mut now = Mono(0);
        for pause_ms in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
            let Next::Dial(mut first) = slot.next(now) else {
                panic!("no dial");
            };
            let Next::Dialing(mut second) = slot.next(now) else {
                panic!("two dials");
            };
            slot.failed(now, Arc::from("refused"));
            for rx in [&mut first, &mut second] {
                let told = rx.try_recv().unwrap();
                assert_eq!(&*told.err().unwrap(), "refused");
            }
            let almost = now + Duration::from_millis(pause_ms - 1);
            assert!(matches!(slot.next(almost), Next::Pausing(_)), "{pause_ms}");
            now = now + Duration::from_millis(pause_ms);
        }
        assert!(!slot.is_stale(now));
        assert!(slot.is_stale(now + Duration::from_secs(61)));
    }

    #[test]
    fn a_dial_that_is_given_up_leaves_no_caller_waiting() {
        let slot = Slot::default();
        let Next::Dial(mut rx) = slot.next(Mono(0)) else {
            panic!("no dial");
        };
        slot.ended();
        assert!(rx.try_recv().is_err());
        assert!(matches!(slot.next(Mono(0)), Next::Dial(_)));
    }
}
