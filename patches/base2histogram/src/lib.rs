//! A stand-in for the crate of this name, which the consensus library uses for its own statistics.
//!
//! The original builds lookup tables for sixteen resolutions at first use, 24 MB that are never freed: more than the rest
//! of an idle server. This one has the part of its interface that is used, written for this project: 65 buckets of
//! powers of two and no tables. Percentiles are therefore upper bounds within a factor of two.
//! See docs/decisions/0001-openraft-behind-a-facade.md.

use std::fmt;
use std::marker::PhantomData;

/// Counts values by their power of two. 536 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    buckets: [u64; 65],
    samples: u64,
    marker: PhantomData<T>,
}

/// Percentiles of the recorded values; 0 without any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PercentileStats {
    /// Values recorded.
    pub samples: u64,
    /// 0.1st percentile.
    pub p0_1: u64,
    /// 1st percentile.
    pub p1: u64,
    /// 5th percentile.
    pub p5: u64,
    /// 10th percentile.
    pub p10: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "n={} p50={} p90={} p99={} p99.9={}",
            self.samples, self.p50, self.p90, self.p99, self.p99_9
        )
    }
}

impl<T> Histogram<T> {
    /// Without values.
    pub fn new() -> Self {
        Self {
            buckets: [0; 65],
            samples: 0,
            marker: PhantomData,
        }
    }

    /// Records a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Records a value `n` times.
    pub fn record_n(&mut self, value: u64, n: u64) {
        let bits = (u64::BITS - value.leading_zeros()) as usize;
        self.buckets[bits] = self.buckets[bits].saturating_add(n);
        self.samples = self.samples.saturating_add(n);
    }

    /// The usual percentiles.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.samples,
            p0_1: self.percentile(1),
            p1: self.percentile(10),
            p5: self.percentile(50),
            p10: self.percentile(100),
            p50: self.percentile(500),
            p90: self.percentile(900),
            p99: self.percentile(990),
            p99_9: self.percentile(999),
        }
    }

    /// The largest value of the bucket in which the given share (in thousandths) is reached.
    fn percentile(&self, permille: u64) -> u64 {
        let wanted = (u128::from(self.samples) * u128::from(permille)).div_ceil(1000);
        let mut seen = 0u128;
        for (bits, count) in self.buckets.iter().enumerate() {
            seen += u128::from(*count);
            if *count > 0 && seen >= wanted {
                return if bits == 0 {
                    0
                } else {
                    u64::MAX >> (64 - bits)
                };
            }
        }
        0
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Histogram<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("stats", &self.percentile_stats())
            .finish()
    }
}

/// Named histograms as lines of text.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    rows: Vec<(String, PercentileStats)>,
}

impl AsciiChart {
    /// Without rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row.
    #[must_use]
    pub fn add(mut self, name: impl Into<String>, histogram: Histogram) -> Self {
        self.rows.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, stats) in &self.rows {
            writeln!(f, "{name}: {stats}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_bound_the_values_within_a_factor_of_two() {
        let mut histogram = Histogram::<()>::new();
        for value in 1..=1000 {
            histogram.record(value);
        }
        let stats = histogram.percentile_stats();
        assert_eq!(stats.samples, 1000);
        assert!((500..1000).contains(&stats.p50), "{stats:?}");
        assert!((990..1980).contains(&stats.p99), "{stats:?}");
    }

    #[test]
    fn extremes_have_their_buckets() {
        let mut histogram = Histogram::<()>::new();
        histogram.record(0);
        assert_eq!(histogram.percentile_stats().p99, 0);
        histogram.record_n(u64::MAX, 10);
        assert_eq!(histogram.percentile_stats().p99, u64::MAX);
    }
}
