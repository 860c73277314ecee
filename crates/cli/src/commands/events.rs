//! `event`: fires a user event.

use tribune_filter::Pattern;

use crate::{
    command::{Action, Api, Command, Failure, Outcome, Run, because, fail},
    flags::{Kind, flag},
};

pub(super) const COMMANDS: &[Command] = &[Command {
    path: "event",
    synopsis: "Fires an event",
    usage: "[options] [payload]",
    about: "Sends an event with an optional payload to all agents of the datacenter, or to those that the filters match. Agents react through watches.",
    api: Api::Local,
    flags: &[
        flag("name", Kind::Text, "Name of the event. Must be given."),
        flag(
            "node",
            Kind::Text,
            "Regular expression of nodes that are meant.",
        ),
        flag(
            "service",
            Kind::Text,
            "Regular expression of services that are meant.",
        ),
        flag(
            "tag",
            Kind::Text,
            "Regular expression of those services' tags. Needs -service.",
        ),
    ],
    action: Action::Call(event),
}];

fn event(run: &mut Run<'_, '_>) -> Outcome {
    let text = |name: &str| run.flags.text(name).to_owned();
    let (name, node, service, tag) = (text("name"), text("node"), text("service"), text("tag"));
    if name.is_empty() {
        return Err(Failure::Usage("Event name must be specified".to_owned()));
    }
    for (what, pattern) in [("node", &node), ("service", &service), ("tag", &tag)] {
        if !pattern.is_empty() {
            Pattern::compile(pattern)
                .map_err(because(&format!("Failed to compile {what} filter regexp")))?;
        }
    }
    if !tag.is_empty() && service.is_empty() {
        return fail("Cannot provide tag filter without service filter.");
    }
    let payload = match run.args.as_slice() {
        [] => Vec::new(),
        [payload] => payload.clone().into_bytes(),
        _ => {
            return Err(Failure::Usage(
                "Too many command line arguments.".to_owned(),
            ));
        }
    };
    let client = run.client()?;
    client
        .node_name()
        .map_err(because("Error querying Consul agent"))?;
    let id = client
        .event_fire(&name, payload, [&node, &service, &tag], &run.query())
        .map_err(because("Error firing event"))?;
    run.out(format!("Event ID: {id}"));
    Ok(0)
}
