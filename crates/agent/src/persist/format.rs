//! JSON of the files, with Consul's field names. Mirror structs; the domain types carry no attributes.
//!
//! Written as 1.8.7 writes them. Read leniently: any field may be missing or null, durations may be numbers of
//! nanoseconds or texts, and a service file may be the bare service of older versions.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use tribune_local::{RestoredCheck, RestoredState, Source};
use tribune_types::catalog::{
    Check, GivenEmpty, Service, ServiceAddress, ServiceKind, Status, Weights,
};
use tribune_types::definition::CheckType;
use tribune_types::duration::parse_go;
use tribune_types::id::Index;
use tribune_types::proxy::{ExposeConfig, ExposePath, ProxyConfig, Upstream};
use tribune_types::text::{Text, TextMap, text};
use tribune_types::value::{Value, ValueMap};

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("the file is empty")]
    Empty,
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("it has no ID")]
    NoId,
    #[error("unknown {what} {word:?}")]
    Word { what: &'static str, word: String },
}

type Json = serde_json::Value;

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceFile {
    #[serde(deserialize_with = "nullable")]
    token: String,
    service: Option<ServiceJson>,
    #[serde(deserialize_with = "nullable")]
    source: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_false")]
    locally_registered_as_sidecar: bool,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceJson {
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    kind: String,
    #[serde(rename = "ID", deserialize_with = "nullable")]
    id: String,
    #[serde(deserialize_with = "nullable")]
    service: String,
    tags: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    address: String,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    tagged_addresses: BTreeMap<String, AddressJson>,
    meta: Option<BTreeMap<String, String>>,
    #[serde(deserialize_with = "nullable")]
    port: i64,
    weights: Option<WeightsJson>,
    #[serde(deserialize_with = "nullable")]
    enable_tag_override: bool,
    #[serde(deserialize_with = "nullable")]
    proxy: ProxyJson,
    #[serde(deserialize_with = "nullable")]
    connect: ConnectJson,
    #[serde(deserialize_with = "nullable")]
    create_index: u64,
    #[serde(deserialize_with = "nullable")]
    modify_index: u64,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct AddressJson {
    #[serde(deserialize_with = "nullable")]
    address: String,
    #[serde(deserialize_with = "nullable")]
    port: i64,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct WeightsJson {
    passing: i64,
    warning: i64,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ConnectJson {
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_false")]
    native: bool,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ProxyJson {
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    destination_service_name: String,
    #[serde(
        rename = "DestinationServiceID",
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    destination_service_id: String,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    local_service_address: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_zero")]
    local_service_port: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<serde_json::Map<String, Json>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstreams: Option<Vec<UpstreamJson>>,
    #[serde(deserialize_with = "nullable")]
    mesh_gateway: ModeJson,
    #[serde(deserialize_with = "nullable")]
    expose: ExposeJson,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct UpstreamJson {
    #[serde(deserialize_with = "nullable")]
    destination_type: String,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    destination_namespace: String,
    #[serde(deserialize_with = "nullable")]
    destination_name: String,
    #[serde(deserialize_with = "nullable")]
    datacenter: String,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    local_bind_address: String,
    #[serde(deserialize_with = "nullable")]
    local_bind_port: i64,
    config: Option<serde_json::Map<String, Json>>,
    #[serde(deserialize_with = "nullable")]
    mesh_gateway: ModeJson,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ModeJson {
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    mode: String,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ExposeJson {
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_false")]
    checks: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    paths: Option<Vec<PathJson>>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct PathJson {
    #[serde(deserialize_with = "nullable")]
    listener_port: i64,
    #[serde(deserialize_with = "nullable")]
    path: String,
    #[serde(deserialize_with = "nullable")]
    local_path_port: i64,
    #[serde(deserialize_with = "nullable")]
    protocol: String,
    #[serde(deserialize_with = "nullable")]
    parsed_from_check: bool,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct CheckFile {
    #[serde(deserialize_with = "nullable")]
    check: CheckJson,
    chk_type: Option<CheckTypeJson>,
    #[serde(deserialize_with = "nullable")]
    token: String,
    #[serde(deserialize_with = "nullable")]
    source: String,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct CheckJson {
    #[serde(deserialize_with = "nullable")]
    node: String,
    #[serde(rename = "CheckID", deserialize_with = "nullable")]
    check_id: String,
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    status: String,
    #[serde(deserialize_with = "nullable")]
    notes: String,
    #[serde(deserialize_with = "nullable")]
    output: String,
    #[serde(rename = "ServiceID", deserialize_with = "nullable")]
    service_id: String,
    #[serde(deserialize_with = "nullable")]
    service_name: String,
    service_tags: Option<Vec<String>>,
    #[serde(rename = "Type", deserialize_with = "nullable")]
    check_type: String,
    definition: EmptyJson,
    #[serde(deserialize_with = "nullable")]
    create_index: u64,
    #[serde(deserialize_with = "nullable")]
    modify_index: u64,
}

/// The definition of a local check is always empty.
#[derive(Serialize, Deserialize, Default)]
struct EmptyJson {}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct CheckTypeJson {
    #[serde(rename = "CheckID", deserialize_with = "nullable")]
    check_id: String,
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    status: String,
    #[serde(deserialize_with = "nullable")]
    notes: String,
    script_args: Option<Vec<String>>,
    #[serde(rename = "HTTP", deserialize_with = "nullable")]
    http: String,
    header: Option<BTreeMap<String, Vec<String>>>,
    #[serde(deserialize_with = "nullable")]
    method: String,
    #[serde(deserialize_with = "nullable")]
    body: String,
    #[serde(rename = "TCP", deserialize_with = "nullable")]
    tcp: String,
    #[serde(deserialize_with = "duration")]
    interval: i64,
    #[serde(deserialize_with = "nullable")]
    alias_node: String,
    #[serde(deserialize_with = "nullable")]
    alias_service: String,
    #[serde(rename = "DockerContainerID", deserialize_with = "nullable")]
    docker_container_id: String,
    #[serde(deserialize_with = "nullable")]
    shell: String,
    #[serde(rename = "GRPC", deserialize_with = "nullable")]
    grpc: String,
    #[serde(rename = "GRPCUseTLS", deserialize_with = "nullable")]
    grpc_use_tls: bool,
    #[serde(rename = "TLSSkipVerify", deserialize_with = "nullable")]
    tls_skip_verify: bool,
    #[serde(deserialize_with = "duration")]
    timeout: i64,
    #[serde(rename = "TTL", deserialize_with = "duration")]
    ttl: i64,
    #[serde(deserialize_with = "nullable")]
    success_before_passing: i64,
    #[serde(deserialize_with = "nullable")]
    failures_before_critical: i64,
    #[serde(rename = "ProxyHTTP", deserialize_with = "nullable")]
    proxy_http: String,
    #[serde(rename = "ProxyGRPC", deserialize_with = "nullable")]
    proxy_grpc: String,
    #[serde(deserialize_with = "duration")]
    deregister_critical_service_after: i64,
    #[serde(deserialize_with = "nullable")]
    output_max_size: i64,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct StateFile {
    #[serde(rename = "CheckID", deserialize_with = "nullable")]
    check_id: String,
    #[serde(deserialize_with = "nullable")]
    output: String,
    #[serde(deserialize_with = "nullable")]
    status: String,
    #[serde(deserialize_with = "nullable")]
    expires: i64,
}

/// The file of a service.
pub(crate) fn encode_service(service: &Service, token: &str, source: Source) -> Vec<u8> {
    bytes(&ServiceFile {
        token: token.to_owned(),
        service: Some(service_json(service)),
        source: source_word(source),
        locally_registered_as_sidecar: service.locally_registered_as_sidecar,
    })
}

/// The service and its token.
pub(crate) fn decode_service(bytes: &[u8]) -> Result<(Service, Text), FormatError> {
    if bytes.is_empty() {
        return Err(FormatError::Empty);
    }
    // In the older form `Service` is the name of the service.
    let file: ServiceFile = match serde_json::from_slice(bytes) {
        Ok(file) => file,
        Err(err) => match serde_json::from_slice(bytes) {
            Ok(bare) => ServiceFile {
                service: Some(bare),
                ..ServiceFile::default()
            },
            Err(_) => return Err(err.into()),
        },
    };
    let mut service = service_of(file.service.unwrap_or_default())?;
    service.locally_registered_as_sidecar = file.locally_registered_as_sidecar;
    Ok((service, text(&file.token)))
}

/// The file of a check.
pub(crate) fn encode_check(
    check: &Check,
    check_type: Option<&CheckType>,
    token: &str,
    source: Source,
) -> Vec<u8> {
    bytes(&CheckFile {
        check: check_json(check),
        chk_type: check_type.map(check_type_json),
        token: token.to_owned(),
        source: source_word(source),
    })
}

/// The check as it is to be restored.
pub(crate) fn decode_check(bytes: &[u8]) -> Result<RestoredCheck, FormatError> {
    if bytes.is_empty() {
        return Err(FormatError::Empty);
    }
    let file: CheckFile = serde_json::from_slice(bytes)?;
    if file.check.check_id.is_empty() {
        return Err(FormatError::NoId);
    }
    Ok(RestoredCheck {
        check: check_of(file.check),
        check_type: file.chk_type.map(check_type_of),
        token: text(&file.token),
        source: if file.source == "local" {
            Source::Config
        } else {
            Source::Api
        },
    })
}

/// The file of a TTL check's result; `expires` in seconds since 1970.
pub(crate) fn encode_state(check: &Check, expires: u64) -> Vec<u8> {
    bytes(&StateFile {
        check_id: check.id.to_string(),
        output: check.output.to_string(),
        status: check.status.as_str().to_owned(),
        expires: i64::try_from(expires).unwrap_or(i64::MAX),
    })
}

/// The result and when it expires.
pub(crate) fn decode_state(bytes: &[u8]) -> Result<(RestoredState, i128), FormatError> {
    if bytes.is_empty() {
        return Err(FormatError::Empty);
    }
    let file: StateFile = serde_json::from_slice(bytes)?;
    let status = Status::parse(&file.status).ok_or_else(|| FormatError::Word {
        what: "status",
        word: file.status.clone(),
    })?;
    let state = RestoredState {
        id: text(&file.check_id),
        status,
        output: text(&file.output),
    };
    Ok((state, i128::from(file.expires)))
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    // Maps with text keys and finite numbers always encode.
    serde_json::to_vec(value).unwrap_or_default()
}

fn source_word(source: Source) -> String {
    match source {
        Source::Config => "local".to_owned(),
        Source::Api => "remote".to_owned(),
    }
}

fn service_json(s: &Service) -> ServiceJson {
    let none = ProxyConfig::default();
    ServiceJson {
        kind: s.kind.as_str().to_owned(),
        id: s.id.to_string(),
        service: s.name.to_string(),
        tags: (!s.tags.is_empty()).then(|| strings(&s.tags)),
        address: s.address.to_string(),
        tagged_addresses: s
            .tagged_addresses
            .iter()
            .map(|(name, a)| {
                (
                    name.to_string(),
                    AddressJson {
                        address: a.address.to_string(),
                        port: a.port,
                    },
                )
            })
            .collect(),
        meta: s.meta.as_ref().map(|m| {
            m.iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect()
        }),
        port: s.port,
        weights: s.weights.map(|w| WeightsJson {
            passing: w.passing,
            warning: w.warning,
        }),
        enable_tag_override: s.enable_tag_override,
        proxy: proxy_json(s.proxy.as_deref().unwrap_or(&none)),
        connect: ConnectJson {
            native: s.connect_native,
        },
        create_index: 0,
        modify_index: 0,
    }
}

fn service_of(j: ServiceJson) -> Result<Service, FormatError> {
    if j.id.is_empty() {
        return Err(FormatError::NoId);
    }
    let kind = ServiceKind::parse(&j.kind).ok_or_else(|| FormatError::Word {
        what: "service kind",
        word: j.kind.clone(),
    })?;
    let proxy = proxy_of(j.proxy);
    Ok(Service {
        kind,
        id: text(&j.id),
        name: text(&j.service),
        tags: texts(j.tags),
        address: text(&j.address),
        tagged_addresses: j
            .tagged_addresses
            .into_iter()
            .map(|(name, a)| {
                (
                    text(&name),
                    ServiceAddress {
                        address: text(&a.address),
                        port: a.port,
                    },
                )
            })
            .collect(),
        meta: j.meta.map(|m| {
            m.iter()
                .map(|(k, v)| (text(k), text(v)))
                .collect::<TextMap>()
        }),
        port: j.port,
        weights: Some(j.weights.map_or(Weights::default(), |w| Weights {
            passing: w.passing,
            warning: w.warning,
        })),
        enable_tag_override: j.enable_tag_override,
        proxy: (proxy != ProxyConfig::default()).then(|| Box::new(proxy)),
        connect_native: j.connect.native,
        locally_registered_as_sidecar: false,
        given_empty: GivenEmpty::default(),
        create: Index(0),
        modify: Index(0),
    })
}

fn proxy_json(p: &ProxyConfig) -> ProxyJson {
    ProxyJson {
        destination_service_name: p.destination_service_name.to_string(),
        destination_service_id: p.destination_service_id.to_string(),
        local_service_address: p.local_service_address.to_string(),
        local_service_port: p.local_service_port,
        config: p.config.as_ref().map(map_json),
        upstreams: p
            .upstreams
            .as_ref()
            .map(|list| list.iter().map(upstream_json).collect()),
        mesh_gateway: ModeJson {
            mode: p.mesh_gateway_mode.to_string(),
        },
        expose: ExposeJson {
            checks: p.expose.checks,
            paths: p
                .expose
                .paths
                .as_ref()
                .map(|paths| paths.iter().map(path_json).collect()),
        },
    }
}

fn proxy_of(j: ProxyJson) -> ProxyConfig {
    ProxyConfig {
        destination_service_name: text(&j.destination_service_name),
        destination_service_id: text(&j.destination_service_id),
        local_service_address: text(&j.local_service_address),
        local_service_port: j.local_service_port,
        config: j.config.map(map_of),
        upstreams: j
            .upstreams
            .map(|list| list.into_iter().map(upstream_of).collect()),
        mesh_gateway_mode: text(&j.mesh_gateway.mode),
        expose: ExposeConfig {
            checks: j.expose.checks,
            paths: j
                .expose
                .paths
                .map(|paths| paths.into_iter().map(path_of).collect()),
        },
    }
}

fn upstream_json(u: &Upstream) -> UpstreamJson {
    UpstreamJson {
        destination_type: u.destination_type.to_string(),
        destination_namespace: u.destination_namespace.to_string(),
        destination_name: u.destination_name.to_string(),
        datacenter: u.datacenter.to_string(),
        local_bind_address: u.local_bind_address.to_string(),
        local_bind_port: u.local_bind_port,
        config: u.config.as_ref().map(map_json),
        mesh_gateway: ModeJson {
            mode: u.mesh_gateway_mode.to_string(),
        },
    }
}

fn upstream_of(j: UpstreamJson) -> Upstream {
    Upstream {
        destination_type: text(&j.destination_type),
        destination_namespace: text(&j.destination_namespace),
        destination_name: text(&j.destination_name),
        datacenter: text(&j.datacenter),
        local_bind_address: text(&j.local_bind_address),
        local_bind_port: j.local_bind_port,
        config: j.config.map(map_of),
        mesh_gateway_mode: text(&j.mesh_gateway.mode),
        ingress_hosts: Vec::new(),
    }
}

fn path_json(p: &ExposePath) -> PathJson {
    PathJson {
        listener_port: p.listener_port,
        path: p.path.to_string(),
        local_path_port: p.local_path_port,
        protocol: p.protocol.to_string(),
        parsed_from_check: p.parsed_from_check,
    }
}

fn path_of(j: PathJson) -> ExposePath {
    ExposePath {
        listener_port: j.listener_port,
        path: text(&j.path),
        local_path_port: j.local_path_port,
        protocol: text(&j.protocol),
        parsed_from_check: j.parsed_from_check,
    }
}

fn check_json(c: &Check) -> CheckJson {
    CheckJson {
        node: c.node.to_string(),
        check_id: c.id.to_string(),
        name: c.name.to_string(),
        status: c.status.as_str().to_owned(),
        notes: c.notes.to_string(),
        output: c.output.to_string(),
        service_id: c.service_id.to_string(),
        service_name: c.service_name.to_string(),
        service_tags: (!c.service_tags.is_empty()).then(|| strings(&c.service_tags)),
        check_type: c.check_type.to_string(),
        definition: EmptyJson {},
        create_index: 0,
        modify_index: 0,
    }
}

fn check_of(j: CheckJson) -> Check {
    Check {
        node: text(&j.node),
        id: text(&j.check_id),
        name: text(&j.name),
        status: Status::parse(&j.status).unwrap_or_default(),
        notes: text(&j.notes),
        output: text(&j.output),
        service_id: text(&j.service_id),
        service_name: text(&j.service_name),
        service_tags: texts(j.service_tags),
        check_type: text(&j.check_type),
        ..Check::default()
    }
}

fn check_type_json(c: &CheckType) -> CheckTypeJson {
    CheckTypeJson {
        check_id: c.id.to_string(),
        name: c.name.to_string(),
        status: c.status.map_or_else(String::new, |s| s.as_str().to_owned()),
        notes: c.notes.to_string(),
        script_args: (!c.script_args.is_empty()).then(|| strings(&c.script_args)),
        http: c.http.to_string(),
        header: (!c.header.is_empty()).then(|| {
            c.header
                .iter()
                .map(|(name, values)| (name.to_string(), strings(values)))
                .collect()
        }),
        method: c.method.to_string(),
        body: c.body.to_string(),
        tcp: c.tcp.to_string(),
        interval: nanos(c.interval),
        alias_node: c.alias_node.to_string(),
        alias_service: c.alias_service.to_string(),
        docker_container_id: c.docker_container_id.to_string(),
        shell: c.shell.to_string(),
        grpc: c.grpc.to_string(),
        grpc_use_tls: c.grpc_use_tls,
        tls_skip_verify: c.tls_skip_verify,
        timeout: nanos(c.timeout),
        ttl: nanos(c.ttl),
        success_before_passing: c.success_before_passing,
        failures_before_critical: c.failures_before_critical,
        proxy_http: String::new(),
        proxy_grpc: String::new(),
        deregister_critical_service_after: nanos(c.deregister_critical_service_after),
        output_max_size: c.output_max_size,
    }
}

fn check_type_of(j: CheckTypeJson) -> CheckType {
    CheckType {
        id: text(&j.check_id),
        name: text(&j.name),
        notes: text(&j.notes),
        status: Status::parse(&j.status),
        script_args: texts(j.script_args),
        http: text(&j.http),
        header: j
            .header
            .unwrap_or_default()
            .into_iter()
            .map(|(name, values)| (text(&name), texts(Some(values))))
            .collect(),
        method: text(&j.method),
        body: text(&j.body),
        tcp: text(&j.tcp),
        grpc: text(&j.grpc),
        grpc_use_tls: j.grpc_use_tls,
        tls_skip_verify: j.tls_skip_verify,
        alias_node: text(&j.alias_node),
        alias_service: text(&j.alias_service),
        docker_container_id: text(&j.docker_container_id),
        shell: text(&j.shell),
        interval: positive(j.interval),
        timeout: positive(j.timeout),
        ttl: positive(j.ttl),
        success_before_passing: j.success_before_passing,
        failures_before_critical: j.failures_before_critical,
        deregister_critical_service_after: positive(j.deregister_critical_service_after),
        output_max_size: j.output_max_size,
    }
}

fn map_json(map: &ValueMap) -> serde_json::Map<String, Json> {
    map.iter()
        .map(|(key, value)| (key.to_string(), value_json(value)))
        .collect()
}

fn value_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(n) => Json::from(*n),
        Value::UInt(n) => Json::from(*n),
        // A number that came from JSON is a float even if it is whole; it goes back without a fraction.
        Value::Float(n) if n.fract() == 0.0 && n.abs() < 9.0e15 => Json::from(*n as i64),
        Value::Float(n) => serde_json::Number::from_f64(*n).map_or(Json::Null, Json::Number),
        Value::String(s) => Json::String(s.to_string()),
        Value::List(list) => Json::Array(list.iter().map(value_json).collect()),
        Value::Map(map) => Json::Object(map_json(map)),
    }
}

fn map_of(map: serde_json::Map<String, Json>) -> ValueMap {
    map.into_iter()
        .map(|(key, value)| (text(&key), value_of(value)))
        .collect()
}

fn value_of(value: Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(b),
        Json::Number(n) => Value::Float(n.as_f64().unwrap_or_default()),
        Json::String(s) => Value::String(text(&s)),
        Json::Array(list) => Value::List(list.into_iter().map(value_of).collect()),
        Json::Object(map) => Value::Map(map_of(map)),
    }
}

fn strings(list: &[Text]) -> Vec<String> {
    list.iter().map(|s| s.to_string()).collect()
}

fn texts(list: Option<Vec<String>>) -> Vec<Text> {
    list.unwrap_or_default().iter().map(|s| text(s)).collect()
}

fn nanos(d: Duration) -> i64 {
    i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)
}

fn positive(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

fn is_false(b: &bool) -> bool {
    !*b
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// Null is the empty value, as in Go.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// A number of nanoseconds, or a text as later versions write.
fn duration<'de, D: Deserializer<'de>>(d: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Nanos(i64),
        Text(String),
        Null,
    }
    match Form::deserialize(d)? {
        Form::Nanos(n) => Ok(n),
        Form::Text(s) if s.is_empty() => Ok(0),
        Form::Text(s) => parse_go(&s).map(nanos).map_err(serde::de::Error::custom),
        Form::Null => Ok(0),
    }
}
