//! Finding a node by what a client calls it: its name, its ID, or a unique prefix of the ID.

use tribune_types::id::NodeId;
use tribune_types::text::Text;

use crate::intern::folded;
use crate::tables::Tables;
use crate::watch::{WatchKey, WatchKeys};

/// Shortest ID prefix that is tried.
const PREFIX_LEN_MIN: usize = 2;

/// The folded name of the node called `given`, or the folded form of `given` if there is none; and whether it was found
/// by its name, which wins over an ID. Records what could change the answer, except for what is on the node.
pub(super) fn node(tables: &Tables, given: &Text, keys: &mut WatchKeys) -> (Text, bool) {
    let name = folded(given);
    if tables.nodes.contains_key(&name) {
        return (name, true);
    }
    if given.len() < PREFIX_LEN_MIN {
        return (name, false);
    }
    keys.push(WatchKey::Nodes);
    (by_id_prefix(tables, given).unwrap_or(name), false)
}

fn by_id_prefix(tables: &Tables, given: &str) -> Option<Text> {
    let prefix = parse_prefix(given)?;
    let mut from = [0u8; 16];
    from.get_mut(..prefix.len())?.copy_from_slice(&prefix);
    let mut found = tables
        .node_ids
        .range(tribune_types::id::Uuid(from)..)
        .take_while(|(id, _): &(&NodeId, &Text)| id.0.starts_with(&prefix));
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
