//! The cache in virtual time, in front of a server made of one index.
#![allow(clippy::unwrap_used, reason = "a failed step of a test may end it")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures_util::future::join_all;
use tokio::sync::Notify;
use tribune_rt::{CancellationToken, sim_block_on};
use tribune_server::answer::Shared;
use tribune_types::query::{Consistency, ListOptions, QueryMeta, Reply};
use tribune_types::text::text;

use super::*;

/// A server: what it knows has an index, which says all about it.
#[derive(Default)]
struct Server {
    index: AtomicU64,
    changed: Notify,
    down: AtomicUsize,
    asked: AtomicUsize,
    waiting: AtomicUsize,
}

impl Server {
    fn set(&self, index: u64) {
        self.index.store(index, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    fn set_down(&self, down: bool) {
        self.down.store(usize::from(down), Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn answer(&self, env: &Env, options: &ReadOptions) -> Result<Answer, RpcError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert_eq!(options.consistency, Consistency::Stale);
        let deadline = env.mono() + options.wait.unwrap_or_default();
        env.sleep(Duration::from_millis(5)).await;
        let _waiting = Waiting::new(&self.waiting);
        let index = loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.down.load(Ordering::SeqCst) == 1 {
                return Err(RpcError::NoLeader);
            }
            let index = Index(self.index.load(Ordering::SeqCst));
            let left = deadline.since(env.mono());
            if index > options.min_index || options.min_index.0 == 0 {
                break index;
            }
            if env.timeout(left, changed).await.is_err() {
                break index;
            }
        };
        Ok(Answer {
            shared: Arc::new(Shared::new(Reply::Keys(Vec::new()), index)),
            meta: QueryMeta {
                index,
                ..QueryMeta::default()
            },
        })
    }
}

/// Counts a request that waits, also when it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn new(count: &AtomicUsize) -> Waiting<'_> {
        count.fetch_add(1, Ordering::SeqCst);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A cache with all that a test needs.
struct World {
    env: Env,
    server: Arc<Server>,
    cache: Cache,
    stop: CancellationToken,
}

impl World {
    fn new(env: &Env, rate: Option<f64>) -> World {
        let server = Arc::new(Server::default());
        server.set(10);
        let stop = CancellationToken::new();
        let fetch: Fetch = {
            let (env, server) = (env.clone(), Arc::clone(&server));
            Box::new(move |_, _, options| {
                let (env, server) = (env.clone(), Arc::clone(&server));
                Box::pin(async move { server.answer(&env, &options).await })
            })
        };
        let rate = Rate {
            per_second: rate,
            burst: 2,
        };
        World {
            env: env.clone(),
            server,
            cache: Cache::with(env, &env.group(&stop), fetch, rate),
            stop,
        }
    }

    /// (index, hit, age) of an answer.
    async fn get(&self, query: &Query, min: u64, wait: u64) -> Result<(u64, bool, u64), RpcError> {
        self.get_as("", query, min, wait, None).await
    }

    async fn get_as(
        &self,
        token: &str,
        query: &Query,
        min: u64,
        wait: u64,
        max_age: Option<u64>,
    ) -> Result<(u64, bool, u64), RpcError> {
        let caller = Caller {
            token: Token::new(text(token)),
            addr: None,
        };
        let options = ReadOptions {
            min_index: Index(min),
            wait: Some(Duration::from_secs(wait)),
            ..ReadOptions::default()
        };
        let freshness = Freshness {
            max_age: max_age.map(Duration::from_secs),
            ..Freshness::default()
        };
        let got = { self.cache.get(&caller, query, &options, freshness) }.await?;
        Ok((got.value.meta.index.0, got.hit, got.age.as_secs()))
    }

    async fn sleep(&self, secs: u64) {
        self.env.sleep(Duration::from_secs(secs)).await;
    }
}

fn nodes(filter: &str) -> Query {
    Query::Nodes(ListOptions {
        filter: text(filter),
        ..ListOptions::default()
    })
}

#[test]
fn the_first_request_fetches_and_later_ones_find_the_newest_without_asking() {
    sim_block_on(1, async |env| {
        let world = World::new(&env, None);
        assert_eq!(world.get(&nodes("a"), 0, 0).await, Ok((10, false, 0)));
        assert_eq!(world.get(&nodes("a"), 0, 0).await, Ok((10, true, 0)));
        // One waits in the server, and brings what is new.
        world.sleep(1).await;
        assert_eq!(world.server.asked(), 2);
        world.server.set(11);
        world.sleep(1).await;
        assert_eq!(world.get(&nodes("a"), 0, 0).await, Ok((11, true, 0)));
        assert_eq!(world.get(&nodes("a"), 10, 1).await, Ok((11, true, 0)));
        assert_eq!(world.server.asked(), 3);
        // Another query or another token is another entry.
        assert_eq!(world.get(&nodes("b"), 0, 0).await, Ok((11, false, 0)));
        let other = world.get_as("secret", &nodes("a"), 0, 0, None).await;
        assert_eq!(other, Ok((11, false, 0)));
        world.stop.cancel();
    });
}

#[test]
fn requests_that_come_together_share_one_fetch() {
    sim_block_on(2, async |env| {
        let world = World::new(&env, None);
        let query = nodes("");
        let (one, two, three) = tokio::join!(
            world.get(&query, 0, 0),
            world.get(&query, 0, 0),
            world.get(&query, 3, 0)
        );
        assert_eq!(
            BTreeSet::from([one.unwrap(), two.unwrap(), three.unwrap()]),
            BTreeSet::from([(10, false, 0)])
        );
        // The second fetch is the one that waits.
        assert!(world.server.asked() <= 2);
        world.stop.cancel();
    });
}

#[test]
fn a_blocking_request_waits_for_the_next_index_or_its_time() {
    sim_block_on(3, async |env| {
        let world = World::new(&env, None);
        let query = nodes("");
        world.get(&query, 0, 0).await.unwrap();
        let began = env.mono();
        assert_eq!(world.get(&query, 10, 5).await, Ok((10, false, 0)));
        assert_eq!(env.mono().since(began).as_secs(), 5);
        let change = async {
            world.sleep(2).await;
            world.server.set(12);
        };
        let began = env.mono();
        let (got, ()) = tokio::join!(world.get(&query, 10, 60), change);
        assert_eq!(got, Ok((12, false, 0)));
        assert_eq!(env.mono().since(began).as_secs(), 2);
        // An index that went back is found, too.
        world.server.set(4);
        world.server.set_down(true);
        world.sleep(1).await;
        world.server.set_down(false);
        world.sleep(700).await;
        assert_eq!(world.get(&query, 0, 0).await, Ok((4, true, 0)));
        world.stop.cancel();
    });
}

#[test]
fn what_is_kept_outlives_the_servers_and_says_how_old_it_is() {
    sim_block_on(4, async |env| {
        let world = World::new(&env, None);
        let query = nodes("");
        world.get(&query, 0, 0).await.unwrap();
        world.sleep(1).await;
        world.server.set_down(true);
        world.sleep(40).await;
        let (index, hit, age) = world.get(&query, 0, 0).await.unwrap();
        assert!(hit && index == 10 && (39..=41).contains(&age), "{age}");
        // After the first few tries there are pauses.
        assert!((5..=12).contains(&world.server.asked()));
        // A caller that wants something newer hears why there is nothing.
        let err = world.get(&query, 10, 300).await.unwrap_err();
        assert_eq!(err, RpcError::NoLeader);
        world.server.set_down(false);
        world.server.set(20);
        world.sleep(200).await;
        assert_eq!(world.get(&query, 0, 0).await, Ok((20, true, 0)));
        // Nothing new comes, but the query waits in a server: after a while it counts as connected.
        world.server.set_down(true);
        world.sleep(1).await;
        world.server.set_down(false);
        world.sleep(20).await;
        assert!(world.get(&query, 0, 0).await.unwrap().2 > 0);
        world.sleep(60).await;
        assert_eq!(world.get(&query, 0, 0).await, Ok((20, true, 0)));
        world.stop.cancel();
    });
}

#[test]
fn a_query_that_never_succeeded_is_not_kept_up() {
    sim_block_on(5, async |env| {
        let world = World::new(&env, None);
        world.server.set_down(true);
        for tries in 1..=3 {
            let failed = world.get(&nodes(""), 0, 0).await;
            assert_eq!(failed, Err(RpcError::NoLeader));
            assert_eq!(world.server.asked(), tries);
            assert!(world.cache.0.entries.lock().is_empty());
        }
        world.server.set_down(false);
        assert_eq!(world.get(&nodes(""), 0, 0).await, Ok((10, false, 0)));
        world.stop.cancel();
    });
}

#[test]
fn of_too_many_that_wait_for_their_first_answer_each_gets_one() {
    sim_block_on(8, async |env| {
        let world = World::new(&env, None);
        let queries: Vec<Query> = (0..ENTRIES_MAX + 10)
            .map(|n| nodes(&n.to_string()))
            .collect();
        let all = join_all(queries.iter().map(|query| world.get(query, 0, 0)));
        let all = env.timeout(Duration::from_secs(60), all).await.unwrap();
        assert!(all.iter().all(|got| *got == Ok((10, false, 0))));
        world.stop.cancel();
    });
}

/// On another thread the first fetch of an entry may fail before whoever asked for it looks.
#[test]
fn the_error_of_a_first_fetch_counts_whenever_it_was() {
    sim_block_on(1, async |env| {
        let entry = Entry::new(env.mono(), &env.group(&CancellationToken::new()));
        assert!(!entry.fail(RpcError::NoLeader, env.mono()));
        let failures = entry.failures();
        assert_eq!(entry.failed_since(failures), Some(RpcError::NoLeader));

        // Of one that has an answer, only what fails from now on.
        let world = World::new(&env, None);
        let options = ReadOptions {
            consistency: Consistency::Stale,
            ..ReadOptions::default()
        };
        entry.set(world.server.answer(&env, &options).await.unwrap());
        entry.fail(RpcError::NoLeader, env.mono());
        assert_eq!(entry.failed_since(entry.failures()), None);
        assert_eq!(entry.failed_since(0), Some(RpcError::NoLeader));
    });
}

#[test]
fn datacenters_are_asked_again_only_when_they_are_too_old() {
    sim_block_on(6, async |env| {
        let world = World::new(&env, None);
        let query = Query::Datacenters;
        assert_eq!(world.get(&query, 0, 0).await, Ok((10, false, 0)));
        world.sleep(100).await;
        assert_eq!(world.server.asked(), 1);
        assert_eq!(world.get(&query, 0, 0).await, Ok((10, true, 100)));
        let young_enough = world.get_as("", &query, 0, 0, Some(100)).await;
        assert_eq!(young_enough, Ok((10, true, 100)));
        let too_old = world.get_as("", &query, 0, 0, Some(50)).await;
        assert_eq!(too_old, Ok((10, false, 0)));
        assert_eq!(world.server.asked(), 2);
        world.stop.cancel();
    });
}

#[test]
fn a_rate_bounds_the_fetches_of_an_entry() {
    sim_block_on(7, async |env| {
        let world = World::new(&env, Some(0.5));
        let query = nodes("");
        world.get(&query, 0, 0).await.unwrap();
        for index in 11..111 {
            world.server.set(index);
            env.sleep(Duration::from_millis(100)).await;
        }
        // Two at once, then one in two seconds.
        assert!(
            (4..=8).contains(&world.server.asked()),
            "{}",
            world.server.asked()
        );
        world.sleep(5).await;
        assert_eq!(world.get(&query, 0, 0).await, Ok((110, true, 0)));
        world.stop.cancel();
    });
}

#[test]
fn of_too_many_entries_the_one_unused_for_longest_is_given_up() {
    sim_block_on(8, async |env| {
        let world = World::new(&env, None);
        for n in 0..ENTRIES_MAX + 10 {
            world.get(&nodes(&n.to_string()), 0, 0).await.unwrap();
        }
        world.sleep(1).await;
        assert_eq!(world.cache.0.entries.lock().len(), ENTRIES_MAX);
        assert_eq!(world.server.waiting.load(Ordering::SeqCst), ENTRIES_MAX);
        // The oldest went.
        let asked = world.server.asked();
        world.get(&nodes("20"), 0, 0).await.unwrap();
        assert_eq!(world.server.asked(), asked);
        assert_eq!(world.get(&nodes("3"), 0, 0).await, Ok((10, false, 0)));
        world.stop.cancel();
    });
}

#[test]
fn an_entry_is_given_up_when_nobody_asked_for_it_in_three_days() {
    sim_block_on(9, async |env| {
        let world = World::new(&env, None);
        for name in ["used", "unused"] {
            world.get(&nodes(name), 0, 0).await.unwrap();
        }
        for _ in 0..71 {
            world.sleep(3600).await;
            world.get(&nodes("used"), 0, 0).await.unwrap();
        }
        assert_eq!(world.cache.0.entries.lock().len(), 2);
        world.sleep(2 * 3600).await;
        assert_eq!(world.cache.0.entries.lock().len(), 1);
        assert_eq!(world.get(&nodes("used"), 0, 0).await, Ok((10, true, 0)));
        world.stop.cancel();
    });
}
