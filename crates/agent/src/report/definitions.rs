//! Services and checks of the configuration files, as the settings show them.

use std::time::Duration;

use tribune_types::catalog::Weights;
use tribune_types::definition::{CheckDefinition, CheckType, ServiceDefinition};
use tribune_types::proxy::ProxyConfig;
use tribune_types::text::{TextMap, text};
use tribune_types::value::{Value, ValueMap};

use super::shown::{Shown, list, object, strings};

/// A service. `output_max` is the agent's own limit of check output.
pub(super) fn service(definition: &ServiceDefinition, output_max: usize) -> Value {
    let sidecar = definition
        .sidecar
        .as_deref()
        .map(|sidecar| service(sidecar, output_max));
    let connect = match (definition.connect_native, sidecar) {
        (false, None) => Value::Null,
        (native, sidecar) => object([
            ("Native", native.shown()),
            ("SidecarService", sidecar.unwrap_or_default()),
        ]),
    };
    let addresses = definition.tagged_addresses.iter().map(|(name, address)| {
        (
            name.clone(),
            object([
                ("Address", (&address.address).shown()),
                ("Port", address.port.shown()),
            ]),
        )
    });
    let weights = definition.weights.unwrap_or_default();
    let Weights { passing, warning } = weights;
    object([
        ("Address", (&definition.address).shown()),
        // `check` and `checks` are one list here.
        ("Check", of_service(&CheckType::default(), 0)),
        (
            "Checks",
            list(
                definition
                    .checks
                    .iter()
                    .map(|check| of_service(check, output_max)),
            ),
        ),
        ("Connect", connect),
        ("EnableTagOverride", definition.enable_tag_override.shown()),
        ("EnterpriseMeta", Value::Map(ValueMap::new())),
        ("ID", (&definition.id).shown()),
        ("Kind", definition.kind.as_str().shown()),
        (
            "Meta",
            strings(definition.meta.as_ref().unwrap_or(&TextMap::new())),
        ),
        ("Name", (&definition.name).shown()),
        ("Port", definition.port.shown()),
        (
            "Proxy",
            definition.proxy.as_deref().map(proxy).unwrap_or_default(),
        ),
        ("TaggedAddresses", Value::Map(addresses.collect())),
        ("Tags", list(&definition.tags)),
        ("Token", "".shown()),
        (
            "Weights",
            object([("Passing", passing.shown()), ("Warning", warning.shown())]),
        ),
    ])
}

/// A stand-alone check.
pub(super) fn check(definition: &CheckDefinition, output_max: usize) -> Value {
    let mut out = fields(&definition.check, output_max);
    for (name, value) in [
        ("ID", (&definition.check.id).shown()),
        ("ServiceID", (&definition.service_id).shown()),
        ("Token", "".shown()),
        ("EnterpriseMeta", Value::Map(ValueMap::new())),
    ] {
        out.insert(text(name), value);
    }
    Value::Map(out)
}

fn of_service(check: &CheckType, output_max: usize) -> Value {
    let mut out = fields(check, output_max);
    for (name, value) in [
        ("CheckID", (&check.id).shown()),
        ("ProxyGRPC", "".shown()),
        ("ProxyHTTP", "".shown()),
    ] {
        out.insert(text(name), value);
    }
    Value::Map(out)
}

/// What both forms of a check have.
fn fields(check: &CheckType, output_max: usize) -> ValueMap {
    let output = if check.output_max_size == 0 {
        output_max.shown()
    } else {
        check.output_max_size.shown()
    };
    let header = check
        .header
        .iter()
        .map(|(name, values)| (name.clone(), list(values)))
        .collect();
    let interval = |duration: Duration| duration.shown();
    let pairs = [
        ("AliasNode", (&check.alias_node).shown()),
        ("AliasService", (&check.alias_service).shown()),
        ("Body", (&check.body).shown()),
        (
            "DeregisterCriticalServiceAfter",
            interval(check.deregister_critical_service_after),
        ),
        ("DockerContainerID", (&check.docker_container_id).shown()),
        (
            "FailuresBeforeCritical",
            check.failures_before_critical.shown(),
        ),
        ("GRPC", (&check.grpc).shown()),
        ("GRPCUseTLS", check.grpc_use_tls.shown()),
        ("HTTP", (&check.http).shown()),
        ("Header", Value::Map(header)),
        ("Interval", interval(check.interval)),
        ("Method", (&check.method).shown()),
        ("Name", (&check.name).shown()),
        ("Notes", (&check.notes).shown()),
        ("OutputMaxSize", output),
        ("ScriptArgs", list(&check.script_args)),
        ("Shell", (&check.shell).shown()),
        (
            "Status",
            check.status.map_or("", |status| status.as_str()).shown(),
        ),
        ("SuccessBeforePassing", check.success_before_passing.shown()),
        ("TCP", (&check.tcp).shown()),
        ("TLSSkipVerify", check.tls_skip_verify.shown()),
        ("TTL", interval(check.ttl)),
        ("Timeout", interval(check.timeout)),
    ];
    pairs
        .into_iter()
        .map(|(name, value)| (text(name), value))
        .collect()
}

fn proxy(proxy: &ProxyConfig) -> Value {
    let mode = |mode| object([("Mode", Shown::shown(mode))]);
    let config = |config: &Option<ValueMap>| config.clone().unwrap_or_default().shown();
    let upstreams = proxy.upstreams.iter().flatten().map(|upstream| {
        object([
            ("Config", config(&upstream.config)),
            ("Datacenter", (&upstream.datacenter).shown()),
            ("DestinationName", (&upstream.destination_name).shown()),
            (
                "DestinationNamespace",
                (&upstream.destination_namespace).shown(),
            ),
            ("DestinationType", (&upstream.destination_type).shown()),
            ("IngressHosts", list(&upstream.ingress_hosts)),
            ("LocalBindAddress", (&upstream.local_bind_address).shown()),
            ("LocalBindPort", upstream.local_bind_port.shown()),
            ("MeshGateway", mode(&upstream.mesh_gateway_mode)),
        ])
    });
    let paths = proxy.expose.paths.iter().flatten().map(|path| {
        object([
            ("ListenerPort", path.listener_port.shown()),
            ("LocalPathPort", path.local_path_port.shown()),
            ("ParsedFromCheck", path.parsed_from_check.shown()),
            ("Path", (&path.path).shown()),
            ("Protocol", (&path.protocol).shown()),
        ])
    });
    object([
        ("Config", config(&proxy.config)),
        (
            "DestinationServiceID",
            (&proxy.destination_service_id).shown(),
        ),
        (
            "DestinationServiceName",
            (&proxy.destination_service_name).shown(),
        ),
        (
            "Expose",
            object([
                ("Checks", proxy.expose.checks.shown()),
                ("Paths", list(paths)),
            ]),
        ),
        (
            "LocalServiceAddress",
            (&proxy.local_service_address).shown(),
        ),
        ("LocalServicePort", proxy.local_service_port.shown()),
        ("MeshGateway", mode(&proxy.mesh_gateway_mode)),
        ("Upstreams", list(upstreams)),
    ])
}
