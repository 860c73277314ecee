//! A hash over the content of a state: equal on two servers exactly if they hold the same state (barring collisions).
//!
//! Depends on content only, not on how it came about. Derived tables are left out, as is the last index, which moves
//! with commands that change nothing. FNV-1a: fast enough for simulations, not meant against an adversary.

use std::fmt::{self, Write};

use crate::tables::Tables;

struct Fnv(u64);

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    fn sized(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes(bytes);
    }

    /// Hashes the debug form: complete by construction, and nothing here is large.
    fn shown(&mut self, what: &impl fmt::Debug) {
        // Writing to a hash cannot fail.
        let _ = write!(self, "{what:?};");
    }
}

impl Write for Fnv {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.bytes(s.as_bytes());
        Ok(())
    }
}

pub(crate) fn digest(tables: &Tables) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    for item in &tables.kv {
        let entry = &item.0;
        hash.sized(&entry.key);
        hash.sized(&entry.value);
        for number in [
            entry.flags,
            entry.lock_index,
            entry.create.0,
            entry.modify.0,
        ] {
            hash.number(number);
        }
        hash.shown(&entry.session);
    }
    for (key, at) in &tables.tombstones {
        hash.sized(key);
        hash.number(at.0);
    }
    hash.shown(&tables.nodes);
    hash.shown(&tables.services);
    hash.shown(&tables.checks);
    hash.shown(&tables.sessions);
    hash.shown(&tables.coordinates);
    for stored in tables.queries.values() {
        hash.shown(&stored.query);
    }
    hash.shown(&tables.autopilot);
    hash.shown(&tables.indexes);
    hash.shown(&tables.service_rows);
    hash.shown(&tables.connect_rows);
    hash.shown(&tables.other_indexes);
    for (kind, body) in tables.opaque.iter() {
        hash.number(u64::from(*kind));
        hash.sized(body);
    }
    if let Some(staging) = &tables.staging {
        hash.number(staging.id);
        for chunk in &staging.chunks {
            hash.sized(chunk);
        }
    }
    hash.number(tables.index_offset);
    hash.0
}
