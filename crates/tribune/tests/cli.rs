//! Exit codes and outputs of commands that need a real agent (spec cli.md).

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use common::{Agent, SOON, ends, run, run_within, wait_until};

#[test]
fn commands_end_with_the_codes_that_scripts_rely_on() {
    let agent = Agent::server("");
    let index = |key: &str| {
        let pair = agent.get(&format!("/v1/kv/{key}")).json();
        pair[0]["ModifyIndex"].to_string()
    };
    agent.cli_ok(&["kv", "put", "k", "one"]);
    let at = format!("-modify-index={}", index("k"));

    // Arguments, exit code, start of standard output, start of standard error.
    let cases: &[(&[&str], i32, &str, &str)] = &[
        (&["members"], 0, "Node   Address", ""),
        (&["members", "-status=failed|left"], 2, "", ""),
        (
            &["members", "-status=("],
            1,
            "",
            "Failed to compile status regexp",
        ),
        (&["members", "-detailed"], 0, "Node   Address", ""),
        (
            &["kv", "put", "-cas", &at, "k", "two"],
            0,
            "Success! Data written to: k\n",
            "",
        ),
        (
            &["kv", "put", "-cas", &at, "k", "three"],
            1,
            "",
            "Error! Did not write to k: CAS failed\n",
        ),
        (
            &["kv", "put", "-cas", "-modify-index=0", "k", "x"],
            1,
            "",
            "Must specify -modify-index with -cas!\n",
        ),
        (&["kv", "get", "k"], 0, "two\n", ""),
        (
            &["kv", "get", "none"],
            1,
            "",
            "Error! No key exists at: none\n",
        ),
        (&["kv", "get", "-recurse", "none"], 0, "", ""),
        (
            &["kv", "delete", "none"],
            0,
            "Success! Deleted key: none\n",
            "",
        ),
        (&["lock", "p", "echo", "in"], 0, "in\n", ""),
        (&["lock", "-child-exit-code", "p", "exit 4"], 2, "", ""),
        (&["lock", "-child-exit-code", "p", "exit 0"], 0, "", ""),
        (
            &[
                "lock",
                "-n=2",
                "q",
                "test $CONSUL_LOCK_HELD = true && echo held",
            ],
            0,
            "held\n",
            "",
        ),
        (
            &["lock", "p"],
            1,
            "",
            "Key prefix and child command must be specified",
        ),
        (&["event", "-name=deploy", "now"], 0, "Event ID: ", ""),
        (&["event"], 1, "", "Event name must be specified"),
        (&["watch", "-type=key", "-key=none"], 0, "null\n", ""),
        (&["watch", "-type=nope"], 1, "", ""),
        (&["watch", "-type=key", "-key=k", "exit 3"], 1, "", ""),
        (&["maint"], 0, "", ""),
        (
            &["monitor", "-log-level=zap"],
            1,
            "",
            "Error starting monitor: ",
        ),
        (
            &["snapshot", "inspect", "/nonexistent"],
            1,
            "",
            "Error opening snapshot file: ",
        ),
        (&["operator", "raft", "list-peers"], 0, "Node   ID", ""),
        (&["catalog", "nodes"], 0, "Node   ID", ""),
        (&["catalog", "services"], 0, "consul\n", ""),
        (
            &["validate", "/nonexistent"],
            1,
            "",
            "Config validation failed: ",
        ),
        (
            &["kv", "get", "-http-addr=127.0.0.1:1", "k"],
            1,
            "",
            "Error ",
        ),
        (&["nonsense"], 127, "", ""),
    ];
    for (args, code, out_start, err_start) in cases {
        let (found, out, err) = agent.cli(args);
        assert_eq!(found, Some(*code), "{args:?}:\n{out}{err}");
        assert!(out.starts_with(out_start), "{args:?}: {out:?}");
        let all = format!("{err}{out}");
        assert!(all.contains(err_start), "{args:?}: {all:?}");
        assert!(!all.contains("panicked"), "{args:?}: {all}");
    }
}

#[test]
fn a_fired_event_is_listed_and_wakes_its_watch() {
    let agent = Agent::server("");
    let file = agent.dir().join("seen");
    let script = format!("cat >> {}", file.display());
    let mut watch = agent
        .command(&["watch", "-type=event", "-name=deploy", &script])
        .stdin(Stdio::null())
        .spawn()
        .expect("started");
    wait_until("the first run", || file.exists());
    let out = agent.cli_ok(&["event", "-name=deploy", "-node=node1", "v2"]);
    let id = out.trim().strip_prefix("Event ID: ").expect("an id");
    wait_until("the event", || {
        std::fs::read_to_string(&file).is_ok_and(|seen| seen.contains(id))
    });
    watch.kill().expect("running");
    watch.wait().expect("ended");
    let listed = agent.get("/v1/event/list?name=deploy").json();
    assert_eq!(listed[0]["ID"], id);
    assert_eq!(listed[0]["Payload"], "djI=");
}

#[test]
fn a_key_watch_runs_its_child_on_every_change() {
    let agent = Agent::server("");
    agent.put("/v1/kv/k", "one");
    let file = agent.dir().join("runs");
    let script = format!("cat >> {0}; echo \" $CONSUL_INDEX\" >> {0}", file.display());
    let mut watch = agent
        .command(&["watch", "-type=key", "-key=k", &script])
        .stdin(Stdio::null())
        .spawn()
        .expect("started");
    // A run is complete with its index.
    let runs = || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.matches("\n ").count()
    };
    wait_until("the first run", || runs() == 1);
    agent.put("/v1/kv/other", "x");
    agent.put("/v1/kv/k", "two");
    wait_until("the second run", || runs() == 2);
    watch.kill().expect("running");
    watch.wait().expect("ended");
    let text = std::fs::read_to_string(&file).expect("written");
    let last = text.lines().last().expect("a line");
    let index = agent.get("/v1/kv/k").json()[0]["ModifyIndex"].to_string();
    assert!(last.ends_with(&format!(" {index}")), "{text}");
}

#[test]
fn info_shows_its_groups_in_order() {
    let agent = Agent::server("");
    let out = agent.cli_ok(&["info"]);
    let groups: Vec<_> = out.lines().filter(|l| !l.starts_with('\t')).collect();
    let want = [
        "agent:",
        "build:",
        "consul:",
        "raft:",
        "runtime:",
        "serf_lan:",
        "serf_wan:",
    ];
    assert_eq!(groups, want, "{out}");
    for line in [
        "\tversion = 1.8.7\n",
        "\tserver = true\n",
        "\tleader = true\n",
        "\tstate = Leader\n",
        "\tnum_peers = 0\n",
        "\tmembers = 1\n",
    ] {
        assert!(out.contains(line), "{line}{out}");
    }
}

#[test]
fn monitor_streams_lines_until_it_is_interrupted() {
    let agent = Agent::server("");
    let mut monitor = agent
        .command(&["monitor", "-log-level=debug"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let out = monitor.stdout.take().expect("piped");
    let (tx, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if tx.send(line).is_err() {
                return;
            }
        }
    });
    // Something to say, until it has been heard.
    let mut heard = None;
    wait_until("a line", || {
        agent.send_signal("-HUP");
        heard = lines.recv_timeout(Duration::from_millis(200)).ok();
        heard.is_some()
    });
    let line = heard.expect("a line");
    assert!(line.contains("Z [") && line.contains(" agent"), "{line}");
    let interrupt = Command::new("kill")
        .args(["-INT", &monitor.id().to_string()])
        .status();
    assert!(interrupt.expect("kill runs").success());
    assert_eq!(ends("monitor", &mut monitor).code(), Some(0));
    drop(lines);
    reader.join().expect("no panic");
}

#[test]
fn a_lock_whose_session_ends_kills_the_child() {
    let agent = Agent::server("");
    let file = agent.dir().join("child");
    let script = format!("echo $$ > {}; exec sleep 60", file.display());
    let mut lock = agent
        .command(&["lock", "-child-exit-code", "p", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    wait_until("the child", || {
        std::fs::read_to_string(&file).is_ok_and(|pid| pid.ends_with('\n'))
    });
    let session = agent.get("/v1/session/list").json()[0]["ID"].clone();
    let session = session.as_str().expect("an id");
    assert_eq!(
        agent
            .put(&format!("/v1/session/destroy/{session}"), "")
            .status,
        200
    );
    let status = ends("the lock command", &mut lock);
    let pid = std::fs::read_to_string(&file).expect("written");
    wait_until("the child to be gone", || {
        !std::path::Path::new(&format!("/proc/{}", pid.trim())).exists()
    });
    assert_ne!(status.code(), Some(0));
}

#[test]
fn a_link_named_consul_behaves_the_same() {
    let agent = Agent::server("");
    let link = agent.dir().join("consul");
    std::os::unix::fs::symlink(Agent::binary(), &link).expect("a link");
    let linked = |args: &[&str]| {
        let mut command = Command::new(&link);
        command
            .args(args)
            .env("CONSUL_HTTP_ADDR", agent.http.to_string());
        run(command)
    };
    for args in [
        &["version"][..],
        &["--version"],
        &["kv", "put", "a", "b"],
        &["kv", "get", "a"],
        &["members"],
        &["kv", "get", "none"],
    ] {
        assert_eq!(linked(args), agent.cli(args), "{args:?}");
    }
    let (code, out, _) = linked(&["version"]);
    assert_eq!(code, Some(0));
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("Consul v1.8.7"));
    assert_eq!(
        lines.next(),
        Some(concat!("Revision tribune-", env!("CARGO_PKG_VERSION")))
    );
    let (_, _, help) = linked(&[]);
    assert!(help.starts_with("Usage: consul [--version]"), "{help}");
}

#[test]
fn keys_go_out_and_in_again() {
    let agent = Agent::server("");
    agent.put("/v1/kv/app/a?flags=7", "1");
    agent.put("/v1/kv/app/b", [0u8, 255, 10]);
    let exported = agent.cli_ok(&["kv", "export", "app"]);
    agent.cli_ok(&["kv", "delete", "-recurse", "app"]);
    assert_eq!(agent.get("/v1/kv/app/a").status, 404);
    let import = agent.command(&["kv", "import", "-"]);
    let (code, out, err) = run_within(SOON, import, exported.as_bytes());
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(agent.get("/v1/kv/app/b?raw").body, [0, 255, 10]);
    assert_eq!(agent.get("/v1/kv/app/a").json()[0]["Flags"], 7);
    assert_eq!(agent.cli_ok(&["kv", "export", "app"]), exported);
}
