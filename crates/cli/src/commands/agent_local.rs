//! `info` and `reload`.

use crate::command::{Action, Api, Command, Outcome, Run, because};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        path: "info",
        synopsis: "Shows the agent's statistics",
        usage: "[options]",
        about: "Prints statistics of the agent by group, for people who look for a fault.",
        api: Api::Local,
        flags: &[],
        action: Action::Call(info),
    },
    Command {
        path: "reload",
        synopsis: "Lets the agent read its configuration again",
        usage: "",
        about: "Lets the agent read its configuration files again. What cannot change while it runs stays as it was.",
        api: Api::Local,
        flags: &[],
        action: Action::Call(reload),
    },
];

fn info(run: &mut Run<'_, '_>) -> Outcome {
    let about = run
        .client()?
        .agent_self()
        .map_err(because("Error querying agent"))?;
    for (group, values) in about.stats {
        run.out(format!("{group}:"));
        for (name, value) in values {
            run.out(format!("\t{name} = {value}"));
        }
    }
    Ok(0)
}

fn reload(run: &mut Run<'_, '_>) -> Outcome {
    run.client()?.reload().map_err(because("Error reloading"))?;
    run.out("Configuration reload triggered");
    Ok(0)
}
