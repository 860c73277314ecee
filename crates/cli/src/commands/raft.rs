//! `operator raft list-peers` and `remove-peer`.

use crate::{
    columns::{row, table},
    command::{Action, Api, Command, Outcome, Run, because, fail},
    flags::{Kind, flag},
};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        path: "operator raft list-peers",
        synopsis: "Shows the Raft peers",
        usage: "[options]",
        about: "Shows the Raft peers, who leads them, and who votes.",
        api: Api::Cluster,
        flags: &[],
        action: Action::Call(list_peers),
    },
    Command {
        path: "operator raft remove-peer",
        synopsis: "Removes a server from the Raft peers",
        usage: "[options]",
        about: "Removes a server from the Raft peers, for servers that are gone for good and were not removed by themselves.",
        api: Api::Cluster,
        flags: &[
            flag("address", Kind::Text, "Address of the server as ip:port."),
            flag("id", Kind::Text, "ID of the server."),
        ],
        action: Action::Call(remove_peer),
    },
];

fn list_peers(run: &mut Run<'_, '_>) -> Outcome {
    let found = run
        .client()?
        .raft_configuration(&run.query())
        .map_err(because("Error getting peers"))?;
    let mut rows = vec![row([
        "Node",
        "ID",
        "Address",
        "State",
        "Voter",
        "RaftProtocol",
    ])];
    for server in found.servers {
        let state = if server.leader { "leader" } else { "follower" };
        let voter = server.voter.to_string();
        let protocol = match server.protocol_version.as_str() {
            "" => "<=1",
            version => version,
        };
        rows.push(row([
            &server.node,
            &server.id,
            &server.address,
            state,
            &voter,
            protocol,
        ]));
    }
    run.out(table(&rows));
    Ok(0)
}

fn remove_peer(run: &mut Run<'_, '_>) -> Outcome {
    let text = |name: &str| run.flags.text(name).to_owned();
    let (by, value) = match (text("address"), text("id")) {
        (a, id) if a.is_empty() && id.is_empty() => {
            return fail(
                "Error removing peer: an address or id is required for the peer to remove",
            );
        }
        (a, id) if !a.is_empty() && !id.is_empty() => {
            return fail("Error removing peer: cannot give both an address and id");
        }
        (a, id) if id.is_empty() => ("address", a),
        (_, id) => ("id", id),
    };
    run.client()?
        .raft_remove_peer(by, &value, &run.query())
        .map_err(because("Error removing peer"))?;
    run.out(format!("Removed peer with {by} {value:?}"));
    Ok(0)
}
