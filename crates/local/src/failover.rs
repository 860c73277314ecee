//! Where a prepared query is tried when nothing is left at home (spec agent.md section 8).
//!
//! In: what the query says, and the other datacenters, nearest first. Out: the datacenters to try, in order, each once:
//! so many of the nearest, then the named ones. Datacenters that nobody knows are left out.

use tribune_types::prepared::QueryFailover;
use tribune_types::text::Text;

/// The datacenters to try, first to last.
pub fn failover_order(failover: &QueryFailover, others_by_distance: &[Text]) -> Vec<Text> {
    let count = usize::try_from(failover.nearest_n).unwrap_or_default();
    let mut order: Vec<Text> = others_by_distance.iter().take(count).cloned().collect();
    for named in failover.datacenters.iter().flatten() {
        if others_by_distance.contains(named) && !order.contains(named) {
            order.push(named.clone());
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;

    #[test]
    fn the_nearest_come_first_and_nobody_comes_twice() {
        let texts = |names: &str| names.split_whitespace().map(text).collect::<Vec<Text>>();
        // (nearest, named, known by distance, want)
        for (nearest_n, named, known, want) in [
            (0, "", "dc2 dc3", ""),
            (1, "", "dc2 dc3", "dc2"),
            (9, "", "dc2 dc3", "dc2 dc3"),
            (-1, "dc3", "dc2 dc3", "dc3"),
            (0, "dc3 dc2", "dc2 dc3", "dc3 dc2"),
            (1, "dc3 dc2", "dc2 dc3", "dc2 dc3"),
            (0, "dc9 dc3 dc3", "dc2 dc3", "dc3"),
            (2, "dc2", "", ""),
        ] {
            let failover = QueryFailover {
                nearest_n,
                datacenters: (!named.is_empty()).then(|| texts(named)),
            };
            let order = failover_order(&failover, &texts(known));
            assert_eq!(order, texts(want), "{nearest_n} {named:?} of {known:?}");
        }
    }
}
