//! Random order without shuffling everything: the first different members of a uniformly shuffled list.
//!
//! A Fisher-Yates shuffle decides one place at a time from the front, so stopping after k places gives the same
//! distribution as shuffling all and cutting after k. The permutation is undone afterwards, which keeps the scratch
//! list ready and the cost at O(k) whatever the size of the list.

use crate::instances::Pool;

/// A small generator, seeded from the node's randomness (wyrand).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0xa076_1d64_78bd_642f);
        let product = u128::from(self.0) * u128::from(self.0 ^ 0xe703_7ed1_a0b4_28db);
        (product >> 64) as u64 ^ product as u64
    }

    /// Uniform below `n`; the bias is below 2^-32.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

/// In which order members are picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// At random.
    Random,
    /// As they stand in the pool: somebody else has put them into an order.
    Listed,
}

/// Reused memory of picking.
#[derive(Debug, Default)]
pub(crate) struct Picker {
    /// Always the identity between uses.
    order: Vec<u32>,
    swaps: Vec<(u32, u32)>,
    /// Generation in which a number was seen.
    seen: Vec<u32>,
    generation: u32,
}

impl Picker {
    /// Calls `take` with members of `pool` in an order, leaving out those whose number came before, until it says
    /// false or none is left.
    pub(crate) fn each_distinct(
        &mut self,
        pool: &Pool,
        order: Order,
        rng: &mut Rng,
        mut take: impl FnMut(u32) -> bool,
    ) {
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 || self.seen.len() < pool.distinct as usize {
            self.seen.clear();
            self.seen.resize(pool.distinct as usize, 0);
            self.generation = 1;
        }
        let mut left = pool.distinct;
        let count = pool.members.len();
        self.each(count, order, rng, |seen, generation, index| {
            let (member, number) = pool.members[index];
            let mark = &mut seen[number as usize];
            if *mark == generation {
                return true;
            }
            *mark = generation;
            left -= 1;
            take(member) && left > 0
        });
    }

    fn each(
        &mut self,
        count: usize,
        order: Order,
        rng: &mut Rng,
        mut take: impl FnMut(&mut [u32], u32, usize) -> bool,
    ) {
        while self.order.len() < count {
            self.order
                .push(u32::try_from(self.order.len()).unwrap_or(u32::MAX));
        }
        self.swaps.clear();
        for place in 0..count {
            let other = match order {
                Order::Random => place + rng.below(count - place),
                Order::Listed => place,
            };
            self.order.swap(place, other);
            self.swaps.push((
                u32::try_from(place).unwrap_or(0),
                u32::try_from(other).unwrap_or(0),
            ));
            if !take(&mut self.seen, self.generation, self.order[place] as usize) {
                break;
            }
        }
        for &(place, other) in self.swaps.iter().rev() {
            self.order.swap(place as usize, other as usize);
        }
    }

    /// One of `members`.
    pub(crate) fn one(members: &[u32], order: Order, rng: &mut Rng) -> Option<u32> {
        match order {
            _ if members.is_empty() => None,
            Order::Random => members.get(rng.below(members.len())).copied(),
            Order::Listed => members.first().copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(numbers: &[u32]) -> Pool {
        let members = numbers
            .iter()
            .enumerate()
            .map(|(at, number)| (at as u32, *number))
            .collect();
        Pool {
            members,
            distinct: numbers.iter().max().map_or(0, |max| max + 1),
        }
    }

    #[test]
    fn each_member_is_picked_about_equally_often_at_each_place() {
        let pool = pool(&(0..20).collect::<Vec<_>>());
        let (mut picker, mut rng) = (Picker::default(), Rng::new(7));
        let mut counts = [[0u32; 3]; 20];
        const ROUNDS: u32 = 40_000;
        for _ in 0..ROUNDS {
            let mut place = 0;
            picker.each_distinct(&pool, Order::Random, &mut rng, |member| {
                counts[member as usize][place] += 1;
                place += 1;
                place < 3
            });
            assert_eq!(place, 3);
        }
        // Mean 2000, standard deviation about 44.
        for (member, places) in counts.iter().enumerate() {
            for count in places {
                assert!((1780..2220).contains(count), "member {member}: {places:?}");
            }
        }
    }

    #[test]
    fn duplicates_come_once_and_weigh_as_often_as_they_are_there() {
        // Number 0 has three members, number 1 has one: first in three of four shuffles.
        let pool = pool(&[0, 0, 0, 1]);
        let (mut picker, mut rng) = (Picker::default(), Rng::new(3));
        let mut first = 0;
        for _ in 0..10_000 {
            let mut got = Vec::new();
            picker.each_distinct(&pool, Order::Random, &mut rng, |member| {
                got.push(pool.members[member as usize].1);
                true
            });
            assert_eq!(got.len(), 2);
            assert_ne!(got[0], got[1]);
            first += u32::from(got[0] == 0);
        }
        assert!((7_300..7_700).contains(&first), "{first}");
    }

    #[test]
    fn the_scratch_order_is_the_identity_after_every_use() {
        let (mut picker, mut rng) = (Picker::default(), Rng::new(1));
        for size in [5u32, 50, 3, 0, 50] {
            let members = pool(&(0..size).collect::<Vec<_>>());
            picker.each_distinct(&members, Order::Random, &mut rng, |member| member % 7 != 6);
            assert!(
                picker
                    .order
                    .iter()
                    .enumerate()
                    .all(|(at, value)| at as u32 == *value)
            );
        }
    }

    #[test]
    fn what_is_in_an_order_keeps_it() {
        let (mut picker, mut rng) = (Picker::default(), Rng::new(5));
        let mut got = Vec::new();
        picker.each_distinct(&pool(&[0, 1, 0, 2, 3]), Order::Listed, &mut rng, |member| {
            got.push(member);
            got.len() < 3
        });
        assert_eq!(got, [0, 1, 3]);
        assert_eq!(Picker::one(&[7, 8], Order::Listed, &mut rng), Some(7));
        assert_eq!(Picker::one(&[], Order::Listed, &mut rng), None);
    }
}
