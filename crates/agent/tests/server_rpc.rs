//! The server port as callers see it: captured requests of real agents are answered in the shape of the captured
//! replies, and failures look as callers expect.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tribune_agent::logs::{LogOptions, Logs};
use tribune_agent::start::{Agent, Parts};
use tribune_config::{Config, Environment, load, parse_agent_flags};
use tribune_rt::Env;
use tribune_rt::net::TcpStream;
use tribune_wire::msgpack::{encode, from_slice, value_len};
use tribune_wire::rpc::{ResponseHeader, write_request_header};

/// What a reply is made of, values aside.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Nil,
    Leaf,
    List(Vec<Shape>),
    Map(BTreeMap<String, Shape>),
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Shape;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_unit<E: Error>(self) -> Result<Shape, E> {
                Ok(Shape::Nil)
            }
            fn visit_bool<E: Error>(self, _: bool) -> Result<Shape, E> {
                Ok(Shape::Leaf)
            }
            fn visit_i64<E: Error>(self, _: i64) -> Result<Shape, E> {
                Ok(Shape::Leaf)
            }
            fn visit_u64<E: Error>(self, _: u64) -> Result<Shape, E> {
                Ok(Shape::Leaf)
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<Shape, E> {
                Ok(Shape::Leaf)
            }
            fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Shape, E> {
                Ok(Shape::Leaf)
            }
            fn visit_str<E: Error>(self, _: &str) -> Result<Shape, E> {
                Ok(Shape::Leaf)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Shape::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Shape>()? {
                    pairs.insert(key, value);
                }
                Ok(Shape::Map(pairs))
            }
        }
        d.deserialize_any(V)
    }
}

impl Shape {
    /// Whether a reader of the other finds what it looks for. Lists may be empty and optional things absent.
    fn fits(&self, other: &Shape, path: &str) -> Result<(), String> {
        match (self, other) {
            (Shape::Nil, _) | (_, Shape::Nil) | (Shape::Leaf, Shape::Leaf) => Ok(()),
            (Shape::List(ours), Shape::List(theirs)) => {
                let Some(first) = theirs.first() else {
                    return Ok(());
                };
                ours.iter().try_for_each(|item| item.fits(first, path))
            }
            (Shape::Map(ours), Shape::Map(theirs)) => {
                let is_struct = |map: &BTreeMap<String, Shape>| {
                    let mut keys = map.keys();
                    keys.all(|key| key.starts_with(|c: char| c.is_ascii_uppercase()))
                };
                if !is_struct(ours) || !is_struct(theirs) {
                    return Ok(());
                }
                if !ours.keys().eq(theirs.keys()) {
                    return Err(format!(
                        "{path}: {:?} is not {:?}",
                        ours.keys(),
                        theirs.keys()
                    ));
                }
                ours.iter()
                    .try_for_each(|(key, value)| value.fits(&theirs[key], &format!("{path}.{key}")))
            }
            _ => Err(format!("{path}: {self:?} is not {other:?}")),
        }
    }
}

/// A caller with one connection.
struct Caller {
    stream: TcpStream,
    buffer: Vec<u8>,
    seq: u64,
}

/// The error and the body of a reply; `None` if the connection ended.
type Replied = Option<(String, Vec<u8>)>;

impl Caller {
    async fn new(env: &Env, addr: SocketAddr) -> Caller {
        let mut stream = TcpStream::connect(env, addr).await.unwrap();
        stream.write_all(&[0x00]).await.unwrap();
        Caller {
            stream,
            buffer: Vec::new(),
            seq: 0,
        }
    }

    async fn call(&mut self, method: &str, body: &[u8]) -> Replied {
        self.seq += 1;
        let mut request = Vec::new();
        write_request_header(&mut request, self.seq, method);
        request.extend_from_slice(body);
        self.stream.write_all(&request).await.ok()?;
        let header = self.value().await?;
        let (seq, error) = {
            let header = ResponseHeader::decode(&header).unwrap();
            (header.seq, header.error.to_string())
        };
        assert_eq!(seq, self.seq, "{method}");
        let body = self.value().await.expect("a body follows every header");
        if !error.is_empty() {
            assert_eq!(body, [0x80], "{method}");
        }
        Some((error, body))
    }

    async fn value(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(len) = value_len(&self.buffer).unwrap() {
                return Some(self.buffer.drain(..len).collect());
            }
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }
}

fn config(hcl: &str) -> Config {
    let flags = parse_agent_flags(&["-hcl", hcl]).unwrap();
    load(&flags, &Environment::default()).unwrap().config
}

struct Server {
    env: Env,
    agent: Agent,
    addr: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start(addr: &str) -> Server {
        let env = Env::ambient().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let hcl = format!(
            "server = true bootstrap = true data_dir = {:?} node_name = \"srv\" bind_addr = {addr:?}
             ports {{ http = -1 dns = -1 grpc = -1 }} performance {{ raft_multiplier = 1 }}",
            folder.path()
        );
        let parts = Parts {
            config: config(&hcl),
            reload: Box::new(move || Ok(config(&hcl))),
            applied: Box::new(|_| {}),
            logs: Logs::start(&env, &LogOptions::silent()).unwrap(),
            host: "host".to_owned(),
            revision: String::new(),
        };
        let agent = Agent::start(&env, parts).await.unwrap();
        let server = Server {
            env,
            agent,
            addr: format!("{addr}:8300").parse().unwrap(),
            _folder: folder,
        };
        let mut caller = server.caller().await;
        for _ in 0..600 {
            let settings = caller
                .call("Operator.AutopilotGetConfiguration", &in_dc("dc1"))
                .await;
            if settings.is_some_and(|(error, _)| error.is_empty()) {
                return server;
            }
            server.env.sleep(Duration::from_millis(50)).await;
        }
        panic!("no leader");
    }

    async fn caller(&self) -> Caller {
        Caller::new(&self.env, self.addr).await
    }
}

/// A body that says the datacenter and nothing else.
fn in_dc(dc: &str) -> Vec<u8> {
    with(&[("Datacenter", dc)])
}

/// A body of strings.
fn with(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    encode::put_map(&mut body, fields.len() as u32);
    for (key, value) in fields {
        encode::put_str(&mut body, key);
        encode::put_str(&mut body, value);
    }
    body
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

/// Why the answer to a captured request is another one here; `None` if it is the same.
fn differs(name: &str, request: &serde_json::Value) -> Option<&'static str> {
    let token = request["Token"].as_str().unwrap_or_default();
    Some(match name {
        _ if token.starts_with("bbbb") || token.starts_with("dddd") => "no ACLs here",
        _ if request["Datacenter"] == "dc2" => "no dc2 here",
        "Session.Apply#1" => "no gossip keeps a serfHealth here",
        "KVS.Apply#3" => "the session has another ID here",
        "Txn.Apply#1" | "Txn.Read#1" => "the keys were deleted",
        _ => return None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn captured_requests_are_answered_in_the_shape_of_the_captured_replies() {
    let server = Server::start("127.45.20.1").await;
    let vectors = include_str!("../../wire/tests/vectors/rpc.json");
    let all: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let mut vectors: Vec<_> = all["vectors"].as_array().unwrap().iter().collect();
    // Registrations first, departures last.
    vectors.sort_by_key(|v| {
        let name = v["name"].as_str().unwrap();
        (name.contains("Deregister"), !name.contains(".Register"))
    });
    let mut caller = server.caller().await;
    let (mut served, mut refused, mut wrong) = (0, 0, Vec::new());
    for vector in vectors {
        let text = |json: &serde_json::Value| json.as_str().unwrap_or_default().to_owned();
        let (name, method) = (text(&vector["name"]), text(&vector["method"]));
        let groups = [
            "Catalog.",
            "Coordinate.",
            "Health.",
            "Internal.",
            "KVS.",
            "Operator.",
            "Session.",
            "Status.",
            "Txn.",
        ];
        if !groups.iter().any(|group| method.starts_with(group)) {
            continue;
        }
        let body = unhex(&text(&vector["request"]["body_hex"]));
        let (error, reply) = caller
            .call(&method, &body)
            .await
            .unwrap_or_else(|| panic!("{name}: the connection ended"));
        if let Some(why) = differs(&name, &vector["request"]["body"]) {
            assert!(!why.is_empty());
            continue;
        }
        let want = text(&vector["response"]["header"]["Error"]);
        if error != want {
            wrong.push(format!("{name}: {error:?} is not {want:?}"));
            continue;
        }
        if !error.is_empty() {
            refused += 1;
            continue;
        }
        served += 1;
        let theirs = unhex(&text(&vector["response"]["body_hex"]));
        let (ours, theirs): (Shape, Shape) =
            (from_slice(&reply).unwrap(), from_slice(&theirs).unwrap());
        if let Err(why) = ours.fits(&theirs, &name) {
            wrong.push(why);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(served >= 60 && refused >= 8, "{served} and {refused}");
    server.agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_calls_leave_the_stream_open_and_misunderstood_ones_end_it() {
    let server = Server::start("127.45.21.1").await;
    // (method, body, error, the stream ends)
    let cases: [(&str, Vec<u8>, &str, bool); 11] = [
        ("KVS.Get", in_dc("dc9"), "No path to datacenter", false),
        (
            "KVS.Get",
            with(&[("Key", "k")]),
            "No path to datacenter",
            false,
        ),
        (
            "KVS.Apply",
            with(&[("Op", "set")]),
            "No path to datacenter",
            false,
        ),
        (
            "Catalog.NodeServices",
            in_dc("dc1"),
            "Must provide node",
            false,
        ),
        (
            "Session.Get",
            with(&[("Datacenter", "dc1"), ("SessionID", "x")]),
            "failed session lookup: index error: UUID must be 36 characters",
            false,
        ),
        (
            "Health.ServiceChecks",
            [
                &[0x82][..],
                &with(&[("Datacenter", "dc1")])[1..],
                b"\xa9TagFilter\xc3",
            ]
            .concat(),
            "Tag filtering is not supported",
            false,
        ),
        (
            "Status.Nope",
            vec![0x80],
            "rpc: can't find method Status.Nope",
            true,
        ),
        ("Nope.X", vec![0x80], "rpc: can't find service Nope.X", true),
        (
            "Nope",
            vec![0x80],
            "rpc: service/method request ill-formed: Nope",
            true,
        ),
        (
            "KVS.Get",
            vec![0x07],
            "msgpack: expected struct as a map, found integer",
            true,
        ),
        // Nobody looks at the datacenter of these.
        ("Catalog.ListDatacenters", vec![0x80], "", false),
    ];
    for (method, body, want, ends) in cases {
        let mut caller = server.caller().await;
        let (error, _) = caller.call(method, &body).await.unwrap();
        assert_eq!(error, want, "{method}");
        let again = caller.call("Status.Ping", &[0x80]).await;
        assert_eq!(again.is_none(), ends, "{method}");
    }
    server.agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_registers_comes_back_as_it_was_sent() {
    let server = Server::start("127.45.22.1").await;
    let mut caller = server.caller().await;
    // Nil, empty and filled collections. The original's agents register again when one comes back as another.
    for (tags, addresses) in [
        (&b"\xc0"[..], &b"\xc0"[..]),
        (b"\x90", b"\x80"),
        (b"\x91\xa1a", b"\x81\xa3lan\x82\xa7Address\xa11\xa4Port\x01"),
    ] {
        let service = [
            &b"\x84\xa2ID\xa1w\xa7Service\xa1w\xaFTaggedAddresses"[..],
            addresses,
            b"\xa4Tags",
            tags,
        ]
        .concat();
        let check = b"\x83\xa4Name\xa1c\xa6Status\xa7passing\xa9ServiceID\xa1w";
        let body = [
            &b"\x85\xaaDatacenter\xa3dc1\xa4Node\xa1n\xa7Address\xa11\xa7Service"[..],
            &service,
            b"\xa5Check",
            check,
        ]
        .concat();
        let (error, reply) = caller.call("Catalog.Register", &body).await.unwrap();
        assert_eq!((&*error, &reply[..]), ("", &[0x80][..]));
        let node = with(&[("Datacenter", "dc1"), ("Node", "n")]);
        for (method, field, want) in [
            ("Catalog.NodeServiceList", &b"\xa4Tags"[..], tags),
            ("Catalog.NodeServiceList", b"\xa5Proxy", b"\x88"),
            ("Catalog.NodeServices", b"\xa4Tags", tags),
            ("Health.NodeChecks", b"\xabServiceTags", tags),
        ] {
            let (error, reply) = caller.call(method, &node).await.unwrap();
            assert_eq!(error, "");
            let needle = [field, want].concat();
            assert!(
                reply.windows(needle.len()).any(|w| w == needle),
                "{method} {}",
                reply.escape_ascii()
            );
        }
        let (_, reply) = caller.call("Catalog.NodeServiceList", &node).await.unwrap();
        let needle = [&b"\xa7Service\xa1w\xafTaggedAddresses"[..], addresses].concat();
        assert!(reply.windows(needle.len()).any(|w| w == needle));
    }
    server.agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_query_ends_with_the_change_it_waits_for() {
    let server = Server::start("127.45.23.1").await;
    let (mut waiter, mut writer) = (server.caller().await, server.caller().await);
    let set = |value: &str| {
        let entry = with(&[("Key", "k"), ("Value", value)]);
        let mut body = b"\x83\xaaDatacenter\xa3dc1\xa2Op\xa3set\xa6DirEnt".to_vec();
        body.extend_from_slice(&entry);
        body
    };
    // Without a condition the original answers false, and callers know.
    let (error, reply) = writer.call("KVS.Apply", &set("1")).await.unwrap();
    assert_eq!((&*error, &reply[..]), ("", &[0xc2][..]));
    let get = |index: u64| {
        let mut body = b"\x83\xaaDatacenter\xa3dc1\xa3Key\xa1k\xadMinQueryIndex".to_vec();
        encode::put_uint(&mut body, index);
        body
    };
    let (_, reply) = waiter.call("KVS.Get", &get(0)).await.unwrap();
    let index = index_of(&reply);
    assert!(reply.windows(7).any(|w| w == b"\xa5Value\xa1"));
    let blocking = get(index);
    let (woken, written) = tokio::join!(waiter.call("KVS.Get", &blocking), async {
        server.env.sleep(Duration::from_millis(100)).await;
        writer.call("KVS.Apply", &set("2")).await
    });
    assert_eq!(written.unwrap().0, "");
    let (error, reply) = woken.unwrap();
    assert_eq!(error, "");
    assert!(index_of(&reply) > index);
    assert!(
        reply
            .windows(b"\xabKnownLeader\xc3".len())
            .any(|w| w == b"\xabKnownLeader\xc3")
    );
    server.agent.shutdown().await;
}

/// The index in the meta of a reply.
fn index_of(reply: &[u8]) -> u64 {
    #[derive(serde::Deserialize)]
    struct Meta {
        #[serde(rename = "Index")]
        index: u64,
    }
    from_slice::<Meta>(reply).unwrap().index
}
