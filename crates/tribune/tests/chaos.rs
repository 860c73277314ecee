//! Five servers and two client agents as real processes, each in a network namespace of its own, under partitions, kills,
//! pauses and slow links, while clients read, write and lock. Afterwards the history of all answers must be linearizable:
//! no acknowledged write is lost, no `?consistent` read is stale, no lock is held twice.
//!
//! `TRIBUNE_CHAOS_SECS` sets the time (30; 600 for a long run), `TRIBUNE_SEED` the faults. Needs root and iproute2.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use common::netns::{Host, Net, addr, may_make_namespaces, request};
use common::pool::LONG;
use tribune_sim::linear::{Answer, Call, Entry, Op, check};

const SERVERS: usize = 5;
const CLIENTS: usize = 2;
/// Keys that are read and written.
const KEYS: u64 = 10;
/// Keys that are locked.
const LOCKS: u64 = 3;
/// Those who read and write, at a time.
const WRITERS: u32 = 6;
/// Those who lock, at a time.
const LOCKERS: u32 = 4;
/// Longest wait for an answer: more than a server waits for a leader.
const ANSWER: Duration = Duration::from_secs(12);

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// A small generator, so that a seed gives the same faults again.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % n
    }
}

/// What all clients share.
struct Record {
    start: Instant,
    stop: AtomicBool,
    next_value: AtomicU64,
    history: Mutex<Vec<Op>>,
}

impl Record {
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// A value that nobody else writes.
    fn value(&self) -> u64 {
        self.next_value.fetch_add(1, Ordering::Relaxed)
    }

    fn add(&self, op: Op) {
        self.history.lock().expect("no client panics").push(op);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A client with its way into one agent.
struct Client {
    number: u32,
    record: Arc<Record>,
    sockets: Vec<PathBuf>,
    dice: Dice,
}

impl Client {
    fn socket(&mut self) -> PathBuf {
        let at = self.dice.below(self.sockets.len() as u64) as usize;
        self.sockets[at].clone()
    }

    /// Sends one request and records it. `read` makes the answer out of status and body; what it cannot make one of, and
    /// every failure, leaves the fate open.
    fn send(
        &mut self,
        key: &str,
        call: Call,
        (method, path, body): (&str, &str, &[u8]),
        read: impl FnOnce(u16, &str) -> Option<Answer>,
    ) -> Answer {
        let socket = self.socket();
        let start_ns = self.record.now();
        let answer = request(&socket, method, path, body, ANSWER)
            .ok()
            .and_then(|response| read(response.status, &response.text()))
            .unwrap_or(Answer::Unknown);
        self.record.add(Op {
            client: self.number,
            key: key.to_owned(),
            start_ns,
            end_ns: self.record.now(),
            call,
            answer: answer.clone(),
        });
        if answer == Answer::Unknown {
            std::thread::sleep(Duration::from_millis(50));
        }
        answer
    }

    fn get(&mut self, key: &str) -> Option<Entry> {
        let path = format!("/v1/kv/{key}?consistent");
        let answer = self.send(
            key,
            Call::Get,
            ("GET", &path, b""),
            |status, text| match status {
                404 => Some(Answer::Got(None)),
                200 => Some(Answer::Got(Some(entry(text)?))),
                _ => None,
            },
        );
        match answer {
            Answer::Got(found) => found,
            _ => None,
        }
    }

    fn write(&mut self, key: &str, call: Call, query: &str, value: Option<u64>) -> Answer {
        let path = format!("/v1/kv/{key}{query}");
        let body = value.map(|value| value.to_string()).unwrap_or_default();
        let method = if value.is_some() { "PUT" } else { "DELETE" };
        let plain = matches!(call, Call::Put(_) | Call::Delete);
        self.send(
            key,
            call,
            (method, &path, body.as_bytes()),
            |status, text| match (status, text.trim()) {
                (200, "true") if plain => Some(Answer::Done),
                (200, "true") => Some(Answer::Verdict(true)),
                (200, "false") if !plain => Some(Answer::Verdict(false)),
                (500, text) if text.contains("invalid session") => Some(Answer::NoSession),
                _ => None,
            },
        )
    }

    /// Reads and writes until told to stop.
    fn run_writer(mut self) {
        while !self.record.stopped() {
            let key = format!("k{}", self.dice.below(KEYS));
            match self.dice.below(10) {
                0..4 => {
                    self.get(&key);
                }
                4..7 => {
                    let value = self.record.value();
                    self.write(&key, Call::Put(value), "", Some(value));
                }
                7 => {
                    self.write(&key, Call::Delete, "", None);
                }
                _ => {
                    let index = self.get(&key).map_or(0, |entry| entry.index);
                    let value = self.record.value();
                    let call = Call::Cas { index, value };
                    self.write(&key, call, &format!("?cas={index}"), Some(value));
                }
            }
        }
    }

    /// Takes locks and gives them back until told to stop. The session has no checks and no TTL: nothing ends it.
    fn run_locker(mut self) {
        let session = loop {
            let socket = self.socket();
            let body = br#"{"NodeChecks": [], "LockDelay": "0s"}"#;
            let made = request(&socket, "PUT", "/v1/session/create", body, ANSWER);
            let id = made
                .ok()
                .filter(|response| response.status == 200)
                .and_then(|response| Some(response.json()["ID"].as_str()?.to_owned()));
            match id {
                Some(id) => break id,
                None if self.record.stopped() => return,
                None => std::thread::sleep(Duration::from_millis(100)),
            }
        };
        while !self.record.stopped() {
            let key = format!("lock{}", self.dice.below(LOCKS));
            let (mine, value) = (session.clone(), self.record.value());
            let call = Call::Acquire {
                session: mine,
                value,
            };
            let taken = self.write(&key, call, &format!("?acquire={session}"), Some(value));
            if taken == Answer::Verdict(false) {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            std::thread::sleep(Duration::from_millis(self.dice.below(60)));
            // Also when it is not known whether the lock was taken: it must come free again.
            loop {
                let (mine, value) = (session.clone(), self.record.value());
                let call = Call::Release {
                    session: mine,
                    value,
                };
                let path = format!("?release={session}");
                let given = self.write(&key, call, &path, Some(value));
                if given != Answer::Unknown || self.record.stopped() {
                    break;
                }
            }
        }
    }
}

/// The one entry of an answer.
fn entry(text: &str) -> Option<Entry> {
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let entry = json.as_array()?.first()?;
    Some(Entry {
        value: decode_number(entry["Value"].as_str()?)?,
        index: entry["ModifyIndex"].as_u64()?,
        session: entry["Session"].as_str().map(str::to_owned),
    })
}

/// A number whose digits are base64.
fn decode_number(base64: &str) -> Option<u64> {
    let digits = BASE64_STANDARD.decode(base64).ok()?;
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// Breaks things until the time is over, then mends everything.
fn trouble(net: &Net, hosts: &mut [Host], dice: &mut Dice, until: Instant) {
    let mut paused = None;
    while Instant::now() < until {
        let server = dice.below(SERVERS as u64) as usize;
        let what = dice.below(8);
        match what {
            0 | 1 => hosts[server].kill(),
            2 => {
                hosts[server].signal("-STOP");
                paused = Some(server);
            }
            3 => net.split(&[server]),
            4 => net.split(&[server, (server + 1) % SERVERS]),
            // Three servers and the clients alone, or only the clients.
            5 => net.split(&[SERVERS, SERVERS + 1, server]),
            6 => {
                for other in (0..SERVERS).filter(|other| *other != server) {
                    net.cut(server, other);
                }
            }
            _ => net.slow(server, "256kbit"),
        }
        println!("trouble {what} with server {server}");
        let lasts = Duration::from_millis(1000 + dice.below(5000));
        std::thread::sleep(lasts.min(until.saturating_duration_since(Instant::now())));
        if let Some(paused) = paused.take() {
            hosts[paused].signal("-CONT");
        }
        net.heal();
        for host in hosts.iter_mut().filter(|host| !host.is_running()) {
            host.start();
        }
        std::thread::sleep(Duration::from_millis(500 + dice.below(3000)));
    }
}

#[test]
fn histories_under_faults_are_linearizable() {
    if !may_make_namespaces() {
        return;
    }
    let secs = from_env("TRIBUNE_CHAOS_SECS", 30);
    let seed = from_env("TRIBUNE_SEED", u64::from(std::process::id()));
    println!("TRIBUNE_SEED={seed} TRIBUNE_CHAOS_SECS={secs}");
    let mut dice = Dice(seed);
    let net = Net::new(SERVERS + CLIENTS);
    let joins: Vec<String> = (0..SERVERS)
        .map(|host| format!("{:?}", addr(host).to_string()))
        .collect();
    let joins = format!(
        "retry_join = [{}]\nperformance {{ raft_multiplier = 1 }}",
        joins.join(", ")
    );
    let mut hosts: Vec<Host> = (0..SERVERS + CLIENTS)
        .map(|number| {
            let role = match number < SERVERS {
                true => format!("server = true\nbootstrap_expect = {SERVERS}"),
                false => String::new(),
            };
            Host::prepare(&net, number, &format!("{role}\n{joins}"))
        })
        .collect();
    hosts.iter_mut().for_each(Host::start);
    for host in &hosts {
        let socket = host.socket();
        common::wait_until("a leader", || {
            let leader = request(&socket, "GET", "/v1/kv/x?consistent", b"", ANSWER);
            leader.is_ok_and(|response| response.status == 404)
        });
    }
    let record = Arc::new(Record {
        start: Instant::now(),
        stop: AtomicBool::new(false),
        next_value: AtomicU64::new(1),
        history: Mutex::default(),
    });
    let sockets: Vec<PathBuf> = hosts.iter().map(Host::socket).collect();
    let client = |number: u32, sockets: &[PathBuf]| Client {
        number,
        record: Arc::clone(&record),
        sockets: sockets.to_vec(),
        dice: Dice(seed ^ u64::from(number) << 40),
    };
    let mut threads = Vec::new();
    for number in 0..WRITERS {
        let writer = client(number, &sockets);
        threads.push(std::thread::spawn(|| writer.run_writer()));
    }
    for number in WRITERS..WRITERS + LOCKERS {
        // The sessions belong to nodes that are never killed.
        let locker = client(number, &sockets[SERVERS..]);
        threads.push(std::thread::spawn(|| locker.run_locker()));
    }
    let until = Instant::now() + Duration::from_secs(secs);
    trouble(&net, &mut hosts, &mut dice, until);
    // Mended: everything works again, and what was acknowledged is there.
    let mut last = client(99, &sockets);
    // Agents that lost all others may find them with the next try only, which is made every 30 s.
    common::wait_within(LONG, "all agents to answer again", || {
        sockets.iter().all(|socket| {
            let read = request(socket, "GET", "/v1/kv/x?consistent", b"", ANSWER);
            read.is_ok_and(|response| response.status == 404)
        })
    });
    record.stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("no client panics");
    }
    for key in (0..KEYS).map(|n| format!("k{n}")) {
        last.get(&key);
    }
    for key in (0..LOCKS).map(|n| format!("lock{n}")) {
        last.get(&key);
    }
    let history = record.history.lock().expect("no client panics");
    let answered = history.iter().filter(|op| op.answer != Answer::Unknown);
    let (answered, all) = (answered.count(), history.len());
    println!("{all} operations, {answered} of them answered");
    assert!(
        answered as u64 > secs * 20,
        "too little happened to show anything"
    );
    match check(&history) {
        Ok(summary) => {
            println!("{summary:?}");
            assert!(summary.undecided.is_empty(), "{:?}", summary.undecided);
        }
        Err(violation) => {
            for host in &hosts {
                println!("--- n{}\n{}", host.number, host.log());
            }
            panic!("TRIBUNE_SEED={seed}: {violation}");
        }
    }
}
