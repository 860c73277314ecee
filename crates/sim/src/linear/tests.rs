//! The checker accepts right histories, rejects wrong ones, and agrees with trying every order.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

fn op(client: u32, times: (u64, u64), call: Call, answer: Answer) -> Op {
    Op {
        client,
        key: "k".to_owned(),
        start_ns: times.0,
        end_ns: times.1,
        call,
        answer,
    }
}

fn put(client: u32, times: (u64, u64), value: u64) -> Op {
    op(client, times, Call::Put(value), Answer::Done)
}

fn lost(client: u32, start: u64, call: Call) -> Op {
    op(client, (start, 0), call, Answer::Unknown)
}

fn get(client: u32, times: (u64, u64), found: Option<(u64, u64)>) -> Op {
    let found = found.map(|(value, index)| Entry {
        value,
        index,
        session: None,
    });
    op(client, times, Call::Get, Answer::Got(found))
}

fn held(client: u32, times: (u64, u64), value: u64, index: u64, by: &str) -> Op {
    let entry = Entry {
        value,
        index,
        session: Some(by.to_owned()),
    };
    op(client, times, Call::Get, Answer::Got(Some(entry)))
}

fn cas(client: u32, times: (u64, u64), index: u64, value: u64, verdict: bool) -> Op {
    op(
        client,
        times,
        Call::Cas { index, value },
        Answer::Verdict(verdict),
    )
}

fn acquire(client: u32, times: (u64, u64), by: &str, value: u64, verdict: bool) -> Op {
    let call = Call::Acquire {
        session: by.to_owned(),
        value,
    };
    op(client, times, call, Answer::Verdict(verdict))
}

fn release(client: u32, times: (u64, u64), by: &str, value: u64, verdict: bool) -> Op {
    let call = Call::Release {
        session: by.to_owned(),
        value,
    };
    op(client, times, call, Answer::Verdict(verdict))
}

fn end(start: u64, end_ns: Option<u64>, by: &str) -> Op {
    Op {
        client: 0,
        key: String::new(),
        start_ns: start,
        end_ns: end_ns.unwrap_or(0),
        call: Call::EndSession {
            session: by.to_owned(),
            deletes: false,
        },
        answer: match end_ns {
            Some(_) => Answer::Done,
            None => Answer::Unknown,
        },
    }
}

/// (what it shows, whether it is right, the history)
fn cases() -> Vec<(&'static str, bool, Vec<Op>)> {
    vec![
        ("nothing happened", true, vec![]),
        (
            "a read during a write sees the old or the new value",
            true,
            vec![
                put(1, (0, 10), 1),
                put(1, (20, 40), 2),
                get(2, (25, 30), Some((1, 5))),
                get(3, (26, 31), Some((2, 6))),
            ],
        ),
        (
            "a stale read",
            false,
            vec![
                put(1, (0, 10), 1),
                put(1, (20, 30), 2),
                get(2, (31, 32), Some((1, 5))),
            ],
        ),
        (
            "a read that goes back behind an earlier read of a write still on its way",
            false,
            vec![
                put(1, (0, 10), 1),
                put(1, (20, 90), 2),
                get(2, (30, 40), Some((2, 6))),
                get(3, (50, 60), Some((1, 5))),
            ],
        ),
        (
            "a lost acknowledged write",
            false,
            vec![put(1, (0, 10), 1), get(2, (20, 30), None)],
        ),
        (
            "two conditional writes on one index",
            false,
            vec![
                put(1, (0, 10), 1),
                get(1, (11, 12), Some((1, 5))),
                cas(2, (20, 40), 5, 2, true),
                cas(3, (20, 40), 5, 3, true),
            ],
        ),
        (
            "one of two conditional writes",
            true,
            vec![
                put(1, (0, 10), 1),
                get(1, (11, 12), Some((1, 5))),
                cas(2, (20, 40), 5, 2, true),
                cas(3, (20, 40), 5, 3, false),
                get(1, (50, 51), Some((2, 6))),
            ],
        ),
        (
            "a conditional write that was refused for no reason",
            false,
            vec![
                put(1, (0, 10), 1),
                get(1, (11, 12), Some((1, 5))),
                cas(2, (20, 40), 5, 2, false),
            ],
        ),
        (
            "two creations of one key",
            false,
            vec![cas(1, (0, 10), 0, 1, true), cas(2, (5, 20), 0, 2, true)],
        ),
        (
            "two creations with a removal between them",
            true,
            vec![
                cas(1, (0, 10), 0, 1, true),
                op(3, (5, 15), Call::Delete, Answer::Done),
                cas(2, (5, 20), 0, 2, true),
            ],
        ),
        (
            "a write of unknown fate seen much later",
            true,
            vec![
                put(1, (0, 10), 1),
                lost(2, 15, Call::Put(2)),
                get(3, (20, 30), Some((1, 5))),
                get(3, (80, 90), Some((2, 7))),
            ],
        ),
        (
            "a write of unknown fate never seen",
            true,
            vec![
                put(1, (0, 10), 1),
                lost(2, 15, Call::Put(2)),
                get(3, (20, 30), Some((1, 5))),
            ],
        ),
        (
            "a write of unknown fate seen before it was sent",
            false,
            vec![get(3, (5, 9), Some((2, 7))), lost(2, 15, Call::Put(2))],
        ),
        (
            "a write of unknown fate that comes and goes",
            false,
            vec![
                put(1, (0, 10), 1),
                lost(2, 15, Call::Put(2)),
                get(3, (20, 30), Some((2, 7))),
                get(3, (40, 50), Some((1, 5))),
            ],
        ),
        (
            "a refusal explained only by a write of unknown fate that nobody saw",
            true,
            vec![
                put(1, (0, 10), 1),
                get(1, (11, 12), Some((1, 5))),
                lost(2, 15, Call::Put(2)),
                cas(3, (20, 30), 5, 3, false),
            ],
        ),
        (
            "one write found with two indexes",
            false,
            vec![
                put(1, (0, 10), 1),
                get(2, (20, 30), Some((1, 5))),
                get(2, (40, 50), Some((1, 8))),
            ],
        ),
        (
            "an index that falls",
            false,
            vec![
                put(1, (0, 10), 1),
                get(2, (20, 30), Some((1, 9))),
                put(1, (40, 50), 2),
                get(2, (60, 70), Some((2, 8))),
            ],
        ),
        (
            "a value that nobody wrote",
            false,
            vec![get(1, (0, 1), Some((77, 3)))],
        ),
        (
            "a lock held by one after the other",
            true,
            vec![
                acquire(1, (0, 10), "a", 1, true),
                acquire(2, (11, 12), "b", 2, false),
                release(1, (20, 30), "a", 3, true),
                acquire(2, (25, 40), "b", 4, true),
                held(3, (41, 42), 4, 9, "b"),
            ],
        ),
        (
            "a lock held by two",
            false,
            vec![
                acquire(1, (0, 10), "a", 1, true),
                acquire(2, (11, 12), "b", 2, true),
            ],
        ),
        (
            "a lock taken over from a session that ended",
            true,
            vec![
                end(0, None, "a"),
                acquire(1, (0, 10), "a", 1, true),
                acquire(2, (11, 12), "b", 2, true),
            ],
        ),
        (
            "a session that goes on after it ended",
            false,
            vec![
                acquire(1, (0, 10), "a", 1, true),
                end(20, Some(30), "a"),
                acquire(1, (40, 50), "a", 2, true),
            ],
        ),
        (
            "a lock still shown as held by a session that ended",
            false,
            vec![
                acquire(1, (0, 10), "a", 1, true),
                end(20, Some(30), "a"),
                held(2, (40, 50), 1, 5, "a"),
            ],
        ),
        (
            "a refusal in the lock-delay",
            true,
            vec![
                acquire(1, (0, 10), "a", 1, true),
                end(20, Some(30), "a"),
                acquire(2, (40, 50), "b", 2, false),
                get(2, (41, 51), Some((1, 8))),
                acquire(2, (60, 70), "b", 3, true),
            ],
        ),
        (
            "a free lock refused",
            false,
            vec![
                acquire(1, (0, 10), "a", 1, true),
                release(1, (20, 30), "a", 2, true),
                acquire(2, (40, 50), "b", 3, false),
            ],
        ),
        (
            "a session refused that never ended",
            false,
            vec![op(
                1,
                (0, 10),
                Call::Acquire {
                    session: "a".to_owned(),
                    value: 1,
                },
                Answer::NoSession,
            )],
        ),
        (
            "an acquisition of unknown fate held by the other",
            true,
            vec![
                lost(
                    1,
                    0,
                    Call::Acquire {
                        session: "a".to_owned(),
                        value: 1,
                    },
                ),
                acquire(2, (10, 20), "b", 2, false),
                held(2, (30, 40), 1, 4, "a"),
            ],
        ),
        (
            "a plain write keeps the lock",
            true,
            vec![
                acquire(1, (0, 10), "a", 1, true),
                put(2, (20, 30), 2),
                held(2, (40, 50), 2, 6, "a"),
                acquire(2, (60, 70), "b", 3, false),
            ],
        ),
        (
            "a plain write that loses the lock",
            false,
            vec![
                acquire(1, (0, 10), "a", 1, true),
                put(2, (20, 30), 2),
                get(2, (40, 50), Some((2, 6))),
            ],
        ),
    ]
}

#[test]
fn right_histories_are_accepted_and_wrong_ones_rejected() {
    for (what, right, history) in cases() {
        let checked = check(&history);
        assert_eq!(checked.is_ok(), right, "{what}: {checked:?}");
        if let Ok(summary) = checked {
            assert!(summary.undecided.is_empty(), "{what}");
        }
    }
}

#[test]
fn a_violation_is_shown_by_the_operations_it_needs() {
    let mut history = vec![put(1, (0, 10), 1), put(1, (20, 30), 2)];
    history.extend((0..50).map(|n| get(2, (100 + n * 10, 105 + n * 10), Some((2, 6)))));
    history.push(get(3, (700, 710), Some((1, 5))));
    history.extend((0..50).map(|n| get(2, (800 + n * 10, 805 + n * 10), Some((2, 6)))));
    let violation = check(&history).unwrap_err();
    assert_eq!(violation.key, "k");
    let lines: Vec<&str> = violation.text.lines().collect();
    assert_eq!(lines.len(), 5, "{violation}");
    assert!(
        lines[3].starts_with('>') && lines[3].contains("value: 1"),
        "{violation}"
    );
}

#[test]
fn values_must_be_unique() {
    let history = vec![put(1, (0, 10), 1), put(2, (20, 30), 1)];
    assert!(check(&history).unwrap_err().text.contains("malformed"));
}

#[test]
fn keys_are_checked_on_their_own() {
    let mut history = vec![put(1, (0, 10), 1), get(2, (20, 30), Some((1, 5)))];
    let mut other = vec![put(1, (0, 10), 2), get(2, (20, 30), None)];
    for op in &mut other {
        op.key = "other".to_owned();
    }
    history.extend(other);
    assert_eq!(check(&history).unwrap_err().key, "other");
}

#[test]
fn a_search_without_end_is_given_up_and_said_so() {
    // Many writes at once and a read of nothing: every order is tried.
    let mut history: Vec<Op> = (0..20)
        .map(|n| put(n, (0, 100), u64::from(n) + 1))
        .collect();
    history.push(get(50, (200, 210), None));
    let summary = check_within(&history, 1000).unwrap();
    assert_eq!(summary.undecided, ["k"]);
    assert!(summary.steps <= 1001);
}

#[test]
fn ten_thousand_operations_of_eight_clients_take_little_work() {
    let mut rng = SmallRng::seed_from_u64(3);
    let history = record(&mut rng, 8, 10_000, false);
    let summary = check(&history).unwrap();
    assert!(summary.undecided.is_empty());
    assert!(summary.steps < 40_000, "{summary:?}");
}

/// Runs operations of several clients on one true copy and records them; sometimes spoils an answer.
fn record(rng: &mut SmallRng, clients: u32, count: u64, spoil: bool) -> Vec<Op> {
    #[derive(Default)]
    struct Copy {
        entry: Option<Entry>,
        index: u64,
        dead: Vec<String>,
        delayed: bool,
    }
    let mut copy = Copy::default();
    let mut history = Vec::new();
    let mut free_at = vec![0u64; clients as usize];
    let mut next_value = 0;
    let mut now = 0;
    // The index that a reader saw last.
    let mut told = 0;
    for _ in 0..count {
        now += rng.random_range(1..4);
        let client = rng.random_range(0..clients);
        if free_at[client as usize] > now {
            continue;
        }
        let start = free_at[client as usize].max(now.saturating_sub(rng.random_range(0..6)));
        next_value += 1;
        copy.index += rng.random_range(1..3);
        let index = copy.index;
        let session = ["a", "b"][rng.random_range(0..2)].to_owned();
        let known = copy.entry.as_ref().map_or(0, |entry| entry.index);
        let expected = if rng.random_bool(0.7) { told } else { 0 };
        let holder = copy.entry.as_ref().and_then(|entry| entry.session.clone());
        let set = |copy: &mut Copy, session| {
            copy.entry = Some(Entry {
                value: next_value,
                index,
                session,
            });
        };
        let call = match rng.random_range(0..12) {
            0..4 => Call::Get,
            4..6 => Call::Put(next_value),
            6 => Call::Delete,
            7..9 => Call::Cas {
                index: expected,
                value: next_value,
            },
            9 => Call::Acquire {
                session: session.clone(),
                value: next_value,
            },
            10 => Call::Release {
                session: session.clone(),
                value: next_value,
            },
            _ => Call::EndSession {
                session: session.clone(),
                deletes: false,
            },
        };
        // What is asked is done now, between start and end, or never.
        let happens = rng.random_bool(0.9);
        let answer = match &call {
            _ if !happens => Answer::Unknown,
            Call::Get => Answer::Got(copy.entry.clone()),
            Call::Put(_) => {
                set(&mut copy, holder);
                Answer::Done
            }
            Call::Delete => {
                copy.entry = None;
                Answer::Done
            }
            Call::Cas { index, .. } => {
                let holds = *index == known;
                if holds {
                    set(&mut copy, holder);
                }
                Answer::Verdict(holds)
            }
            Call::Acquire { session, .. } => {
                if copy.dead.contains(session) {
                    Answer::NoSession
                } else if holder.as_ref().is_some_and(|by| by != session)
                    || copy.delayed && rng.random_bool(0.3)
                {
                    Answer::Verdict(false)
                } else {
                    set(&mut copy, Some(session.clone()));
                    copy.delayed = false;
                    Answer::Verdict(true)
                }
            }
            Call::Release { session, .. } => {
                let holds = holder.as_ref() == Some(session);
                if holds {
                    set(&mut copy, None);
                }
                Answer::Verdict(holds)
            }
            Call::EndSession { session, .. } => {
                if !copy.dead.contains(session) && holder.as_ref() == Some(session) {
                    if let Some(entry) = &mut copy.entry {
                        entry.session = None;
                        entry.index = index;
                    }
                    copy.delayed = true;
                }
                if !copy.dead.contains(session) {
                    copy.dead.push(session.clone());
                }
                Answer::Done
            }
            Call::DeleteCas { .. } => Answer::Unknown,
        };
        let stop = now + rng.random_range(0..6);
        free_at[client as usize] = stop + 1;
        // An answer may also get lost on its way.
        let answer = if rng.random_bool(0.1) {
            Answer::Unknown
        } else {
            answer
        };
        history.push(Op {
            client,
            key: match call {
                Call::EndSession { .. } => String::new(),
                _ => "k".to_owned(),
            },
            start_ns: start,
            end_ns: stop,
            call,
            answer,
        });
        // Readers tell the indexes that conditional writes name.
        if let Some(entry) = &copy.entry
            && rng.random_bool(0.5)
        {
            told = entry.index;
            history.push(Op {
                client: clients,
                key: "k".to_owned(),
                start_ns: now,
                end_ns: now,
                call: Call::Get,
                answer: Answer::Got(Some(entry.clone())),
            });
        }
    }
    if spoil {
        let at = rng.random_range(0..history.len());
        let other = history[rng.random_range(0..history.len())].answer.clone();
        match &mut history[at].answer {
            Answer::Verdict(verdict) => *verdict = !*verdict,
            answer @ Answer::Got(_) => {
                if let Answer::Got(_) = other {
                    *answer = other;
                } else {
                    *answer = Answer::Got(None);
                }
            }
            answer => *answer = Answer::Done,
        }
    }
    history
}

/// Tries every order and every subset of the operations of unknown fate.
fn brute(model: &Model, state: &model::State, placed: &mut Vec<usize>) -> bool {
    let missing = |placed: &[usize]| {
        (0..model.steps.len())
            .filter(|number| !placed.contains(number))
            .collect::<Vec<_>>()
    };
    let left = missing(placed);
    if left
        .iter()
        .all(|number| model.steps[*number].end_ns == u64::MAX)
    {
        return true;
    }
    for number in &left {
        let start = model.steps[*number].start_ns;
        if left.iter().any(|other| model.steps[*other].end_ns < start) {
            continue;
        }
        if let Some(next) = model.step(state, *number) {
            placed.push(*number);
            let found = brute(model, &next, placed);
            placed.pop();
            if found {
                return true;
            }
        }
    }
    false
}

#[test]
fn the_search_agrees_with_trying_every_order() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..3000 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let spoil = rng.random_bool(0.7);
        let count = rng.random_range(1..7);
        let history = record(&mut rng, 3, count, spoil);
        let by_key = by_key(&history);
        let Some(ops) = by_key.get("k") else {
            continue;
        };
        if ops.len() > 8 {
            continue;
        }
        let want = Model::new(ops)
            .is_ok_and(|model| brute(&model, &model::State::default(), &mut Vec::new()));
        let got = check(&history);
        assert_eq!(got.is_ok(), want, "seed {seed}: {history:#?}\n{got:?}");
        assert!(
            spoil || want,
            "seed {seed}: a true record is right: {got:?}"
        );
        if want { right += 1 } else { wrong += 1 }
    }
    assert!(right > 500 && wrong > 300, "{right} right, {wrong} wrong");
}
