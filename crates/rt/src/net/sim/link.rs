//! What a link does to what it carries.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

/// A link's delay, losses and speed, in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkFaults {
    /// Time from one end to the other. Default 0.5 ms.
    pub delay: Duration,
    /// Up to this much more, drawn for each datagram: they overtake each other. Default 0.
    pub jitter: Duration,
    /// Chance in a million that a datagram is lost; on TCP it is sent again later. Default 0.
    pub loss_per_million: u32,
    /// Chance in a million that a datagram arrives twice. Default 0.
    pub duplicate_per_million: u32,
    /// Bytes per second; `None` is endless. Default `None`. Datagrams that would wait longer than a second are lost.
    pub bandwidth: Option<u64>,
}

impl Default for LinkFaults {
    fn default() -> Self {
        Self {
            delay: Duration::from_micros(500),
            jitter: Duration::ZERO,
            loss_per_million: 0,
            duplicate_per_million: 0,
            bandwidth: None,
        }
    }
}

/// Bytes beside the payload of a packet, for links of limited speed.
const HEADER_SIZE_BYTES: u64 = 40;

/// One direction between two hosts.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// `None` is the network's default.
    pub(super) faults: Option<LinkFaults>,
    pub(super) cut: bool,
    /// When the last packet is on its way, where the speed is limited.
    pub(super) busy_until_ns: u64,
}

pub(super) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl LinkFaults {
    /// Delay and jitter of one packet.
    pub(super) fn draw_delay_ns(&self, rng: &mut SmallRng) -> u64 {
        let jitter = ns(self.jitter);
        let extra = if jitter == 0 {
            0
        } else {
            rng.random_range(0..=jitter)
        };
        ns(self.delay).saturating_add(extra)
    }

    pub(super) fn draws_loss(&self, rng: &mut SmallRng) -> bool {
        self.loss_per_million > 0 && rng.random_range(0..1_000_000) < self.loss_per_million
    }

    pub(super) fn draws_duplicate(&self, rng: &mut SmallRng) -> bool {
        self.duplicate_per_million > 0
            && rng.random_range(0..1_000_000) < self.duplicate_per_million
    }

    /// Time that a packet of `len` bytes keeps the link busy.
    pub(super) fn busy_ns(&self, len: usize) -> u64 {
        match self.bandwidth {
            None => 0,
            Some(bandwidth) => (len as u64)
                .saturating_add(HEADER_SIZE_BYTES)
                .saturating_mul(1_000_000_000)
                .div_ceil(bandwidth.max(1)),
        }
    }
}
