//! Sorting by network distance (spec agent.md 9).

use tribune_types::coordinate::Coordinate;
use tribune_types::text::Text;

use crate::intern::{folded, folded_str};
use crate::tables::Tables;

/// Sorts by estimated round-trip time from the node `near`. Items on nodes without a comparable coordinate go last,
/// otherwise equal ones keep their order. Without a coordinate of `near`, or with an empty name, nothing moves.
pub(crate) fn sort<T>(tables: &Tables, near: &str, items: &mut Vec<T>, node: impl Fn(&T) -> &Text) {
    if near.is_empty() {
        return;
    }
    let Some(source) = coordinate(tables, folded_str(near)) else {
        return;
    };
    let mut with_distance: Vec<(f64, T)> = items
        .drain(..)
        .map(|item| {
            let target = coordinate(tables, folded(node(&item)));
            (
                target.map_or(f64::INFINITY, |target| source.distance_secs(target)),
                item,
            )
        })
        .collect();
    with_distance.sort_by(|a, b| a.0.total_cmp(&b.0));
    items.extend(with_distance.into_iter().map(|(_, item)| item));
}

fn coordinate(tables: &Tables, node: Text) -> Option<&Coordinate> {
    tables
        .coordinates
        .get(&(node, Text::default()))
        .map(|entry| &entry.coord)
}
