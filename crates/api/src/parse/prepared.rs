//! The body of `/v1/query`. Strict, nested objects too.

use tribune_types::prepared::{
    PreparedQuery, QueryDns, QueryFailover, QueryService, QueryTemplate,
};
use tribune_types::text::{Text, TextMap};

use super::BodyError;
use super::decode::{
    At, boolean, fields, int, list, lower, string, string_list, text_map, top_fields, uint, unknown,
};
use crate::json::{Json, JsonError, parse};

/// The query of a body. What follows the first value is not looked at.
pub fn prepared_query(body: &[u8]) -> Result<PreparedQuery, BodyError> {
    let json = parse(body)?;
    let mut query = PreparedQuery::default();
    for (name, value) in top_fields(&json, "structs.PreparedQuery")? {
        let at = At::top("PreparedQuery", name);
        match &*lower(name) {
            "id" => string(&mut query.id, value, at)?,
            "name" => string(&mut query.name, value, at)?,
            "session" => string(&mut query.session, value, at)?,
            "token" => string(&mut query.token, value, at)?,
            "template" => template(&mut query.template, value, at)?,
            "service" => service(&mut query.service, value, at)?,
            "dns" => dns(&mut query.dns, value, at)?,
            // The servers set them.
            "createindex" | "modifyindex" => uint(&mut 0, value, at, "uint64")?,
            _ => return Err(unknown(name).into()),
        }
    }
    Ok(query)
}

fn template(into: &mut QueryTemplate, value: &Json<'_>, at: At<'_>) -> Result<(), JsonError> {
    for (name, value) in fields(value, at, "structs.QueryTemplateOptions")?.unwrap_or_default() {
        let here = at.inside("QueryTemplateOptions", name);
        match &*lower(name) {
            "type" => string(&mut into.kind, value, here)?,
            "regexp" => string(&mut into.regexp, value, here)?,
            "removeemptytags" => boolean(&mut into.remove_empty_tags, value, here)?,
            _ => return Err(unknown(name)),
        }
    }
    Ok(())
}

fn service(into: &mut QueryService, value: &Json<'_>, at: At<'_>) -> Result<(), JsonError> {
    for (name, value) in fields(value, at, "structs.ServiceQuery")?.unwrap_or_default() {
        let here = at.inside("ServiceQuery", name);
        match &*lower(name) {
            "service" => string(&mut into.service, value, here)?,
            "failover" => failover(&mut into.failover, value, here)?,
            "onlypassing" => boolean(&mut into.only_passing, value, here)?,
            "ignorecheckids" => into.ignore_check_ids = check_ids(value, here)?,
            "near" => string(&mut into.near, value, here)?,
            "tags" => into.tags = string_list(value, here, "[]string")?,
            "nodemeta" => merge(&mut into.node_meta, text_map(value, here)?),
            "servicemeta" => merge(&mut into.service_meta, text_map(value, here)?),
            "connect" => boolean(&mut into.connect, value, here)?,
            _ => return Err(unknown(name)),
        }
    }
    Ok(())
}

/// A map that comes twice is one map, as in Go.
fn merge(into: &mut Option<TextMap>, more: Option<TextMap>) {
    match (into.as_mut(), more) {
        (Some(old), Some(more)) => {
            for (key, value) in more.iter() {
                old.insert(key.clone(), value.clone());
            }
        }
        (_, more) => *into = more,
    }
}

fn failover(into: &mut QueryFailover, value: &Json<'_>, at: At<'_>) -> Result<(), JsonError> {
    for (name, value) in fields(value, at, "structs.QueryDatacenterOptions")?.unwrap_or_default() {
        let here = at.inside("QueryDatacenterOptions", name);
        match &*lower(name) {
            "nearestn" => int(&mut into.nearest_n, value, here)?,
            "datacenters" => into.datacenters = string_list(value, here, "[]string")?,
            _ => return Err(unknown(name)),
        }
    }
    Ok(())
}

fn check_ids(value: &Json<'_>, at: At<'_>) -> Result<Option<Vec<Text>>, JsonError> {
    let Some(items) = list(value, at, "[]types.CheckID")? else {
        return Ok(None);
    };
    let mut ids = Vec::with_capacity(items.len());
    for item in items {
        let mut id = Text::default();
        match item {
            Json::String(_) | Json::Null => string(&mut id, item, at)?,
            other => return Err(at.mismatch(other.kind(), "types.CheckID")),
        }
        ids.push(id);
    }
    Ok(Some(ids))
}

fn dns(into: &mut QueryDns, value: &Json<'_>, at: At<'_>) -> Result<(), JsonError> {
    for (name, value) in fields(value, at, "structs.QueryDNSOptions")?.unwrap_or_default() {
        match &*lower(name) {
            "ttl" => string(&mut into.ttl, value, at.inside("QueryDNSOptions", name))?,
            _ => return Err(unknown(name)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;

    #[test]
    fn lists_and_maps_that_are_empty_differ_from_those_that_are_not_given() {
        let query = prepared_query(
            br#"{"name":"q","Service":{"service":"web","Tags":[],"NodeMeta":{},"IgnoreCheckIDs":["c"]},"DNS":{"TTL":"7s"},
                "Template":{"Type":"t","RemoveEmptyTags":true},"CreateIndex":7} and more"#,
        )
        .unwrap();
        let service = &query.service;
        assert_eq!((&*query.name, &*service.service), ("q", "web"));
        assert_eq!(service.tags, Some(Vec::new()));
        assert_eq!(service.node_meta, Some(TextMap::new()));
        assert_eq!(service.ignore_check_ids, Some(vec![text("c")]));
        assert_eq!(service.service_meta, None);
        assert_eq!(service.failover.datacenters, None);
        assert_eq!((&*query.dns.ttl, query.create.0), ("7s", 0));
        assert!(query.template.remove_empty_tags);
        assert_eq!(prepared_query(b"null"), Ok(PreparedQuery::default()));
    }

    #[test]
    fn bodies_that_do_not_fit_are_refused_in_gos_words() {
        // (body, text); captured from Consul 1.8.7.
        for (body, want) in [
            ("", "EOF"),
            (
                "[]",
                "json: cannot unmarshal array into Go value of type structs.PreparedQuery",
            ),
            (r#"{"Foo":1}"#, r#"json: unknown field "Foo""#),
            (r#"{"Service":{"Foo":1}}"#, r#"json: unknown field "Foo""#),
            (r#"{"Template":{"Foo":1}}"#, r#"json: unknown field "Foo""#),
            (r#"{"Namespace":"x"}"#, r#"json: unknown field "Namespace""#),
            (
                r#"{"Name":1}"#,
                "json: cannot unmarshal number into Go struct field PreparedQuery.Name of type string",
            ),
            (
                r#"{"Service":{"Tags":"x"}}"#,
                "json: cannot unmarshal string into Go struct field ServiceQuery.Service.Tags of type []string",
            ),
            (
                r#"{"DNS":{"TTL":5}}"#,
                "json: cannot unmarshal number into Go struct field QueryDNSOptions.DNS.TTL of type string",
            ),
            (
                r#"{"Service":{"Failover":{"NearestN":"x"}}}"#,
                "json: cannot unmarshal string into Go struct field QueryDatacenterOptions.Service.Failover.NearestN of type int",
            ),
            (
                r#"{"Service":{"Failover":{"Datacenters":[1]}}}"#,
                "json: cannot unmarshal number into Go struct field QueryDatacenterOptions.Service.Failover.Datacenters of type string",
            ),
            (
                r#"{"Service":{"NodeMeta":{"a":1}}}"#,
                "json: cannot unmarshal number into Go struct field ServiceQuery.Service.NodeMeta of type string",
            ),
            (
                r#"{"Service":{"IgnoreCheckIDs":[1]}}"#,
                "json: cannot unmarshal number into Go struct field ServiceQuery.Service.IgnoreCheckIDs of type types.CheckID",
            ),
            (
                r#"{"CreateIndex":"x"}"#,
                "json: cannot unmarshal string into Go struct field PreparedQuery.CreateIndex of type uint64",
            ),
            (
                r#"{"Service":1}"#,
                "json: cannot unmarshal number into Go struct field PreparedQuery.Service of type structs.ServiceQuery",
            ),
            (
                r#"{"Service":{"Failover":1}}"#,
                "json: cannot unmarshal number into Go struct field ServiceQuery.Service.Failover of type structs.QueryDatacenterOptions",
            ),
        ] {
            let err = prepared_query(body.as_bytes()).unwrap_err();
            assert_eq!(err.to_string(), want, "{body}");
        }
    }
}
