//! A hash of a service's content, so that readers can wait for it to change.
//!
//! Opaque to clients and compared only with hashes of the same agent process, so neither the algorithm (64-bit FNV-1a
//! over the shown form of the fields) nor its stability over versions is part of the interface.

use std::fmt::{self, Write};

use tribune_types::catalog::Service;
use tribune_types::id::Index;
use tribune_types::text::{Text, text};

/// Hash of everything a client sees of a service, but for the indexes.
pub fn content_hash(service: &Service) -> Text {
    let mut shown = service.clone();
    (shown.create, shown.modify) = (Index(0), Index(0));
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    // Writing into a hash cannot fail.
    let _ = write!(hash, "{shown:?}");
    text(&format!("{:x}", hash.0))
}

struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for byte in s.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_the_content_and_not_the_indexes() {
        let service = Service {
            name: text("web"),
            port: 80,
            ..Service::default()
        };
        let moved = Service {
            modify: Index(7),
            ..service.clone()
        };
        let changed = Service {
            port: 81,
            ..service.clone()
        };
        assert_eq!(content_hash(&service), content_hash(&moved));
        assert_ne!(content_hash(&service), content_hash(&changed));
    }
}
