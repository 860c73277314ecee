//! What requests and replies have in common: query options, datacenter and token, query meta (rpc.md sections 5, 6).

use std::time::Duration;

use tribune_types::caller::Token;
use tribune_types::id::Index;
use tribune_types::query::{Consistency, ListOptions, QueryMeta, ReadOptions};
use tribune_types::text::{Text, TextMap};

use super::Error;
use super::fields::Fields;
use crate::msgpack::{self, Dur, Map, Str};
use crate::records::mirror;

/// Where a request is to be served, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// Datacenter; an empty one is an error of the caller, except where it does not matter.
    pub datacenter: Text,
    /// Secret of the token.
    pub token: Token,
}

mirror! {
    /// `structs.QuerySource`.
    Source<'a> {
        "Datacenter" datacenter: Str<'a>,
        "Ip" ip: Str<'a>,
        "Node" node: Str<'a>,
        "Segment" segment: Str<'a>,
    }

    /// Every field that more than one request has.
    Common<'a> {
        "AllowStale" allow_stale: bool,
        "Datacenter" datacenter: Str<'a>,
        "Filter" filter: Str<'a>,
        "MaxQueryTime" max_query_time: Dur,
        "MaxStaleDuration" max_stale: Dur,
        "MinQueryIndex" min_index: u64,
        "NodeMetaFilters" node_meta: Option<Map<'a, Str<'a>>>,
        "RequireConsistent" require_consistent: bool,
        "Source" source: Source<'a>,
        "Token" token: Str<'a>,
    }

    /// `structs.QueryMeta`.
    Meta<'a> {
        "ConsistencyLevel" consistency: Str<'a>,
        "Index" index: u64,
        "KnownLeader" known_leader: bool,
        "LastContact" last_contact: Dur,
    }
}

impl Common<'_> {
    pub(super) fn envelope(&self) -> Envelope {
        Envelope {
            datacenter: self.datacenter.to_text(),
            token: Token::new(self.token.to_text()),
        }
    }

    /// How to read. The datacenter is in the envelope.
    pub(super) fn read_options(&self) -> ReadOptions {
        let positive = |span: Dur| (span.0 > 0).then(|| Duration::from(span));
        ReadOptions {
            datacenter: None,
            min_index: Index(self.min_index),
            wait: positive(self.max_query_time),
            consistency: match (self.require_consistent, self.allow_stale) {
                (true, _) => Consistency::Consistent,
                (false, true) => Consistency::Stale,
                (false, false) => Consistency::Default,
            },
            max_stale: positive(self.max_stale),
        }
    }

    /// What narrows and sorts a list. Distances are known within a datacenter only.
    pub(super) fn list_options(&self) -> ListOptions {
        let near = if self.source.datacenter == self.datacenter {
            self.source.node.to_text()
        } else {
            Text::default()
        };
        ListOptions {
            node_meta: self.node_meta(),
            filter: self.filter.to_text(),
            near,
        }
    }

    pub(super) fn node_meta(&self) -> TextMap {
        self.node_meta.clone().map(Into::into).unwrap_or_default()
    }
}

/// Adds `QueryOptions`.
pub(super) fn put_options<'a>(
    fields: &mut Fields<'a>,
    options: &ReadOptions,
    filter: &'a str,
    token: &'a str,
) {
    let nanos = |span: Option<Duration>| span.map_or(0, |span| Dur::from(span).0);
    fields.bool("AllowStale", options.consistency == Consistency::Stale);
    fields.str("Filter", filter);
    fields.int("MaxAge", 0);
    fields.int("MaxQueryTime", nanos(options.wait));
    fields.int("MaxStaleDuration", nanos(options.max_stale));
    fields.uint("MinQueryIndex", options.min_index.0);
    fields.bool("MustRevalidate", false);
    fields.bool(
        "RequireConsistent",
        options.consistency == Consistency::Consistent,
    );
    fields.int("StaleIfError", 0);
    fields.str("Token", token);
    fields.bool("UseCache", false);
}

/// Adds the fields of a list: metadata to have, and the node to sort from.
pub(super) fn put_node_meta<'a>(fields: &mut Fields<'a>, wanted: &'a TextMap) {
    fields.put(
        "NodeMetaFilters",
        (!wanted.is_empty()).then(|| Map::from(wanted)),
    );
}

/// Adds the place to sort from. Requests that sort name the datacenter even without a node.
pub(super) fn put_source<'a>(fields: &mut Fields<'a>, datacenter: &'a str, near: &'a str) {
    let source = Source {
        datacenter: datacenter.into(),
        node: near.into(),
        ..Source::default()
    };
    fields.put("Source", source);
}

/// Adds `QueryMeta`. Servers leave the consistency level to agents.
pub(super) fn put_meta(fields: &mut Fields<'_>, meta: &QueryMeta) {
    fields.str("ConsistencyLevel", "");
    fields.uint("Index", meta.index.0);
    fields.bool("KnownLeader", meta.known_leader);
    fields.int("LastContact", Dur::from(meta.last_contact).0);
}

/// Reads `QueryMeta` out of a reply. The consistency is for the caller to fill in: servers do not tell.
pub(super) fn read_meta(body: &[u8]) -> Result<QueryMeta, Error> {
    let meta: Meta<'_> = msgpack::from_slice(body)?;
    Ok(QueryMeta {
        index: Index(meta.index),
        known_leader: meta.known_leader,
        last_contact: meta.last_contact.into(),
        consistency: Consistency::Default,
    })
}
