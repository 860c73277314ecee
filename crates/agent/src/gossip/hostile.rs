//! Bytes that nobody should have sent: counted per source, told in few lines, and kept from growing the member table.
//!
//! In: what was wrong with a datagram or a stream, and where it came from. Out: a metric, and at most one line every ten
//! seconds that says how many were not told. A source that is not an established member may introduce a bounded number of
//! members at once, and then one a second: without that, made-up names would fill the memory of a pool without encryption,
//! and without the one a second a busy address that many agents share would be shut out in the end.
//!
//! Bounds: 256 sources are told apart; the counts of further ones go into one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::warn;
use tribune_types::time::Mono;

/// Sources told apart.
const SOURCES_MAX: usize = 256;
/// Between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Names a source may introduce at once without being a member itself. Each costs up to five kilobytes on a server,
/// with the broadcasts, the lists for readers and the registration in the catalog.
const INTRODUCED_MAX: u32 = 150;
/// One more may follow after this time.
const INTRODUCED_INTERVAL: Duration = Duration::from_secs(1);
/// Lines about the pool itself that may come at once, and how fast further ones may follow.
const WARNINGS_BURST: u32 = 20;
const WARNING_INTERVAL: Duration = Duration::from_secs(2);
/// The same for lines about members that come and go.
const MEMBERS_BURST: u32 = 500;
const MEMBER_INTERVAL: Duration = Duration::from_millis(100);

/// Counts of bad input.
#[derive(Debug, Default)]
pub(super) struct Hostile {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    sources: BTreeMap<IpAddr, Source>,
    /// All sources beyond the bound.
    others: Source,
    last_line: Option<Mono>,
    /// Not told since the last line.
    suppressed: u64,
    /// Lines about the pool.
    warnings: Lines,
    /// Lines about its members.
    members: Lines,
}

impl Default for State {
    fn default() -> State {
        State {
            sources: BTreeMap::new(),
            others: Source::default(),
            last_line: None,
            suppressed: 0,
            warnings: Lines::new(WARNINGS_BURST, WARNING_INTERVAL),
            members: Lines::new(MEMBERS_BURST, MEMBER_INTERVAL),
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Source {
    dropped: u64,
    /// Names introduced, less those that time has made up for.
    introduced: u32,
    as_of: Mono,
}

impl State {
    fn source(&mut self, from: IpAddr) -> &mut Source {
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&from) {
            return &mut self.others;
        }
        self.sources.entry(from).or_default()
    }
}

impl Hostile {
    /// Counts one bad datagram or stream, and tells about it if it is time.
    pub(super) fn dropped(&self, now: Mono, from: IpAddr, problem: &dyn std::fmt::Display) {
        metrics::counter!("memberlist.dropped").increment(1);
        let mut state = self.state.lock();
        let source = state.source(from);
        source.dropped += 1;
        let dropped = source.dropped;
        if state
            .last_line
            .is_some_and(|at| now.since(at) < LINE_INTERVAL)
        {
            state.suppressed += 1;
            return;
        }
        state.last_line = Some(now);
        let suppressed = std::mem::take(&mut state.suppressed);
        drop(state);
        warn!(%from, %problem, dropped, suppressed, "memberlist: dropped what cannot be understood");
    }

    /// Counts new names that a source brings; how many of them it may introduce as a stranger.
    pub(super) fn introduces(&self, now: Mono, from: IpAddr, count: u32) -> u32 {
        let mut state = self.state.lock();
        let source = state.source(from);
        let passed = now.since(source.as_of).as_nanos() / INTRODUCED_INTERVAL.as_nanos();
        if passed > 0 {
            let passed = u32::try_from(passed).unwrap_or(u32::MAX);
            source.introduced = source.introduced.saturating_sub(passed);
            source.as_of = now;
        }
        let allowed = count.min(INTRODUCED_MAX - source.introduced);
        source.introduced += allowed;
        allowed
    }

    /// True if one more line about the pool may be written; with the number of those that were not.
    pub(super) fn may_warn(&self, now: Mono) -> Option<u64> {
        self.state.lock().warnings.take(now)
    }

    /// The same for a line about what became of a member: a whole pool may be learned at once, but not be invented.
    pub(super) fn may_tell_member(&self, now: Mono) -> Option<u64> {
        self.state.lock().members.take(now)
    }
}

/// Lines of one kind: some at once, further ones slowly.
#[derive(Debug)]
struct Lines {
    burst: u32,
    interval: Duration,
    /// How many more may come at once, as of when.
    left: u32,
    as_of: Mono,
    /// Not written since the last that was.
    suppressed: u64,
}

impl Lines {
    fn new(burst: u32, interval: Duration) -> Lines {
        Lines {
            burst,
            interval,
            left: burst,
            as_of: Mono(0),
            suppressed: 0,
        }
    }

    fn take(&mut self, now: Mono) -> Option<u64> {
        let gained = now.since(self.as_of).as_nanos() / self.interval.as_nanos();
        if gained > 0 {
            let gained = u32::try_from(gained).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(gained).min(self.burst);
            self.as_of = now;
        }
        if self.left == 0 {
            self.suppressed += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    fn secs(n: u64) -> Mono {
        Mono(n * 1_000_000_000)
    }

    #[test]
    fn sources_are_bounded() {
        let hostile = Hostile::default();
        for n in 0..100_000 {
            hostile.dropped(secs(1), ip(n), &"x");
        }
        let state = hostile.state.lock();
        assert_eq!(state.sources.len(), SOURCES_MAX);
        assert_eq!(state.others.dropped, 100_000 - SOURCES_MAX as u64);
        assert_eq!(state.suppressed, 99_999);
    }

    #[test]
    fn a_stranger_introduces_some_members_at_once_and_then_one_a_second() {
        let hostile = Hostile::default();
        // (second, source, brings, may)
        for (at, from, count, want) in [
            (100, 1, 100, 100),
            (100, 1, 400, 50),
            (100, 1, 1, 0),
            (100, 2, 1, 1),
            (101, 1, 5, 1),
            (104, 1, 2, 2),
            (104, 1, 2, 1),
            (104, 1, 2, 0),
            (9999, 1, u32::MAX, INTRODUCED_MAX),
            (9999, 1, u32::MAX, 0),
        ] {
            let may = hostile.introduces(secs(at), ip(from), count);
            assert_eq!(may, want, "{count} of {from} at {at}");
        }
    }

    #[test]
    fn warnings_come_in_a_burst_and_then_slowly() {
        let hostile = Hostile::default();
        let told = (0..1000).filter(|_| hostile.may_warn(secs(1)).is_some());
        assert_eq!(told.count(), WARNINGS_BURST as usize);
        assert_eq!(hostile.may_warn(secs(1)), None);
        assert_eq!(
            hostile.may_warn(secs(3)),
            Some(1001 - u64::from(WARNINGS_BURST))
        );
        assert_eq!(hostile.may_warn(secs(3)), None);
    }
}
