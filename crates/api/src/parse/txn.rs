//! Transactions.
//!
//! An operation that names an unknown verb or a session that cannot exist is not a decode error: Consul answers it with
//! 409 and the position of the operation. Such errors are collected in [`TxnRequest::errors`]; with any, nothing may be
//! applied. `{}` and `null` operations are dropped before positions are counted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tribune_types::catalog::{Check, Node, Service};
use tribune_types::id::Index;
use tribune_types::kv::KvEntry;
use tribune_types::text::Text;
use tribune_types::txn::{CatalogVerb, KvVerb, TxnError, TxnOp};

use super::BodyError;
use super::catalog::{Depth, detail, status};
use super::decode::{
    At, boolean, fields, int, lower, opaque_map, string, string_list, text_map, top_mismatch, uint,
    unknown,
};
use super::proxy::{catalog_weights, tagged_addresses};
use crate::errors::ApiError;
use crate::json::{Json, JsonError, parse};
use crate::uuid::{parse_node_id, parse_session};

/// Most operations of a transaction.
pub const TXN_OPS_MAX: usize = 64;

/// A decoded transaction.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TxnRequest {
    /// Operations in order.
    pub ops: Vec<TxnOp>,
    /// Operations that are wrong in themselves.
    pub errors: Vec<TxnError>,
    /// Something would change. Decides the shape of the answer, also of a failed one.
    pub writes: bool,
}

/// The body of `/v1/txn`. `value_size_max` bounds the value of each operation.
pub fn txn(body: &[u8], value_size_max: u64) -> Result<TxnRequest, ApiError> {
    let failed = |error: BodyError| match error {
        BodyError::Refused(text) => ApiError::from_text(text),
        other => ApiError::bad(format!("Failed to parse body: {other}")),
    };
    let json = parse(body).map_err(|error| failed(error.into()))?;
    let items: &[Json<'_>] = match &json {
        Json::Array(items) => items,
        Json::Null => &[],
        other => return Err(failed(top_mismatch(other, "api.TxnOps").into())),
    };
    let mut request = TxnRequest::default();
    // Decoding comes before counting, as everywhere.
    let mut decoded = Vec::with_capacity(items.len().min(TXN_OPS_MAX));
    for item in items {
        decoded.push(operation(item).map_err(failed)?);
    }
    if items.len() > TXN_OPS_MAX {
        return Err(ApiError::new(
            413,
            format!(
                "Transaction contains too many operations ({} > {TXN_OPS_MAX})",
                items.len()
            ),
        ));
    }
    let decoded: Vec<Operation> = decoded.into_iter().flatten().collect();
    request.writes = decoded.iter().any(Operation::writes);
    for (op_index, op) in decoded.iter().enumerate() {
        if let Some(what) = op.refused() {
            request.errors.push(TxnError { op_index, what });
        }
    }
    // These are found before any verb is looked at.
    if !request.errors.is_empty() {
        return Ok(request);
    }
    for op in decoded {
        let op_index = request.ops.len() + request.errors.len();
        if let Operation::Kv(kv) = &op
            && kv.entry.value.len() as u64 > value_size_max
        {
            let key = String::from_utf8_lossy(&kv.entry.key);
            return Err(ApiError::new(
                413,
                format!(
                    "Value for key \"{key}\" is too large ({} > {value_size_max} bytes)",
                    kv.entry.value.len()
                ),
            ));
        }
        match op.into_op() {
            Ok(op) => request.ops.push(op),
            Err(what) => request.errors.push(TxnError { op_index, what }),
        }
    }
    Ok(request)
}

/// An operation before its verb is known to exist.
enum Operation {
    Kv(Box<KvOperation>),
    Node {
        verb: Text,
        id: Text,
        node: Box<Node>,
    },
    Service {
        verb: Text,
        node: Text,
        service: Box<Service>,
    },
    Check {
        verb: Text,
        check: Box<Check>,
    },
}

#[derive(Default)]
struct KvOperation {
    verb: Text,
    session: Text,
    entry: KvEntry,
}

impl Operation {
    fn writes(&self) -> bool {
        match self {
            // An unknown verb of a key counts as a read, others as writes: the answers show it.
            Operation::Kv(kv) => KvVerb::parse(&kv.verb).is_some_and(|verb| !verb.is_read()),
            Operation::Node { verb, .. }
            | Operation::Service { verb, .. }
            | Operation::Check { verb, .. } => &**verb != "get",
        }
    }

    /// What the leader refuses before it applies anything.
    fn refused(&self) -> Option<String> {
        match self {
            Operation::Kv(kv) if kv.entry.key.is_empty() && &*kv.verb != "delete-tree" => {
                Some("Must provide key".to_owned())
            }
            Operation::Node { verb, id, node } if &**verb != "get" => {
                if node.name.is_empty() {
                    return Some("Must provide node".to_owned());
                }
                let bad = (!id.is_empty())
                    .then(|| parse_node_id(id).err())
                    .flatten()?;
                Some(format!("Bad node ID: {bad}"))
            }
            _ => None,
        }
    }

    fn into_op(self) -> Result<TxnOp, String> {
        match self {
            Operation::Kv(kv) => kv_op(*kv),
            Operation::Node { verb, id, mut node } => {
                let verb = catalog_verb("Node", &verb)?;
                if !id.is_empty() {
                    node.id =
                        Some(parse_node_id(&id).map_err(|why| format!("Bad node ID: {why}"))?);
                }
                Ok(TxnOp::Node(verb, node))
            }
            Operation::Service {
                verb,
                node,
                service,
            } => Ok(TxnOp::Service(
                catalog_verb("Service", &verb)?,
                node,
                service,
            )),
            Operation::Check { verb, check } => {
                Ok(TxnOp::Check(catalog_verb("Check", &verb)?, check))
            }
        }
    }
}

fn catalog_verb(what: &str, word: &str) -> Result<CatalogVerb, String> {
    CatalogVerb::parse(word)
        .ok_or_else(|| format!("unknown {what} verb {}", crate::json::go_quote(word)))
}

fn kv_op(mut kv: KvOperation) -> Result<TxnOp, String> {
    let unknown_verb = || format!("unknown KV verb {}", crate::json::go_quote(&kv.verb));
    let verb = KvVerb::parse(&kv.verb).ok_or_else(unknown_verb)?;
    let key = String::from_utf8_lossy(&kv.entry.key);
    match verb {
        // Without a session it is refused when it is applied, beside the errors of the other operations.
        KvVerb::Lock if kv.session.is_empty() => {}
        KvVerb::Lock => match parse_session(&kv.session)? {
            Some(id) => kv.entry.session = Some(id),
            None => {
                return Err(format!(
                    "invalid session {}",
                    crate::json::go_quote(&kv.session)
                ));
            }
        },
        KvVerb::Unlock | KvVerb::CheckSession if !kv.session.is_empty() => {
            match parse_session(&kv.session) {
                Ok(Some(id)) => kv.entry.session = Some(id),
                // No lock is ever held by it.
                _ if verb == KvVerb::Unlock => {
                    return Err(format!(
                        "failed to unlock key {}, lock isn't held, or is held by another session",
                        crate::json::go_quote(&key)
                    ));
                }
                _ => {
                    return Err(format!(
                        "failed session check for key {}, current session != {}",
                        crate::json::go_quote(&key),
                        crate::json::go_quote(&kv.session)
                    ));
                }
            }
        }
        _ => {}
    }
    Ok(TxnOp::Kv(verb, kv.entry))
}

/// One element of the array; the first kind that is set counts.
fn operation(value: &Json<'_>) -> Result<Option<Operation>, BodyError> {
    let top = At::top("", "");
    let Some(pairs) = fields(value, top, "api.TxnOp")? else {
        return Ok(None);
    };
    let (mut kv, mut node, mut service, mut check) = (None, None, None, None);
    for (name, value) in pairs {
        let at = At::top("TxnOp", name);
        match &*lower(name) {
            "kv" => kv = kv_operation(value, at)?,
            "node" => node = node_operation(value, at)?,
            "service" => service = service_operation(value, at)?,
            "check" => check = check_operation(value, at)?,
            _ => return Err(unknown(name).into()),
        }
    }
    Ok(kv.or(node).or(service).or(check))
}

fn kv_operation(value: &Json<'_>, at: At<'_>) -> Result<Option<Operation>, BodyError> {
    let Some(pairs) = fields(value, at, "api.KVTxnOp")? else {
        return Ok(None);
    };
    let mut kv = KvOperation::default();
    let mut key = Text::default();
    for (name, value) in pairs {
        let here = at.inside("KVTxnOp", name);
        match &*lower(name) {
            "verb" => string(&mut kv.verb, value, here)?,
            "key" => string(&mut key, value, here)?,
            "value" => kv.entry.value = base64(value, here)?,
            "flags" => uint(&mut kv.entry.flags, value, here, "uint64")?,
            "index" => uint(&mut kv.entry.modify.0, value, here, "uint64")?,
            "session" => string(&mut kv.session, value, here)?,
            "namespace" => string(&mut Text::default(), value, here)?,
            _ => return Err(unknown(name).into()),
        }
    }
    kv.entry.key = key.as_bytes().into();
    Ok(Some(Operation::Kv(Box::new(kv))))
}

/// Standard base64; line breaks inside are skipped, as in Go.
fn base64(value: &Json<'_>, at: At<'_>) -> Result<Box<[u8]>, JsonError> {
    match value {
        Json::Null => Ok(Box::default()),
        Json::String(s) => {
            let decoded = if s.contains(['\r', '\n']) {
                STANDARD.decode(s.replace(['\r', '\n'], ""))
            } else {
                STANDARD.decode(&**s)
            };
            decoded
                .map(Vec::into_boxed_slice)
                .map_err(|error| JsonError::Value(base64_error(&error, s)))
        }
        other => Err(at.mismatch(other.kind(), "[]uint8")),
    }
}

fn base64_error(error: &base64::DecodeError, given: &str) -> String {
    let at = match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => {
            *at
        }
        // Go points at the start of the incomplete group.
        _ => given.trim_end_matches('=').len() / 4 * 4,
    };
    format!("illegal base64 data at input byte {at}")
}

fn node_operation(value: &Json<'_>, at: At<'_>) -> Result<Option<Operation>, BodyError> {
    let Some(pairs) = fields(value, at, "api.NodeTxnOp")? else {
        return Ok(None);
    };
    let (mut verb, mut id, mut node) = (Text::default(), Text::default(), Node::default());
    for (name, value) in pairs {
        let here = at.inside("NodeTxnOp", name);
        match &*lower(name) {
            "verb" => string(&mut verb, value, here)?,
            "node" => node_record(&mut node, &mut id, value, here)?,
            _ => return Err(unknown(name).into()),
        }
    }
    Ok(Some(Operation::Node {
        verb,
        id,
        node: Box::new(node),
    }))
}

fn node_record(
    node: &mut Node,
    id: &mut Text,
    value: &Json<'_>,
    at: At<'_>,
) -> Result<(), JsonError> {
    for (name, value) in fields(value, at, "api.Node")?.unwrap_or_default() {
        let here = at.inside("Node", name);
        match &*lower(name) {
            "id" => string(id, value, here)?,
            "node" => string(&mut node.name, value, here)?,
            "address" => string(&mut node.address, value, here)?,
            "datacenter" => string(&mut node.datacenter, value, here)?,
            "taggedaddresses" => node.tagged_addresses = text_map(value, here)?,
            "meta" => node.meta = text_map(value, here)?,
            "createindex" => uint(&mut node.create.0, value, here, "uint64")?,
            "modifyindex" => uint(&mut node.modify.0, value, here, "uint64")?,
            _ => return Err(unknown(name)),
        }
    }
    Ok(())
}

fn service_operation(value: &Json<'_>, at: At<'_>) -> Result<Option<Operation>, BodyError> {
    let Some(pairs) = fields(value, at, "api.ServiceTxnOp")? else {
        return Ok(None);
    };
    let (mut verb, mut node, mut service) = (Text::default(), Text::default(), Service::default());
    for (name, value) in pairs {
        let here = at.inside("ServiceTxnOp", name);
        match &*lower(name) {
            "verb" => string(&mut verb, value, here)?,
            "node" => string(&mut node, value, here)?,
            "service" => service_record(&mut service, value, here)?,
            _ => return Err(unknown(name).into()),
        }
    }
    Ok(Some(Operation::Service {
        verb,
        node,
        service: Box::new(service),
    }))
}

/// Kind, tagged addresses, proxy and mesh blocks are read and dropped: Consul's transactions do not carry them.
fn service_record(service: &mut Service, value: &Json<'_>, at: At<'_>) -> Result<(), JsonError> {
    let (mut dropped, mut number) = (Text::default(), 0);
    for (name, value) in fields(value, at, "api.AgentService")?.unwrap_or_default() {
        let here = at.inside("AgentService", name);
        match &*lower(name) {
            "id" => string(&mut service.id, value, here)?,
            "service" => string(&mut service.name, value, here)?,
            "tags" => service.tags = string_list(value, here, "[]string")?.unwrap_or_default(),
            "meta" => service.meta = text_map(value, here)?,
            "port" => int(&mut service.port, value, here)?,
            "address" => string(&mut service.address, value, here)?,
            "weights" => service.weights = catalog_weights(value, here)?,
            "enabletagoverride" => boolean(&mut service.enable_tag_override, value, here)?,
            "modifyindex" => uint(&mut service.modify.0, value, here, "uint64")?,
            "createindex" => uint(&mut number, value, here, "uint64")?,
            "kind" | "contenthash" | "namespace" => string(&mut dropped, value, here)?,
            "taggedaddresses" => drop(tagged_addresses(value, here)?),
            "proxy" | "connect" => drop(opaque_map(value, here)?),
            _ => return Err(unknown(name)),
        }
    }
    Ok(())
}

fn check_operation(value: &Json<'_>, at: At<'_>) -> Result<Option<Operation>, BodyError> {
    let Some(pairs) = fields(value, at, "api.CheckTxnOp")? else {
        return Ok(None);
    };
    let (mut verb, mut check) = (Text::default(), Check::default());
    for (name, value) in pairs {
        let here = at.inside("CheckTxnOp", name);
        match &*lower(name) {
            "verb" => string(&mut verb, value, here)?,
            "check" => check_record(&mut check, value, here)?,
            _ => return Err(unknown(name).into()),
        }
    }
    Ok(Some(Operation::Check {
        verb,
        check: Box::new(check),
    }))
}

fn check_record(check: &mut Check, value: &Json<'_>, at: At<'_>) -> Result<(), BodyError> {
    let (mut dropped, mut number) = (Text::default(), Index(0));
    for (name, value) in fields(value, at, "api.HealthCheck")?.unwrap_or_default() {
        let here = at.inside("HealthCheck", name);
        match &*lower(name) {
            "node" => string(&mut check.node, value, here)?,
            "checkid" => string(&mut check.id, value, here)?,
            "name" => string(&mut check.name, value, here)?,
            "status" => check.status = status(value, here)?,
            "notes" => string(&mut check.notes, value, here)?,
            "output" => string(&mut check.output, value, here)?,
            "serviceid" => string(&mut check.service_id, value, here)?,
            "servicename" => string(&mut check.service_name, value, here)?,
            "definition" => check.definition = detail(value, here, Depth::Txn)?,
            "modifyindex" => uint(&mut check.modify.0, value, here, "uint64")?,
            "createindex" => uint(&mut number.0, value, here, "uint64")?,
            "servicetags" => drop(string_list(value, here, "[]string")?),
            "type" | "namespace" => string(&mut dropped, value, here)?,
            _ => return Err(unknown(name).into()),
        }
    }
    Ok(())
}
