//! From names to slots of the node table, in 4 bytes a cell.
//!
//! Open addressing with linear probing, at most 7/8 full, so 4.6 to 9.2 bytes per name. Names are not stored: a cell
//! holds the slot, and 8 bits of the hash that spare most looks at the slot's name. Removal closes the gap, so there are
//! no tombstones.
//!
//! ```text
//! cell (u32)   | 8 bits of the hash | slot, 24 bits |     all ones: empty
//! ```
//!
//! The hash is keyed by the pool's seed, so that a stranger cannot choose names that all fall into one place.

/// Slots that can be told apart; also the largest table.
pub(crate) const SLOTS_MAX: usize = (1 << 24) - 1;

const EMPTY: u32 = u32::MAX;
const SLOT_MASK: u32 = (1 << 24) - 1;

/// Where the name of a slot is found.
pub trait Names {
    /// The name of a slot that was inserted and not removed.
    fn name(&self, slot: u32) -> &str;
}

/// The index.
#[derive(Debug)]
pub struct NameIndex {
    /// Empty, or a power of two of cells.
    cells: Vec<u32>,
    len: usize,
    key: u64,
}

impl NameIndex {
    /// An empty index. Does not allocate.
    pub fn new(key: u64) -> NameIndex {
        NameIndex {
            cells: Vec::new(),
            len: 0,
            key,
        }
    }

    /// Number of names.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes in use by the cells.
    pub fn size_bytes(&self) -> usize {
        self.cells.capacity() * size_of::<u32>()
    }

    /// The slot of a name.
    pub fn find(&self, name: &str, names: &impl Names) -> Option<u32> {
        self.cell_of(name, names)
            .map(|at| self.cells[at] & SLOT_MASK)
    }

    /// Adds a name that is not there. `slot` must be below 2^24 - 1, and `names` know it already.
    pub fn insert(&mut self, slot: u32, names: &impl Names) {
        assert!((slot as usize) < SLOTS_MAX, "slot number out of range");
        debug_assert!(self.find(names.name(slot), names).is_none());
        self.reserve(self.len + 1, names);
        self.place(slot, names);
        self.len += 1;
    }

    /// Removes a name, which `names` must still know.
    pub fn remove(&mut self, name: &str, names: &impl Names) {
        let Some(mut hole) = self.cell_of(name, names) else {
            return;
        };
        let mask = self.cells.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let cell = self.cells[at];
            if cell == EMPTY {
                break;
            }
            // A later cell of the run moves into the hole unless that would put it before its home.
            let home = self.hash(names.name(cell & SLOT_MASK)) as usize & mask;
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.cells[hole] = cell;
                hole = at;
            }
        }
        self.cells[hole] = EMPTY;
        self.len -= 1;
    }

    /// Makes room for `len` names in all.
    pub fn reserve(&mut self, len: usize, names: &impl Names) {
        // At most 7/8 full; at least one cell stays empty, which ends every search.
        let wanted = (len + len / 7 + 1).next_power_of_two().max(8);
        if wanted <= self.cells.len() {
            return;
        }
        let old = std::mem::replace(&mut self.cells, vec![EMPTY; wanted]);
        for cell in old.into_iter().filter(|&cell| cell != EMPTY) {
            self.place(cell & SLOT_MASK, names);
        }
    }

    fn place(&mut self, slot: u32, names: &impl Names) {
        let hash = self.hash(names.name(slot));
        let mask = self.cells.len() - 1;
        let mut at = hash as usize & mask;
        while self.cells[at] != EMPTY {
            at = (at + 1) & mask;
        }
        self.cells[at] = tag(hash) | slot;
    }

    fn cell_of(&self, name: &str, names: &impl Names) -> Option<usize> {
        let mask = self.cells.len().checked_sub(1)?;
        let hash = self.hash(name);
        let tag = tag(hash);
        let mut at = hash as usize & mask;
        loop {
            let cell = self.cells[at];
            if cell == EMPTY {
                return None;
            }
            if cell & !SLOT_MASK == tag && names.name(cell & SLOT_MASK) == name {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    /// A keyed hash of 8 bytes a step: multiply to 128 bits and fold.
    fn hash(&self, name: &str) -> u64 {
        const A: u64 = 0x9e37_79b9_7f4a_7c15;
        const B: u64 = 0xd1b5_4a32_d192_ed03;
        let mut state = fold(self.key ^ A, name.len() as u64 ^ B);
        let mut chunks = name.as_bytes().chunks_exact(8);
        for chunk in &mut chunks {
            let word = chunk.try_into().map_or(0, u64::from_le_bytes);
            state = fold(state ^ word, self.key ^ B);
        }
        let mut last = [0; 8];
        let rest = chunks.remainder();
        last[..rest.len()].copy_from_slice(rest);
        fold(
            state ^ u64::from_le_bytes(last),
            self.key.rotate_left(32) ^ A,
        )
    }
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32 & !SLOT_MASK
}

fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    wide as u64 ^ (wide >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    struct List(Vec<String>);

    impl Names for List {
        fn name(&self, slot: u32) -> &str {
            &self.0[slot as usize]
        }
    }

    #[test]
    fn ten_thousand_names_cost_at_most_nine_bytes_each() {
        let names = List((0..10_000).map(|n| format!("node-{n}")).collect());
        let mut index = NameIndex::new(1);
        for slot in 0..10_000 {
            index.insert(slot, &names);
        }
        assert!(index.size_bytes() <= 90_000, "{}", index.size_bytes());
        for slot in 0..10_000 {
            assert_eq!(index.find(names.name(slot), &names), Some(slot));
        }
        assert_eq!(index.find("node-10000", &names), None);
    }

    #[test]
    fn names_spread_over_the_cells() {
        // With an even spread and a load of 0.61 the mean distance from home is below 1.
        let names = List((0..10_000).map(|n| format!("node-{n}")).collect());
        let mut index = NameIndex::new(42);
        for slot in 0..10_000 {
            index.insert(slot, &names);
        }
        let mask = index.cells.len() - 1;
        let distance: usize = index
            .cells
            .iter()
            .enumerate()
            .filter(|(_, cell)| **cell != EMPTY)
            .map(|(at, cell)| {
                let home = index.hash(names.name(cell & SLOT_MASK)) as usize & mask;
                at.wrapping_sub(home) & mask
            })
            .sum();
        assert!(distance < 15_000, "{distance}");
    }

    proptest! {
        #[test]
        fn the_index_equals_an_ordered_map(
            key: u64,
            steps in prop::collection::vec((0_u32..40, any::<bool>()), 0..300),
        ) {
            let names = List((0..40).map(|n| "x".repeat(n % 20) + &n.to_string()).collect());
            let mut index = NameIndex::new(key);
            let mut model = BTreeMap::new();
            for (slot, add) in steps {
                let name = names.name(slot);
                if add && !model.contains_key(name) {
                    index.insert(slot, &names);
                    model.insert(name.to_owned(), slot);
                } else if !add {
                    index.remove(name, &names);
                    model.remove(name);
                }
                prop_assert_eq!(index.len(), model.len());
                for slot in 0..40 {
                    let name = names.name(slot);
                    prop_assert_eq!(index.find(name, &names), model.get(name).copied());
                }
            }
        }
    }
}
