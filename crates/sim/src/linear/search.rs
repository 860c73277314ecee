//! The search for an order: depth first, never the same configuration twice.
//!
//! A configuration is the set of operations placed so far and the state they lead to. An operation can come next if none
//! that is still missing ended before it started. A read or a refusal that fits is placed at once: it changes nothing
//! wherever it is, so whatever order exists from here on also exists with it at the front.

use std::collections::HashSet;

use super::model::{Model, State};

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// There is an order.
    Order,
    /// There is none.
    NoOrder,
    /// The bound on the work came first.
    GaveUp,
}

/// Operations placed, as bits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Placed(Box<[u64]>);

impl Placed {
    fn none(count: usize) -> Placed {
        Placed(vec![0; count.div_ceil(64)].into_boxed_slice())
    }

    fn has(&self, number: usize) -> bool {
        self.0[number / 64] >> (number % 64) & 1 == 1
    }

    /// A number before which everything is placed.
    fn first_missing(&self) -> usize {
        self.0.iter().take_while(|word| **word == u64::MAX).count() * 64
    }

    fn insert(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }
}

/// A configuration with the choices not yet tried.
struct Frame {
    placed: Placed,
    state: State,
    choices: Vec<(usize, State)>,
}

/// Looks for an order. Returns what it found and how many configurations it visited.
pub(super) fn search(model: &Model, steps_max: usize) -> (Found, usize) {
    let nothing = Placed::none(model.steps.len());
    // Most operations of unknown fate that nobody saw did not happen; without them the search is short.
    let mut left_out = nothing.clone();
    for (number, step) in model.steps.iter().enumerate() {
        if step.end_ns == u64::MAX && step.unseen {
            left_out.insert(number);
        }
    }
    let is_whole = left_out == nothing;
    let without = Search::new(model).run(left_out, steps_max);
    if without.0 == Found::Order || is_whole {
        return without;
    }
    let with = Search::new(model).run(nothing, steps_max);
    (with.0, without.1 + with.1)
}

struct Search<'a> {
    model: &'a Model,
    seen: HashSet<(Placed, State)>,
    steps: usize,
}

impl<'a> Search<'a> {
    fn new(model: &'a Model) -> Self {
        Search {
            model,
            seen: HashSet::new(),
            steps: 0,
        }
    }

    /// Searches from a configuration in which some operations count as placed: those that never happen.
    fn run(mut self, first: Placed, steps_max: usize) -> (Found, usize) {
        let mut stack = Vec::new();
        match self.enter(first, State::default()) {
            None => return (Found::Order, self.steps),
            Some(frame) => stack.push(frame),
        }
        while let Some(frame) = stack.last_mut() {
            let Some((number, state)) = frame.choices.pop() else {
                stack.pop();
                continue;
            };
            let mut placed = frame.placed.clone();
            placed.insert(number);
            if self.steps >= steps_max {
                return (Found::GaveUp, self.steps);
            }
            match self.enter(placed, state) {
                None => return (Found::Order, self.steps),
                Some(frame) if frame.choices.is_empty() => {}
                Some(frame) => {
                    if self
                        .seen
                        .insert((frame.placed.clone(), frame.state.clone()))
                    {
                        stack.push(frame);
                    }
                }
            }
        }
        (Found::NoOrder, self.steps)
    }

    /// Places what changes nothing, then lists the choices. `None` if everything with an answer is placed.
    fn enter(&mut self, mut placed: Placed, state: State) -> Option<Frame> {
        loop {
            self.steps += 1;
            let candidates = self.candidates(&placed)?;
            let mut choices: Vec<(usize, State)> = Vec::new();
            let mut free = false;
            for number in candidates {
                let is_like = |(other, _): &(usize, State)| self.model.are_alike(*other, number);
                if choices.iter().any(is_like) {
                    continue;
                }
                let Some(next) = self.model.step(&state, number) else {
                    continue;
                };
                if self.model.is_pure(number) {
                    placed.insert(number);
                    free = true;
                } else {
                    choices.push((number, next));
                }
            }
            if free {
                continue;
            }
            // The one that ends first is tried first; those of unknown fate last.
            choices.sort_by_key(|(number, _)| std::cmp::Reverse(self.model.steps[*number].end_ns));
            return Some(Frame {
                placed,
                state,
                choices,
            });
        }
    }

    /// The operations that may come next; `None` if only such are missing that need not happen.
    fn candidates(&self, placed: &Placed) -> Option<Vec<usize>> {
        let mut first_end = u64::MAX;
        let mut open = Vec::new();
        let steps = self.model.steps.iter().enumerate();
        for (number, step) in steps.skip(placed.first_missing()) {
            if step.start_ns > first_end {
                break;
            }
            if placed.has(number) {
                continue;
            }
            first_end = first_end.min(step.end_ns);
            open.push(number);
        }
        if first_end == u64::MAX {
            return None;
        }
        open.retain(|number| self.model.steps[*number].start_ns <= first_end);
        Some(open)
    }
}
