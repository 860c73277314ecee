//! Flags of `agent`: the table, Go's rules for reading them, and their help text.
//!
//! In: arguments. Out: [`FlagValues`], kept for reloads: files, format, dev mode, `-hcl` texts, and two fragments of the
//! generic tree: lists, which come before files, and scalars and maps, which come after (config.md section 1).

use crate::schema::ROOT;
use crate::tree::{Object, Tree};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagKind {
    /// `-x`, `-x=false`.
    Bool,
    /// A number.
    Int,
    /// Text.
    String,
    /// Text, repeatable; values are appended.
    List,
    /// `key:value`, repeatable.
    Map,
    /// A path, repeatable; files and directories share one order.
    Path,
}

/// One flag.
#[derive(Debug, Clone, Copy)]
pub struct AgentFlag {
    /// Name without dashes.
    pub name: &'static str,
    /// Key it sets, dots between levels; empty for flags that are not keys.
    pub key: &'static str,
    /// What it takes.
    pub kind: FlagKind,
    /// One sentence for the help text.
    pub help: &'static str,
}

const fn flag(
    name: &'static str,
    key: &'static str,
    kind: FlagKind,
    help: &'static str,
) -> AgentFlag {
    AgentFlag {
        name,
        key,
        kind,
        help,
    }
}

use FlagKind::{Bool, Int, List, Map, Path, String as Str};

/// All flags, by name.
pub static AGENT_FLAGS: &[AgentFlag] = &[
    flag(
        "advertise",
        "advertise_addr",
        Str,
        "Address told to other agents.",
    ),
    flag(
        "advertise-wan",
        "advertise_addr_wan",
        Str,
        "Address told to agents of other datacenters.",
    ),
    flag(
        "allow-write-http-from",
        "http_config.allow_write_http_from",
        List,
        "Network that may write agent endpoints, as CIDR.",
    ),
    flag(
        "alt-domain",
        "alt_domain",
        Str,
        "Second DNS domain to answer for.",
    ),
    flag(
        "bind",
        "bind_addr",
        Str,
        "Address for communication within the cluster.",
    ),
    flag(
        "bootstrap",
        "bootstrap",
        Bool,
        "Let this server elect itself.",
    ),
    flag(
        "bootstrap-expect",
        "bootstrap_expect",
        Int,
        "Number of servers to wait for before the first election.",
    ),
    flag(
        "check_output_max_size",
        "check_output_max_size",
        Int,
        "Bytes of check output kept.",
    ),
    flag(
        "client",
        "client_addr",
        Str,
        "Addresses for HTTP, HTTPS, gRPC and DNS.",
    ),
    flag(
        "config-dir",
        "",
        Path,
        "Directory whose .json and .hcl files are read in order of their names.",
    ),
    flag(
        "config-file",
        "",
        Path,
        "Configuration file, .json or .hcl.",
    ),
    flag(
        "config-format",
        "",
        Str,
        "Format of all configuration files, 'hcl' or 'json'.",
    ),
    flag(
        "data-dir",
        "data_dir",
        Str,
        "Directory for the agent's state.",
    ),
    flag("datacenter", "datacenter", Str, "Datacenter of the agent."),
    flag(
        "default-query-time",
        "default_query_time",
        Str,
        "Wait of blocking queries that name none.",
    ),
    flag(
        "dev",
        "",
        Bool,
        "Development mode: one server, nothing on disk.",
    ),
    flag(
        "disable-host-node-id",
        "disable_host_node_id",
        Bool,
        "Draw a random node ID instead of deriving it from the host.",
    ),
    flag(
        "disable-keyring-file",
        "disable_keyring_file",
        Bool,
        "Keep gossip keys in memory only.",
    ),
    flag("dns-port", "ports.dns", Int, "Port of DNS."),
    flag("domain", "domain", Str, "DNS domain to answer for."),
    flag(
        "enable-local-script-checks",
        "enable_local_script_checks",
        Bool,
        "Allow script checks from configuration files.",
    ),
    flag(
        "enable-script-checks",
        "enable_script_checks",
        Bool,
        "Allow script checks from files and the API.",
    ),
    flag("encrypt", "encrypt", Str, "Gossip encryption key."),
    flag("grpc-port", "ports.grpc", Int, "Port of the gRPC API."),
    flag(
        "hcl",
        "",
        List,
        "Configuration text in HCL; wins over files and other flags.",
    ),
    flag("http-port", "ports.http", Int, "Port of the HTTP API."),
    flag("https-port", "ports.https", Int, "Port of the HTTPS API."),
    flag("join", "start_join", List, "Agent to join at start."),
    flag(
        "join-wan",
        "start_join_wan",
        List,
        "Server of another datacenter to join at start.",
    ),
    flag("log-file", "log_file", Str, "File for logs."),
    flag("log-json", "log_json", Bool, "Write logs as JSON."),
    flag(
        "log-level",
        "log_level",
        Str,
        "Lowest level that is logged.",
    ),
    flag(
        "log-rotate-bytes",
        "log_rotate_bytes",
        Int,
        "Size at which the log file is rotated.",
    ),
    flag(
        "log-rotate-duration",
        "log_rotate_duration",
        Str,
        "Age at which the log file is rotated.",
    ),
    flag(
        "log-rotate-max-files",
        "log_rotate_max_files",
        Int,
        "Number of old log files kept.",
    ),
    flag(
        "max-query-time",
        "max_query_time",
        Str,
        "Longest wait of a blocking query.",
    ),
    flag(
        "node",
        "node_name",
        Str,
        "Name of this node, unique in the cluster.",
    ),
    flag("node-id", "node_id", Str, "ID of this node."),
    flag(
        "node-meta",
        "node_meta",
        Map,
        "Metadata of this node, as key:value.",
    ),
    flag(
        "non-voting-server",
        "non_voting_server",
        Bool,
        "(Enterprise) Server without a vote.",
    ),
    flag("pid-file", "pid_file", Str, "File for the process ID."),
    flag(
        "primary-gateway",
        "primary_gateways",
        List,
        "Mesh gateway of the primary datacenter.",
    ),
    flag("protocol", "protocol", Int, "Protocol version."),
    flag(
        "raft-protocol",
        "raft_protocol",
        Int,
        "Raft protocol version.",
    ),
    flag("recursor", "recursors", List, "Upstream DNS server."),
    flag(
        "rejoin",
        "rejoin_after_leave",
        Bool,
        "Rejoin the cluster even after a leave.",
    ),
    flag(
        "retry-interval",
        "retry_interval",
        Str,
        "Time between tries to join.",
    ),
    flag(
        "retry-interval-wan",
        "retry_interval_wan",
        Str,
        "Time between tries to join the WAN.",
    ),
    flag(
        "retry-join",
        "retry_join",
        List,
        "Agent to join, with retries.",
    ),
    flag(
        "retry-join-wan",
        "retry_join_wan",
        List,
        "Server of another datacenter to join, with retries.",
    ),
    flag(
        "retry-max",
        "retry_max",
        Int,
        "Tries to join; 0 has no end.",
    ),
    flag(
        "retry-max-wan",
        "retry_max_wan",
        Int,
        "Tries to join the WAN; 0 has no end.",
    ),
    flag(
        "segment",
        "segment",
        Str,
        "(Enterprise) Network segment to join.",
    ),
    flag(
        "serf-lan-allowed-cidrs",
        "serf_lan_allowed_cidrs",
        List,
        "Network LAN gossip peers may come from, as CIDR.",
    ),
    flag(
        "serf-lan-bind",
        "serf_lan",
        Str,
        "Address of the LAN gossip listener.",
    ),
    flag(
        "serf-lan-port",
        "ports.serf_lan",
        Int,
        "Port of LAN gossip.",
    ),
    flag(
        "serf-wan-allowed-cidrs",
        "serf_wan_allowed_cidrs",
        List,
        "Network WAN gossip peers may come from, as CIDR.",
    ),
    flag(
        "serf-wan-bind",
        "serf_wan",
        Str,
        "Address of the WAN gossip listener.",
    ),
    flag(
        "serf-wan-port",
        "ports.serf_wan",
        Int,
        "Port of WAN gossip.",
    ),
    flag("server", "server", Bool, "Run as a server."),
    flag("server-port", "ports.server", Int, "Port of server RPC."),
    flag("syslog", "enable_syslog", Bool, "Send logs to syslog."),
    flag("ui", "ui", Bool, "Serve the browser interface."),
    flag(
        "ui-content-path",
        "ui_content_path",
        Str,
        "URL path of the browser interface.",
    ),
    flag(
        "ui-dir",
        "ui_dir",
        Str,
        "Directory with files of the browser interface.",
    ),
];

/// Why arguments are no flags of `agent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// `-h`, `-help` or `--help`: print [`help`] and exit 0.
    #[error("flag: help requested")]
    Help,
    /// No such flag.
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    /// The last argument needs a value.
    #[error("flag needs an argument: -{0}")]
    NoValue(String),
    /// Not of the form `-name`.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    /// A switch with a value that is neither true nor false.
    #[error(
        "invalid boolean value {value:?} for -{name}: strconv.ParseBool: parsing {value:?}: invalid syntax"
    )]
    NotBool {
        /// The flag.
        name: String,
        /// What it was given.
        value: String,
    },
    /// A number was needed.
    #[error(
        "invalid value {value:?} for flag -{name}: strconv.Atoi: parsing {value:?}: invalid syntax"
    )]
    NotInt {
        /// The flag.
        name: String,
        /// What it was given.
        value: String,
    },
}

/// The flags of one start of the agent.
#[derive(Debug, Clone, Default)]
pub struct FlagValues {
    /// `-dev`.
    pub dev: bool,
    /// `-config-file` and `-config-dir` in their order.
    pub config_paths: Vec<std::path::PathBuf>,
    /// `-config-format`.
    pub config_format: Option<String>,
    /// `-hcl` texts in their order.
    pub hcl: Vec<String>,
    /// Arguments after the flags; `agent` takes none.
    pub rest: Vec<String>,
    /// Flags whose value is a list: before files.
    pub(crate) lists: Object,
    /// The others: after files.
    pub(crate) scalars: Object,
}

/// Reads the arguments of `agent` (without the command's name).
pub fn parse_agent_flags<S: AsRef<str>>(args: &[S]) -> Result<FlagValues, FlagError> {
    let mut out = FlagValues::default();
    let mut args = args.iter().map(AsRef::as_ref);
    while let Some(arg) = args.next() {
        let body = match arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) {
            Some(body) if arg != "-" && arg != "--" => body,
            _ => {
                if arg != "--" {
                    out.rest.push(arg.to_owned());
                }
                out.rest.extend(args.map(str::to_owned));
                break;
            }
        };
        if body.starts_with('-') || body.starts_with('=') {
            return Err(FlagError::Syntax(arg.to_owned()));
        }
        let (name, inline) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        let Some(flag) = AGENT_FLAGS.iter().find(|f| f.name == name) else {
            let help = name == "h" || name == "help";
            return Err(if help {
                FlagError::Help
            } else {
                FlagError::Unknown(name.to_owned())
            });
        };
        let value = match (flag.kind, inline) {
            (_, Some(value)) => value.to_owned(),
            (Bool, None) => "true".to_owned(),
            (_, None) => args
                .next()
                .ok_or_else(|| FlagError::NoValue(name.to_owned()))?
                .to_owned(),
        };
        out.set(flag, value)?;
    }
    Ok(out)
}

impl FlagValues {
    fn set(&mut self, flag: &AgentFlag, value: String) -> Result<(), FlagError> {
        match (flag.name, flag.kind) {
            ("dev", _) => self.dev = parse_bool(flag.name, &value)?,
            ("config-format", _) => self.config_format = Some(value),
            ("hcl", _) => self.hcl.push(value),
            (_, Path) => self.config_paths.push(value.into()),
            (_, Bool) => put(
                &mut self.scalars,
                flag.key,
                Tree::Bool(parse_bool(flag.name, &value)?),
            ),
            (name, Int) => {
                let number = value.parse().map_err(|_| FlagError::NotInt {
                    name: name.to_owned(),
                    value: value.clone(),
                })?;
                put(&mut self.scalars, flag.key, Tree::Int(number));
            }
            (_, Str) => put(&mut self.scalars, flag.key, Tree::String(value)),
            (_, List) => put(
                &mut self.lists,
                flag.key,
                Tree::List(vec![Tree::String(value)]),
            ),
            (_, Map) => {
                let (key, value) = value.split_once(':').unwrap_or((&value, ""));
                let pair = Object::from([(key.to_owned(), Tree::String(value.to_owned()))]);
                put(&mut self.scalars, flag.key, Tree::Map(pair));
            }
        }
        Ok(())
    }

    /// Sets a text key as its flag would; for tests and programs that build configurations without files.
    pub fn set_flag(&mut self, name: &str, value: &str) -> Result<(), FlagError> {
        let flag = AGENT_FLAGS
            .iter()
            .find(|f| f.name == name)
            .ok_or_else(|| FlagError::Unknown(name.to_owned()))?;
        self.set(flag, value.to_owned())
    }
}

fn put(into: &mut Object, key: &str, value: Tree) {
    let fragment = match key.split_once('.') {
        None => Object::from([(key.to_owned(), value)]),
        Some((outer, inner)) => {
            let inner = Object::from([(inner.to_owned(), value)]);
            Object::from([(outer.to_owned(), Tree::Map(inner))])
        }
    };
    crate::merge::merge(into, fragment, &ROOT);
}

fn parse_bool(name: &str, value: &str) -> Result<bool, FlagError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(FlagError::NotBool {
            name: name.to_owned(),
            value: value.to_owned(),
        }),
    }
}

/// Help text of `agent`, without tabs.
pub fn help() -> String {
    let mut out = String::from(
        "Usage: consul agent [options]\n\n  Starts the agent and runs until an interrupt is received. The agent\n  \
         represents a single node in a cluster.\n\nCommand Options\n",
    );
    for flag in AGENT_FLAGS {
        let value = match flag.kind {
            Bool => "",
            Int | Str | List | Path => "=<value>",
            Map => "=<key:value>",
        };
        let more = if matches!(flag.kind, List | Map | Path) {
            " Can be given several times."
        } else {
            ""
        };
        out.push_str(&format!("\n  -{}{value}\n", flag.name));
        wrap(&mut out, &format!("{}{more}", flag.help));
    }
    out
}

fn wrap(out: &mut String, text: &str) {
    let mut column = 0;
    for word in text.split(' ') {
        if column == 0 || column + word.len() + 1 > 72 {
            if column > 0 {
                out.push('\n');
            }
            out.push_str("     ");
            column = 5;
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_follow_the_rules_of_go() {
        let got = parse_agent_flags(&[
            "-server",
            "--dev=false",
            "-node=a",
            "--http-port",
            "1",
            "-recursor",
            "1.1.1.1",
            "-recursor=2.2.2.2",
            "-node-meta",
            "k:v:w",
            "-config-dir",
            "d",
            "-config-file=f",
            "-hcl",
            "a=1",
            "--",
            "-x",
        ])
        .unwrap();
        assert!(!got.dev);
        assert_eq!(got.scalars["server"], Tree::Bool(true));
        assert_eq!(got.scalars["node_name"], Tree::String("a".into()));
        assert_eq!(
            got.scalars["ports"],
            Tree::Map(Object::from([("http".into(), Tree::Int(1))]))
        );
        assert_eq!(
            got.scalars["node_meta"],
            Tree::Map(Object::from([("k".into(), Tree::String("v:w".into()))]))
        );
        assert_eq!(
            got.lists["recursors"],
            Tree::List(vec![
                Tree::String("1.1.1.1".into()),
                Tree::String("2.2.2.2".into())
            ])
        );
        assert_eq!(got.config_paths, ["d", "f"].map(std::path::PathBuf::from));
        assert_eq!(got.rest, ["-x"]);
    }

    #[test]
    fn bad_flags_are_named() {
        for (args, want) in [
            (&["-x"][..], "flag provided but not defined: -x"),
            (
                &["--http-portx=1"],
                "flag provided but not defined: -http-portx",
            ),
            (&["-node"], "flag needs an argument: -node"),
            (&["-=1"], "bad flag syntax: -=1"),
            (&["---x"], "bad flag syntax: ---x"),
            (&["-help"], "flag: help requested"),
        ] {
            assert_eq!(
                parse_agent_flags(args).unwrap_err().to_string(),
                want,
                "{args:?}"
            );
        }
        assert!(parse_agent_flags(&["-server=maybe"]).is_err());
        assert!(parse_agent_flags(&["-http-port=x"]).is_err());
    }

    #[test]
    fn parsing_stops_at_the_first_argument_that_is_no_flag() {
        let got = parse_agent_flags(&["-dev", "foo", "-server"]).unwrap();
        assert_eq!(got.rest, ["foo", "-server"]);
        assert!(got.scalars.is_empty());
    }

    #[test]
    fn every_flag_sets_a_key_of_the_schema() {
        for flag in AGENT_FLAGS.iter().filter(|f| !f.key.is_empty()) {
            let (outer, inner) = flag.key.split_once('.').unwrap_or((flag.key, ""));
            let kind = ROOT.kind(outer).unwrap_or_else(|| panic!("{}", flag.name));
            if let crate::schema::Kind::Obj(schema) = kind {
                assert!(schema.kind(inner).is_some(), "{}", flag.name);
            }
        }
    }

    #[test]
    fn the_help_text_has_a_usage_line_and_no_tab() {
        let text = help();
        assert!(text.starts_with("Usage: "));
        assert!(!text.contains('\t'));
        assert!(text.lines().all(|l| l.len() <= 80));
    }
}
