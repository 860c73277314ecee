//! The selectors each filtered endpoint knows (spec agent.md section 10). A record type of another
//! crate implements [`crate::Fields`] with these names.

use crate::schema::Kind::{
    Bool, Number, String, StringList, StringMap, Struct, StructList, StructMap,
};
use crate::schema::Schema;

/// A node: `/v1/catalog/nodes`.
pub static NODE: Schema = Schema {
    fields: &[
        ("ID", String),
        ("Node", String),
        ("Address", String),
        ("Datacenter", String),
        ("TaggedAddresses", StringMap),
        ("Meta", StringMap),
    ],
};

/// A node with what runs on it: `/v1/internal/ui/nodes`.
pub static NODE_INFO: Schema = Schema {
    fields: &[
        ("ID", String),
        ("Node", String),
        ("Address", String),
        ("TaggedAddresses", StringMap),
        ("Meta", StringMap),
        ("Services", StructList(&NODE_SERVICE)),
        ("Checks", StructList(&HEALTH_CHECK)),
    ],
};

/// A service instance with its node: `/v1/catalog/service/`, `/v1/catalog/connect/`.
pub static SERVICE_NODE: Schema = Schema {
    fields: &[
        ("ID", String),
        ("Node", String),
        ("Address", String),
        ("Datacenter", String),
        ("TaggedAddresses", StringMap),
        ("NodeMeta", StringMap),
        ("ServiceKind", String),
        ("ServiceID", String),
        ("ServiceName", String),
        ("ServiceTags", StringList),
        ("ServiceAddress", String),
        ("ServiceTaggedAddresses", StructMap(&SERVICE_ADDRESS)),
        ("ServiceWeights", Struct(&WEIGHTS)),
        ("ServiceMeta", StringMap),
        ("ServicePort", Number),
        ("ServiceEnableTagOverride", Bool),
        ("ServiceProxy", Struct(&PROXY)),
        ("ServiceConnect", Struct(&CONNECT)),
    ],
};

/// A service instance alone: `/v1/catalog/node/`, `/v1/catalog/node-services/`,
/// `/v1/agent/services`.
pub static NODE_SERVICE: Schema = Schema {
    fields: &[
        ("Kind", String),
        ("ID", String),
        ("Service", String),
        ("Tags", StringList),
        ("Address", String),
        ("TaggedAddresses", StructMap(&SERVICE_ADDRESS)),
        ("Meta", StringMap),
        ("Port", Number),
        ("Weights", Struct(&WEIGHTS)),
        ("EnableTagOverride", Bool),
        ("Proxy", Struct(&PROXY)),
        ("Connect", Struct(&CONNECT)),
    ],
};

/// A check: `/v1/health/node/`, `/v1/health/checks/`, `/v1/health/state/`, `/v1/agent/checks`.
pub static HEALTH_CHECK: Schema = Schema {
    fields: &[
        ("Node", String),
        ("CheckID", String),
        ("Name", String),
        ("Status", String),
        ("Notes", String),
        ("Output", String),
        ("ServiceID", String),
        ("ServiceName", String),
        ("ServiceTags", StringList),
        ("Type", String),
    ],
};

/// An instance with its node and checks: `/v1/health/service/`, `/v1/health/connect/`,
/// `/v1/health/ingress/`, resolver subsets.
pub static CHECK_SERVICE_NODE: Schema = Schema {
    fields: &[
        ("Node", Struct(&NODE)),
        ("Service", Struct(&NODE_SERVICE)),
        ("Checks", StructList(&HEALTH_CHECK)),
    ],
};

/// An address of a service.
pub static SERVICE_ADDRESS: Schema = Schema {
    fields: &[("Address", String), ("Port", Number)],
};

/// DNS weights of a service.
pub static WEIGHTS: Schema = Schema {
    fields: &[("Passing", Number), ("Warning", Number)],
};

/// The Connect block of a service.
pub static CONNECT: Schema = Schema {
    fields: &[("Native", Bool)],
};

/// The proxy block of a service.
pub static PROXY: Schema = Schema {
    fields: &[
        ("DestinationServiceName", String),
        ("DestinationServiceID", String),
        ("LocalServiceAddress", String),
        ("LocalServicePort", Number),
        ("Upstreams", StructList(&UPSTREAM)),
        ("MeshGateway", Struct(&MESH_GATEWAY)),
        ("Expose", Struct(&EXPOSE)),
    ],
};

/// An upstream of a proxy.
pub static UPSTREAM: Schema = Schema {
    fields: &[
        ("DestinationType", String),
        ("DestinationNamespace", String),
        ("DestinationName", String),
        ("Datacenter", String),
        ("LocalBindAddress", String),
        ("LocalBindPort", Number),
        ("MeshGateway", Struct(&MESH_GATEWAY)),
    ],
};

/// The mesh gateway block of a proxy or upstream.
pub static MESH_GATEWAY: Schema = Schema {
    fields: &[("Mode", String)],
};

/// The expose block of a proxy.
pub static EXPOSE: Schema = Schema {
    fields: &[("Checks", Bool), ("Paths", StructList(&EXPOSE_PATH))],
};

/// A path a proxy exposes.
pub static EXPOSE_PATH: Schema = Schema {
    fields: &[
        ("ListenerPort", Number),
        ("Path", String),
        ("LocalPathPort", Number),
        ("Protocol", String),
        ("ParsedFromCheck", Bool),
    ],
};

/// An intention: `/v1/connect/intentions`.
pub static INTENTION: Schema = Schema {
    fields: &[
        ("ID", String),
        ("Description", String),
        ("SourceNS", String),
        ("SourceName", String),
        ("DestinationNS", String),
        ("DestinationName", String),
        ("SourceType", String),
        ("Action", String),
        ("DefaultAddr", String),
        ("DefaultPort", Number),
        ("Precedence", Number),
        ("Meta", StringMap),
    ],
};
