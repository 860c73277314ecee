//! Finding a node by what a client calls it: its name, its ID, or a unique prefix of the ID.

use tribune_types::id::NodeId;
use tribune_types::text::Text;

use crate::intern::folded;
use crate::tables::Tables;
use crate::watch::{WatchKey, WatchKeys};

/// Shortest ID prefix that is tried.
const PREFIX_LEN_MIN: usize = 2;

/// What a given name means.
pub(super) struct Found {
    /// Folded name of the node; the folded form of what was given if there is none.
    pub(super) name: Text,
    /// It could be an ID prefix, so the coming or going of other nodes could change the meaning.
    pub(super) may_be_id: bool,
}

/// Finds a node; a name wins over an ID. Records what could change the answer, except for what is on the node.
pub(super) fn node(tables: &Tables, given: &Text, keys: &mut WatchKeys) -> Found {
    let name = folded(given);
    let prefix = if given.len() < PREFIX_LEN_MIN {
        None
    } else {
        parse_prefix(given)
    };
    let may_be_id = prefix.is_some();
    let Some(prefix) = prefix.filter(|_| !tables.nodes.contains_key(&name)) else {
        return Found { name, may_be_id };
    };
    keys.push(WatchKey::Nodes);
    Found {
        name: by_id_prefix(tables, &prefix).unwrap_or(name),
        may_be_id,
    }
}

fn by_id_prefix(tables: &Tables, prefix: &[u8]) -> Option<Text> {
    let mut from = [0u8; 16];
    from.get_mut(..prefix.len())?.copy_from_slice(prefix);
    let mut found = tables
        .node_ids
        .range(tribune_types::id::Uuid(from)..)
        .take_while(|(id, _): &(&NodeId, &Text)| id.0.starts_with(prefix));
    let (_, name) = found.next()?;
    // Ambiguous counts as unknown.
    found.next().is_none().then(|| name.clone())
}

/// Whole bytes in hexadecimal, with up to four dashes anywhere (as 1.8.7 reads them).
fn parse_prefix(given: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = given.bytes().filter(|b| *b != b'-').collect();
    if given.len() - digits.len() > 4 || digits.len() > 32 || !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    digits
        .chunks(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}
