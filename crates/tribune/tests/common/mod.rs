//! A real agent process for end-to-end tests: temporary folder, free ports, killed when dropped.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its part of the harness"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

pub mod datacenter;
pub mod dns;
pub mod netns;
pub mod pool;

/// Longest wait for anything that should happen soon, on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// One agent with its folder. The folder outlives the process, so that it can be started again.
pub struct Agent {
    child: Option<Child>,
    dir: tempfile::TempDir,
    pub http: SocketAddr,
    pub dns: SocketAddr,
    /// The server port.
    pub rpc: SocketAddr,
    /// HTTP, DNS, the two of gossip, server.
    ports: [u16; 5],
    args: Vec<String>,
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|err| panic!("{err}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn index(&self) -> u64 {
        self.header("X-Consul-Index")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }
}

/// A port that nobody listens on, and that no other agent of this program gets: below those that the system hands out to
/// outgoing connections, each given once.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = (std::process::id() % 400) as u16 * 50;
    for _ in 0..COUNT {
        let port = FIRST + (offset + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok()
            && UdpSocket::bind(("127.0.0.1", port)).is_ok()
        {
            return port;
        }
    }
    panic!("no free port");
}

impl Agent {
    /// Starts a server that bootstraps itself and keeps its data; `hcl` is added to its configuration.
    pub fn server(hcl: &str) -> Agent {
        let mut agent = Agent::prepare(hcl);
        agent.start();
        agent
    }

    /// An agent as for development: in memory, on free ports; `args` are added.
    pub fn dev(args: &[&str]) -> Agent {
        let mut agent = Agent::prepare("");
        let ports = agent.ports;
        agent.args = ["agent", "-dev", "-node=node1"].map(str::to_owned).to_vec();
        let names = ["http", "dns", "serf-lan", "serf-wan", "server"];
        for (name, port) in names.iter().zip(ports) {
            agent.args.push(format!("-{name}-port={port}"));
        }
        agent.args.extend(args.iter().map(|&arg| arg.to_owned()));
        agent.start();
        agent
    }

    /// Writes the configuration but starts nothing.
    pub fn prepare(hcl: &str) -> Agent {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let ports = [(); 5].map(|()| free_port());
        let [http, dns, lan, wan, rpc] = ports;
        let config = format!(
            "server = true\nbootstrap = true\nnode_name = \"node1\"\ndata_dir = \"{}\"\nbind_addr = \"127.0.0.1\"\n\
             log_level = \"warn\"\nperformance {{ raft_multiplier = 1 }}\n\
             ports {{ http = {http} dns = {dns} serf_lan = {lan} serf_wan = {wan} server = {rpc} }}\n{hcl}\n",
            dir.path().join("data").display(),
        );
        std::fs::write(dir.path().join("agent.hcl"), config).expect("a configuration file");
        // For files that a test adds.
        std::fs::create_dir(dir.path().join("conf.d")).expect("a folder");
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let args = vec![
            "agent".to_owned(),
            "-config-file".to_owned(),
            path("agent.hcl"),
            "-config-dir".to_owned(),
            path("conf.d"),
        ];
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Agent {
            child: None,
            dir,
            http: at(http),
            dns: at(dns),
            rpc: at(rpc),
            ports,
            args,
        }
    }

    /// The binary under test.
    pub fn binary() -> &'static Path {
        Path::new(env!("CARGO_BIN_EXE_tribune"))
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The LAN gossip port.
    pub fn lan(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[2]))
    }

    /// The WAN gossip port.
    pub fn wan(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[3]))
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    /// Starts the process and waits until it leads.
    pub fn start(&mut self) {
        self.spawn();
        self.wait_for_leader();
    }

    /// Starts the process without waiting.
    pub fn spawn(&mut self) {
        let mut command = Command::new(Agent::binary());
        command.args(&self.args);
        self.child = Some(spawn_logged(&mut command, self.dir.path()));
    }

    pub fn wait_for_leader(&mut self) {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(ended) = self.ended() {
                panic!("the agent ended with {ended:?}:\n{}", self.log());
            }
            // A leader registers itself first of all: then it serves everything.
            let nodes = try_request(self.http, "GET", "/v1/catalog/nodes", &[]);
            if nodes.is_ok_and(|answer| answer.status == 200 && answer.text().contains("Address")) {
                return;
            }
            assert!(Instant::now() < deadline, "no leader:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// How the process ended, if it did.
    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        let child = self.child.as_mut().expect("started");
        child.try_wait().expect("the child can be asked")
    }

    /// Waits until the process ends by itself; its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.ended() {
                self.child = None;
                return status.code();
            }
            assert!(
                Instant::now() < deadline,
                "the agent does not end:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Resident memory of the process in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status_field("VmRSS:")
    }

    /// The most that [`Agent::resident_kib`] has been.
    pub fn resident_peak_kib(&self) -> u64 {
        self.status_field("VmHWM:")
    }

    fn status_field(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .unwrap_or_else(|err| panic!("{err}; log:\n{}", self.log()));
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in:\n{status}"))
    }

    pub fn log(&self) -> String {
        read_log(self.dir.path())
    }

    /// Ends the process at once, as a power cut of the process would.
    pub fn kill(&mut self) {
        kill(&mut self.child);
    }

    /// Sends a signal and waits for the end. The exit code, if it ended by itself.
    pub fn signal(&mut self, signal: &str) -> Option<i32> {
        self.send_signal(signal);
        self.wait()
    }

    /// Sends a signal (`-HUP`).
    pub fn send_signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.pid().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success());
    }

    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> Response {
        try_request(self.http, method, path, body)
            .unwrap_or_else(|err| panic!("{method} {path}: {err}\n{}", self.log()))
    }

    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[])
    }

    pub fn put(&self, path: &str, body: impl AsRef<[u8]>) -> Response {
        self.request("PUT", path, body.as_ref())
    }

    /// Runs a command of the binary against this agent: exit code, standard output, standard error.
    pub fn cli(&self, args: &[&str]) -> (Option<i32>, String, String) {
        run(self.command(args))
    }

    /// As [`Agent::cli`], for a command that must succeed: its standard output.
    pub fn cli_ok(&self, args: &[&str]) -> String {
        let (code, out, err) = self.cli(args);
        assert_eq!(code, Some(0), "{args:?}: {out}{err}");
        out
    }

    /// A command of the binary against this agent, to be started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(Agent::binary());
        command
            .args(args)
            .env("CONSUL_HTTP_ADDR", self.http.to_string());
        command
    }
}

/// Starts an agent's process that appends what it says to a log in its folder.
pub fn spawn_logged(command: &mut Command, dir: &Path) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("agent.log"))
        .expect("a log file");
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .expect("the binary starts")
}

/// What an agent's processes have said so far.
pub fn read_log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("agent.log")).unwrap_or_default()
}

/// Ends a process at once, if there is one.
pub fn kill(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Runs a command: exit code, standard output, standard error. One that does not end is killed, and fails.
pub fn run(command: Command) -> (Option<i32>, String, String) {
    run_within(SOON, command, b"")
}

/// As [`run`], with something to read, and a limit of its own.
pub fn run_within(
    limit: Duration,
    mut command: Command,
    stdin: &[u8],
) -> (Option<i32>, String, String) {
    let input = match stdin {
        b"" => Stdio::null(),
        _ => Stdio::piped(),
    };
    let mut child = command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let out = read_aside(child.stdout.take().expect("piped"));
    let err = read_aside(child.stderr.take().expect("piped"));
    if let Some(mut pipe) = child.stdin.take() {
        // It need not read everything.
        let _ = pipe.write_all(stdin);
    }
    let deadline = Instant::now() + limit;
    let ends = loop {
        match child.try_wait().expect("the child can be asked") {
            Some(_) => break true,
            None if Instant::now() > deadline => break false,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    if !ends {
        let _ = child.kill();
    }
    let status = child.wait().expect("ended");
    let [out, err] = [out, err].map(|read| read.join().expect("no panic"));
    assert!(ends, "{command:?} does not end:\n{out:.2000}{err:.2000}");
    (status.code(), out, err)
}

fn read_aside(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before a fault is of use, too.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until a process ends by itself; how it did. One that does not is killed, and fails.
pub fn ends(what: &str, child: &mut Child) -> std::process::ExitStatus {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(status) = child.try_wait().expect("the child can be asked") {
            return status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("{what} does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until `done`, or fails naming `what`.
pub fn wait_until(what: &str, done: impl FnMut() -> bool) {
    wait_within(SOON, what, done);
}

/// As [`wait_until`], for what takes longer.
pub fn wait_within(limit: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One request on a connection of its own.
pub fn try_request(
    addr: SocketAddr,
    method: &str,
    path: &str,
    body: &[u8],
) -> std::io::Result<Response> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = exchange(addr, &[head.as_bytes(), body].concat())?;
    parse(&answer)
        .ok_or_else(|| std::io::Error::other(format!("no HTTP answer in {} bytes", answer.len())))
}

/// Sends raw bytes and reads until the other side closes.
pub fn exchange(addr: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Reads an HTTP answer that ended with its connection.
pub fn parse(bytes: &[u8]) -> Option<Response> {
    let split = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..split]).ok()?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|l| l.split_once(": "))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    let chunked = headers
        .iter()
        .any(|(k, v)| k.eq_ignore_ascii_case("transfer-encoding") && v == "chunked");
    let rest = &bytes[split + 4..];
    let body = if chunked {
        dechunk(rest)?
    } else {
        rest.to_vec()
    };
    Some(Response {
        status,
        headers,
        body,
    })
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let len = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        rest = &rest[end + 2..];
        if len == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..len)?);
        rest = rest.get(len + 2..)?;
    }
}
