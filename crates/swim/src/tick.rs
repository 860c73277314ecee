//! A regular timer that sleeps while there is nothing to do, and wakes on the same grid as if it had always run.
//!
//! Missed ticks are dropped: after a pause there is one tick, then the grid again.
//!
//! A *prompt* timer does not wait for the grid when it wakes: it ticks soon, but not sooner than an interval after its last
//! tick, and the grid begins anew there.

use std::time::Duration;

use tribune_types::time::Mono;

/// The timer.
#[derive(Debug, Clone)]
pub(crate) struct Tick {
    /// Any point of the grid.
    phase: Mono,
    /// Zero: never ticks.
    interval: u64,
    /// Prompt: how soon the first tick comes.
    soon: Option<u64>,
    due: Option<Mono>,
    /// Armed by somebody who did not know the time.
    guessed: bool,
    /// Points up to this one are over.
    last: Option<Mono>,
}

impl Tick {
    /// A timer that first ticks at `phase`. An interval of zero never ticks.
    pub(crate) fn new(phase: Mono, interval: Duration) -> Tick {
        Tick {
            phase,
            interval: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
            soon: None,
            due: None,
            guessed: false,
            last: None,
        }
    }

    /// The same, prompt: after sleep the first tick comes after `soon`.
    pub(crate) fn prompt(self, soon: Duration) -> Tick {
        let soon = u64::try_from(soon.as_nanos()).unwrap_or(u64::MAX);
        Tick {
            soon: Some(soon.min(self.interval)),
            ..self
        }
    }

    /// The next tick, if one is wanted.
    pub(crate) fn due(&self) -> Option<Mono> {
        self.due
    }

    /// Wants ticks, or does not. Without a change this does nothing.
    pub(crate) fn want(&mut self, wanted: bool, now: Mono) {
        self.correct(now);
        if !wanted {
            self.due = None;
        } else if self.due.is_none() {
            self.due = self.first(now);
            self.guessed = false;
        }
    }

    /// Wants ticks, at a time that is known only to be `clock` or later.
    pub(crate) fn want_untimed(&mut self, clock: Mono) {
        if self.due.is_none() {
            self.due = self.first(clock);
            self.guessed = true;
        }
    }

    /// True if a tick is due; the next one is armed.
    pub(crate) fn take(&mut self, now: Mono) -> bool {
        self.correct(now);
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        self.last = Some(now);
        self.due = self.next(now);
        true
    }

    /// A guess that was too early by more than a timer is late waits for the grid.
    fn correct(&mut self, now: Mono) {
        if !self.guessed {
            return;
        }
        if let Some(due) = self.due
            && now >= due
        {
            self.guessed = false;
            if now.0 - due.0 > self.interval / 4 {
                self.due = self.first(now);
            }
        }
    }

    /// The first tick after sleep.
    fn first(&mut self, now: Mono) -> Option<Mono> {
        if let Some(soon) = self.soon {
            let soon = now.0.saturating_add(soon);
            let rested = self
                .last
                .map_or(soon, |last| last.0.saturating_add(self.interval));
            self.phase = Mono(soon.max(rested));
        }
        self.next(now)
    }

    /// The first point of the grid at or after `now` that is not over.
    fn next(&self, now: Mono) -> Option<Mono> {
        if self.interval == 0 {
            return None;
        }
        let from = match self.last {
            Some(last) => now.0.max(last.0.saturating_add(1)),
            None => now.0,
        };
        let passed = from.saturating_sub(self.phase.0).div_ceil(self.interval);
        Some(Mono(
            self.phase
                .0
                .saturating_add(passed.saturating_mul(self.interval)),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_come_on_the_grid_whenever_they_are_wanted() {
        let mut tick = Tick::new(Mono(3), Duration::from_nanos(10));
        assert_eq!(tick.due(), None);
        // (now, due)
        for (now, due) in [(0, 3), (3, 3), (4, 13), (13, 13), (14, 23), (99, 103)] {
            tick.want(false, Mono(now));
            tick.want(true, Mono(now));
            assert_eq!(tick.due(), Some(Mono(due)), "wanted at {now}");
        }
    }

    #[test]
    fn missed_ticks_are_dropped_and_the_grid_kept() {
        let mut tick = Tick::new(Mono(3), Duration::from_nanos(10));
        tick.want(true, Mono(0));
        assert!(!tick.take(Mono(2)));
        assert!(tick.take(Mono(3)));
        assert!(!tick.take(Mono(3)), "the same point twice");
        assert!(tick.take(Mono(57)));
        assert!(!tick.take(Mono(57)));
        assert_eq!(tick.due(), Some(Mono(63)));
    }

    #[test]
    fn an_interval_of_zero_never_ticks() {
        let mut tick = Tick::new(Mono(3), Duration::ZERO);
        tick.want(true, Mono(100));
        assert_eq!(tick.due(), None);
        assert!(!tick.take(Mono(100)));
    }

    #[test]
    fn a_wish_without_a_time_waits_for_the_grid_when_the_time_is_known() {
        let mut tick = Tick::new(Mono(0), Duration::from_nanos(100));
        tick.want_untimed(Mono(310));
        assert_eq!(tick.due(), Some(Mono(400)));
        assert!(tick.take(Mono(404)), "a little late is on time");
        tick.want(false, Mono(404));
        tick.want_untimed(Mono(404));
        assert!(!tick.take(Mono(890)), "wished for at 890, it seems");
        assert_eq!(tick.due(), Some(Mono(900)));
        assert!(tick.take(Mono(930)));
    }

    #[test]
    fn a_prompt_tick_comes_soon_after_sleep_but_never_two_in_an_interval() {
        let mut tick =
            Tick::new(Mono(3), Duration::from_nanos(100)).prompt(Duration::from_nanos(5));
        // (wanted at, due)
        for (now, due) in [(0, 5), (40, 105), (150, 205), (1_000, 1_005)] {
            tick.want(true, Mono(now));
            assert_eq!(tick.due(), Some(Mono(due)), "wanted at {now}");
            assert!(tick.take(Mono(due)));
            assert_eq!(tick.due(), Some(Mono(due + 100)), "the grid begins anew");
            tick.want(false, Mono(due));
        }
        tick.want_untimed(Mono(1_300));
        assert_eq!(tick.due(), Some(Mono(1_305)));
        assert!(!tick.take(Mono(2_000)), "wished for at 2000, it seems");
        assert_eq!(tick.due(), Some(Mono(2_005)));
    }
}
