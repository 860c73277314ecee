//! `watch`: prints a result, or runs a command on every change.

use std::{collections::BTreeMap, sync::atomic::AtomicBool, time::Duration};

use serde_json::Value;
use tribune_api::client::{
    gojson,
    watch::{Next, Plan},
};
use tribune_types::duration::format_go;

use super::child::{Handler, failure_text};
use crate::{
    command::{Action, Api, Command, Failure, Outcome, Run, because, fail},
    flags::{Kind, flag, flag_of, parse_bool},
    threads,
};

pub(super) const COMMANDS: &[Command] = &[Command {
    path: "watch",
    synopsis: "Watches for changes",
    usage: "[options] [child...]",
    about: "Watches one part of what the cluster knows. With a command, it is run at the start and on every change, with the result as JSON on its standard input; without one the current result is printed.\n\n$ {p} watch -type=nodes\n$ {p} watch -type=key -key=foo ./handler.sh",
    api: Api::Cluster,
    flags: &[
        flag("key", Kind::Text, "Key to watch, for the type key."),
        flag(
            "name",
            Kind::Text,
            "Name of events to watch, for the type event.",
        ),
        flag_of(
            "passingonly",
            Kind::Text,
            "true|false",
            "Only instances whose checks all pass, for the type service. Default: false.",
        ),
        flag(
            "prefix",
            Kind::Text,
            "Prefix of keys to watch, for the type keyprefix.",
        ),
        flag(
            "service",
            Kind::Text,
            "Service to watch, for the types service and checks.",
        ),
        flag(
            "shell",
            Kind::Bool,
            "Run the command by the shell in SHELL. Default: true.",
        ),
        flag(
            "state",
            Kind::Text,
            "State of checks to watch, for the type checks.",
        ),
        flag(
            "tag",
            Kind::List,
            "Tag that instances must have, for the type service. Can be given several times.",
        ),
        flag(
            "type",
            Kind::Text,
            "What to watch: key, keyprefix, services, nodes, service, checks or event.",
        ),
    ],
    action: Action::Call(watch),
}];

fn watch(run: &mut Run<'_, '_>) -> Outcome {
    let kind = run.flags.text("type").to_owned();
    match kind.as_str() {
        "" => return Err(Failure::Usage("Watch type must be specified".to_owned())),
        "connect_roots" | "connect_leaf" | "agent_service" => {
            return fail(format!("Type {kind} is not supported in the CLI tool"));
        }
        _ => {}
    }
    let plan = plan(run, kind)?;
    // The token file comes first here: 1.8.7 names it without "Error connecting".
    let config = run.client_config();
    if let Err(
        e @ tribune_api::client::Error::File {
            what: "token file", ..
        },
    ) = &config
    {
        return fail(e.to_string());
    }
    let client = run.client()?;
    client
        .node_name()
        .map_err(because("Error querying Consul agent"))?;
    let handler = (!run.args.is_empty()).then(|| Handler {
        words: run.args.clone(),
        shell: Handler::shell_of(run),
        vars: Vec::new(),
    });
    let mut outcome = Ok(0);
    let stderr = &mut run.host.stderr;
    let stdout = &mut run.host.stdout;
    let kind = plan.kind.clone();
    plan.run(
        &client,
        &AtomicBool::new(false),
        |error, pause| {
            let at = stamp(threads::unix_now());
            let (text, pause) = (error.to_string(), format_go(pause));
            let _ = writeln!(
                stderr,
                "{at} [ERROR] watch.watch: Watch errored: type={kind} error={text:?} retry={pause}"
            );
        },
        |change| {
            let Some(handler) = &handler else {
                let _ = writeln!(stdout, "{}", gojson::indent(&change.json, "    "));
                return Next::Stop;
            };
            let handler = Handler {
                words: handler.words.clone(),
                shell: handler.shell.clone(),
                vars: vec![("CONSUL_INDEX", change.index.to_string())],
            };
            let input = format!("{}\n", change.json);
            let problem = match handler.run(input.as_bytes()) {
                Err(why) => Some(format!("Error starting handler: {why}")),
                Ok(status) => failure_text(status).map(|t| format!("Error executing handler: {t}")),
            };
            match problem {
                None => Next::Continue,
                Some(text) => {
                    outcome = fail(text);
                    Next::Stop
                }
            }
        },
    );
    outcome
}

fn plan(run: &Run<'_, '_>, kind: String) -> Result<Plan, Failure> {
    let mut params: BTreeMap<String, Value> = BTreeMap::from([("type".to_owned(), kind.into())]);
    for name in ["datacenter", "key", "prefix", "service", "state", "name"] {
        let text = run.flags.text(name);
        if !text.is_empty() {
            params.insert(name.to_owned(), text.into());
        }
    }
    if !run.flags.list("tag").is_empty() {
        params.insert("tag".to_owned(), run.flags.list("tag").into());
    }
    if run.flags.on("stale") {
        params.insert("stale".to_owned(), true.into());
    }
    let passing = run.flags.text("passingonly");
    if !passing.is_empty() {
        let on = parse_bool(passing).ok_or_else(|| {
            let why = format!("strconv.ParseBool: parsing {passing:?}: invalid syntax");
            Failure::Text(format!("Failed to parse passingonly flag: {why}"))
        })?;
        params.insert("passingonly".to_owned(), on.into());
    }
    Ok(Plan::parse(params, &[])?.0)
}

/// A time as log lines show it, in UTC.
pub(super) fn stamp(since_1970: Duration) -> String {
    let (secs, ms) = (since_1970.as_secs(), since_1970.subsec_millis());
    let (days, rest) = (secs / 86_400, secs % 86_400);
    // Civil date from days, counting years from March so that the leap day is the last.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_civil_dates() {
        for (secs, want) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_795_414_437, "2026-11-23T06:13:57.000Z"),
        ] {
            assert_eq!(stamp(Duration::from_secs(secs)), want);
        }
    }
}
