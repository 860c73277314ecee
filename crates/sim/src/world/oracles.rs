//! What must hold at every moment: one leader per term, and one state per index.

use std::collections::BTreeMap;

use tribune_raft::Role;
use tribune_state::Version;

use super::node::Live;

/// What has been seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Who led a term.
    leaders: BTreeMap<u64, String>,
    /// The state at an index: its hash, who had it first, and itself, which shares most with its neighbours.
    states: BTreeMap<u64, (u64, String, Version)>,
    /// The last index whose state was hashed, by process.
    hashed: BTreeMap<String, u64>,
}

/// Which oracles speak. All, except where a test is about one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// One leader per term.
    Leaders,
    /// One state per index.
    States,
}

impl Seen {
    /// Looks at a process.
    ///
    /// # Errors
    /// What contradicts what was seen before.
    pub(super) fn look(
        &mut self,
        name: &str,
        live: &Live,
        only: Option<Only>,
        hash: bool,
    ) -> Result<(), String> {
        let Some(server) = &live.server else {
            return Ok(());
        };
        let metrics = server.raft_metrics();
        if metrics.role == Role::Leader && only.is_none_or(|only| only == Only::Leaders) {
            let term = metrics.term.0;
            let first = self.leaders.entry(term).or_insert_with(|| name.to_owned());
            if first != name {
                return Err(format!("two leaders of term {term}: {first} and {name}"));
            }
        }
        if !hash || only.is_some_and(|only| only != Only::States) {
            return Ok(());
        }
        let version = server.version();
        let index = version.last_index().0;
        let process = format!("{name} in life {}", live.life);
        let hashed = self.hashed.entry(process.clone()).or_default();
        if index < *hashed {
            return Err(format!(
                "{process} went back from index {hashed} to {index}"
            ));
        }
        if index == *hashed {
            return Ok(());
        }
        *hashed = index;
        let digest = version.digest();
        let (first, who, state) = self
            .states
            .entry(index)
            .or_insert_with(|| (digest, process.clone(), version.clone()));
        if *first != digest {
            return Err(format!(
                "states differ at index {index}: {who} and {process}\n{}",
                difference(state, &version)
            ));
        }
        Ok(())
    }

    /// How many terms had a leader.
    pub(super) fn terms(&self) -> usize {
        self.leaders.len()
    }

    /// How many states were compared.
    pub(super) fn states(&self) -> usize {
        self.states.len()
    }
}

/// The first lines that differ between two states.
fn difference(one: &Version, other: &Version) -> String {
    let (one, other) = (format!("{one:#?}"), format!("{other:#?}"));
    let differs = one
        .lines()
        .zip(other.lines())
        .position(|(one, other)| one != other);
    let at = differs.unwrap_or_default().saturating_sub(8);
    let part = |text: &str| {
        let lines: Vec<&str> = text.lines().skip(at).take(14).collect();
        lines.join("\n")
    };
    format!("{}\n  or\n{}", part(&one), part(&other))
}
