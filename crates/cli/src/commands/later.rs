//! Commands of features that are not built yet: their names, flags and help. Running one says so and ends with 1.

use crate::{
    api_flags::NAMESPACE,
    command::{Action, Api, Command},
    flags::{Flag, Kind, flag},
};

const fn later(
    path: &'static str,
    synopsis: &'static str,
    usage: &'static str,
    about: &'static str,
    flags: &'static [Flag],
) -> Command {
    Command {
        path,
        synopsis,
        usage,
        about,
        api: Api::Cluster,
        flags,
        action: Action::Later,
    }
}

const fn local(command: Command, api: Api) -> Command {
    Command { api, ..command }
}

const FORMAT: Flag = flag(
    "format",
    Kind::Text,
    "Form of the output, pretty or json. Default: pretty.",
);
const META: Flag = flag("meta", Kind::Bool, "Show hash and indexes as well.");
const DESCRIPTION: Flag = flag("description", Kind::Text, "Description for people.");
const NAME: Flag = flag("name", Kind::Text, "Name.");
const ID: Flag = flag(
    "id",
    Kind::Text,
    "ID, or the beginning of it that no other has.",
);
const NO_MERGE: Flag = flag(
    "no-merge",
    Kind::Bool,
    "Replace everything in place of changing only what is given.",
);
const POLICY_ID: Flag = flag(
    "policy-id",
    Kind::List,
    "ID of a policy to link. Can be given several times.",
);
const POLICY_NAME: Flag = flag(
    "policy-name",
    Kind::List,
    "Name of a policy to link. Can be given several times.",
);
const ROLE_ID: Flag = flag(
    "role-id",
    Kind::List,
    "ID of a role to link. Can be given several times.",
);
const ROLE_NAME: Flag = flag(
    "role-name",
    Kind::List,
    "Name of a role to link. Can be given several times.",
);
const SERVICE_IDENTITY: Flag = flag(
    "service-identity",
    Kind::List,
    "Service whose usual rights to give, as NAME or NAME:DC1,DC2. Can be given several times.",
);
const NODE_IDENTITY: Flag = flag(
    "node-identity",
    Kind::List,
    "Node whose usual rights to give, as NAME:DC. Can be given several times.",
);
const RULES: Flag = flag(
    "rules",
    Kind::Text,
    "Rules, @FILE, or - for standard input.",
);
const VALID_DATACENTER: Flag = flag(
    "valid-datacenter",
    Kind::List,
    "Datacenter where the policy applies. Can be given several times.",
);
const METHOD_CONFIG: Flag = flag(
    "config",
    Kind::Text,
    "Settings of the method as JSON, @FILE, or - for standard input.",
);
const DISPLAY_NAME: Flag = flag("display-name", Kind::Text, "Name for people.");
const KUBERNETES_HOST: Flag = flag(
    "kubernetes-host",
    Kind::Text,
    "Address of the Kubernetes API, for the type kubernetes.",
);
const KUBERNETES_CA: Flag = flag(
    "kubernetes-ca-cert",
    Kind::Text,
    "Certificate authority of the Kubernetes API, text or @FILE.",
);
const KUBERNETES_JWT: Flag = flag(
    "kubernetes-service-account-jwt",
    Kind::Text,
    "Service account token for the Kubernetes API.",
);
const MAX_TTL: Flag = flag(
    "max-token-ttl",
    Kind::Duration,
    "Life of tokens made by logins.",
);
const LOCALITY: Flag = flag(
    "token-locality",
    Kind::Text,
    "Where tokens of logins are valid, local or global.",
);
const BIND_NAME: Flag = flag(
    "bind-name",
    Kind::Text,
    "Name of what to bind to; may use the login's variables.",
);
const BIND_TYPE: Flag = flag(
    "bind-type",
    Kind::Text,
    "What to bind to: service, node or role.",
);
const SELECTOR: Flag = flag(
    "selector",
    Kind::Text,
    "Expression over a login for which the rule applies.",
);
const KIND: Flag = flag("kind", Kind::Text, "Kind of the entry.");
const CAS: Flag = flag(
    "cas",
    Kind::Bool,
    "Write only if the entry is unchanged. Needs -modify-index.",
);
const MODIFY_INDEX: Flag = flag(
    "modify-index",
    Kind::Uint,
    "ModifyIndex that the entry must have, for -cas.",
);

pub(super) const COMMANDS: &[Command] = &[
    later(
        "acl auth-method create",
        "Creates an auth method",
        "-name NAME -type TYPE [options]",
        "Creates an auth method.",
        &[
            METHOD_CONFIG,
            DESCRIPTION,
            DISPLAY_NAME,
            FORMAT,
            KUBERNETES_CA,
            KUBERNETES_HOST,
            KUBERNETES_JWT,
            MAX_TTL,
            META,
            NAME,
            NAMESPACE,
            LOCALITY,
            flag("type", Kind::Text, "Type of the method."),
        ],
    ),
    later(
        "acl auth-method update",
        "Changes an auth method",
        "-name NAME [options]",
        "Changes an auth method.",
        &[
            METHOD_CONFIG,
            DESCRIPTION,
            DISPLAY_NAME,
            FORMAT,
            KUBERNETES_CA,
            KUBERNETES_HOST,
            KUBERNETES_JWT,
            MAX_TTL,
            META,
            NAME,
            NAMESPACE,
            NO_MERGE,
            LOCALITY,
        ],
    ),
    later(
        "acl auth-method read",
        "Shows an auth method",
        "-name NAME [options]",
        "Shows an auth method.",
        &[FORMAT, META, NAME, NAMESPACE],
    ),
    later(
        "acl auth-method list",
        "Lists auth methods",
        "[options]",
        "Lists auth methods.",
        &[FORMAT, META, NAMESPACE],
    ),
    later(
        "acl auth-method delete",
        "Deletes an auth method",
        "-name NAME [options]",
        "Deletes an auth method, and the tokens made by its logins.",
        &[NAME, NAMESPACE],
    ),
    later(
        "acl binding-rule create",
        "Creates a binding rule",
        "[options]",
        "Creates a binding rule.",
        &[
            BIND_NAME,
            BIND_TYPE,
            DESCRIPTION,
            FORMAT,
            META,
            flag(
                "method",
                Kind::Text,
                "Auth method that the rule belongs to.",
            ),
            NAMESPACE,
            SELECTOR,
        ],
    ),
    later(
        "acl binding-rule update",
        "Changes a binding rule",
        "-id ID [options]",
        "Changes a binding rule.",
        &[
            BIND_NAME,
            BIND_TYPE,
            DESCRIPTION,
            FORMAT,
            ID,
            META,
            NAMESPACE,
            NO_MERGE,
            SELECTOR,
        ],
    ),
    later(
        "acl binding-rule read",
        "Shows a binding rule",
        "-id ID [options]",
        "Shows a binding rule.",
        &[FORMAT, ID, META, NAMESPACE],
    ),
    later(
        "acl binding-rule list",
        "Lists binding rules",
        "[options]",
        "Lists binding rules.",
        &[
            FORMAT,
            META,
            flag("method", Kind::Text, "Only rules of this auth method."),
            NAMESPACE,
        ],
    ),
    later(
        "acl binding-rule delete",
        "Deletes a binding rule",
        "-id ID [options]",
        "Deletes a binding rule.",
        &[ID, NAMESPACE],
    ),
    later(
        "acl bootstrap",
        "Makes the first token",
        "[options]",
        "Makes the first management token. This works once.",
        &[FORMAT],
    ),
    later(
        "acl policy create",
        "Creates a policy",
        "-name NAME [options]",
        "Creates a policy.",
        &[
            DESCRIPTION,
            FORMAT,
            flag(
                "from-token",
                Kind::Text,
                "Take the rules of this legacy token.",
            ),
            META,
            NAME,
            NAMESPACE,
            RULES,
            flag(
                "token-secret",
                Kind::Bool,
                "-from-token is a secret, not an accessor.",
            ),
            VALID_DATACENTER,
        ],
    ),
    later(
        "acl policy update",
        "Changes a policy",
        "[options]",
        "Changes a policy.",
        &[
            DESCRIPTION,
            FORMAT,
            ID,
            META,
            NAME,
            NAMESPACE,
            NO_MERGE,
            RULES,
            VALID_DATACENTER,
        ],
    ),
    later(
        "acl policy read",
        "Shows a policy",
        "[options] POLICY",
        "Shows a policy.",
        &[FORMAT, ID, META, NAME, NAMESPACE],
    ),
    later(
        "acl policy list",
        "Lists policies",
        "[options]",
        "Lists policies.",
        &[FORMAT, META, NAMESPACE],
    ),
    later(
        "acl policy delete",
        "Deletes a policy",
        "[options] -id POLICY",
        "Deletes a policy.",
        &[ID, NAME, NAMESPACE],
    ),
    later(
        "acl role create",
        "Creates a role",
        "-name NAME [options]",
        "Creates a role.",
        &[
            DESCRIPTION,
            FORMAT,
            META,
            NAME,
            NAMESPACE,
            NODE_IDENTITY,
            POLICY_ID,
            POLICY_NAME,
            SERVICE_IDENTITY,
        ],
    ),
    later(
        "acl role update",
        "Changes a role",
        "[options]",
        "Changes a role.",
        &[
            DESCRIPTION,
            FORMAT,
            ID,
            META,
            NAME,
            NAMESPACE,
            NO_MERGE,
            NODE_IDENTITY,
            POLICY_ID,
            POLICY_NAME,
            SERVICE_IDENTITY,
        ],
    ),
    later(
        "acl role read",
        "Shows a role",
        "[options] ROLE",
        "Shows a role.",
        &[FORMAT, ID, META, NAME, NAMESPACE],
    ),
    later(
        "acl role list",
        "Lists roles",
        "[options]",
        "Lists roles.",
        &[FORMAT, META, NAMESPACE],
    ),
    later(
        "acl role delete",
        "Deletes a role",
        "[options] -id ROLE",
        "Deletes a role.",
        &[ID, NAME, NAMESPACE],
    ),
    later(
        "acl token create",
        "Creates a token",
        "[options]",
        "Creates a token.",
        &[
            flag(
                "accessor",
                Kind::Text,
                "Accessor ID to use in place of a new one.",
            ),
            DESCRIPTION,
            flag("expires-ttl", Kind::Duration, "Life of the token."),
            FORMAT,
            flag("local", Kind::Bool, "Valid only in this datacenter."),
            META,
            NAMESPACE,
            NODE_IDENTITY,
            POLICY_ID,
            POLICY_NAME,
            ROLE_ID,
            ROLE_NAME,
            flag("secret", Kind::Text, "Secret to use in place of a new one."),
            SERVICE_IDENTITY,
        ],
    ),
    later(
        "acl token update",
        "Changes a token",
        "[options]",
        "Changes a token.",
        &[
            DESCRIPTION,
            FORMAT,
            ID,
            flag(
                "merge-node-identities",
                Kind::Bool,
                "Add to the node identities in place of replacing them.",
            ),
            flag(
                "merge-policies",
                Kind::Bool,
                "Add to the policies in place of replacing them.",
            ),
            flag(
                "merge-roles",
                Kind::Bool,
                "Add to the roles in place of replacing them.",
            ),
            flag(
                "merge-service-identities",
                Kind::Bool,
                "Add to the service identities in place of replacing them.",
            ),
            META,
            NAMESPACE,
            NODE_IDENTITY,
            POLICY_ID,
            POLICY_NAME,
            ROLE_ID,
            ROLE_NAME,
            SERVICE_IDENTITY,
            flag(
                "upgrade-legacy",
                Kind::Bool,
                "Turn a legacy token into a new one with the given policies.",
            ),
        ],
    ),
    later(
        "acl token read",
        "Shows a token",
        "[options] -id TOKENID",
        "Shows a token.",
        &[
            FORMAT,
            ID,
            META,
            NAMESPACE,
            flag(
                "self",
                Kind::Bool,
                "Show the token that the request is made with.",
            ),
        ],
    ),
    later(
        "acl token list",
        "Lists tokens",
        "[options]",
        "Lists tokens, without their secrets.",
        &[FORMAT, META, NAMESPACE],
    ),
    later(
        "acl token clone",
        "Copies a token",
        "[options]",
        "Makes a token with the rights of another.",
        &[DESCRIPTION, FORMAT, ID, NAMESPACE],
    ),
    later(
        "acl token delete",
        "Deletes a token",
        "[options] -id TOKEN",
        "Deletes a token.",
        &[ID, NAMESPACE],
    ),
    later(
        "acl set-agent-token",
        "Gives the agent a token",
        "[options] TYPE TOKEN",
        "Gives the agent a token to use itself. TYPE is default, agent, master or replication.",
        &[],
    ),
    later(
        "acl translate-rules",
        "Turns old rules into new ones",
        "[options] TRANSLATE",
        "Turns rules of the old syntax into the new one. TRANSLATE is the rules, @FILE, or - for standard input.",
        &[
            flag(
                "token-accessor",
                Kind::Bool,
                "TRANSLATE is the accessor of a token whose rules to turn.",
            ),
            flag(
                "token-secret",
                Kind::Bool,
                "TRANSLATE is the secret of such a token.",
            ),
        ],
    ),
    later(
        "config write",
        "Writes an entry",
        "[options] <configuration>",
        "Creates or replaces a configuration entry from a file, or from standard input for -.",
        &[CAS, MODIFY_INDEX, NAMESPACE],
    ),
    later(
        "config read",
        "Shows an entry",
        "[options] -kind <config kind> -name <config name>",
        "Shows a configuration entry as JSON.",
        &[KIND, NAME, NAMESPACE],
    ),
    later(
        "config list",
        "Lists the entries of a kind",
        "[options] -kind <config kind>",
        "Lists the names of all entries of a kind.",
        &[KIND, NAMESPACE],
    ),
    later(
        "config delete",
        "Deletes an entry",
        "[options] -kind <config kind> -name <config name>",
        "Deletes a configuration entry.",
        &[KIND, NAME, NAMESPACE],
    ),
    later(
        "connect ca get-config",
        "Shows the authority's settings",
        "[options]",
        "Shows the settings of the mesh's certificate authority.",
        &[],
    ),
    later(
        "connect ca set-config",
        "Changes the authority's settings",
        "[options]",
        "Changes the settings of the mesh's certificate authority.",
        &[flag(
            "config-file",
            Kind::List,
            "File with the settings as JSON.",
        )],
    ),
    local(
        later(
            "connect envoy",
            "Runs or configures Envoy as a proxy",
            "[options]",
            "Prints the configuration that Envoy starts with, or starts Envoy with it.",
            &[
                flag(
                    "address",
                    Kind::List,
                    "LAN address of a gateway to register.",
                ),
                flag(
                    "admin-access-log-path",
                    Kind::Text,
                    "Log of Envoy's admin server. Default: /dev/null.",
                ),
                flag(
                    "admin-bind",
                    Kind::Text,
                    "Address of Envoy's admin server. Default: localhost:19000.",
                ),
                flag(
                    "bind-address",
                    Kind::List,
                    "Address for a gateway to listen on, as NAME=IP:PORT. Can be given several times.",
                ),
                flag(
                    "bootstrap",
                    Kind::Bool,
                    "Print the configuration and do not start Envoy.",
                ),
                flag(
                    "deregister-after-critical",
                    Kind::Text,
                    "When to deregister a gateway that stays critical. Default: 6h.",
                ),
                flag(
                    "envoy-binary",
                    Kind::Text,
                    "Envoy's program; found in PATH unless given.",
                ),
                flag(
                    "envoy-version",
                    Kind::Text,
                    "Version of Envoy to write for. Default: 1.14.5.",
                ),
                flag(
                    "expose-servers",
                    Kind::Bool,
                    "Let a mesh gateway expose the servers.",
                ),
                flag(
                    "gateway",
                    Kind::Text,
                    "Kind of gateway: mesh, ingress or terminating.",
                ),
                flag(
                    "grpc-addr",
                    Kind::Text,
                    "Address of the agent's gRPC port. Environment: CONSUL_GRPC_ADDR.",
                ),
                flag("mesh-gateway", Kind::Bool, "Old form of -gateway=mesh."),
                NAMESPACE,
                flag(
                    "no-central-config",
                    Kind::Bool,
                    "Leave the servers' proxy defaults aside.",
                ),
                flag("proxy-id", Kind::Text, "ID of the proxy service."),
                flag("register", Kind::Bool, "Register the gateway first."),
                flag("service", Kind::Text, "Name to register the gateway under."),
                flag(
                    "sidecar-for",
                    Kind::Text,
                    "ID of the service whose sidecar this is.",
                ),
                flag(
                    "wan-address",
                    Kind::List,
                    "WAN address of a gateway to register.",
                ),
            ],
        ),
        Api::Local,
    ),
    local(
        later(
            "connect envoy pipe-bootstrap",
            "",
            "",
            "For connect envoy's own use.",
            &[],
        ),
        Api::None,
    ),
    later(
        "connect expose",
        "Exposes a service through an ingress gateway",
        "[options]",
        "Adds a service to an ingress gateway and allows the gateway to reach it.",
        &[
            flag(
                "host",
                Kind::List,
                "Host names to expose it under. Can be given several times.",
            ),
            flag("ingress-gateway", Kind::Text, "Name of the gateway."),
            flag("port", Kind::Int, "Port of the gateway's listener."),
            flag(
                "protocol",
                Kind::Text,
                "Protocol of the listener. Default: tcp.",
            ),
            flag("service", Kind::Text, "Service to expose."),
        ],
    ),
    later(
        "connect proxy",
        "Runs the built-in proxy",
        "[options]",
        "Runs the built-in proxy of the mesh.",
        &[
            flag("listen", Kind::Text, "Address for incoming connections."),
            flag("log-json", Kind::Bool, "Log as JSON."),
            flag(
                "log-level",
                Kind::Text,
                "Lowest level to log. Default: INFO.",
            ),
            flag("pprof-addr", Kind::Text, "Address of the profiling server."),
            flag("proxy-id", Kind::Text, "ID of the proxy service."),
            flag("register", Kind::Bool, "Register the proxy as a service."),
            flag("register-id", Kind::Text, "ID to register it under."),
            flag("service", Kind::Text, "Service that the proxy stands for."),
            flag("service-addr", Kind::Text, "Address of that service."),
            flag(
                "sidecar-for",
                Kind::Text,
                "ID of the service whose sidecar this is.",
            ),
            flag(
                "upstream",
                Kind::List,
                "Service to reach, as NAME:ADDRESS. Can be given several times.",
            ),
        ],
    ),
    later(
        "intention check",
        "Says whether a connection is allowed",
        "[options] SRC DST",
        "Says whether one service may connect to another. Ends with 1 when it may not.",
        &[],
    ),
    later(
        "intention create",
        "Creates an intention",
        "[options] SRC DST",
        "Creates an intention that allows or denies connections from one service to another.",
        &[
            flag("allow", Kind::Bool, "Allow the connections. The default."),
            flag("deny", Kind::Bool, "Deny the connections."),
            flag(
                "file",
                Kind::Bool,
                "The arguments are files with intentions as JSON.",
            ),
            flag(
                "meta",
                Kind::Pairs,
                "Metadata as key=value. Can be given several times.",
            ),
            flag("replace", Kind::Bool, "Replace an intention that exists."),
        ],
    ),
    later(
        "intention delete",
        "Deletes an intention",
        "[options] SRC DST",
        "Deletes an intention, by its services or its ID.",
        &[],
    ),
    later(
        "intention get",
        "Shows an intention",
        "[options] SRC DST",
        "Shows an intention, by its services or its ID.",
        &[],
    ),
    later(
        "intention match",
        "Shows the intentions of a service",
        "[options] SRC|DST",
        "Shows the intentions that apply to a service, the strongest first.",
        &[
            flag(
                "destination",
                Kind::Bool,
                "The service is the destination. The default.",
            ),
            flag("source", Kind::Bool, "The service is the source."),
        ],
    ),
    later(
        "login",
        "Logs in through an auth method",
        "[options]",
        "Exchanges a credential of another system for a token.",
        &[
            flag("bearer-token-file", Kind::Text, "File with the credential."),
            flag(
                "meta",
                Kind::Pairs,
                "Metadata as key=value. Can be given several times.",
            ),
            flag("method", Kind::Text, "Auth method."),
            NAMESPACE,
            flag(
                "token-sink-file",
                Kind::Text,
                "File to put the token's secret into.",
            ),
            flag(
                "type",
                Kind::Text,
                "Type of the auth method; an Enterprise feature.",
            ),
        ],
    ),
    later(
        "logout",
        "Gives a login's token back",
        "[options]",
        "Destroys the token that the request is made with, if a login made it.",
        &[],
    ),
    local(
        later(
            "tls ca create",
            "Makes a certificate authority",
            "[options]",
            "Makes a certificate authority: a certificate and its key, in two files.",
            &[
                flag(
                    "additional-name-constraint",
                    Kind::List,
                    "A further DNS domain that it may sign for. Can be given several times.",
                ),
                flag("days", Kind::Int, "How long it is valid. Default: 1825."),
                flag("domain", Kind::Text, "DNS domain. Default: consul."),
                flag(
                    "name-constraint",
                    Kind::Bool,
                    "Let it sign only for the domain and localhost.",
                ),
            ],
        ),
        Api::None,
    ),
];
