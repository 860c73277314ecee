//! Properties over random commands: who waits is woken, indexes move with replies, snapshots lose nothing, a naive
//! model of the keys agrees, and no content panics.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use tribune_types::autopilot::AutopilotConfig;
use tribune_types::catalog::{Check, Register, SERF_HEALTH, Service, ServiceKind, Status};
use tribune_types::command::{Command, Outcome, RestoreStep};
use tribune_types::coordinate::{Coordinate, CoordinateEntry};
use tribune_types::id::{Index, Uuid};
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::prepared::{NAME_PREFIX_MATCH, PreparedQuery, QueryService, QueryTemplate};
use tribune_types::proxy::ProxyConfig;
use tribune_types::query::{Endpoint, ListOptions, Query, Reply, ServiceQuery};
use tribune_types::session::{Behavior, Session};
use tribune_types::text::{Text, TextMap, text};
use tribune_types::txn::{CatalogVerb, KvVerb, TxnOp};

use super::{Bench, uuid};
use crate::{Applied, ReadContext, State, Version, WatchKeys};

/// A small generator (xorshift64*): seeds print in failures.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

const NODES: &[&str] = &["n1", "n2", "N2", "n3", "", "11"];
const SERVICES: &[&str] = &["web", "Web", "db", "proxy", ""];
const IDS: &[&str] = &["a", "A", "b", ""];
const CHECKS: &[&str] = &["c", "d", SERF_HEALTH, ""];
const KEYS: &[&str] = &["a", "a/", "a/b", "a/b/c", "b", "", "\u{ff}"];
const STATUSES: &[Status] = &[Status::Passing, Status::Warning, Status::Critical];

fn entry(r: &mut Random, highest: u64) -> KvEntry {
    KvEntry {
        key: r.pick(KEYS).as_bytes().into(),
        value: r.pick(&["", "1", "2"]).as_bytes().into(),
        flags: r.below(2) as u64,
        lock_index: r.below(3) as u64,
        session: (!r.one_in(4)).then(|| uuid(1 + r.below(4) as u8)),
        create: Index(0),
        modify: Index(if r.one_in(3) {
            0
        } else {
            r.below(highest as usize + 2) as u64
        }),
    }
}

fn meta(r: &mut Random) -> Option<TextMap> {
    (!r.one_in(3)).then(|| {
        [(text("rack"), text(r.pick(&["1", "2"])))]
            .into_iter()
            .collect()
    })
}

fn node_id(r: &mut Random) -> Option<Uuid> {
    (!r.one_in(3)).then(|| uuid(0x11 * (1 + r.below(3) as u8)))
}

fn service(r: &mut Random) -> Service {
    let destination = text(r.pick(SERVICES));
    let proxy = ProxyConfig {
        destination_service_name: destination,
        ..ProxyConfig::default()
    };
    Service {
        kind: r.pick(&[
            ServiceKind::Typical,
            ServiceKind::Typical,
            ServiceKind::ConnectProxy,
            ServiceKind::MeshGateway,
        ]),
        id: text(r.pick(IDS)),
        name: text(r.pick(SERVICES)),
        tags: (0..r.below(3))
            .map(|_| text(r.pick(&["x", "y", "Y"])))
            .collect(),
        port: r.below(2) as i64,
        address: text(r.pick(&["", "10.0.0.2"])),
        proxy: r.one_in(2).then(|| Box::new(proxy)),
        connect_native: r.one_in(3),
        create: Index(77),
        modify: Index(r.below(20) as u64),
        ..Service::default()
    }
}

fn check(r: &mut Random, on: &str) -> Check {
    Check {
        node: text(if r.one_in(8) { r.pick(NODES) } else { on }),
        id: text(r.pick(CHECKS)),
        name: text("name"),
        status: r.pick(STATUSES),
        output: text(r.pick(&["", "out"])),
        service_id: text(r.pick(&["", "", "a", "b", "zz"])),
        modify: Index(r.below(20) as u64),
        ..Check::default()
    }
}

fn registration(r: &mut Random) -> Register {
    let on = r.pick(NODES);
    Register {
        datacenter: text("dc1"),
        id: node_id(r),
        node: text(on),
        address: text(r.pick(&["10.0.0.1", "10.0.0.2", "::1", "x"])),
        tagged_addresses: None,
        node_meta: meta(r),
        service: r.one_in(2).then(|| service(r)),
        checks: (0..r.below(3)).map(|_| check(r, on)).collect(),
        skip_node_update: r.one_in(3),
    }
}

fn session(r: &mut Random) -> Session {
    Session {
        id: uuid(1 + r.below(4) as u8),
        node: text(r.pick(NODES)),
        behavior: r.pick(&[Behavior::Release, Behavior::Delete]),
        lock_delay: Duration::from_secs(r.below(2) as u64),
        node_checks: r.one_in(2).then(|| vec![text(r.pick(CHECKS))]),
        ..Session::default()
    }
}

fn prepared_query(r: &mut Random) -> PreparedQuery {
    let kind = r.pick(&["", "", NAME_PREFIX_MATCH, "odd"]);
    let session = if r.one_in(2) {
        uuid(1 + r.below(4) as u8).to_string()
    } else {
        r.pick(&["", "", "x"]).to_owned()
    };
    PreparedQuery {
        id: text(&uuid(0x11 * (1 + r.below(3) as u8)).to_string()),
        name: text(r.pick(&["", "geo-", "GEO-", "geo-db", "q"])),
        session: text(&session),
        template: QueryTemplate {
            kind: text(kind),
            ..QueryTemplate::default()
        },
        service: QueryService {
            service: text(r.pick(&["web", "${name.suffix}", "${"])),
            ..QueryService::default()
        },
        ..PreparedQuery::default()
    }
}

fn txn_op(r: &mut Random, highest: u64) -> TxnOp {
    let verb = r.pick(&CatalogVerb::WORDS.map(|(_, verb)| verb));
    let registration = registration(r);
    match r.below(6) {
        0 => {
            let node = tribune_types::catalog::Node {
                id: registration.id,
                name: registration.node,
                address: registration.address,
                meta: registration.node_meta,
                modify: Index(r.below(highest as usize + 1) as u64),
                ..Default::default()
            };
            TxnOp::Node(verb, Box::new(node))
        }
        1 => TxnOp::Service(verb, registration.node, Box::new(service(r))),
        2 => TxnOp::Check(verb, Box::new(check(r, &registration.node))),
        3 => TxnOp::SessionDestroy(uuid(1 + r.below(4) as u8)),
        _ => TxnOp::Kv(
            r.pick(&KvVerb::WORDS.map(|(_, verb)| verb)),
            entry(r, highest),
        ),
    }
}

fn kv_op(r: &mut Random) -> KvOp {
    r.pick(&[
        KvOp::Set,
        KvOp::Set,
        KvOp::Cas,
        KvOp::Lock,
        KvOp::Unlock,
        KvOp::Delete,
        KvOp::DeleteCas,
        KvOp::DeleteTree,
    ])
}

fn command(r: &mut Random, highest: u64) -> Command {
    match r.below(22) {
        0..7 => Command::Register(Box::new(registration(r))),
        7..10 => super::deregister(
            r.pick(NODES),
            if r.one_in(2) { r.pick(IDS) } else { "" },
            if r.one_in(2) { r.pick(CHECKS) } else { "" },
        ),
        10..14 => Command::Kv(kv_op(r), entry(r, highest)),
        14 => Command::SessionCreate(Box::new(session(r))),
        15 => Command::SessionDestroy(uuid(1 + r.below(4) as u8)),
        16 => {
            let x = r.pick(&[0.0, 1.0, f64::NAN, f64::INFINITY]);
            let coord = Coordinate {
                vec: vec![x; r.below(9)],
                ..Coordinate::default()
            };
            let segment = text(r.pick(&["", "", "s"]));
            Command::Coordinates(vec![CoordinateEntry {
                node: text(r.pick(NODES)),
                segment,
                coord,
            }])
        }
        17 => {
            let count = 1 + r.below(4);
            Command::Txn((0..count).map(|_| txn_op(r, highest)).collect())
        }
        18 => Command::Autopilot {
            config: AutopilotConfig {
                min_quorum: r.below(3) as u64,
                ..AutopilotConfig::default()
            },
            cas: r
                .one_in(2)
                .then(|| Index(r.below(highest as usize + 1) as u64)),
        },
        19 => Command::QuerySet(Box::new(prepared_query(r))),
        20 => Command::QueryDelete(uuid(0x11 * (1 + r.below(3) as u8))),
        _ => {
            let id = r.below(2) as u64;
            Command::Restore(match r.below(4) {
                0 => RestoreStep::Begin { id },
                1 => RestoreStep::Chunk {
                    id,
                    seq: r.below(2) as u32,
                    data: [1, 2].into(),
                },
                2 => RestoreStep::Abort { id },
                _ => RestoreStep::Commit {
                    id,
                    chunks: r.below(3) as u32,
                    index: Index(r.below(9) as u64),
                },
            })
        }
    }
}

/// Every kind of query, over every name that occurs. Sorting by distance is left out: it is not watched.
fn queries() -> Vec<Query> {
    let mut out = vec![
        Query::Sessions,
        Query::PreparedQueries,
        Query::AutopilotConfig,
        Query::NodeDump {
            node: None,
            filter: Text::default(),
        },
        Query::ServiceDump {
            kind: None,
            filter: Text::default(),
        },
        Query::ServiceDump {
            kind: None,
            filter: text("Checks.Status != passing"),
        },
        Query::ServiceDump {
            kind: Some(ServiceKind::ConnectProxy),
            filter: Text::default(),
        },
        Query::ServicesAt {
            address: text("10.0.0.2"),
            options: ListOptions::default(),
        },
        Query::Coordinates {
            node: None,
            segment: None,
        },
        Query::Coordinates {
            node: None,
            segment: Some(Text::default()),
        },
        Query::Reverse {
            addr: "10.0.0.2".parse().unwrap(),
        },
        Query::GatewayServices {
            gateway: text("web"),
        },
    ];
    let rack: TextMap = [(text("rack"), text("1"))].into_iter().collect();
    let plain = ListOptions::default();
    let options = [
        plain.clone(),
        ListOptions {
            node_meta: rack.clone(),
            ..plain.clone()
        },
        ListOptions {
            filter: text("Node == n1"),
            ..plain.clone()
        },
    ];
    for meta in [TextMap::new(), rack] {
        out.push(Query::Services { node_meta: meta });
    }
    for key in KEYS {
        let key: Box<[u8]> = key.as_bytes().into();
        out.push(Query::KvGet { key: key.clone() });
        out.push(Query::KvList {
            prefix: key.clone(),
        });
        out.push(Query::KvKeys {
            prefix: key,
            separator: (*b"/").into(),
        });
    }
    for node in NODES.iter().chain(&["22", "3333"]) {
        let (node, filter) = (text(node), Text::default());
        out.push(Query::NodeServices {
            node: node.clone(),
            filter: filter.clone(),
        });
        out.push(Query::NodeChecks {
            node: node.clone(),
            filter: filter.clone(),
        });
        out.push(Query::SessionsOfNode { node: node.clone() });
        out.push(Query::Coordinates {
            node: Some(node.clone()),
            segment: None,
        });
        out.push(Query::NodeDump {
            node: Some(node),
            filter,
        });
    }
    for id in 1..=4 {
        out.push(Query::SessionGet { id: uuid(id) });
    }
    for options in &options {
        out.push(Query::Nodes(options.clone()));
        for state in [
            None,
            Some(Status::Passing),
            Some(Status::Warning),
            Some(Status::Critical),
        ] {
            out.push(Query::ChecksInState {
                state,
                options: options.clone(),
            });
        }
    }
    for name in SERVICES {
        let name = text(name);
        for options in &options[..2] {
            out.push(Query::ServiceChecks {
                service: name.clone(),
                options: options.clone(),
            });
            for endpoint in [Endpoint::Service, Endpoint::Connect, Endpoint::Ingress] {
                let tags = vec![text("y")];
                for tags in [Vec::new(), tags] {
                    let query = ServiceQuery {
                        name: name.clone(),
                        tags,
                        endpoint,
                        options: options.clone(),
                    };
                    out.push(Query::ServiceNodes(query.clone()));
                    out.push(Query::ServiceHealth {
                        service: query.clone(),
                        passing_only: false,
                    });
                    out.push(Query::ServiceHealth {
                        service: query,
                        passing_only: true,
                    });
                }
            }
        }
    }
    out
}

fn read(version: &Version, query: &Query) -> (Reply, Index, WatchKeys) {
    let mut keys = WatchKeys::new();
    let (reply, index) = version
        .read(query, &ReadContext::default(), &mut keys)
        .unwrap();
    (reply, index, keys)
}

fn reload(version: &Version) -> State {
    State::restore(version.export().map(Ok::<_, Infallible>), version.carry()).unwrap()
}

/// How many seeds to run; `STATE_SEEDS` asks for more.
fn seeds(usual: u64) -> u64 {
    std::env::var("STATE_SEEDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(usual)
}

#[test]
fn whoever_waits_is_woken_and_finds_a_higher_index() {
    let queries = queries();
    for seed in 1..=seeds(40) {
        let mut r = Random(seed * 0x9e37_79b9);
        let mut b = Bench::default();
        let mut before: Vec<_> = queries
            .iter()
            .map(|q| read(&b.state.version(), q))
            .collect();
        for step in 0..150 {
            let command = command(&mut r, b.index);
            let Applied {
                touched, outcome, ..
            } = b.apply(command.clone());
            let version = b.state.version();
            for (query, old) in queries.iter().zip(&mut before) {
                let new = read(&version, query);
                let context = || {
                    format!(
                        "seed {seed} step {step}: {command:?} -> {outcome:?}\n{query:?}\n{old:?}\n{new:?}"
                    )
                };
                if new.0 != old.0 {
                    assert!(
                        old.2.woken_by(&touched),
                        "not woken by {touched:?}\n{}",
                        context()
                    );
                    assert!(new.1 > old.1, "the index did not move\n{}", context());
                }
                *old = new;
            }
        }
    }
}

#[test]
fn nothing_is_touched_exactly_if_nothing_changed() {
    for seed in 1..=seeds(60) {
        let mut r = Random(seed * 0x51_7cc1);
        let mut b = Bench::default();
        for step in 0..200 {
            let before = b.state.version().digest();
            let command = command(&mut r, b.index);
            let applied = b.apply(command.clone());
            let changed = b.state.version().digest() != before;
            if !matches!(command, Command::Restore(_)) {
                assert_eq!(
                    !applied.touched.is_empty(),
                    changed,
                    "seed {seed} step {step}: {command:?} {applied:?}"
                );
            }
        }
    }
}

#[test]
fn a_restored_snapshot_answers_everything_as_before() {
    let queries = queries();
    for seed in 1..=seeds(60) {
        let mut r = Random(seed * 0x1234_5677);
        let mut b = Bench::default();
        for _ in 0..120 {
            let command = command(&mut r, b.index);
            b.apply(command);
        }
        let version = b.state.version();
        let mut copy = reload(&version);
        assert_eq!(copy.version().digest(), version.digest(), "seed {seed}");
        assert_eq!(copy.version().carry(), version.carry());
        assert_eq!(copy.version().usage(), version.usage());
        for query in &queries {
            assert_eq!(
                read(&copy.version(), query),
                read(&version, query),
                "seed {seed}"
            );
        }
        // Both go on alike, effects included.
        for _ in 0..60 {
            let command = command(&mut r, b.index);
            let ours = b.apply(command.clone());
            let theirs = copy.apply(Index(b.index), command);
            assert_eq!(
                (ours.outcome, ours.touched, ours.effects),
                (theirs.outcome, theirs.touched, theirs.effects)
            );
        }
        assert_eq!(copy.version().digest(), b.state.version().digest());
    }
}

/// The slow obvious store of keys.
#[derive(Default)]
struct Model {
    pairs: BTreeMap<Vec<u8>, KvEntry>,
    tombstones: BTreeMap<Vec<u8>, u64>,
    table: u64,
}

impl Model {
    fn apply(&mut self, at: u64, op: KvOp, given: &KvEntry, known: &[Uuid]) -> Outcome {
        let key = given.key.to_vec();
        let old = self.pairs.get(&key).cloned();
        let holder = old.as_ref().and_then(|o| o.session);
        let (ok, session, lock_index) = match op {
            KvOp::Lock | KvOp::Unlock if given.session.is_none() => {
                return Outcome::Refused(tribune_types::error::StateError::Other(
                    "missing session".into(),
                ));
            }
            KvOp::Lock if !known.contains(&given.session.unwrap()) => {
                let id = given.session.unwrap().to_string();
                return Outcome::Refused(tribune_types::error::StateError::InvalidSession(id));
            }
            KvOp::Lock => {
                let free = holder.is_none() || holder == given.session;
                let count = old.as_ref().map_or(0, |o| o.lock_index);
                (
                    free,
                    given.session,
                    if holder == given.session {
                        count
                    } else {
                        count + 1
                    },
                )
            }
            KvOp::Unlock => (
                holder == given.session && old.is_some(),
                None,
                old.as_ref().map_or(0, |o| o.lock_index),
            ),
            KvOp::Cas => (
                old.as_ref().map_or(0, |o| o.modify.0) == given.modify.0,
                holder,
                old.as_ref().map_or(0, |o| o.lock_index),
            ),
            KvOp::Set => (true, holder, old.as_ref().map_or(0, |o| o.lock_index)),
            KvOp::Delete => (old.is_some(), None, 0),
            KvOp::DeleteCas => (
                old.as_ref().is_none_or(|o| o.modify == given.modify),
                None,
                0,
            ),
            KvOp::DeleteTree => (true, None, 0),
        };
        match op {
            KvOp::Delete | KvOp::DeleteCas if ok && old.is_some() => {
                self.pairs.remove(&key);
                self.tombstones.insert(key, at);
                self.table = at;
            }
            KvOp::Delete | KvOp::DeleteCas => {}
            KvOp::DeleteTree => {
                let len = self.pairs.len();
                self.pairs.retain(|k, _| !k.starts_with(&key));
                if self.pairs.len() != len {
                    self.table = at;
                    self.tombstones.retain(|k, _| !k.starts_with(&key));
                    if !key.is_empty() {
                        self.tombstones.insert(key, at);
                    }
                }
            }
            _ if ok => {
                let new = KvEntry {
                    session,
                    lock_index,
                    create: Index(0),
                    modify: Index(0),
                    ..given.clone()
                };
                let same = old.as_ref().is_some_and(|o| {
                    KvEntry {
                        create: Index(0),
                        modify: Index(0),
                        ..o.clone()
                    } == new
                });
                if !same {
                    let create = old.map_or(Index(at), |o| o.create);
                    self.pairs.insert(
                        key,
                        KvEntry {
                            create,
                            modify: Index(at),
                            ..new
                        },
                    );
                    self.table = at;
                }
            }
            _ => {}
        }
        match op {
            KvOp::Set | KvOp::Delete | KvOp::DeleteTree => Outcome::Done,
            _ => Outcome::Verdict(ok),
        }
    }

    fn list(&self, prefix: &[u8]) -> (Vec<KvEntry>, u64) {
        let found: Vec<_> = self
            .pairs
            .iter()
            .filter(|(k, _)| k.starts_with(prefix))
            .map(|(_, e)| e.clone())
            .collect();
        let buried = self
            .tombstones
            .iter()
            .filter(|(k, _)| k.starts_with(prefix))
            .map(|(_, at)| *at);
        let highest = found.iter().map(|e| e.modify.0).chain(buried).max();
        (
            found,
            highest.filter(|_| !prefix.is_empty()).unwrap_or(self.table),
        )
    }
}

#[test]
fn keys_agree_with_a_naive_model() {
    for seed in 1..=seeds(100) {
        let mut r = Random(seed * 0x0bad_cafe);
        let mut b = Bench::default();
        let mut model = Model::default();
        b.done(super::register(super::node("n")));
        let known = [uuid(1), uuid(2), uuid(3)];
        for id in known {
            b.done(Command::SessionCreate(Box::new(super::session(id, "n"))));
        }
        for step in 0..200 {
            let (op, given) = (kv_op(&mut r), entry(&mut r, b.index));
            let outcome = b.apply(Command::Kv(op, given.clone())).outcome;
            let want = model.apply(b.index, op, &given, &known);
            assert_eq!(outcome, want, "seed {seed} step {step}: {op:?} {given:?}");
            for prefix in KEYS {
                let (Reply::Kv(list), index) = b.read(&Query::KvList {
                    prefix: prefix.as_bytes().into(),
                }) else {
                    panic!()
                };
                let list: Vec<KvEntry> = list.iter().map(|e| (**e).clone()).collect();
                assert_eq!(
                    (list, index.0),
                    model.list(prefix.as_bytes()),
                    "seed {seed} step {step} {prefix:?}"
                );
            }
        }
    }
}
