//! `services register` and `services deregister`.

use serde_json::{Map, Value, json};

use crate::{
    api_flags::NAMESPACE,
    command::{Action, Api, Command, Failure, Outcome, Run, because, fail},
    config_files,
    flags::{Kind, flag},
};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        path: "services register",
        synopsis: "Registers services with the local agent",
        usage: "[options] [FILE...]",
        about: "Registers services with the local agent, from flags or from configuration files with service definitions. The agent keeps them until they are deregistered.\n\n$ {p} services register web.json\n$ {p} services register -name=web -port=8080",
        api: Api::Cluster,
        flags: &[
            flag(
                "address",
                Kind::Text,
                "Address of the service; that of the agent unless given.",
            ),
            flag(
                "id",
                Kind::Text,
                "ID of the instance; the name unless given.",
            ),
            flag("kind", Kind::Text, "Kind of proxy or gateway."),
            flag(
                "meta",
                Kind::Pairs,
                "Metadata as key=value. Can be given several times.",
            ),
            flag("name", Kind::Text, "Name of the service."),
            NAMESPACE,
            flag("port", Kind::Int, "Port of the service."),
            flag("tag", Kind::List, "A tag. Can be given several times."),
            flag(
                "tagged-address",
                Kind::Pairs,
                "A further address as name=host:port. Can be given several times.",
            ),
        ],
        action: Action::Call(register),
    },
    Command {
        path: "services deregister",
        synopsis: "Deregisters services from the local agent",
        usage: "[options] [FILE...]",
        about: "Deregisters services from the local agent, by ID or by the files that they were registered from.\n\n$ {p} services deregister web.json\n$ {p} services deregister -id=web",
        api: Api::Cluster,
        flags: &[flag("id", Kind::Text, "ID of the instance."), NAMESPACE],
        action: Action::Call(deregister),
    },
];

/// A registration to send, and the name to report.
type Named = (String, Value);

fn register(run: &mut Run<'_, '_>) -> Outcome {
    let name = run.flags.text("name").to_owned();
    let services: Vec<Named> = match (run.args.is_empty(), name.is_empty()) {
        (true, true) => {
            return fail("Service registration requires at least one argument or flags.");
        }
        (false, false) => return fail("Service registration requires arguments or -id, not both."),
        (true, false) => vec![(name, from_flags(run)?)],
        (false, true) => from_files(run)?
            .iter()
            .map(|s| (s.name.to_string(), config_files::registration(s)))
            .collect(),
    };
    let client = run.client()?;
    for (name, body) in services {
        client
            .service_register(&body)
            .map_err(|e| Failure::Text(format!("Error registering service {name:?}: {e}")))?;
        run.out(format!("Registered service: {name}"));
    }
    Ok(0)
}

fn from_files(
    run: &mut Run<'_, '_>,
) -> Result<Vec<tribune_types::definition::ServiceDefinition>, Failure> {
    for warning in config_files::skipped(&run.args) {
        run.err(warning);
    }
    config_files::services(&run.args).map_err(because("Error"))
}

fn from_flags(run: &Run<'_, '_>) -> Result<Value, Failure> {
    let flags = &run.flags;
    let mut tagged = Map::new();
    for (name, at) in flags.pairs("tagged-address") {
        let (host, port) =
            host_port(&at).map_err(|e| Failure::Text(format!("Invalid Tagged Address: {e}")))?;
        tagged.insert(name, json!({ "Address": host, "Port": port }));
    }
    let mut body = json!({
        "ID": flags.text("id"),
        "Name": flags.text("name"),
        "Port": flags.int("port", 0),
        "Address": flags.text("address"),
        "Tags": flags.list("tag"),
        "Meta": flags.pairs("meta").into_iter().collect::<std::collections::BTreeMap<_, _>>(),
    });
    if !flags.text("kind").is_empty() {
        body["Kind"] = flags.text("kind").into();
    }
    if !tagged.is_empty() {
        body["TaggedAddresses"] = tagged.into();
    }
    Ok(body)
}

/// Splits `host:port` with Go's words for mistakes.
fn host_port(text: &str) -> Result<(&str, u16), String> {
    let wrong = |why: &str| format!("address {text}: {why}");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest
                .split_once(']')
                .ok_or_else(|| wrong("missing ']' in address"))?;
            (
                host,
                after
                    .strip_prefix(':')
                    .ok_or_else(|| wrong("missing port in address"))?,
            )
        }
        None => {
            let (host, port) = text
                .rsplit_once(':')
                .ok_or_else(|| wrong("missing port in address"))?;
            if host.contains(':') {
                return Err(wrong("too many colons in address"));
            }
            (host, port)
        }
    };
    let number = port
        .parse()
        .map_err(|_| format!("strconv.Atoi: parsing {port:?}: invalid syntax"))?;
    Ok((host, number))
}

fn deregister(run: &mut Run<'_, '_>) -> Outcome {
    let id = run.flags.text("id").to_owned();
    let ids: Vec<String> = match (run.args.is_empty(), id.is_empty()) {
        (true, true) => {
            return fail("Service deregistration requires at least one argument or -id.");
        }
        (false, false) => {
            return fail("Service deregistration requires arguments or -id, not both.");
        }
        (true, false) => vec![id],
        (false, true) => from_files(run)?
            .iter()
            .map(|s| if s.id.is_empty() { &*s.name } else { &*s.id }.to_owned())
            .collect(),
    };
    let client = run.client()?;
    for id in ids {
        client
            .service_deregister(&id)
            .map_err(|e| Failure::Text(format!("Error deregistering service {id:?}: {e}")))?;
        run.out(format!("Deregistered service: {id}"));
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::host_port;

    #[test]
    fn addresses_split_as_go_splits_them() {
        assert_eq!(host_port("127.0.0.1:1"), Ok(("127.0.0.1", 1)));
        assert_eq!(host_port("[2001:db8::12]:1234"), Ok(("2001:db8::12", 1234)));
        for (text, want) in [
            ("zz", "address zz: missing port in address"),
            ("a:b:1", "address a:b:1: too many colons in address"),
            ("[::1]", "address [::1]: missing port in address"),
            ("a:x", "strconv.Atoi: parsing \"x\": invalid syntax"),
        ] {
            assert_eq!(host_port(text).unwrap_err(), want);
        }
    }
}
