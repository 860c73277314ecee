//! Prints what keys and service instances cost in memory under jemalloc, and how long writes and health queries take.
//!
//! Run: `cargo run --release -p tribune-state --features footprint --example footprint`

use std::time::Instant;

use tikv_jemalloc_ctl::{epoch, stats};
use tribune_state::{ReadContext, State, WatchKeys};
use tribune_types::catalog::{Check, Register, SERF_HEALTH, Service, Status, Weights};
use tribune_types::command::Command;
use tribune_types::id::Index;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::query::{Query, ServiceQuery};
use tribune_types::text::{Text, text};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const KEYS: u64 = 1_000_000;
const NODES: u64 = 300;
const INSTANCES_PER_NODE: u64 = 100;
/// Writes applied between two published versions.
const BATCH: u64 = 64;

fn main() {
    let before = allocated();
    let (state, elapsed) = timed(keys);
    let used = allocated() - before;
    println!(
        "keys: {} bytes each, {} MiB per million, {} ns per write",
        used / KEYS,
        used >> 20,
        elapsed / KEYS
    );
    drop(state);

    let before = allocated();
    let (state, elapsed) = timed(catalog);
    let used = allocated() - before;
    let count = NODES * INSTANCES_PER_NODE;
    println!(
        "instances with a check: {} bytes each, {} MiB for {count}, {} ns per registration",
        used / count,
        used >> 20,
        elapsed / count
    );
    for name in ["small", "medium", "service-7"] {
        health(&state, name);
    }
    let (reply, elapsed) = timed(|| {
        read(
            &state,
            &Query::Services {
                node_meta: Default::default(),
            },
        )
    });
    println!("list of services: {} us ({reply})", elapsed / 1000);
}

fn keys() -> State {
    let mut state = State::new();
    let mut version = state.version();
    for i in 1..=KEYS {
        let entry = KvEntry {
            key: format!("key-{i:08}").into_bytes().into(),
            value: vec![b'x'; 128].into(),
            ..KvEntry::default()
        };
        state.apply(Index(i), Command::Kv(KvOp::Set, entry));
        if i % BATCH == 0 {
            version = state.version();
        }
    }
    drop(version);
    state
}

fn catalog() -> State {
    let mut state = State::new();
    let mut version = state.version();
    let mut index = 0;
    for n in 0..NODES {
        for i in 0..=INSTANCES_PER_NODE {
            index += 1;
            state.apply(
                Index(index),
                Command::Register(Box::new(registration(n, i))),
            );
            if index % BATCH == 0 {
                version = state.version();
            }
        }
    }
    drop(version);
    state
}

/// The node with its gossip check first, then one instance at a time, with texts of their own as they come off a wire.
fn registration(node: u64, instance: u64) -> Register {
    let name = format!("node-{node:04}");
    let mut register = Register {
        node: text(&name),
        address: text(&format!("10.0.{}.{}", node / 250, node % 250)),
        datacenter: text("dc1"),
        ..Register::default()
    };
    let check = |id: String, service: &Text, output: &str| Check {
        node: text(&name),
        id: text(&id),
        name: text("Service check"),
        status: Status::Passing,
        output: text(output),
        service_id: service.clone(),
        ..Check::default()
    };
    if instance == 0 {
        register.checks.push(check(
            SERF_HEALTH.to_owned(),
            &Text::default(),
            "Agent alive and reachable",
        ));
        return register;
    }
    let service = match (node, instance) {
        (0..3, 1) => "small".to_owned(),
        (0..200, 2) => "medium".to_owned(),
        _ => format!("service-{instance}"),
    };
    let id = text(&format!("{service}-{node}-{instance}"));
    register
        .checks
        .push(check(format!("service:{id}"), &id, ""));
    register.service = Some(Service {
        id,
        name: text(&service),
        tags: vec![text("primary"), text("v1")],
        port: 8080,
        weights: Some(Weights::default()),
        ..Service::default()
    });
    register
}

fn health(state: &State, name: &str) {
    let service = ServiceQuery {
        name: text(name),
        ..ServiceQuery::default()
    };
    let query = Query::ServiceHealth {
        service,
        passing_only: true,
    };
    let rounds = 1000;
    let mut reply = String::new();
    let ((), elapsed) = timed(|| {
        for _ in 0..rounds {
            reply = read(state, &query);
        }
    });
    println!("health of {name}: {} ns ({reply})", elapsed / rounds);
}

fn read(state: &State, query: &Query) -> String {
    use tribune_types::query::Reply;
    match state
        .version()
        .read(query, &ReadContext::default(), &mut WatchKeys::new())
    {
        Ok((Reply::Instances(list), _)) => format!("{} instances", list.len()),
        Ok((Reply::Services(list), _)) => format!("{} names", list.len()),
        other => format!("{other:?}"),
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a measurement outside of the program"
)]
fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let start = Instant::now();
    let out = work();
    (
        out,
        u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
    )
}

fn allocated() -> u64 {
    // Statistics are refreshed by advancing the epoch; without them the numbers would be 0, which shows.
    let _ = epoch::advance();
    stats::allocated::read().unwrap_or_default() as u64
}
