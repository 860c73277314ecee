//! The peer set: learners, votes, addresses, removals, recovery; and what hostile peers may say.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use common::{
    Hub, Server, cluster, config, id, leader, member, members, payload, real, start, stop, until,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tribune_raft::{
    MembershipError, OpenError, Raft, ReadGuarantee, RecoveredPeer, Role, Timing, TransferError,
};
use tribune_rt::disk::SimDisk;
use tribune_rt::{Env, sim_block_on};

fn at(servers: &[Server], n: u8) -> &Server {
    servers
        .iter()
        .find(|server| server.raft.id() == id(n))
        .unwrap()
}

async fn seen(env: &Env, server: &Server, count: usize) {
    until(env, "all entries", || {
        (server.seen.lock().len() == count).then_some(())
    })
    .await;
}

#[test]
fn a_learner_catches_up_gets_a_vote_and_counts() {
    sim_block_on(1, async |env| {
        let hub = Hub::default();
        let first = start(&env, &hub, config(1, None)).await;
        first.raft.bootstrap(members([1])).await.unwrap();
        leader(&env, std::slice::from_ref(&first)).await;
        for n in 0..100 {
            first.raft.propose(payload(n)).await.unwrap();
        }
        let second = start(&env, &hub, config(2, None)).await;
        let refused = first.raft.add_voter(id(2)).await;
        assert!(
            matches!(refused, Err(MembershipError::Refused { .. })),
            "{refused:?}"
        );
        let not_there = second.raft.add_learner(id(3), member(3)).await;
        assert!(matches!(not_there, Err(MembershipError::NotLeader { .. })));
        first.raft.add_learner(id(2), member(2)).await.unwrap();
        seen(&env, &second, 100).await;
        assert_eq!(second.raft.metrics().role, Role::Learner);
        second.raft.read_index(ReadGuarantee::Quorum).await.unwrap();
        let index = first.raft.add_voter(id(2)).await.unwrap();
        assert_eq!(
            first.raft.add_voter(id(2)).await.unwrap(),
            index,
            "nothing to change"
        );
        until(&env, "the vote", || {
            (second.raft.metrics().role == Role::Follower).then_some(())
        })
        .await;
        // Two voters: without the second nothing is committed.
        first.raft.propose(payload(100)).await.unwrap();
        hub.cut(id(2));
        until(&env, "the lease to lapse", || {
            (!first.raft.is_leader_lease_valid()).then_some(())
        })
        .await;
        hub.heal();
        stop(&hub, &[first, second]).await;
    });
}

#[test]
fn a_server_that_moved_is_reached_at_its_new_address() {
    sim_block_on(2, async |env| {
        let hub = Hub::default();
        let servers = cluster(&env, &hub, 3, Timing::default()).await;
        let lead = leader(&env, &servers).await.raft.clone();
        let moved = servers
            .iter()
            .find(|server| server.raft.id() != lead.id())
            .unwrap();
        lead.propose(payload(1)).await.unwrap();
        seen(&env, moved, 1).await;
        hub.move_to(moved.raft.id(), "10.9.9.9:8300");
        lead.propose(payload(2)).await.unwrap();
        env.sleep(Duration::from_secs(1)).await;
        assert_eq!(moved.seen.lock().len(), 1);
        let new = tribune_raft::Member {
            addr: "10.9.9.9:8300".to_owned(),
        };
        let unknown = lead.set_member_addr(id(9), new.clone()).await;
        assert!(matches!(unknown, Err(MembershipError::Refused { .. })));
        let index = lead
            .set_member_addr(moved.raft.id(), new.clone())
            .await
            .unwrap();
        assert_eq!(
            lead.set_member_addr(moved.raft.id(), new).await.unwrap(),
            index
        );
        seen(&env, moved, 2).await;
        let view = lead.membership();
        let peer = view
            .peers
            .iter()
            .find(|peer| peer.id == moved.raft.id())
            .unwrap();
        assert!(peer.voter && peer.addr == "10.9.9.9:8300", "{peer:?}");
        stop(&hub, &servers).await;
    });
}

#[test]
fn a_removed_server_learns_it_and_disturbs_nobody() {
    for told in [true, false] {
        sim_block_on(3, async |env| {
            let hub = Hub::default();
            let servers = cluster(&env, &hub, 4, Timing::default()).await;
            let lead = leader(&env, &servers).await.raft.clone();
            let out = servers
                .iter()
                .find(|server| server.raft.id() != lead.id())
                .unwrap();
            if !told {
                hub.cut(out.raft.id());
            }
            let gone = lead.remove(out.raft.id()).await.unwrap();
            assert_eq!(
                lead.remove(out.raft.id()).await.unwrap(),
                gone,
                "nothing to change"
            );
            assert!(
                lead.membership()
                    .peers
                    .iter()
                    .all(|peer| peer.id != out.raft.id())
            );
            env.sleep(Duration::from_secs(3)).await;
            hub.heal();
            let asked = env.mono();
            until(&env, "the news", || out.raft.is_removed().then_some(())).await;
            let took = env.mono().since(asked);
            assert!(
                took < Duration::from_secs(if told { 1 } else { 30 }),
                "{took:?}"
            );
            let term = lead.metrics().term;
            out.raft.on_peer_gone(lead.id());
            env.sleep(Duration::from_secs(60)).await;
            assert_eq!(lead.metrics().term, term);
            assert!(lead.is_leader_lease_valid() && !lead.is_removed());
            lead.propose(payload(1)).await.unwrap();
            assert!(out.seen.lock().is_empty());
            // It may come back.
            lead.add_learner(out.raft.id(), member(4)).await.unwrap();
            seen(&env, out, 1).await;
            until(&env, "membership", || {
                (!out.raft.is_removed()).then_some(())
            })
            .await;
            stop(&hub, &servers).await;
        });
    }
}

#[test]
fn a_leader_removes_itself_and_steps_down() {
    for count in [2, 3, 5] {
        sim_block_on(u64::from(count), async |env| {
            let hub = Hub::default();
            hub.slow_down(&env, Duration::from_millis(2));
            let servers = cluster(&env, &hub, count, Timing::default()).await;
            let old = leader(&env, &servers).await.raft.clone();
            old.propose(payload(1)).await.unwrap();
            let at = env.mono();
            old.remove(old.id()).await.unwrap();
            let new = until(&env, "a successor", || {
                let others = servers.iter().filter(|server| server.raft.id() != old.id());
                { others }.find(|server| server.raft.is_leader_lease_valid())
            })
            .await;
            let took = env.mono().since(at);
            assert!(took < Duration::from_secs(1), "{count} servers: {took:?}");
            until(&env, "the step down", || {
                (!old.is_leader_lease_valid()).then_some(())
            })
            .await;
            assert!(old.is_removed());
            new.raft.propose(payload(2)).await.unwrap();
            let view = new.raft.membership();
            assert_eq!(view.peers.len(), usize::from(count) - 1);
            env.sleep(Duration::from_secs(60)).await;
            assert!(new.raft.is_leader_lease_valid());
            stop(&hub, &servers).await;
        });
    }
}

#[test]
fn the_last_voter_cannot_be_removed() {
    sim_block_on(4, async |env| {
        let hub = Hub::default();
        let server = start(&env, &hub, config(1, None)).await;
        server.raft.bootstrap(members([1])).await.unwrap();
        leader(&env, std::slice::from_ref(&server)).await;
        let refused = server.raft.remove(id(1)).await;
        assert!(
            matches!(refused, Err(MembershipError::Refused { .. })),
            "{refused:?}"
        );
        server.raft.propose(payload(1)).await.unwrap();
        stop(&hub, &[server]).await;
    });
}

#[test]
fn a_change_that_loses_its_quorum_is_reported_unknown() {
    sim_block_on(5, async |env| {
        let hub = Hub::default();
        let servers = cluster(&env, &hub, 3, Timing::default()).await;
        let lead = leader(&env, &servers).await.raft.clone();
        let other = servers
            .iter()
            .find(|server| server.raft.id() != lead.id())
            .unwrap();
        for server in &servers {
            if server.raft.id() != lead.id() {
                hub.cut(server.raft.id());
            }
        }
        let added = lead.add_learner(id(7), member(7)).await;
        assert!(
            matches!(added, Err(MembershipError::Unknown { .. })),
            "{added:?}"
        );
        // The next must wait for the first.
        let removed = lead.remove(other.raft.id()).await;
        assert!(removed.is_err(), "{removed:?}");
        let voters = lead.change_membership(BTreeSet::from([lead.id()])).await;
        assert!(voters.is_err(), "{voters:?}");
        hub.heal();
        until(&env, "an end", || {
            let view = lead.membership();
            (view.peers.len() == 4 || !lead.is_leader_lease_valid()).then_some(())
        })
        .await;
        let lead = leader(&env, &servers).await;
        lead.raft.propose(payload(1)).await.unwrap();
        stop(&hub, &servers).await;
    });
}

#[test]
fn changes_of_several_voters_at_once_are_made_whole_by_the_next_leader() {
    for seed in 0..10 {
        sim_block_on(seed, async |env| {
            let hub = Hub::default();
            hub.slow_down(&env, Duration::from_millis(10));
            let mut servers = cluster(&env, &hub, 3, Timing::default()).await;
            for n in 4..=5 {
                let mut settings = config(n, None);
                settings.timing = Timing::default();
                servers.push(start(&env, &hub, settings).await);
            }
            let lead = leader(&env, &servers).await.raft.clone();
            for n in 4..=5 {
                lead.add_learner(id(n), member(n)).await.unwrap();
            }
            let all: BTreeSet<_> = (1..=5).map(id).collect();
            let changing = {
                let lead = lead.clone();
                env.spawn("change", async move { lead.change_membership(all).await })
            };
            env.sleep(env.jitter(Duration::from_millis(60))).await;
            hub.cut(lead.id());
            for server in &servers {
                server.raft.on_peer_gone(lead.id());
            }
            until(&env, "another leader", || {
                let others = servers
                    .iter()
                    .filter(|server| server.raft.id() != lead.id());
                { others }
                    .find(|server| server.raft.is_leader_lease_valid())
                    .map(drop)
            })
            .await;
            hub.heal();
            let _ = changing.await.unwrap();
            until(&env, "one peer set", || {
                let views: Vec<_> = servers
                    .iter()
                    .map(|server| server.raft.membership())
                    .collect();
                let voters = views[0].peers.iter().filter(|peer| peer.voter).count();
                let same = |view: &tribune_raft::MembershipView| {
                    view.index == views[0].index
                        && view.peers.iter().filter(|peer| peer.voter).count() == voters
                };
                (views.iter().all(same) && (voters == 3 || voters == 5)).then_some(())
            })
            .await;
            stop(&hub, &servers).await;
        });
    }
}

#[test]
fn leadership_goes_to_a_voter_that_answers() {
    sim_block_on(6, async |env| {
        let hub = Hub::default();
        let servers = cluster(&env, &hub, 5, Timing::default()).await;
        let lead = leader(&env, &servers).await.raft.clone();
        let dead: Vec<_> = servers
            .iter()
            .filter(|server| server.raft.id() != lead.id())
            .take(2)
            .collect();
        for server in &dead {
            hub.cut(server.raft.id());
        }
        env.sleep(Duration::from_secs(8)).await;
        let to = lead.transfer_leader(None).await.unwrap();
        assert!(dead.iter().all(|server| server.raft.id() != to));
        let new = servers
            .iter()
            .find(|server| server.raft.id() == to)
            .unwrap();
        until(&env, "readiness", || {
            new.raft.is_leader_lease_valid().then_some(())
        })
        .await;
        assert_eq!(
            lead.transfer_leader(None).await,
            Err(TransferError::NotLeader)
        );
        let hopeless = new.raft.transfer_leader(Some(dead[0].raft.id())).await;
        assert_eq!(hopeless, Err(TransferError::Timeout));
        new.raft.propose(payload(1)).await.unwrap();
        assert!(new.raft.is_leader_lease_valid(), "it leads on");
        stop(&hub, &servers).await;
    });
}

fn recovered(ns: impl IntoIterator<Item = u8>) -> Option<Vec<RecoveredPeer>> {
    let peer = |n| RecoveredPeer {
        id: id(n),
        member: member(n),
        voter: true,
    };
    Some(ns.into_iter().map(peer).collect())
}

#[test]
fn two_of_five_go_on_after_the_peer_set_is_replaced() {
    for seed in 0..10 {
        sim_block_on(seed, async |env| {
            let disk = SimDisk::new(seed);
            let env = Env::sim_on_disk(seed, disk).unwrap_or(env);
            let dir = std::path::Path::new("/data");
            let hub = Hub::default();
            let settings = |n| {
                let mut settings = config(n, Some(dir));
                settings.timing = Timing::default();
                settings.propose_timeout = Duration::from_secs(1);
                settings
            };
            let mut servers = Vec::new();
            for n in 1..=5 {
                servers.push(start(&env, &hub, settings(n)).await);
            }
            servers[0].raft.bootstrap(members(1..=5)).await.unwrap();
            let lead = leader(&env, &servers).await.raft.clone();
            for n in 0..50 {
                lead.propose(payload(n)).await.unwrap();
            }
            if seed % 2 == 0 {
                for server in &servers {
                    server.raft.trigger_snapshot().await.unwrap();
                }
            }
            // Servers 4 and 5 are all that is left, and 5 has more than 4.
            for server in &servers {
                seen(&env, server, 50).await;
            }
            hub.cut(id(if lead.id() == id(4) { 5 } else { 4 }));
            for n in 50..60 {
                lead.propose(payload(n)).await.unwrap();
            }
            let more = at(&servers, if lead.id() == id(4) { 4 } else { 5 });
            seen(&env, more, 60).await;
            stop(&hub, &servers).await;

            let hub = Hub::default();
            let mut left = Vec::new();
            for n in 4..=5 {
                let mut settings = settings(n);
                settings.recover = recovered(4..=5);
                left.push(start(&env, &hub, settings).await);
            }
            let lead = leader(&env, &left).await;
            assert_eq!(lead.raft.membership().peers.len(), 2);
            lead.raft.propose(payload(60)).await.unwrap();
            for server in &left {
                until(&env, "everything", || {
                    (server.seen.lock().len() == 61).then_some(())
                })
                .await;
                let all: Vec<_> = server.seen.lock().iter().map(|(_, p)| p.clone()).collect();
                assert_eq!(all, (0..=60).map(payload).collect::<Vec<_>>());
                assert_eq!(server.raft.membership().peers.len(), 2);
            }
            stop(&hub, &left).await;

            // A usual start later, and the peer set stays.
            let hub = Hub::default();
            let mut left = Vec::new();
            for n in 4..=5 {
                left.push(start(&env, &hub, settings(n)).await);
            }
            let lead = leader(&env, &left).await;
            lead.raft.propose(payload(61)).await.unwrap();
            assert_eq!(lead.raft.membership().peers.len(), 2);
            stop(&hub, &left).await;
        });
    }
}

#[test]
fn servers_that_recover_with_different_ends_agree_whoever_is_elected() {
    for seed in 0..12 {
        sim_block_on(seed, async |env| {
            let disk = SimDisk::new(seed);
            let env = Env::sim_on_disk(seed, disk).unwrap_or(env);
            let dir = std::path::Path::new("/data");
            let hub = Hub::default();
            let mut servers = Vec::new();
            for n in 1..=3 {
                servers.push(start(&env, &hub, config(n, Some(dir))).await);
            }
            servers[0].raft.bootstrap(members(1..=3)).await.unwrap();
            let lead = leader(&env, &servers).await.raft.clone();
            for n in 0..50 {
                lead.propose(payload(n)).await.unwrap();
            }
            for server in &servers {
                seen(&env, server, 50).await;
                if seed % 2 == 0 {
                    server.raft.trigger_snapshot().await.unwrap();
                }
            }
            // The leader writes what nobody else has, and all end.
            hub.cut(lead.id());
            let alone = lead.propose(payload(100));
            let alone = env.timeout(Duration::from_millis(100), alone).await;
            assert!(alone.is_err(), "{alone:?}");
            stop(&hub, &servers).await;

            let hub = Hub::default();
            let (mut left, mut late) = (Vec::new(), Vec::new());
            for n in 1..=3 {
                let mut settings = config(n, Some(dir));
                settings.recover = recovered(1..=3);
                if id(n) == lead.id() && seed % 3 != 0 {
                    late.push(settings);
                } else {
                    left.push(start(&env, &hub, settings).await);
                }
            }
            let is_late = !late.is_empty();
            let elected = leader(&env, &left).await.raft.clone();
            elected.propose(payload(200)).await.unwrap();
            for settings in late {
                left.push(start(&env, &hub, settings).await);
            }
            elected.propose(payload(201)).await.unwrap();
            let mut first = None;
            for server in &left {
                let all = until(&env, "everything", || {
                    let seen = server.seen.lock();
                    let all: Vec<_> = seen.iter().map(|(_, what)| what.clone()).collect();
                    all.contains(&payload(201)).then_some(all)
                })
                .await;
                assert_eq!(first.get_or_insert_with(|| all.clone()), &all);
                let kept = all.contains(&payload(100));
                assert!(
                    !(kept && is_late),
                    "seed {seed}: nobody had it who was there"
                );
            }
            stop(&hub, &left).await;
        });
    }
}

#[test]
fn recovery_needs_a_state_and_a_voter() {
    sim_block_on(7, async |env| {
        let hub = Hub::default();
        // (what, peer set): servers without state
        let table = [
            ("no state", recovered([1])),
            ("no voter", Some(Vec::new())),
            ("one twice", recovered([1, 1])),
        ];
        for (what, peers) in table {
            let mut settings = config(1, Some(std::path::Path::new("/fresh")));
            settings.recover = peers;
            let machine = Box::new(common::Memory::default());
            let opened = Raft::open(&env, settings, machine, hub.transport(id(1))).await;
            assert!(matches!(opened, Err(OpenError::Recover { .. })), "{what}");
        }
        let fresh = start(&env, &hub, config(1, Some(std::path::Path::new("/fresh")))).await;
        fresh.raft.bootstrap(members([1])).await.unwrap();
        stop(&hub, &[fresh]).await;
    });
}

#[test]
fn hostile_messages_get_an_answer_and_change_nothing() {
    real(async |env| {
        let hub = Hub::default();
        let server = start(&env, &hub, config(1, None)).await;
        server.raft.bootstrap(members([1])).await.unwrap();
        leader(&env, std::slice::from_ref(&server)).await;
        let mut rng = StdRng::seed_from_u64(1);
        let mut bodies: Vec<Vec<u8>> = vec![
            vec![],
            vec![1],
            vec![1, 1],
            [&[1, 1][..], &[0xff; 64]].concat(),
            // An append with four billion entries.
            [&[1, 1][..], &[0; 24], &[1, 0, 0], &[0xff; 4]].concat(),
            // A claim from the end of time.
            [&[1, 6][..], &[0xff; 40], &[0]].concat(),
        ];
        for _ in 0..20_000 {
            let mut body = vec![1, rng.random_range(0..9)];
            let len = rng.random_range(0..80);
            body.extend((0..len).map(|_| rng.random::<u8>() & rng.random::<u8>()));
            // Appends and votes of real terms would rightly be obeyed: keep to what decodes by chance.
            bodies.push(body);
        }
        for body in bodies {
            // Some of these wait for the lease; nobody waits for them here.
            let answer = server.raft.handle(Bytes::from(body));
            let _ = env.timeout(Duration::from_millis(50), answer).await;
        }
        assert_ne!(server.raft.metrics().role, Role::Shutdown);
        stop(&hub, &[server]).await;
    });
}
