//! A leader that falls silent although its process is still there has a successor within a second at default timing; one that
//! merely stutters, and a follower that is cut off, change nothing.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Hub, Server, config, leader, members, payload, seeds, start, stop, until};
use tribune_raft::{Raft, ReadGuarantee, Timing, TransferError};
use tribune_rt::{Env, sim_block_on};

/// Servers at default timing that have had a leader for a while. Each is a process that can stand still, and listens to its
/// leader as servers do.
struct Processes {
    env: Env,
    hub: Hub,
    envs: Vec<Env>,
    servers: Vec<Server>,
    lead: Raft,
    term: u64,
    /// Alarms that were raised.
    alarms: Arc<AtomicUsize>,
    /// Which run this is.
    what: String,
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

/// Runs a test with so many processes.
fn with<T>(seed: u64, count: u8, test: impl AsyncFnOnce(&Processes) -> T) -> T {
    sim_block_on(seed, async |env| {
        let all = Processes::start(env, seed, count).await;
        let told = test(&all).await;
        stop(&all.hub, &all.servers).await;
        told
    })
}

/// Runs a test with three processes for so many seeds, or as many as are asked for.
fn with_three(usual: u64, test: impl AsyncFn(&Processes)) {
    for seed in 0..seeds(usual) {
        with(seed, 3, &test);
    }
}

impl Processes {
    async fn start(env: Env, seed: u64, count: u8) -> Processes {
        let hub = Hub::default();
        hub.slow_down(&env, ms(3));
        let alarms = Arc::new(AtomicUsize::new(0));
        let (mut envs, mut servers) = (Vec::new(), Vec::new());
        for n in 1..=count {
            let own = Env::sim(seed ^ u64::from(n) << 32).unwrap();
            let mut settings = config(n, None);
            settings.timing = Timing::default();
            settings.propose_timeout = ms(2000);
            let server = start(&own, &hub, settings).await;
            let listening = listen(own.clone(), server.raft.clone(), alarms.clone());
            own.spawn("listen", listening);
            envs.push(own);
            servers.push(server);
        }
        servers[0].raft.bootstrap(members(1..=count)).await.unwrap();
        let lead = leader(&env, &servers).await.raft.clone();
        lead.propose(payload(1)).await.unwrap();
        env.sleep(ms(1000) + env.jitter(ms(200))).await;
        alarms.store(0, Ordering::Relaxed);
        Processes {
            term: lead.metrics().term.0,
            env,
            hub,
            envs,
            servers,
            lead,
            alarms,
            what: format!("seed {seed}, {count} servers"),
        }
    }

    fn alarms(&self) -> usize {
        self.alarms.load(Ordering::Relaxed)
    }

    fn at(&self, raft: &Raft) -> usize {
        let at = { self.servers.iter() }.position(|server| server.raft.id() == raft.id());
        at.unwrap()
    }

    /// Lets one stand still, or go on.
    fn set_paused(&self, raft: &Raft, paused: bool) {
        self.envs[self.at(raft)].set_paused(paused);
    }

    /// All but the leader.
    fn others(&self) -> Vec<Raft> {
        let rafts = self.servers.iter().map(|server| server.raft.clone());
        rafts.filter(|other| other.id() != self.lead.id()).collect()
    }

    /// Time passes: so much, and a random part of as much again.
    async fn pass(&self, least_ms: u64, jitter_ms: u64) {
        let (env, jitter) = (&self.env, self.env.jitter(ms(jitter_ms)));
        env.sleep(ms(least_ms) + jitter).await;
    }

    /// All follow the same leader in the same term for a while longer.
    async fn nothing_changed(&self) {
        self.pass(1500, 0).await;
        for server in &self.servers {
            assert_eq!(server.raft.metrics().term.0, self.term, "{}", self.what);
            let known = server.raft.leader().map(|leader| leader.id);
            assert_eq!(known, Some(self.lead.id()), "{}", self.what);
        }
        self.lead.propose(payload(2)).await.unwrap();
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
    for (seed, count) in (0..seeds(15)).flat_map(|seed| [(seed, 3), (seed, 5)]) {
        let took = with(seed, count, async |all| {
            let (env, old, what) = (&all.env, &all.lead, &all.what);
            let left = all.others();
            all.set_paused(old, true);
            let at = env.mono();
            let new = successor(env, &left).await;
            new.propose(payload(2)).await.unwrap();
            let took = env.mono().since(at);
            assert!(took < ms(1000), "{what}: {took:?}");
            let terms = new.metrics().term.0 - all.term;
            assert_eq!(terms, 1, "{what}: votes were split");

            all.pass(0, 5000).await;
            all.set_paused(old, false);
            assert!(!old.is_current(), "{what}: a lease outlived the pause");
            new.propose(payload(3)).await.unwrap();
            if old.read_index(ReadGuarantee::Lease).await.is_ok() {
                let seen = all.servers[all.at(old)].seen.lock();
                assert_eq!(seen.last().unwrap().1, payload(3), "{what}: a stale read");
            }
            until(env, "the old leader to follow", || {
                (old.leader()?.id == new.id()).then_some(())
            })
            .await;
            took
        });
        longest = longest.max(took);
    }
    println!("the longest took {longest:?}");
}

#[test]
fn requests_find_no_leader_soon_after_it_fell_silent() {
    with(4, 3, async |all| {
        all.set_paused(&all.lead, true);
        all.pass(550, 0).await;
        for raft in &all.others() {
            assert_eq!(raft.leader(), None);
            assert!(!raft.has_leader());
        }
        all.set_paused(&all.lead, false);
    });
}

#[test]
fn an_heir_that_stood_still_when_it_was_offered_the_office_does_not_disturb_afterwards() {
    with_three(5, async |all| {
        let (env, lead, what) = (&all.env, &all.lead, &all.what);
        let heir = &all.others()[0];
        all.set_paused(heir, true);
        let at = env.mono();
        let told = lead.transfer_leader(Some(heir.id())).await;
        assert_eq!(told, Err(TransferError::Timeout), "{what}");
        let took = env.mono().since(at);
        assert!(took <= ms(1010), "{what}: {took:?}");
        for n in 0..20 {
            lead.propose(payload(n)).await.unwrap();
        }
        all.pass(0, 3000).await;
        all.set_paused(heir, false);
        all.nothing_changed().await;
    });
}

#[test]
fn a_stutter_below_the_limit_raises_no_alarm() {
    with_three(5, async |all| {
        for _ in 0..20 {
            all.set_paused(&all.lead, true);
            all.pass(0, 290).await;
            all.set_paused(&all.lead, false);
            all.pass(150, 400).await;
        }
        assert_eq!(all.alarms(), 0, "{}", all.what);
        all.nothing_changed().await;
    });
}

#[test]
fn a_leader_that_answers_when_it_is_asked_keeps_its_office() {
    with_three(5, async |all| {
        for _ in 0..10 {
            all.set_paused(&all.lead, true);
            // The alarm comes 370 to 510 ms after the pause began, and an answer has 200 ms.
            all.pass(515, 40).await;
            all.set_paused(&all.lead, false);
            all.pass(1200, 400).await;
        }
        assert!(all.alarms() > 10, "{}: {}", all.what, all.alarms());
        all.nothing_changed().await;
    });
}

#[test]
fn a_follower_that_is_cut_off_changes_nothing() {
    // How it is cut off: wholly; from the leader; the leader hears it, and it does not hear the leader.
    for (seed, how) in (0..6).zip([0, 1, 2].into_iter().cycle()) {
        with(seed, 3, async |all| {
            let (hub, lead, what) = (&all.hub, &all.lead, &all.what);
            let lost = all.others()[0].id();
            match how {
                0 => hub.cut(lost),
                1 => {
                    hub.kill_link(lead.id(), lost);
                    hub.kill_link(lost, lead.id());
                }
                _ => hub.kill_link(lead.id(), lost),
            }
            for n in 0..60 {
                all.pass(0, 500).await;
                if how == 0 || n % 20 == 0 {
                    lead.propose(payload(n)).await.unwrap();
                }
                for server in &all.servers {
                    assert_eq!(server.raft.metrics().term.0, all.term, "{how}, {what}");
                }
                assert!(lead.is_leader_lease_valid(), "{how}, {what}");
            }
            assert!(all.alarms() > 3, "{how}, {what}: {}", all.alarms());
            hub.heal();
            all.nothing_changed().await;
        });
    }
}

#[test]
fn a_follower_that_stood_still_accuses_nobody() {
    with_three(5, async |all| {
        let still = &all.others()[0];
        for _ in 0..5 {
            // Messages do not reach it meanwhile; what is sent afterwards does.
            all.hub.cut(still.id());
            all.set_paused(still, true);
            all.pass(700, 4000).await;
            all.hub.heal();
            all.set_paused(still, false);
            all.pass(700, 0).await;
        }
        assert_eq!(all.alarms(), 0, "{}", all.what);
        all.nothing_changed().await;
    });
}

#[test]
fn a_survivor_without_a_majority_leaves_no_term_behind() {
    with(9, 3, async |all| {
        let left = all.others();
        all.hub.cut(left[0].id());
        all.set_paused(&all.lead, true);
        all.pass(4500, 0).await;
        assert_eq!(left[1].metrics().term.0, all.term);
        assert!(!left[1].is_leader_lease_valid());
        all.set_paused(&all.lead, false);
        all.hub.heal();
        all.nothing_changed().await;
    });
}

#[test]
fn servers_that_all_stood_still_go_on_as_they_were() {
    with_three(5, async |all| {
        // As a machine with all of them that was suspended for a while shorter than an election takes.
        all.envs.iter().for_each(|env| env.set_paused(true));
        all.pass(3000, 0).await;
        all.envs.iter().for_each(|env| env.set_paused(false));
        all.nothing_changed().await;
        assert_eq!(all.alarms(), 0, "{}", all.what);
    });
}
