//! One server as a whole, without fronts: writes, reads, blocking, restart.

#![allow(clippy::unwrap_used, reason = "a failed step of a test may end it")]

mod support;

use std::time::Duration;

use tribune_server::{Origin, Server};
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::id::Index;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::query::{Consistency, ListOptions, Query, ReadOptions, Reply};
use tribune_types::session::{Behavior, Session};
use tribune_types::text::text;
use tribune_types::write::{Write, WriteReply};

use support::{start, virtually};

fn entry(key: &str, value: &str) -> KvEntry {
    KvEntry {
        key: key.as_bytes().into(),
        value: value.as_bytes().into(),
        ..KvEntry::default()
    }
}

async fn put(server: &Server, key: &str, value: &str) {
    let reply = server
        .write(
            &Caller::internal(),
            None,
            Write::Kv(KvOp::Set, entry(key, value)),
        )
        .await;
    assert_eq!(reply, Ok(WriteReply::Verdict(true)));
}

async fn get(server: &Server, key: &str, options: &ReadOptions) -> (Option<String>, Index) {
    let query = Query::KvGet {
        key: key.as_bytes().into(),
    };
    let answer = server
        .read(&Caller::internal(), query, options)
        .await
        .expect("reads");
    let Reply::Kv(entries) = answer.reply() else {
        panic!("{answer:?}")
    };
    let value = entries
        .first()
        .map(|e| String::from_utf8(e.value.to_vec()).unwrap());
    (value, answer.meta.index)
}

#[test]
fn a_write_is_read_back_under_every_guarantee() {
    virtually(|env| async move {
        let server = start(&env, None).await;
        put(&server, "a", "1").await;
        for consistency in [
            Consistency::Default,
            Consistency::Stale,
            Consistency::Consistent,
        ] {
            let options = ReadOptions {
                consistency,
                ..ReadOptions::default()
            };
            assert_eq!(
                get(&server, "a", &options).await.0.as_deref(),
                Some("1"),
                "{consistency:?}"
            );
        }
    });
}

#[test]
fn the_server_registers_itself_with_its_health() {
    virtually(|env| async move {
        let server = start(&env, None).await;
        let options = ReadOptions {
            consistency: Consistency::Consistent,
            ..ReadOptions::default()
        };
        let query = Query::NodeChecks {
            node: text("s1"),
            filter: text(""),
        };
        let answer = server
            .read(&Caller::internal(), query, &options)
            .await
            .unwrap();
        let Reply::Checks(checks) = answer.reply() else {
            panic!("{answer:?}")
        };
        assert_eq!(
            checks.iter().map(|c| &*c.id).collect::<Vec<_>>(),
            ["serfHealth"]
        );
    });
}

#[test]
fn a_blocking_read_waits_for_its_key_and_no_other() {
    virtually(|env| async move {
        let server = start(&env, None).await;
        put(&server, "watched", "1").await;
        let (_, index) = get(&server, "watched", &ReadOptions::default()).await;
        let waiting = {
            let server = server.clone();
            let options = ReadOptions {
                min_index: index,
                ..ReadOptions::default()
            };
            env.spawn(
                "reader",
                async move { get(&server, "watched", &options).await },
            )
        };
        env.sleep(Duration::from_millis(10)).await;
        assert_eq!(server.queries_blocking(), 1);
        put(&server, "other", "x").await;
        env.sleep(Duration::from_secs(5)).await;
        assert!(!waiting.is_finished(), "woken by a key it does not watch");
        put(&server, "watched", "2").await;
        let (value, woken) = waiting.join().await.unwrap();
        assert_eq!(value.as_deref(), Some("2"));
        assert!(woken > index);
        assert_eq!(server.queries_blocking(), 0);
    });
}

#[test]
fn a_blocking_read_ends_with_the_same_index_when_nothing_happens() {
    virtually(|env| async move {
        let server = start(&env, None).await;
        put(&server, "a", "1").await;
        let (_, index) = get(&server, "a", &ReadOptions::default()).await;
        let before = env.mono();
        let wait = Some(Duration::from_secs(16));
        let options = ReadOptions {
            min_index: index,
            wait,
            ..ReadOptions::default()
        };
        assert_eq!(get(&server, "a", &options).await.1, index);
        let waited = env.mono().since(before);
        assert!((16..=17).contains(&waited.as_secs()), "{waited:?}");
    });
}

#[test]
fn an_expired_session_releases_its_lock_and_delays_the_next_holder() {
    virtually(|env| async move {
        let server = start(&env, None).await;
        let caller = Caller::internal();
        let session = |ttl: &str| Session {
            node: text("s1"),
            ttl: text(ttl),
            lock_delay: Duration::from_secs(15),
            behavior: Behavior::Release,
            ..Session::default()
        };
        let create = async |ttl: &str| match server
            .write(&caller, None, Write::SessionCreate(Box::new(session(ttl))))
            .await
        {
            Ok(WriteReply::Session(id)) => id,
            other => panic!("{other:?}"),
        };
        let lock = async |id| {
            let entry = KvEntry {
                session: Some(id),
                ..entry("lock", "")
            };
            server
                .write(&caller, None, Write::Kv(KvOp::Lock, entry))
                .await
        };
        // The server must have registered itself before sessions can belong to it.
        let options = ReadOptions {
            consistency: Consistency::Consistent,
            ..ReadOptions::default()
        };
        get(&server, "x", &options).await;
        let (short, long) = (create("10s").await, create("").await);
        assert_eq!(lock(short).await, Ok(WriteReply::Verdict(true)));
        assert_eq!(
            lock(long).await,
            Ok(WriteReply::Verdict(false)),
            "held by another"
        );
        env.sleep(Duration::from_secs(21)).await;
        assert_eq!(
            lock(long).await,
            Ok(WriteReply::Verdict(false)),
            "lock-delay"
        );
        env.sleep(Duration::from_secs(15)).await;
        assert_eq!(lock(long).await, Ok(WriteReply::Verdict(true)));
    });
}

#[test]
fn equal_blocking_reads_share_one_group_that_ends_with_them() {
    virtually(|env| async move {
        let server = start(&env, None).await;
        let query = || Query::Nodes(ListOptions::default());
        let options = ReadOptions {
            consistency: Consistency::Consistent,
            ..ReadOptions::default()
        };
        let index = server
            .read(&Caller::internal(), query(), &options)
            .await
            .unwrap()
            .meta
            .index;
        let groups = server.query_groups();
        let readers: Vec<_> = (0..100)
            .map(|_| {
                let (server, query) = (server.clone(), query());
                let options = ReadOptions {
                    min_index: index,
                    ..ReadOptions::default()
                };
                env.spawn("reader", async move {
                    server.read(&Caller::internal(), query, &options).await
                })
            })
            .collect();
        env.sleep(Duration::from_millis(1)).await;
        assert_eq!(
            (server.queries_blocking(), server.query_groups()),
            (100, groups)
        );
        for reader in &readers {
            reader.abort();
        }
        env.sleep(Duration::from_millis(1)).await;
        assert_eq!(server.queries_blocking(), 0);
    });
}

#[test]
fn a_snapshot_replaces_the_state_and_indexes_go_on() {
    virtually(|env| async move {
        let server = start(&env, None).await;
        let caller = Caller::internal();
        put(&server, "kept", "1").await;
        let mut save = server
            .snapshot_save(&caller, &ReadOptions::default())
            .await
            .unwrap();
        let mut archive = Vec::new();
        while let Some(piece) = save.chunks.recv().await {
            archive.extend_from_slice(&piece.unwrap());
        }
        put(&server, "later", "1").await;
        let (_, before) = get(&server, "later", &ReadOptions::default()).await;
        let restore = server
            .snapshot_restore(Origin::Asked, &caller, None)
            .await
            .unwrap();
        restore.chunks.send(archive.into()).await.unwrap();
        drop(restore.chunks);
        assert_eq!(restore.done.await.unwrap(), Ok(()));
        assert_eq!(
            get(&server, "kept", &ReadOptions::default())
                .await
                .0
                .as_deref(),
            Some("1")
        );
        let (later, after) = get(&server, "later", &ReadOptions::default()).await;
        assert_eq!(later, None);
        put(&server, "new", "1").await;
        assert!(get(&server, "new", &ReadOptions::default()).await.1 > before.max(after));
    });
}

#[test]
fn a_damaged_snapshot_changes_nothing() {
    virtually(|env| async move {
        let server = start(&env, None).await;
        put(&server, "kept", "1").await;
        for damaged in [
            &b""[..],
            b"no archive",
            &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3],
        ] {
            let restore = server
                .snapshot_restore(Origin::Asked, &Caller::internal(), None)
                .await
                .unwrap();
            let _ = restore
                .chunks
                .send(bytes::Bytes::copy_from_slice(damaged))
                .await;
            drop(restore.chunks);
            assert!(restore.done.await.unwrap().is_err());
        }
        assert_eq!(
            get(&server, "kept", &ReadOptions::default())
                .await
                .0
                .as_deref(),
            Some("1")
        );
    });
}

#[test]
fn a_snapshot_does_not_wait_for_a_leader() {
    virtually(|env| async move {
        let server = support::start_waiting_for(&env, 3).await;
        let (caller, before) = (Caller::internal(), env.mono());
        let stale = ReadOptions {
            consistency: Consistency::Stale,
            ..ReadOptions::default()
        };
        let refused = server.snapshot_save(&caller, &ReadOptions::default()).await;
        assert_eq!(refused.err(), Some(RpcError::NoLeader));
        let refused = server.snapshot_save(&caller, &stale).await.err();
        let text = "Raft error when taking snapshot: nothing new to snapshot";
        assert_eq!(refused, Some(RpcError::Invalid(text.to_owned())));
        let refused = server
            .snapshot_restore(Origin::Asked, &caller, None)
            .await
            .err();
        assert_eq!(refused, Some(RpcError::NoLeader));
        assert_eq!(env.mono(), before, "nothing was waited for");
    });
}

/// A parked reader is mostly its future; thousands of them are the point of this server.
#[test]
fn the_future_of_a_blocking_read_is_small() {
    virtually(|env| async move {
        let server = start(&env, None).await;
        let (caller, options) = (Caller::internal(), ReadOptions::default());
        let size =
            size_of_val(&server.read(&caller, Query::Nodes(ListOptions::default()), &options));
        println!("{size} bytes, query {} bytes", size_of::<Query>());
        assert!(size <= 1024, "{size} bytes");
    });
}
