//! What a registration must satisfy. The texts reach clients and are those of Consul 1.8.7.

use std::collections::BTreeSet;

use tribune_types::catalog::{ServiceKind, Weights};
use tribune_types::definition::{CheckType, ServiceDefinition};
use tribune_types::proxy::{ExposeConfig, ProxyConfig, Upstream};
use tribune_types::text::Text;

use crate::check::{is_alias, is_script};
use crate::metadata::validate_metadata;

/// Why a local request was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request is wrong (HTTP 400).
    #[error("{0}")]
    Invalid(String),
    /// The request cannot be carried out here (HTTP 500).
    #[error("{0}")]
    Failed(String),
    /// The named thing does not exist here (HTTP 404).
    #[error("{0}")]
    NotFound(String),
}

/// Checks a service definition, without its sidecar's content and without what depends on this agent's settings.
pub fn validate_service(service: &ServiceDefinition) -> Result<(), Refusal> {
    if service.name.is_empty() {
        return Err(invalid("Missing service name"));
    }
    if matches!(&*service.address, "0.0.0.0" | "::" | "[::]") {
        return Err(invalid("Invalid service address"));
    }
    if let Some(weights) = &service.weights {
        validate_weights(weights).map_err(|why| invalid(format!("Invalid Weights: {why}")))?;
    }
    if let Some(meta) = &service.meta {
        validate_metadata(meta).map_err(|why| invalid(format!("Invalid Service Meta: {why}")))?;
    }
    let mut problems = Vec::new();
    validate_kind(service, &mut problems);
    if !problems.is_empty() {
        return Err(Refusal::Invalid(error_list(&problems)));
    }
    for check in &service.checks {
        validate_check(check).map_err(|why| invalid(format!("Invalid check: {why}")))?;
    }
    Ok(())
}

/// Checks a check definition, without its name and place. The text is to be prefixed by the caller.
pub fn validate_check(check: &CheckType) -> Result<(), String> {
    let periodic = is_script(check)
        || !check.http.is_empty()
        || !check.tcp.is_empty()
        || !check.grpc.is_empty();
    let interval = !check.interval.is_zero();
    let ttl = !check.ttl.is_zero();
    let text = if interval && ttl {
        "Interval and TTL cannot both be specified"
    } else if periodic && !interval {
        "Interval must be > 0 for Script, HTTP, or TCP checks"
    } else if periodic && is_alias(check) {
        "Interval cannot be set for Alias checks"
    } else if is_alias(check) && ttl {
        "TTL must be not be set for Alias checks"
    } else if !periodic && !is_alias(check) && !ttl {
        "TTL must be > 0 for TTL checks"
    } else if check.output_max_size < 0 {
        "MaxOutputMaxSize must be positive"
    } else {
        return Ok(());
    };
    Err(text.to_owned())
}

fn validate_weights(weights: &Weights) -> Result<(), &'static str> {
    const WEIGHT_MAX: i64 = 65_535;
    if weights.passing < 1 {
        Err("Passing must be greater than 0")
    } else if weights.warning < 0 {
        Err("Warning must be greater or equal than 0")
    } else if weights.passing > WEIGHT_MAX || weights.warning > WEIGHT_MAX {
        Err("DNS Weight must be between 0 and 65535")
    } else {
        Ok(())
    }
}

fn validate_kind(service: &ServiceDefinition, problems: &mut Vec<String>) {
    let none = ProxyConfig::default();
    let proxy = service.proxy.as_deref().unwrap_or(&none);
    match service.kind {
        ServiceKind::Typical => {}
        ServiceKind::ConnectProxy => validate_proxy(service, proxy, problems),
        ServiceKind::MeshGateway
        | ServiceKind::TerminatingGateway
        | ServiceKind::IngressGateway => {
            validate_gateway(service, proxy, problems);
        }
    }
    if let Some(sidecar) = &service.sidecar {
        if !sidecar.id.is_empty() {
            problems.push(
                "A SidecarService cannot specify an ID as this is managed by the agent".to_owned(),
            );
        }
        if sidecar.sidecar.is_some() {
            problems.push("A SidecarService cannot have a nested SidecarService".to_owned());
        }
    }
}

fn validate_proxy(service: &ServiceDefinition, proxy: &ProxyConfig, problems: &mut Vec<String>) {
    if proxy.destination_service_name.trim().is_empty() {
        problems.push(
            "Proxy.DestinationServiceName must be non-empty for Connect proxy services".to_owned(),
        );
    }
    if service.port == 0 {
        problems.push("Port must be set for a Connect proxy".to_owned());
    }
    if service.connect_native {
        problems.push("A Proxy cannot also be Connect Native, only typical services".to_owned());
    }
    validate_upstreams(proxy.upstreams.as_deref().unwrap_or_default(), problems);
    validate_expose(&proxy.expose, problems);
}

fn validate_upstreams(upstreams: &[Upstream], problems: &mut Vec<String>) {
    let mut keys = BTreeSet::new();
    let mut binds = BTreeSet::new();
    for upstream in upstreams {
        if let Err(why) = validate_upstream(upstream) {
            problems.push(why);
            continue;
        }
        let kind = if upstream.destination_type.is_empty() {
            "service"
        } else {
            &upstream.destination_type
        };
        let key = format!(
            "[type={kind:?}, name={:?}, namespace={:?}, datacenter={:?}]",
            upstream.destination_name, upstream.destination_namespace, upstream.datacenter
        );
        if !keys.insert(key.clone()) {
            problems.push(format!("upstreams cannot contain duplicates of {key}"));
            continue;
        }
        let bind = bind_address(&upstream.local_bind_address, upstream.local_bind_port);
        if !binds.insert(bind.clone()) {
            problems.push(format!(
                "upstreams cannot contain duplicates by local bind address and port; {bind:?} is specified twice"
            ));
        }
    }
}

fn validate_upstream(upstream: &Upstream) -> Result<(), String> {
    match &*upstream.destination_type {
        "" | "service" | "prepared_query" => {}
        other => return Err(format!("unknown upstream destination type: {other:?}")),
    }
    if upstream.destination_name.is_empty() {
        return Err("upstream destination name cannot be empty".to_owned());
    }
    if upstream.local_bind_port == 0 {
        return Err("upstream local bind port cannot be zero".to_owned());
    }
    Ok(())
}

fn bind_address(address: &Text, port: i64) -> String {
    let address = if address.is_empty() {
        "127.0.0.1"
    } else {
        address
    };
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

fn validate_expose(expose: &ExposeConfig, problems: &mut Vec<String>) {
    let mut paths = BTreeSet::new();
    let mut ports = BTreeSet::new();
    for path in expose.paths.iter().flatten() {
        if path.path.is_empty() {
            problems.push("expose.paths: empty path exposed".to_owned());
        }
        if !paths.insert(&path.path) {
            problems.push("expose.paths: duplicate paths exposed".to_owned());
        }
        if !ports.insert(path.listener_port) {
            problems.push("expose.paths: duplicate listener ports exposed".to_owned());
        }
        if !(1..=65_535).contains(&path.listener_port) {
            problems.push(format!(
                "expose.paths: invalid listener port: {}",
                path.listener_port
            ));
        }
        let protocol = path.protocol.to_ascii_lowercase();
        if !matches!(&*protocol, "" | "http" | "http2") {
            problems.push(format!(
                "protocol '{protocol}' not supported for path: {}, must be in: [http2 http]",
                path.path
            ));
        }
    }
}

fn validate_gateway(service: &ServiceDefinition, proxy: &ProxyConfig, problems: &mut Vec<String>) {
    let kind = service.kind.as_str();
    if service.port == 0 && service.kind != ServiceKind::IngressGateway {
        problems.push(format!("Port must be non-zero for a {kind}"));
    }
    if service.sidecar.is_some() {
        problems.push(format!("A {kind} cannot have a sidecar service defined"));
    }
    let set = [
        (
            "DestinationServiceName",
            !proxy.destination_service_name.is_empty(),
        ),
        (
            "DestinationServiceID",
            !proxy.destination_service_id.is_empty(),
        ),
        (
            "LocalServiceAddress",
            !proxy.local_service_address.is_empty(),
        ),
        ("LocalServicePort", proxy.local_service_port != 0),
        (
            "Upstreams",
            proxy.upstreams.as_ref().is_some_and(|u| !u.is_empty()),
        ),
    ];
    for (field, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
        problems.push(format!(
            "The Proxy.{field} configuration is invalid for a {kind}"
        ));
    }
}

/// Several errors in one text, as Go's multierror prints them.
pub(crate) fn error_list(problems: &[String]) -> String {
    let mut out = match problems.len() {
        1 => "1 error occurred:\n".to_owned(),
        n => format!("{n} errors occurred:\n"),
    };
    for problem in problems {
        out.push_str("\t* ");
        out.push_str(problem);
        out.push('\n');
    }
    out.push('\n');
    out
}

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::Invalid(text.into())
}
