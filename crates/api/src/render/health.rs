//! Checks.

use std::time::Duration;

use tribune_types::catalog::{Check, CheckDetail};
use tribune_types::duration::format_go;

use super::EmptyTags;
use super::catalog::tags;
use super::write::{Sparse, field, indexes, object, raw, string, string_list, uint};

/// A check.
pub fn health_check(out: &mut Vec<u8>, check: &Check, empty: EmptyTags) {
    head(out, check);
    tags(out, &check.service_tags, empty);
    field(out, b",\"Type\":", &check.check_type);
    raw(out, b",\"Definition\":");
    match &check.definition {
        None => raw(out, b"{}"),
        Some(detail) => definition(out, detail),
    }
    indexes(out, check.create.0, check.modify.0);
    out.push(b'}');
}

/// The check of an agent's health answer: tags are null without any, no type, every definition field with its zero.
pub(super) fn agent_health_check(out: &mut Vec<u8>, check: &Check) {
    const REST: &[u8] = b",\"Type\":\"\",\"Definition\":{\"Interval\":\"0s\",\"Timeout\":\"0s\",\"DeregisterCriticalServiceAfter\":\"0s\",\
        \"HTTP\":\"\",\"Header\":null,\"Method\":\"\",\"Body\":\"\",\"TLSSkipVerify\":false,\"TCP\":\"\"},\"CreateIndex\":0,\"ModifyIndex\":0}";
    head(out, check);
    tags(out, &check.service_tags, EmptyTags::Null);
    raw(out, REST);
}

fn head(out: &mut Vec<u8>, check: &Check) {
    field(out, b"{\"Node\":", &check.node);
    field(out, b",\"CheckID\":", &check.id);
    field(out, b",\"Name\":", &check.name);
    field(out, b",\"Status\":", check.status.as_str());
    field(out, b",\"Notes\":", &check.notes);
    field(out, b",\"Output\":", &check.output);
    field(out, b",\"ServiceID\":", &check.service_id);
    field(out, b",\"ServiceName\":", &check.service_name);
    raw(out, b",\"ServiceTags\":");
}

fn definition(out: &mut Vec<u8>, detail: &CheckDetail) {
    let mut fields = Sparse::open(out);
    duration(&mut fields, out, "Interval", detail.interval);
    if detail.output_max_size != 0 {
        fields.name(out, "OutputMaxSize");
        uint(out, detail.output_max_size);
    }
    duration(&mut fields, out, "Timeout", detail.timeout);
    duration(
        &mut fields,
        out,
        "DeregisterCriticalServiceAfter",
        detail.deregister_critical_service_after,
    );
    fields.text(out, "HTTP", &detail.http);
    fields.flag(out, "TLSSkipVerify", detail.tls_skip_verify);
    if !detail.header.is_empty() {
        fields.name(out, "Header");
        object(
            out,
            detail.header.iter().map(|(name, values)| (name, values)),
            |out, values| string_list(out, values),
        );
    }
    fields.text(out, "Method", &detail.method);
    fields.text(out, "Body", &detail.body);
    fields.text(out, "TCP", &detail.tcp);
    if !detail.script_args.is_empty() {
        fields.name(out, "ScriptArgs");
        string_list(out, &detail.script_args);
    }
    fields.text(out, "DockerContainerID", &detail.docker_container_id);
    fields.text(out, "Shell", &detail.shell);
    fields.text(out, "GRPC", &detail.grpc);
    fields.flag(out, "GRPCUseTLS", detail.grpc_use_tls);
    fields.text(out, "AliasNode", &detail.alias_node);
    fields.text(out, "AliasService", &detail.alias_service);
    if !detail.ttl.is_zero() {
        fields.name(out, "TTL");
        uint(
            out,
            u64::try_from(detail.ttl.as_nanos()).unwrap_or(u64::MAX),
        );
    }
    fields.close(out);
}

fn duration(fields: &mut Sparse, out: &mut Vec<u8>, name: &str, d: Duration) {
    if !d.is_zero() {
        fields.name(out, name);
        string(out, &format_go(d));
    }
}
