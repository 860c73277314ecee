//! Every command survives the log; bytes that are no entry are refused without harm.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tribune_types::autopilot::AutopilotConfig;
use tribune_types::catalog::*;
use tribune_types::command::{Command, RestoreStep};
use tribune_types::coordinate::{Coordinate, CoordinateEntry};
use tribune_types::id::{Index, Uuid};
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::prepared::{
    PreparedQuery, QueryDns, QueryFailover, QueryService, QueryTemplate,
};
use tribune_types::proxy::{ExposeConfig, ExposePath, ProxyConfig, Upstream};
use tribune_types::session::{Behavior, ServiceCheckRef, Session};
use tribune_types::text::{Text, TextMap, text};
use tribune_types::txn::{CatalogVerb, KvVerb, TxnOp};
use tribune_types::value::Value;
use tribune_wire::entry::{EntryError, decode, encode};

fn any_text() -> impl Strategy<Value = Text> {
    prop_oneof![
        Just(String::new()),
        "[a-z]{1,8}",
        "\\PC{0,40}",
        "[a-z]{32,300}"
    ]
    .prop_map(|s| text(&s))
}

fn texts() -> impl Strategy<Value = Vec<Text>> {
    vec(any_text(), 0..4)
}

fn map() -> impl Strategy<Value = Option<TextMap>> {
    prop::option::of(
        vec((any_text(), any_text()), 0..4).prop_map(|pairs| pairs.into_iter().collect()),
    )
}

fn uuid() -> impl Strategy<Value = Option<Uuid>> {
    prop::option::of(any::<[u8; 16]>().prop_map(Uuid))
}

fn index() -> impl Strategy<Value = Index> {
    prop_oneof![0..200_u64, any::<u64>()].prop_map(Index)
}

fn texts_or_none() -> impl Strategy<Value = Option<Vec<Text>>> {
    prop::option::of(vec(any_text(), 0..4))
}

fn prepared_query() -> impl Strategy<Value = PreparedQuery> {
    let names = (any_text(), any_text(), any_text(), any_text());
    let template =
        (any_text(), any_text(), any::<bool>()).prop_map(|(kind, regexp, remove)| QueryTemplate {
            kind,
            regexp,
            remove_empty_tags: remove,
        });
    let failover =
        (any::<i64>(), texts_or_none()).prop_map(|(nearest_n, datacenters)| QueryFailover {
            nearest_n,
            datacenters,
        });
    let lists = (texts_or_none(), texts_or_none(), map(), map());
    let flags = (any::<bool>(), any::<bool>());
    let service = (any_text(), failover, any_text(), lists, flags);
    let service = service.prop_map(|(service, failover, near, lists, flags)| QueryService {
        service,
        failover,
        only_passing: flags.0,
        ignore_check_ids: lists.0,
        near,
        tags: lists.1,
        node_meta: lists.2,
        service_meta: lists.3,
        connect: flags.1,
    });
    let rest = (any_text(), index(), index());
    (names, template, service, rest).prop_map(|(names, template, service, rest)| PreparedQuery {
        id: names.0,
        name: names.1,
        session: names.2,
        token: names.3,
        template,
        service,
        dns: QueryDns { ttl: rest.0 },
        create: rest.1,
        modify: rest.2,
    })
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(0), 0..i64::MAX as u64].prop_map(Duration::from_nanos)
}

fn bytes() -> impl Strategy<Value = Box<[u8]>> {
    vec(any::<u8>(), 0..80).prop_map(Into::into)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (i64::MAX as u64 + 1..=u64::MAX).prop_map(Value::UInt),
        any::<i32>().prop_map(|v| Value::Float(f64::from(v) / 3.0)),
        any_text().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            vec((any_text(), inner), 0..4)
                .prop_map(|pairs| Value::Map(pairs.into_iter().collect())),
        ]
    })
}

fn config() -> impl Strategy<Value = Option<std::collections::BTreeMap<Text, Value>>> {
    prop::option::of(vec((any_text(), value()), 0..3).prop_map(|pairs| pairs.into_iter().collect()))
}

fn upstream() -> impl Strategy<Value = Upstream> {
    (
        any_text(),
        any_text(),
        any_text(),
        any::<i64>(),
        config(),
        texts(),
    )
        .prop_map(|(a, b, c, port, config, hosts)| Upstream {
            destination_type: a.clone(),
            destination_namespace: b.clone(),
            destination_name: c.clone(),
            datacenter: a,
            local_bind_address: b,
            local_bind_port: port,
            config,
            mesh_gateway_mode: c,
            ingress_hosts: hosts,
        })
}

fn proxy() -> impl Strategy<Value = ProxyConfig> {
    let paths = prop::option::of(vec((any_text(), any::<i64>(), any::<bool>()), 0..3));
    let upstreams = prop::option::of(vec(upstream(), 0..3));
    (
        any_text(),
        any_text(),
        any::<i64>(),
        config(),
        upstreams,
        any::<bool>(),
        paths,
    )
        .prop_map(
            |(a, b, port, config, upstreams, checks, paths)| ProxyConfig {
                destination_service_name: a.clone(),
                destination_service_id: b.clone(),
                local_service_address: a.clone(),
                local_service_port: port,
                config,
                upstreams,
                mesh_gateway_mode: b,
                expose: ExposeConfig {
                    checks,
                    paths: paths.map(|paths| {
                        let path =
                            |(path, port, parsed_from_check): (Text, i64, bool)| ExposePath {
                                listener_port: port,
                                protocol: path.clone(),
                                path,
                                local_path_port: port / 2,
                                parsed_from_check,
                            };
                        paths.into_iter().map(path).collect()
                    }),
                },
            },
        )
}

fn service() -> impl Strategy<Value = Service> {
    let kind = prop::sample::select(vec![
        ServiceKind::Typical,
        ServiceKind::ConnectProxy,
        ServiceKind::MeshGateway,
        ServiceKind::TerminatingGateway,
        ServiceKind::IngressGateway,
    ]);
    let weights = prop::option::of((any::<i64>(), any::<i64>()));
    let names = (any_text(), any_text(), any_text(), texts());
    let maps = (
        map(),
        vec((any_text(), (any_text(), any::<i64>())), 0..3),
        prop::option::of(proxy()),
    );
    (
        kind,
        names,
        maps,
        any::<i64>(),
        weights,
        any::<[bool; 3]>(),
        index(),
        index(),
    )
        .prop_map(
            |(
                kind,
                (id, name, address, tags),
                (meta, addresses, proxy),
                port,
                weights,
                flags,
                create,
                modify,
            )| {
                let addresses: std::collections::BTreeMap<_, _> = addresses.into_iter().collect();
                let given_empty = GivenEmpty {
                    tags: tags.is_empty() && flags[0],
                    tagged_addresses: addresses.is_empty() && flags[1],
                };
                Service {
                    kind,
                    id,
                    name,
                    tags,
                    address,
                    tagged_addresses: addresses
                        .into_iter()
                        .map(|(name, (address, port))| (name, ServiceAddress { address, port }))
                        .collect(),
                    meta,
                    port,
                    weights: weights.map(|(passing, warning)| Weights { passing, warning }),
                    enable_tag_override: flags[0],
                    // Records hold no block that says nothing.
                    proxy: proxy.filter(|p| *p != ProxyConfig::default()).map(Box::new),
                    connect_native: flags[1],
                    locally_registered_as_sidecar: flags[2],
                    given_empty,
                    create,
                    modify,
                }
            },
        )
}

fn detail() -> impl Strategy<Value = CheckDetail> {
    (
        any_text(),
        any_text(),
        vec((any_text(), texts()), 0..3),
        texts(),
        span(),
        any::<u64>(),
        any::<bool>(),
    )
        .prop_map(|(a, b, header, args, span, size, flag)| {
            let header: std::collections::BTreeMap<_, _> = header.into_iter().collect();
            CheckDetail {
                http: a.clone(),
                tls_skip_verify: flag,
                header: header.into_iter().collect(),
                method: b.clone(),
                body: a.clone(),
                tcp: b.clone(),
                interval: span,
                output_max_size: size,
                timeout: span / 2,
                deregister_critical_service_after: span / 3,
                script_args: args,
                docker_container_id: a.clone(),
                shell: b.clone(),
                grpc: a.clone(),
                grpc_use_tls: !flag,
                alias_node: b.clone(),
                alias_service: a,
                ttl: span / 4,
            }
        })
}

fn check() -> impl Strategy<Value = Check> {
    let status = prop::sample::select(vec![Status::Passing, Status::Warning, Status::Critical]);
    (
        status,
        any_text(),
        any_text(),
        any_text(),
        texts(),
        prop::option::of(detail()),
        index(),
        index(),
    )
        .prop_map(|(status, a, b, c, tags, detail, create, modify)| Check {
            node: a.clone(),
            id: b.clone(),
            name: c.clone(),
            status,
            notes: a.clone(),
            output: b.clone(),
            service_id: c,
            service_name: a,
            tags_given_empty: tags.is_empty() && create.0 % 2 == 0,
            service_tags: tags,
            check_type: b,
            definition: detail
                .filter(|d| *d != CheckDetail::default())
                .map(Box::new),
            create,
            modify,
        })
}

fn register() -> impl Strategy<Value = Register> {
    (
        any_text(),
        uuid(),
        any_text(),
        any_text(),
        map(),
        map(),
        prop::option::of(service()),
        vec(check(), 0..3),
        any::<bool>(),
    )
        .prop_map(
            |(
                datacenter,
                id,
                node,
                address,
                tagged_addresses,
                node_meta,
                service,
                checks,
                skip,
            )| Register {
                datacenter,
                id,
                node,
                address,
                tagged_addresses,
                node_meta,
                service,
                checks,
                skip_node_update: skip,
            },
        )
}

fn kv() -> impl Strategy<Value = KvEntry> {
    (
        bytes(),
        bytes(),
        any::<u64>(),
        any::<u64>(),
        uuid(),
        index(),
        index(),
    )
        .prop_map(
            |(key, value, flags, lock_index, session, create, modify)| KvEntry {
                key,
                value,
                flags,
                lock_index,
                session,
                create,
                modify,
            },
        )
}

fn session() -> impl Strategy<Value = Session> {
    let checks = || prop::option::of(texts());
    let refs = prop::option::of(vec((any_text(), any_text()), 0..3));
    (
        uuid(),
        any_text(),
        any_text(),
        span(),
        any::<bool>(),
        checks(),
        checks(),
        refs,
        index(),
        index(),
    )
        .prop_map(
            |(id, name, node, lock_delay, delete, node_checks, checks, refs, create, modify)| {
                Session {
                    id: id.unwrap_or_default(),
                    ttl: node.clone(),
                    name,
                    node,
                    lock_delay,
                    behavior: if delete {
                        Behavior::Delete
                    } else {
                        Behavior::Release
                    },
                    node_checks,
                    service_checks: refs.map(|refs| {
                        refs.into_iter()
                            .map(|(id, namespace)| ServiceCheckRef { id, namespace })
                            .collect()
                    }),
                    checks,
                    create,
                    modify,
                }
            },
        )
}

fn node() -> impl Strategy<Value = Node> {
    (
        uuid(),
        any_text(),
        any_text(),
        any_text(),
        map(),
        map(),
        index(),
        index(),
    )
        .prop_map(
            |(id, name, address, datacenter, tagged_addresses, meta, create, modify)| Node {
                id,
                name,
                address,
                datacenter,
                tagged_addresses,
                meta,
                create,
                modify,
            },
        )
}

fn coordinate() -> impl Strategy<Value = CoordinateEntry> {
    (
        any_text(),
        any_text(),
        vec(-1.0..1.0_f64, 0..9),
        0.0..2.0_f64,
    )
        .prop_map(|(node, segment, vec, x)| CoordinateEntry {
            node,
            segment,
            coord: Coordinate {
                vec,
                error: x,
                adjustment: -x,
                height: x / 7.0,
            },
        })
}

fn txn_op() -> impl Strategy<Value = TxnOp> {
    let kv_verb = prop::sample::select(KvVerb::WORDS.iter().map(|(_, v)| *v).collect::<Vec<_>>());
    let verb = || {
        prop::sample::select(
            CatalogVerb::WORDS
                .iter()
                .map(|(_, v)| *v)
                .collect::<Vec<_>>(),
        )
    };
    prop_oneof![
        (kv_verb, kv()).prop_map(|(v, e)| TxnOp::Kv(v, e)),
        (verb(), node()).prop_map(|(v, n)| TxnOp::Node(v, Box::new(n))),
        (verb(), any_text(), service()).prop_map(|(v, n, s)| TxnOp::Service(v, n, Box::new(s))),
        (verb(), check()).prop_map(|(v, c)| TxnOp::Check(v, Box::new(c))),
        uuid().prop_map(|id| TxnOp::SessionDestroy(id.unwrap_or_default())),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let op = prop::sample::select(vec![
        KvOp::Set,
        KvOp::Cas,
        KvOp::Lock,
        KvOp::Unlock,
        KvOp::Delete,
        KvOp::DeleteCas,
        KvOp::DeleteTree,
    ]);
    let autopilot = (
        any::<bool>(),
        span(),
        any::<u64>(),
        any_text(),
        index(),
        index(),
    )
        .prop_map(
            |(flag, span, number, word, create, modify)| AutopilotConfig {
                cleanup_dead_servers: flag,
                last_contact_threshold: span,
                max_trailing_logs: number,
                min_quorum: number / 2,
                server_stabilization_time: span / 2,
                redundancy_zone_tag: word.clone(),
                disable_upgrade_migration: !flag,
                upgrade_version_tag: word,
                create,
                modify,
            },
        );
    prop_oneof![
        register().prop_map(|r| Command::Register(Box::new(r))),
        (any_text(), any_text(), any_text(), any_text()).prop_map(
            |(datacenter, node, service_id, check_id)| {
                Command::Deregister(Deregister {
                    datacenter,
                    node,
                    service_id,
                    check_id,
                })
            }
        ),
        (op, kv()).prop_map(|(op, entry)| Command::Kv(op, entry)),
        session().prop_map(|s| Command::SessionCreate(Box::new(s))),
        uuid().prop_map(|id| Command::SessionDestroy(id.unwrap_or_default())),
        index().prop_map(Command::ReapTombstones),
        vec(coordinate(), 0..4).prop_map(Command::Coordinates),
        vec(txn_op(), 0..4).prop_map(Command::Txn),
        prepared_query().prop_map(|query| Command::QuerySet(Box::new(query))),
        uuid().prop_map(|id| Command::QueryDelete(id.unwrap_or_default())),
        (autopilot, prop::option::of(index()))
            .prop_map(|(config, cas)| Command::Autopilot { config, cas }),
        any::<u64>().prop_map(|id| Command::Restore(RestoreStep::Begin { id })),
        (any::<u64>(), any::<u32>(), bytes())
            .prop_map(|(id, seq, data)| Command::Restore(RestoreStep::Chunk { id, seq, data })),
        (any::<u64>(), any::<u32>(), index()).prop_map(|(id, chunks, index)| Command::Restore(
            RestoreStep::Commit { id, chunks, index }
        )),
        any::<u64>().prop_map(|id| Command::Restore(RestoreStep::Abort { id })),
    ]
}

fn encoded(command: &Command) -> Vec<u8> {
    let mut out = Vec::new();
    encode(command, &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_decoded_entry_is_the_encoded_command(command in command()) {
        prop_assert_eq!(decode(&encoded(&command)), Ok(command));
    }

    #[test]
    fn a_cut_entry_is_refused(command in command(), at in any::<prop::sample::Index>()) {
        let bytes = encoded(&command);
        prop_assert!(decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn an_entry_with_something_behind_it_is_refused(command in command(), more in vec(any::<u8>(), 1..4)) {
        let mut bytes = encoded(&command);
        bytes.extend(more);
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn mangled_entries_do_no_harm(command in command(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut bytes = encoded(&command);
        let at = at.index(bytes.len());
        bytes[at] = with;
        let _ = decode(&bytes);
    }

    #[test]
    fn random_bytes_do_no_harm(kind in any::<u8>(), bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode(&[&[kind], &bytes[..]].concat());
    }
}

#[test]
fn types_are_those_of_the_original() {
    let commands: [(u8, Command); 12] = [
        (0, Command::Register(Box::default())),
        (1, Command::Deregister(Deregister::default())),
        (2, Command::Kv(KvOp::Set, KvEntry::default())),
        (3, Command::SessionCreate(Box::default())),
        (3, Command::SessionDestroy(Uuid::default())),
        (5, Command::ReapTombstones(Index(1))),
        (0x86, Command::Coordinates(Vec::new())),
        (7, Command::QuerySet(Box::default())),
        (7, Command::QueryDelete(Uuid::default())),
        (8, Command::Txn(Vec::new())),
        (
            9,
            Command::Autopilot {
                config: AutopilotConfig::default(),
                cas: None,
            },
        ),
        (0x40, Command::Restore(RestoreStep::Begin { id: 1 })),
    ];
    for (kind, command) in commands {
        assert_eq!(encoded(&command)[0], kind, "{command:?}");
    }
}

#[test]
fn unknown_types_say_whether_they_may_be_skipped() {
    assert_eq!(decode(&[]), Err(EntryError::Empty));
    assert_eq!(
        decode(&[0x3f, 0xc0]),
        Err(EntryError::Unknown {
            kind: 0x3f,
            skippable: false
        })
    );
    assert_eq!(
        decode(&[0xbf, 0xc0]),
        Err(EntryError::Unknown {
            kind: 0x3f,
            skippable: true
        })
    );
    assert!(matches!(
        decode(b"\x02\x80"),
        Err(EntryError::Invalid { kind: 2, .. })
    ));
    assert!(matches!(
        decode(b"\x02\x91\x01"),
        Err(EntryError::Malformed { kind: 2, .. })
    ));
}

#[test]
fn a_set_costs_little_more_than_its_key_and_value() {
    let entry = KvEntry {
        key: (*b"bench/key-000001").into(),
        value: vec![b'v'; 100].into(),
        ..KvEntry::default()
    };
    let size = encoded(&Command::Kv(KvOp::Set, entry)).len();
    assert!(size < 116 + 40, "{size}");
}

#[test]
fn bodies_of_the_original_are_understood() {
    // What a real client sends as KVS.Apply; the token is not looked at.
    let body = b"\x84\xaaDatacenter\xa3dc1\xa6DirEnt\x82\xa3Key\xa5app/c\xabModifyIndex\x01\xa2Op\xaadelete-cas\xa5Token\xa1t";
    let entry = KvEntry {
        key: (*b"app/c").into(),
        modify: Index(1),
        ..KvEntry::default()
    };
    assert_eq!(
        decode(&[&[2], &body[..]].concat()),
        Ok(Command::Kv(KvOp::DeleteCas, entry))
    );
}
