//! `replicate` between real processes: Tribune, and where `CONSUL_BIN` names one a Consul 1.8.7, on either end.
//!
//! `TRIBUNE_REPLICATE_KEYS` sets how many keys are copied while the copying process is killed again and again.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::Agent;
use common::pool::{Kind, LONG, Node, consul};
use serde_json::{Value, json};

/// Flags and value by key.
type Entries = BTreeMap<String, (u64, Vec<u8>)>;

/// All entries below a prefix; the prefix is cut off.
fn entries(node: &Node, prefix: &str) -> Entries {
    let answer = node.request("GET", &format!("/v1/kv/{prefix}?recurse&consistent"), &[]);
    if answer.status == 404 {
        return Entries::new();
    }
    let list = answer.json();
    { list.as_array().expect("a list").iter() }
        .map(|entry| {
            let key = entry["Key"].as_str().expect("a key");
            let value = entry["Value"].as_str().unwrap_or_default();
            (
                key[prefix.len()..].to_owned(),
                (
                    entry["Flags"].as_u64().expect("flags"),
                    STANDARD.decode(value).expect("base64"),
                ),
            )
        })
        .collect()
}

/// The same without the replicator's own keys.
fn copies(node: &Node, prefix: &str) -> Entries {
    let mut entries = entries(node, prefix);
    entries.retain(|key, _| !format!("{prefix}{key}").starts_with("service/consul-replicate"));
    entries
}

fn put(node: &Node, key: &str, value: &[u8]) {
    let answer = node.request("PUT", &format!("/v1/kv/{key}"), value);
    assert_eq!(answer.text().trim(), "true", "{key}");
}

fn delete(node: &Node, what: &str) {
    let answer = node.request("DELETE", &format!("/v1/kv/{what}"), &[]);
    assert_eq!(answer.text().trim(), "true", "{what}");
}

fn transaction(node: &Node, operations: &[Value]) {
    let body = serde_json::to_vec(operations).expect("JSON");
    let answer = node.request("PUT", "/v1/txn", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// `count` keys below a prefix, of 0 to 200 random bytes, some with flags.
fn fill(node: &Node, prefix: &str, count: usize, seed: u64) {
    let mut random = Random(seed);
    let operations: Vec<Value> = (0..count)
        .map(|at| {
            let value: Vec<u8> = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
            let flags = if at % 3 == 0 { random.below(u64::MAX) } else { 0 };
            json!({"KV": {"Verb": "set", "Key": format!("{prefix}{at:07}"), "Value": STANDARD.encode(value), "Flags": flags}})
        })
        .collect();
    for chunk in operations.chunks(64) {
        transaction(node, chunk);
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) % limit
    }
}

/// The command that copies from one agent to another.
fn command(from: &Node, to: &Node, args: &[&str]) -> Command {
    let mut command = Command::new(Agent::binary());
    command
        .args(["replicate", "-http-addr", &to.http().to_string()])
        .args(["-source-addr", &from.http().to_string()])
        .args(args);
    command
}

fn once(from: &Node, to: &Node, args: &[&str]) -> (Option<i32>, String, String) {
    common::run(command(from, to, &[&["-once"], args].concat()))
}

fn once_ok(from: &Node, to: &Node, args: &[&str]) -> String {
    let (code, out, err) = once(from, to, args);
    assert_eq!(code, Some(0), "{args:?}: {out}{err}");
    out
}

/// A replicator in the background, killed when dropped.
struct Running(Child, tempfile::TempDir);

impl Running {
    fn start(mut command: Command) -> Running {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let log = std::fs::File::create(dir.path().join("log")).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        Running(child, dir)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.1.path().join("log")).unwrap_or_default()
    }

    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .expect("kill runs")
                .success()
        );
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    fn wait_for(&self, what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + LONG;
        while !done() {
            assert!(
                Instant::now() < deadline,
                "waited for {what}:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn ends(&mut self) -> Option<i32> {
        let deadline = Instant::now() + LONG;
        loop {
            if let Some(status) = self.0.try_wait().expect("the child can be asked") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Destroys the sessions of replicators that were killed, for which a successor would have to wait.
fn end_sessions(node: &Node) {
    let list = node.json("/v1/session/list");
    for session in list.as_array().into_iter().flatten() {
        if session["Name"] == "tribune replicate" {
            let id = session["ID"].as_str().expect("an ID");
            node.put(&format!("/v1/session/destroy/{id}"), "");
        }
    }
}

fn statuses(node: &Node) -> Vec<Value> {
    { entries(node, "service/consul-replicate/statuses/").into_iter() }
        .filter(|(key, _)| !key.ends_with(".lock"))
        .map(|(_, (_, value))| serde_json::from_slice(&value).expect("JSON"))
        .collect()
}

fn modify_indexes(node: &Node, prefix: &str) -> BTreeMap<String, u64> {
    let list = node.json(&format!("/v1/kv/{prefix}?recurse"));
    { list.as_array().expect("a list").iter() }
        .map(|e| {
            (
                e["Key"].to_string(),
                e["ModifyIndex"].as_u64().expect("an index"),
            )
        })
        .collect()
}

fn pair(from: &Kind, to: &Kind) -> (Node, Node) {
    (
        Node::server(from, "source", ""),
        Node::server(to, "target", ""),
    )
}

fn copies_are_equal(from: &Kind, to: &Kind) {
    let (from, to) = pair(from, to);
    fill(&from, "app/k/", 300, 7);
    for (key, value) in [
        ("app/", &b""[..]),
        ("app/empty", b""),
        ("app/binary", &[0, 255, 10, 13, 34, 92]),
        ("app/with%20blank%3F%25%22%3C%26", b"x"),
        ("app/%C3%A9%F0%9F%8E%89", "\u{1f389}".as_bytes()),
        ("app/secret/1", b"s"),
        ("application", b"not below app/"),
        ("other", b"o"),
    ] {
        put(&from, key, value);
    }
    let large: Vec<u8> = (0..524_288_u32).map(|n| (n * 7 % 251) as u8).collect();
    put(&from, "app/large?flags=9", &large);
    // What the destination has before: an extra key, one that differs, one equal, and others that are not its business.
    for (key, value) in [
        ("copy/extra", &b"x"[..]),
        ("copy/empty", b"not empty"),
        ("copy/binary", &[0, 255, 10, 13, 34, 92]),
        ("copy/secret/2", b"kept"),
        ("copies", b"kept"),
    ] {
        put(&to, key, value);
    }
    let args = ["-prefix", "app/:copy/", "-exclude", "app/secret/"];
    let told = once_ok(&from, &to, &args);
    assert_eq!(told, "305 keys written, 1 deleted, 1 were equal\n");
    let mut want = entries(&from, "app/");
    want.remove("secret/1");
    want.insert("secret/2".to_owned(), (0, b"kept".to_vec()));
    assert_eq!(entries(&to, "copy/"), want);
    assert_eq!(want["large"], (9, large));
    assert_eq!(entries(&to, "copies")[""].1, b"kept");
    let status = statuses(&to);
    assert_eq!(status.len(), 1, "{status:?}");
    assert_eq!(
        (
            &status[0]["Source"],
            &status[0]["Destination"],
            &status[0]["Datacenter"]
        ),
        (&json!("app/"), &json!("copy/"), &json!("dc1"))
    );
    let index = from.request("GET", "/v1/kv/app/?recurse", &[]).index();
    assert_eq!(status[0]["LastReplicated"], index);

    // Nothing changed: nothing is written. One value changed and one key deleted: only these are.
    let before = modify_indexes(&to, "copy/");
    assert_eq!(
        once_ok(&from, &to, &args),
        "0 keys written, 0 deleted, 306 were equal\n"
    );
    assert_eq!(modify_indexes(&to, "copy/"), before);
    put(&from, "app/empty", b"full");
    delete(&from, "app/binary");
    assert_eq!(
        once_ok(&from, &to, &args),
        "1 keys written, 1 deleted, 304 were equal\n"
    );
    // Drift at the destination is repaired, too.
    put(&to, "copy/empty", b"drift");
    delete(&to, "copy/large");
    assert_eq!(
        once_ok(&from, &to, &args),
        "2 keys written, 0 deleted, 303 were equal\n"
    );
    want = entries(&from, "app/");
    want.remove("secret/1");
    want.insert("secret/2".to_owned(), (0, b"kept".to_vec()));
    assert_eq!(entries(&to, "copy/"), want);
    // All keys: the replicator's own stay out of it.
    once_ok(&from, &to, &["-prefix", "*"]);
    assert_eq!(copies(&to, ""), copies(&from, ""));
    assert_eq!(statuses(&to).len(), 2);
}

#[test]
fn a_copy_equals_its_source_in_values_flags_and_what_is_gone() {
    copies_are_equal(&Kind::Tribune, &Kind::Tribune);
}

#[test]
fn copies_from_consul_to_tribune_and_back_are_equal() {
    let Some(consul) = consul() else { return };
    copies_are_equal(&consul, &Kind::Tribune);
    copies_are_equal(&Kind::Tribune, &consul);
}

#[test]
fn a_source_that_is_empty_or_gone_deletes_nothing() {
    let (mut from, to) = pair(&Kind::Tribune, &Kind::Tribune);
    let args = ["-prefix", "a/", "-retry", "10ms"];
    put(&to, "a/1", b"x");
    let keys = || entries(&to, "a/").len();
    // Never copied, and nothing there: not believed, unless one says so.
    let (code, out, err) = once(&from, &to, &args);
    assert_eq!((code, keys()), (Some(2), 1), "{out}{err}");
    assert!(err.contains("1 keys are kept"), "{err}");
    // Copied, then emptied key by key: followed.
    put(&from, "a/1", b"x");
    put(&from, "a/2", b"y");
    once_ok(&from, &to, &args);
    assert_eq!(keys(), 2);
    delete(&from, "a/?recurse");
    assert_eq!(
        once_ok(&from, &to, &args),
        "0 keys written, 2 deleted, 0 were equal\n"
    );
    assert_eq!(keys(), 0);
    // A datacenter that does not exist, and an agent that is gone.
    put(&from, "a/1", b"x");
    once_ok(&from, &to, &args);
    let (code, _, err) = once(&from, &to, &["-prefix", "a/@nowhere", "-retry", "10ms"]);
    assert_eq!((code, keys()), (Some(1), 1), "{err}");
    assert!(err.contains("No path to datacenter"), "{err}");
    from.kill();
    let (code, _, err) = once(&from, &to, &args);
    assert_eq!((code, keys()), (Some(1), 1), "{err}");
    assert!(err.contains("connection refused"), "{err}");
    // Another cluster in its place, new and empty: its index is lower.
    let other = Node::server(&Kind::Tribune, "other", "");
    for at in 0..30 {
        put(&to, &format!("a/{at}"), b"x");
    }
    let (code, _, err) = once(&other, &to, &args);
    assert_eq!((code, keys()), (Some(2), 30), "{err}");
    // And one that is not empty: the copy starts over.
    put(&other, "a/new", b"n");
    let told = once_ok(&other, &to, &args);
    assert_eq!(told, "1 keys written, 30 deleted, 0 were equal\n");
    delete(&other, "a/new");
    once_ok(&other, &to, &["-prefix", "a/", "-allow-empty"]);
    assert_eq!(keys(), 0);
}

/// Answers every request with the same bytes, as something in between might.
fn impostor(answer: &'static str) -> std::net::SocketAddr {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            let asked = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..asked]).into_owned();
            let own = "HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n{\"Config\":{\"Datacenter\":\"dc9\"}}\n";
            let text = if head.contains("/v1/agent/self") {
                own
            } else {
                answer
            };
            let _ = stream.write_all(text.as_bytes());
        }
    });
    addr
}

#[test]
fn an_answer_that_cannot_be_trusted_deletes_nothing() {
    let to = Node::server(&Kind::Tribune, "target", "");
    for key in ["a/1", "a/5", "a/9"] {
        put(&to, key, b"x");
    }
    let headers = "X-Consul-Index: 50\r\nX-Consul-KnownLeader: true\r\n";
    // (answer of the source, what the log says)
    for (answer, want) in [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(), "not from an agent"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]".to_owned(), "not from an agent"),
        (
            "HTTP/1.1 404 Not Found\r\nX-Consul-Index: 50\r\nX-Consul-KnownLeader: false\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "no leader",
        ),
        (format!("HTTP/1.1 500 No\r\n{headers}Content-Length: 17\r\n\r\nNo cluster leader"), "No cluster leader"),
        (
            format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 90\r\n\r\n[{{\"Key\":\"a/5\",\"Value\":\"eA==\"}},"),
            "broke off",
        ),
        (
            format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 30\r\n\r\n[{{\"Key\":\"a/5\",\"Value\":\"eA==\"}},"),
            "broke off",
        ),
        (
            format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 29\r\n\r\n[{{\"Key\":\"a/9\"}},{{\"Key\":\"a/5\"}}]"),
            "not sorted",
        ),
        (format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 4\r\n\r\nnull"), "no JSON array"),
    ] {
        let addr = impostor(Box::leak(answer.into_boxed_str()));
        let mut command = Command::new(Agent::binary());
        command
            .args(["replicate", "-once", "-retry", "10ms", "-prefix", "a/"])
            .args(["-http-addr", &to.http().to_string(), "-source-addr", &addr.to_string()]);
        let (code, out, err) = common::run(command);
        assert_eq!(code, Some(1), "{want}: {out}{err}");
        assert!(err.contains(want), "{want}: {err}");
        let left: Vec<String> = entries(&to, "a/").into_keys().collect();
        assert_eq!(left, ["1", "5", "9"], "{want}");
    }
}

#[test]
fn changes_are_followed_by_one_of_two_and_the_other_takes_over() {
    let (from, to) = pair(&Kind::Tribune, &Kind::Tribune);
    fill(&from, "a/", 100, 3);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("r.hcl");
    std::fs::write(&file, "prefix { source = \"a/\" }\nlog_level = \"debug\"\n").expect("a file");
    let config = file.to_string_lossy().into_owned();
    let metrics = format!("127.0.0.1:{}", common::free_port());
    let mut first = Running::start(command(
        &from,
        &to,
        &["-config", &config, "-metrics-addr", &metrics],
    ));
    first.wait_for("the first copy", || {
        entries(&to, "a/") == entries(&from, "a/")
    });
    let second = Running::start(command(&from, &to, &["-config", &config]));
    second.wait_for("it to stand by", || second.log().contains("standing by"));
    put(&from, "a/new", b"1");
    delete(&from, "a/0000050");
    first.wait_for("the changes", || entries(&to, "a/") == entries(&from, "a/"));
    assert!(!second.log().contains("written"), "{}", second.log());
    let metrics = metrics.parse().expect("an address");
    let row = format!(
        "tribune_replicate_keys_written_total{{source=\"a/\",datacenter=\"{}\",destination=\"a/\",to=\"{}\"}} 101\n",
        from.http(),
        to.http()
    );
    first.wait_for("the count of what was written", || {
        let told = common::try_request(metrics, "GET", "/metrics", &[]);
        told.is_ok_and(|told| told.text().contains(&row))
    });

    // A reload that makes no sense changes nothing; one that does is followed.
    std::fs::write(&file, "prefix {").expect("a file");
    first.signal("-HUP");
    first.wait_for("the refusal", || {
        first.log().contains("cannot be read again")
    });
    put(&from, "b/1", b"x");
    std::fs::write(
        &file,
        "prefix { source = \"a/\" }\nprefix { source = \"b/\" }\n",
    )
    .expect("a file");
    first.signal("-HUP");
    first.wait_for("the new prefix", || {
        entries(&to, "b/") == entries(&from, "b/")
    });

    // Between stop and start the second may have taken the lock; kill whoever is left in turn.
    first.kill();
    put(&from, "a/after", b"2");
    second.wait_for("the other to take over", || {
        entries(&to, "a/") == entries(&from, "a/")
    });
    let mut second = second;
    second.signal("-TERM");
    assert_eq!(second.ends(), Some(0), "{}", second.log());
    assert!(second.log().contains("Stopped: "), "{}", second.log());
    // Its lock is free at once.
    once_ok(&from, &to, &["-prefix", "a/"]);
}

#[test]
fn who_lost_the_lock_writes_nothing() {
    let (from, to) = pair(&Kind::Tribune, &Kind::Tribune);
    put(&from, "a/1", b"x");
    let running = Running::start(command(&from, &to, &["-prefix", "a/"]));
    running.wait_for("the first copy", || !entries(&to, "a/").is_empty());
    // It is stopped like a machine that hangs; its session ends, and somebody else writes.
    running.signal("-STOP");
    end_sessions(&to);
    put(&from, "a/1", b"y");
    put(&from, "a/2", b"y");
    let lock = { entries(&to, "service/").into_keys() }.find(|key| key.ends_with(".lock"));
    let lock = format!("service/{}", lock.expect("a lock"));
    let session = to
        .put("/v1/session/create", "{\"LockDelay\":\"0s\"}")
        .json();
    let id = session["ID"].as_str().expect("an ID");
    let taken = to.put(
        &format!("/v1/kv/{lock}?acquire={id}&flags=3304740253564472344"),
        "me",
    );
    assert_eq!(taken.text().trim(), "true");
    running.signal("-CONT");
    running.wait_for("it to notice", || {
        running.log().contains("the lock was lost")
    });
    running.wait_for("it to stand by", || running.log().contains("standing by"));
    assert_eq!(entries(&to, "a/")["1"].1, b"x");
    to.put(&format!("/v1/session/destroy/{id}"), "");
    running.wait_for("it to go on", || entries(&to, "a/") == entries(&from, "a/"));
}

#[test]
fn several_destinations_are_served_side_by_side() {
    let (from, to) = pair(&Kind::Tribune, &Kind::Tribune);
    let third = Node::server(&Kind::Tribune, "third", "");
    fill(&from, "a/", 50, 1);
    let (one, other) = (to.http().to_string(), format!("{}@dc1", third.http()));
    once_ok(
        &from,
        &to,
        &[
            "-prefix",
            "a/:x/",
            "-destination",
            &one,
            "-destination",
            &other,
        ],
    );
    for node in [&to, &third] {
        assert_eq!(entries(node, "x/"), entries(&from, "a/"));
    }
    // One that is gone fails alone.
    drop(third);
    put(&from, "a/new", b"1");
    let args = [
        "-prefix",
        "a/:x/",
        "-retry",
        "10ms",
        "-destination",
        &one,
        "-destination",
        &other,
    ];
    let (code, _, err) = once(&from, &to, &args);
    assert_eq!(code, Some(1), "{err}");
    assert_eq!(entries(&to, "x/"), entries(&from, "a/"));
}

/// A source that counts how often keys were read, and copies of `a/` from it to three destinations.
fn to_three() -> (Node, [Node; 3], Running) {
    let telemetry = "telemetry { prometheus_retention_time = \"10m\" disable_hostname = true }\n";
    let from = Node::server(&Kind::Tribune, "source", telemetry);
    let to = ["one", "two", "three"].map(|name| Node::server(&Kind::Tribune, name, ""));
    put(&from, "a/first", b"1");
    let mut copy = command(&from, &to[0], &["-prefix", "a/", "-wait", "10ms"]);
    for node in &to {
        copy.args(["-destination", &node.http().to_string()]);
    }
    let running = Running::start(copy);
    all_have(&running, &to, "a/first");
    (from, to, running)
}

fn all_have(running: &Running, nodes: &[Node], key: &str) {
    for node in nodes {
        let path = format!("/v1/kv/{key}?raw");
        running.wait_for(key, || node.request("GET", &path, &[]).status == 200);
    }
}

#[test]
fn several_destinations_read_their_source_once_for_each_change() {
    let (from, to, running) = to_three();
    let reads = || -> f64 {
        let text = from.request("GET", "/v1/agent/metrics?format=prometheus", &[]);
        let text = text.text();
        let count = text
            .lines()
            .find_map(|line| line.strip_prefix("consul_http_GET_v1_kv___count "));
        count.map_or(0.0, |count| count.parse().expect("a number"))
    };
    // The index that a destination has last noted down, which it does at the end of each copy.
    let noted = |node: &Node| statuses(node).first()?["LastReplicated"].as_u64();
    running.wait_for("the first to be noted", || {
        to.iter().all(|node| noted(node).is_some())
    });
    let before = reads();
    for change in 0..10 {
        let key = format!("a/{change}");
        let noted_before = to.each_ref().map(noted);
        put(&from, &key, b"x");
        all_have(&running, &to, &key);
        running.wait_for("all to be done with it", || {
            { to.iter().zip(&noted_before) }.all(|(node, before)| noted(node) > *before)
        });
    }
    // One that was not back in time reads on its own, now and then.
    let more = reads() - before;
    assert!(
        (10.0..=18.0).contains(&more),
        "{more} reads\n{}",
        running.log()
    );
}

#[test]
fn a_destination_that_stands_still_does_not_keep_the_others_from_their_copies() {
    let (from, to, running) = to_three();
    to[2].signal("-STOP");
    let began = Instant::now();
    // More than is on its way to one of them.
    let value = vec![b'v'; 200_000];
    for key in 0..20 {
        put(&from, &format!("a/large-{key:02}"), &value);
    }
    all_have(&running, &to[..2], "a/large-19");
    // Not with the next change, nor with the end of a wait for one, which takes two minutes.
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(60),
        "{took:?}\n{}",
        running.log()
    );
    to[2].signal("-CONT");
    all_have(&running, &to, "a/large-19");
    for node in &to {
        assert_eq!(entries(node, "a/"), entries(&from, "a/"));
    }
}

#[test]
fn a_copy_within_one_datacenter_must_not_feed_on_itself() {
    let node = Node::server(&Kind::Tribune, "only", "");
    put(&node, "a/1", b"x");
    let address = node.http().to_string();
    let run = |prefix: &str| {
        let mut command = Command::new(Agent::binary());
        command.args([
            "replicate",
            "-once",
            "-http-addr",
            &address,
            "-prefix",
            prefix,
        ]);
        common::run(command)
    };
    for prefix in ["a/", "a/:a/b/", "*:copy/", "a/:*@dc1"] {
        let (code, _, err) = run(prefix);
        assert_eq!(code, Some(1), "{prefix}: {err}");
        assert!(
            err.contains("overlap within one datacenter"),
            "{prefix}: {err}"
        );
    }
    assert_eq!(run("a/:b/").0, Some(0));
    assert_eq!(entries(&node, "b/"), entries(&node, "a/"));
}

/// Copies while the copier is killed at random moments and the source changes, then once to the end.
fn survives_kills(from: &Kind, to: &Kind) {
    let keys = std::env::var("TRIBUNE_REPLICATE_KEYS").ok();
    let keys = keys.and_then(|text| text.parse().ok()).unwrap_or(3000);
    let (from, to) = pair(from, to);
    fill(&from, "a/", keys, 11);
    fill(&to, "b/old/", keys / 10, 12);
    let mut random = Random(u64::from(std::process::id()));
    let mut killed = 0;
    for round in 0..12 {
        let mut running = Running::start(command(&from, &to, &["-once", "-prefix", "a/:b/"]));
        // From before the first request, which the first round makes sure of, to behind the last.
        let span = if round == 0 {
            1
        } else {
            (keys as u64 / 20).clamp(100, 6000)
        };
        std::thread::sleep(Duration::from_millis(random.below(span)));
        if running
            .0
            .try_wait()
            .expect("the child can be asked")
            .is_none()
        {
            killed += 1;
        }
        running.kill();
        end_sessions(&to);
        put(&from, &format!("a/new/{round}"), &[round; 20]);
        delete(&from, &format!("a/{:07}", round as usize * 37));
    }
    let start = Instant::now();
    let last = command(&from, &to, &["-once", "-prefix", "a/:b/"]);
    // It may have to wait for the end of a session that came into being when its maker was killed.
    let (code, out, err) = common::run_within(4 * LONG, last, b"");
    assert_eq!(code, Some(0), "{out}{err}");
    println!(
        "{keys} keys, killed {killed} times; the last run: {out}in {:?}",
        start.elapsed()
    );
    assert!(killed > 0);
    assert_eq!(entries(&to, "b/"), entries(&from, "a/"));
    assert_eq!(statuses(&to).len(), 1);
}

#[test]
fn a_copier_killed_at_any_moment_ends_with_equal_contents() {
    survives_kills(&Kind::Tribune, &Kind::Tribune);
}

#[test]
fn killed_between_consul_and_tribune_it_ends_with_equal_contents() {
    let Some(consul) = consul() else { return };
    survives_kills(&consul, &Kind::Tribune);
    survives_kills(&Kind::Tribune, &consul);
}

/// One agent for both sides, and a session in a datacenter that does not know the agent's node.
fn across_datacenters(near: &Kind, far: &Kind) {
    let from = Node::server(far, "far", "datacenter = \"dc2\"\n");
    let hcl = format!(
        "retry_join_wan = [\"{}\"]\nretry_interval_wan = \"1s\"\n",
        from.ip
    );
    let mut near = Node::server(near, "near", &hcl);
    near.wait_for("the other datacenter", |node| {
        node.try_json("/v1/catalog/nodes?dc=dc2").is_some()
    });
    fill(&from, "a/", 200, 5);
    let address = near.http().to_string();
    let run = |args: &[&str]| {
        let mut command = Command::new(Agent::binary());
        command
            .args(["replicate", "-once", "-http-addr", &address])
            .args(args);
        let (code, out, err) = common::run(command);
        assert_eq!(code, Some(0), "{args:?}: {out}{err}");
    };
    run(&["-prefix", "a/@dc2"]);
    assert_eq!(entries(&near, "a/"), entries(&from, "a/"));
    // And pushed there.
    run(&["-prefix", "a/:pushed/@dc1", "-destination", "@dc2"]);
    assert_eq!(entries(&from, "pushed/"), entries(&near, "a/"));
    assert_eq!(statuses(&from).len(), 1);
}

#[test]
fn datacenters_of_one_cluster_are_copied_through_one_agent() {
    across_datacenters(&Kind::Tribune, &Kind::Tribune);
    let Some(consul) = consul() else { return };
    across_datacenters(&consul, &consul);
    across_datacenters(&consul, &Kind::Tribune);
    across_datacenters(&Kind::Tribune, &consul);
}

/// A source that is restored to an earlier state, while it is followed and while it is not.
fn follows_a_restore(kind: &Kind) {
    let (from, to) = pair(kind, &Kind::Tribune);
    fill(&from, "a/", 100, 9);
    let saved = from.request("GET", "/v1/snapshot", &[]);
    assert_eq!(saved.status, 200);
    let earlier = entries(&from, "a/");
    let change = || {
        put(&from, "a/0000001", b"changed later");
        put(&from, "a/later", b"added later");
        delete(&from, "a/0000002");
    };
    let restore = || {
        let restored = from.request("PUT", "/v1/snapshot", &saved.body);
        assert_eq!(restored.status, 200, "{}", restored.text());
    };
    let mut running = Running::start(command(
        &from,
        &to,
        &["-prefix", "a/", "-log-level", "debug"],
    ));
    running.wait_for("the copy", || entries(&to, "a/") == earlier);
    change();
    running.wait_for("the changes", || {
        let now = entries(&to, "a/");
        now != earlier && now == entries(&from, "a/")
    });
    restore();
    running.wait_for("the restored state", || entries(&to, "a/") == earlier);
    assert!(running.log().contains("went back"), "{}", running.log());
    running.signal("-INT");
    assert_eq!(running.ends(), Some(0));
    // Restored and written to behind the replicator's back: no index tells.
    change();
    once_ok(&from, &to, &["-prefix", "a/"]);
    restore();
    for _ in 0..20 {
        put(&from, "a/0000005", b"x");
        put(&from, "a/0000005", b"y");
    }
    once_ok(&from, &to, &["-prefix", "a/"]);
    assert_eq!(entries(&to, "a/"), entries(&from, "a/"));
}

#[test]
fn a_source_that_is_restored_is_followed_back() {
    follows_a_restore(&Kind::Tribune);
    let Some(consul) = consul() else { return };
    follows_a_restore(&consul);
}

/// Access rules of the real Consul: what may not be written is left out, what may not be read is not deleted.
#[test]
fn what_a_token_may_not_do_is_left_out_and_told() {
    const MASTER: &str = "11111111-1111-1111-1111-111111111111";
    let Some(kind) = consul() else { return };
    let hcl = format!(
        "server = true\nbootstrap = true\nperformance {{ raft_multiplier = 1 }}\nacl {{ enabled = true default_policy = \"deny\" \
         tokens {{ master = \"{MASTER}\" }} }}\n"
    );
    let mut ruled = Node::prepare(&kind, "ruled", &hcl);
    ruled.spawn();
    let as_master = format!("token={MASTER}");
    ruled.wait_for("its rules", |node| {
        let told = node.try_json(&format!("/v1/acl/policies?{as_master}"));
        told.is_some_and(|told| told.to_string().contains("global-management"))
    });
    let token = |name: &str, rules: &str| {
        let policy = json!({"Name": name, "Rules": rules}).to_string();
        let made = ruled.put(&format!("/v1/acl/policy?{as_master}"), &policy);
        assert_eq!(made.status, 200, "{}", made.text());
        let token = json!({"Policies": [{"Name": name}]}).to_string();
        let made = ruled
            .put(&format!("/v1/acl/token?{as_master}"), &token)
            .json();
        made["SecretID"].as_str().expect("a token").to_owned()
    };
    let open = Node::server(&Kind::Tribune, "open", "");
    fill(&open, "a/", 300, 2);
    put(&open, "a/secret/1", b"x");
    let keys = |prefix: &str| {
        let list = ruled.try_json(&format!("/v1/kv/{prefix}?keys&{as_master}"));
        list.map_or(0, |list| list.as_array().expect("names").len())
    };
    let writer = token(
        "writer",
        "key_prefix \"b/\" { policy = \"write\" }\nkey_prefix \"b/secret/\" { policy = \"read\" }\n\
         key_prefix \"service/consul-replicate/\" { policy = \"write\" }\nsession_prefix \"\" { policy = \"write\" }",
    );
    let (code, out, err) = once(&open, &ruled, &["-prefix", "a/:b/", "-token", &writer]);
    assert_eq!((code, keys("b/")), (Some(2), 300), "{out}{err}");
    assert!(
        err.contains("refuses \"b/secret/1\": Permission denied"),
        "{err}"
    );
    let (code, out, err) = once(&open, &ruled, &["-prefix", "a/:b/", "-token", MASTER]);
    assert_eq!((code, keys("b/")), (Some(0), 301), "{out}{err}");

    // And back: first all, then with tokens that see less, or nothing.
    let back = |args: &[&str]| once(&ruled, &open, &[&["-prefix", "b/:c/"], args].concat());
    let (code, out, err) = back(&["-source-token", MASTER]);
    assert_eq!(
        (code, entries(&open, "c/").len()),
        (Some(0), 301),
        "{out}{err}"
    );
    let gone = ruled.request("DELETE", &format!("/v1/kv/b/0000007?{as_master}"), &[]);
    assert_eq!(gone.text().trim(), "true");
    let reader = token("reader", "key_prefix \"b/0\" { policy = \"read\" }");
    let (code, out, err) = back(&["-source-token", &reader]);
    assert_eq!(
        (code, entries(&open, "c/").len()),
        (Some(2), 300),
        "{out}{err}"
    );
    assert!(err.contains("may not read 1 keys"), "{err}");
    for args in [&[][..], &["-allow-empty"]] {
        let (code, out, err) = back(args);
        assert_eq!(
            (code, entries(&open, "c/").len()),
            (Some(2), 300),
            "{out}{err}"
        );
    }
}
