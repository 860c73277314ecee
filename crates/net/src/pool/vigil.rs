//! Whether a server that owes an answer says anything at all.
//!
//! A server that loses power, stands still or is cut off closes no connection. In: the calls that wait on a connection, and
//! how often the server was heard on it. Out: a ping after a short silence, and, when nothing comes then either, the word
//! that the server is silent ([`Silent`]), until it is heard again or the connection ends.
//!
//! Silence counts only while an answer is due and this process runs: each look counts for the time between two of them,
//! however late it comes, and what has come in was read before it. Whoever wakes from a stall accuses nobody.
//!
//! A call that waits for a change owes a sign of life after its begin, once. So a connection with nothing but parked calls
//! costs neither pings nor timers, one whose calls are answered costs one timer and no pings, and nobody else waits for
//! either. Any bytes are a sign of life: a large reply may stand before the answer to a ping.
//!
//! Silence proves nothing. No call fails for it here; what to do about it is for the callers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::debug;
use tribune_rt::Env;

/// Time between looks.
const LOOK: Duration = Duration::from_millis(50);

/// When a server that was asked counts as silent.
#[derive(Debug, Clone)]
pub struct Heed {
    /// How long a server that owes an answer may say nothing before it is pinged. Counted in steps of 50 ms, at least one.
    pub ping_after: Duration,
    /// How much longer before it counts as silent. The same steps.
    pub silent_after: Duration,
    /// A call with a longer deadline may wait for a change: its answer is never due.
    pub prompt_max: Duration,
    /// All who wait on it are woken whenever a server falls silent, or is heard again.
    pub changed: Arc<Notify>,
}

/// A connection that is listened to.
pub(super) trait Voice {
    /// Changes whenever the server is heard.
    fn heard(&self) -> u64;
    /// Asks for a sign of life, unless one is asked for already.
    fn ping(&self);
    /// The calls that wait on it.
    fn asked(&self) -> &Asked;
}

// --- what is due ---------------------------------------------------------------------------------

/// The calls of a connection, as far as something is due to them.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Calls whose answer is due.
    prompt: AtomicUsize,
    /// A call that waits for a change has begun, and the server was not heard since.
    fresh: AtomicBool,
    /// Somebody looks.
    watched: AtomicBool,
    begun: Notify,
}

impl Asked {
    /// Notes a call until what is returned is dropped. `waits`: it may wait for a change.
    pub(crate) fn begin(&self, waits: bool) -> Owed<'_> {
        let prompt = (!waits).then_some(&self.prompt);
        match prompt {
            Some(prompt) => {
                prompt.fetch_add(1, Ordering::SeqCst);
            }
            None => self.fresh.store(true, Ordering::SeqCst),
        }
        if !self.watched.load(Ordering::SeqCst) {
            self.begun.notify_one();
        }
        Owed(prompt)
    }

    fn is_due(&self) -> bool {
        self.prompt.load(Ordering::SeqCst) > 0 || self.fresh.load(Ordering::SeqCst)
    }

    /// Resolves once something is due; until it is called again nobody wakes it.
    async fn due(&self) {
        self.watched.store(false, Ordering::SeqCst);
        while !self.is_due() {
            self.begun.notified().await;
        }
        self.watched.store(true, Ordering::SeqCst);
    }
}

/// A call that waits.
pub(crate) struct Owed<'a>(Option<&'a AtomicUsize>);

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        if let Some(prompt) = self.0 {
            prompt.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

// --- who is silent ---------------------------------------------------------------------------------

/// The servers that are silent.
#[derive(Debug, Default)]
pub(super) struct Silent {
    /// How many connections to each are.
    addrs: Mutex<BTreeMap<SocketAddr, usize>>,
    count: AtomicUsize,
}

impl Silent {
    pub(super) fn contains(&self, addr: SocketAddr) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.addrs.lock().contains_key(&addr)
    }

    fn mark<'a>(&'a self, addr: SocketAddr, changed: &'a Notify) -> Mark<'a> {
        {
            let mut addrs = self.addrs.lock();
            *addrs.entry(addr).or_default() += 1;
            self.count.store(addrs.len(), Ordering::Release);
        }
        changed.notify_waiters();
        Mark {
            silent: self,
            addr,
            changed,
        }
    }
}

/// One silent connection.
struct Mark<'a> {
    silent: &'a Silent,
    addr: SocketAddr,
    changed: &'a Notify,
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        {
            let mut addrs = self.silent.addrs.lock();
            if let Some(count) = addrs.get_mut(&self.addr) {
                *count -= 1;
                if *count == 0 {
                    addrs.remove(&self.addr);
                }
            }
            self.silent.count.store(addrs.len(), Ordering::Release);
        }
        self.changed.notify_waiters();
    }
}

// --- looking ---------------------------------------------------------------------------------------

/// What a look finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// Nothing is due.
    Rest,
    /// Look again.
    Wait,
    /// A sign of life is to be asked for.
    Ping,
    /// The server has fallen silent.
    Silent,
    /// It was silent and is heard again.
    Heard,
}

/// Counts the looks in which something was due and nothing was heard.
#[derive(Debug)]
struct Vigil {
    ping_at: u32,
    silent_at: u32,
    heard: u64,
    looks: u32,
}

impl Vigil {
    /// Begins now: what was before does not count.
    fn new(heed: &Heed, heard: u64) -> Vigil {
        let ping_at = looks(heed.ping_after);
        Vigil {
            ping_at,
            silent_at: ping_at.saturating_add(looks(heed.silent_after)),
            heard,
            looks: 0,
        }
    }

    fn look(&mut self, due: bool, heard: u64) -> Finding {
        let was_silent = self.looks >= self.silent_at;
        if heard != self.heard {
            self.heard = heard;
            self.looks = 0;
            return match (was_silent, due) {
                (true, _) => Finding::Heard,
                (false, true) => Finding::Wait,
                (false, false) => Finding::Rest,
            };
        }
        // Whoever is silent is listened to until that ends, whether or not it is asked for more.
        if was_silent {
            return Finding::Wait;
        }
        if !due {
            return Finding::Rest;
        }
        self.looks += 1;
        if self.looks == self.ping_at {
            Finding::Ping
        } else if self.looks == self.silent_at {
            Finding::Silent
        } else {
            Finding::Wait
        }
    }
}

fn looks(time: Duration) -> u32 {
    let looks = time.as_nanos().div_ceil(LOOK.as_nanos());
    u32::try_from(looks).unwrap_or(u32::MAX).max(1)
}

/// Listens to a connection as long as it is polled, after whatever reads from it. Dropping it ends what it said of the server.
pub(super) async fn keep(
    env: &Env,
    voice: &impl Voice,
    addr: SocketAddr,
    heed: Option<&Heed>,
    silent: &Silent,
) -> Infallible {
    let Some(heed) = heed else {
        return std::future::pending().await;
    };
    let asked = voice.asked();
    loop {
        asked.due().await;
        let mut vigil = Vigil::new(heed, voice.heard());
        let mut mark = None;
        loop {
            env.sleep(LOOK).await;
            let heard = voice.heard();
            if heard != vigil.heard {
                asked.fresh.store(false, Ordering::SeqCst);
            }
            match vigil.look(asked.is_due(), heard) {
                Finding::Rest => break,
                Finding::Wait => {}
                Finding::Ping => voice.ping(),
                Finding::Silent => {
                    debug!(%addr, "a server that was asked says nothing");
                    mark = Some(silent.mark(addr, &heed.changed));
                }
                Finding::Heard => {
                    debug!(%addr, "a server that was silent is heard again");
                    mark = None;
                }
            }
        }
        drop(mark);
    }
}

/// Notes a call with this deadline, if anybody listens.
pub(super) fn begin<'a>(
    asked: &'a Asked,
    heed: Option<&Heed>,
    deadline: Duration,
) -> Option<Owed<'a>> {
    heed.map(|heed| asked.begin(deadline > heed.prompt_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heed() -> Heed {
        Heed {
            ping_after: LOOK * 3,
            silent_after: LOOK * 4,
            prompt_max: Duration::from_secs(60),
            changed: Arc::default(),
        }
    }

    #[test]
    fn who_owes_an_answer_and_says_nothing_is_pinged_and_then_silent_until_it_is_heard() {
        use Finding::{Heard, Ping, Rest, Silent, Wait};
        // Per look (something is due, how often the server was heard); what the looks find.
        type Looks = &'static [(bool, u64)];
        const D: (bool, u64) = (true, 0);
        let cases: [(Looks, &[Finding], &str); 6] = [
            (
                &[D, D, D, D, D, D, D, D, D],
                &[Wait, Wait, Ping, Wait, Wait, Wait, Silent, Wait, Wait],
                "silence",
            ),
            (
                &[D, D, D, (true, 1), (true, 1), (true, 1), (true, 1)],
                &[Wait, Wait, Ping, Wait, Wait, Wait, Ping],
                "an answer to the ping",
            ),
            (
                &[(true, 1), (true, 2), (true, 3), (true, 4), (false, 5)],
                &[Wait, Wait, Wait, Wait, Rest],
                "answers",
            ),
            (&[D, D, (false, 0)], &[Wait, Wait, Rest], "nobody waits"),
            (
                &[D, D, D, D, D, D, D, (false, 0), (false, 9), (false, 9)],
                &[
                    Wait, Wait, Ping, Wait, Wait, Wait, Silent, Wait, Heard, Rest,
                ],
                "an answer that nobody waits for",
            ),
            (
                &[
                    D,
                    D,
                    D,
                    D,
                    D,
                    D,
                    D,
                    (true, 1),
                    (true, 1),
                    (true, 1),
                    (true, 1),
                ],
                &[
                    Wait, Wait, Ping, Wait, Wait, Wait, Silent, Heard, Wait, Wait, Ping,
                ],
                "a pause",
            ),
        ];
        for (looks, want, what) in cases {
            let mut vigil = Vigil::new(&heed(), 0);
            let found: Vec<Finding> = { looks.iter() }
                .map(|(due, heard)| vigil.look(*due, *heard))
                .collect();
            assert_eq!(found, want, "{what}");
        }
    }

    #[test]
    fn times_are_rounded_up_to_looks() {
        for (ms, want) in [(0, 1), (1, 1), (50, 1), (51, 2), (500, 10)] {
            assert_eq!(looks(Duration::from_millis(ms)), want, "{ms}");
        }
        assert_eq!(looks(Duration::MAX), u32::MAX);
    }

    #[test]
    fn prompt_calls_are_due_until_they_end_and_others_until_the_server_is_heard() {
        let asked = Asked::default();
        assert!(!asked.is_due());
        let (one, two) = (asked.begin(false), asked.begin(false));
        drop(one);
        assert!(asked.is_due());
        drop(two);
        assert!(!asked.is_due());
        let waits = asked.begin(true);
        assert!(asked.is_due());
        asked.fresh.store(false, Ordering::SeqCst);
        assert!(!asked.is_due());
        drop(waits);
        assert!(!asked.is_due());
    }

    #[test]
    fn a_server_is_silent_as_long_as_one_of_its_connections_is() {
        let silent = Silent::default();
        let changed = Notify::new();
        let [one, two] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let first = silent.mark(one, &changed);
        let second = silent.mark(one, &changed);
        assert!(silent.contains(one) && !silent.contains(two));
        drop(first);
        assert!(silent.contains(one));
        drop(second);
        assert!(!silent.contains(one));
    }
}
