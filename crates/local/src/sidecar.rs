//! The second service of a registration with a `sidecar_service` block (spec connect.md section 5).

use std::time::Duration;

use tribune_types::catalog::ServiceKind;
use tribune_types::definition::{CheckType, ServiceDefinition};
use tribune_types::proxy::ProxyConfig;
use tribune_types::text::{Text, text};

use crate::metadata::validate_metadata;
use crate::registry::PortRange;
use crate::validate::{Refusal, validate_check};

/// ID of the sidecar of a service.
pub(crate) fn sidecar_id(parent_id: &str) -> Text {
    text(&format!("{parent_id}-sidecar-proxy"))
}

/// The sidecar's own definition with everything filled in. `pick_port` is asked only if the block names no port.
pub(crate) fn expand(
    parent: &ServiceDefinition,
    parent_id: &Text,
    block: &ServiceDefinition,
    pick_port: impl FnOnce() -> Result<i64, String>,
) -> Result<ServiceDefinition, Refusal> {
    let refuse =
        |why: String| Refusal::Failed(format!("Bad request: Invalid SidecarService: {why}"));
    let mut sidecar = block.clone();
    sidecar.id = sidecar_id(parent_id);
    sidecar.sidecar = None;
    if sidecar.name.is_empty() {
        sidecar.name = text(&format!("{}-sidecar-proxy", parent.name));
    }
    if sidecar.kind == ServiceKind::Typical {
        sidecar.kind = ServiceKind::ConnectProxy;
    }
    if sidecar.token.is_empty() {
        sidecar.token = parent.token.clone();
    }
    if sidecar.tags.is_empty() {
        sidecar.tags = parent.tags.clone();
    }
    if sidecar.meta.is_none() {
        sidecar.meta = parent.meta.clone();
    }
    if sidecar.address.is_empty() {
        sidecar.address = parent.address.clone();
    }
    fill_proxy(sidecar.proxy.get_or_insert_default(), parent, parent_id);
    if let Some(meta) = &sidecar.meta {
        validate_metadata(meta).map_err(refuse)?;
    }
    if sidecar.port < 1 {
        sidecar.port = pick_port().map_err(refuse)?;
    }
    for check in &sidecar.checks {
        validate_check(check).map_err(|why| {
            Refusal::Failed(format!(
                "Bad request: Invalid check in sidecar_service: {why}"
            ))
        })?;
    }
    if sidecar.checks.is_empty() {
        sidecar.checks = default_checks(parent_id, sidecar.port);
    }
    Ok(sidecar)
}

fn fill_proxy(proxy: &mut ProxyConfig, parent: &ServiceDefinition, parent_id: &Text) {
    if proxy.destination_service_name.is_empty() {
        proxy.destination_service_name = parent.name.clone();
    }
    if proxy.destination_service_id.is_empty() {
        proxy.destination_service_id = parent_id.clone();
    }
    if proxy.local_service_address.is_empty() {
        proxy.local_service_address = text("127.0.0.1");
    }
    if proxy.local_service_port < 1 {
        proxy.local_service_port = parent.port;
    }
}

fn default_checks(parent_id: &Text, port: i64) -> Vec<CheckType> {
    vec![
        CheckType {
            name: text("Connect Sidecar Listening"),
            tcp: text(&format!("127.0.0.1:{port}")),
            interval: Duration::from_secs(10),
            ..CheckType::default()
        },
        CheckType {
            name: text(&format!("Connect Sidecar Aliasing {parent_id}")),
            alias_service: parent_id.clone(),
            ..CheckType::default()
        },
    ]
}

/// A port for the sidecar: the one it had, else the first of the range that no local service uses.
pub(crate) fn pick_port(
    range: Option<PortRange>,
    earlier: Option<i64>,
    is_used: impl Fn(i64) -> bool,
) -> Result<i64, String> {
    let Some(range) = range else {
        return Err(
            "no port provided for sidecar_service and auto-assignment disabled in config"
                .to_owned(),
        );
    };
    let ports = i64::from(range.min)..=i64::from(range.max);
    if let Some(port) = earlier.filter(|port| ports.contains(port)) {
        return Ok(port);
    }
    ports.into_iter().find(|port| !is_used(*port)).ok_or_else(|| {
        format!(
            "no port provided for sidecar_service and none left in the configured range [{}, {}]",
            range.min, range.max
        )
    })
}
