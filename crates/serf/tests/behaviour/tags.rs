//! Tags and coordinates as members tell them (gossip.md sections 7.8 and 8).

use std::time::Duration;

use tribune_serf::{Action, MemberChange, Refused};
use tribune_types::text::{TextMap, text};

use crate::pool::Pool;
use crate::solo::secs;

fn tags(value: &str) -> TextMap {
    [(text("role"), text(value))].into_iter().collect()
}

#[test]
fn other_tags_are_seen_by_everybody() {
    let mut pool = Pool::joined(4);
    let ticket = pool
        .act(1, |serf, now, out| serf.set_tags(now, tags("db"), out))
        .expect("small")
        .expect("others are alive");
    assert_eq!(pool.nodes[1].tags(), &tags("db"));
    pool.run(secs(5));
    assert_eq!(pool.count(1, |action| *action == Action::Sent(ticket)), 1);
    for at in 0..4 {
        let member = pool.nodes[at].member("n2").expect("known");
        assert_eq!(&*member.peer.meta, b"role=db", "at {at}");
        let updates = pool.count(at, |action| {
            matches!(action, Action::Member(event) if event.change == MemberChange::Updated)
        });
        assert_eq!(updates, 1, "at {at}");
    }
}

#[test]
fn more_tags_than_fit_are_refused() {
    let mut pool = Pool::joined(2);
    let long = tags(&"x".repeat(510));
    let refused = pool.act(0, |serf, now, out| serf.set_tags(now, long, out));
    assert_eq!(refused, Err(Refused::TagSize(515)));
    assert!(pool.nodes[0].tags().is_empty());
}

#[test]
fn probes_place_the_nodes() {
    let mut pool = Pool::joined(3);
    assert!(pool.nodes[0].coordinate_of("nobody").is_none());
    pool.run(secs(60));
    for at in 0..3 {
        let node = &pool.nodes[at];
        assert!(node.coordinate().error < 1.5, "at {at}");
        let own = node.swim().name().clone();
        assert_eq!(node.coordinate_of(&own), Some(node.coordinate()));
        for name in ["n1", "n2", "n3"] {
            let other = node.coordinate_of(name).expect("measured");
            let estimate = node.coordinate().distance(other).expect("compatible");
            assert!(estimate < Duration::from_millis(20), "{estimate:?}");
        }
        assert!(pool.count(at, |action| matches!(action, Action::CoordinateMoved(_))) > 20);
    }
}
