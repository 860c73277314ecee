//! One server: durability over restarts, snapshots, the three answers, the simulated disk.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Hub, Memory, Seen, config, id, members, payload, real, start, until};
use tribune_raft::{
    LeadershipChange, NoPeers, OpenError, ProposeError, Raft, RaftConfig, ReadError, Role,
    SnapshotConfig,
};
use tribune_rt::disk::{Faults, SimDisk};
use tribune_rt::{Env, sim_block_on};
use tribune_types::command::Outcome;
use tribune_types::id::Term;

#[test]
fn a_lone_server_leads_at_once_at_default_timing() {
    real(async |env| {
        let temp = tempfile::tempdir().unwrap();
        let mut settings = RaftConfig::new(id(1), "10.0.0.1:8300", Some(temp.path().to_owned()));
        settings.segment_size = 1 << 20;
        for round in 0..3 {
            let started = env.mono();
            let transport = Arc::new(NoPeers);
            let raft = Raft::open(
                &env,
                settings.clone(),
                Box::new(Memory::default()),
                transport,
            )
            .await
            .unwrap();
            let mut events = raft.take_leadership_events().unwrap();
            assert!(raft.take_leadership_events().is_none());
            assert_eq!(raft.bootstrap(members([1])).await.unwrap(), round == 0);
            let gained = events.recv().await.unwrap();
            assert_eq!(
                gained,
                LeadershipChange::Gained {
                    term: Term(round + 1)
                }
            );
            let took = env.mono().since(started);
            assert!(took < Duration::from_millis(1500), "{took:?}");
            println!("leader after {took:?}");
            assert!(raft.is_leader_lease_valid());
            assert_eq!(raft.leader().unwrap().addr, "10.0.0.1:8300");
            raft.read_barrier().await.unwrap();
            raft.shutdown().await;
            assert_eq!(events.recv().await, Some(LeadershipChange::Lost));
            assert!(!raft.is_leader_lease_valid());
        }
    });
}

#[test]
fn acknowledged_entries_survive_restarts_and_are_applied_once() {
    real(async |env| {
        let temp = tempfile::tempdir().unwrap();
        let mut expect: Vec<Bytes> = Vec::new();
        for round in 0..4u64 {
            let server = start(&env, &Hub::default(), config(1, Some(temp.path()))).await;
            server.raft.bootstrap(members([1])).await.unwrap();
            until(&env, "leadership", || {
                server.raft.is_leader_lease_valid().then_some(())
            })
            .await;
            let seen: Vec<Bytes> = server
                .seen
                .lock()
                .iter()
                .map(|(_, payload)| payload.clone())
                .collect();
            assert_eq!(seen, expect, "round {round}");
            for n in 0..300 {
                let bytes = payload(round * 1000 + n);
                let outcome = server.raft.propose(bytes.clone()).await.unwrap();
                assert_eq!(outcome, Outcome::Verdict(bytes.len().is_multiple_of(2)));
                expect.push(bytes);
            }
            if round == 1 {
                let index = server.raft.trigger_snapshot().await.unwrap().unwrap();
                assert_eq!(
                    server.raft.trigger_snapshot().await.unwrap(),
                    None,
                    "nothing new since"
                );
                let raft = server.raft.clone();
                until(&env, "the snapshot", || {
                    (raft.metrics().snapshot_index == index).then_some(())
                })
                .await;
            }
            server.raft.shutdown().await;
        }
    });
}

#[test]
fn snapshots_cut_the_log_and_only_two_stay() {
    real(async |env| {
        let temp = tempfile::tempdir().unwrap();
        let mut settings = config(1, Some(temp.path()));
        settings.segment_size = 4096;
        settings.log_cache_size = 1000;
        settings.snapshot = SnapshotConfig {
            threshold: 100,
            interval: Duration::from_millis(20),
            trailing_logs: 50,
        };
        let server = start(&env, &Hub::default(), settings.clone()).await;
        server.raft.bootstrap(members([1])).await.unwrap();
        until(&env, "leadership", || {
            server.raft.is_leader_lease_valid().then_some(())
        })
        .await;
        for n in 0..2000 {
            server.raft.propose(payload(n)).await.unwrap();
            if n % 100 == 0 {
                env.sleep(Duration::from_millis(30)).await;
            }
        }
        let base = temp.path().join("1/raft");
        let count = |name: &str| std::fs::read_dir(base.join(name)).unwrap().count();
        until(&env, "a short log", || {
            (count("log") < 12 && count("snapshots") <= 2).then_some(())
        })
        .await;
        server.raft.shutdown().await;

        // Damage the newest snapshot: the log does not reach back to the older one.
        let mut names: Vec<_> = std::fs::read_dir(base.join("snapshots"))
            .unwrap()
            .map(|dir| dir.unwrap().path())
            .collect();
        names.sort_by_key(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            name.split('-')
                .map(|part| part.parse::<u64>().unwrap())
                .collect::<Vec<_>>()
        });
        let newest = names.last().unwrap().join("state");
        let intact = std::fs::read(&newest).unwrap();
        let mut rotten = intact.clone();
        rotten[100] ^= 1;
        std::fs::write(&newest, rotten).unwrap();
        let opened = Raft::open(
            &env,
            settings.clone(),
            Box::new(Memory::default()),
            Arc::new(NoPeers),
        )
        .await;
        let err = opened.map(|_| ()).expect_err("it must refuse");
        assert!(matches!(err, OpenError::Snapshot { .. }), "{err}");
        println!("{err}");

        std::fs::write(&newest, intact).unwrap();
        let server = start(&env, &Hub::default(), settings).await;
        until(&env, "leadership", || {
            server.raft.is_leader_lease_valid().then_some(())
        })
        .await;
        assert_eq!(server.seen.lock().len(), 2000);
        server.raft.shutdown().await;
    });
}

#[test]
fn a_log_in_memory_behaves_alike() {
    real(async |env| {
        let mut settings = config(1, None);
        settings.snapshot.trailing_logs = 10;
        let server = start(&env, &Hub::default(), settings).await;
        assert_eq!(server.raft.metrics().role, Role::Learner);
        assert!(!server.raft.is_initialized());
        let err = server.raft.propose(payload(0)).await.unwrap_err();
        assert_eq!(err, ProposeError::NotLeader { leader: None });
        assert_eq!(
            server.raft.ensure_leader(),
            Err(ReadError::NotLeader { leader: None })
        );
        assert!(server.raft.read_barrier().await.is_err());
        server.raft.bootstrap(members([1])).await.unwrap();
        until(&env, "leadership", || {
            server.raft.is_leader_lease_valid().then_some(())
        })
        .await;
        for n in 0..600 {
            server.raft.propose(payload(n)).await.unwrap();
        }
        assert!(server.raft.trigger_snapshot().await.unwrap().is_some());
        for n in 600..700 {
            server.raft.propose(payload(n)).await.unwrap();
        }
        let metrics = server.raft.metrics();
        assert_eq!((metrics.role, metrics.term), (Role::Leader, Term(1)));
        assert_eq!(
            (metrics.applied_index.0, metrics.commit_index.0),
            (701, 701)
        );
        assert_eq!(server.seen.lock().len(), 700);
        server.raft.shutdown().await;
        let err = server.raft.propose(payload(0)).await.unwrap_err();
        assert!(matches!(err, ProposeError::Refused { .. }), "{err}");
    });
}

async fn open_on(env: &Env, settings: RaftConfig) -> Option<(Raft, Seen)> {
    let seen = Seen::default();
    let raft = Raft::open(
        env,
        settings,
        Box::new(Memory(seen.clone())),
        Arc::new(NoPeers),
    )
    .await
    .ok()?;
    Some((raft, seen))
}

fn sim_settings() -> RaftConfig {
    let mut settings = config(1, Some(std::path::Path::new("/data")));
    settings.segment_size = 4096;
    settings.log_cache_size = 2000;
    settings.propose_timeout = Duration::from_secs(5);
    settings.snapshot = SnapshotConfig {
        threshold: 20,
        interval: Duration::from_millis(100),
        trailing_logs: 10,
    };
    settings
}

/// A node on a faulty disk, crashed several times: what it acknowledged is there afterwards.
fn crash_lives(seed: u64) {
    let disk = SimDisk::new(seed);
    let mut acked: Vec<Bytes> = Vec::new();
    let mut tried = 0;
    for life in 0..4u64 {
        let disk = disk.clone();
        sim_block_on(seed * 10 + life, |outer| async {
            drop(outer);
            let env = Env::sim_on_disk(seed * 10 + life, disk.clone()).unwrap();
            let Some((raft, seen)) = open_on(&env, sim_settings()).await else {
                panic!("seed {seed} life {life}: a crash must not keep the node from starting");
            };
            raft.bootstrap(members([1])).await.unwrap();
            until(&env, "leadership", || {
                raft.is_leader_lease_valid().then_some(())
            })
            .await;
            let found: Vec<Bytes> = seen
                .lock()
                .iter()
                .map(|(_, payload)| payload.clone())
                .collect();
            let mut at = 0;
            for payload in &acked {
                let found_at = found[at..].iter().position(|other| other == payload);
                at += found_at
                    .unwrap_or_else(|| panic!("seed {seed} life {life}: {payload:?} is lost"))
                    + 1;
            }
            disk.set_faults(match env.random_below(5) {
                0 => Faults {
                    fail_after: Some(1 + env.random_below(60)),
                    ..Faults::default()
                },
                1 => Faults {
                    fail_sync_after: Some(1 + env.random_below(40)),
                    ..Faults::default()
                },
                2 => Faults {
                    space_left: Some(env.random_below(20_000)),
                    ..Faults::default()
                },
                _ => Faults::default(),
            });
            for _ in 0..env.random_below(80) {
                tried += 1;
                let bytes = Bytes::from(format!(
                    "{tried} {}",
                    "x".repeat(env.random_below(300) as usize)
                ));
                match raft.propose(bytes.clone()).await {
                    Ok(_) => acked.push(bytes),
                    Err(
                        ProposeError::Refused {
                            reason: "the disk is full",
                        }
                        | ProposeError::Unknown { .. },
                    ) if env.random_below(2) == 0 => {
                        // Room returns; the node goes on unless its log broke.
                        disk.set_faults(Faults::default());
                        env.sleep(Duration::from_secs(1)).await;
                    }
                    Err(_) => break,
                }
                if env.random_below(4) == 0 {
                    env.sleep(Duration::from_millis(20)).await;
                }
            }
            disk.crash();
        });
    }
}

#[test]
fn a_node_on_a_faulty_disk_loses_nothing_it_acknowledged() {
    if let Some(seed) = std::env::var("TRIBUNE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        return crash_lives(seed);
    }
    let count = std::env::var("TRIBUNE_SEEDS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(200);
    for seed in 0..count {
        let done = std::panic::catch_unwind(|| crash_lives(seed));
        assert!(
            done.is_ok(),
            "replay with TRIBUNE_SEED={seed} cargo test -p tribune-raft --test single faulty_disk"
        );
    }
}

#[test]
fn a_full_disk_refuses_and_recovers_without_a_restart() {
    let disk = SimDisk::new(5);
    sim_block_on(5, |outer| async {
        drop(outer);
        let env = Env::sim_on_disk(5, disk.clone()).unwrap();
        let (raft, seen) = open_on(&env, sim_settings()).await.unwrap();
        raft.bootstrap(members([1])).await.unwrap();
        until(&env, "leadership", || {
            raft.is_leader_lease_valid().then_some(())
        })
        .await;
        disk.set_faults(Faults {
            space_left: Some(0),
            ..Faults::default()
        });
        let mut acked = 0;
        let err = loop {
            match raft.propose(Bytes::from(vec![b'x'; 500])).await {
                Ok(_) => acked += 1,
                Err(err) => break err,
            }
        };
        assert!(acked > 0, "the allocated segment still takes entries");
        assert!(matches!(err, ProposeError::Unknown { .. }), "{err}");
        let err = raft.propose(payload(1)).await.unwrap_err();
        assert_eq!(
            err,
            ProposeError::Refused {
                reason: "the disk is full"
            }
        );
        disk.set_faults(Faults::default());
        env.sleep(Duration::from_secs(1)).await;
        raft.propose(payload(2)).await.unwrap();
        assert_eq!(
            seen.lock().len(),
            acked + 2,
            "the one of unknown fate was applied too"
        );
        raft.shutdown().await;
    });
}

#[test]
fn a_failed_sync_stops_the_node_with_the_reason() {
    let disk = SimDisk::new(6);
    sim_block_on(6, |outer| async {
        drop(outer);
        let env = Env::sim_on_disk(6, disk.clone()).unwrap();
        let (raft, _) = open_on(&env, sim_settings()).await.unwrap();
        raft.bootstrap(members([1])).await.unwrap();
        until(&env, "leadership", || {
            raft.is_leader_lease_valid().then_some(())
        })
        .await;
        disk.set_faults(Faults {
            fail_sync_after: Some(1),
            ..Faults::default()
        });
        let err = raft.propose(payload(1)).await.unwrap_err();
        assert!(matches!(err, ProposeError::Unknown { .. }), "{err}");
        let reason = env
            .timeout(Duration::from_secs(5), raft.stopped())
            .await
            .unwrap();
        assert!(reason.contains("sync of the log failed"), "{reason}");
        assert!(!raft.is_leader_lease_valid());
    });
}
