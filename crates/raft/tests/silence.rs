//! A leader that falls silent although its process is still there has a successor within a second at default timing; one that
//! merely stutters, and a follower that is cut off, change nothing.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Hub, Server, config, leader, members, payload, start, stop, until};
use tribune_raft::{Raft, ReadGuarantee, Timing, TransferError};
use tribune_rt::{Env, sim_block_on};

/// Servers at default timing. Each is a process that can stand still, and listens to its leader as servers do.
struct Processes {
    envs: Vec<Env>,
    servers: Vec<Server>,
    /// Alarms that were raised.
    alarms: Arc<AtomicUsize>,
}

/// So many seeds, or as many as `RAFT_SEEDS` says: more are run by hand.
fn seeds(usual: u64) -> u64 {
    std::env::var("RAFT_SEEDS").map_or(usual, |count| count.parse().unwrap())
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn listen(env: Env, raft: Raft, alarms: Arc<AtomicUsize>) {
    let mut changes = raft.leader_changes();
    let mut leader = None;
    loop {
        let heard = leader.filter(|leader| *leader != raft.id());
        tokio::select! {
            biased;
            change = changes.next() => match change {
                Some(now) => leader = now.map(|leader| leader.id),
                None => return,
            },
            () = raft.leader_silent(), if heard.is_some() => {
                alarms.fetch_add(1, Ordering::Relaxed);
                raft.on_peer_gone(heard.unwrap());
                env.sleep(ms(1000)).await;
            }
        }
    }
}

impl Processes {
    async fn start(env: &Env, hub: &Hub, seed: u64, count: u8) -> Processes {
        hub.slow_down(env, ms(3));
        let alarms = Arc::new(AtomicUsize::new(0));
        let (mut envs, mut servers) = (Vec::new(), Vec::new());
        for n in 1..=count {
            let own = Env::sim(seed ^ u64::from(n) << 32).unwrap();
            let mut settings = config(n, None);
            settings.timing = Timing::default();
            settings.propose_timeout = ms(2000);
            let server = start(&own, hub, settings).await;
            let listening = listen(own.clone(), server.raft.clone(), alarms.clone());
            own.spawn("listen", listening);
            envs.push(own);
            servers.push(server);
        }
        servers[0].raft.bootstrap(members(1..=count)).await.unwrap();
        let lead = leader(env, &servers).await;
        lead.raft.propose(payload(1)).await.unwrap();
        env.sleep(ms(1000) + env.jitter(ms(200))).await;
        alarms.store(0, Ordering::Relaxed);
        Processes {
            envs,
            servers,
            alarms,
        }
    }

    fn alarms(&self) -> usize {
        self.alarms.load(Ordering::Relaxed)
    }

    fn env_of(&self, raft: &Raft) -> &Env {
        let at = { self.servers.iter() }.position(|server| server.raft.id() == raft.id());
        &self.envs[at.unwrap()]
    }

    fn others(&self, raft: &Raft) -> Vec<Raft> {
        let rafts = self.servers.iter().map(|server| server.raft.clone());
        rafts.filter(|other| other.id() != raft.id()).collect()
    }

    /// Lets all but this one follow in the same term for a while longer.
    async fn nothing_changed(&self, env: &Env, lead: &Raft, term: u64, what: &str) {
        env.sleep(ms(1500)).await;
        for server in &self.servers {
            assert_eq!(server.raft.metrics().term.0, term, "{what}");
            let known = server.raft.leader().map(|leader| leader.id);
            assert_eq!(known, Some(lead.id()), "{what}");
        }
        lead.propose(payload(2)).await.unwrap();
    }
}

async fn successor(env: &Env, left: &[Raft]) -> Raft {
    until(env, "a successor", || {
        left.iter().find(|raft| raft.is_leader_lease_valid())
    })
    .await
    .clone()
}

#[test]
fn a_leader_that_stands_still_has_a_successor_within_a_second_and_follows_it_afterwards() {
    let mut longest = Duration::ZERO;
    for seed in 0..seeds(15) {
        for count in [3, 5] {
            let what = format!("seed {seed}, {count} servers");
            let (took, terms) = sim_block_on(seed, async |env| {
                let hub = Hub::default();
                let all = Processes::start(&env, &hub, seed, count).await;
                let old = leader(&env, &all.servers).await.raft.clone();
                let term = old.metrics().term.0;
                let left = all.others(&old);
                all.env_of(&old).set_paused(true);
                let at = env.mono();
                let new = successor(&env, &left).await;
                new.propose(payload(2)).await.unwrap();
                let took = env.mono().since(at);
                let terms = new.metrics().term.0 - term;

                env.sleep(env.jitter(ms(5000))).await;
                all.env_of(&old).set_paused(false);
                assert!(!old.is_current(), "{what}: a lease outlived the pause");
                new.propose(payload(3)).await.unwrap();
                if old.read_index(ReadGuarantee::Lease).await.is_ok() {
                    let at = { all.servers.iter() }.position(|one| one.raft.id() == old.id());
                    let seen = all.servers[at.unwrap()].seen.lock();
                    assert_eq!(seen.last().unwrap().1, payload(3), "{what}: a stale read");
                }
                until(&env, "the old leader to follow", || {
                    (old.leader()?.id == new.id()).then_some(())
                })
                .await;
                stop(&hub, &all.servers).await;
                (took, terms)
            });
            assert!(took < ms(1000), "{what}: {took:?}");
            assert_eq!(terms, 1, "{what}: votes were split");
            longest = longest.max(took);
        }
    }
    println!("the longest took {longest:?}");
}

#[test]
fn requests_find_no_leader_soon_after_it_fell_silent() {
    sim_block_on(4, async |env| {
        let hub = Hub::default();
        let all = Processes::start(&env, &hub, 4, 3).await;
        let old = leader(&env, &all.servers).await.raft.clone();
        let left = all.others(&old);
        all.env_of(&old).set_paused(true);
        env.sleep(ms(550)).await;
        for raft in &left {
            assert_eq!(raft.leader(), None);
            assert!(!raft.has_leader());
        }
        all.env_of(&old).set_paused(false);
        stop(&hub, &all.servers).await;
    });
}

#[test]
fn an_heir_that_stood_still_when_it_was_offered_the_office_does_not_disturb_afterwards() {
    for seed in 0..seeds(5) {
        sim_block_on(seed, async |env| {
            let hub = Hub::default();
            let all = Processes::start(&env, &hub, seed, 3).await;
            let lead = leader(&env, &all.servers).await.raft.clone();
            let term = lead.metrics().term.0;
            let heir = all.others(&lead)[0].clone();
            all.env_of(&heir).set_paused(true);
            let at = env.mono();
            let told = lead.transfer_leader(Some(heir.id())).await;
            assert_eq!(told, Err(TransferError::Timeout), "seed {seed}");
            let took = env.mono().since(at);
            assert!(took <= ms(1010), "seed {seed}: {took:?}");
            for n in 0..20 {
                lead.propose(payload(n)).await.unwrap();
            }
            env.sleep(env.jitter(ms(3000))).await;
            all.env_of(&heir).set_paused(false);
            let what = format!("seed {seed}");
            all.nothing_changed(&env, &lead, term, &what).await;
            stop(&hub, &all.servers).await;
        });
    }
}

#[test]
fn a_stutter_below_the_limit_raises_no_alarm() {
    for seed in 0..seeds(5) {
        sim_block_on(seed, async |env| {
            let hub = Hub::default();
            let all = Processes::start(&env, &hub, seed, 3).await;
            let lead = leader(&env, &all.servers).await.raft.clone();
            let term = lead.metrics().term.0;
            for _ in 0..20 {
                all.env_of(&lead).set_paused(true);
                env.sleep(env.jitter(ms(290))).await;
                all.env_of(&lead).set_paused(false);
                env.sleep(ms(150) + env.jitter(ms(400))).await;
            }
            assert_eq!(all.alarms(), 0, "seed {seed}");
            let what = format!("seed {seed}");
            all.nothing_changed(&env, &lead, term, &what).await;
            stop(&hub, &all.servers).await;
        });
    }
}

#[test]
fn a_leader_that_answers_when_it_is_asked_keeps_its_office() {
    for seed in 0..seeds(5) {
        sim_block_on(seed, async |env| {
            let hub = Hub::default();
            let all = Processes::start(&env, &hub, seed, 3).await;
            let lead = leader(&env, &all.servers).await.raft.clone();
            let term = lead.metrics().term.0;
            for _ in 0..10 {
                all.env_of(&lead).set_paused(true);
                // The alarm comes 370 to 510 ms after the pause began, and an answer has 200 ms.
                env.sleep(ms(515) + env.jitter(ms(40))).await;
                all.env_of(&lead).set_paused(false);
                env.sleep(ms(1200) + env.jitter(ms(400))).await;
            }
            assert!(all.alarms() > 10, "seed {seed}: {}", all.alarms());
            let what = format!("seed {seed}");
            all.nothing_changed(&env, &lead, term, &what).await;
            stop(&hub, &all.servers).await;
        });
    }
}

#[test]
fn a_follower_that_is_cut_off_changes_nothing() {
    // How it is cut off: wholly; from the leader; the leader hears it, and it does not hear the leader.
    for (seed, how) in (0..6).zip([0, 1, 2].into_iter().cycle()) {
        sim_block_on(seed, async |env| {
            let hub = Hub::default();
            let all = Processes::start(&env, &hub, seed, 3).await;
            let lead = leader(&env, &all.servers).await.raft.clone();
            let term = lead.metrics().term.0;
            let lost = all.others(&lead)[0].clone();
            match how {
                0 => hub.cut(lost.id()),
                1 => {
                    hub.kill_link(lead.id(), lost.id());
                    hub.kill_link(lost.id(), lead.id());
                }
                _ => hub.kill_link(lead.id(), lost.id()),
            }
            for n in 0..60 {
                env.sleep(env.jitter(ms(500))).await;
                if how == 0 || n % 20 == 0 {
                    lead.propose(payload(n)).await.unwrap();
                }
                for server in &all.servers {
                    assert_eq!(server.raft.metrics().term.0, term, "{how}, seed {seed}");
                }
                assert!(lead.is_leader_lease_valid(), "{how}, seed {seed}");
            }
            assert!(all.alarms() > 3, "{how}, seed {seed}: {}", all.alarms());
            hub.heal();
            let what = format!("cut off as {how}, seed {seed}");
            all.nothing_changed(&env, &lead, term, &what).await;
            stop(&hub, &all.servers).await;
        });
    }
}

#[test]
fn a_follower_that_stood_still_accuses_nobody() {
    for seed in 0..seeds(5) {
        sim_block_on(seed, async |env| {
            let hub = Hub::default();
            let all = Processes::start(&env, &hub, seed, 3).await;
            let lead = leader(&env, &all.servers).await.raft.clone();
            let term = lead.metrics().term.0;
            let still = all.others(&lead)[0].clone();
            for _ in 0..5 {
                // Messages do not reach it meanwhile; what is sent afterwards does.
                hub.cut(still.id());
                all.env_of(&still).set_paused(true);
                env.sleep(ms(700) + env.jitter(ms(4000))).await;
                hub.heal();
                all.env_of(&still).set_paused(false);
                env.sleep(ms(700)).await;
            }
            assert_eq!(all.alarms(), 0, "seed {seed}");
            let what = format!("seed {seed}");
            all.nothing_changed(&env, &lead, term, &what).await;
            stop(&hub, &all.servers).await;
        });
    }
}

#[test]
fn a_survivor_without_a_majority_leaves_no_term_behind() {
    sim_block_on(9, async |env| {
        let hub = Hub::default();
        let all = Processes::start(&env, &hub, 9, 3).await;
        let lead = leader(&env, &all.servers).await.raft.clone();
        let term = lead.metrics().term.0;
        let left = all.others(&lead);
        hub.cut(left[0].id());
        all.env_of(&lead).set_paused(true);
        env.sleep(ms(4500)).await;
        assert_eq!(left[1].metrics().term.0, term);
        assert!(!left[1].is_leader_lease_valid());
        all.env_of(&lead).set_paused(false);
        hub.heal();
        all.nothing_changed(&env, &lead, term, "healed").await;
        stop(&hub, &all.servers).await;
    });
}

#[test]
fn servers_that_all_stood_still_go_on_as_they_were() {
    for seed in 0..seeds(5) {
        sim_block_on(seed, async |env| {
            let hub = Hub::default();
            let all = Processes::start(&env, &hub, seed, 3).await;
            let lead = leader(&env, &all.servers).await.raft.clone();
            let term = lead.metrics().term.0;
            // As a machine with all of them that was suspended for a while shorter than an election takes.
            all.envs.iter().for_each(|env| env.set_paused(true));
            env.sleep(ms(3000)).await;
            all.envs.iter().for_each(|env| env.set_paused(false));
            let what = format!("seed {seed}");
            all.nothing_changed(&env, &lead, term, &what).await;
            assert_eq!(all.alarms(), 0, "{what}");
            stop(&hub, &all.servers).await;
        });
    }
}
