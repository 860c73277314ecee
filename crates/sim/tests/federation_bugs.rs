//! Each oracle of a world of several datacenters catches a bug that is put in on purpose.

use std::time::Duration;

use tribune_sim::world::Bug;
use tribune_sim::world::wan::{Federation, WanKind, WanMix, run_federation};

/// Runs seeds with a bug until it is caught; what the oracle said.
fn caught(bug: Bug, mix: &WanMix, lost: Option<usize>, tries: u64) -> String {
    caught_within(Duration::from_secs(6), bug, mix, lost, tries)
}

/// As [`caught`], with so much time for things to go wrong.
fn caught_within(
    chaos: Duration,
    bug: Bug,
    mix: &WanMix,
    lost: Option<usize>,
    tries: u64,
) -> String {
    let shape = Federation {
        dcs: vec![(3, 1), (3, 0), (3, 0)],
        chaos,
        lost,
        bug: Some(bug),
    };
    (1..=tries)
        .find_map(|seed| run_federation(seed, &shape, mix).err())
        .unwrap_or_else(|| panic!("{bug:?} was not caught with {tries} seeds"))
}

fn quiet() -> WanMix {
    WanMix::of(&[])
}

#[test]
fn a_local_request_that_waits_for_another_datacenter_is_caught() {
    let what = caught(Bug::WaitsForRemote, &quiet(), None, 1);
    assert!(what.contains("a local request took too long"), "{what}");
}

#[test]
fn requests_that_are_served_in_the_wrong_datacenter_are_caught_by_linearizability() {
    let what = caught(Bug::IgnoredDatacenter, &quiet(), None, 2);
    assert!(
        what.contains("not linearizable") || what.contains("never written"),
        "{what}"
    );
}

#[test]
fn a_datacenter_that_failed_and_is_said_to_be_unknown_is_caught() {
    let what = caught(Bug::ForgottenDatacenter, &quiet(), Some(2), 2);
    assert!(what.contains("said to be unknown"), "{what}");
}

#[test]
fn a_request_without_an_answer_in_time_is_caught() {
    let what = caught(Bug::TriesForever, &quiet(), Some(1), 2);
    assert!(
        what.contains("no answer in time") || what.contains("for too long"),
        "{what}"
    );
}

#[test]
fn a_killed_server_that_is_not_routed_around_is_caught() {
    let mix = WanMix {
        kinds: vec![WanKind::KillLeader],
        every: Duration::from_secs(20),
    };
    let chaos = Duration::from_secs(50);
    let what = caught_within(chaos, Bug::NoWayAround, &mix, None, 2);
    assert!(what.contains("not routed around"), "{what}");
}

#[test]
fn a_way_that_does_not_open_again_is_caught() {
    let mix = WanMix::of(&[WanKind::CutOff]);
    let what = caught(Bug::ForgottenRoute, &mix, None, 1);
    assert!(
        what.contains("every agent reaches every datacenter"),
        "{what}"
    );
}

#[test]
fn datacenters_in_the_wrong_order_are_caught() {
    let what = caught(Bug::WrongOrder, &quiet(), None, 1);
    assert!(what.contains("not in order"), "{what}");
}

#[test]
fn a_server_that_is_not_in_the_wan_pool_is_caught() {
    let what = caught(Bug::NotInWanPool, &quiet(), None, 1);
    assert!(
        what.contains("never within") && what.contains("a WAN pool"),
        "{what}"
    );
}

#[test]
fn an_answer_through_a_way_that_is_cut_in_one_direction_is_caught() {
    let mix = WanMix::of(&[WanKind::CutOneWay]);
    let what = caught(Bug::SaidToBeCut, &mix, None, 3);
    assert!(what.contains("nothing gets through to"), "{what}");
}

#[test]
fn a_prepared_query_that_does_not_look_elsewhere_is_caught() {
    let what = caught(Bug::NoFailover, &quiet(), None, 1);
    assert!(
        what.contains("did not find what another datacenter has"),
        "{what}"
    );
}

#[test]
fn a_prepared_query_that_does_not_find_the_nearest_is_caught() {
    let what = caught(Bug::FarthestFirst, &quiet(), None, 1);
    assert!(what.contains("did not find in"), "{what}");
}

#[test]
fn an_event_that_leaves_its_datacenter_is_caught() {
    let what = caught(Bug::EventsEverywhere, &quiet(), None, 1);
    assert!(what.contains("left its datacenter"), "{what}");
}
