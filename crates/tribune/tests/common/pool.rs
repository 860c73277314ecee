//! Pools of several agents of either kind, Tribune or a real Consul, each with the standard ports on a loopback address
//! of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Agent, Response, kill, read_log, run, spawn_logged, try_request};

/// Failures are noticed so fast that tests need not wait for it; the same for both kinds. News spread no faster than usual:
/// the time in which a query must be answered follows from that.
pub const FAST: &str =
    "gossip_lan { probe_interval = \"200ms\" probe_timeout = \"100ms\" suspicion_mult = 3 }\n";
/// The same for the WAN pool.
pub const FAST_WAN: &str = "gossip_wan { probe_interval = \"200ms\" probe_timeout = \"100ms\" gossip_interval = \"200ms\" \
                            suspicion_mult = 3 }\n";
/// Distances are known as soon as with [`FAST`], but nobody is declared dead because a machine is busy. For tests in which
/// nobody fails, or not by gossip.
pub const STEADY: &str =
    "gossip_lan { probe_interval = \"200ms\" probe_timeout = \"100ms\" suspicion_mult = 40 }\n";
/// The same for the WAN pool.
pub const STEADY_WAN: &str = "gossip_wan { probe_interval = \"200ms\" probe_timeout = \"100ms\" gossip_interval = \"200ms\" \
                              suspicion_mult = 40 }\n";
/// Longest wait for what gossip and the leader do, on a busy machine: what a lost packet should have told comes with one of
/// the exchanges of whole states that each agent makes with another at random every 30 s, and so do tries to find a lost one.
pub const LONG: Duration = Duration::from_secs(120);
/// What real servers answer when they lose their leader without being killed, as they do on a busy machine.
const NO_LEADER: [&str; 4] = [
    "leadership lost",
    "No cluster leader",
    "node is not the leader",
    "leadership transfer in progress",
];
/// Keys for tests.
pub const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
pub const OTHER_KEY: &str = "FlGtqF5Ql63wFAgFbq8dgBBwkL0R6aWYvW5Xwcm6QUg=";

/// The program an agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Tribune,
    Consul(PathBuf),
}

impl Kind {
    /// True if real servers of this kind say with this error that they have lost their leader.
    pub fn lost_its_leader(&self, text: &str) -> bool {
        *self != Kind::Tribune && NO_LEADER.iter().any(|lost| text.contains(lost))
    }
}

/// The real Consul, if there is one; a test without it says so and passes.
pub fn consul() -> Option<Kind> {
    let Some(path) = std::env::var_os("CONSUL_BIN") else {
        println!("skipped: CONSUL_BIN does not name a Consul 1.8.7");
        return None;
    };
    Some(Kind::Consul(path.into()))
}

/// An agent that may not run. The folder outlives the process.
pub struct Node {
    pub name: String,
    pub kind: Kind,
    pub ip: Ipv4Addr,
    dir: tempfile::TempDir,
    child: Option<Child>,
    extra: Vec<String>,
}

/// A loopback address that no other test uses: two bytes by process, one by agent.
fn fresh_ip() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id();
    Ipv4Addr::new(
        127,
        100 + (process / 250 % 150) as u8,
        (process % 250) as u8,
        NEXT.fetch_add(1, Ordering::Relaxed),
    )
}

impl Node {
    /// A server that bootstraps itself, running.
    pub fn server(kind: &Kind, name: &str, hcl: &str) -> Node {
        let hcl = format!(
            "server = true\nbootstrap = true\nperformance {{ raft_multiplier = 1 }}\n{hcl}"
        );
        let mut node = Node::prepare(kind, name, &hcl);
        node.spawn();
        node.wait_for("a registered leader", |node| {
            node.try_json(&format!("/v1/health/node/{}", node.name))
                .is_some_and(|checks| checks.to_string().contains("passing"))
        });
        node
    }

    /// A client that joins, running.
    pub fn client(kind: &Kind, name: &str, join: &Node, hcl: &str) -> Node {
        let hcl = format!(
            "retry_join = [\"{}\"]\nretry_interval = \"1s\"\n{hcl}",
            join.ip
        );
        let mut node = Node::prepare(kind, name, &hcl);
        node.spawn();
        node.wait_for("HTTP", |node| node.try_json("/v1/agent/self").is_some());
        node
    }

    /// Writes the configuration but starts nothing.
    pub fn prepare(kind: &Kind, name: &str, hcl: &str) -> Node {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let ip = fresh_ip();
        let config = format!(
            "node_name = \"{name}\"\ndata_dir = \"{}\"\nbind_addr = \"{ip}\"\nclient_addr = \"{ip}\"\n\
             log_level = \"debug\"\ndisable_update_check = true\nports {{ dns = 8600 }}\n{hcl}\n",
            dir.path().join("data").display(),
        );
        std::fs::write(dir.path().join("agent.hcl"), config).expect("a configuration file");
        Node {
            name: name.to_owned(),
            kind: kind.clone(),
            ip,
            dir,
            child: None,
            extra: Vec::new(),
        }
    }

    /// Gives the agent another address from its next start on; its data stay.
    pub fn move_away(&mut self) {
        let path = self.dir.path().join("agent.hcl");
        let config = std::fs::read_to_string(&path).expect("a configuration file");
        let old = self.ip.to_string();
        self.ip = fresh_ip();
        let config = config.replace(&old, &self.ip.to_string());
        std::fs::write(path, config).expect("a configuration file");
    }

    /// Sends a signal (`-INT`).
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.pid().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success());
    }

    /// Arguments for the next starts, in place of earlier ones.
    pub fn args(&mut self, args: &[&str]) {
        self.extra = args.iter().map(|arg| (*arg).to_owned()).collect();
    }

    /// Starts the process without waiting.
    pub fn spawn(&mut self) {
        let program: &Path = match &self.kind {
            Kind::Tribune => Agent::binary(),
            Kind::Consul(path) => path,
        };
        let mut command = Command::new(program);
        command
            .args(["agent", "-config-file"])
            .arg(self.dir.path().join("agent.hcl"))
            .args(&self.extra);
        self.child = Some(spawn_logged(&mut command, self.dir.path()));
    }

    pub fn http(&self) -> SocketAddr {
        (self.ip, 8500).into()
    }

    pub fn dns(&self) -> SocketAddr {
        (self.ip, 8600).into()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    pub fn data(&self, path: &str) -> PathBuf {
        self.dir.path().join("data").join(path)
    }

    pub fn log(&self) -> String {
        read_log(self.dir.path())
    }

    /// How many times it has asked all that it was to join. Until then each answer may hide an event from it: whoever joins
    /// wants none of those that were there before.
    pub fn joins(&self) -> usize {
        let log = self.log();
        let joined =
            |line: &&str| line.contains("Join cluster completed") && line.contains("cluster=LAN");
        log.lines().filter(joined).count()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        kill(&mut self.child);
    }

    /// Waits until the process ends by itself; its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + LONG;
        let child = self.child.as_mut().expect("running");
        loop {
            if let Some(status) = child.try_wait().expect("the child can be asked") {
                self.child = None;
                return status.code();
            }
            assert!(
                Instant::now() < deadline,
                "{} does not end:\n{}",
                self.name,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> Response {
        try_request(self.http(), method, path, body)
            .unwrap_or_else(|err| panic!("{} {method} {path}: {err}\n{}", self.name, self.log()))
    }

    pub fn put(&self, path: &str, body: &str) -> Response {
        self.request("PUT", path, body.as_bytes())
    }

    /// A request to servers of a kind, which may have no leader for a while if they are real ones: then it is made again.
    pub fn request_of(&self, servers: &Kind, method: &str, path: &str, body: &[u8]) -> Response {
        let deadline = Instant::now() + LONG;
        loop {
            let answer = self.request(method, path, body);
            let leaderless = answer.status == 500 && servers.lost_its_leader(&answer.text());
            if !leaderless || Instant::now() > deadline {
                return answer;
            }
            println!("{} {method} {path}: {}", self.name, answer.text());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub fn json(&self, path: &str) -> Value {
        self.request("GET", path, &[]).json()
    }

    pub fn try_json(&self, path: &str) -> Option<Value> {
        let answer = try_request(self.http(), "GET", path, &[]).ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// Runs a command of Tribune against this agent: exit code, standard output, standard error.
    pub fn cli(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(Agent::binary());
        command
            .args(args)
            .env("CONSUL_HTTP_ADDR", self.http().to_string());
        run(command)
    }

    /// Waits until `done`, or fails with the log.
    pub fn wait_for(&mut self, what: &str, done: impl Fn(&Node) -> bool) {
        let deadline = Instant::now() + LONG;
        while !done(self) {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok()?);
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{}: waited for {what} ({ended:?}):\n{}",
                self.name,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Status of every member, as this agent sees it.
    pub fn members(&self) -> BTreeMap<String, &'static str> {
        let Some(Value::Array(list)) = self.try_json("/v1/agent/members") else {
            return BTreeMap::new();
        };
        let status = |member: &Value| match member["Status"].as_u64() {
            Some(1) => "alive",
            Some(2) => "leaving",
            Some(3) => "left",
            Some(4) => "failed",
            _ => "none",
        };
        list.iter()
            .map(|member| {
                (
                    member["Name"].as_str().unwrap_or_default().to_owned(),
                    status(member),
                )
            })
            .collect()
    }

    /// Names of the events this agent knows.
    pub fn events(&self) -> Vec<String> {
        let list = self.try_json("/v1/event/list").unwrap_or_default();
        let events = list.as_array().cloned().unwrap_or_default();
        events
            .iter()
            .filter_map(|event| Some(event["Name"].as_str()?.to_owned()))
            .collect()
    }

    /// serfHealth of a node in the catalog, as this agent is told.
    pub fn health(&self, node: &str) -> Option<String> {
        let checks = self.try_json(&format!("/v1/health/node/{node}"))?;
        let check = checks
            .as_array()?
            .iter()
            .find(|check| check["CheckID"] == "serfHealth")?;
        Some(check["Status"].as_str()?.to_owned())
    }

    /// True if the catalog has no such node, as this agent is told.
    pub fn not_in_catalog(&self, node: &str) -> bool {
        let found = self.try_json(&format!("/v1/catalog/node/{node}"));
        found.is_some_and(|found| found.is_null())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until `done` for every agent; how long it took each, in their order.
pub fn on_all(nodes: &[&Node], what: &str, done: impl Fn(&Node) -> bool) -> Vec<Duration> {
    let start = Instant::now();
    let mut took: Vec<Option<Duration>> = vec![None; nodes.len()];
    loop {
        for (node, took) in nodes.iter().zip(&mut took) {
            if took.is_none() && done(node) {
                *took = Some(start.elapsed());
            }
        }
        if let Some(took) = took.iter().copied().collect() {
            return took;
        }
        if start.elapsed() > LONG {
            let missing = nodes.iter().zip(&took).find(|(_, took)| took.is_none());
            let (node, _) = missing.expect("one is missing");
            panic!(
                "waited too long for {what} on {}: {:?}\n{}",
                node.name,
                node.members(),
                node.log()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until every agent sees `name` as `status` (`gone`: not at all).
pub fn all_see(nodes: &[&Node], name: &str, status: &str) -> Vec<Duration> {
    on_all(nodes, &format!("{name} {status}"), |node| {
        let members = node.members();
        match members.get(name) {
            Some(found) => *found == status,
            None => status == "gone" && !members.is_empty(),
        }
    })
}

/// Waits until every agent sees exactly these agents alive.
pub fn all_alive(nodes: &[&Node]) {
    on_all(nodes, "all alive", |node| {
        let members = node.members();
        let alive = members
            .values()
            .filter(|status| **status == "alive")
            .count();
        alive == nodes.len()
            && nodes
                .iter()
                .all(|one| members.get(&one.name) == Some(&"alive"))
    });
}
