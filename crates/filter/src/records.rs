//! How the records of the catalog look to filters: [`Fields`] for the domain types, with the names
//! of [`crate::schemas`]. Blocks a record leaves out because they are all default are seen with
//! their default values.

use std::sync::LazyLock;

use tribune_types::catalog::{Check, Node, Service, ServiceAddress, Weights};
use tribune_types::proxy::{ExposeConfig, ExposePath, ProxyConfig, Upstream};
use tribune_types::query::{Instance, NodeDump};
use tribune_types::text::{Text, TextMap};

use crate::schema::{Field, Fields, StrMap};

type Test<'t> = &'t mut dyn FnMut(&dyn Fields) -> bool;

impl StrMap for TextMap {
    fn value(&self, key: &str) -> Option<&str> {
        self.get(key).map(|value| &**value)
    }
    fn none(&self) -> bool {
        self.is_empty()
    }
}

static NO_TEXTS: TextMap = TextMap::new();
static NO_PROXY: LazyLock<ProxyConfig> = LazyLock::new(ProxyConfig::default);

fn map(map: &Option<TextMap>) -> Field<'_> {
    Field::StrMap(map.as_ref().unwrap_or(&NO_TEXTS))
}

fn node_id(node: &Node) -> Field<'_> {
    node.id
        .map_or(Field::Str(""), |id| Field::Ascii(id.encode()))
}

fn proxy(service: &Service) -> &ProxyConfig {
    service.proxy.as_deref().unwrap_or(&NO_PROXY)
}

fn address_entry(service: &Service, key: &str, test: Test<'_>) -> Option<bool> {
    let (_, address) = service
        .tagged_addresses
        .iter()
        .find(|(name, _)| &**name == key)?;
    Some(test(address))
}

fn any<'a, T: Fields + 'a>(items: impl IntoIterator<Item = &'a T>, test: Test<'_>) -> bool {
    items.into_iter().any(|item| test(item))
}

impl Fields for Node {
    fn field(&self, name: &str) -> Field<'_> {
        match name {
            "ID" => node_id(self),
            "Node" => Field::Str(&self.name),
            "Address" => Field::Str(&self.address),
            "Datacenter" => Field::Str(&self.datacenter),
            "TaggedAddresses" => map(&self.tagged_addresses),
            "Meta" => map(&self.meta),
            _ => Field::Absent,
        }
    }
}

impl Fields for Service {
    fn field(&self, name: &str) -> Field<'_> {
        match name {
            "Kind" => Field::Str(self.kind.as_str()),
            "ID" => Field::Str(&self.id),
            "Service" => Field::Str(&self.name),
            "Tags" => Field::StrList(&self.tags),
            "Address" => Field::Str(&self.address),
            "TaggedAddresses" => Field::Structs(self.tagged_addresses.len()),
            "Meta" => map(&self.meta),
            "Port" => Field::Int(self.port),
            "Weights" if self.weights.is_none() => Field::Absent,
            "Weights" | "Proxy" | "Connect" => Field::Structs(1),
            "EnableTagOverride" => Field::Bool(self.enable_tag_override),
            _ => Field::Absent,
        }
    }

    fn each(&self, name: &str, test: Test<'_>) -> bool {
        match name {
            "Weights" => any(&self.weights, test),
            "Proxy" => test(proxy(self)),
            "Connect" => test(&Connect(self.connect_native)),
            _ => false,
        }
    }

    fn entry(&self, name: &str, key: &str, test: Test<'_>) -> Option<bool> {
        if name == "TaggedAddresses" {
            address_entry(self, key, test)
        } else {
            None
        }
    }
}

/// A service instance with its node, seen as one flat record ([`crate::schemas::SERVICE_NODE`]).
#[derive(Debug, Clone, Copy)]
pub struct ServiceNode<'a>(pub &'a Node, pub &'a Service);

impl Fields for ServiceNode<'_> {
    fn field(&self, name: &str) -> Field<'_> {
        match name {
            "NodeMeta" => map(&self.0.meta),
            "ServiceName" => Field::Str(&self.1.name),
            "ID" | "Node" | "Address" | "Datacenter" | "TaggedAddresses" => self.0.field(name),
            _ => name
                .strip_prefix("Service")
                .map_or(Field::Absent, |name| self.1.field(name)),
        }
    }

    fn each(&self, name: &str, test: Test<'_>) -> bool {
        name.strip_prefix("Service")
            .is_some_and(|name| self.1.each(name, test))
    }

    fn entry(&self, name: &str, key: &str, test: Test<'_>) -> Option<bool> {
        self.1.entry(name.strip_prefix("Service")?, key, test)
    }
}

impl Fields for Check {
    fn field(&self, name: &str) -> Field<'_> {
        match name {
            "Node" => Field::Str(&self.node),
            "CheckID" => Field::Str(&self.id),
            "Name" => Field::Str(&self.name),
            "Status" => Field::Str(self.status.as_str()),
            "Notes" => Field::Str(&self.notes),
            "Output" => Field::Str(&self.output),
            "ServiceID" => Field::Str(&self.service_id),
            "ServiceName" => Field::Str(&self.service_name),
            "ServiceTags" => Field::StrList(&self.service_tags),
            "Type" => Field::Str(&self.check_type),
            _ => Field::Absent,
        }
    }
}

impl Fields for Instance {
    fn field(&self, name: &str) -> Field<'_> {
        match name {
            "Node" | "Service" => Field::Structs(1),
            "Checks" => Field::Structs(self.checks.len()),
            _ => Field::Absent,
        }
    }

    fn each(&self, name: &str, test: Test<'_>) -> bool {
        match name {
            "Node" => test(&self.node),
            "Service" => test(&self.service),
            "Checks" => any(self.checks.iter(), test),
            _ => false,
        }
    }
}

impl Fields for NodeDump {
    fn field(&self, name: &str) -> Field<'_> {
        match name {
            "Services" => Field::Structs(self.services.len()),
            "Checks" => Field::Structs(self.checks.len()),
            _ => self.node.field(name),
        }
    }

    fn each(&self, name: &str, test: Test<'_>) -> bool {
        match name {
            "Services" => any(&self.services, test),
            "Checks" => any(&self.checks, test),
            _ => false,
        }
    }
}

impl Fields for ServiceAddress {
    fn field(&self, name: &str) -> Field<'_> {
        match name {
            "Address" => Field::Str(&self.address),
            "Port" => Field::Int(self.port),
            _ => Field::Absent,
        }
    }
}

impl Fields for Weights {
    fn field(&self, name: &str) -> Field<'_> {
        match name {
            "Passing" => Field::Int(self.passing),
            "Warning" => Field::Int(self.warning),
            _ => Field::Absent,
        }
    }
}

struct Connect(bool);

impl Fields for Connect {
    fn field(&self, name: &str) -> Field<'_> {
        if name == "Native" {
            Field::Bool(self.0)
        } else {
            Field::Absent
        }
    }
}

struct MeshGateway<'a>(&'a Text);

impl Fields for MeshGateway<'_> {
    fn field(&self, name: &str) -> Field<'_> {
        if name == "Mode" {
            Field::Str(self.0)
        } else {
            Field::Absent
        }
    }
}

impl Fields for ProxyConfig {
    fn field(&self, name: &str) -> Field<'_> {
        match name {
            "DestinationServiceName" => Field::Str(&self.destination_service_name),
            "DestinationServiceID" => Field::Str(&self.destination_service_id),
            "LocalServiceAddress" => Field::Str(&self.local_service_address),
            "LocalServicePort" => Field::Int(self.local_service_port),
            "Upstreams" => Field::Structs(self.upstreams.as_ref().map_or(0, Vec::len)),
            "MeshGateway" | "Expose" => Field::Structs(1),
            _ => Field::Absent,
        }
    }

    fn each(&self, name: &str, test: Test<'_>) -> bool {
        match name {
            "Upstreams" => any(self.upstreams.iter().flatten(), test),
            "MeshGateway" => test(&MeshGateway(&self.mesh_gateway_mode)),
            "Expose" => test(&self.expose),
            _ => false,
        }
    }
}

impl Fields for Upstream {
    fn field(&self, name: &str) -> Field<'_> {
        match name {
            "DestinationType" => Field::Str(&self.destination_type),
            "DestinationNamespace" => Field::Str(&self.destination_namespace),
            "DestinationName" => Field::Str(&self.destination_name),
            "Datacenter" => Field::Str(&self.datacenter),
            "LocalBindAddress" => Field::Str(&self.local_bind_address),
            "LocalBindPort" => Field::Int(self.local_bind_port),
            "MeshGateway" => Field::Structs(1),
            _ => Field::Absent,
        }
    }

    fn each(&self, name: &str, test: Test<'_>) -> bool {
        name == "MeshGateway" && test(&MeshGateway(&self.mesh_gateway_mode))
    }
}

impl Fields for ExposeConfig {
    fn field(&self, name: &str) -> Field<'_> {
        match name {
            "Checks" => Field::Bool(self.checks),
            "Paths" => Field::Structs(self.paths.as_ref().map_or(0, Vec::len)),
            _ => Field::Absent,
        }
    }

    fn each(&self, name: &str, test: Test<'_>) -> bool {
        name == "Paths" && any(self.paths.iter().flatten(), test)
    }
}

impl Fields for ExposePath {
    fn field(&self, name: &str) -> Field<'_> {
        match name {
            "ListenerPort" => Field::Int(self.listener_port),
            "Path" => Field::Str(&self.path),
            "LocalPathPort" => Field::Int(self.local_path_port),
            "Protocol" => Field::Str(&self.protocol),
            "ParsedFromCheck" => Field::Bool(self.parsed_from_check),
            _ => Field::Absent,
        }
    }
}
