//! The flags and environment variables of the HTTP client (spec cli.md section 1).
//!
//! A flag goes before its variable. For the token: flag, flag's file, variable, variable's file.

use std::path::{Path, PathBuf};

use tribune_api::client::{ClientConfig, Error};

use crate::{
    command::Api,
    flags::{Flag, Flags, Kind, flag, flag_of, parse_bool},
    host::Host,
};

/// Where an agent is when nothing says so.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8500";

const CONNECTION: [Flag; 8] = [
    flag_of(
        "ca-file",
        Kind::Text,
        "value",
        "File of CA certificates, in PEM, to verify the agent with. Environment: CONSUL_CACERT.",
    ),
    flag_of(
        "ca-path",
        Kind::Text,
        "value",
        "Folder of such files. Environment: CONSUL_CAPATH.",
    ),
    flag_of(
        "client-cert",
        Kind::Text,
        "value",
        "Certificate file to show to an agent that asks for one. Environment: CONSUL_CLIENT_CERT.",
    ),
    flag_of(
        "client-key",
        Kind::Text,
        "value",
        "Key file of that certificate. Environment: CONSUL_CLIENT_KEY.",
    ),
    flag_of(
        "http-addr",
        Kind::Text,
        "address",
        "Address and port of the agent, with http://, https:// or unix:// in front if need be. Default: http://127.0.0.1:8500. Environment: CONSUL_HTTP_ADDR; CONSUL_HTTP_SSL=true makes https the scheme of addresses without one.",
    ),
    flag_of(
        "tls-server-name",
        Kind::Text,
        "value",
        "Name to ask for, and to find in the agent's certificate, in place of the address. Environment: CONSUL_TLS_SERVER_NAME.",
    ),
    flag_of(
        "token",
        Kind::Text,
        "value",
        "ACL token to send; without one the agent's own applies. Environment: CONSUL_HTTP_TOKEN.",
    ),
    flag_of(
        "token-file",
        Kind::Text,
        "value",
        "File that holds the ACL token. Environment: CONSUL_HTTP_TOKEN_FILE.",
    ),
];

const CLUSTER: [Flag; 2] = [
    flag_of(
        "datacenter",
        Kind::Text,
        "value",
        "Datacenter to ask; that of the agent unless given.",
    ),
    flag(
        "stale",
        Kind::Bool,
        "Let any server answer, not only the leader: quicker, and possibly not the newest. Writes are not affected.",
    ),
];

/// The namespace flag of commands that have one.
pub(crate) const NAMESPACE: Flag = flag_of(
    "namespace",
    Kind::Text,
    "default",
    "Namespace to work in; an Enterprise feature that servers here refuse. Environment: CONSUL_NAMESPACE.",
);

/// The client's flags of a command.
pub(crate) fn of(api: Api) -> impl Iterator<Item = &'static Flag> + Clone {
    let connection: &'static [Flag] = if api == Api::None { &[] } else { &CONNECTION };
    let cluster: &'static [Flag] = if api == Api::Cluster { &CLUSTER } else { &[] };
    connection.iter().chain(cluster)
}

/// Puts the configuration together. Reads the token file, if that is where the token is.
pub(crate) fn client_config(flags: &Flags, host: &Host<'_>) -> Result<ClientConfig, Error> {
    let pick = |name: &str, var: &str| -> Option<String> {
        let given = Some(flags.text(name)).filter(|t| !t.is_empty());
        given.or_else(|| host.var(var)).map(str::to_owned)
    };
    let switch = |var: &str| host.var(var).and_then(parse_bool);
    let address = pick("http-addr", "CONSUL_HTTP_ADDR");
    let mut config = ClientConfig::new(
        address.as_deref().unwrap_or(DEFAULT_ADDRESS),
        switch("CONSUL_HTTP_SSL").unwrap_or(false),
    )?;
    let path = |name, var| pick(name, var).map(PathBuf::from);
    config.tls.ca_file = path("ca-file", "CONSUL_CACERT");
    config.tls.ca_path = path("ca-path", "CONSUL_CAPATH");
    config.tls.client_cert = path("client-cert", "CONSUL_CLIENT_CERT");
    config.tls.client_key = path("client-key", "CONSUL_CLIENT_KEY");
    config.tls.server_name = pick("tls-server-name", "CONSUL_TLS_SERVER_NAME").unwrap_or_default();
    config.tls.skip_verify = switch("CONSUL_HTTP_SSL_VERIFY") == Some(false);
    config.basic_auth = host.var("CONSUL_HTTP_AUTH").map(|auth| {
        let (user, password) = auth.split_once(':').unwrap_or((auth, ""));
        (user.to_owned(), password.to_owned())
    });
    match (flags.text("token"), flags.text("token-file")) {
        ("", "") => match (
            host.var("CONSUL_HTTP_TOKEN"),
            host.var("CONSUL_HTTP_TOKEN_FILE"),
        ) {
            (Some(token), _) => token.clone_into(&mut config.token),
            (None, Some(file)) => config.token_from_file(Path::new(file))?,
            (None, None) => {}
        },
        ("", file) => config.token_from_file(Path::new(file))?,
        (token, _) => token.clone_into(&mut config.token),
    }
    Ok(config)
}
