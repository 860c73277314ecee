//! Prepared queries and what they find.

use tribune_types::prepared::{ExecutedQuery, ExplainedQuery, PreparedQuery};
use tribune_types::query::QueryMeta;
use tribune_types::text::Text;

use super::write::{boolean, field, indexes, int, raw, string, string_list, text_map, uint};
use super::{Addresses, EmptyTags, catalog};

/// `{"ID":"…"}` of a new query.
pub fn query_created(out: &mut Vec<u8>, id: &str) {
    field(out, b"{\"ID\":", id);
    out.push(b'}');
}

/// What a query found.
pub fn query_executed(out: &mut Vec<u8>, executed: &ExecutedQuery, addresses: Addresses) {
    field(out, b"{\"Service\":", &executed.service);
    raw(out, b",\"Nodes\":");
    catalog::instances(out, &executed.nodes, addresses, EmptyTags::Null);
    field(out, b",\"DNS\":{\"TTL\":", &executed.dns.ttl);
    field(out, b"},\"Datacenter\":", &executed.datacenter);
    raw(out, b",\"Failovers\":");
    uint(out, executed.failovers);
    meta(out, &executed.meta);
    out.push(b'}');
}

/// What a query renders to.
pub fn query_explained(out: &mut Vec<u8>, explained: &ExplainedQuery) {
    raw(out, b"{\"Query\":");
    prepared_query(out, &explained.query);
    meta(out, &explained.meta);
    out.push(b'}');
}

fn meta(out: &mut Vec<u8>, meta: &QueryMeta) {
    raw(out, b",\"Index\":");
    uint(out, meta.index.0);
    raw(out, b",\"LastContact\":");
    let nanos = meta.last_contact.as_nanos();
    uint(out, u64::try_from(nanos).unwrap_or(u64::MAX));
    raw(out, b",\"KnownLeader\":");
    boolean(out, meta.known_leader);
    field(out, b",\"ConsistencyLevel\":", meta.consistency.as_str());
}

pub(super) fn prepared_query(out: &mut Vec<u8>, query: &PreparedQuery) {
    field(out, b"{\"ID\":", &query.id);
    field(out, b",\"Name\":", &query.name);
    field(out, b",\"Session\":", &query.session);
    field(out, b",\"Token\":", &query.token);
    field(out, b",\"Template\":{\"Type\":", &query.template.kind);
    field(out, b",\"Regexp\":", &query.template.regexp);
    raw(out, b",\"RemoveEmptyTags\":");
    boolean(out, query.template.remove_empty_tags);
    let service = &query.service;
    field(out, b"},\"Service\":{\"Service\":", &service.service);
    raw(out, b",\"Failover\":{\"NearestN\":");
    int(out, service.failover.nearest_n);
    raw(out, b",\"Datacenters\":");
    list_or_null(out, service.failover.datacenters.as_deref());
    raw(out, b"},\"OnlyPassing\":");
    boolean(out, service.only_passing);
    raw(out, b",\"IgnoreCheckIDs\":");
    list_or_null(out, service.ignore_check_ids.as_deref());
    raw(out, b",\"Near\":");
    string(out, &service.near);
    raw(out, b",\"Tags\":");
    list_or_null(out, service.tags.as_deref());
    raw(out, b",\"NodeMeta\":");
    text_map(out, service.node_meta.as_ref());
    raw(out, b",\"ServiceMeta\":");
    text_map(out, service.service_meta.as_ref());
    raw(out, b",\"Connect\":");
    boolean(out, service.connect);
    field(out, b"},\"DNS\":{\"TTL\":", &query.dns.ttl);
    out.push(b'}');
    indexes(out, query.create.0, query.modify.0);
    out.push(b'}');
}

fn list_or_null(out: &mut Vec<u8>, items: Option<&[Text]>) {
    match items {
        Some(items) => string_list(out, items),
        None => raw(out, b"null"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tribune_types::catalog::{Check, Node, Service};
    use tribune_types::id::Index;
    use tribune_types::prepared::{QueryDns, QueryFailover, QueryService, QueryTemplate};
    use tribune_types::query::{Consistency, Instance};
    use tribune_types::text::text;

    use super::*;

    #[test]
    fn a_query_shows_what_was_given_empty_and_what_was_not_given() {
        // Captured from Consul 1.8.7.
        let want = r#"{"Query":{"ID":"4338018b-1f36-2f5a-a932-54b2a16240f2","Name":"geo-db-x","Session":"","Token":"","Template":{"Type":"","Regexp":"","RemoveEmptyTags":false},"Service":{"Service":"exact3","Failover":{"NearestN":0,"Datacenters":[]},"OnlyPassing":false,"IgnoreCheckIDs":[],"Near":"","Tags":null,"NodeMeta":{},"ServiceMeta":null,"Connect":false},"DNS":{"TTL":"7s"},"CreateIndex":144,"ModifyIndex":150},"Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":"leader"}"#;
        let query = PreparedQuery {
            id: text("4338018b-1f36-2f5a-a932-54b2a16240f2"),
            name: text("geo-db-x"),
            template: QueryTemplate::default(),
            service: QueryService {
                service: text("exact3"),
                failover: QueryFailover {
                    nearest_n: 0,
                    datacenters: Some(Vec::new()),
                },
                ignore_check_ids: Some(Vec::new()),
                node_meta: Some(Default::default()),
                ..QueryService::default()
            },
            dns: QueryDns { ttl: text("7s") },
            create: Index(144),
            modify: Index(150),
            ..PreparedQuery::default()
        };
        let meta = QueryMeta {
            known_leader: true,
            ..QueryMeta::default()
        };
        let mut out = Vec::new();
        query_explained(&mut out, &ExplainedQuery { query, meta });
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn instances_without_tags_and_checks_have_null() {
        // As Consul 1.8.7 shows them; it makes lists of these elsewhere.
        let instance = |checks: Vec<Arc<Check>>| Instance {
            node: Arc::new(Node::default()),
            service: Arc::new(Service::default()),
            checks: checks.into(),
        };
        for (checks, want) in [
            (vec![], r#","Checks":null}"#),
            (vec![Arc::new(Check::default())], r#""ServiceTags":null"#),
        ] {
            let executed = ExecutedQuery {
                nodes: vec![instance(checks)],
                ..ExecutedQuery::default()
            };
            let mut out = Vec::new();
            query_executed(&mut out, &executed, Addresses::Lan);
            let shown = String::from_utf8(out).unwrap();
            assert!(shown.contains(want), "{shown}");
            assert!(shown.contains(r#""Tags":null"#), "{shown}");
        }
    }

    #[test]
    fn what_was_found_nowhere_is_a_list_without_instances() {
        // Captured from Consul 1.8.7.
        let want = r#"{"Service":"all-foo--foo","Nodes":[],"DNS":{"TTL":""},"Datacenter":"dc1","Failovers":0,"Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":"consistent"}"#;
        let executed = ExecutedQuery {
            service: text("all-foo--foo"),
            datacenter: text("dc1"),
            meta: QueryMeta {
                known_leader: true,
                consistency: Consistency::Consistent,
                ..QueryMeta::default()
            },
            ..ExecutedQuery::default()
        };
        let mut out = Vec::new();
        query_executed(&mut out, &executed, Addresses::Lan);
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}
