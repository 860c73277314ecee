//! Runs a checked expression over a record. No allocation, no failure.
//!
//! Two rules of the original are easily got wrong: a field below a list matches when *any*
//! element does, negative operators included (`Upstreams.X != a` is true when one differs, and
//! false for an empty list); and an entry a map does not have makes every negative operator true,
//! `==` and `in` false, and **both** `matches` and `not matches` true.

use crate::check::{Leaf, Plan, Step, Test};
use crate::schema::{Field, Fields};

pub(crate) fn eval(plan: &Plan, item: &dyn Fields) -> bool {
    match plan {
        Plan::And(items) => items.iter().all(|plan| eval(plan, item)),
        Plan::Or(items) => items.iter().any(|plan| eval(plan, item)),
        Plan::Not(plan) => !eval(plan, item),
        Plan::Match { path, leaf, test } => descend(path, leaf, test, item),
    }
}

fn descend(path: &[Step], leaf: &Leaf, test: &Test, item: &dyn Fields) -> bool {
    let Some((step, rest)) = path.split_first() else {
        return ask(leaf, test, item);
    };
    match step {
        Step::Each(name) => match item.field(name) {
            Field::Absent => absent(test),
            _ => item.each(name, &mut |below| descend(rest, leaf, test, below)),
        },
        Step::Entry(name, key) => item
            .entry(name, key, &mut |below| descend(rest, leaf, test, below))
            .unwrap_or_else(|| absent(test)),
    }
}

fn ask(leaf: &Leaf, test: &Test, item: &dyn Fields) -> bool {
    match leaf {
        Leaf::Field(name) => answer(item.field(name), test),
        Leaf::Entry(name, key) => match item.field(name) {
            Field::StrMap(map) => map
                .value(key)
                .map_or_else(|| absent(test), |v| answer(Field::Str(v), test)),
            _ => absent(test),
        },
        Leaf::Map(name) => match test {
            Test::Has { value, negate } => {
                item.entry(name, value, &mut |_| false).is_some() != *negate
            }
            _ => answer(item.field(name), test),
        },
    }
}

fn answer(field: Field<'_>, test: &Test) -> bool {
    if let Field::Ascii(bytes) = field {
        return answer(
            Field::Str(std::str::from_utf8(&bytes).unwrap_or_default()),
            test,
        );
    }
    match (test, field) {
        (Test::Str { value, negate }, Field::Str(is)) => (is == value) != *negate,
        (Test::Bool { value, negate }, Field::Bool(is)) => (is == *value) != *negate,
        (Test::Int { value, negate }, Field::Int(is)) => (is == *value) != *negate,
        (Test::Regexp { regexp, negate }, Field::Str(is)) => regexp.is_match(is) != *negate,
        (Test::Has { value, negate }, Field::Str(is)) => is.contains(value.as_str()) != *negate,
        (Test::Has { value, negate }, Field::StrList(list)) => list.has(value) != *negate,
        (Test::Has { value, negate }, Field::StrMap(map)) => map.value(value).is_some() != *negate,
        (Test::Empty { negate }, Field::StrList(list)) => list.none() != *negate,
        (Test::Empty { negate }, Field::StrMap(map)) => map.none() != *negate,
        (Test::Empty { negate }, Field::Structs(count)) => (count == 0) != *negate,
        _ => absent(test),
    }
}

/// The answer when there is no value to ask.
fn absent(test: &Test) -> bool {
    match test {
        Test::Str { negate, .. }
        | Test::Bool { negate, .. }
        | Test::Int { negate, .. }
        | Test::Has { negate, .. } => *negate,
        Test::Empty { negate } => !negate,
        Test::Regexp { .. } => true,
    }
}
