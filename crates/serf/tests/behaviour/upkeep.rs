//! Forgetting, finding back and keeping short (gossip.md section 7.4).

use std::time::Duration;

use tribune_serf::{Action, MemberChange};
use tribune_types::member::MemberStatus::{Alive, Failed, Left, None as Unknown};
use tribune_types::text::text;

use crate::pool::Pool;
use crate::solo::{Solo, changes, secs};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn the_failed_are_forgotten_after_72_hours_and_the_left_after_24() {
    let mut solo = Solo::among(4);
    solo.dead("n2", "n4");
    solo.leaves("n3", 5);
    assert_eq!(changes(&solo.jump(24 * HOUR)), []);
    let out = solo.jump(secs(16));
    assert_eq!(changes(&out), [(MemberChange::Reaped, text("n3"))]);
    assert_eq!(changes(&solo.jump(48 * HOUR - secs(16))), []);
    assert_eq!(solo.status("n2"), Failed);
    let out = solo.jump(secs(16));
    assert_eq!(changes(&out), [(MemberChange::Reaped, text("n2"))]);
    assert_eq!((solo.status("n2"), solo.status("n3")), (Unknown, Unknown));
    assert_eq!(solo.serf.members().len(), 2);
    let out = solo.alive_at("n2", crate::solo::addr(2), 9);
    assert_eq!(changes(&out), [(MemberChange::Joined, text("n2"))]);
}

#[test]
fn a_failed_one_that_was_declared_left_counts_from_its_failure() {
    let mut solo = Solo::among(3);
    solo.dead("n2", "n3");
    solo.jump(23 * HOUR);
    solo.leave_intent("n2", 5, false);
    assert_eq!(solo.status("n2"), Left);
    let out = solo.jump(HOUR + secs(16));
    assert_eq!(changes(&out), [(MemberChange::Reaped, text("n2"))]);
}

#[test]
fn the_failed_are_tried_again_in_proportion() {
    // (alive besides us, failed, tries of 1000 ticks: from, to)
    for (alive, failed, from, to) in [
        (0, 1, 1000, 1000),
        (9, 1, 60, 140),
        (3, 2, 430, 570),
        (1, 3, 1000, 1000),
    ] {
        let mut solo = Solo::among(1 + alive + failed);
        for n in 0..failed {
            solo.dead(&format!("n{}", 2 + n), "somebody");
        }
        let mut tries = 0;
        for _ in 0..1000 {
            for action in solo.jump(secs(30)) {
                if let Action::PushPull { to, join: true, .. } = action {
                    assert!((2..2 + failed).any(|n| to == crate::solo::addr(n)));
                    tries += 1;
                }
            }
        }
        assert!(
            (from..=to).contains(&tries),
            "{alive} alive, {failed} failed: {tries}"
        );
    }
}

#[test]
fn a_split_pool_finds_together_again() {
    let mut pool = Pool::joined(3);
    pool.kill(2);
    pool.run(secs(60));
    assert_eq!(pool.status(0, "n3"), Failed);
    pool.revive(2);
    pool.run(secs(300));
    for at in 0..3 {
        for name in ["n1", "n2", "n3"] {
            assert_eq!(pool.status(at, name), Alive, "{name} at {at}");
        }
    }
    let joins = |at| {
        pool.count(at, |action| {
            matches!(action, Action::PushPull { join: true, .. })
        })
    };
    assert!((0..3).map(joins).sum::<usize>() > 0);
}

#[test]
fn a_table_full_of_the_dead_takes_new_members() {
    let mut solo = Solo::with_room_for(4);
    for n in 2..=60 {
        let out = solo.alive(&format!("n{n}"), n);
        assert!(changes(&out).contains(&(MemberChange::Joined, text(&format!("n{n}")))));
        solo.dead(&format!("n{n}"), "somebody");
        // The layer below forgets the dead by itself.
        solo.run(secs(120));
        assert!(solo.serf.members().len() <= 4);
    }
    assert_eq!(solo.status("me"), Alive);
    assert_eq!(solo.status("n60"), Failed);
}

#[test]
fn intents_of_the_unknown_are_forgotten_after_five_minutes() {
    let mut solo = Solo::among(2);
    solo.leave_intent("n9", 5, false);
    solo.jump(secs(299));
    solo.leave_intent("n8", 6, false);
    solo.jump(secs(20));
    solo.alive("n9", 9);
    solo.alive("n8", 8);
    assert_eq!((solo.status("n9"), solo.ltime("n9")), (Alive, 0));
    assert_eq!(solo.ltime("n8"), 6);
}

#[test]
fn a_converged_pool_stays_so_and_works() {
    let mut pool = Pool::converged(50);
    pool.run(secs(30));
    for at in 0..50 {
        assert_eq!(pool.nodes[at].alive_count(), 50, "at {at}");
        assert!(pool.nodes[at].table_size_bytes() <= 28 * 50);
        let news = pool.count(at, |action| matches!(action, Action::Member(_)));
        assert_eq!(news, 0, "at {at}");
    }
    pool.kill(7);
    pool.act(3, |serf, now, out| serf.fire(now, "deploy", b"", out))
        .expect("small");
    pool.run(secs(60));
    for at in (0..50).filter(|at| *at != 7) {
        assert_eq!(pool.status(at, "n8"), Failed, "at {at}");
        assert_eq!(pool.count(at, |a| matches!(a, Action::UserEvent { .. })), 1);
        assert_eq!(pool.nodes[at].alive_count(), 49);
    }
}

#[test]
fn an_idle_node_is_woken_for_the_layer_below_only() {
    let mut solo = Solo::new();
    solo.run(secs(100));
    assert_eq!(solo.serf.next_wake(), solo.serf.swim().next_wake());
}
