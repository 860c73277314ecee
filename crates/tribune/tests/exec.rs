//! `exec` with real processes: agents of Tribune and, where `CONSUL_BIN` names one, Consul 1.8.7, asked by either's command.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::pool::{Kind, LONG, Node, STEADY, all_alive, consul, on_all};
use common::{Agent, run_within};

const ALLOWED: &str = "disable_remote_exec = false\n";

/// Runs the command of `program` against an agent: exit code, standard output, standard error.
fn exec(program: &Path, node: &Node, args: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(program);
    command
        .args(["exec", "-http-addr", &node.http().to_string()])
        .args(args);
    run_within(LONG, command, stdin.as_bytes())
}

fn programs() -> Vec<PathBuf> {
    let mut programs = vec![Agent::binary().to_owned()];
    if let Some(Kind::Consul(path)) = consul() {
        programs.push(path);
    }
    programs
}

fn nothing_is_left(node: &Node, prefix: &str) {
    let left = node.request("GET", &format!("/v1/kv/{prefix}?keys"), &[]);
    assert_eq!(left.status, 404, "{}", left.text());
    let sessions = node.json("/v1/session/list").to_string();
    assert!(!sessions.contains("Remote Exec"), "{sessions}");
}

#[test]
fn what_a_node_prints_and_how_it_ends_comes_back() {
    let node = Node::server(&Kind::Tribune, "one", ALLOWED);
    for program in programs() {
        // (arguments, standard input, exit code, lines of output)
        for (args, stdin, code, want) in [
            (
                &["echo hi; echo err >&2; exit 3"][..],
                "",
                2,
                "    one: hi\n    one: err\n    one:\n==> one: finished with exit code 3\n1 / 1 node(s) completed / acknowledged\n",
            ),
            (
                &["-shell=false", "echo", "a  b"],
                "",
                0,
                "    one: a  b\n    one:\n==> one: finished with exit code 0\n1 / 1 node(s) completed / acknowledged\n",
            ),
            (
                &["-"],
                "#!/bin/sh\nprintf script",
                0,
                "    one: script\n==> one: finished with exit code 0\n1 / 1 node(s) completed / acknowledged\n",
            ),
            (
                &["-"],
                "printf without",
                0,
                "    one: without\n==> one: finished with exit code 0\n1 / 1 node(s) completed / acknowledged\n",
            ),
            (
                &["-shell=false", "no-such-program"],
                "",
                2,
                "==> one: finished with exit code 255\n1 / 1 node(s) completed / acknowledged\n",
            ),
            (
                &["kill -9 $$"],
                "",
                2,
                "==> one: finished with exit code -1\n1 / 1 node(s) completed / acknowledged\n",
            ),
            (
                &["-node", "other", "true"],
                "",
                0,
                "0 / 0 node(s) completed / acknowledged\n",
            ),
            (
                &["-service", "web", "true"],
                "",
                0,
                "0 / 0 node(s) completed / acknowledged\n",
            ),
        ] {
            let args = [&["-wait", "2s", "-prefix", "x/y"], args].concat();
            let (got, out, err) = exec(&program, &node, &args, stdin);
            assert_eq!(
                (got, out.as_str()),
                (Some(code), want),
                "{program:?} {args:?}: {err}"
            );
            nothing_is_left(&node, "x/");
        }
        // Output in pieces, and signs of life while there is none.
        let script = "echo a; sleep 2; head -c 9000 /dev/zero | tr '\\0' x";
        let (code, out, err) = exec(&program, &node, &["-verbose", "-wait", "900ms", script], "");
        assert_eq!(code, Some(0), "{out}{err}");
        assert!(out.contains("==> one: acknowledged\n    one: a\n"), "{out}");
        assert!(out.contains("==> one: heartbeat received\n"), "{out}");
        let printed: usize = out
            .lines()
            .filter(|l| l.starts_with("    one: xx"))
            .map(|l| l.len() - 9)
            .sum();
        assert_eq!(printed, 9000, "{out}");
        assert!(
            node.events().is_empty(),
            "the order is no event that one sees"
        );
    }
    assert!(node.log().contains("running a job"));
}

#[test]
fn an_agent_that_was_not_told_to_does_not_take_part() {
    let hcl = format!("{STEADY}{ALLOWED}");
    let server = Node::server(&Kind::Tribune, "server", &hcl);
    let willing = Node::client(&Kind::Tribune, "willing", &server, &hcl);
    let other = Node::client(&Kind::Tribune, "other", &server, STEADY);
    let mut all = vec![&server, &willing, &other];
    let theirs = consul().map(|kind| Node::client(&kind, "theirs", &server, &hcl));
    all.extend(theirs.as_ref());
    all_alive(&all);
    // The command's session belongs to the node of the agent that is asked.
    for node in &all {
        on_all(&[&server], "the registration", |server| {
            server.health(&node.name).as_deref() == Some("passing")
        });
    }
    for program in programs() {
        // Asked through an agent that takes no part itself.
        let (code, out, err) = exec(
            &program,
            &other,
            &["-wait", "5s", "echo on $(echo here)"],
            "",
        );
        assert_eq!(code, Some(0), "{out}{err}");
        let count = all.len() - 1;
        assert!(
            out.contains(&format!("{count} / {count} node(s)")),
            "{out}{err}"
        );
        assert!(
            out.contains("    willing: on here\n") && !out.contains("other"),
            "{out}"
        );
        let (_, out, err) = exec(
            &program,
            &willing,
            &["-wait", "5s", "-node", "^willing$", "true"],
            "",
        );
        assert!(out.contains("1 / 1 node(s)"), "{out}{err}");
    }
}

#[test]
fn mistakes_are_told_as_consul_tells_them() {
    let node = Node::server(&Kind::Tribune, "one", "");
    for program in programs() {
        for (args, want) in [
            (&[][..], "Must specify a command to execute\n"),
            (
                &["-tag", "x", "true"],
                "Cannot provide tag filter without service filter.\n",
            ),
            (
                &["-node", "(", "true"],
                "Failed to compile node filter regexp: error parsing regexp: missing closing ): `(`\n",
            ),
            (
                &["-datacenter", "dc9", "true"],
                "Failed to create session: Failed to find Consul server in remote datacenter: Unexpected response code: 500 (No path to datacenter)\n",
            ),
        ] {
            let (code, out, err) = exec(&program, &node, args, "");
            assert_eq!(code, Some(1), "{program:?} {args:?}: {out}{err}");
            assert!(err.starts_with(want), "{program:?} {args:?}: {err}");
        }
    }
}

#[test]
fn another_datacenter_is_asked_through_its_servers() {
    for kind in [Some(Kind::Tribune), consul()].into_iter().flatten() {
        let far = Node::server(&kind, "far", &format!("datacenter = \"dc2\"\n{ALLOWED}"));
        let hcl = format!(
            "{ALLOWED}retry_join_wan = [\"{}\"]\nretry_interval_wan = \"1s\"\n",
            far.ip
        );
        let mut near = Node::server(&Kind::Tribune, "near", &hcl);
        near.wait_for("the other datacenter", |node| {
            node.try_json("/v1/catalog/nodes?dc=dc2").is_some()
        });
        for program in programs() {
            let args = [
                "-verbose",
                "-datacenter",
                "dc2",
                "-wait",
                "5s",
                "echo $0 far",
            ];
            let (code, out, err) = exec(&program, &near, &args, "");
            assert_eq!(code, Some(0), "{program:?} to {kind:?}: {out}{err}");
            assert!(out.starts_with("Remote exec in foreign datacenter, using Session TTL\nBinding session to remote node far@dc2\n"), "{out}");
            assert!(
                out.contains("    far: ") && !out.contains("    near: "),
                "{out}"
            );
            assert!(out.contains("1 / 1 node(s)"), "{out}");
            nothing_is_left(&far, "_rexec/");
        }
    }
}
