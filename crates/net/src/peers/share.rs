//! What the peer connections of one address may have: how many there are, and the memory of large messages.
//!
//! Requests up to [`LARGE`] are bounded by the number of connections. Whoever sends larger ones draws on the share of its
//! address, for all of the message before its bytes are read; so two half-sent messages cannot wait for each other.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// Larger messages draw on the share.
pub(super) const LARGE: usize = 256 << 10;
/// The share of one address, in KiB.
const SHARE_KIB: usize = 128 << 10;

/// The shares of all addresses with connections.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<BTreeMap<IpAddr, Weak<Semaphore>>>);

impl Shares {
    /// The share of `addr`, counted in KiB.
    pub(super) fn of(&self, addr: IpAddr) -> Arc<Semaphore> {
        let mut shares = self.0.lock();
        if let Some(share) = shares.get(&addr).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(SHARE_KIB));
        shares.insert(addr, Arc::downgrade(&share));
        share
    }
}

/// What a message of this many bytes draws.
pub(super) fn drawn_kib(len: u32) -> u32 {
    len.div_ceil(1 << 10)
}

const _: () = assert!(super::frame::MESSAGE_MAX >> 10 <= SHARE_KIB);
