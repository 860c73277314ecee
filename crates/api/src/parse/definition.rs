//! Service and check definitions given to an agent. Strict, with the historical aliases.

use tribune_types::catalog::{ServiceKind, Status};
use tribune_types::definition::{CheckDefinition, CheckType, ServiceDefinition};
use tribune_types::text::Text;

use super::BodyError;
use super::decode::{
    At, boolean, duration, fields, header_map, int, list, lower, string, string_list, text_map,
    top_fields, unknown,
};
use super::proxy::{proxy, tagged_addresses, weights};
use crate::json::{Json, JsonError, parse};

type Pairs<'v, 'a> = &'v [(std::borrow::Cow<'a, str>, Json<'a>)];

/// The body of `/v1/agent/service/register`.
pub fn service_definition(body: &[u8]) -> Result<ServiceDefinition, BodyError> {
    let json = parse(body)?;
    service(top_fields(&json, "structs.ServiceDefinition")?, None)
}

/// The body of `/v1/agent/check/register`.
pub fn check_definition(body: &[u8]) -> Result<CheckDefinition, BodyError> {
    let json = parse(body)?;
    let mut definition = CheckDefinition::default();
    let mut durations = Durations::default();
    for (name, value) in top_fields(&json, "structs.CheckDefinition")? {
        let at = At::top("", name);
        match &*lower(name) {
            "id" => string(&mut definition.check.id, value, at)?,
            "serviceid" | "service_id" => string(&mut definition.service_id, value, at)?,
            "token" => string(&mut definition.token, value, at)?,
            "checkid" => return Err(unknown(name).into()),
            key => {
                let taken = probe_field(&mut definition.check, &mut durations, key, value, at)?
                    || status_field(
                        &mut definition.check.status,
                        key,
                        value,
                        at,
                        "Bad check status",
                    )?;
                if !taken {
                    return Err(unknown(name).into());
                }
            }
        }
    }
    durations.into(&mut definition.check)?;
    Ok(definition)
}

/// `within` is the field a nested definition (a sidecar) stands at: its errors name only that.
fn service(pairs: Pairs<'_, '_>, within: Option<At<'_>>) -> Result<ServiceDefinition, BodyError> {
    let mut service = ServiceDefinition::default();
    let mut single = None;
    let mut several = Vec::new();
    for (name, value) in pairs {
        let at = within.unwrap_or(At::top("", name));
        match &*lower(name) {
            "kind" => service.kind = kind(value, at)?,
            "id" => string(&mut service.id, value, at)?,
            "name" => string(&mut service.name, value, at)?,
            "tags" => service.tags = string_list(value, at, "[]string")?.unwrap_or_default(),
            "address" => string(&mut service.address, value, at)?,
            "taggedaddresses" | "tagged_addresses" => {
                service.tagged_addresses = tagged_addresses(value, at)?
            }
            "meta" => service.meta = text_map(value, at)?,
            "port" => int(&mut service.port, value, at)?,
            "check" => single = check_type(value, at)?,
            "checks" => {
                several = list(value, at, "structs.CheckTypes")?
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|item| check_type(item, at).transpose())
                    .collect::<Result<_, _>>()?;
            }
            "weights" => service.weights = weights(value, at)?,
            "token" => string(&mut service.token, value, at)?,
            "enabletagoverride" | "enable_tag_override" => {
                // Either spelling turns it on.
                let mut on = false;
                boolean(&mut on, value, at)?;
                service.enable_tag_override |= on;
            }
            "proxy" => service.proxy = proxy(value, at)?,
            "connect" => connect(&mut service, value, at)?,
            _ => return Err(unknown(name).into()),
        }
    }
    // An empty check object means none.
    service.checks = single
        .into_iter()
        .chain(several)
        .filter(|check| *check != CheckType::default())
        .collect();
    Ok(service)
}

fn kind(value: &Json<'_>, at: At<'_>) -> Result<ServiceKind, BodyError> {
    let mut word = Text::default();
    string(&mut word, value, at)?;
    Ok(service_kind(&word)?)
}

/// The word of a kind. Consul stores any word; here only those that mean something are taken.
pub(super) fn service_kind(word: &str) -> Result<ServiceKind, JsonError> {
    ServiceKind::parse(word).ok_or_else(|| {
        JsonError::Value(format!(
            "invalid service kind {}",
            crate::json::go_quote(word)
        ))
    })
}

/// Lenient: unknown fields of this block are ignored.
fn connect(service: &mut ServiceDefinition, value: &Json<'_>, at: At<'_>) -> Result<(), BodyError> {
    for (name, value) in fields(value, at, "structs.ServiceConnect")?.unwrap_or_default() {
        match &*lower(name) {
            "native" => boolean(&mut service.connect_native, value, at)?,
            "sidecarservice" | "sidecar_service" => {
                service.sidecar = match fields(value, at, "structs.ServiceDefinition")? {
                    None => None,
                    Some(pairs) => Some(Box::new(self::service(pairs, Some(at))?)),
                };
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_type(value: &Json<'_>, at: At<'_>) -> Result<Option<CheckType>, BodyError> {
    let Some(pairs) = fields(value, at, "structs.CheckType")? else {
        return Ok(None);
    };
    let mut check = CheckType::default();
    let mut durations = Durations::default();
    for (name, value) in pairs {
        match &*lower(name) {
            "checkid" => string(&mut check.id, value, at)?,
            // Taken and ignored: the service is the one it stands in.
            "serviceid" | "service_id" => string(&mut Text::default(), value, at)?,
            key => {
                let taken = probe_field(&mut check, &mut durations, key, value, at)?
                    || status_field(
                        &mut check.status,
                        key,
                        value,
                        at,
                        "Status for checks must 'passing', 'warning', 'critical'",
                    )?;
                if !taken {
                    return Err(unknown(name).into());
                }
            }
        }
    }
    durations.into(&mut check)?;
    Ok(Some(check))
}

/// The initial status. A word that is none is a refusal with the text of the endpoint, and a 400.
fn status_field(
    into: &mut Option<Status>,
    key: &str,
    value: &Json<'_>,
    at: At<'_>,
    refusal: &'static str,
) -> Result<bool, BodyError> {
    if key != "status" {
        return Ok(false);
    }
    let mut word = Text::default();
    string(&mut word, value, at)?;
    if !word.is_empty() {
        *into = Some(Status::parse(&word).ok_or(BodyError::BadStatus(refusal))?);
    }
    Ok(true)
}

/// Durations are read after all other fields, so that an unknown field is reported first.
#[derive(Default)]
struct Durations<'v, 'a> {
    interval: Option<&'v Json<'a>>,
    timeout: Option<&'v Json<'a>>,
    ttl: Option<&'v Json<'a>>,
    deregister: Option<&'v Json<'a>>,
}

impl Durations<'_, '_> {
    fn into(self, check: &mut CheckType) -> Result<(), JsonError> {
        for (json, field) in [
            (self.interval, &mut check.interval),
            (self.timeout, &mut check.timeout),
            (self.ttl, &mut check.ttl),
            (
                self.deregister,
                &mut check.deregister_critical_service_after,
            ),
        ] {
            if let Some(json) = json {
                *field = duration(json)?;
            }
        }
        Ok(())
    }
}

/// Fields that checks have in every form. False for a name that is none.
fn probe_field<'v, 'a>(
    check: &mut CheckType,
    durations: &mut Durations<'v, 'a>,
    key: &str,
    value: &'v Json<'a>,
    at: At<'_>,
) -> Result<bool, JsonError> {
    match key {
        "name" => string(&mut check.name, value, at)?,
        "notes" => string(&mut check.notes, value, at)?,
        "scriptargs" | "script_args" | "args" => {
            if let Some(args) = string_list(value, at, "[]string")? {
                check.script_args = args;
            }
        }
        "http" => string(&mut check.http, value, at)?,
        "header" => check.header = header_map(value, at)?,
        "method" => string(&mut check.method, value, at)?,
        "body" => string(&mut check.body, value, at)?,
        "tcp" => string(&mut check.tcp, value, at)?,
        "interval" => durations.interval = Some(value),
        "timeout" => durations.timeout = Some(value),
        "ttl" => durations.ttl = Some(value),
        "deregistercriticalserviceafter" | "deregister_critical_service_after" => {
            durations.deregister = Some(value)
        }
        "aliasnode" => string(&mut check.alias_node, value, at)?,
        "aliasservice" => string(&mut check.alias_service, value, at)?,
        "dockercontainerid" | "docker_container_id" => {
            string(&mut check.docker_container_id, value, at)?
        }
        "shell" => string(&mut check.shell, value, at)?,
        "grpc" => string(&mut check.grpc, value, at)?,
        "grpcusetls" => boolean(&mut check.grpc_use_tls, value, at)?,
        "tlsskipverify" | "tls_skip_verify" => boolean(&mut check.tls_skip_verify, value, at)?,
        "successbeforepassing" => int(&mut check.success_before_passing, value, at)?,
        "failuresbeforecritical" => int(&mut check.failures_before_critical, value, at)?,
        "outputmaxsize" => int(&mut check.output_max_size, value, at)?,
        _ => return Ok(false),
    }
    Ok(true)
}
