//! Proxy blocks, tagged addresses and weights of services. Strict, with snake-case aliases where Consul has them.

use std::collections::BTreeMap;

use tribune_types::catalog::{ServiceAddress, Weights};
use tribune_types::proxy::{ExposeConfig, ExposePath, ProxyConfig, Upstream};
use tribune_types::text::{Text, text};

use super::decode::{At, boolean, fields, int, list, lower, opaque_map, string, unknown};
use crate::json::{Json, JsonError};

/// A proxy block; `None` for `null` or a block that is all default.
///
/// Decoders of its own stand between this block and the body, so errors inside name the outer field only.
pub(super) fn proxy(value: &Json<'_>, at: At<'_>) -> Result<Option<Box<ProxyConfig>>, JsonError> {
    let Some(pairs) = fields(value, at, "structs.ConnectProxyConfig")? else {
        return Ok(None);
    };
    let mut proxy = ProxyConfig::default();
    for (name, value) in pairs {
        match &*lower(name) {
            "destinationservicename" | "destination_service_name" => {
                string(&mut proxy.destination_service_name, value, at)?
            }
            "destinationserviceid" | "destination_service_id" => {
                string(&mut proxy.destination_service_id, value, at)?
            }
            "localserviceaddress" | "local_service_address" => {
                string(&mut proxy.local_service_address, value, at)?
            }
            "localserviceport" | "local_service_port" => {
                int(&mut proxy.local_service_port, value, at)?
            }
            "config" => proxy.config = opaque_map(value, at)?,
            "upstreams" => {
                proxy.upstreams = match list(value, at, "structs.Upstreams")? {
                    None => None,
                    Some(items) => Some(
                        items
                            .iter()
                            .map(|item| upstream(item, at))
                            .collect::<Result<_, _>>()?,
                    ),
                };
            }
            "meshgateway" | "mesh_gateway" => {
                mesh_gateway(&mut proxy.mesh_gateway_mode, value, at)?
            }
            "expose" => proxy.expose = expose(value, at)?,
            _ => return Err(unknown(name)),
        }
    }
    Ok(if proxy == ProxyConfig::default() {
        None
    } else {
        Some(Box::new(proxy))
    })
}

fn upstream(value: &Json<'_>, at: At<'_>) -> Result<Upstream, JsonError> {
    let mut up = Upstream::default();
    for (name, value) in fields(value, at, "structs.Upstream")?.unwrap_or_default() {
        match &*lower(name) {
            "destinationtype" | "destination_type" => string(&mut up.destination_type, value, at)?,
            "destinationnamespace" | "destination_namespace" => {
                string(&mut up.destination_namespace, value, at)?
            }
            "destinationname" | "destination_name" => string(&mut up.destination_name, value, at)?,
            "datacenter" => string(&mut up.datacenter, value, at)?,
            "localbindaddress" | "local_bind_address" => {
                string(&mut up.local_bind_address, value, at)?
            }
            "localbindport" | "local_bind_port" => int(&mut up.local_bind_port, value, at)?,
            "config" => up.config = opaque_map(value, at)?,
            "meshgateway" | "mesh_gateway" => mesh_gateway(&mut up.mesh_gateway_mode, value, at)?,
            _ => return Err(unknown(name)),
        }
    }
    Ok(up)
}

fn mesh_gateway(mode: &mut Text, value: &Json<'_>, at: At<'_>) -> Result<(), JsonError> {
    for (name, value) in fields(value, at, "structs.MeshGatewayConfig")?.unwrap_or_default() {
        match &*lower(name) {
            "mode" => string(mode, value, at)?,
            _ => return Err(unknown(name)),
        }
    }
    Ok(())
}

fn expose(value: &Json<'_>, at: At<'_>) -> Result<ExposeConfig, JsonError> {
    let mut config = ExposeConfig::default();
    for (name, value) in fields(value, at, "structs.ExposeConfig")?.unwrap_or_default() {
        match &*lower(name) {
            "checks" => boolean(&mut config.checks, value, at)?,
            "paths" => {
                config.paths = match list(value, at, "[]structs.ExposePath")? {
                    None => None,
                    Some(items) => Some(
                        items
                            .iter()
                            .map(|item| expose_path(item, at))
                            .collect::<Result<_, _>>()?,
                    ),
                };
            }
            _ => return Err(unknown(name)),
        }
    }
    Ok(config)
}

fn expose_path(value: &Json<'_>, at: At<'_>) -> Result<ExposePath, JsonError> {
    let mut path = ExposePath::default();
    for (name, value) in fields(value, at, "structs.ExposePath")?.unwrap_or_default() {
        match &*lower(name) {
            "listenerport" | "listener_port" => int(&mut path.listener_port, value, at)?,
            "path" => string(&mut path.path, value, at)?,
            "localpathport" | "local_path_port" => int(&mut path.local_path_port, value, at)?,
            "protocol" => string(&mut path.protocol, value, at)?,
            "parsedfromcheck" => boolean(&mut path.parsed_from_check, value, at)?,
            _ => return Err(unknown(name)),
        }
    }
    Ok(path)
}

/// Named addresses, sorted by name.
pub(super) fn tagged_addresses(
    value: &Json<'_>,
    at: At<'_>,
) -> Result<Vec<(Text, ServiceAddress)>, JsonError> {
    let mut map = BTreeMap::new();
    for (tag, value) in fields(value, at, "map[string]structs.ServiceAddress")?.unwrap_or_default()
    {
        let mut address = ServiceAddress::default();
        for (name, value) in fields(value, at, "structs.ServiceAddress")?.unwrap_or_default() {
            let here = at.inside("ServiceAddress", name);
            match &*lower(name) {
                "address" => string(&mut address.address, value, here)?,
                "port" => int(&mut address.port, value, here)?,
                _ => return Err(unknown(name)),
            }
        }
        map.insert(text(tag), address);
    }
    Ok(map.into_iter().collect())
}

/// DNS weights of a catalog write; 0/0 counts as never set, as the servers of Consul see it.
pub(super) fn catalog_weights(value: &Json<'_>, at: At<'_>) -> Result<Option<Weights>, JsonError> {
    let unset = Weights {
        passing: 0,
        warning: 0,
    };
    Ok(weights(value, at)?.filter(|weights| *weights != unset))
}

/// DNS weights; `null` is `None`, a missing one is 0.
pub(super) fn weights(value: &Json<'_>, at: At<'_>) -> Result<Option<Weights>, JsonError> {
    let Some(pairs) = fields(value, at, "structs.Weights")? else {
        return Ok(None);
    };
    let mut weights = Weights {
        passing: 0,
        warning: 0,
    };
    for (name, value) in pairs {
        let here = at.inside("Weights", name);
        match &*lower(name) {
            "passing" => int(&mut weights.passing, value, here)?,
            "warning" => int(&mut weights.warning, value, here)?,
            _ => return Err(unknown(name)),
        }
    }
    Ok(Some(weights))
}
