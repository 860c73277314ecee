//! Lock delay: for how long a key refuses new holders after its session was invalidated.
//!
//! Kept in the memory of the leader only (agent.md section 7); an explicit unlock leaves no delay.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tribune_types::kv::Key;
use tribune_types::time::Mono;

/// Keys that refuse to be locked, with the end of their delay.
#[derive(Debug, Default)]
pub struct LockDelays {
    until: HashMap<Key, Mono>,
    by_end: BTreeSet<(Mono, Key)>,
}

impl LockDelays {
    /// The holder of `key` was invalidated. A delay of zero is none.
    pub fn on_invalidated(&mut self, now: Mono, key: &Key, delay: Duration) {
        self.expire(now);
        if delay.is_zero() {
            return;
        }
        let end = now + delay;
        if let Some(old) = self.until.insert(key.clone(), end) {
            self.by_end.remove(&(old, key.clone()));
        }
        self.by_end.insert((end, key.clone()));
    }

    /// True while `key` must not be locked.
    pub fn is_delayed(&self, now: Mono, key: &[u8]) -> bool {
        self.until.get(key).is_some_and(|end| now < *end)
    }

    /// Forgets everything; leadership ended.
    pub fn clear(&mut self) {
        self.until.clear();
        self.by_end.clear();
    }

    fn expire(&mut self, now: Mono) {
        while let Some((end, _)) = self.by_end.first() {
            if *end > now {
                break;
            }
            if let Some((_, key)) = self.by_end.pop_first() {
                self.until.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_delayed_until_the_delay_is_over_and_then_forgotten() {
        let mut delays = LockDelays::default();
        let key: Key = b"lock".as_slice().into();
        delays.on_invalidated(Mono(0), &key, Duration::from_nanos(10));
        assert!(delays.is_delayed(Mono(9), b"lock"));
        assert!(!delays.is_delayed(Mono(10), b"lock"));
        delays.on_invalidated(
            Mono(11),
            &b"other".as_slice().into(),
            Duration::from_nanos(1),
        );
        assert_eq!(delays.until.len(), 1);
    }

    #[test]
    fn no_delay_leaves_nothing() {
        let mut delays = LockDelays::default();
        delays.on_invalidated(Mono(0), &b"k".as_slice().into(), Duration::ZERO);
        assert!(!delays.is_delayed(Mono(0), b"k"));
    }
}
