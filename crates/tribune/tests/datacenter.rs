//! A client agent lives with three servers of the other make, while their leader is killed and comes back: a real Consul
//! client with Tribune's servers, and a Tribune client with Consul's. The same story of a Consul client with Consul's
//! servers says what is normal. Runs where `CONSUL_BIN` names a Consul 1.8.7, for `TRIBUNE_STORY_SECS` seconds (30).

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use common::datacenter::{client_of, leader, three_servers, voters};
use common::pool::{Kind, LONG, Node, all_alive, consul, on_all};
use common::{Response, dns, try_request};

/// Servers elect soon, so that the story is short.
const QUICK: &str = "performance { raft_multiplier = 1 }\n";
/// A change must be seen by a watcher within this, once requests succeed again.
const SEEN: Duration = Duration::from_secs(20);
/// The same with real servers, which may lose their leader at any time on a busy machine: what fails to be synced then is
/// tried again some 15 to 30 s later.
const SEEN_WITH_CONSUL: Duration = Duration::from_secs(90);
/// An event must have come to everybody within this: one whose packets are lost comes with an exchange of whole states, which
/// each agent makes with another at random every 30 s.
const HEARD: Duration = Duration::from_secs(150);
/// Requests may fail for this long after the leader's end: an election of Consul's servers, and the time after which its
/// clients give up a request.
const OUTAGE: Duration = Duration::from_secs(12);
/// An event fired this shortly before the kill may be with the killed server alone, and die with it.
const SPREADS: Duration = Duration::from_secs(3);
/// Lines about one item that may be written beyond one for each change: the agent's full comparisons may find a change
/// before the push of that change does.
const EXTRA_SYNCS: u64 = 2;

/// Warnings and errors of a real client that have to do with the moment of the kill, in a story with real servers too,
/// but not in each. Kinds as [`kinds`] gives them, by their beginning.
const NORMAL_FOR_CONSUL: &[(&str, &str)] = &[
    // A request was with the server that died, or went to it before gossip said so.
    (
        "ERROR agent.client: RPC failed to server",
        "the leader died",
    ),
    ("ERROR agent.http: Request error", "the leader died"),
    ("ERROR agent.dns: rpc error", "the leader died"),
    ("WARN agent.dns: ", "the leader died"),
    (
        "ERROR agent.anti_entropy: failed to sync remote state",
        "start, or the leader died",
    ),
    ("ERROR agent: failed to sync changes", "the leader died"),
    ("WARN agent: Syncing service failed.", "the leader died"),
    ("WARN agent: Syncing check failed.", "the leader died"),
    (
        "WARN agent: Deregistering service failed.",
        "the leader died",
    ),
    ("WARN agent: Deregistering check failed.", "the leader died"),
    ("WARN agent: Syncing node info failed.", "the leader died"),
    (
        "ERROR agent.anti_entropy: failed to sync changes",
        "the leader died",
    ),
    ("ERROR agent: yamux: Failed to write", "the leader died"),
    // It was probed meanwhile.
    (
        "ERROR agent.client.memberlist.lan: memberlist: ",
        "the leader died",
    ),
    (
        "WARN agent.client.memberlist.lan: memberlist: ",
        "the leader died",
    ),
    // Before the join.
    ("WARN agent.router.manager: No servers available", "start"),
    ("WARN agent: (LAN) couldn't join", "start"),
    ("WARN agent: Join cluster failed", "start"),
    // The story's own doing.
    (
        "WARN agent: Check is now critical",
        "a check fails on purpose",
    ),
];

/// The same for a Tribune client.
const NORMAL_FOR_TRIBUNE: &[(&str, &str)] = &[
    ("WARN agent: server not reached", "the leader died"),
    (
        "WARN agent.anti_entropy: failed to sync remote state",
        "start, or the leader died",
    ),
    (
        "WARN agent.anti_entropy: sync failed",
        "start, or the leader died",
    ),
    ("WARN agent: (LAN) couldn't join", "start"),
    ("WARN agent: Join cluster failed", "start"),
    ("WARN agent: memberlist: ", "the leader died"),
];

fn story_secs() -> u64 {
    let set = std::env::var("TRIBUNE_STORY_SECS").ok();
    set.and_then(|secs| secs.parse().ok()).unwrap_or(30)
}

#[test]
fn a_client_of_either_make_lives_with_three_servers_of_the_other() {
    let Some(consul) = consul() else { return };
    let kinds = [
        (&consul, &consul),
        (&Kind::Tribune, &consul),
        (&consul, &Kind::Tribune),
    ];
    // All at once, since this is mostly waiting.
    let told = std::thread::scope(|scope| {
        let running =
            kinds.map(|(servers, client)| scope.spawn(|| Story::new(servers, client).run()));
        running.map(|story| match story.join() {
            Ok(told) => told,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    });
    let [normal, ours_serve, ours_asks] = &told;
    for (told, (servers, client)) in told.iter().zip(kinds) {
        println!("{client:?} with {servers:?}: {}", told.summary());
    }
    no_loop(normal, "Consul with Consul");
    no_loop(ours_serve, "a Consul client with Tribune's servers");
    no_loop(ours_asks, "a Tribune client with Consul's servers");
    no_other_trouble(ours_serve, &normal.kinds, NORMAL_FOR_CONSUL);
    no_other_trouble(ours_asks, &BTreeMap::new(), NORMAL_FOR_TRIBUNE);
}

fn no_loop(told: &Told, who: &str) {
    for (item, syncs) in &told.syncs {
        let changes = told.changes.get(item).copied().unwrap_or(0);
        assert!(
            *syncs <= changes + EXTRA_SYNCS,
            "{who}: {item} changed {changes} times and was synced {syncs} times:\n{}",
            told.log
        );
    }
    // What changed was synced at all: nobody reads a log of another shape as silence.
    let synced: u64 = told.syncs.values().sum();
    assert!(synced >= 3, "{who}: {:?}\n{}", told.syncs, told.log);
}

fn no_other_trouble(told: &Told, normal: &BTreeMap<String, u64>, allowed: &[(&str, &str)]) {
    let strange: Vec<_> = { told.kinds.keys() }
        .filter(|kind| {
            !normal.contains_key(*kind) && !allowed.iter().any(|(start, _)| kind.starts_with(start))
        })
        .collect();
    assert!(strange.is_empty(), "{strange:#?}\n{}", told.log);
    // Trouble ends with its cause.
    for (at, line) in &told.late {
        println!("trouble {at:?} after the kill: {line}");
    }
    assert!(told.late.len() <= 2, "{:#?}\n{}", told.late, told.log);
}

/// A datacenter, and what happens in it.
struct Story {
    /// Of the servers and of the client.
    kinds: (Kind, Kind),
    servers: Mutex<Vec<Node>>,
    client: Node,
    /// What a check of the client connects to.
    database: TcpListener,
    until: Instant,
    /// The kill of the leader, once it has happened.
    killed: Mutex<Option<Instant>>,
    /// Position of the killed server, until it is a member again.
    lost: Mutex<Option<usize>>,
    /// Local changes by item, as the client's log names them.
    changes: Mutex<BTreeMap<String, u64>>,
    /// The last value of the counter that the watcher has seen.
    seen: Mutex<u64>,
    news: Condvar,
    failed: AtomicU64,
    /// What failed requests were told, by kind.
    excused: Mutex<BTreeMap<String, u64>>,
    /// When a request failed for the last time.
    last_failed: Mutex<Option<Instant>>,
    done: AtomicU64,
}

/// Something that goes on all the time.
type Part = fn(&Story);

/// What a story left.
struct Told {
    log: String,
    /// Warnings and errors by kind.
    kinds: BTreeMap<String, u64>,
    syncs: BTreeMap<String, u64>,
    changes: BTreeMap<String, u64>,
    /// Warnings and errors long after the kill.
    late: Vec<(Duration, String)>,
    counted: u64,
    failed: u64,
    /// What failed requests were told, by kind.
    excused: BTreeMap<String, u64>,
    done: u64,
    first_write: Duration,
}

impl Told {
    fn summary(&self) -> String {
        let synced: u64 = self.syncs.values().sum();
        let changed: u64 = self.changes.values().sum();
        format!(
            "{} requests, {} failed, counted to {}, first write {:?} after the kill, {synced} syncs for {changed} changes, {:#?}, {:#?}",
            self.done, self.failed, self.counted, self.first_write, self.excused, self.kinds
        )
    }
}

impl Story {
    fn new(servers: &Kind, client: &Kind) -> Story {
        let servers = three_servers(servers, QUICK);
        let kinds = (servers[0].kind.clone(), client.clone());
        let client = client_of(client, "client", &servers, "");
        let database = TcpListener::bind((client.ip, 0)).expect("a port");
        database.set_nonblocking(true).expect("set");
        Story {
            kinds,
            servers: Mutex::new(servers),
            client,
            database,
            until: Instant::now() + Duration::from_secs(story_secs()),
            killed: Mutex::new(None),
            lost: Mutex::new(None),
            changes: Mutex::default(),
            seen: Mutex::new(0),
            news: Condvar::new(),
            failed: AtomicU64::new(0),
            excused: Mutex::default(),
            last_failed: Mutex::new(None),
            done: AtomicU64::new(0),
        }
    }

    fn run(self) -> Told {
        let first_write = std::thread::scope(|scope| {
            let parts: [(&str, Part); 6] = [
                ("counter", Story::count),
                ("watcher", Story::watch),
                ("services", Story::change_services),
                ("locks", Story::lock),
                ("dns", Story::ask_dns),
                ("events", Story::fire),
            ];
            for (name, part) in parts {
                let thread = std::thread::Builder::new().name(name.to_owned());
                let story = &self;
                thread
                    .spawn_scoped(scope, move || part(story))
                    .expect("a thread");
            }
            self.lose_the_leader()
        });
        self.everything_is_in_the_catalog();
        let log = self.client.log();
        let killed = *self.killed.lock().expect("no panic");
        let failed = *self.last_failed.lock().expect("no panic");
        // No time is left where requests failed until the end.
        let calm = { killed.max(failed) }.map_or(Duration::ZERO, |at| (at + OUTAGE).elapsed());
        let late = late_trouble(&log, calm);
        Told {
            kinds: kinds(&log),
            syncs: syncs(&log),
            changes: self.changes.lock().expect("no panic").clone(),
            late,
            counted: *self.seen.lock().expect("no panic"),
            failed: self.failed.load(Ordering::Relaxed),
            excused: self.excused.lock().expect("no panic").clone(),
            done: self.done.load(Ordering::Relaxed),
            first_write,
            log,
        }
    }

    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// One request to the client. `None`: it failed, which is allowed while there may be no leader.
    fn ask(&self, method: &str, path: &str, body: &str) -> Option<Response> {
        let began = Instant::now();
        let answer = try_request(self.client.http(), method, path, body.as_bytes());
        self.done.fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok(answer) if answer.status == 200 => Some(answer),
            other => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                *self.last_failed.lock().expect("no panic") = Some(Instant::now());
                let killed = *self.killed.lock().expect("no panic");
                let text = match &other {
                    Ok(answer) => format!("{} {}", answer.status, answer.text()),
                    Err(err) => err.to_string(),
                };
                let excused = self.kinds.0.lost_its_leader(&text)
                    || killed.is_some_and(|at| began < at + OUTAGE);
                assert!(
                    excused,
                    "{:?}: {method} {path} after {:?}, {:?} after the kill: {text}\n{}",
                    self.kinds,
                    began.elapsed(),
                    killed.map(|at| at.elapsed()),
                    self.client.log()
                );
                let mut excused = self.excused.lock().expect("no panic");
                *excused.entry(plain(&text)).or_default() += 1;
                drop(excused);
                std::thread::sleep(Duration::from_millis(50));
                None
            }
        }
    }

    /// True once what began then should have been seen, even if requests failed meanwhile.
    fn too_late(&self, began: Instant) -> bool {
        let limit = match self.kinds.0 {
            Kind::Tribune => SEEN,
            Kind::Consul(_) => SEEN_WITH_CONSUL,
        };
        let failed = *self.last_failed.lock().expect("no panic");
        let since = failed.map_or(began, |failed| failed.max(began));
        since.elapsed() > limit || began.elapsed() > limit + LONG
    }

    /// As [`Story::ask`], until it succeeds.
    fn must(&self, method: &str, path: &str, body: &str) -> Response {
        let began = Instant::now();
        loop {
            if let Some(answer) = self.ask(method, path, body) {
                return answer;
            }
            assert!(
                began.elapsed() < OUTAGE + LONG,
                "{method} {path} never succeeds"
            );
        }
    }

    fn changed(&self, item: &str) {
        let mut changes = self.changes.lock().expect("no panic");
        *changes.entry(item.to_owned()).or_default() += 1;
    }

    /// Writes 1, 2, 3, each once the watcher has seen the one before.
    fn count(&self) {
        // Who may answer with what is old has something old.
        self.must("PUT", "/v1/kv/story/counter", "0");
        let servers = self.servers.lock().expect("no panic");
        let all: Vec<&Node> = servers.iter().collect();
        on_all(&all, "the counter", |server| {
            let path = "/v1/kv/story/counter?stale";
            try_request(server.http(), "GET", path, b"").is_ok_and(|answer| answer.status == 200)
        });
        drop(servers);
        let mut n = 0;
        while self.goes_on() {
            n += 1;
            self.must("PUT", "/v1/kv/story/counter", &n.to_string());
            self.is_seen(n);
            for mode in ["", "&consistent", "&stale"] {
                let Some(read) = self.ask("GET", &format!("/v1/kv/story/counter?raw{mode}"), "")
                else {
                    continue;
                };
                let read: u64 = read.text().parse().expect("a number");
                // A real server that has lost its office may not know it yet.
                let may_be_old =
                    mode == "&stale" || (mode.is_empty() && self.kinds.0 != Kind::Tribune);
                assert!(
                    read == n || (may_be_old && read < n),
                    "{mode}: {read}, written {n}"
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until the watcher has seen a value that was written.
    fn is_seen(&self, n: u64) {
        let began = Instant::now();
        let mut seen = self.seen.lock().expect("no panic");
        while *seen < n {
            assert!(
                !self.too_late(began),
                "the watcher misses a change:\n{}",
                self.client.log()
            );
            (seen, _) = (self.news)
                .wait_timeout(seen, Duration::from_secs(1))
                .expect("no panic");
        }
        assert_eq!(*seen, n);
    }

    /// Sees every value that the counter had.
    fn watch(&self) {
        let mut index = 0;
        while self.goes_on() {
            let path = format!("/v1/kv/story/counter?index={index}&wait=3s");
            let answer = try_request(self.client.http(), "GET", &path, b"");
            let Some(answer) = answer.ok().filter(|answer| answer.status == 200) else {
                // Not there yet, or no leader: as any watcher would.
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            let now = answer.index();
            assert!(now >= index, "the index went back from {index} to {now}");
            index = now;
            let value = answer.json()[0]["Value"].as_str().map(unbase64);
            let value: u64 = value.and_then(|text| text.parse().ok()).expect("a number");
            let mut seen = self.seen.lock().expect("no panic");
            assert!(value == *seen || value == *seen + 1, "{value} after {seen}");
            *seen = value;
            self.news.notify_all();
        }
    }

    /// Checks that pass and fail, and services that come and go.
    fn change_services(&self) {
        let addr = self.database.local_addr().expect("an address");
        let web = r#"{"Name": "web", "Port": 80, "Check": {"TTL": "30s", "Status": "passing"}}"#;
        self.must("PUT", "/v1/agent/service/register", web);
        let db = format!(
            r#"{{"Name": "db", "Port": {}, "Tags": ["primary"], "Check": {{"TCP": "{addr}", "Interval": "1s", "Status": "passing"}}}}"#,
            addr.port()
        );
        self.must("PUT", "/v1/agent/service/register", &db);
        for item in [
            "service web",
            "check service:web",
            "service db",
            "check service:db",
        ] {
            self.changed(item);
        }
        self.is_passing("web", 1);
        self.is_passing("db", 1);
        let mut round = 0;
        while self.goes_on() {
            round += 1;
            while self.database.accept().is_ok() {}
            for (verb, passing) in [("fail", 0), ("pass", 1)] {
                self.must("PUT", &format!("/v1/agent/check/{verb}/service:web"), "");
                self.changed("check service:web");
                self.is_passing("web", passing);
            }
            let name = format!("passing-by-{round}");
            self.must(
                "PUT",
                "/v1/agent/service/register",
                &format!(r#"{{"Name": "{name}"}}"#),
            );
            self.changed(&format!("service {name}"));
            self.is_passing(&name, 1);
            self.must("PUT", &format!("/v1/agent/service/deregister/{name}"), "");
            self.changed(&format!("removal of service {name}"));
            self.is_passing(&name, 0);
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Waits by blocking queries until the catalog has so many passing instances.
    fn is_passing(&self, service: &str, want: usize) {
        let began = Instant::now();
        let mut index = 0;
        loop {
            let path = format!("/v1/health/service/{service}?passing&index={index}&wait=2s");
            let answer = self.must("GET", &path, "");
            let found = answer.json().as_array().map_or(0, Vec::len);
            if found == want {
                return;
            }
            index = answer.index();
            assert!(
                !self.too_late(began),
                "{service} has {found} passing instances:\n{}",
                self.client.log()
            );
        }
    }

    /// Locks that are held by one at a time, and events of their own keys, so that a write whose fate is unknown harms none.
    fn lock(&self) {
        let mut round = 0;
        while self.goes_on() {
            round += 1;
            let path = format!("/v1/kv/story/locks/{round}");
            let [mine, other] = [(); 2].map(|()| {
                let made = self.must(
                    "PUT",
                    "/v1/session/create",
                    r#"{"TTL": "60s", "Behavior": "delete"}"#,
                );
                made.json()["ID"].as_str().expect("an identity").to_owned()
            });
            let told = |verb: &str, session: &str| {
                self.must("PUT", &format!("{path}?{verb}={session}"), "held")
                    .text()
                    .trim()
                    == "true"
            };
            // Again is no harm for who holds it.
            assert!(told("acquire", &mine));
            assert!(!told("acquire", &other), "held by two");
            assert!(told("acquire", &mine));
            self.must("PUT", &format!("/v1/session/renew/{mine}"), "");
            if told("release", &mine) {
                assert!(told("acquire", &other));
            }
            for session in [&mine, &other] {
                self.must("PUT", &format!("/v1/session/destroy/{session}"), "");
            }
            self.must("DELETE", &path, "");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn ask_dns(&self) {
        let mut before = Vec::new();
        while self.goes_on() {
            let answer = dns::ask(self.client.dns(), "primary.db.service.consul", dns::A);
            let killed = *self.killed.lock().expect("no panic");
            let failed = *self.last_failed.lock().expect("no panic");
            // Once there, always there; without a leader, servers tell what they know.
            let excused =
                before.is_empty() || killed.max(failed).is_some_and(|at| at.elapsed() < OUTAGE);
            let right =
                answer.code == dns::OK && answer.records == [dns::Record::A(self.client.ip)];
            assert!(right || excused, "{answer:?}\n{}", self.client.log());
            if right {
                before = answer.records;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        assert!(!before.is_empty(), "DNS never knew the service");
    }

    /// Whoever joins wants no event from before, by the clock of whom it joins. A server whose clock has not heard of the last
    /// event yet, as that of a new leader, fires the next one for a time that the joining agent takes for the past; so this
    /// fires until one is heard by all.
    fn fire_until_all_hear(&self) {
        let began = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let name = format!("first-{tries}");
            self.must("PUT", &format!("/v1/event/fire/{name}"), "payload");
            let fired = Instant::now();
            while fired.elapsed() < SPREADS {
                if self.all_have_heard(&name) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            assert!(began.elapsed() < HEARD, "no event is heard by all");
        }
    }

    fn all_have_heard(&self, event: &str) -> bool {
        let servers = self.servers.lock().expect("no panic");
        let mut all = servers.iter().chain([&self.client]);
        all.all(|node| node.events().iter().any(|name| name == event))
    }

    /// Events of the client reach a server, and those of a server the client.
    fn fire(&self) {
        self.fire_until_all_hear();
        let mut round = 0;
        while self.goes_on() {
            round += 1;
            let name = format!("story-{round}");
            let lost = *self.lost.lock().expect("no panic");
            let asked = Instant::now();
            self.must("PUT", &format!("/v1/event/fire/{name}"), "payload");
            let came = |node: &Node| node.events().contains(&name);
            let began = Instant::now();
            loop {
                let killed = *self.killed.lock().expect("no panic");
                if killed.is_some_and(|at| asked < at + SPREADS && at < began + SPREADS) {
                    break;
                }
                let servers = self.servers.lock().expect("no panic");
                // A server that was not there need not hear of it.
                let lost = [lost, *self.lost.lock().expect("no panic")];
                let told = { servers.iter().enumerate() }
                    .filter(|(at, _)| !lost.contains(&Some(*at)))
                    .map(|(_, server)| server)
                    .chain([&self.client]);
                let missing: Vec<String> = { told.filter(|node| !came(node)) }
                    .map(|node| node.name.clone())
                    .collect();
                drop(servers);
                if missing.is_empty() {
                    break;
                }
                assert!(
                    began.elapsed() < HEARD,
                    "{:?}: {missing:?} did not get {name}",
                    self.kinds
                );
                std::thread::sleep(Duration::from_millis(100));
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// The leader is killed after a third of the time, and comes back after half. How long the first write took.
    fn lose_the_leader(&self) -> Duration {
        let secs = story_secs() as f64;
        let pause = |part: f64| std::thread::sleep(Duration::from_secs_f64(secs * part));
        pause(0.33);
        let (at, killed) = {
            let mut servers = self.servers.lock().expect("no panic");
            let at = leader(&self.client, &servers);
            let mut killed = self.killed.lock().expect("no panic");
            *killed = Some(Instant::now());
            *self.lost.lock().expect("no panic") = Some(at);
            servers[at].kill();
            (at, Instant::now())
        };
        self.must("PUT", "/v1/kv/story/after", "x");
        let first_write = killed.elapsed();
        pause(0.17);
        let mut servers = self.servers.lock().expect("no panic");
        servers[at].spawn();
        servers[at].wait_for("the end of its join", |server| server.joins() == 2);
        let mut all: Vec<&Node> = servers.iter().collect();
        on_all(&all, "three voters again", |server| voters(server) == 3);
        all.push(&self.client);
        all_alive(&all);
        *self.lost.lock().expect("no panic") = None;
        first_write
    }

    fn everything_is_in_the_catalog(&self) {
        let servers = self.servers.lock().expect("no panic");
        let mut all: Vec<&Node> = servers.iter().collect();
        all.push(&self.client);
        on_all(&all, "the client's services", |node| {
            let found = node.try_json("/v1/catalog/node/client").unwrap_or_default();
            let names: Vec<&str> = { found["Services"].as_object() }
                .map(|services| services.keys().map(String::as_str).collect())
                .unwrap_or_default();
            names == ["db", "web"]
        });
        let sessions = self.client.json("/v1/session/list");
        // Those whose creation was not answered end by themselves.
        let sessions = sessions.as_array().map_or(0, Vec::len);
        let failed = self.failed.load(Ordering::Relaxed) as usize;
        assert!(sessions <= failed, "{sessions} sessions are left");
    }
}

fn unbase64(text: &str) -> String {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        _ => None,
    };
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for part in text.bytes().filter_map(value) {
        bits = bits << 6 | u32::from(part);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A line of either kind of log: time as written, level, the rest.
fn parts(line: &str) -> Option<(&str, &str, &str)> {
    let (time, rest) = line.trim_start().split_once(" [")?;
    let (level, rest) = rest.split_once(']')?;
    Some((time, level, rest.trim_start()))
}

/// Warnings and errors by what they say, without what differs each time.
fn kinds(log: &str) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    for line in log.lines() {
        let Some((_, level @ ("WARN" | "ERROR" | "ERR"), text)) = parts(line) else {
            continue;
        };
        *kinds.entry(format!("{level} {}", plain(text))).or_default() += 1;
    }
    kinds
}

/// A message with every name, address and number blotted out.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for word in text.split(' ') {
        let word = match word.split_once('=') {
            // Of the fields, only those that say what was wrong.
            Some((key, _)) if key != "error" && key != "err" => format!("{key}=_"),
            _ => word.to_owned(),
        };
        let word: String = if word.contains(|c: char| c.is_ascii_digit()) {
            "#".to_owned()
        } else {
            word
        };
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&word);
    }
    out
}

/// How often each item was pushed to the catalog, by either kind of log.
fn syncs(log: &str) -> BTreeMap<String, u64> {
    let mut syncs = BTreeMap::new();
    for line in log.lines() {
        let Some((_, _, text)) = parts(line) else {
            continue;
        };
        let item = if let Some(rest) = text.strip_prefix("agent: Synced service: service=") {
            format!("service {rest}")
        } else if let Some(rest) = text.strip_prefix("agent: Synced check: check=") {
            format!("check {rest}")
        } else if let Some(rest) = text.strip_prefix("agent: Deregistered service: service=") {
            format!("removal of service {rest}")
        } else if let Some((_, rest)) = text.split_once("synced: item=") {
            rest.replace(['"', '\\'], "")
        } else {
            continue;
        };
        *syncs.entry(item).or_default() += 1;
    }
    syncs
}

/// Warnings and errors of the last part of a log, this long before its end, with their distance from the end; those of the
/// story's own failing checks are left out.
fn late_trouble(log: &str, last: Duration) -> Vec<(Duration, String)> {
    let seconds = |time: &str| -> Option<f64> {
        let (_, clock) = time.split_once('T')?;
        let mut fields = clock.trim_end_matches('Z').split(':');
        let mut field = || fields.next()?.parse::<f64>().ok();
        Some(field()? * 3600.0 + field()? * 60.0 + field()?)
    };
    let lines: Vec<_> = log.lines().filter_map(parts).collect();
    let Some(end) = { lines.iter().rev() }.find_map(|(time, _, _)| seconds(time)) else {
        return Vec::new();
    };
    { lines.iter() }
        .filter(|(_, level, text)| {
            matches!(*level, "WARN" | "ERROR" | "ERR") && !text.contains("Check is now critical")
        })
        .filter_map(|(time, _, text)| {
            // The day may end meanwhile.
            let before_end = (end - seconds(time)? + 86_400.0) % 86_400.0;
            let before_end = Duration::from_secs_f64(before_end);
            (before_end < last).then(|| (before_end, (*text).to_owned()))
        })
        .collect()
}

#[test]
fn what_differs_each_time_is_blotted_out_of_a_log() {
    let log = "    2026-11-23T13:07:57.236Z [ERROR] agent.client: RPC failed to server: method=KVS.Apply \
               server=127.0.0.1:8300 error=\"rpc error making call: EOF\"\n\
               2026-11-23T13:07:58.000Z [INFO]  agent: Synced service: service=web\n\
               2026-11-23T13:07:58.500Z [DEBUG] agent.anti_entropy: synced: item=\"check service:web\"\n";
    let found: Vec<_> = kinds(log).into_keys().collect();
    let want = "ERROR agent.client: RPC failed to server: method=_ server=_ error=\"rpc error making call: EOF\"";
    assert_eq!(found, [want]);
    let found: Vec<_> = syncs(log).into_iter().collect();
    assert_eq!(
        found,
        [
            ("check service:web".to_owned(), 1),
            ("service web".to_owned(), 1)
        ]
    );
    assert_eq!(late_trouble(log, Duration::from_secs(1)), []);
    assert_eq!(late_trouble(log, Duration::from_secs(2)).len(), 1);
}
