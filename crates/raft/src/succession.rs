//! Who follows a leader whose process has ended or says nothing, decided without waiting for timers.
//!
//! In: claims of candidates, and the leader's voice. Out: promises. A promise lets its candidate be
//! elected although the lease of the leader it follows still runs. The driver is in `campaign`.
//!
//! Two rules keep this safe and calm:
//!
//! - A promise is given only after this node has not heard a leader, whichever, for longer than one may
//!   read by its lease (`Lease`), and it is void once a leader speaks again. A majority of promises
//!   thus means that no lease read can be served by an old leader any more, wrong alarm or not.
//! - A node promises to one candidate at a time. Only a majority of promises lets a candidate stand, so
//!   that two do not stand at once. A better claim overrides the own one before it stands.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tribune_types::time::Mono;

use crate::types::{LeaderId, LogId, RaftNodeId};

/// How long a peer counts as gone when turns are reckoned.
const GONE_MEMORY: Duration = Duration::from_secs(30);

/// How long a leader may serve reads by the last word of a quorum, and how long that quorum's members keep
/// from electing another out of turn.
///
/// Each measures on its own clock. A successor needs a vote of somebody in the quorum that answered last: it got the
/// leader's message after that was sent, and votes for nobody else before
///
/// - out of turn: `silence` after it (a promise) or after its start (a voter that forgot);
/// - in turn: the longest election timeout after it, which the library calls the leader's lease: at least
///   twice `reads` with any [`Timing`](crate::Timing) of the settings.
///
/// So no read by the lease of an old leader comes after the election of a new one as long as no clock runs by more than
/// `silence / reads`, that is by a sixteenth, faster than another: quartz differs by a ten-thousandth at worst, and clocks
/// that are steered by NTP or chrony by a twentieth for moments at most. Which clock shows more does not matter, nor where it
/// began. Nothing else here rests on clocks: a vote, a log and [`ReadGuarantee::Quorum`](crate::ReadGuarantee) need none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    /// From when the leader sent what a quorum answered.
    pub(crate) reads: Duration,
    /// From when a member received it: a little longer, for clocks that run unequally.
    pub(crate) silence: Duration,
}

impl Lease {
    /// `patience` is how long a follower waits before it suspects a leader.
    pub(crate) fn new(patience: Duration) -> Self {
        let reads = patience.min(Duration::from_millis(250));
        Self {
            reads,
            silence: reads + reads / 16 + Duration::from_millis(1),
        }
    }

    /// How long a candidate waits for promises.
    pub(crate) fn canvass_limit(&self) -> Duration {
        self.silence + Duration::from_millis(150)
    }

    /// How long a promise holds.
    pub(crate) fn promise(&self) -> Duration {
        self.canvass_limit() * 2
    }
}

/// A candidate's claim to follow `leader`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) leader: LeaderId,
    pub(crate) candidate: RaftNodeId,
    /// The end of the candidate's log.
    pub(crate) last: Option<LogId>,
}

impl Claim {
    /// The longer log wins, then the lower id.
    fn is_better_than(&self, other: &Self) -> bool {
        (self.last, Reverse(self.candidate)) > (other.last, Reverse(other.candidate))
    }
}

/// What a voter says to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Verdict {
    Refused = 0,
    Agreed = 1,
    /// It is the leader itself, and lives.
    Leading = 2,
}

/// The promises of one node.
#[derive(Debug, Default)]
pub(crate) struct Succession {
    /// False means that there is no promise; spares appends the locks.
    promised: AtomicBool,
    state: Mutex<State>,
    /// Held while a promised vote is cast or a candidate stands, and by an append that voids the promise: each
    /// append is answered wholly before or wholly after.
    pub(crate) order: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    promise: Option<(Claim, Mono)>,
    /// For the succession of which leader a campaign runs here.
    campaign: Option<LeaderId>,
    /// For that of which one the last campaign ran.
    campaigned: Option<LeaderId>,
    gone: BTreeMap<RaftNodeId, Mono>,
}

/// Whether a campaign may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    /// No: one for the succession of the same leader runs.
    Not,
    /// The first for the succession of this leader since there was another.
    First,
    /// One that came to nothing went before.
    Again,
}

impl Succession {
    /// Promises to `claim` until `until`, if nothing stands against it. `own` is this node.
    pub(crate) fn promise(&self, own: RaftNodeId, claim: Claim, now: Mono, until: Mono) -> bool {
        let mut state = self.state.lock();
        if let Some((old, expires)) = &state.promise {
            let valid = now < *expires && old.leader == claim.leader;
            let overrides = old.candidate == own && claim.is_better_than(old);
            if valid && old.candidate != claim.candidate && !overrides {
                return false;
            }
        }
        state.promise = Some((claim, until));
        self.promised.store(true, Ordering::SeqCst);
        true
    }

    /// True if `candidate` (in its term) has this node's promise.
    pub(crate) fn covers(&self, candidate: &LeaderId, now: Mono) -> bool {
        self.state.lock().promise.is_some_and(|(claim, until)| {
            now < until
                && claim.candidate == candidate.voted_for
                && claim.leader.term + 1 == candidate.term
        })
    }

    /// Takes a promise to `candidate` back.
    pub(crate) fn release(&self, candidate: RaftNodeId) {
        let mut state = self.state.lock();
        if state
            .promise
            .is_some_and(|(claim, _)| claim.candidate == candidate)
        {
            state.promise = None;
            self.promised.store(false, Ordering::SeqCst);
        }
    }

    pub(crate) fn has_promise(&self) -> bool {
        self.promised.load(Ordering::SeqCst)
    }

    /// A leader has spoken: no promise holds. The caller holds `order`.
    pub(crate) fn void(&self) {
        let mut state = self.state.lock();
        state.promise = None;
        self.promised.store(false, Ordering::SeqCst);
    }

    /// Begins a campaign for the succession of `leader`, unless one runs.
    pub(crate) fn begin(&self, leader: LeaderId) -> Begun {
        let mut state = self.state.lock();
        if state.campaign == Some(leader) {
            return Begun::Not;
        }
        state.campaign = Some(leader);
        if state.campaigned.replace(leader) == Some(leader) {
            Begun::Again
        } else {
            Begun::First
        }
    }

    pub(crate) fn end(&self, leader: LeaderId) {
        let mut state = self.state.lock();
        if state.campaign == Some(leader) {
            state.campaign = None;
        }
    }

    pub(crate) fn note_gone(&self, id: RaftNodeId, now: Mono) {
        let mut state = self.state.lock();
        state.gone.retain(|_, at| now.since(*at) < GONE_MEMORY);
        state.gone.insert(id, now);
    }

    /// Server `id` is there after all.
    pub(crate) fn note_here(&self, id: RaftNodeId) {
        self.state.lock().gone.remove(&id);
    }

    /// The place of `own` among the voters that are left, from 0.
    pub(crate) fn turn(&self, own: RaftNodeId, voters: &BTreeSet<RaftNodeId>, now: Mono) -> u32 {
        let state = self.state.lock();
        let is_left = |id: &&RaftNodeId| {
            let gone = state.gone.get(*id);
            gone.is_none_or(|at| now.since(*at) >= GONE_MEMORY)
        };
        let before = voters.range(..own).filter(is_left).count();
        u32::try_from(before).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId;
    use tribune_types::id::Uuid;

    use super::*;
    use crate::codec::log_id_from_spot;
    use crate::wal::Spot;

    const OWN: RaftNodeId = Uuid([2; 16]);

    fn claim(candidate: u8, index: u64) -> Claim {
        Claim {
            leader: LeaderId::new(4, Uuid([9; 16])),
            candidate: Uuid([candidate; 16]),
            last: Some(log_id_from_spot(Spot { term: 4, index })),
        }
    }

    fn promise(succession: &Succession, claim: Claim, now: u64) -> bool {
        succession.promise(OWN, claim, Mono(now), Mono(now + 100))
    }

    #[test]
    fn one_candidate_at_a_time_has_the_promise() {
        // (first claim, second claim, its time, whether it gets the promise too); own id is 2
        let table = [
            ("the same again", claim(3, 5), claim(3, 5), 10, true),
            ("another", claim(3, 5), claim(4, 9), 10, false),
            (
                "another, after the end",
                claim(3, 5),
                claim(4, 5),
                100,
                true,
            ),
            ("better than the own", claim(2, 5), claim(1, 5), 10, true),
            ("longer than the own", claim(2, 5), claim(3, 6), 10, true),
            ("worse than the own", claim(2, 5), claim(3, 5), 10, false),
            ("shorter than the own", claim(2, 5), claim(1, 4), 10, false),
            ("the own after another", claim(1, 5), claim(2, 9), 10, false),
        ];
        for (what, first, second, at, want) in table {
            let succession = Succession::default();
            assert!(!succession.has_promise());
            assert!(promise(&succession, first, 0), "{what}");
            assert_eq!(promise(&succession, second, at), want, "{what}");
            let holder = if want { second } else { first };
            let covered = LeaderId::new(5, holder.candidate);
            assert!(succession.covers(&covered, Mono(99)), "{what}");
            assert!(succession.has_promise());
        }
    }

    #[test]
    fn a_promise_covers_one_term_until_its_end_or_the_leaders_voice() {
        let succession = Succession::default();
        assert!(promise(&succession, claim(3, 5), 0));
        let candidate = LeaderId::new(5, Uuid([3; 16]));
        assert!(succession.covers(&candidate, Mono(99)));
        assert!(!succession.covers(&candidate, Mono(100)));
        assert!(!succession.covers(&LeaderId::new(6, Uuid([3; 16])), Mono(1)));
        assert!(!succession.covers(&LeaderId::new(5, Uuid([4; 16])), Mono(1)));
        succession.release(Uuid([4; 16]));
        assert!(succession.covers(&candidate, Mono(1)));
        succession.void();
        assert!(!succession.covers(&candidate, Mono(1)) && !succession.has_promise());
    }

    #[test]
    fn turns_pass_over_servers_that_are_gone() {
        let succession = Succession::default();
        let voters: BTreeSet<_> = (1..=5).map(|n| Uuid([n; 16])).collect();
        let turn = |id: u8, now| succession.turn(Uuid([id; 16]), &voters, Mono(now));
        assert_eq!([turn(1, 0), turn(2, 0), turn(5, 0)], [0, 1, 4]);
        succession.note_gone(Uuid([1; 16]), Mono(0));
        assert_eq!([turn(2, 1), turn(5, 1)], [0, 3]);
        assert_eq!(turn(2, 31_000_000_000), 1, "that was long ago");
        succession.note_here(Uuid([1; 16]));
        assert_eq!([turn(2, 1), turn(5, 1)], [1, 4], "it is there after all");
    }

    #[test]
    fn one_campaign_runs_for_each_leader() {
        let succession = Succession::default();
        let (leader, other) = (claim(1, 1).leader, LeaderId::new(3, OWN));
        assert_eq!(succession.begin(leader), Begun::First);
        assert_eq!(succession.begin(leader), Begun::Not);
        succession.end(other);
        assert_eq!(succession.begin(leader), Begun::Not);
        succession.end(leader);
        assert_eq!(succession.begin(leader), Begun::Again);
        succession.end(leader);
        assert_eq!(succession.begin(other), Begun::First);
    }
}
