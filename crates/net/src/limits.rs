//! Connections per peer address, and log lines about what strangers do.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tribune_types::time::Mono;

/// Counts the open connections of each address.
#[derive(Clone)]
pub(crate) struct PerAddress {
    max: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One counted connection; dropping it gives the place back.
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

    /// Counts a new connection, or refuses it.
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
    fn one_line_in_half_a_minute() {
        let hush = Hush::default();
        // (second, said)
        let cases = [(0, Some(0)), (1, None), (29, None), (30, Some(2)), (59, None)];
        for (second, said) in cases {
            assert_eq!(hush.speak(Mono(second * 1_000_000_000)), said, "{second}");
        }
    }
}
