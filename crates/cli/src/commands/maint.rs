//! `maint`: maintenance of the node and of its services.

use crate::{
    command::{Action, Api, Command, Outcome, Run, because, fail},
    flags::{Kind, flag},
};

/// ID of the check that node maintenance puts up.
const NODE_CHECK: &str = "_node_maintenance";
/// Beginning of the IDs of those for services.
const SERVICE_CHECK: &str = "_service_maintenance:";

pub(super) const COMMANDS: &[Command] = &[Command {
    path: "maint",
    synopsis: "Turns maintenance on and off",
    usage: "[options]",
    about: "Puts the node, or one service on it, into maintenance: it counts as critical and is no longer found by those who look for healthy instances. Without flags the current state is shown.\n\n$ {p} maint -enable -reason \"new disks\"\n$ {p} maint -enable -service redis\n$ {p} maint -disable",
    api: Api::Local,
    flags: &[
        flag("disable", Kind::Bool, "End maintenance."),
        flag("enable", Kind::Bool, "Start maintenance."),
        flag(
            "reason",
            Kind::Text,
            "Why, for people who read the check. Only with -enable.",
        ),
        flag(
            "service",
            Kind::Text,
            "ID of a service instance in place of the whole node.",
        ),
    ],
    action: Action::Call(maint),
}];

fn maint(run: &mut Run<'_, '_>) -> Outcome {
    let (enable, disable) = (run.flags.on("enable"), run.flags.on("disable"));
    let reason = run.flags.text("reason").to_owned();
    let service = run.flags.text("service").to_owned();
    if enable && disable {
        return fail("Only one of -enable or -disable may be provided");
    }
    if !enable && !reason.is_empty() {
        return fail("Reason may only be provided with -enable");
    }
    if !enable && !disable && !service.is_empty() {
        return fail("Service requires either -enable or -disable");
    }
    let client = run.client()?;
    let node = client
        .node_name()
        .map_err(because("Error querying Consul agent"))?;
    if !enable && !disable {
        let checks = client.checks().map_err(because("Error getting checks"))?;
        for (id, check) in checks {
            if id == NODE_CHECK {
                run.out(format!(
                    "Node:\n  Name:   {node}\n  Reason: {}\n",
                    check.notes
                ));
            } else if id.starts_with(SERVICE_CHECK) {
                let (id, why) = (&check.service_id, &check.notes);
                run.out(format!("Service:\n  ID:     {id}\n  Reason: {why}\n"));
            }
        }
        return Ok(0);
    }
    let (word, doing) = if enable {
        ("enabled", "enabling")
    } else {
        ("disabled", "disabling")
    };
    if service.is_empty() {
        client
            .node_maintenance(enable, &reason)
            .map_err(because(&format!("Error {doing} node maintenance")))?;
        run.out(format!("Node maintenance is now {word}"));
    } else {
        client
            .service_maintenance(&service, enable, &reason)
            .map_err(because(&format!("Error {doing} service maintenance")))?;
        run.out(format!("Service maintenance is now {word} for {service:?}"));
    }
    Ok(0)
}
