//! Catalog writes. Strict except for the `Connect` block and a check's `Definition`.

use tribune_types::catalog::{Check, CheckDetail, Deregister, Register, Service, Status};
use tribune_types::text::Text;

use super::BodyError;
use super::decode::{
    At, boolean, duration, fields, header_map, int, list, lower, string, string_list, text_map,
    top_fields, uint, unknown,
};
use super::definition::service_kind;
use super::proxy::{catalog_weights, proxy, tagged_addresses};
use crate::json::{Json, JsonError, parse};
use crate::uuid::parse_node_id;

/// The body of `/v1/catalog/register`.
pub fn register(body: &[u8]) -> Result<Register, BodyError> {
    let json = parse(body)?;
    let mut request = Register::default();
    let mut id = Text::default();
    let mut single = None;
    for (name, value) in top_fields(&json, "structs.RegisterRequest")? {
        let at = At::top("RegisterRequest", name);
        match &*lower(name) {
            "datacenter" => string(&mut request.datacenter, value, at)?,
            "id" => string(&mut id, value, at)?,
            "node" => string(&mut request.node, value, at)?,
            "address" => string(&mut request.address, value, at)?,
            "taggedaddresses" => request.tagged_addresses = text_map(value, at)?,
            "nodemeta" => request.node_meta = text_map(value, at)?,
            "service" => request.service = service(value, at).map_err(namespace)?,
            "check" => single = check(value, at)?,
            "checks" => {
                request.checks = list(value, at, "structs.HealthChecks")?
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|item| check(item, at).transpose())
                    .collect::<Result<_, _>>()?;
            }
            "skipnodeupdate" => boolean(&mut request.skip_node_update, value, at)?,
            // Taken and ignored: the token of the request counts.
            "token" => string(&mut Text::default(), value, at)?,
            _ => return Err(namespace(unknown(name))),
        }
    }
    // Consul handles the single check after the list.
    request.checks.extend(single);
    if !request.node.is_empty()
        && request
            .checks
            .iter()
            .any(|check| check.id.is_empty() && check.name.is_empty())
    {
        return Err(BodyError::Refused(format!(
            "failed inserting check: failed inserting check: object missing primary index on node {}",
            crate::json::go_quote(&request.node)
        )));
    }
    if !id.is_empty() {
        // The servers look at these two before the ID.
        if request.node.is_empty() {
            return Err(BodyError::Refused("Must provide node".to_owned()));
        }
        if request.address.is_empty() && !request.skip_node_update {
            return Err(BodyError::Refused(
                "Must provide address if SkipNodeUpdate is not set".to_owned(),
            ));
        }
        request.id = Some(
            parse_node_id(&id).map_err(|why| BodyError::Refused(format!("Bad node ID: {why}")))?,
        );
    }
    Ok(request)
}

/// The body of `/v1/catalog/deregister`.
pub fn deregister(body: &[u8]) -> Result<Deregister, BodyError> {
    let json = parse(body)?;
    let mut request = Deregister::default();
    for (name, value) in top_fields(&json, "structs.DeregisterRequest")? {
        let at = At::top("DeregisterRequest", name);
        match &*lower(name) {
            "datacenter" => string(&mut request.datacenter, value, at)?,
            "node" => string(&mut request.node, value, at)?,
            "serviceid" => string(&mut request.service_id, value, at)?,
            "checkid" => string(&mut request.check_id, value, at)?,
            // Taken and ignored.
            "address" | "token" => string(&mut Text::default(), value, at)?,
            _ => return Err(namespace(unknown(name))),
        }
    }
    Ok(request)
}

/// An unknown `Namespace` field gets a hint.
fn namespace(error: JsonError) -> BodyError {
    match &error {
        JsonError::UnknownField(name) if name == "Namespace" => BodyError::Namespace(error),
        _ => BodyError::Decode(error),
    }
}

fn service(value: &Json<'_>, at: At<'_>) -> Result<Option<Service>, JsonError> {
    let Some(pairs) = fields(value, at, "structs.NodeService")? else {
        return Ok(None);
    };
    let mut service = Service::default();
    let mut ignored = 0;
    for (name, value) in pairs {
        let here = at.inside("NodeService", name);
        match &*lower(name) {
            "kind" => {
                let mut word = Text::default();
                string(&mut word, value, here)?;
                service.kind = service_kind(&word)?;
            }
            "id" => string(&mut service.id, value, here)?,
            "service" => string(&mut service.name, value, here)?,
            "tags" => service.tags = string_list(value, here, "[]string")?.unwrap_or_default(),
            "address" => string(&mut service.address, value, here)?,
            "taggedaddresses" => service.tagged_addresses = tagged_addresses(value, here)?,
            "meta" => service.meta = text_map(value, here)?,
            "port" => int(&mut service.port, value, here)?,
            "weights" => service.weights = catalog_weights(value, here)?,
            "enabletagoverride" => boolean(&mut service.enable_tag_override, value, here)?,
            "proxy" => service.proxy = proxy(value, here)?,
            "connect" => {
                for (name, value) in
                    fields(value, here, "structs.ServiceConnect")?.unwrap_or_default()
                {
                    if lower(name) == "native" {
                        boolean(&mut service.connect_native, value, here)?;
                    }
                }
            }
            "createindex" | "modifyindex" => uint(&mut ignored, value, here, "uint64")?,
            _ => return Err(unknown(name)),
        }
    }
    Ok(Some(service))
}

fn check(value: &Json<'_>, at: At<'_>) -> Result<Option<Check>, BodyError> {
    let Some(pairs) = fields(value, at, "structs.HealthCheck")? else {
        return Ok(None);
    };
    let mut check = Check::default();
    let mut ignored = 0;
    for (name, value) in pairs {
        let here = at.inside("HealthCheck", name);
        match &*lower(name) {
            "node" => string(&mut check.node, value, here)?,
            "checkid" => string(&mut check.id, value, here)?,
            "name" => string(&mut check.name, value, here)?,
            "status" => check.status = status(value, here)?,
            "notes" => string(&mut check.notes, value, here)?,
            "output" => string(&mut check.output, value, here)?,
            "serviceid" => string(&mut check.service_id, value, here)?,
            "servicename" => string(&mut check.service_name, value, here)?,
            "servicetags" => {
                check.service_tags = string_list(value, here, "[]string")?.unwrap_or_default()
            }
            "type" => string(&mut check.check_type, value, here)?,
            "definition" => check.definition = detail(value, here, Depth::Full)?,
            "createindex" | "modifyindex" => uint(&mut ignored, value, here, "uint64")?,
            _ => return Err(namespace(unknown(name))),
        }
    }
    Ok(Some(check))
}

/// A status. Consul stores any word; here empty is critical and other words are refused.
pub(super) fn status(value: &Json<'_>, at: At<'_>) -> Result<Status, BodyError> {
    let mut word = Text::default();
    string(&mut word, value, at)?;
    if word.is_empty() {
        return Ok(Status::Critical);
    }
    Status::parse(&word).ok_or_else(|| {
        BodyError::Refused(format!(
            "Invalid check status: {}",
            crate::json::go_quote(&word)
        ))
    })
}

/// How much of a definition is taken.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Depth {
    /// Every field.
    Full,
    /// The fields that transactions carry.
    Txn,
}

/// A check's `Definition`; unknown fields are ignored. `None` if it says nothing.
pub(super) fn detail(
    value: &Json<'_>,
    at: At<'_>,
    depth: Depth,
) -> Result<Option<Box<CheckDetail>>, JsonError> {
    let Some(pairs) = fields(value, at, "structs.HealthCheckDefinition")? else {
        return Ok(None);
    };
    let mut detail = CheckDetail::default();
    for (name, value) in pairs {
        detail_field(&mut detail, &lower(name), value, at, depth)?;
    }
    Ok(if detail == CheckDetail::default() {
        None
    } else {
        Some(Box::new(detail))
    })
}

fn detail_field(
    detail: &mut CheckDetail,
    key: &str,
    value: &Json<'_>,
    at: At<'_>,
    depth: Depth,
) -> Result<(), JsonError> {
    match key {
        "http" => string(&mut detail.http, value, at)?,
        "tlsskipverify" => boolean(&mut detail.tls_skip_verify, value, at)?,
        "header" => detail.header = header_map(value, at)?,
        "method" => string(&mut detail.method, value, at)?,
        "body" => string(&mut detail.body, value, at)?,
        "tcp" => string(&mut detail.tcp, value, at)?,
        "interval" => detail.interval = duration(value)?,
        "timeout" => detail.timeout = duration(value)?,
        "deregistercriticalserviceafter" => {
            detail.deregister_critical_service_after = duration(value)?
        }
        "intervalduration" if depth == Depth::Txn => {
            set_if_zero(&mut detail.interval, duration(value)?)
        }
        "timeoutduration" if depth == Depth::Txn => {
            set_if_zero(&mut detail.timeout, duration(value)?)
        }
        "deregistercriticalserviceafterduration" if depth == Depth::Txn => {
            set_if_zero(
                &mut detail.deregister_critical_service_after,
                duration(value)?,
            );
        }
        _ if depth == Depth::Txn => {}
        "outputmaxsize" => uint(&mut detail.output_max_size, value, at, "uint")?,
        "scriptargs" => {
            detail.script_args = string_list(value, at, "[]string")?.unwrap_or_default()
        }
        "dockercontainerid" => string(&mut detail.docker_container_id, value, at)?,
        "shell" => string(&mut detail.shell, value, at)?,
        "grpc" => string(&mut detail.grpc, value, at)?,
        "grpcusetls" => boolean(&mut detail.grpc_use_tls, value, at)?,
        "aliasnode" => string(&mut detail.alias_node, value, at)?,
        "aliasservice" => string(&mut detail.alias_service, value, at)?,
        "ttl" => detail.ttl = duration(value)?,
        _ => {}
    }
    Ok(())
}

fn set_if_zero(into: &mut std::time::Duration, value: std::time::Duration) {
    if into.is_zero() {
        *into = value;
    }
}
