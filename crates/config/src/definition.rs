//! Services and checks of configuration files (config.md section 10).
//!
//! In: decoded objects. Out: the definitions of the vocabulary crate. Value errors are collected with the others.
//! Rules that need the whole picture (names, intervals, script switches) are checked at registration.

use tribune_types::catalog::{ServiceAddress, ServiceKind, Status, Weights};
use tribune_types::definition::{CheckDefinition, CheckType, ServiceDefinition};
use tribune_types::proxy::{ExposeConfig, ExposePath, ProxyConfig, Upstream};
use tribune_types::text::{Text, text};
use tribune_types::value::{Value, ValueMap};

use crate::get::View;
use crate::meta::{check_metadata, text_map};
use crate::tree::{Object, Tree};

fn texts(view: View<'_>, path: &str) -> Vec<Text> {
    view.list(path).iter().map(|s| text(s)).collect()
}

/// A free-form object.
pub(crate) fn values(map: &Object) -> ValueMap {
    map.iter().map(|(k, v)| (text(k), v.to_value())).collect()
}

fn opaque(view: View<'_>, path: &str) -> Option<ValueMap> {
    view.object(path).map(|map| values(map.0))
}

/// A stand-alone check.
pub(crate) fn check(view: View<'_>, errors: &mut Vec<String>) -> CheckDefinition {
    CheckDefinition {
        check: check_type(view, errors),
        service_id: text(view.str("service_id")),
        token: text(view.str("token")),
    }
}

fn check_type(view: View<'_>, errors: &mut Vec<String>) -> CheckType {
    let t = |path: &str| text(view.str(path));
    let mut d =
        |path: &str| view.duration_as(path, &format!("check[{}].{path}", view.str("id")), errors);
    let (interval, timeout, ttl) = (d("interval"), d("timeout"), d("ttl"));
    let deregister_critical_service_after = d("deregister_critical_service_after");
    let header = match view.object("header") {
        Some(map) => map
            .0
            .keys()
            .map(|k| (text(k), header_values(map, k)))
            .collect(),
        None => Vec::new(),
    };
    let status = match view.str("status") {
        "" => None,
        word => Status::parse(word).or_else(|| {
            errors.push(format!(
                "check[{}].status: invalid check status {word:?}",
                view.str("id")
            ));
            None
        }),
    };
    CheckType {
        id: t("id"),
        name: t("name"),
        notes: t("notes"),
        status,
        script_args: texts(view, "args"),
        http: t("http"),
        header,
        method: t("method"),
        body: t("body"),
        tcp: t("tcp"),
        grpc: t("grpc"),
        grpc_use_tls: view.bool("grpc_use_tls"),
        tls_skip_verify: view.bool("tls_skip_verify"),
        alias_node: t("alias_node"),
        alias_service: t("alias_service"),
        docker_container_id: t("docker_container_id"),
        shell: t("shell"),
        interval,
        timeout,
        ttl,
        success_before_passing: view.int("success_before_passing"),
        failures_before_critical: view.int("failures_before_critical"),
        deregister_critical_service_after,
        output_max_size: view.int("output_max_size"),
    }
}

/// Values of one header; its name may hold dots, so it is no path.
fn header_values(map: View<'_>, name: &str) -> Vec<Text> {
    match map.0.get(name) {
        Some(Tree::List(list)) => list
            .iter()
            .filter_map(|v| match v {
                Tree::String(s) => Some(text(s)),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// A service.
pub(crate) fn service(view: View<'_>, errors: &mut Vec<String>) -> ServiceDefinition {
    let name = view.str("name");
    let kind = ServiceKind::parse(view.str("kind")).unwrap_or_else(|| {
        // 1.8.7 takes any word here and refuses the service later.
        errors.push(format!(
            "Invalid service kind {:?} for service {name}",
            view.str("kind")
        ));
        ServiceKind::Typical
    });
    let mut checks = Vec::new();
    checks.extend(view.object("check").map(|c| check_type(c, errors)));
    checks.extend(view.objects("checks").map(|c| check_type(c, errors)));
    let meta = view.object("meta").map(|_| view.map("meta"));
    let pairs = meta.iter().flatten().map(|(k, v)| (k.as_str(), v.as_str()));
    if let Err(e) = check_metadata(pairs.collect::<Vec<_>>().into_iter(), &[]) {
        errors.push(format!("invalid meta for service {name}: {e}"));
    }
    let weights = view.object("weights").map(|w| Weights {
        passing: w.opt_int("passing").unwrap_or(1),
        warning: w.opt_int("warning").unwrap_or(1),
    });
    if let Some(why) = weights.and_then(bad_weights) {
        errors.push(format!(
            "Invalid weight definition for service {name}: {why}"
        ));
    }
    let proxy = view.object("proxy").map(|p| Box::new(proxy(p, errors)));
    let sidecar = view.object("connect.sidecar_service").map(|inner| {
        if !inner.str("id").is_empty() {
            errors.push("sidecar_service can't specify an ID".to_owned());
        }
        if inner.object("connect.sidecar_service").is_some() {
            errors.push("sidecar_service can't have a nested sidecar_service".to_owned());
        }
        Box::new(service(inner, errors))
    });
    let tagged_addresses = match view.object("tagged_addresses") {
        Some(map) => map
            .0
            .iter()
            .filter_map(|(name, addr)| match addr {
                Tree::Map(addr) => {
                    let addr = View(addr);
                    let address = ServiceAddress {
                        address: text(addr.str("address")),
                        port: addr.int("port"),
                    };
                    Some((text(name), address))
                }
                _ => None,
            })
            .collect(),
        None => Vec::new(),
    };
    ServiceDefinition {
        kind,
        id: text(view.str("id")),
        name: text(name),
        tags: texts(view, "tags"),
        address: text(view.str("address")),
        tagged_addresses,
        meta: meta.as_ref().map(text_map),
        port: view.int("port"),
        weights,
        token: text(view.str("token")),
        enable_tag_override: view.bool("enable_tag_override"),
        proxy,
        connect_native: view.bool("connect.native"),
        sidecar,
        checks,
    }
}

fn bad_weights(w: Weights) -> Option<&'static str> {
    if w.warning < 0 {
        Some("Warning must be greater or equal than 0")
    } else if w.passing < 1 {
        Some("Passing must be greater than 0")
    } else if w.passing > 65535 || w.warning > 65535 {
        Some("DNS Weight must be between 0 and 65535")
    } else {
        None
    }
}

fn mesh_gateway(view: View<'_>, errors: &mut Vec<String>) -> Text {
    let mode = view.str("mesh_gateway.mode");
    if !matches!(mode, "" | "none" | "local" | "remote") {
        errors.push(format!("Invalid Mesh Gateway Mode: {mode:?}"));
    }
    text(mode)
}

fn proxy(view: View<'_>, errors: &mut Vec<String>) -> ProxyConfig {
    let t = |path: &str| text(view.str(path));
    let upstreams = view.raw("upstreams").map(|_| {
        view.objects("upstreams")
            .map(|u| upstream(u, errors))
            .collect()
    });
    let paths = view.object("expose").and_then(|expose| {
        expose.raw("paths").map(|_| {
            let path = |p: View<'_>| ExposePath {
                listener_port: p.int("listener_port"),
                path: text(p.str("path")),
                local_path_port: p.int("local_path_port"),
                protocol: text(p.str("protocol")),
                parsed_from_check: false,
            };
            expose.objects("paths").map(path).collect()
        })
    });
    ProxyConfig {
        destination_service_name: t("destination_service_name"),
        destination_service_id: t("destination_service_id"),
        local_service_address: t("local_service_address"),
        local_service_port: view.int("local_service_port"),
        config: opaque(view, "config"),
        upstreams,
        mesh_gateway_mode: mesh_gateway(view, errors),
        expose: ExposeConfig {
            checks: view.bool("expose.checks"),
            paths,
        },
    }
}

fn upstream(view: View<'_>, errors: &mut Vec<String>) -> Upstream {
    let t = |path: &str| text(view.str(path));
    let destination_type = match view.str("destination_type") {
        "" => text("service"),
        word => text(word),
    };
    Upstream {
        destination_type,
        destination_namespace: t("destination_namespace"),
        destination_name: t("destination_name"),
        datacenter: t("datacenter"),
        local_bind_address: t("local_bind_address"),
        local_bind_port: view.int("local_bind_port"),
        config: opaque(view, "config"),
        mesh_gateway_mode: mesh_gateway(view, errors),
        ingress_hosts: Vec::new(),
    }
}

/// A free-form object with its keys in the CamelCase of the API (`private_key` to `PrivateKey`).
pub(crate) fn camel_case(map: &Object) -> ValueMap {
    map.iter()
        .map(|(k, v)| (text(&camel(k)), v.to_value()))
        .collect()
}

fn camel(key: &str) -> String {
    if !key.contains('_') && key.starts_with(|c: char| c.is_ascii_uppercase()) {
        return key.to_owned();
    }
    key.split('_')
        .map(|word| match word {
            "id" | "csr" | "pki" | "ttl" | "tls" | "ca" | "sni" => word.to_ascii_uppercase(),
            _ => {
                let mut chars = word.chars();
                chars
                    .next()
                    .map(|c| c.to_ascii_uppercase())
                    .into_iter()
                    .chain(chars)
                    .collect()
            }
        })
        .collect()
}

/// The text of a free-form key under any of its spellings.
pub(crate) fn any_text<'a>(map: &'a ValueMap, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|k| match map.get(*k) {
        Some(Value::String(s)) => Some(&**s),
        _ => None,
    })
}
