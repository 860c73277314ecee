//! The same command lines by this crate and by a real Consul 1.8.7, against one real agent: the same output.
//!
//! Runs where `CONSUL_BIN` names that program; without it the test says so and passes.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    env,
    net::{TcpListener, UdpSocket},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use support::{Done, cli};

struct Agent {
    process: Child,
    address: String,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Below the ports that the system gives to connections, which might take one before the agent does.
fn free_ports() -> impl Iterator<Item = u16> {
    (7_000..9_000).filter(|port| {
        TcpListener::bind(("127.0.0.1", *port)).is_ok()
            && UdpSocket::bind(("127.0.0.1", *port)).is_ok()
    })
}

#[allow(clippy::disallowed_methods, reason = "waits for a real process")]
fn start(program: &str) -> Agent {
    let ports: Vec<String> = { free_ports().take(4) }
        .map(|port| port.to_string())
        .collect();
    let process = Command::new(program)
        .args([
            "agent",
            "-dev",
            "-node",
            "n1",
            "-bind",
            "127.0.0.1",
            "-dns-port=-1",
            "-grpc-port=-1",
        ])
        .args(["-http-port", &ports[0], "-server-port", &ports[1]])
        .args(["-serf-lan-port", &ports[2], "-serf-wan-port", &ports[3]])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let agent = Agent {
        process,
        address: format!("127.0.0.1:{}", ports[0]),
    };
    let vars = [("CONSUL_HTTP_ADDR", agent.address.as_str())];
    let until = Instant::now() + Duration::from_secs(30);
    while !cli(&["catalog", "nodes"], &vars, b"").out.contains("n1") {
        assert!(Instant::now() < until, "the agent did not come up");
        std::thread::sleep(Duration::from_millis(100));
    }
    agent
}

fn real(program: &str, agent: &Agent, args: &[&str]) -> Done {
    let output = Command::new(program)
        .args(args)
        .env_clear()
        .env("CONSUL_HTTP_ADDR", &agent.address)
        .env("PATH", env::var("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Done {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code().unwrap_or(-1),
    }
}

#[test]
fn commands_print_what_consul_prints() {
    let Ok(program) = env::var("CONSUL_BIN") else {
        println!("skipped: CONSUL_BIN does not name a Consul 1.8.7");
        return;
    };
    let agent = start(&program);
    let vars = [("CONSUL_HTTP_ADDR", agent.address.as_str())];
    // Every line leaves the agent as the next one expects it, whether it ran once or twice.
    let lines = include_str!("against_consul.txt").lines();
    let mut wrong = Vec::new();
    for line in lines.filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let args: Vec<&str> = line
            .split_whitespace()
            .map(|w| if w == "''" { "" } else { w })
            .collect();
        let want = real(&program, &agent, &args);
        let got = cli(&args, &vars, b"");
        if got != want {
            wrong.push(format!("{line}\n  want {want:?}\n  got  {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
