//! What a new user does in the first hour: services in DNS, locks, snapshots, restarts, reloads, stops.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::dns::{self, Record};
use common::{Agent, ends, free_port, run, wait_until};

const HERE: Record = Record::A(Ipv4Addr::LOCALHOST);

/// Status of a check in the catalog, or nothing.
fn status(agent: &Agent, service: &str, check: &str) -> Option<String> {
    let checks = agent.get(&format!("/v1/health/checks/{service}")).json();
    let found = checks
        .as_array()?
        .iter()
        .find(|found| found["CheckID"] == check)?;
    found["Status"].as_str().map(str::to_owned)
}

fn wait_for_status(agent: &Agent, service: &str, check: &str, want: &str) {
    wait_until(&format!("{check} to be {want}"), || {
        status(agent, service, check).as_deref() == Some(want)
    });
}

#[test]
fn a_service_is_in_dns_as_long_as_its_socket_answers() {
    let agent = Agent::server("");
    assert_eq!(
        dns::ask(agent.dns, "web.service.consul", dns::A).code,
        dns::NAME_ERROR
    );
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let addr = socket.local_addr().expect("bound");

    let out = agent.cli_ok(&[
        "services",
        "register",
        "-name",
        "web",
        "-port",
        &addr.port().to_string(),
    ]);
    assert_eq!(out, "Registered service: web\n");
    let check =
        format!(r#"{{"Name": "web up", "ServiceID": "web", "TCP": "{addr}", "Interval": "1s"}}"#);
    let answer = agent.put("/v1/agent/check/register", check);
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));

    wait_for_status(&agent, "web", "web up", "passing");
    let found = dns::ask(agent.dns, "web.service.consul", dns::A);
    assert_eq!((found.code, found.records), (dns::OK, vec![HERE]));
    let found = dns::ask(agent.dns, "WEB.service.dc1.consul.", dns::SRV);
    assert_eq!(found.records, [Record::Srv(addr.port())]);
    let local = agent.get("/v1/agent/health/service/name/web");
    assert_eq!(
        (local.status, local.text().contains("passing")),
        (200, true)
    );

    drop(socket);
    wait_for_status(&agent, "web", "web up", "critical");
    let found = dns::ask(agent.dns, "web.service.consul", dns::A);
    assert_eq!((found.code, found.records), (dns::NAME_ERROR, vec![]));
    let passing = agent.get("/v1/health/service/web?passing").json();
    assert_eq!(passing, serde_json::json!([]));
    assert_eq!(agent.get("/v1/agent/health/service/name/web").status, 503);

    let out = agent.cli_ok(&["services", "deregister", "-id=web"]);
    assert_eq!(out, "Deregistered service: web\n");
    wait_until("the service to be gone", || {
        agent.get("/v1/catalog/services").json() == serde_json::json!({"consul": []})
    });
}

/// An HTTP server that answers with the status it is told.
fn http_target(code: Arc<AtomicUsize>) -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = socket.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for mut stream in socket.incoming().flatten() {
            let mut request = [0u8; 4096];
            let _ = stream.read(&mut request);
            let code = code.load(Ordering::Relaxed);
            let _ = write!(
                stream,
                "HTTP/1.1 {code} Told\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
            );
        }
    });
    port
}

#[test]
fn an_http_check_follows_the_status_code_and_a_watcher_wakes_with_it() {
    let code = Arc::new(AtomicUsize::new(200));
    let port = http_target(Arc::clone(&code));
    let agent = Agent::server("");
    let service = format!(
        r#"{{"Name": "api", "Port": {port}, "Tags": ["v1"],
            "Check": {{"HTTP": "http://127.0.0.1:{port}/health", "Interval": "1s"}}}}"#
    );
    assert_eq!(agent.put("/v1/agent/service/register", service).status, 200);
    wait_for_status(&agent, "api", "service:api", "passing");
    let found = dns::ask(agent.dns, "v1.api.service.consul", dns::A);
    assert_eq!(found.records, [HERE]);

    let before = agent.get("/v1/health/service/api");
    for (answered, want) in [(429, "warning"), (500, "critical"), (204, "passing")] {
        let index = agent.get("/v1/health/service/api").index();
        code.store(answered, Ordering::Relaxed);
        let path = format!("/v1/health/service/api?wait=20s&index={index}");
        let after = agent.get(&path);
        assert!(after.index() > before.index(), "{after:?}");
        let checks = after.json()[0]["Checks"].clone();
        let mine = checks.as_array().expect("checks");
        let mine = mine.iter().find(|check| check["CheckID"] == "service:api");
        assert_eq!(mine.expect("the check")["Status"], want, "{answered}");
        let listed = dns::ask(agent.dns, "api.service.consul", dns::A).records;
        let expected = if want == "critical" {
            vec![]
        } else {
            vec![HERE]
        };
        assert_eq!(listed, expected, "{want}");
    }
}

#[test]
fn only_one_lock_holder_runs_at_a_time_and_leaves_nothing_behind() {
    let agent = Agent::server("");
    let out = agent.cli_ok(&["lock", "jobs/nightly", "echo", "only one"]);
    assert_eq!(out, "only one\n");

    // The first holder waits until told; the second may only start afterwards.
    let dir = agent.dir().to_owned();
    let (go, started) = (dir.join("go"), dir.join("started"));
    let script = format!(
        "touch {}; while [ ! -e {} ]; do sleep 0.02; done; echo first >> {}/order",
        started.display(),
        go.display(),
        dir.display()
    );
    let mut first = agent
        .command(&["lock", "jobs/nightly", &script])
        .stdin(Stdio::null())
        .spawn()
        .expect("started");
    wait_until("the first holder", || started.exists());
    let key = agent.get("/v1/kv/jobs/nightly/.lock").json();
    let session = key[0]["Session"].as_str().expect("a session").to_owned();
    let info = agent.get(&format!("/v1/session/info/{session}")).json();
    assert_eq!(info[0]["TTL"], "15s", "{info}");

    let second = format!("echo second >> {}/order", dir.display());
    let mut second = agent
        .command(&["lock", "jobs/nightly", &second])
        .stdin(Stdio::null())
        .spawn()
        .expect("started");
    wait_until("the second contender's session", || {
        agent
            .get("/v1/session/list")
            .json()
            .as_array()
            .map(Vec::len)
            == Some(2)
    });
    assert!(!dir.join("order").exists());
    let (code, _, _) = agent.cli(&["lock", "-try=200ms", "jobs/nightly", "echo", "third"]);
    assert_eq!(code, Some(1), "a third gives up");
    std::fs::write(&go, "").expect("written");
    assert!(ends("the first", &mut first).success());
    assert!(ends("the second", &mut second).success());
    let order = std::fs::read_to_string(dir.join("order")).expect("both ran");
    assert_eq!(order, "first\nsecond\n");
    assert_eq!(agent.get("/v1/session/list").json(), serde_json::json!([]));
    assert_eq!(agent.get("/v1/kv/jobs/nightly/.lock").status, 404);
}

#[test]
fn a_snapshot_brings_back_what_was_there() {
    let agent = Agent::server("");
    agent.cli_ok(&["kv", "put", "greeting", "ave"]);
    let file = agent.dir().join("backup.snap");
    let file = file.to_str().expect("a plain path");
    let out = agent.cli_ok(&["snapshot", "save", file]);
    assert!(
        out.starts_with("Saved and verified snapshot to index "),
        "{out}"
    );
    let out = agent.cli_ok(&["snapshot", "inspect", file]);
    let names: Vec<_> = out.lines().filter_map(|l| l.split(' ').next()).collect();
    assert_eq!(
        names[..5],
        ["ID", "Size", "Index", "Term", "Version"],
        "{out}"
    );

    agent.cli_ok(&["kv", "put", "greeting", "vale"]);
    agent.cli_ok(&["kv", "put", "later", "x"]);
    assert_eq!(
        agent.cli_ok(&["snapshot", "restore", file]),
        "Restored snapshot\n"
    );
    assert_eq!(agent.cli_ok(&["kv", "get", "greeting"]), "ave\n");
    let (code, _, err) = agent.cli(&["kv", "get", "later"]);
    assert_eq!(
        (code, err.as_str()),
        (Some(1), "Error! No key exists at: later\n")
    );
    assert_eq!(agent.put("/v1/kv/after", "y").text().trim(), "true");

    // A broken archive changes nothing.
    let mut bytes = std::fs::read(file).expect("the archive");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    for (name, broken) in [
        ("flipped", &bytes[..]),
        ("cut", &bytes[..middle]),
        ("empty", &[]),
    ] {
        let path = agent.dir().join(name);
        std::fs::write(&path, broken).expect("written");
        let path = path.to_str().expect("a plain path");
        for command in ["inspect", "restore"] {
            let (code, out, err) = agent.cli(&["snapshot", command, path]);
            assert_eq!(code, Some(1), "{name} {command}: {out}{err}");
            assert!(err.starts_with("Error "), "{name} {command}: {err}");
        }
    }
    assert_eq!(agent.cli_ok(&["kv", "get", "after"]), "y\n");
}

#[test]
fn everything_acknowledged_is_there_after_a_kill() {
    let mut agent = Agent::server("");
    let target = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let addr = target.local_addr().expect("bound");
    agent.put("/v1/kv/greeting?flags=42", "ave");
    let session = agent.put("/v1/session/create", r#"{"Name": "mine", "TTL": "3600s"}"#);
    let session = session.json()["ID"].as_str().expect("an id").to_owned();
    let taken = agent.put(&format!("/v1/kv/lock?acquire={session}"), "me");
    assert_eq!(taken.text().trim(), "true");
    let service = format!(
        r#"{{"ID": "web-1", "Name": "web", "Port": {}, "Tags": ["a", "b"], "Meta": {{"k": "v"}},
            "Check": {{"TCP": "{addr}", "Interval": "1s", "Timeout": "1s"}}}}"#,
        addr.port()
    );
    assert_eq!(agent.put("/v1/agent/service/register", service).status, 200);
    let ttl = r#"{"Name": "beat", "TTL": "1h"}"#;
    assert_eq!(agent.put("/v1/agent/check/register", ttl).status, 200);
    assert_eq!(
        agent.put("/v1/agent/check/warn/beat?note=slow", "").status,
        200
    );
    let outside =
        r#"{"Node": "db", "Address": "10.0.0.9", "Service": {"Service": "sql", "Port": 5432}}"#;
    assert_eq!(agent.put("/v1/catalog/register", outside).status, 200);
    assert_eq!(
        agent
            .put("/v1/agent/maintenance?enable=true&reason=why", "")
            .status,
        200
    );
    wait_for_status(&agent, "web", "service:web-1", "passing");
    let key = agent.get("/v1/kv/greeting").text();
    let self_before = agent.get("/v1/agent/self").json()["Config"]["NodeID"].clone();

    agent.kill();
    agent.start();

    assert_eq!(agent.get("/v1/kv/greeting").text(), key);
    assert_eq!(
        agent.get("/v1/kv/lock").json()[0]["Session"],
        session.as_str()
    );
    assert_eq!(
        agent
            .put(&format!("/v1/session/renew/{session}"), "")
            .status,
        200
    );
    let self_after = agent.get("/v1/agent/self").json()["Config"]["NodeID"].clone();
    assert_eq!(self_after, self_before);
    let services = agent.get("/v1/agent/services").json();
    assert_eq!(services["web-1"]["Tags"], serde_json::json!(["a", "b"]));
    assert_eq!(services["web-1"]["Meta"], serde_json::json!({"k": "v"}));
    let checks = agent.get("/v1/agent/checks").json();
    assert_eq!(checks["beat"]["Status"], "warning", "{checks}");
    assert_eq!(checks["beat"]["Output"], "slow");
    assert_eq!(checks["_node_maintenance"]["Notes"], "why", "{checks}");
    let sql = agent.get("/v1/catalog/service/sql").json();
    assert_eq!(sql[0]["ServicePort"], 5432);
    // The check runs again: it passes, and fails when its target goes.
    wait_for_status(&agent, "web", "service:web-1", "passing");
    drop(target);
    wait_for_status(&agent, "web", "service:web-1", "critical");
}

#[test]
fn a_stop_by_sigterm_is_clean_and_exits_with_1() {
    let pid_dir = tempfile::tempdir().expect("a folder");
    let pid_file = pid_dir.path().join("tribune.pid");
    let mut agent = Agent::server(&format!("pid_file = \"{}\"", pid_file.display()));
    wait_until("the pid file", || pid_file.exists());
    assert_eq!(
        std::fs::read_to_string(&pid_file).expect("written"),
        agent.pid().to_string()
    );
    agent.put("/v1/kv/k", "v");
    // A parked query does not hold the end up.
    let index = agent.get("/v1/kv/k").index();
    let http = agent.http;
    let parked = std::thread::spawn(move || {
        common::try_request(http, "GET", &format!("/v1/kv/k?index={index}&wait=5m"), &[])
    });
    for (signal, code) in [("-TERM", 1), ("-INT", 1)] {
        let asked = std::time::Instant::now();
        assert_eq!(agent.signal(signal), Some(code), "{signal}");
        assert!(
            asked.elapsed() < Duration::from_secs(10),
            "{signal}: {:?}",
            asked.elapsed()
        );
        assert!(!pid_file.exists(), "{signal}");
        agent.start();
        assert_eq!(agent.get("/v1/kv/k?raw").text(), "v");
    }
    // Its connection was closed, with or without an answer.
    let _ = parked.join().expect("no panic");
    let log = agent.log();
    assert!(
        !log.contains("[ERROR]") && !log.contains("panicked"),
        "{log}"
    );
}

#[test]
fn leave_ends_the_process_with_0_and_the_data_stays() {
    let mut agent = Agent::server("");
    agent.put("/v1/kv/k", "v");
    assert_eq!(agent.cli_ok(&["leave"]), "Graceful leave complete\n");
    assert_eq!(agent.wait(), Some(0));
    agent.start();
    assert_eq!(agent.get("/v1/kv/k?raw").text(), "v");

    let mut agent = Agent::server("leave_on_terminate = true\nskip_leave_on_interrupt = false");
    assert_eq!(agent.signal("-TERM"), Some(0));
    agent.start();
    assert_eq!(agent.signal("-INT"), Some(0));
}

#[test]
fn a_reload_takes_up_and_drops_service_files() {
    let agent = Agent::server("");
    let file = agent.dir().join("conf.d/svc.hcl");
    let names = || {
        let services = agent.get("/v1/agent/services").json();
        let services = services.as_object().expect("an object");
        services.keys().cloned().collect::<Vec<_>>()
    };
    std::fs::write(&file, "service { name = \"one\" port = 1 }").expect("written");
    agent.send_signal("-HUP");
    wait_until("the first service", || names() == ["one"]);

    std::fs::write(
        &file,
        "service { name = \"two\" port = 2 check { ttl = \"1h\" } }",
    )
    .expect("written");
    let out = agent.cli_ok(&["reload"]);
    assert_eq!(out, "Configuration reload triggered\n");
    assert_eq!(names(), ["two"]);
    // Health is kept over a reload.
    agent.put("/v1/agent/check/pass/service:two", "");
    agent.cli_ok(&["reload"]);
    let checks = agent.get("/v1/agent/checks").json();
    assert_eq!(checks["service:two"]["Status"], "passing");

    // A file that cannot be read changes nothing and is named.
    std::fs::write(&file, "service { name = ").expect("written");
    let (code, _, err) = agent.cli(&["reload"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("svc.hcl"), "{err}");
    assert_eq!(names(), ["two"]);
    agent.send_signal("-HUP");
    wait_until("the fault in the log", || agent.log().contains("svc.hcl"));

    std::fs::remove_file(&file).expect("removed");
    agent.cli_ok(&["reload"]);
    assert_eq!(names(), Vec::<String>::new());
}

#[test]
fn dev_mode_answers_indented_and_keeps_nothing() {
    let mut agent = Agent::dev(&[]);
    // A leader is known a moment before it has registered itself.
    wait_until("an indented list of nodes", || {
        agent
            .get("/v1/catalog/nodes")
            .text()
            .starts_with("[\n    {\n        \"ID\": ")
    });
    assert!(
        agent
            .get("/v1/catalog/nodes?pretty")
            .text()
            .ends_with("\n]\n")
    );
    agent.put("/v1/kv/k", "v");
    let log = agent.log();
    for line in [
        "==> Starting Consul agent...\n",
        "        Node name: 'node1'\n",
        "==> Log data will now stream in as it occurs:\n",
        "[INFO]  agent: Consul agent running!",
    ] {
        assert!(log.contains(line), "{line}:\n{log}");
    }
    assert!(!agent.data_dir().exists());
    agent.kill();
    agent.start();
    assert_eq!(agent.get("/v1/kv/k").status, 404);
}

#[test]
fn a_second_agent_in_the_way_of_the_first_is_refused_with_the_reason() {
    let mut agent = Agent::server("log_level = \"info\"");
    let config = agent.dir().join("agent.hcl");
    let config = config.to_str().expect("a plain path");
    let other = |name: &str| format!("-{name}-port={}", free_port());
    let (http, dns, server) = (other("http"), other("dns"), other("server"));
    let (lan, wan) = (other("serf-lan"), other("serf-wan"));
    let elsewhere = tempfile::tempdir().expect("a folder");
    let dir = format!("-data-dir={}", elsewhere.path().display());
    let port = |name: &str, addr: std::net::SocketAddr| (name.to_owned(), addr.port().to_string());
    for (extra, (what, place)) in [
        (vec![&dir], port("RPC", agent.rpc)),
        (vec![&dir, &server], port("WAN Serf", agent.wan())),
        (vec![&dir, &wan, &server], port("LAN Serf", agent.lan())),
        (vec![&dir, &lan, &wan, &server], port("HTTP", agent.http)),
        (
            vec![&dir, &lan, &wan, &server, &http],
            port("DNS", agent.dns),
        ),
        (
            vec![&server, &http, &dns, &lan, &wan],
            ("data".to_owned(), agent.data_dir().display().to_string()),
        ),
    ] {
        let mut command = agent.command(&["agent", "-config-file", config]);
        command.args(&extra);
        let (code, out, err) = run(command);
        assert_eq!(code, Some(1), "{extra:?}: {out}{err}");
        let told = format!("{out}{err}");
        assert!(
            told.contains(&what) && told.contains(&place),
            "{extra:?} should name {what} and {place}: {told}"
        );
        assert!(!told.contains("panicked"), "{told}");
    }
    // The first does not notice.
    assert_eq!(agent.put("/v1/kv/still", "here").text().trim(), "true");
    assert_eq!(agent.signal("-TERM"), Some(1));
}
