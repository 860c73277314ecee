//! When agents learned of one change of one member.

use std::time::Duration;

use tribune_serf::MemberChange;
use tribune_types::time::Mono;

/// Collects the reports of one change of one member since a moment.
#[derive(Debug, Clone)]
pub struct Watch {
    pub(crate) subject: usize,
    pub(crate) change: MemberChange,
    since: Mono,
    reported: Vec<bool>,
    times: Vec<Mono>,
    /// The first accusation of the member by the result of a probe.
    suspected: Option<Mono>,
}

impl Watch {
    pub(crate) fn new(subject: usize, change: MemberChange, since: Mono) -> Watch {
        Watch {
            subject,
            change,
            since,
            reported: Vec::new(),
            times: Vec::new(),
            suspected: None,
        }
    }

    pub(crate) fn on_report(&mut self, now: Mono, observer: usize) {
        if self.reported.len() <= observer {
            self.reported.resize(observer + 1, false);
        }
        if !std::mem::replace(&mut self.reported[observer], true) {
            self.times.push(now);
        }
    }

    pub(crate) fn on_suspected(&mut self, now: Mono) {
        self.suspected.get_or_insert(now);
    }

    /// Agents that reported it.
    pub fn count(&self) -> usize {
        self.times.len()
    }

    /// Time from the start of the watch until this many agents had reported it; `None` if fewer did.
    pub fn until(&self, count: usize) -> Option<Duration> {
        let at = self.times.get(count.checked_sub(1)?)?;
        Some(at.since(self.since))
    }

    /// Time from the start of the watch to the first suspicion.
    pub fn first_suspicion(&self) -> Option<Duration> {
        Some(self.suspected?.since(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_agent_counts_once() {
        let mut watch = Watch::new(3, MemberChange::Joined, Mono(100));
        for (at, observer) in [(110, 0), (120, 5), (130, 0), (150, 1)] {
            watch.on_report(Mono(at), observer);
        }
        assert_eq!(watch.count(), 3);
        assert_eq!(watch.until(1), Some(Duration::from_nanos(10)));
        assert_eq!(watch.until(3), Some(Duration::from_nanos(50)));
        assert_eq!(watch.until(4), None);
        assert_eq!(watch.until(0), None);
    }
}
