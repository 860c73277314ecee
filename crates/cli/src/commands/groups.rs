//! Groups of commands, and the agent.

use crate::command::{Action, Api, Command};

const fn group(path: &'static str, synopsis: &'static str, about: &'static str) -> Command {
    Command {
        path,
        synopsis,
        usage: "<subcommand> [options] [args]",
        about,
        api: Api::None,
        flags: &[],
        action: Action::Group,
    }
}

pub(super) const COMMANDS: &[Command] = &[
    Command {
        path: "agent",
        synopsis: "Runs an agent",
        usage: "[options]",
        about: "Runs an agent, as a client or a server, until it is interrupted.",
        api: Api::None,
        flags: &[],
        action: Action::Agent,
    },
    group(
        "acl",
        "Works with access control",
        "Commands for tokens, policies, roles, auth methods and binding rules.\n\n$ {p} acl bootstrap\n$ {p} acl token list",
    ),
    group(
        "acl auth-method",
        "Works with auth methods",
        "Auth methods let outside identities log in for a token.",
    ),
    group(
        "acl binding-rule",
        "Works with binding rules",
        "Binding rules say which rights a login through an auth method gives.",
    ),
    group(
        "acl policy",
        "Works with policies",
        "Policies are named sets of rules that tokens and roles link to.",
    ),
    group(
        "acl role",
        "Works with roles",
        "Roles bundle policies and identities under one name.",
    ),
    group(
        "acl token",
        "Works with tokens",
        "Tokens carry the rights of whoever sends them.",
    ),
    group(
        "catalog",
        "Reads the catalog",
        "The catalog holds the nodes and services of a whole datacenter, whichever agent they belong to.\n\n$ {p} catalog datacenters\n$ {p} catalog nodes\n$ {p} catalog services",
    ),
    group(
        "config",
        "Works with configuration entries",
        "Configuration entries are settings kept by the servers for all agents.\n\n$ {p} config write web.hcl\n$ {p} config read -kind service-defaults -name web",
    ),
    group(
        "connect",
        "Works with the service mesh",
        "Certificate authority, proxies and gateways of the mesh.",
    ),
    group(
        "connect ca",
        "Works with the mesh's certificate authority",
        "Reads and changes the settings of the certificate authority.",
    ),
    group(
        "intention",
        "Works with intentions",
        "Intentions say which service may connect to which.\n\n$ {p} intention create web db\n$ {p} intention check web db",
    ),
    group(
        "kv",
        "Works with the key-value store",
        "Reads, writes and moves entries of the key-value store.\n\n$ {p} kv put redis/connections 5\n$ {p} kv get redis/connections\n$ {p} kv delete redis/connections",
    ),
    group(
        "operator",
        "Tools for operators of a cluster",
        "Looks at and changes the inner life of the servers. Used wrongly, these commands can stop a cluster or lose its data.",
    ),
    group(
        "operator autopilot",
        "Reads and changes autopilot's settings",
        "Autopilot removes dead servers and adds new ones with care.",
    ),
    group(
        "operator raft",
        "Shows and changes the Raft peers",
        "The Raft peers are the servers that keep the log together.",
    ),
    group(
        "services",
        "Registers and deregisters services",
        "Works on the services of the local agent; the catalog commands show those of all agents.",
    ),
    group(
        "snapshot",
        "Saves, restores and inspects the servers' state",
        "A snapshot holds everything the servers know at one moment: keys, catalog, sessions, prepared queries and access control.\n\n$ {p} snapshot save backup.snap\n$ {p} snapshot inspect backup.snap\n$ {p} snapshot restore backup.snap",
    ),
    group(
        "tls",
        "Makes certificate authorities and certificates",
        "Files for TLS between agents.\n\n$ {p} tls ca create\n$ {p} tls cert create -server",
    ),
    group(
        "tls ca",
        "Makes certificate authorities",
        "A certificate authority signs the certificates of a cluster's agents.",
    ),
    group(
        "tls cert",
        "Makes certificates",
        "Certificates for servers, clients and the command line.",
    ),
];
