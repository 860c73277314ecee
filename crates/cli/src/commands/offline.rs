//! Commands that ask no agent: `version`, `validate`, `keygen`, `tls cert create`.

use std::{fs::File, io::Read as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    command::{Action, Api, Command, Outcome, Run, because, fail, open_text},
    config_files,
    flags::{Kind, flag},
};

/// The version of Consul that this program stands in for. Scripts parse the first line of `version`.
const CONSUL_VERSION: &str = "1.8.7";
/// Gossip protocol spoken, and the range understood.
const PROTOCOL: (u8, u8, u8) = (2, 2, 3);

pub(super) const COMMANDS: &[Command] = &[
    Command {
        path: "version",
        synopsis: "Shows the version",
        usage: "[options]",
        about: "Shows the version of Consul that the program is compatible with, and its own as the revision.",
        api: Api::None,
        flags: &[flag(
            "format",
            Kind::Text,
            "Form of the output, pretty or json. Default: pretty.",
        )],
        action: Action::Call(version),
    },
    Command {
        path: "validate",
        synopsis: "Checks configuration files",
        usage: "[options] FILE_OR_DIRECTORY...",
        about: "Reads configuration files and folders as an agent would, and says what is wrong with them.",
        api: Api::None,
        flags: &[
            flag(
                "config-format",
                Kind::Text,
                "Format of the files, hcl or json; by their names unless given.",
            ),
            flag("quiet", Kind::Bool, "Say nothing when all is well."),
        ],
        action: Action::Call(validate),
    },
    Command {
        path: "keygen",
        synopsis: "Makes an encryption key",
        usage: "",
        about: "Makes a random key of 32 bytes to encrypt gossip with, for the agent's -encrypt.",
        api: Api::None,
        flags: &[],
        action: Action::Call(keygen),
    },
    Command {
        path: "tls cert create",
        synopsis: "Makes a certificate",
        usage: "[options]",
        about: "Makes a certificate and its key, signed by a certificate authority made by tls ca create.\n\n$ {p} tls cert create -server\n$ {p} tls cert create -client",
        api: Api::None,
        flags: &[
            flag(
                "additional-dnsname",
                Kind::List,
                "A further DNS name in the certificate. Can be given several times.",
            ),
            flag(
                "additional-ipaddress",
                Kind::List,
                "A further address in the certificate. Can be given several times.",
            ),
            flag(
                "ca",
                Kind::Text,
                "Certificate of the authority. Default: the file of the domain.",
            ),
            flag("cli", Kind::Bool, "Make one for the command line."),
            flag("client", Kind::Bool, "Make one for clients."),
            flag("days", Kind::Int, "How long it is valid. Default: 365."),
            flag("dc", Kind::Text, "Datacenter. Default: dc1."),
            flag("domain", Kind::Text, "DNS domain. Default: consul."),
            flag(
                "key",
                Kind::Text,
                "Key of the authority. Default: the file of the domain.",
            ),
            flag("node", Kind::Text, "Node name to put in. Needs -server."),
            flag("server", Kind::Bool, "Make one for servers."),
        ],
        action: Action::Call(cert_create),
    },
];

fn version(run: &mut Run<'_, '_>) -> Outcome {
    let (default, min, max) = PROTOCOL;
    let revision = run.host.revision.clone();
    match run.flags.text("format") {
        "" | "pretty" => {
            run.out(format!("Consul v{CONSUL_VERSION}"));
            run.out(format!("Revision {revision}"));
            run.out(format!(
                "Protocol {default} spoken by default, understands {min} to {max} (agent will automatically use \
                 protocol >{min} when speaking to compatible agents)\n"
            ));
        }
        "json" => run.out(format!(
            "{{\n   \"Version\": {CONSUL_VERSION:?},\n   \"Revision\": {revision:?},\n   \"Prerelease\": \"\",\n   \
             \"RPC\": {{\n      \"Default\": {default},\n      \"Min\": {min},\n      \"Max\": {max}\n   }}\n}}"
        )),
        other => return fail(format!("Unknown format: {other}")),
    }
    Ok(0)
}

fn validate(run: &mut Run<'_, '_>) -> Outcome {
    let format = run.flags.text("config-format").to_owned();
    if run.args.is_empty() {
        return fail("Must specify at least one config file or directory");
    }
    if !matches!(format.as_str(), "" | "hcl" | "json") {
        return fail("-config-format must be either 'hcl' or 'json");
    }
    let warnings =
        config_files::validate(&run.args, &format).map_err(because("Config validation failed"))?;
    warnings.iter().for_each(|w| run.err(w));
    if !run.flags.on("quiet") {
        run.out("Configuration is valid!");
    }
    Ok(0)
}

fn keygen(run: &mut Run<'_, '_>) -> Outcome {
    let mut key = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut key))
        .map_err(because("Error reading random data"))?;
    run.out(STANDARD.encode(key));
    Ok(0)
}

fn cert_create(run: &mut Run<'_, '_>) -> Outcome {
    let flags = &run.flags;
    let file = |name: &str, tail: &str| match (flags.given(name), flags.text(name)) {
        (true, text) => text.to_owned(),
        (false, _) => match flags.text("domain") {
            "" => format!("consul-agent-{tail}"),
            domain => format!("{domain}-agent-{tail}"),
        },
    };
    let (ca, key) = (file("ca", "ca.pem"), file("key", "ca-key.pem"));
    if ca.is_empty() {
        return fail("Please provide the ca");
    }
    if key.is_empty() {
        return fail("Please provide the key");
    }
    let kinds = ["server", "client", "cli"];
    if kinds.iter().filter(|k| flags.on(k)).count() != 1 {
        return fail("Please provide either -server, -client, or -cli");
    }
    if !flags.text("node").is_empty() && !flags.on("server") {
        return fail("-node requires -server");
    }
    for (what, path) in [("CA", &ca), ("CA key", &key)] {
        if let Err(e) = File::open(path) {
            return fail(format!("Error reading {what}: {}", open_text(path, &e)));
        }
    }
    fail("tls cert create is not built yet")
}
