//! Prepared queries.

use tribune_types::id::Index;
use tribune_types::prepared as domain;
use tribune_types::text::Text;

use super::{mirror, strs, texts};
use crate::msgpack::{Map, Str};

mirror! {
    /// `structs.PreparedQuery`.
    PreparedQuery<'a> {
        "CreateIndex" create_index: u64,
        "DNS" dns: QueryDnsOptions<'a>,
        "ID" id: Str<'a>,
        "ModifyIndex" modify_index: u64,
        "Name" name: Str<'a>,
        "Service" service: ServiceQuery<'a>,
        "Session" session: Str<'a>,
        "Template" template: QueryTemplateOptions<'a>,
        "Token" token: Str<'a>,
    }

    /// `structs.ServiceQuery`.
    ServiceQuery<'a> {
        "Connect" connect: bool,
        "Failover" failover: QueryDatacenterOptions<'a>,
        "IgnoreCheckIDs" ignore_check_ids: Option<Vec<Str<'a>>>,
        "Near" near: Str<'a>,
        "NodeMeta" node_meta: Option<Map<'a, Str<'a>>>,
        "OnlyPassing" only_passing: bool,
        "Service" service: Str<'a>,
        "ServiceMeta" service_meta: Option<Map<'a, Str<'a>>>,
        "Tags" tags: Option<Vec<Str<'a>>>,
    }

    /// `structs.QueryDatacenterOptions`.
    QueryDatacenterOptions<'a> {
        "Datacenters" datacenters: Option<Vec<Str<'a>>>,
        "NearestN" nearest_n: i64,
    }

    /// `structs.QueryDNSOptions`.
    QueryDnsOptions<'a> {
        "TTL" ttl: Str<'a>,
    }

    /// `structs.QueryTemplateOptions`.
    QueryTemplateOptions<'a> {
        "Regexp" regexp: Str<'a>,
        "RemoveEmptyTags" remove_empty_tags: bool,
        "Type" kind: Str<'a>,
    }

    /// `structs.PreparedQueryRequest`.
    PreparedQueryRequest<'a> {
        "Datacenter" datacenter: Str<'a>,
        "Op" op: Str<'a>,
        "Query" query: Option<PreparedQuery<'a>>,
        "Token" token: Str<'a>,
    }
}

/// The word of entries that store a query, new or not.
pub(crate) const SET: &str = "update";
/// The word of entries that forget one.
pub(crate) const DELETE: &str = "delete";

fn list(items: Option<&Vec<Text>>) -> Option<Vec<Str<'_>>> {
    items.map(|items| strs(items))
}

fn some_texts(items: Option<Vec<Str<'_>>>) -> Option<Vec<Text>> {
    items.map(|items| texts(Some(items)))
}

impl<'a> From<&'a domain::PreparedQuery> for PreparedQuery<'a> {
    fn from(q: &'a domain::PreparedQuery) -> Self {
        let service = &q.service;
        PreparedQuery {
            create_index: q.create.0,
            dns: (&q.dns).into(),
            id: (&q.id).into(),
            modify_index: q.modify.0,
            name: (&q.name).into(),
            service: ServiceQuery {
                connect: service.connect,
                failover: QueryDatacenterOptions {
                    datacenters: list(service.failover.datacenters.as_ref()),
                    nearest_n: service.failover.nearest_n,
                },
                ignore_check_ids: list(service.ignore_check_ids.as_ref()),
                near: (&service.near).into(),
                node_meta: service.node_meta.as_ref().map(Into::into),
                only_passing: service.only_passing,
                service: (&service.service).into(),
                service_meta: service.service_meta.as_ref().map(Into::into),
                tags: list(service.tags.as_ref()),
            },
            session: (&q.session).into(),
            template: QueryTemplateOptions {
                regexp: (&q.template.regexp).into(),
                remove_empty_tags: q.template.remove_empty_tags,
                kind: (&q.template.kind).into(),
            },
            token: (&q.token).into(),
        }
    }
}

impl From<PreparedQuery<'_>> for domain::PreparedQuery {
    fn from(q: PreparedQuery<'_>) -> Self {
        let service = q.service;
        domain::PreparedQuery {
            id: q.id.into(),
            name: q.name.into(),
            session: q.session.into(),
            token: q.token.into(),
            template: domain::QueryTemplate {
                kind: q.template.kind.into(),
                regexp: q.template.regexp.into(),
                remove_empty_tags: q.template.remove_empty_tags,
            },
            service: domain::QueryService {
                service: service.service.into(),
                failover: domain::QueryFailover {
                    nearest_n: service.failover.nearest_n,
                    datacenters: some_texts(service.failover.datacenters),
                },
                only_passing: service.only_passing,
                ignore_check_ids: some_texts(service.ignore_check_ids),
                near: service.near.into(),
                tags: some_texts(service.tags),
                node_meta: service.node_meta.map(Into::into),
                service_meta: service.service_meta.map(Into::into),
                connect: service.connect,
            },
            dns: q.dns.into(),
            create: Index(q.create_index),
            modify: Index(q.modify_index),
        }
    }
}

impl<'a> From<&'a domain::QueryDns> for QueryDnsOptions<'a> {
    fn from(dns: &'a domain::QueryDns) -> Self {
        QueryDnsOptions {
            ttl: (&dns.ttl).into(),
        }
    }
}

impl From<QueryDnsOptions<'_>> for domain::QueryDns {
    fn from(dns: QueryDnsOptions<'_>) -> Self {
        domain::QueryDns {
            ttl: dns.ttl.into(),
        }
    }
}
