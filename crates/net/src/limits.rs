//! Connections per peer address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

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
}
