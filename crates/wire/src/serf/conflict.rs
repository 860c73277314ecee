//! Answers to the query who holds a name: a member, or nil (gossip.md section 7.9).

use std::net::SocketAddr;
use std::sync::Arc;

use tribune_serf::ConflictAnswer;
use tribune_types::text::{Text, TextMap};

use super::tags::{put_tags, take_tags};
use super::{Malformed, body, kind};
use crate::ip;
use crate::msgpack::encode::{put_nil, put_str, put_uint};

/// The payload of an answer; `None` if we do not know the name.
pub fn encode(answer: Option<&ConflictAnswer>) -> Arc<[u8]> {
    let mut out = vec![kind::CONFLICT_RESPONSE];
    let Some(answer) = answer else {
        put_nil(&mut out);
        return Arc::from(out);
    };
    let [pmin, pmax, pcur, dmin, dmax, dcur] = answer.versions;
    out.extend_from_slice(b"\x8b\xa4Addr");
    ip::put(&mut out, answer.addr.ip());
    for (name, value) in [
        ("DelegateCur", dcur),
        ("DelegateMax", dmax),
        ("DelegateMin", dmin),
    ] {
        put_str(&mut out, name);
        put_uint(&mut out, u64::from(value));
    }
    out.extend_from_slice(b"\xa4Name");
    put_str(&mut out, &answer.name);
    out.extend_from_slice(b"\xa4Port");
    put_uint(&mut out, u64::from(answer.addr.port()));
    for (name, value) in [
        ("ProtocolCur", pcur),
        ("ProtocolMax", pmax),
        ("ProtocolMin", pmin),
        ("Status", answer.status),
    ] {
        put_str(&mut out, name);
        put_uint(&mut out, u64::from(value));
    }
    out.extend_from_slice(b"\xa4Tags");
    put_tags(&answer.tags, &mut out);
    Arc::from(out)
}

/// Reads the payload of an answer; `None` if the other member does not know the name.
///
/// # Errors
/// See [`Malformed`].
pub fn decode(payload: &[u8]) -> Result<Option<ConflictAnswer>, Malformed> {
    const NAMES: [&str; 11] = [
        "Name",
        "Addr",
        "Port",
        "Tags",
        "Status",
        "ProtocolMin",
        "ProtocolMax",
        "ProtocolCur",
        "DelegateMin",
        "DelegateMax",
        "DelegateCur",
    ];
    let mut reader = body(kind::CONFLICT_RESPONSE, payload)?;
    if reader.rest().first() == Some(&0xc0) {
        return Ok(None);
    }
    let (mut name, mut tags, mut status, mut versions) =
        (Text::default(), TextMap::new(), 0, [0; 6]);
    let (mut ip, mut port) = (None, 0);
    reader.fields(NAMES, |at, r| {
        match at {
            0 => name = r.text()?,
            1 => ip = ip::from_bytes(&r.bytes()?.unwrap_or_default()),
            2 => port = r.uint()?,
            3 => {
                let (read, result) = take_tags(r);
                result?;
                tags = read;
            }
            4 => status = r.uint()?,
            at => versions[at - 5] = r.uint()?,
        }
        Ok::<(), Malformed>(())
    })?;
    let addr = SocketAddr::new(ip.ok_or(Malformed::Address)?, port);
    Ok(Some(ConflictAnswer {
        name,
        addr,
        tags,
        status,
        versions,
    }))
}
