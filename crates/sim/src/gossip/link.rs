//! The network between agents: delay, loss, duplication, and who cannot reach whom.
//!
//! A cut has a direction: datagrams from one set of nodes to another vanish. A stream needs both directions.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

/// What happens to one datagram or segment between two hosts. The same for all pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Shortest way of a datagram.
    pub delay_min: Duration,
    /// Mean of the exponentially distributed time above the shortest; datagrams overtake one another by it.
    pub delay_extra: Duration,
    /// Share of datagrams that vanish, 0 to 1.
    pub loss: f64,
    /// Share of datagrams that arrive twice, 0 to 1.
    pub duplication: f64,
    /// Bytes per second of a stream.
    pub stream_rate: f64,
    /// What a lost segment costs a stream.
    pub stream_resend: Duration,
}

impl Link {
    /// A datacenter: 0.1 ms and more, 0.3 ms on average, 1 Gbit/s, nothing lost.
    pub fn lan() -> Link {
        Link {
            delay_min: Duration::from_micros(100),
            delay_extra: Duration::from_micros(200),
            loss: 0.0,
            duplication: 0.0,
            stream_rate: 125e6,
            stream_resend: Duration::from_millis(200),
        }
    }

    /// The same with this share of datagrams lost.
    pub fn with_loss(self, loss: f64) -> Link {
        Link { loss, ..self }
    }

    /// One way of one datagram.
    pub(crate) fn delay(&self, rng: &mut SmallRng) -> Duration {
        let unit: f64 = rng.random();
        // Capped at ten times the mean: no datagram is older than that.
        let extra = (-(1.0 - unit).ln()).min(10.0);
        self.delay_min + self.delay_extra.mul_f64(extra)
    }

    /// One way of a message on a stream, after `trips` more ways for its set-up; lost segments are sent again.
    pub(crate) fn stream_delay(&self, rng: &mut SmallRng, trips: u32, bytes: usize) -> Duration {
        let mut sum = Duration::from_secs_f64(bytes as f64 / self.stream_rate);
        for _ in 0..=trips {
            sum += self.delay(rng);
            if self.loss > 0.0 && rng.random_bool(self.loss) {
                sum += self.stream_resend;
            }
        }
        sum
    }
}

/// A set of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nodes {
    /// Every node, later ones included.
    All,
    /// These.
    Only(BTreeSet<usize>),
    /// All others.
    Except(BTreeSet<usize>),
}

impl Nodes {
    /// One node.
    pub fn one(node: usize) -> Nodes {
        Nodes::Only(BTreeSet::from([node]))
    }

    /// These nodes.
    pub fn of(nodes: impl IntoIterator<Item = usize>) -> Nodes {
        Nodes::Only(nodes.into_iter().collect())
    }

    /// All but these.
    pub fn but(nodes: impl IntoIterator<Item = usize>) -> Nodes {
        Nodes::Except(nodes.into_iter().collect())
    }

    /// True if the node is in the set.
    pub fn contains(&self, node: usize) -> bool {
        match self {
            Nodes::All => true,
            Nodes::Only(set) => set.contains(&node),
            Nodes::Except(set) => !set.contains(&node),
        }
    }
}

/// A direction in which nothing passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Datagrams of these
    pub from: Nodes,
    /// do not reach those.
    pub to: Nodes,
}

impl Cut {
    /// Hears everybody, is heard by nobody.
    pub fn mute(node: usize) -> Cut {
        Cut {
            from: Nodes::one(node),
            to: Nodes::All,
        }
    }

    /// Is heard by everybody, hears nobody.
    pub fn deaf(node: usize) -> Cut {
        Cut {
            from: Nodes::All,
            to: Nodes::one(node),
        }
    }

    /// True if a datagram on this way vanishes.
    pub fn blocks(&self, from: usize, to: usize) -> bool {
        self.from.contains(from) && self.to.contains(to)
    }

    /// True if the node loses what it sends to, or what it should hear from, some other node.
    pub fn touches(&self, node: usize) -> bool {
        self.from.contains(node) || self.to.contains(node)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_cut_has_one_direction() {
        let cut = Cut {
            from: Nodes::of([1, 2]),
            to: Nodes::but([1, 2]),
        };
        // (from, to, blocked)
        for (from, to, want) in [
            (1, 3, true),
            (2, 9, true),
            (3, 1, false),
            (1, 2, false),
            (3, 4, false),
        ] {
            assert_eq!(cut.blocks(from, to), want, "{from} to {to}");
        }
        assert!(Cut::mute(4).blocks(4, 0) && !Cut::mute(4).blocks(0, 4));
        assert!(Cut::deaf(4).blocks(0, 4) && !Cut::deaf(4).blocks(4, 0));
    }

    #[test]
    fn delays_have_the_asked_minimum_and_mean() {
        let link = Link::lan();
        let mut rng = SmallRng::seed_from_u64(1);
        let all: Vec<Duration> = (0..20_000).map(|_| link.delay(&mut rng)).collect();
        let mean = all.iter().sum::<Duration>() / 20_000;
        assert!(all.iter().all(|d| *d >= link.delay_min));
        assert!(
            mean > Duration::from_micros(290) && mean < Duration::from_micros(310),
            "{mean:?}"
        );
    }
}
