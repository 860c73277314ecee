//! What clients know of the keys they wrote, and whether what is found agrees.

use std::collections::BTreeMap;

/// What is known of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The last acknowledged value.
    pub acked: Option<u64>,
    /// Values tried after it, whose fate is unknown.
    pub tried: Vec<u64>,
}

/// A found value that contradicts what was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The key.
    pub key: String,
    /// What was known.
    pub known: Known,
    /// What was found.
    pub found: Option<u64>,
}

impl Known {
    /// A client sends a value.
    pub fn on_tried(&mut self, value: u64) {
        self.tried.push(value);
    }

    /// The server said that the value is stored. Values tried before it by the same client are settled: each client
    /// waits for one answer before it sends the next.
    pub fn on_acked(&mut self, value: u64) {
        self.acked = Some(value);
        self.tried.clear();
    }

    /// Takes what a later read found as settled.
    ///
    /// # Errors
    /// The value is neither the last acknowledged one nor one tried after it.
    pub fn on_found(&mut self, key: &str, found: Option<u64>) -> Result<(), Lost> {
        let allowed = found == self.acked || found.is_some_and(|value| self.tried.contains(&value));
        if !allowed {
            return Err(Lost {
                key: key.to_owned(),
                known: self.clone(),
                found,
            });
        }
        *self = Known {
            acked: found,
            tried: Vec::new(),
        };
        Ok(())
    }
}

/// Keys with what is known of them.
pub(crate) type Book = BTreeMap<String, Known>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_acknowledged_value_is_noticed() {
        let mut known = Known::default();
        known.on_tried(1);
        known.on_acked(1);
        known.on_tried(2);
        assert!(known.clone().on_found("k", None).is_err());
        assert!(known.clone().on_found("k", Some(1)).is_ok());
        assert!(
            known.clone().on_found("k", Some(2)).is_ok(),
            "an unacknowledged write may have happened"
        );
        assert!(known.on_found("k", Some(3)).is_err());
    }

    #[test]
    fn an_old_value_must_not_come_back() {
        let mut known = Known::default();
        for value in [1, 2] {
            known.on_tried(value);
            known.on_acked(value);
        }
        assert!(known.on_found("k", Some(1)).is_err());
    }
}
