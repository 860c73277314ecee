//! The table of members: everybody who was heard of, until forgotten. It outlives the node table of the layer below,
//! which drops the dead early (gossip.md section 7.3).
//!
//! Kept in columns, because a simulation holds a hundred million rows: record 8 bytes (shared with the layer below),
//! time of the last intent 8, status 1, name index 5 to 10. Only failed and left members have more: the time since when.
//! Rows keep their number until erased, so side tables are keyed by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tribune_swim::{NameIndex, Names, Peer};
use tribune_types::member::MemberStatus;
use tribune_types::time::Mono;

use crate::message::LTime;

/// Number of a row.
pub(crate) type Row = u32;

/// Rows that the name index can tell apart, without the last.
pub(crate) const ROWS_MAX: usize = (1 << 24) - 2;

/// All members in any state.
#[derive(Debug)]
pub(crate) struct Members {
    peers: Peers,
    ltimes: Vec<LTime>,
    statuses: Vec<MemberStatus>,
    free: Vec<Row>,
    index: NameIndex,
    alive: usize,
    failed: BTreeMap<Row, Mono>,
    left: BTreeMap<Row, Mono>,
}

#[derive(Debug)]
struct Peers(Vec<Option<Arc<Peer>>>);

impl Names for Peers {
    fn name(&self, slot: Row) -> &str {
        let peer = self.0.get(slot as usize).and_then(Option::as_ref);
        peer.map_or("", |peer| &peer.name)
    }
}

impl Members {
    /// An empty table with room for `count` rows. `key` guards the name index against invented names.
    pub(crate) fn with_capacity(count: usize, key: u64) -> Members {
        let peers = Peers(Vec::with_capacity(count));
        let mut index = NameIndex::new(key);
        index.reserve(count, &peers);
        Members {
            peers,
            ltimes: Vec::with_capacity(count),
            statuses: Vec::with_capacity(count),
            free: Vec::new(),
            index,
            alive: 0,
            failed: BTreeMap::new(),
            left: BTreeMap::new(),
        }
    }

    /// Number of members in any state.
    pub(crate) fn len(&self) -> usize {
        self.peers.0.len() - self.free.len()
    }

    /// Members that are alive.
    pub(crate) fn alive_count(&self) -> usize {
        self.alive
    }

    /// Failed members and since when, in no particular order.
    pub(crate) fn failed(&self) -> &BTreeMap<Row, Mono> {
        &self.failed
    }

    /// Members that left and since when, in no particular order.
    pub(crate) fn left(&self) -> &BTreeMap<Row, Mono> {
        &self.left
    }

    /// The row of a name.
    pub(crate) fn find(&self, name: &str) -> Option<Row> {
        self.index.find(name, &self.peers)
    }

    /// Adds an alive member whose name is not in the table. The layer below bounds the number of names.
    pub(crate) fn add(&mut self, peer: Arc<Peer>, ltime: LTime) -> Row {
        let row = if let Some(row) = self.free.pop() {
            let at = row as usize;
            self.peers.0[at] = Some(peer);
            self.ltimes[at] = ltime;
            self.statuses[at] = MemberStatus::Alive;
            row
        } else {
            self.peers.0.push(Some(peer));
            self.ltimes.push(ltime);
            self.statuses.push(MemberStatus::Alive);
            (self.peers.0.len() - 1) as Row
        };
        self.alive += 1;
        self.index.insert(row, &self.peers);
        row
    }

    /// Removes a member.
    pub(crate) fn erase(&mut self, row: Row) {
        let Some(name) = self.peer(row).map(|peer| peer.name.clone()) else {
            return;
        };
        self.set_status(row, MemberStatus::None, Mono(0));
        self.index.remove(&name, &self.peers);
        self.peers.0[row as usize] = None;
        self.free.push(row);
    }

    /// What a member says about itself. `None` for a row that is not in use.
    pub(crate) fn peer(&self, row: Row) -> Option<&Arc<Peer>> {
        self.peers.0.get(row as usize)?.as_ref()
    }

    /// Takes a new record of the same name.
    pub(crate) fn set_peer(&mut self, row: Row, peer: Arc<Peer>) {
        self.peers.0[row as usize] = Some(peer);
    }

    /// Life of a member.
    pub(crate) fn status(&self, row: Row) -> MemberStatus {
        self.statuses[row as usize]
    }

    /// Changes the life of a member. `since` counts for failed and left ones; one that goes from failed to left keeps
    /// the time at which it failed.
    pub(crate) fn set_status(&mut self, row: Row, status: MemberStatus, since: Mono) {
        let old = std::mem::replace(&mut self.statuses[row as usize], status);
        let gone = self.failed.remove(&row).or(self.left.remove(&row));
        self.alive -= usize::from(old == MemberStatus::Alive);
        match status {
            MemberStatus::Alive => self.alive += 1,
            MemberStatus::Failed => {
                self.failed.insert(row, gone.unwrap_or(since));
            }
            MemberStatus::Left => {
                self.left.insert(row, gone.unwrap_or(since));
            }
            MemberStatus::None | MemberStatus::Leaving => {}
        }
    }

    /// Time of the last intent.
    pub(crate) fn ltime(&self, row: Row) -> LTime {
        self.ltimes[row as usize]
    }

    /// Sets the time of the last intent.
    pub(crate) fn set_ltime(&mut self, row: Row, ltime: LTime) {
        self.ltimes[row as usize] = ltime;
    }

    /// All rows, in a fixed but otherwise meaningless order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Row, &Arc<Peer>)> {
        self.peers
            .0
            .iter()
            .enumerate()
            .filter_map(|(row, peer)| Some((row as Row, peer.as_ref()?)))
    }

    /// Bytes of the table without the records, which are shared.
    pub(crate) fn size_bytes(&self) -> usize {
        let row = size_of::<Option<Arc<Peer>>>() + size_of::<LTime>() + size_of::<MemberStatus>();
        let sides = self.failed.len() + self.left.len();
        self.peers.0.capacity() * row
            + self.index.size_bytes()
            + self.free.capacity() * size_of::<Row>()
            + sides * 2 * size_of::<(Row, Mono)>()
    }

    /// All rows, sorted by name.
    pub(crate) fn sorted(&self) -> Vec<(Row, &Arc<Peer>)> {
        let mut rows: Vec<(Row, &Arc<Peer>)> = Vec::with_capacity(self.len());
        rows.extend(self.iter());
        rows.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        rows
    }
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;

    fn peer(name: &str) -> Arc<Peer> {
        Arc::new(Peer {
            name: text(name),
            addr: ([127, 0, 0, 1], 1).into(),
            meta: Arc::default(),
            versions: None,
        })
    }

    #[test]
    fn rows_keep_their_number_and_are_used_again() {
        let mut members = Members::with_capacity(0, 1);
        let rows: Vec<Row> = ["a", "b", "c"]
            .iter()
            .map(|name| members.add(peer(name), 0))
            .collect();
        members.erase(rows[1]);
        assert_eq!(members.find("b"), None);
        assert_eq!(members.find("c"), Some(rows[2]));
        assert_eq!((members.len(), members.alive_count()), (2, 2));
        assert_eq!(members.add(peer("d"), 7), rows[1]);
        assert_eq!(members.ltime(rows[1]), 7);
        let names: Vec<&str> = members.sorted().iter().map(|(_, p)| &*p.name).collect();
        assert_eq!(names, ["a", "c", "d"]);
        members.erase(99);
        assert_eq!(members.len(), 3);
    }

    #[test]
    fn a_failed_member_that_is_declared_left_keeps_its_time() {
        let mut members = Members::with_capacity(1, 1);
        let row = members.add(peer("a"), 0);
        members.set_status(row, MemberStatus::Failed, Mono(5));
        members.set_status(row, MemberStatus::Left, Mono(9));
        assert_eq!(members.left().get(&row), Some(&Mono(5)));
        assert!(members.failed().is_empty());
        members.set_status(row, MemberStatus::Alive, Mono(11));
        members.set_status(row, MemberStatus::Leaving, Mono(12));
        members.set_status(row, MemberStatus::Left, Mono(13));
        assert_eq!(members.left().get(&row), Some(&Mono(13)));
        assert_eq!(members.alive_count(), 0);
    }

    #[test]
    fn a_member_of_ten_thousand_costs_at_most_27_bytes() {
        let mut members = Members::with_capacity(10_000, 1);
        for n in 0..10_000 {
            members.add(peer(&format!("node-{n}")), n);
        }
        assert!(
            members.size_bytes() <= 27 * 10_000,
            "{}",
            members.size_bytes()
        );
    }
}
