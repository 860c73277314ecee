//! Bodies, query strings and paths of HTTP requests. The first byte chooses the decoder.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use std::fmt::Debug;
use std::time::Duration;

use tribune_api::parse::{self, BodyError};
use tribune_api::{params, uuid};
use tribune_types::text::text;

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

const QUERY: u8 = 10;
const PATH: u8 = 11;
const PREPARED: u8 = 12;
const DECODERS: u8 = 13;

fn run(bytes: &[u8]) {
    let Some((&which, body)) = bytes.split_first() else {
        return;
    };
    match which % DECODERS {
        0 => body_of(parse::service_definition(body)),
        1 => body_of(parse::check_definition(body)),
        2 => body_of(parse::register(body)),
        3 => body_of(parse::deregister(body)),
        4 => drop(parse::txn(body, 512 * 1024)),
        5 => body_of(parse::session(body, &text("n1"))),
        6 => body_of(parse::coordinate_update(body)),
        7 => body_of(parse::autopilot(body)),
        8 => body_of(parse::check_update(body)),
        9 => body_of(parse::token(body)),
        PREPARED => body_of(parse::prepared_query(body)),
        QUERY => query(&String::from_utf8_lossy(body)),
        _ => path(&String::from_utf8_lossy(body)),
    }
}

/// The error must have a text for the client.
fn body_of<T: Debug>(given: Result<T, BodyError>) {
    if let Err(error) = given {
        let _ = error.to_string();
        drop(error.into_api());
    }
}

fn query(given: &str) {
    let Ok(query) = params::Params::parse(given) else {
        return;
    };
    let canonical = query.encode();
    let again = params::Params::parse(&canonical).expect("what was encoded can be decoded");
    assert_eq!(again.encode(), canonical);
    drop(query.list_options("n1"));
    drop(query.read_options("dc1", Duration::from_secs(1)));
    drop(query.refuse_namespace());
    for name in ["token", "cas", "flags", "q", "node-meta"] {
        query.all(name).for_each(drop);
    }
}

fn path(given: &str) {
    drop(params::decode_path(given));
    drop(params::parse_cache_control(given));
    params::parse_bool(given);
    drop(uuid::parse_session(given));
    drop(uuid::parse_node_id(given));
    drop(uuid::lookup_error("sessions", given));
}

fn seeds() -> Vec<Vec<u8>> {
    let texts: &[(u8, &str)] = &[
        (
            0,
            r#"{"ID":"web1","Name":"web","Tags":["a"],"Port":80,"Address":"1.2.3.4","Token":"t","EnableTagOverride":true,
            "Meta":{"k":"v"},"Weights":{"Passing":5,"Warning":1},"TaggedAddresses":{"wan":{"Address":"9.9.9.9","Port":1}},
            "Check":{"Name":"c0","TTL":"15s","Status":"passing"},"Checks":[{"HTTP":"http://x","Interval":"10s",
            "Header":{"X":["1"]},"TLSSkipVerify":true,"DeregisterCriticalServiceAfter":"1m"}],"Kind":"connect-proxy",
            "Proxy":{"DestinationServiceName":"w","Config":{"a":[1,2.5,null,{"b":true}]},"Upstreams":[{"DestinationName":"db",
            "LocalBindPort":9}],"Expose":{"Checks":true,"Paths":[{"Path":"/h","ListenerPort":1}]},"MeshGateway":{"Mode":"local"}},
            "Connect":{"Native":false,"SidecarService":{"Port":99}}}"#,
        ),
        (
            1,
            r#"{"ID":"c","Name":"mem","Notes":"n","ServiceID":"web1","Args":["a","b"],"Interval":"10s","Timeout":10000000000,
            "Method":"POST","Header":{"a":["b"]},"TCP":"x:1","GRPC":"x","GRPCUseTLS":true,"DockerContainerID":"d","Shell":"sh",
            "AliasNode":"n","AliasService":"s","TTL":"1m30s","OutputMaxSize":1,"SuccessBeforePassing":3,"ScriptArgs":["x"]}"#,
        ),
        (
            2,
            r#"{"Datacenter":"dc1","ID":"40e4a748-2192-161a-0510-9bf59fe950b5","Node":"n","Address":"1.1.1.1",
            "TaggedAddresses":{"lan":"x"},"NodeMeta":{"a":"b"},"Service":{"ID":"r1","Service":"redis","Port":8000,"Weights":null},
            "Check":{"Node":"n","CheckID":"c","Name":"x","Status":"passing","Definition":{"HTTP":"h","Interval":"5s",
            "TimeoutDuration":5}},"Checks":[{"CheckID":"d"}],"SkipNodeUpdate":false,"WriteRequest":{"Token":"x"}}"#,
        ),
        (
            3,
            r#"{"Datacenter":"dc1","Node":"n","ServiceID":"s","CheckID":"c","WriteRequest":{"Token":"x"}}"#,
        ),
        (
            4,
            r#"[{"KV":{"Verb":"cas","Key":"k","Value":"aGk=","Flags":7,"Index":3,"Session":"40e4a748-2192-161a-0510-9bf59fe950b5"}},
            {"Node":{"Verb":"set","Node":{"Node":"n","Address":"a","Meta":{"a":"b"}}}},{"Service":{"Verb":"delete-cas","Node":"n",
            "Service":{"ID":"s","Service":"s","ModifyIndex":5}}},{"Check":{"Verb":"get","Check":{"Node":"n","CheckID":"c"}}}]"#,
        ),
        (
            5,
            r#"{"LockDelay":"15s","Name":"s","Node":"n","NodeChecks":["serfHealth"],"ServiceChecks":[{"ID":"a","Namespace":""}],
            "Checks":["a","b"],"Behavior":"delete","TTL":"30s"}"#,
        ),
        (5, r#"{"LockDelay":15}"#),
        (
            PREPARED,
            r#"{"Name":"geo-","Session":"","Token":"t","Template":{"Type":"name_prefix_match","Regexp":"^geo-(.+)$",
            "RemoveEmptyTags":true},"Service":{"Service":"${match(1)}","Failover":{"NearestN":2,"Datacenters":["dc2"]},
            "OnlyPassing":true,"IgnoreCheckIDs":["c"],"Near":"_agent","Tags":["a","!b"],"NodeMeta":{"k":"v"},
            "ServiceMeta":null,"Connect":false},"DNS":{"TTL":"10s"},"CreateIndex":1}"#,
        ),
        (
            6,
            r#"{"Node":"n","Segment":"","Coord":{"Adjustment":0.1,"Error":1.5e-3,"Height":1e-5,"Vec":[0,0,0,0,0,0,0,0]}}"#,
        ),
        (
            7,
            r#"{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":3,
            "ServerStabilizationTime":"10s","RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":""}"#,
        ),
        (
            8,
            r#"{"Status":"warning","Output":"curl \u00e9\ud83d\ude00\ud800 failed"}"#,
        ),
        (9, r#"{"Token":"secret"}"#),
        (
            QUERY,
            "dc=dc1&stale&index=7&wait=5m30s&near=_agent&node-meta=a:b&filter=Node+%3D%3D+%22n%22&ns=&max_stale=1s;pretty",
        ),
        (PATH, "/v1/kv/a%2Fb%20c"),
        (PATH, "max-age=5, stale-if-error=10"),
        (PATH, "40e4a748-2192-161a-0510-9bf59fe950b5"),
        (PATH, "TRUE"),
    ];
    texts
        .iter()
        .map(|(which, text)| [&[*which], text.as_bytes()].concat())
        .collect()
}
