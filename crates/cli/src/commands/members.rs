//! `members`, `join`, `leave`, `force-leave`.

use std::collections::BTreeMap;

use tribune_api::client::Member;
use tribune_filter::Pattern;

use crate::{
    columns::{row, table},
    command::{Action, Api, Command, Failure, Outcome, Run, because, fail},
    flags::{Kind, flag},
    help,
};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        path: "members",
        synopsis: "Lists the members of the cluster",
        usage: "[options]",
        about: "Lists the members that the agent knows by gossip, and their state.",
        api: Api::Local,
        flags: &[
            flag("detailed", Kind::Bool, "Show all tags of each member."),
            flag(
                "segment",
                Kind::Text,
                "Only members of this network segment, an Enterprise feature.",
            ),
            flag(
                "status",
                Kind::Text,
                "Only members whose state matches this regular expression. Default: everything.",
            ),
            flag(
                "wan",
                Kind::Bool,
                "Ask a server for the pool of all datacenters' servers.",
            ),
        ],
        action: Action::Call(members),
    },
    Command {
        path: "join",
        synopsis: "Lets the agent join a cluster",
        usage: "[options] address ...",
        about: "Tells the running agent to join the cluster that the agents at the given addresses belong to. One reachable address is enough.",
        api: Api::Local,
        flags: &[flag(
            "wan",
            Kind::Bool,
            "Join the pool of all datacenters' servers.",
        )],
        action: Action::Call(join),
    },
    Command {
        path: "leave",
        synopsis: "Lets the agent leave the cluster and end",
        usage: "[options]",
        about: "Tells the agent to leave its cluster gracefully and to shut down.",
        api: Api::Local,
        flags: &[],
        action: Action::Call(leave),
    },
    Command {
        path: "force-leave",
        synopsis: "Marks a failed member as left",
        usage: "[options] name",
        about: "Marks a failed member as left, so that the cluster stops trying to reach it. A member that is alive comes back by itself.",
        api: Api::Local,
        flags: &[flag("prune", Kind::Bool, "Forget the member altogether.")],
        action: Action::Call(force_leave),
    },
];

/// The word for all network segments.
const ALL_SEGMENTS: &str = "_all";

fn members(run: &mut Run<'_, '_>) -> Outcome {
    let status = match run.flags.text("status") {
        "" => ".*",
        given => given,
    };
    let status = Pattern::compile(status).map_err(because("Failed to compile status regexp"))?;
    let client = run.client()?;
    let segment = match run.flags.given("segment") {
        true => run.flags.text("segment"),
        false => ALL_SEGMENTS,
    };
    let mut members = client
        .members(run.flags.on("wan"), segment)
        .map_err(because("Error retrieving members"))?;
    for member in &mut members {
        let server = member.tags.get("role").is_some_and(|r| r == "consul");
        let everywhere = server && segment == ALL_SEGMENTS;
        let shown = member.tags.entry("segment".to_owned()).or_default();
        if shown.is_empty() {
            *shown = if everywhere { "<all>" } else { "<default>" }.to_owned();
        }
    }
    members.retain(|m| status.is_match(state(m)));
    if members.is_empty() {
        return Ok(2);
    }
    let tag = |m: &Member, name: &str| m.tags.get(name).cloned().unwrap_or_default();
    members.sort_by_cached_key(|m| (m.name.clone(), tag(m, "segment")));
    let mut rows = Vec::new();
    if run.flags.on("detailed") {
        rows.push(row(["Node", "Address", "Status", "Tags"]));
        for m in &members {
            rows.push(row([&m.name, &address(m), state(m), &tags(&m.tags)]));
        }
    } else {
        rows.push(row([
            "Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Segment",
        ]));
        for m in &members {
            let build = match tag(m, "build") {
                build if build.is_empty() => "< 0.3".to_owned(),
                build => build.split(':').next().unwrap_or_default().to_owned(),
            };
            let kind = match tag(m, "role").as_str() {
                "consul" => "server",
                "node" => "client",
                _ => "unknown",
            };
            let protocol = tag(m, "vsn");
            let (dc, segment) = (tag(m, "dc"), tag(m, "segment"));
            rows.push(row([
                &m.name,
                &address(m),
                state(m),
                kind,
                &build,
                &protocol,
                &dc,
                &segment,
            ]));
        }
    }
    run.out(table(&rows));
    Ok(0)
}

fn state(member: &Member) -> &'static str {
    match member.status {
        0 => "none",
        1 => "alive",
        2 => "leaving",
        3 => "left",
        4 => "failed",
        _ => "unknown",
    }
}

fn address(member: &Member) -> String {
    if member.addr.contains(':') {
        format!("[{}]:{}", member.addr, member.port)
    } else {
        format!("{}:{}", member.addr, member.port)
    }
}

fn tags(tags: &BTreeMap<String, String>) -> String {
    let list = tags.iter().map(|(k, v)| format!("{k}={v}"));
    list.collect::<Vec<_>>().join(",")
}

fn join(run: &mut Run<'_, '_>) -> Outcome {
    if run.args.is_empty() {
        return Err(Failure::Usage(
            "At least one address to join must be specified.".to_owned(),
        ));
    }
    let client = run.client()?;
    let mut joined = 0;
    for address in run.args.clone() {
        match client.join(&address, run.flags.on("wan")) {
            Ok(()) => joined += 1,
            Err(e) => run.err(format!("Error joining address '{address}': {e}")),
        }
    }
    if joined == 0 {
        return fail("Failed to join any nodes.");
    }
    run.out(format!(
        "Successfully joined cluster by contacting {joined} nodes."
    ));
    Ok(0)
}

fn leave(run: &mut Run<'_, '_>) -> Outcome {
    if !run.args.is_empty() {
        if let Some(command) = super::find("leave") {
            let page = help::page(&run.host.program, command);
            run.host.out_bytes(page.as_bytes());
        }
        return fail(format!(
            "Error found unexpected args: [{}]",
            run.args.join(" ")
        ));
    }
    run.client()?.leave().map_err(because("Error leaving"))?;
    run.out("Graceful leave complete");
    Ok(0)
}

fn force_leave(run: &mut Run<'_, '_>) -> Outcome {
    let [node] = run.args.as_slice() else {
        return Err(Failure::Usage(
            "A single node name must be specified to force leave.".to_owned(),
        ));
    };
    run.client()?
        .force_leave(node, run.flags.on("prune"))
        .map_err(because("Error force leaving"))?;
    Ok(0)
}
