//! A short history that shows a violation: the shortest prefix in time that has no order, without the reads and refusals
//! that it does not need.

use std::fmt::Write;

use super::model::Model;
use super::search::{Found, search};
use super::{Answer, Call, Op};

/// Lines of operations shown; earlier ones are counted.
const LINES_MAX: usize = 40;

/// Tells why `ops`, which have no order, have none.
pub(super) fn explain(ops: &[Op], steps_max: usize) -> String {
    let is_wrong = |ops: &[Op]| {
        // A shortened history is as well formed as the whole was.
        Model::new(ops).is_ok_and(|model| search(&model, steps_max).0 == Found::NoOrder)
    };
    let mut ends: Vec<u64> = ops
        .iter()
        .filter(|op| op.answer != Answer::Unknown)
        .map(|op| op.end_ns)
        .collect();
    ends.sort_unstable();
    ends.dedup();
    // Whoever is wrong up to some moment is wrong up to every later one.
    let first = ends.partition_point(|end| !is_wrong(&until(ops, *end)));
    let mut short = match ends.get(first) {
        Some(end) => until(ops, *end),
        None => ops.to_vec(),
    };
    let mut at = 0;
    while at < short.len() {
        let mut without = short.clone();
        let op = without.remove(at);
        if is_without_effect(&op) && is_wrong(&without) {
            short = without;
        } else {
            at += 1;
        }
    }
    tell(&short)
}

/// What was known at `end_ns`: later answers are unknown yet, later operations are not there.
fn until(ops: &[Op], end_ns: u64) -> Vec<Op> {
    ops.iter()
        .filter(|op| op.start_ns <= end_ns)
        .filter_map(|op| {
            let mut op = op.clone();
            if op.end_ns > end_ns {
                if op.call == Call::Get {
                    return None;
                }
                op.answer = Answer::Unknown;
            }
            Some(op)
        })
        .collect()
}

fn is_without_effect(op: &Op) -> bool {
    op.call == Call::Get || matches!(op.answer, Answer::Verdict(false) | Answer::NoSession)
}

fn tell(ops: &[Op]) -> String {
    let last = ops
        .iter()
        .filter(|op| op.answer != Answer::Unknown)
        .max_by_key(|op| op.end_ns);
    let mut text = String::from("no order of these operations gives these answers\n");
    let hidden = ops.len().saturating_sub(LINES_MAX);
    if hidden > 0 {
        let _ = writeln!(text, "  ({hidden} earlier operations are not shown)");
    }
    for op in &ops[hidden..] {
        let mark = if Some(op) == last { ">" } else { " " };
        let end = match op.answer {
            Answer::Unknown => "      open".to_owned(),
            _ => format!("{:10.3}", ms(op.end_ns)),
        };
        let _ = writeln!(
            text,
            "{mark} {:10.3} .. {end} ms  client {:<3} {:?} -> {:?}",
            ms(op.start_ns),
            op.client,
            op.call,
            op.answer
        );
    }
    text.push_str("  (> is the operation that cannot be placed)");
    text
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}
