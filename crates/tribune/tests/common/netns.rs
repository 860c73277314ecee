//! Machines of their own on one machine: each agent lives in a network namespace with one link to a switch, and its HTTP
//! API is a socket file, which every namespace can open. Links can be cut one way or both, and made slow.

use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use std::io::{Read, Write};

use super::{Agent, Response, kill, parse, read_log, spawn_logged};

/// A network of machines behind one switch. Gone when dropped, with all agents.
pub struct Net {
    tag: String,
    hosts: usize,
}

/// True if this process may make namespaces; a test without that says so and passes.
pub fn may_make_namespaces() -> bool {
    let name = format!("tribune-try-{}", std::process::id());
    let made = ip(&["netns", "add", &name]);
    if made {
        ip(&["netns", "del", &name]);
    } else {
        println!("skipped: network namespaces need root and iproute2");
    }
    made
}

fn ip(args: &[&str]) -> bool {
    let run = Command::new("ip").args(args).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

fn must(args: &[&str]) {
    assert!(ip(args), "ip {}", args.join(" "));
}

/// Address of a host; hosts count from 0.
pub fn addr(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, host as u8 + 1)
}

fn mac(host: usize) -> String {
    format!("02:00:00:00:00:{:02x}", host + 1)
}

/// A link address that nobody has.
const NOBODY: &str = "02:ff:ff:ff:ff:ff";

impl Net {
    /// A switch with that many hosts, all reaching one another.
    pub fn new(hosts: usize) -> Net {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let net = Net {
            tag: format!("tribune-{}-{number}", std::process::id()),
            hosts,
        };
        let switch = net.switch();
        must(&["netns", "add", &switch]);
        must(&["-n", &switch, "link", "add", "sw", "type", "bridge"]);
        must(&["-n", &switch, "link", "set", "sw", "up"]);
        for host in 0..hosts {
            let (ns, port) = (net.namespace(host), format!("p{host}"));
            must(&["netns", "add", &ns]);
            must(&[
                "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0",
                "netns", &ns,
            ]);
            must(&["-n", &switch, "link", "set", &port, "master", "sw", "up"]);
            must(&["-n", &ns, "link", "set", "lo", "up"]);
            must(&[
                "-n",
                &ns,
                "link",
                "set",
                "eth0",
                "address",
                &mac(host),
                "up",
            ]);
            let own = format!("{}/24", addr(host));
            must(&["-n", &ns, "addr", "add", &own, "dev", "eth0"]);
        }
        net.heal();
        net
    }

    fn switch(&self) -> String {
        format!("{}-sw", self.tag)
    }

    fn namespace(&self, host: usize) -> String {
        format!("{}-{host}", self.tag)
    }

    fn neighbour(&self, host: usize, other: usize, link: &str) {
        let (ns, to) = (self.namespace(host), addr(other).to_string());
        must(&[
            "-n",
            &ns,
            "neigh",
            "replace",
            &to,
            "lladdr",
            link,
            "dev",
            "eth0",
            "nud",
            "permanent",
        ]);
    }

    /// Nothing from `from` reaches `to` any more. No error tells anybody.
    pub fn cut(&self, from: usize, to: usize) {
        self.neighbour(from, to, NOBODY);
    }

    /// The hosts of one side and all others do not reach one another.
    pub fn split(&self, side: &[usize]) {
        for a in 0..self.hosts {
            for b in (0..self.hosts).filter(|b| side.contains(&a) != side.contains(b)) {
                self.cut(a, b);
            }
        }
    }

    /// All links work again, at full speed.
    pub fn heal(&self) {
        for host in 0..self.hosts {
            for other in (0..self.hosts).filter(|other| *other != host) {
                self.neighbour(host, other, &mac(other));
            }
            self.tc(host, "del", &[]);
        }
    }

    /// What a host sends passes at `rate` (as tc writes it), waiting up to half a second in line.
    pub fn slow(&self, host: usize, rate: &str) {
        let shaped = ["tbf", "rate", rate, "burst", "4kb", "latency", "500ms"];
        self.tc(host, "replace", &shaped);
    }

    fn tc(&self, host: usize, verb: &str, rest: &[&str]) {
        // Without tc, or with nothing to delete, links stay as they are.
        let _ = Command::new("ip")
            .args(["netns", "exec", &self.namespace(host), "tc", "qdisc", verb])
            .args(["dev", "eth0", "root"])
            .args(rest)
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for host in 0..self.hosts {
            ip(&["netns", "del", &self.namespace(host)]);
        }
        ip(&["netns", "del", &self.switch()]);
    }
}

/// An agent on a host of its own. The folder outlives the process.
pub struct Host {
    pub number: usize,
    namespace: String,
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Host {
    /// Writes the configuration of the agent on host `number`; `hcl` is added to it.
    pub fn prepare(net: &Net, number: usize, hcl: &str) -> Host {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let config = format!(
            "node_name = \"n{number}\"\ndata_dir = \"{0}/data\"\nbind_addr = \"{1}\"\n\
             addresses {{ http = \"unix://{0}/http.sock\" }}\nports {{ dns = -1 }}\nlog_level = \"info\"\n\
             retry_interval = \"1s\"\n{hcl}\n",
            dir.path().display(),
            addr(number),
        );
        std::fs::write(dir.path().join("agent.hcl"), config).expect("a configuration file");
        Host {
            number,
            namespace: net.namespace(number),
            dir,
            child: None,
        }
    }

    /// Starts the process.
    pub fn start(&mut self) {
        // `ip netns exec` becomes the program, so the child is the agent itself.
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace])
            .arg(Agent::binary())
            .args(["agent", "-config-file"])
            .arg(self.dir.path().join("agent.hcl"));
        self.child = Some(spawn_logged(&mut command, self.dir.path()));
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Ends the process at once.
    pub fn kill(&mut self) {
        kill(&mut self.child);
    }

    /// Sends a signal (`-STOP`) to a running process.
    pub fn signal(&self, signal: &str) {
        if let Some(child) = &self.child {
            let _ = Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status();
        }
    }

    /// Where the HTTP API listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("http.sock")
    }

    pub fn log(&self) -> String {
        read_log(self.dir.path())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One request on a connection of its own, over a socket file.
pub fn request(
    socket: &PathBuf,
    method: &str,
    path: &str,
    body: &[u8],
    limit: Duration,
) -> std::io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| std::io::Error::other("no HTTP answer"))
}
