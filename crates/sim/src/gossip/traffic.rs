//! What agents send, by seconds of virtual time.

use std::ops::{AddAssign, Range};

use tribune_types::time::Mono;

/// Sums over all agents. Sizes as in the sibling module `size`: before compression, without IP headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datagrams.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Exchanges of states begun.
    pub exchanges: u64,
    /// Their bytes, both directions.
    pub exchange_bytes: u64,
    /// Probes over streams begun.
    pub stream_pings: u64,
}

impl AddAssign for Sent {
    fn add_assign(&mut self, other: Sent) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.exchanges += other.exchanges;
        self.exchange_bytes += other.exchange_bytes;
        self.stream_pings += other.stream_pings;
    }
}

/// Counters per second.
#[derive(Debug, Default)]
pub struct Traffic {
    seconds: Vec<Sent>,
}

impl Traffic {
    /// The counters of a moment.
    pub(crate) fn at(&mut self, now: Mono) -> &mut Sent {
        let second = (now.0 / 1_000_000_000) as usize;
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, Sent::default());
        }
        &mut self.seconds[second]
    }

    /// Sum of these seconds.
    pub fn sum(&self, seconds: Range<usize>) -> Sent {
        let mut sum = Sent::default();
        for one in self.seconds.iter().skip(seconds.start).take(seconds.len()) {
            sum += *one;
        }
        sum
    }

    /// The second of these with the most datagrams.
    pub fn peak(&self, seconds: Range<usize>) -> Sent {
        self.seconds
            .iter()
            .skip(seconds.start)
            .take(seconds.len())
            .copied()
            .max_by_key(|sent| sent.packets)
            .unwrap_or_default()
    }
}
