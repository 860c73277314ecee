//! Network coordinates: where this node is in the space of round-trip times (gossip.md section 8).
//!
//! In: a round trip and the coordinate of the other side. Out: the own coordinate, moved as if springs hung between the
//! nodes. The order of the floating-point operations is part of the rules: it reproduces the positions of Consul's
//! agents bit by bit.

use std::time::Duration;

use tribune_types::coordinate::{Coordinate, DIMENSIONS};

/// Largest error, and the one at the start.
const ERROR_MAX: f64 = 1.5;
/// How much an observation changes the error.
const CE: f64 = 0.25;
/// How much an observation moves the coordinate.
const CC: f64 = 0.25;
/// Samples of the adjustment.
const WINDOW: usize = 20;
/// Smallest height.
const HEIGHT_MIN: f64 = 1.0e-5;
/// Pull towards the origin.
const RHO: f64 = 150.0;
/// What counts as zero.
const ZERO: f64 = 1.0e-6;
/// Longest round trip that is believed.
const RTT_MAX: Duration = Duration::from_secs(10);
/// Samples per node of which the median counts.
const FILTER: usize = 3;

/// Why a measurement is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// The coordinate has other dimensions.
    Dimensions,
    /// The coordinate has parts that are no finite numbers.
    NotFinite,
    /// The round trip took more than 10 s.
    RoundTrip,
}

/// The last round trips to one node.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Latencies {
    /// Nanoseconds, oldest first.
    samples: [u64; FILTER],
    count: u8,
}

impl Latencies {
    /// Adds a round trip; the median of the last three, in seconds.
    fn add(&mut self, rtt: Duration) -> f64 {
        if usize::from(self.count) == FILTER {
            self.samples.rotate_left(1);
            self.count -= 1;
        }
        self.samples[usize::from(self.count)] = nanos(rtt);
        self.count += 1;
        let mut sorted = self.samples;
        let sorted = &mut sorted[..usize::from(self.count)];
        sorted.sort_unstable();
        seconds(sorted[sorted.len() / 2])
    }
}

/// The own coordinate and what it is made from.
#[derive(Debug)]
pub(crate) struct Client {
    position: Coordinate,
    samples: [f64; WINDOW],
    at: usize,
    resets: u64,
}

impl Client {
    /// At the origin.
    pub(crate) fn new() -> Client {
        Client {
            position: Coordinate::default(),
            samples: [0.0; WINDOW],
            at: 0,
            resets: 0,
        }
    }

    /// Where we are.
    pub(crate) fn position(&self) -> &Coordinate {
        &self.position
    }

    /// How often the coordinate became unusable and started anew.
    pub(crate) fn resets(&self) -> u64 {
        self.resets
    }

    /// Takes a round trip to a node at `other`; by how much the own coordinate moved.
    ///
    /// `random` gives numbers from 0 to 1, exclusive; it is needed for nodes at the same place.
    pub(crate) fn update(
        &mut self,
        latencies: &mut Latencies,
        other: &Coordinate,
        rtt: Duration,
        random: &mut dyn FnMut() -> f64,
    ) -> Result<Duration, Rejected> {
        if !self.position.is_compatible(other) {
            return Err(Rejected::Dimensions);
        }
        if !other.is_valid() {
            return Err(Rejected::NotFinite);
        }
        if rtt > RTT_MAX {
            return Err(Rejected::RoundTrip);
        }
        let before = self.position.clone();
        let rtt = latencies.add(rtt);
        self.observe(other, rtt, random);
        self.adjust(other, rtt);
        self.gravitate(random);
        if !self.position.is_valid() {
            self.resets += 1;
            self.position = Coordinate::default();
            // A sample that is no number would make the next ones unusable, too.
            self.samples = [0.0; WINDOW];
        }
        Ok(Duration::from_nanos(distance_ns(&before, &self.position)))
    }

    fn observe(&mut self, other: &Coordinate, rtt: f64, random: &mut dyn FnMut() -> f64) {
        let distance = distance(&self.position, other);
        let rtt = rtt.max(ZERO);
        let wrongness = (distance - rtt).abs() / rtt;
        let total = (self.position.error + other.error).max(ZERO);
        let weight = self.position.error / total;
        let error = CE * weight * wrongness + self.position.error * (1.0 - CE * weight);
        // Not `min`, which would hide that the error is no number.
        self.position.error = if error > ERROR_MAX { ERROR_MAX } else { error };
        let force = CC * weight * (rtt - distance);
        apply(&mut self.position, force, other, random);
    }

    fn adjust(&mut self, other: &Coordinate, rtt: f64) {
        self.samples[self.at] = rtt - raw_distance(&self.position, other);
        self.at = (self.at + 1) % WINDOW;
        let sum: f64 = self.samples.iter().fold(0.0, |sum, sample| sum + sample);
        self.position.adjustment = sum / (2.0 * WINDOW as f64);
    }

    fn gravitate(&mut self, random: &mut dyn FnMut() -> f64) {
        let origin = Coordinate::default();
        let pull = distance(&origin, &self.position) / RHO;
        apply(&mut self.position, -(pull * pull), &origin, random);
    }
}

/// Moves a coordinate away from another by `force` seconds.
fn apply(
    position: &mut Coordinate,
    force: f64,
    other: &Coordinate,
    random: &mut dyn FnMut() -> f64,
) {
    let mut unit: Vec<f64> = position
        .vec
        .iter()
        .zip(&other.vec)
        .map(|(a, b)| a - b)
        .collect();
    let mut length = magnitude(&unit);
    if length > ZERO {
        scale(&mut unit, 1.0 / length);
    } else {
        length = 0.0;
        random_unit(&mut unit, random);
    }
    for (at, part) in position.vec.iter_mut().zip(&unit) {
        *at += part * force;
    }
    if length > ZERO {
        let height = (position.height + other.height) * force / length + position.height;
        // In this order a height that is no number stays one, and is noticed.
        position.height = if height < HEIGHT_MIN {
            HEIGHT_MIN
        } else {
            height
        };
    }
}

/// A random direction.
fn random_unit(unit: &mut [f64], random: &mut dyn FnMut() -> f64) {
    for part in unit.iter_mut() {
        *part = random() - 0.5;
    }
    let length = magnitude(unit);
    if length > ZERO {
        scale(unit, 1.0 / length);
    } else {
        unit.fill(0.0);
        if let Some(first) = unit.first_mut() {
            *first = 1.0;
        }
    }
}

fn scale(vec: &mut [f64], factor: f64) {
    for part in vec {
        *part *= factor;
    }
}

fn magnitude(vec: &[f64]) -> f64 {
    vec.iter().fold(0.0, |sum, part| sum + part * part).sqrt()
}

fn raw_distance(a: &Coordinate, b: &Coordinate) -> f64 {
    let squares = a.vec.iter().zip(&b.vec).fold(0.0, |sum, (a, b)| {
        let part = a - b;
        sum + part * part
    });
    squares.sqrt() + a.height + b.height
}

/// Estimated round trip in seconds, truncated to whole nanoseconds.
fn distance(a: &Coordinate, b: &Coordinate) -> f64 {
    seconds(distance_ns(a, b))
}

fn distance_ns(a: &Coordinate, b: &Coordinate) -> u64 {
    let raw = raw_distance(a, b);
    let adjusted = raw + a.adjustment + b.adjustment;
    let seconds = if adjusted > 0.0 { adjusted } else { raw };
    // Saturates; what is not a number becomes 0.
    (seconds * 1.0e9) as u64
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

/// Whole seconds and the rest are converted apart, which is how the rounding goes.
fn seconds(ns: u64) -> f64 {
    const SECOND: u64 = 1_000_000_000;
    (ns / SECOND) as f64 + (ns % SECOND) as f64 / 1.0e9
}

const _: () = assert!(DIMENSIONS == 8, "the wire carries eight");

#[cfg(test)]
#[path = "../tests/vectors/coordinate_updates.rs"]
mod vector;

#[cfg(test)]
mod tests {
    use super::vector::{OTHER, Place, STEPS};
    use super::*;

    fn coordinate((vec, error, adjustment, height): Place) -> Coordinate {
        Coordinate {
            vec: vec.to_vec(),
            error,
            adjustment,
            height,
        }
    }

    fn half() -> f64 {
        0.75
    }

    fn place(x: f64) -> Coordinate {
        let mut place = Coordinate::default();
        place.vec[0] = x;
        place
    }

    #[test]
    fn the_median_of_the_last_three_counts() {
        let mut latencies = Latencies::default();
        for (ms, want) in [(10, 10), (30, 30), (20, 20), (40, 30), (50, 40), (1, 40)] {
            let median = latencies.add(Duration::from_millis(ms));
            assert_eq!(median, seconds(want * 1_000_000), "after {ms}");
        }
    }

    #[test]
    fn unusable_measurements_change_nothing() {
        let mut client = Client::new();
        let mut latencies = Latencies::default();
        let mut short = place(0.1);
        short.vec.pop();
        let mut endless = place(0.1);
        endless.height = f64::INFINITY;
        let second = Duration::from_secs(1);
        // (other, round trip, why)
        for (other, rtt, why) in [
            (short, second, Rejected::Dimensions),
            (endless, second, Rejected::NotFinite),
            (place(f64::NAN), second, Rejected::NotFinite),
            (place(0.1), second * 11, Rejected::RoundTrip),
        ] {
            assert_eq!(
                client.update(&mut latencies, &other, rtt, &mut half),
                Err(why)
            );
        }
        assert_eq!(client.position(), &Coordinate::default());
        assert_eq!(latencies.count, 0);
        let moved = client.update(&mut latencies, &place(0.1), second * 10, &mut half);
        assert!(moved.is_ok_and(|moved| !moved.is_zero()));
    }

    #[test]
    fn nodes_at_one_place_move_apart_in_a_random_direction() {
        let mut client = Client::new();
        let mut latencies = Latencies::default();
        let rtt = Duration::from_millis(20);
        let same = Coordinate::default();
        client
            .update(&mut latencies, &same, rtt, &mut half)
            .expect("valid");
        let vec = &client.position().vec;
        assert!(vec.iter().all(|part| *part > 0.0 && *part == vec[0]));
        assert!(client.position().error <= ERROR_MAX);
        client = Client::new();
        client
            .update(&mut latencies, &same, rtt, &mut || 0.5)
            .expect("valid");
        assert!(client.position().vec[0] > 0.0 && client.position().vec[1] == 0.0);
    }

    #[test]
    fn absurd_coordinates_reset_the_own_one() {
        let mut client = Client::new();
        let far = place(1.0e300);
        for _ in 0..3 {
            client
                .update(
                    &mut Latencies::default(),
                    &far,
                    Duration::from_millis(1),
                    &mut half,
                )
                .expect("finite");
            assert!(client.position().is_valid());
        }
        assert!(client.resets() > 0);
        let before = client.resets();
        client
            .update(
                &mut Latencies::default(),
                &place(0.01),
                Duration::from_millis(1),
                &mut half,
            )
            .expect("finite");
        assert_eq!(client.resets(), before);
    }

    #[test]
    fn two_nodes_find_their_distance() {
        let mut clients = [Client::new(), Client::new()];
        let mut latencies = [Latencies::default(), Latencies::default()];
        for _ in 0..200 {
            for at in [0, 1] {
                let other = clients[1 - at].position().clone();
                let rtt = Duration::from_millis(40);
                clients[at]
                    .update(&mut latencies[at], &other, rtt, &mut half)
                    .expect("valid");
            }
        }
        let found = distance(clients[0].position(), clients[1].position());
        assert!((found - 0.04).abs() < 0.002, "{found}");
    }

    #[test]
    fn the_positions_of_a_real_agent_come_out_exactly() {
        let other = coordinate(OTHER);
        let mut client = Client::new();
        for (step, (rtt, want)) in STEPS.iter().enumerate() {
            // The vector has the round trips behind the filter, so each goes through a fresh one.
            let mut latencies = Latencies::default();
            let rtt = Duration::from_nanos(*rtt);
            let mut never = || -> f64 { panic!("nothing random in it") };
            client
                .update(&mut latencies, &other, rtt, &mut never)
                .expect("valid");
            assert_eq!(client.position(), &coordinate(*want), "step {step}");
        }
        assert_eq!(STEPS.len(), 10);
    }
}
