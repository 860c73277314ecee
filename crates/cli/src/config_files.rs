//! The command line's two uses of configuration files: checking them, and taking service definitions from them.
//!
//! In: paths. Out: warnings and an error text, or definitions as the JSON that agents take for registration.

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use tribune_config::{ConfigError, Environment, Format, services_from_files, validate_paths};
use tribune_types::{
    definition::{CheckType, ServiceDefinition},
    duration::format_go,
    proxy::{ProxyConfig, Upstream},
    value,
};

/// Checks files and folders as an agent would read them. Warnings, or what is wrong.
pub(crate) fn validate(paths: &[String], format: &str) -> Result<Vec<String>, ConfigError> {
    let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    validate_paths(&paths, Format::parse(format)?, &Environment::of_this_host())
}

/// The services that files define.
pub(crate) fn services(paths: &[String]) -> Result<Vec<ServiceDefinition>, ConfigError> {
    let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    services_from_files(&paths)
}

/// Warnings about files that are skipped because their names do not tell the format.
pub(crate) fn skipped(paths: &[String]) -> Vec<String> {
    let plain = |p: &&String| {
        let known = p.ends_with(".hcl") || p.ends_with(".json");
        !known && std::path::Path::new(p.as_str()).is_file()
    };
    let names = paths.iter().filter(plain);
    names
        .map(|p| {
            format!(
                "skipping file {p}, extension must be .hcl or .json, or config format must be set"
            )
        })
        .collect()
}

/// A text as JSON.
fn word(text: &str) -> Value {
    text.into()
}

/// Collects the fields that are set.
struct Fields(Map<String, Value>);

impl Fields {
    fn new() -> Self {
        Self(Map::new())
    }

    fn set(&mut self, name: &str, value: impl Into<Value>, is_set: bool) {
        if is_set {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        self.set(name, text, !text.is_empty());
    }

    fn number(&mut self, name: &str, number: i64) {
        self.set(name, number, number != 0);
    }

    fn flag(&mut self, name: &str, on: bool) {
        self.set(name, on, on);
    }

    fn duration(&mut self, name: &str, duration: std::time::Duration) {
        self.set(name, format_go(duration), !duration.is_zero());
    }

    fn finish(self) -> Value {
        Value::Object(self.0)
    }
}

/// The body of `/v1/agent/service/register`.
pub(crate) fn registration(service: &ServiceDefinition) -> Value {
    let mut out = Fields::new();
    out.text("Kind", service.kind.as_str());
    out.text("ID", &service.id);
    out.text("Name", &service.name);
    let tags: Vec<Value> = service.tags.iter().map(|t| word(t)).collect();
    out.set("Tags", tags, !service.tags.is_empty());
    out.text("Address", &service.address);
    let tagged: Map<String, Value> = service
        .tagged_addresses
        .iter()
        .map(|(name, at)| {
            let at = json!({ "Address": word(&at.address), "Port": at.port });
            (name.to_string(), at)
        })
        .collect();
    out.set(
        "TaggedAddresses",
        tagged,
        !service.tagged_addresses.is_empty(),
    );
    if let Some(meta) = &service.meta {
        let pairs = meta
            .iter()
            .map(|(k, v)| (k.to_string(), Value::from(v.to_string())));
        out.set("Meta", Value::Object(pairs.collect()), true);
    }
    out.number("Port", service.port);
    if let Some(weights) = &service.weights {
        let weights = json!({ "Passing": weights.passing, "Warning": weights.warning });
        out.set("Weights", weights, true);
    }
    out.text("Token", &service.token);
    out.flag("EnableTagOverride", service.enable_tag_override);
    if let Some(block) = &service.proxy {
        out.set("Proxy", proxy(block), true);
    }
    if service.connect_native || service.sidecar.is_some() {
        let mut connect = Fields::new();
        connect.flag("Native", service.connect_native);
        if let Some(sidecar) = &service.sidecar {
            connect.set("SidecarService", registration(sidecar), true);
        }
        out.set("Connect", connect.finish(), true);
    }
    let checks: Vec<Value> = service.checks.iter().map(check).collect();
    out.set("Checks", checks, !service.checks.is_empty());
    out.finish()
}

fn check(check: &CheckType) -> Value {
    let mut out = Fields::new();
    out.text("CheckID", &check.id);
    out.text("Name", &check.name);
    out.text("Notes", &check.notes);
    out.text("Status", check.status.map_or("", |s| s.as_str()));
    let args: Vec<Value> = check.script_args.iter().map(|a| word(a)).collect();
    out.set("ScriptArgs", args, !check.script_args.is_empty());
    out.text("HTTP", &check.http);
    let header: Map<String, Value> = check
        .header
        .iter()
        .map(|(name, values)| {
            let values: Vec<Value> = values.iter().map(|v| word(v)).collect();
            (name.to_string(), values.into())
        })
        .collect();
    out.set("Header", header, !check.header.is_empty());
    out.text("Method", &check.method);
    out.text("Body", &check.body);
    out.text("TCP", &check.tcp);
    out.text("GRPC", &check.grpc);
    out.flag("GRPCUseTLS", check.grpc_use_tls);
    out.flag("TLSSkipVerify", check.tls_skip_verify);
    out.text("AliasNode", &check.alias_node);
    out.text("AliasService", &check.alias_service);
    out.text("DockerContainerID", &check.docker_container_id);
    out.text("Shell", &check.shell);
    out.duration("Interval", check.interval);
    out.duration("Timeout", check.timeout);
    out.duration("TTL", check.ttl);
    out.number("SuccessBeforePassing", check.success_before_passing);
    out.number("FailuresBeforeCritical", check.failures_before_critical);
    out.duration(
        "DeregisterCriticalServiceAfter",
        check.deregister_critical_service_after,
    );
    out.number("OutputMaxSize", check.output_max_size);
    out.finish()
}

fn proxy(block: &ProxyConfig) -> Value {
    let mut out = Fields::new();
    out.text("DestinationServiceName", &block.destination_service_name);
    out.text("DestinationServiceID", &block.destination_service_id);
    out.text("LocalServiceAddress", &block.local_service_address);
    out.number("LocalServicePort", block.local_service_port);
    if let Some(config) = &block.config {
        out.set("Config", map(config), true);
    }
    if let Some(list) = &block.upstreams {
        out.set(
            "Upstreams",
            list.iter().map(upstream).collect::<Vec<_>>(),
            true,
        );
    }
    mesh_gateway(&mut out, &block.mesh_gateway_mode);
    let expose = &block.expose;
    if expose.checks || expose.paths.is_some() {
        let paths: Vec<Value> = expose
            .paths
            .iter()
            .flatten()
            .map(|path| {
                let mut out = Fields::new();
                out.number("ListenerPort", path.listener_port);
                out.text("Path", &path.path);
                out.number("LocalPathPort", path.local_path_port);
                out.text("Protocol", &path.protocol);
                out.finish()
            })
            .collect();
        out.set(
            "Expose",
            json!({ "Checks": expose.checks, "Paths": paths }),
            true,
        );
    }
    out.finish()
}

fn upstream(upstream: &Upstream) -> Value {
    let mut out = Fields::new();
    out.text("DestinationType", &upstream.destination_type);
    out.text("DestinationNamespace", &upstream.destination_namespace);
    out.text("DestinationName", &upstream.destination_name);
    out.text("Datacenter", &upstream.datacenter);
    out.text("LocalBindAddress", &upstream.local_bind_address);
    out.number("LocalBindPort", upstream.local_bind_port);
    if let Some(config) = &upstream.config {
        out.set("Config", map(config), true);
    }
    mesh_gateway(&mut out, &upstream.mesh_gateway_mode);
    out.finish()
}

fn mesh_gateway(out: &mut Fields, mode: &str) {
    out.set("MeshGateway", json!({ "Mode": mode }), !mode.is_empty());
}

fn map(pairs: &value::ValueMap) -> Value {
    Value::Object(pairs.iter().map(|(k, v)| (k.to_string(), any(v))).collect())
}

fn any(value: &value::Value) -> Value {
    match value {
        value::Value::Null => Value::Null,
        value::Value::Bool(on) => Value::Bool(*on),
        value::Value::Int(n) => (*n).into(),
        value::Value::UInt(n) => (*n).into(),
        value::Value::Float(n) => (*n).into(),
        value::Value::String(text) => word(text),
        value::Value::List(list) => list.iter().map(any).collect::<Vec<_>>().into(),
        value::Value::Map(pairs) => map(pairs),
    }
}
