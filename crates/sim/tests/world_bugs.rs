//! Each oracle of the world catches a bug that is put in on purpose.

#![allow(clippy::unwrap_used, reason = "a failed step of a test may end it")]

use std::time::Duration;

use tribune_sim::world::{Bug, Kind, Mix, Only, Shape, World, run_world};

/// Runs seeds with a bug until it is caught; what the oracle said.
fn caught(bug: Bug, mix: &Mix, tries: u64) -> String {
    let shape = Shape {
        servers: 3,
        clients: 1,
        chaos: Duration::from_secs(10),
        bug: Some(bug),
    };
    (0..tries)
        .find_map(|seed| run_world(seed, shape, mix).err())
        .unwrap_or_else(|| panic!("{bug:?} was not caught with {tries} seeds"))
}

#[test]
fn reads_of_old_data_are_caught_by_linearizability() {
    let mix = Mix::of(&[Kind::IsolateLeader, Kind::SlowLink]);
    let what = caught(Bug::StaleAsConsistent, &mix, 5);
    assert!(what.contains("not linearizable"), "{what}");
}

#[test]
fn a_lost_acknowledged_write_is_caught_by_linearizability() {
    let what = caught(Bug::LostWrite, &Mix::none(), 2);
    assert!(what.contains("not linearizable"), "{what}");
}

#[test]
fn a_lock_held_by_two_is_caught_by_linearizability() {
    let what = caught(Bug::DoubleGrant, &Mix::none(), 3);
    assert!(
        what.contains("\"lock/") && what.contains("not linearizable"),
        "{what}"
    );
}

#[test]
fn disks_that_lie_about_syncs_are_caught_after_a_power_loss() {
    let what = caught(Bug::LyingDisk, &Mix::of(&[Kind::PowerLossAll]), 5);
    assert!(
        [
            "not linearizable",
            "went back",
            "does not start",
            "differ",
            "two leaders",
            "never"
        ]
        .iter()
        .any(|word| what.contains(word)),
        "{what}"
    );
}

#[test]
fn a_watcher_that_misses_a_change_is_caught() {
    let what = caught(Bug::DeafWatcher, &Mix::none(), 3);
    assert!(what.contains("sees the last change"), "{what}");
}

#[test]
fn an_index_that_goes_back_is_caught() {
    let mix = Mix::of(&[Kind::IsolateLeader, Kind::SlowLink]);
    let what = caught(Bug::IndexOfAnyServer, &mix, 10);
    assert!(what.contains("index went back"), "{what}");
}

#[test]
fn a_catalog_that_differs_from_the_pool_is_caught() {
    let what = caught(Bug::LostNode, &Mix::none(), 1);
    assert!(
        what.contains("never within") && what.contains("catalog"),
        "{what}"
    );
}

#[test]
fn a_task_that_outlives_its_agent_is_caught() {
    let what = caught(Bug::LeakedTask, &Mix::none(), 1);
    assert!(what.contains("outlive it: [\"leak\"]"), "{what}");
}

/// What lost acknowledged writes show as, depending on who looks first.
fn shows_loss(what: &str) -> bool {
    let signs = [
        "not linearizable",
        "went back",
        "differ",
        "two leaders",
        "two indexes",
        "never written",
        "never",
    ];
    signs.iter().any(|sign| what.contains(sign))
}

#[test]
fn a_lead_that_is_said_to_have_moved_and_has_not_is_caught() {
    let what = caught(Bug::HollowHandOver, &Mix::of(&[Kind::MoveLead]), 1);
    assert!(what.contains("handed over and leads"), "{what}");
}

#[test]
fn a_server_that_does_not_find_back_after_it_left_is_caught() {
    let what = caught(Bug::LeftAlone, &Mix::of(&[Kind::LeaveServer]), 3);
    assert!(what.contains("never within"), "{what}");
}

#[test]
fn a_server_that_stays_out_of_the_peer_set_is_caught() {
    let what = caught(Bug::RemovedForGood, &Mix::none(), 1);
    assert!(what.contains("has the peers"), "{what}");
}

#[test]
fn servers_that_forget_all_but_their_identity_are_caught() {
    let mix = Mix::of(&[Kind::Replace, Kind::IsolateLeader, Kind::OneWay]);
    let what = caught(Bug::Amnesia, &mix, 20);
    assert!(shows_loss(&what), "{what}");
}

#[test]
fn a_recovery_that_saves_the_wrong_server_is_caught() {
    let mix = Mix::of(&[Kind::Recover, Kind::SlowLink, Kind::OneWay]);
    let what = caught(Bug::WrongSurvivor, &mix, 20);
    assert!(shows_loss(&what), "{what}");
}

/// Runs a cluster whose disks were copied and started a second time.
fn twins(only: Only) -> String {
    let mut world = World::seeded(5)
        .servers(3)
        .clients(1)
        .only(only)
        .build()
        .unwrap();
    let limit = Duration::from_secs(60);
    world.until("a leader", limit, World::has_leader).unwrap();
    world.work();
    let running = world.chaos(&Mix::none(), Duration::from_secs(2));
    assert_eq!(running, Ok(()));
    world.twin().unwrap();
    let kills = Mix::of(&[Kind::KillLeader]);
    let seen = world.chaos(&kills, Duration::from_secs(30));
    seen.expect_err("the twins were not noticed")
}

#[test]
fn two_leaders_of_one_term_are_caught() {
    let what = twins(Only::Leaders);
    assert!(what.contains("two leaders of term"), "{what}");
}

#[test]
fn states_that_differ_at_one_index_are_caught() {
    let what = twins(Only::States);
    assert!(what.contains("states differ at index"), "{what}");
}
