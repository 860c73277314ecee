//! Limits per peer address, and log lines about what strangers do.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tribune_types::time::Mono;

/// Counts the open connections, or streams, of each address.
#[derive(Clone)]
pub(crate) struct PerAddress {
    max: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One counted place; dropping it gives it back.
pub(crate) struct Permit {
    addr: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl PerAddress {
    /// At most `max` each; 0 is no limit.
    pub(crate) fn new(max: usize) -> PerAddress {
        PerAddress {
            max,
            open: Arc::default(),
        }
    }

    /// Counts one more, or refuses it.
    pub(crate) fn admit(&self, addr: IpAddr) -> Option<Permit> {
        let mut open = self.open.lock();
        let count = open.entry(addr).or_default();
        if self.max > 0 && *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Permit {
            addr,
            open: Arc::clone(&self.open),
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Some(count) = open.get_mut(&self.addr) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.addr);
            }
        }
    }
}

/// What all connections of an address share, for as long as there is one.
#[derive(Debug)]
pub(crate) struct ByAddress<T>(Mutex<HashMap<IpAddr, Weak<T>>>);

impl<T> Default for ByAddress<T> {
    fn default() -> ByAddress<T> {
        ByAddress(Mutex::default())
    }
}

impl<T> ByAddress<T> {
    /// The share of `addr`, made if there is none.
    pub(crate) fn share(&self, addr: IpAddr, make: impl FnOnce() -> T) -> Arc<T> {
        let mut shares = self.0.lock();
        if let Some(share) = shares.get(&addr).and_then(Weak::upgrade) {
            return share;
        }
        if shares.len() == shares.capacity() {
            shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(make());
        shares.insert(addr, Arc::downgrade(&share));
        share
    }
}

/// Lets one line through in a while, and counts those that it kept back.
#[derive(Debug, Default)]
pub(crate) struct Hush(Mutex<(Option<Mono>, u64)>);

/// Time between two lines.
const HUSHED: Duration = Duration::from_secs(30);

impl Hush {
    /// The number of lines kept back since the last one, or `None` if this one is kept back too.
    pub(crate) fn speak(&self, now: Mono) -> Option<u64> {
        let mut state = self.0.lock();
        if state.0.is_some_and(|last| now < last + HUSHED) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn an_address_gets_its_places_back() {
        let limit = PerAddress::new(1);
        let addr = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let first = limit.admit(addr);
        assert!(first.is_some());
        assert!(limit.admit(addr).is_none());
        drop(first);
        assert!(limit.admit(addr).is_some());
        assert!(limit.open.lock().len() <= 1);
    }

    #[test]
    fn a_share_lives_as_long_as_a_connection_has_it() {
        let shares = ByAddress::default();
        let addr = |last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        let first = shares.share(addr(1), || 1);
        assert_eq!(*shares.share(addr(1), || 2), 1);
        drop(first);
        assert_eq!(*shares.share(addr(1), || 3), 3);
        for last in 0..=255 {
            shares.share(addr(last), || 0);
        }
        assert!(shares.0.lock().len() < 100, "what is gone is forgotten");
    }

    #[test]
    fn one_line_in_half_a_minute() {
        let hush = Hush::default();
        // (second, said)
        let cases = [
            (0, Some(0)),
            (1, None),
            (29, None),
            (30, Some(2)),
            (59, None),
        ];
        for (second, said) in cases {
            assert_eq!(hush.speak(Mono(second * 1_000_000_000)), said, "{second}");
        }
    }
}
