//! A limit on requests per second: a bucket that fills at the rate and holds a burst.
//!
//! In: the time of each request. Out: whether it may go. No request ever waits here.

use tribune_types::time::Mono;

/// See the module. Without a rate everything may go.
#[derive(Debug, Clone)]
pub struct RateLimit {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Option<Mono>,
}

impl RateLimit {
    /// `per_second` requests, and `burst` at once after a pause. `None` is no limit.
    pub fn new(per_second: Option<f64>, burst: u32) -> RateLimit {
        let burst = f64::from(burst);
        RateLimit {
            per_second: per_second.unwrap_or(f64::INFINITY),
            burst,
            tokens: burst,
            at: None,
        }
    }

    /// Takes new limits in; what is in the bucket stays, up to the new burst.
    pub fn set(&mut self, per_second: Option<f64>, burst: u32) {
        let burst = f64::from(burst);
        if self.per_second.is_infinite() {
            self.tokens = burst;
        }
        self.per_second = per_second.unwrap_or(f64::INFINITY);
        self.burst = burst;
        self.tokens = self.tokens.min(burst);
    }

    /// True if a request may go now.
    pub fn admit(&mut self, now: Mono) -> bool {
        if self.per_second.is_infinite() {
            return true;
        }
        let passed_ns = self.at.map_or(0, |at| now.0.saturating_sub(at.0));
        self.at = Some(now);
        self.tokens = (self.tokens + passed_ns as f64 / 1e9 * self.per_second).min(self.burst);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_and_then_the_rate() {
        let mut limit = RateLimit::new(Some(2.0), 3);
        let admitted = |limit: &mut RateLimit, at_ms: u64| limit.admit(Mono(at_ms * 1_000_000));
        // (time in ms, want)
        for (at, want) in [
            (0, true),
            (0, true),
            (0, true),
            (0, false),
            (499, false),
            (500, true),
            (500, false),
            (60_000, true),
            (60_000, true),
            (60_000, true),
            (60_000, false),
        ] {
            assert_eq!(admitted(&mut limit, at), want, "at {at}");
        }
        limit.set(None, 1);
        assert!((0..100).all(|_| admitted(&mut limit, 60_000)));
        limit.set(Some(0.0), 1);
        assert!(admitted(&mut limit, 60_000));
        assert!(!admitted(&mut limit, 90_000));
    }
}
