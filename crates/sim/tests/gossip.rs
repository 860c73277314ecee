//! Pools of gossip cores on virtual time: what must hold for every seed. Bigger pools are measured by the example
//! `gossip_scale`.

use std::collections::BTreeSet;
use std::time::Duration;

use tribune_serf::{MemberChange, Question};
use tribune_sim::gossip::{Cut, Link, Nodes, Pool, PoolOptions, tags_of};
use tribune_sim::{first_seed, seeds};
use tribune_types::member::MemberStatus;
use tribune_types::text::text;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Prints the seed of a run that panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with TRIBUNE_SEED={}", self.0);
        }
    }
}

/// Runs this many seeds (all tests of this file, with `TRIBUNE_SEEDS`, at least so many), or the one to replay.
fn each_seed(count: u64, mut run: impl FnMut(u64)) {
    let range = match first_seed() {
        Some(seed) => seed..seed + 1,
        None => 0..seeds(0).max(count),
    };
    for seed in range {
        let _named = Named(seed);
        run(seed);
    }
}

fn quiet_pool(nodes: usize, seed: u64) -> Pool {
    let mut pool = Pool::converged(PoolOptions::new(nodes, seed));
    pool.run_for(secs(3));
    pool
}

fn lossy_pool(nodes: usize, seed: u64, loss: f64) -> Pool {
    let mut pool = Pool::converged(PoolOptions {
        link: Link::lan().with_loss(loss),
        ..PoolOptions::new(nodes, seed)
    });
    pool.run_for(secs(3));
    pool
}

/// Long enough that who was missed by gossip learns by an exchange of states, in pools of up to 128.
const EXCHANGES: Duration = secs(200);

/// Lets the pool run until all agree with the truth.
fn must_agree(pool: &mut Pool, limit: Duration) -> Duration {
    let took = pool.run_until(limit, |pool| pool.agrees());
    if let Err(wrong) = pool.check_agreement() {
        panic!("{wrong}");
    }
    took.expect("no disagreement is agreement")
}

/// The same after faults in whose wake some failures are reported and taken back.
fn must_merge(pool: &mut Pool, limit: Duration) {
    pool.run_until(limit, |pool| pool.agrees());
    for check in [pool.check_rules(), pool.check_beliefs()] {
        if let Err(wrong) = check {
            panic!("{wrong}");
        }
    }
}

/// Most runs are quick; a few wait for an exchange.
fn must_be_quick(mut times: Vec<Duration>, limit: Duration) {
    times.sort();
    let median = times[times.len() / 2];
    assert!(median <= limit, "{times:?}");
}

fn must_be_sane(pool: &Pool) {
    if let Err(wrong) = pool.check() {
        panic!("{wrong}");
    }
}

#[test]
fn a_pool_that_is_left_alone_stays_as_it_is() {
    each_seed(5, |seed| {
        let mut pool = quiet_pool(60, seed);
        pool.run_for(secs(120));
        assert_eq!(pool.counts().suspicions, 0);
        assert!(pool.counts().merges > 60, "{:?}", pool.counts());
        must_agree(&mut pool, secs(0));
    });
}

#[test]
fn a_join_of_one_is_seen_by_all_in_the_predicted_time() {
    let mut sum = Duration::ZERO;
    let mut count = 0;
    each_seed(10, |seed| {
        let mut pool = quiet_pool(100, seed);
        let new = pool.add();
        let joined = pool.watch(new, MemberChange::Joined);
        pool.join(new, &[seed as usize % 100]);
        pool.run_for(secs(5));
        let took = pool.watched(joined).until(100).expect("seen by all");
        let bound = pool.predict().spread() * 2;
        assert!(took < bound, "{took:?}, expected less than {bound:?}");
        must_agree(&mut pool, EXCHANGES);
        sum += took;
        count += 1;
    });
    let predicted = quiet_pool(100, 0).predict().spread();
    let mean = sum / count;
    assert!(
        mean < predicted && mean > predicted / 6,
        "{mean:?}, predicted {predicted:?}"
    );
}

#[test]
fn a_failure_is_seen_by_all_within_the_bounds_of_the_formulas() {
    let mut sum = Duration::ZERO;
    let mut count = 0;
    each_seed(10, |seed| {
        let mut pool = quiet_pool(100, seed);
        let predict = pool.predict();
        let victim = 7;
        let failed = pool.watch(victim, MemberChange::Failed);
        pool.kill(victim);
        pool.run_for(secs(70));
        let watch = pool.watched(failed);
        let suspected = watch.first_suspicion().expect("somebody notices");
        let first = watch.until(1).expect("somebody reports");
        let all = watch.until(99).expect("seen by all");
        assert!(
            suspected <= predict.first_suspicion_bound(),
            "first suspicion after {suspected:?}"
        );
        assert!(
            first >= suspected + predict.suspicion_min(),
            "suspected {suspected:?}, reported {first:?}"
        );
        assert!(
            first <= suspected + predict.suspicion_max() + Duration::from_millis(10),
            "suspected {suspected:?}, reported {first:?}"
        );
        assert!(
            all <= first + predict.spread() * 3,
            "reported {first:?}, by all {all:?}"
        );
        must_agree(&mut pool, EXCHANGES);
        sum += all;
        count += 1;
    });
    let predicted = quiet_pool(100, 0).predict().failure_known();
    let mean = sum / count;
    assert!(
        mean < predicted.mul_f64(1.4) && mean > predicted.mul_f64(0.7),
        "{mean:?}, predicted {predicted:?}"
    );
}

#[test]
fn a_thousand_agents_see_a_join_and_a_failure() {
    let mut pool = quiet_pool(1000, 1);
    let new = pool.add();
    let joined = pool.watch(new, MemberChange::Joined);
    pool.join(new, &[5]);
    pool.run_for(secs(4));
    assert_eq!(pool.watched(joined).count(), 1000);
    let failed = pool.watch(17, MemberChange::Failed);
    pool.kill(17);
    let took = pool.run_until(secs(30), |pool| pool.watched(failed).count() == 1000);
    assert!(took.is_some(), "{}", pool.watched(failed).count());
    must_agree(&mut pool, secs(0));
}

#[test]
fn one_percent_of_loss_fails_nobody() {
    each_seed(3, |seed| {
        let mut pool = lossy_pool(100, seed, 0.01);
        pool.run_for(secs(300));
        must_be_sane(&pool);
        must_agree(&mut pool, EXCHANGES);
    });
}

#[test]
fn a_tenth_of_loss_with_duplicates_fails_nobody() {
    each_seed(3, |seed| {
        let mut pool = Pool::converged(PoolOptions {
            link: Link {
                loss: 0.1,
                duplication: 0.05,
                ..Link::lan()
            },
            ..PoolOptions::new(60, seed)
        });
        pool.run_for(secs(180));
        must_be_sane(&pool);
        pool.set_loss(0.0);
        must_agree(&mut pool, EXCHANGES);
    });
}

#[test]
fn who_hears_but_is_not_heard_takes_nobody_down() {
    let (mut flaps, mut runs) = (0, 0);
    each_seed(5, |seed| {
        let mut pool = quiet_pool(60, seed);
        let mute = 11;
        pool.cut(Cut::mute(mute));
        pool.run_for(secs(84 + seed % 8));
        // Others agree on one another, and miss the mute one; it misses everybody.
        must_be_sane(&pool);
        for other in (0..60).filter(|other| *other != mute) {
            assert_eq!(
                pool.believes(other, mute),
                Some(MemberStatus::Failed),
                "{other}"
            );
        }
        let core = pool.core(mute).expect("it runs");
        // It doubts itself most of all, so it probes slowly and buries few.
        assert_eq!(core.swim().health_score(), 7);
        assert!(core.alive_count() < 60);
        pool.heal_all();
        must_merge(&mut pool, secs(300));
        // At most one death that it pronounced, unheard, right before the end of the cut.
        let wrong = pool.oracle().false_failures();
        let subjects: BTreeSet<usize> = wrong.iter().map(|one| one.subject).collect();
        assert!(subjects.len() <= 2, "{wrong:?}");
        flaps += subjects.len();
        runs += 1;
    });
    assert!(flaps <= 1 + runs / 3, "{flaps} in {runs} runs");
}

#[test]
fn who_is_heard_but_does_not_hear_takes_nobody_down() {
    each_seed(5, |seed| {
        let mut pool = quiet_pool(60, seed);
        let deaf = 23;
        pool.cut(Cut::deaf(deaf));
        pool.run_for(secs(90));
        for other in (0..60).filter(|other| *other != deaf) {
            assert_eq!(
                pool.believes(other, deaf),
                Some(MemberStatus::Failed),
                "{other}"
            );
        }
        pool.heal_all();
        must_merge(&mut pool, secs(300));
        // It accuses everybody in turn, and all answer; some of the many answers miss somebody.
        let wrong = pool.oracle().false_failures();
        assert!(wrong.len() <= 8, "{wrong:?}");
    });
}

#[test]
fn a_one_way_partition_heals() {
    each_seed(4, |seed| {
        let mut pool = quiet_pool(60, seed);
        pool.cut(Cut {
            from: Nodes::of(0..20),
            to: Nodes::but(0..20),
        });
        pool.run_for(secs(60));
        // Those who hear themselves and others are not misled; the others hear accusations all the time, and a third of
        // their answers reaches their own side only.
        let wrong = pool.oracle().false_failures();
        assert!(wrong.iter().all(|one| one.observer < 20), "{wrong:?}");
        pool.heal_all();
        must_merge(&mut pool, secs(400));
    });
}

#[test]
fn a_healed_partition_merges_again_even_after_the_dead_were_purged() {
    // (seconds of partition): shorter than a suspicion, about as long, longer than the dead are remembered below.
    for length in [5, 20, 200] {
        each_seed(3, |seed| {
            let mut pool = quiet_pool(50, seed);
            let (left, right) = (Nodes::of(0..20), Nodes::but(0..20));
            pool.cut(Cut {
                from: left.clone(),
                to: right.clone(),
            });
            pool.cut(Cut {
                from: right,
                to: left,
            });
            pool.run_for(secs(length));
            if length == 200 {
                let core = pool.core(3).expect("it runs");
                assert_eq!(core.alive_count(), 20);
                assert_eq!(core.swim().len(), 20, "the other side is purged");
            }
            pool.heal_all();
            must_merge(&mut pool, secs(400));
        });
    }
}

#[test]
fn a_short_pause_is_refuted_and_nobody_fails() {
    let (mut reports, mut runs) = (0, 0);
    each_seed(6, |seed| {
        let mut pool = quiet_pool(60, seed);
        let failed = pool.watch(9, MemberChange::Failed);
        pool.pause(9);
        pool.run_for(secs(4));
        pool.resume(9);
        pool.run_for(secs(60));
        must_merge(&mut pool, EXCHANGES);
        // Who is missed by the refute, 1 of 60 agents in one of 50 runs, goes on suspecting.
        reports += pool.watched(failed).count();
        runs += 1;
    });
    assert!(reports <= 1 + runs / 10, "{reports} in {runs} runs");
}

#[test]
fn a_long_pause_is_a_failure_and_ends_by_refuting_without_flapping_of_others() {
    each_seed(6, |seed| {
        let mut pool = quiet_pool(60, seed);
        let failed = pool.watch(9, MemberChange::Failed);
        pool.pause(9);
        pool.run_for(secs(50));
        assert_eq!(pool.watched(failed).count(), 59);
        let back = pool.watch(9, MemberChange::Joined);
        pool.resume(9);
        must_agree(&mut pool, EXCHANGES);
        assert_eq!(pool.watched(back).count(), 59);
        pool.run_for(secs(100));
        assert_eq!(pool.watched(failed).count(), 59);
        must_agree(&mut pool, secs(0));
    });
}

#[test]
fn a_restarted_agent_recovers_by_refuting() {
    // (seconds until the restart): unnoticed, suspected, failed, purged below.
    for pause in [0, 4, 30, 90] {
        let mut times = Vec::new();
        each_seed(4, |seed| {
            let mut pool = quiet_pool(40, seed);
            pool.kill(5);
            pool.run_for(secs(pause));
            pool.restart(5);
            times.push(must_agree(&mut pool, EXCHANGES));
            pool.run_for(secs(60));
            must_agree(&mut pool, secs(0));
        });
        must_be_quick(times, secs(2));
    }
}

#[test]
fn an_agent_that_forgot_everything_recovers_as_well() {
    let mut times = Vec::new();
    each_seed(4, |seed| {
        let mut pool = quiet_pool(40, seed);
        pool.kill(5);
        pool.run_for(secs(30));
        pool.restart_from_nothing(5, &[8]);
        times.push(must_agree(&mut pool, EXCHANGES));
    });
    must_be_quick(times, secs(2));
}

#[test]
fn a_leave_is_seen_as_left_and_not_as_a_failure() {
    let (mut reports, mut runs) = (0, 0);
    each_seed(5, |seed| {
        let mut pool = quiet_pool(60, seed);
        let left = pool.watch(3, MemberChange::Left);
        let failed = pool.watch(3, MemberChange::Failed);
        pool.leave(3);
        pool.run_for(secs(15));
        assert!(pool.core(3).is_none(), "it stopped");
        assert!(pool.watched(left).count() >= 58);
        // Gossip alone misses one of 60 agents now and then: it takes the end for a failure until the next exchange.
        reports += pool.watched(failed).count();
        runs += 1;
        must_merge(&mut pool, secs(120));
        pool.restart_from_nothing(3, &[0]);
        must_agree(&mut pool, EXCHANGES);
    });
    assert!(reports <= 1 + runs / 5, "{reports} in {runs} runs");
}

#[test]
fn a_failed_agent_can_be_declared_as_left_and_a_living_one_refutes() {
    each_seed(3, |seed| {
        let mut pool = quiet_pool(40, seed);
        let failed = pool.watch(3, MemberChange::Failed);
        pool.kill(3);
        pool.run_until(secs(40), |pool| pool.watched(failed).count() == 39);
        let left = pool.watch(3, MemberChange::Left);
        pool.force_leave(10, 3, false);
        let all = pool.run_until(EXCHANGES, |pool| pool.watched(left).count() == 39);
        assert!(all.is_some(), "{}", pool.watched(left).count());

        pool.force_leave(10, 4, false);
        pool.run_for(secs(10));
        assert_eq!(pool.believes(20, 4), Some(MemberStatus::Alive));
        must_be_sane(&pool);
    });
}

#[test]
fn a_user_event_reaches_all_exactly_once() {
    each_seed(6, |seed| {
        let mut pool = Pool::converged(PoolOptions {
            link: Link {
                loss: 0.01,
                duplication: 0.05,
                ..Link::lan()
            },
            ..PoolOptions::new(100, seed)
        });
        pool.run_for(secs(2));
        for (at, name) in ["deploy", "flush", "deploy"].into_iter().enumerate() {
            pool.fire(at * 30, name, &[at as u8; 100]).expect("small");
            pool.run_for(secs(1) / 10);
        }
        // Past an exchange of states, which carries events as well.
        pool.run_for(secs(100));
        must_be_sane(&pool);
        let clock = pool.core(0).expect("it runs").stats().event_time;
        let delivered: usize = (0..clock)
            .map(|at| pool.oracle().deliveries(at, "deploy"))
            .sum();
        assert_eq!(delivered, 200);
    });
}

#[test]
fn a_query_collects_the_acks_and_answers_of_all() {
    each_seed(4, |seed| {
        let mut pool = quiet_pool(100, seed);
        let question = Question {
            name: text("who"),
            ack: true,
            ..Question::default()
        };
        let query = pool.ask(42, question).expect("small");
        pool.run_for(secs(10));
        assert_eq!(pool.acks(42, query), 100);
        assert_eq!(pool.answers(42, query), 100);
        must_be_sane(&pool);
    });
}

#[test]
fn relays_carry_acks_past_a_cut() {
    each_seed(3, |seed| {
        let mut pool = quiet_pool(40, seed);
        // 5 cannot send to 0, but to others who can.
        pool.cut(Cut {
            from: Nodes::one(5),
            to: Nodes::one(0),
        });
        let question = Question {
            name: text("who"),
            ack: true,
            relay_factor: 3,
            ..Question::default()
        };
        let query = pool.ask(0, question).expect("small");
        pool.run_for(secs(8));
        assert_eq!(pool.acks(0, query), 40);
        must_be_sane(&pool);
    });
}

#[test]
fn twenty_strangers_find_one_another_at_once() {
    let mut times = Vec::new();
    each_seed(10, |seed| {
        let mut pool = Pool::strangers(PoolOptions::new(20, seed));
        pool.run_for(secs(1));
        for node in 1..20 {
            pool.join(node, &[0]);
        }
        times.push(must_agree(&mut pool, EXCHANGES));
    });
    must_be_quick(times, secs(1));
}

#[test]
fn a_newcomer_is_seen_by_twenty_agents_within_half_a_second() {
    let mut times = Vec::new();
    each_seed(20, |seed| {
        let mut pool = quiet_pool(20, seed);
        let new = pool.add();
        let joined = pool.watch(new, MemberChange::Joined);
        pool.join(new, &[0]);
        pool.run_until(EXCHANGES, |pool| pool.watched(joined).count() == 20);
        times.push(pool.watched(joined).until(20).expect("seen by all"));
        must_be_sane(&pool);
    });
    let slow = times.iter().filter(|time| **time > secs(1) / 2).count();
    assert!(slow <= 1 + times.len() / 20, "{times:?}");
    must_be_quick(times, secs(1) / 4);
}

#[test]
fn twenty_agents_join_a_pool_at_once() {
    let mut times = Vec::new();
    each_seed(4, |seed| {
        let mut pool = lossy_pool(80, seed, 0.01);
        let new: Vec<usize> = (0..20).map(|_| pool.add()).collect();
        for node in &new {
            pool.join(*node, &[*node % 80]);
        }
        times.push(must_agree(&mut pool, EXCHANGES));
    });
    must_be_quick(times, secs(3));
}

#[test]
fn new_tags_are_seen_by_all() {
    each_seed(3, |seed| {
        let mut pool = quiet_pool(60, seed);
        let updated = pool.watch(6, MemberChange::Updated);
        let mut tags = tags_of(6);
        tags.insert(text("acls"), text("1"));
        pool.set_tags(6, tags).expect("they fit");
        pool.run_for(secs(5));
        assert!(pool.watched(updated).count() >= 59);
        must_agree(&mut pool, secs(0));
    });
}

#[test]
fn many_faults_at_once_leave_no_lasting_damage() {
    each_seed(6, |seed| {
        let mut pool = lossy_pool(60, seed, 0.02);
        let cut = pool.cut(Cut::mute(1));
        pool.pause(2);
        pool.kill(3);
        pool.leave(4);
        pool.cut(Cut {
            from: Nodes::of(10..15),
            to: Nodes::of(30..50),
        });
        pool.run_for(secs(20));
        pool.heal(cut);
        pool.resume(2);
        pool.restart(3);
        pool.run_for(secs(20));
        pool.heal_all();
        pool.set_loss(0.0);
        must_merge(&mut pool, secs(400));
    });
}

#[test]
fn equal_seeds_give_equal_runs() {
    let run = |seed: u64| {
        let mut pool = lossy_pool(50, seed, 0.02);
        pool.kill(3);
        pool.pause(4);
        pool.fire(5, "deploy", b"now").expect("small");
        pool.run_for(secs(20));
        pool.resume(4);
        pool.restart(3);
        pool.leave(6);
        pool.run_for(secs(40));
        (pool.trace().value(), pool.counts())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}
