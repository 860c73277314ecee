//! The node table: who is known, in which state, and in which order they are probed (gossip.md section 6.1).
//!
//! ```text
//! slots   24 bytes each    Arc<Peer> | since | incarnation | state
//! index   4.6 to 9.2       name -> slot
//! order   4 bytes          random order of used slots; probes walk it
//! ```
//!
//! So 10,000 nodes that know 10,000 members each, sharing their `Peer`s, take 3.5 GB.
//!
//! Invariants: slot 0 is the local node and is never freed; `order` holds each used slot once; `counts` adds up to the
//! number of used slots. Slots keep their number until `purge`.

use std::sync::Arc;
use std::time::Duration;

use tribune_types::time::Mono;

use crate::index::{NameIndex, Names, SLOTS_MAX};
use crate::message::{NodeState, Peer};
use crate::random::Rng;

/// Slot of the local node.
pub(crate) const LOCAL: u32 = 0;

/// What is known of one node.
#[derive(Debug)]
pub(crate) struct Slot {
    /// `None` while the slot is free.
    peer: Option<Arc<Peer>>,
    /// Last change of the state.
    pub(crate) since: Mono,
    /// Of the last statement believed.
    pub(crate) incarnation: u32,
    /// Life.
    pub(crate) state: NodeState,
}

const _: () = assert!(size_of::<Slot>() == 24);

impl Slot {
    /// Alive or suspect.
    pub(crate) fn is_up(&self) -> bool {
        is_up(self.state)
    }
}

/// The table.
#[derive(Debug)]
pub(crate) struct Table {
    slots: Slots,
    free: Vec<u32>,
    index: NameIndex,
    order: Vec<u32>,
    counts: [usize; 4],
}

#[derive(Debug)]
struct Slots(Vec<Slot>);

impl Names for Slots {
    fn name(&self, slot: u32) -> &str {
        self.0[slot as usize]
            .peer
            .as_ref()
            .map_or("", |peer| &peer.name)
    }
}

impl Table {
    /// A table of the local node.
    pub(crate) fn new(local: Arc<Peer>, incarnation: u32, now: Mono, rng: &mut Rng) -> Table {
        let mut table = Table {
            slots: Slots(Vec::new()),
            free: Vec::new(),
            index: NameIndex::new(rng.bits()),
            order: Vec::new(),
            counts: [0; 4],
        };
        let slot = table.insert(local, incarnation, NodeState::Alive, now, rng);
        debug_assert_eq!(slot, LOCAL);
        table
    }

    /// Makes room for this many entries more, without the slack of growth.
    pub(crate) fn reserve(&mut self, more: usize) {
        let more = more.min(SLOTS_MAX - self.len());
        self.slots.0.reserve_exact(more);
        self.order.reserve_exact(more);
        self.index.reserve(self.len() + more, &self.slots);
    }

    /// Entries in any state.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Entries in one state.
    pub(crate) fn count(&self, state: NodeState) -> usize {
        self.counts[state as usize]
    }

    /// Bytes this table takes, without the shared peers.
    pub(crate) fn size_bytes(&self) -> usize {
        self.slots.0.capacity() * size_of::<Slot>()
            + (self.order.capacity() + self.free.capacity()) * size_of::<u32>()
            + self.index.size_bytes()
    }

    /// The slot of a name.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.index.find(name, &self.slots)
    }

    /// A used slot.
    pub(crate) fn get(&self, slot: u32) -> &Slot {
        &self.slots.0[slot as usize]
    }

    /// Who a used slot is about.
    pub(crate) fn peer(&self, slot: u32) -> &Arc<Peer> {
        self.get(slot).peer.as_ref().expect("the slot is in use")
    }

    /// Used slots in probe order.
    pub(crate) fn order(&self) -> &[u32] {
        &self.order
    }

    /// Adds a name that is not there, at a random place of the order. There must be less than [`SLOTS_MAX`] entries.
    pub(crate) fn insert(
        &mut self,
        peer: Arc<Peer>,
        incarnation: u32,
        state: NodeState,
        since: Mono,
        rng: &mut Rng,
    ) -> u32 {
        let entry = Slot {
            peer: Some(peer),
            since,
            incarnation,
            state,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots.0[slot as usize] = entry;
                slot
            }
            None => {
                self.slots.0.push(entry);
                (self.slots.0.len() - 1) as u32
            }
        };
        self.index.insert(slot, &self.slots);
        let last = self.order.len();
        self.order.push(slot);
        if last > 0 {
            let at = rng.index(last);
            self.order.swap(at, last);
        }
        self.counts[state as usize] += 1;
        slot
    }

    /// Changes the state; the time of the change too.
    pub(crate) fn set_state(&mut self, slot: u32, state: NodeState, now: Mono) {
        let entry = &mut self.slots.0[slot as usize];
        self.counts[entry.state as usize] -= 1;
        self.counts[state as usize] += 1;
        entry.state = state;
        entry.since = now;
    }

    /// Takes over the number of a statement.
    pub(crate) fn set_incarnation(&mut self, slot: u32, incarnation: u32) {
        self.slots.0[slot as usize].incarnation = incarnation;
    }

    /// Takes over what a node says. The name must be the same. An equal record keeps the one already shared.
    pub(crate) fn set_peer(&mut self, slot: u32, peer: &Arc<Peer>) {
        let held = &mut self.slots.0[slot as usize].peer;
        debug_assert!(held.as_ref().is_some_and(|held| held.name == peer.name));
        if held.as_ref() != Some(peer) {
            *held = Some(Arc::clone(peer));
        }
    }

    /// Forgets the dead and the left that are older than `age`. O(n).
    pub(crate) fn purge(&mut self, now: Mono, age: Duration) {
        if self.counts[NodeState::Dead as usize] + self.counts[NodeState::Left as usize] == 0 {
            return;
        }
        let Table {
            slots,
            free,
            index,
            order,
            counts,
        } = self;
        order.retain(|&slot| {
            let entry = &slots.0[slot as usize];
            if slot == LOCAL || entry.is_up() || now.since(entry.since) <= age {
                return true;
            }
            counts[entry.state as usize] -= 1;
            index.remove(slots.name(slot), slots);
            slots.0[slot as usize].peer = None;
            free.push(slot);
            false
        });
    }

    /// A new order for the next round of probes. O(n).
    pub(crate) fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.order);
    }

    /// Up to `count` different random slots other than the local node's that pass: 3 draws per entry, so it may find
    /// fewer.
    pub(crate) fn pick(
        &self,
        count: usize,
        rng: &mut Rng,
        mut pass: impl FnMut(u32, &Slot) -> bool,
    ) -> Vec<u32> {
        let mut picked = Vec::new();
        if self.len() < 2 {
            return picked;
        }
        for _ in 0..3 * self.len() {
            if picked.len() >= count {
                break;
            }
            let slot = self.order[rng.index(self.len())];
            if slot != LOCAL && !picked.contains(&slot) && pass(slot, self.get(slot)) {
                picked.push(slot);
            }
        }
        picked
    }

    /// Panics if the invariants of the module header do not hold.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let mut order = self.order.clone();
        order.sort_unstable();
        order.dedup();
        assert_eq!(order.len(), self.order.len(), "a slot twice in the order");
        assert_eq!(order[0], LOCAL);
        assert_eq!(self.index.len(), self.order.len());
        assert_eq!(self.slots.0.len(), self.order.len() + self.free.len());
        let mut counts = [0; 4];
        for &slot in &order {
            assert_eq!(self.find(&self.peer(slot).name), Some(slot));
            counts[self.get(slot).state as usize] += 1;
        }
        assert_eq!(counts, self.counts);
        for &slot in &self.free {
            assert!(self.get(slot).peer.is_none());
        }
    }
}

fn is_up(state: NodeState) -> bool {
    matches!(state, NodeState::Alive | NodeState::Suspect)
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;

    fn peer(name: &str) -> Arc<Peer> {
        Arc::new(Peer {
            name: text(name),
            addr: ([127, 0, 0, 1], 8301).into(),
            meta: Arc::from([]),
            versions: None,
        })
    }

    fn table(count: usize) -> (Table, Rng) {
        let mut rng = Rng::seeded(1);
        let mut table = Table::new(peer("n0"), 1, Mono(0), &mut rng);
        for n in 1..count {
            table.insert(
                peer(&format!("n{n}")),
                1,
                NodeState::Alive,
                Mono(0),
                &mut rng,
            );
        }
        (table, rng)
    }

    #[test]
    fn only_old_dead_and_left_entries_are_forgotten_and_their_slots_used_again() {
        let (mut table, mut rng) = table(6);
        let second = Duration::from_secs(1);
        // (name, state, changed at second): n0 is the local node
        for (name, state, at) in [
            ("n0", NodeState::Left, 0),
            ("n1", NodeState::Dead, 0),
            ("n2", NodeState::Left, 0),
            ("n3", NodeState::Dead, 70),
            ("n4", NodeState::Suspect, 0),
        ] {
            let slot = table.find(name).unwrap();
            table.set_state(slot, state, Mono(0) + second * at);
        }
        table.purge(Mono(0) + second * 100, second * 30);
        table.check();
        for (name, kept) in [
            ("n0", true),
            ("n1", false),
            ("n2", false),
            ("n3", true),
            ("n4", true),
            ("n5", true),
        ] {
            assert_eq!(table.find(name).is_some(), kept, "{name}");
        }
        table.purge(Mono(0) + second * 100, second * 30);
        table.insert(peer("n9"), 1, NodeState::Alive, Mono(0), &mut rng);
        assert_eq!(table.free.len(), 1);
        table.check();
    }

    #[test]
    fn a_pick_holds_no_entry_twice_and_never_the_local_one() {
        let (table, mut rng) = table(10);
        for count in [0, 1, 3, 9, 50] {
            let mut picked = table.pick(count, &mut rng, |_, _| true);
            assert!(picked.len() <= count && !picked.contains(&LOCAL));
            let drawn = picked.len();
            picked.sort_unstable();
            picked.dedup();
            assert_eq!(picked.len(), drawn);
        }
        assert_eq!(table.pick(3, &mut rng, |_, _| false), []);
        let odd = table.pick(9, &mut rng, |slot, _| slot % 2 == 1);
        assert!(!odd.is_empty() && odd.iter().all(|slot| slot % 2 == 1));
    }

    #[test]
    fn a_pick_from_a_pool_of_one_is_empty() {
        let (table, mut rng) = table(1);
        assert_eq!(table.pick(3, &mut rng, |_, _| true), []);
    }

    #[test]
    fn every_entry_comes_at_any_place_of_the_order() {
        let mut first = [0; 5];
        for seed in 0..500 {
            let mut rng = Rng::seeded(seed);
            let mut table = Table::new(peer("n0"), 1, Mono(0), &mut rng);
            for n in 1..5 {
                table.insert(
                    peer(&format!("n{n}")),
                    1,
                    NodeState::Alive,
                    Mono(0),
                    &mut rng,
                );
            }
            table.shuffle(&mut rng);
            first[table.order()[0] as usize] += 1;
        }
        assert!(first.iter().all(|&n| n > 60), "{first:?}");
    }

    #[test]
    fn an_equal_record_keeps_the_shared_one() {
        let (mut table, _) = table(2);
        let slot = table.find("n1").unwrap();
        let held = Arc::clone(table.peer(slot));
        table.set_peer(slot, &peer("n1"));
        assert!(Arc::ptr_eq(&held, table.peer(slot)));
    }
}
