//! Transactions.

use tribune_types::catalog as cat;
use tribune_types::txn as domain;

use super::{DirEntry, HealthCheck, Node, NodeService, RecordError, Session, mirror};
use crate::msgpack::{Any, Str};

mirror! {
    /// `structs.TxnRequest`.
    TxnRequest<'a> {
        "Datacenter" datacenter: Str<'a>,
        "Ops" ops: Option<Vec<TxnOp<'a>>>,
        "Token" token: Str<'a>,
    }

    /// `structs.TxnOp`: one of the fields is set.
    TxnOp<'a> {
        "Check" check: Option<TxnCheckOp<'a>>,
        "Intention" intention: Option<Any>,
        "KV" kv: Option<TxnKvOp<'a>>,
        "Node" node: Option<TxnNodeOp<'a>>,
        "Service" service: Option<TxnServiceOp<'a>>,
        "Session" session: Option<TxnSessionOp<'a>>,
    }

    /// `structs.TxnKVOp`.
    TxnKvOp<'a> {
        "DirEnt" dir_ent: DirEntry<'a>,
        "Verb" verb: Str<'a>,
    }

    /// `structs.TxnNodeOp`.
    TxnNodeOp<'a> {
        "Node" node: Node<'a>,
        "Verb" verb: Str<'a>,
    }

    /// `structs.TxnServiceOp`.
    TxnServiceOp<'a> {
        "Node" node: Str<'a>,
        "Service" service: NodeService<'a>,
        "Verb" verb: Str<'a>,
    }

    /// `structs.TxnCheckOp`.
    TxnCheckOp<'a> {
        "Check" check: HealthCheck<'a>,
        "Verb" verb: Str<'a>,
    }

    /// `structs.TxnSessionOp`.
    TxnSessionOp<'a> {
        "Session" session: Session<'a>,
        "Verb" verb: Str<'a>,
    }

    /// `structs.TxnResponse`.
    TxnResponse<'a> {
        "Errors" errors: Option<Vec<TxnError<'a>>>,
        "Results" results: Option<Vec<TxnResult<'a>>>,
    }

    /// `structs.TxnError`.
    TxnError<'a> {
        "OpIndex" op_index: i64,
        "What" what: Str<'a>,
    }

    /// `structs.TxnResult`: one of the fields is set.
    TxnResult<'a> {
        "Check" check: Option<HealthCheck<'a>>,
        "KV" kv: Option<DirEntry<'a>>,
        "Node" node: Option<Node<'a>>,
        "Service" service: Option<NodeService<'a>>,
    }
}

/// The verb of the only thing that can be done to a session.
const SESSION_DELETE: &str = "delete";

impl<'a> From<&'a domain::TxnOp> for TxnOp<'a> {
    fn from(op: &'a domain::TxnOp) -> Self {
        let mut out = TxnOp::default();
        match op {
            domain::TxnOp::Kv(verb, entry) => {
                out.kv = Some(TxnKvOp {
                    dir_ent: entry.into(),
                    verb: verb.as_str().into(),
                });
            }
            domain::TxnOp::Node(verb, node) => {
                out.node = Some(TxnNodeOp {
                    node: (&**node).into(),
                    verb: verb.as_str().into(),
                });
            }
            domain::TxnOp::Service(verb, node, service) => {
                let service = (&**service).into();
                out.service = Some(TxnServiceOp {
                    node: node.into(),
                    service,
                    verb: verb.as_str().into(),
                });
            }
            domain::TxnOp::Check(verb, check) => {
                out.check = Some(TxnCheckOp {
                    check: (&**check).into(),
                    verb: verb.as_str().into(),
                });
            }
            domain::TxnOp::SessionDestroy(id) => {
                out.session = Some(TxnSessionOp {
                    session: Session::of(*id),
                    verb: SESSION_DELETE.into(),
                });
            }
        }
        out
    }
}

impl TryFrom<TxnOp<'_>> for domain::TxnOp {
    type Error = RecordError;

    fn try_from(op: TxnOp<'_>) -> Result<Self, RecordError> {
        if let Some(op) = op.kv {
            let verb = domain::KvVerb::parse(&op.verb).ok_or_else(|| word("KV verb", &op.verb))?;
            return Ok(domain::TxnOp::Kv(verb, op.dir_ent.try_into()?));
        }
        if let Some(op) = op.node {
            return Ok(domain::TxnOp::Node(
                verb("node verb", &op.verb)?,
                Box::new(op.node.try_into()?),
            ));
        }
        if let Some(op) = op.service {
            let service: cat::Service = op.service.try_into()?;
            return Ok(domain::TxnOp::Service(
                verb("service verb", &op.verb)?,
                op.node.into(),
                Box::new(service),
            ));
        }
        if let Some(op) = op.check {
            return Ok(domain::TxnOp::Check(
                verb("check verb", &op.verb)?,
                Box::new(op.check.into()),
            ));
        }
        if let Some(op) = op.session {
            if &*op.verb != SESSION_DELETE {
                return Err(word("session verb", &op.verb));
            }
            return Ok(domain::TxnOp::SessionDestroy(op.session.session_id()?));
        }
        Err(match op.intention {
            Some(_) => RecordError::Unsupported("an intention in a transaction"),
            None => RecordError::Missing("the operation"),
        })
    }
}

fn verb(field: &'static str, text: &str) -> Result<domain::CatalogVerb, RecordError> {
    domain::CatalogVerb::parse(text).ok_or_else(|| word(field, text))
}

fn word(field: &'static str, text: &str) -> RecordError {
    RecordError::Word {
        field,
        word: text.to_owned(),
    }
}

impl<'a> From<&'a domain::TxnOutcome> for TxnResponse<'a> {
    fn from(outcome: &'a domain::TxnOutcome) -> Self {
        let error = |e: &'a domain::TxnError| TxnError {
            op_index: i64::try_from(e.op_index).unwrap_or(i64::MAX),
            what: (&*e.what).into(),
        };
        TxnResponse {
            errors: (!outcome.errors.is_empty())
                .then(|| outcome.errors.iter().map(error).collect()),
            results: (!outcome.results.is_empty())
                .then(|| outcome.results.iter().map(Into::into).collect()),
        }
    }
}

impl<'a> From<&'a domain::TxnResult> for TxnResult<'a> {
    fn from(result: &'a domain::TxnResult) -> Self {
        let mut out = TxnResult::default();
        match result {
            domain::TxnResult::Kv { entry, with_value } => {
                let mut entry = DirEntry::from(&**entry);
                if !with_value {
                    entry.value = crate::msgpack::Bytes(&[]);
                }
                out.kv = Some(entry);
            }
            domain::TxnResult::Node(node) => out.node = Some((&**node).into()),
            domain::TxnResult::Service(service) => out.service = Some(NodeService::stored(service)),
            domain::TxnResult::Check(check) => out.check = Some((&**check).into()),
        }
        out
    }
}
