//! When a leader counts as silent although nothing says that its process has ended.
//!
//! A machine without power, a paused process and a cut network close no connection. What is left is that the leader, which
//! speaks ten times a second, says nothing. In: how often and when it spoke, and the time, at every look. Out: whether it has
//! been silent for too long.
//!
//! Silence counts only while this process ran: a look that comes late, because this process or its machine stood still, counts
//! as one that came in time. A process that wakes from a stall thus reads what has come in before it accuses anybody.
//!
//! Silence proves nothing. Whoever acts on it ([`Raft::on_peer_gone`]) asks the leader and then the other voters first.

use std::time::Duration;

use tribune_types::time::Mono;

use crate::raft::Raft;

/// Looks in the time that a leader may be silent.
const LOOKS: u32 = 5;

/// Listens for the voice of one leader.
#[derive(Debug)]
pub(crate) struct Listening {
    limit: Duration,
    /// How often the leader had spoken at the last look.
    voice: u64,
    /// How long it had been silent then, in time that this process ran.
    silent: Duration,
    /// When that was.
    looked: Mono,
}

impl Listening {
    /// Begins at `now`, when the leader had spoken `voice` times; what was before does not count.
    pub(crate) fn new(limit: Duration, voice: u64, now: Mono) -> Self {
        Self {
            limit,
            voice,
            silent: Duration::ZERO,
            looked: now,
        }
    }

    /// When to look again.
    pub(crate) fn next_look(&self) -> Mono {
        let left = self.limit.saturating_sub(self.silent);
        self.looked + left.min(self.step())
    }

    /// Looks: the leader has spoken `voice` times, last at `heard`. True if it has been silent for too long.
    pub(crate) fn look(&mut self, voice: u64, heard: Mono, now: Mono) -> bool {
        let passed = now.since(self.looked).min(self.step());
        self.looked = now;
        if voice == self.voice {
            self.silent += passed;
        } else {
            self.voice = voice;
            self.silent = now.since(heard).min(passed);
        }
        self.silent >= self.limit
    }

    fn step(&self) -> Duration {
        self.limit / LOOKS
    }
}

impl Raft {
    /// Resolves when no leader has spoken for as long as [`Timing::silence`](crate::Timing::silence) says, beginning now and
    /// counting only time in which this process ran. Means nothing while this node leads itself. Cancel safe.
    pub async fn leader_silent(&self) {
        let (env, standing) = (&self.0.env, &self.0.standing);
        let mut listening = Listening::new(self.0.silence, standing.voice(), env.mono());
        loop {
            env.sleep_until(listening.next_look()).await;
            if listening.look(standing.voice(), standing.heard(), env.mono()) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    /// When a listener that looks in time raises the alarm; the leader speaks at these times.
    fn alarm(spoken: &[u64], until: u64) -> Option<u64> {
        let mut listening = Listening::new(Duration::from_millis(500), 0, ms(0));
        loop {
            let now = listening.next_look();
            if now > ms(until) {
                return None;
            }
            let voice = { spoken.iter() }.filter(|at| ms(**at) <= now).count();
            let heard = voice.checked_sub(1).map_or(0, |last| spoken[last]);
            if listening.look(voice as u64, ms(heard), now) {
                return Some(now.0 / 1_000_000);
            }
        }
    }

    #[test]
    fn a_leader_is_silent_half_a_second_after_its_last_word() {
        let steady: Vec<u64> = (1..=30).map(|n| n * 100 + 7).collect();
        // (when it spoke, when it counts as silent)
        let table: [(&[u64], Option<u64>); 5] = [
            (&[], Some(500)),
            (&[3], Some(503)),
            (&[90, 190, 255], Some(755)),
            (&[490, 980, 1470], Some(1970)),
            (&steady, None),
        ];
        for (spoken, want) in table {
            assert_eq!(alarm(spoken, 3000), want, "{spoken:?}");
        }
    }

    #[test]
    fn a_stall_of_this_process_is_no_silence_of_the_leader() {
        let mut listening = Listening::new(Duration::from_millis(500), 0, ms(0));
        // Nothing was heard when it wakes: what has come in is not read yet.
        assert!(!listening.look(0, ms(0), ms(60_000)));
        assert_eq!(listening.next_look(), ms(60_100));
        assert!(!listening.look(0, ms(0), ms(60_200)));
        assert!(!listening.look(1, ms(60_250), ms(60_300)));
        for at in [60_400, 60_500, 60_600, 60_700] {
            assert!(!listening.look(1, ms(60_250), ms(at)));
        }
        assert_eq!(listening.next_look(), ms(60_750));
        assert!(listening.look(1, ms(60_250), ms(60_750)));
    }

    #[test]
    fn a_process_that_runs_at_half_speed_takes_twice_as_long() {
        let mut listening = Listening::new(Duration::from_millis(500), 0, ms(0));
        let late = (1..).find(|look| listening.look(0, ms(0), ms(look * 200)));
        assert_eq!(late, Some(5));
    }
}
