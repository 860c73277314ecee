//! Connections per client address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Counts connections; entries vanish with the last connection of an address.
#[derive(Clone, Default)]
pub(crate) struct Limiter(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// 0 is no limit.
    max: AtomicUsize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// Holds a place; gives it back when dropped.
pub(crate) struct Place {
    limiter: Limiter,
    addr: IpAddr,
}

impl Limiter {
    /// With a limit; 0 is none.
    pub(crate) fn new(max: usize) -> Limiter {
        let limiter = Limiter::default();
        limiter.set_max(max);
        limiter
    }

    /// Changes the limit for later connections.
    pub(crate) fn set_max(&self, max: usize) {
        self.0.max.store(max, Ordering::Relaxed);
    }

    /// A place for a connection, or `None` if the address has as many as it may.
    pub(crate) fn enter(&self, addr: IpAddr) -> Option<Place> {
        let max = self.0.max.load(Ordering::Relaxed);
        let mut open = self.0.open.lock();
        let count = open.entry(addr).or_insert(0);
        if max != 0 && *count >= max {
            return None;
        }
        *count += 1;
        Some(Place {
            limiter: self.clone(),
            addr,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.limiter.0.open.lock();
        if let Some(count) = open.get_mut(&self.addr) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.addr);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_as_many_places_as_the_limit_and_leaves_nothing_behind() {
        let limiter = Limiter::new(2);
        let (a, b) = (IpAddr::from([1, 1, 1, 1]), IpAddr::from([2, 2, 2, 2]));
        let held = [limiter.enter(a).unwrap(), limiter.enter(a).unwrap()];
        assert!(limiter.enter(a).is_none());
        assert!(limiter.enter(b).is_some());
        drop(held);
        assert!(limiter.0.open.lock().is_empty());
        limiter.set_max(0);
        let many: Vec<_> = (0..500).filter_map(|_| limiter.enter(a)).collect();
        assert_eq!(many.len(), 500);
    }
}
