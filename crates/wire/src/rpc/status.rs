//! `Status.*`: who leads, who is there, how far the log is.

use tribune_types::duration::{format_go, parse_go};
use tribune_types::id::Term;
use tribune_types::query::ReadOptions;
use tribune_types::raft::ServerStats;

use super::Error;
use super::common::{put_node_meta, put_options, put_source};
use super::fields::Fields;
use crate::msgpack::{self, Str, encode};
use crate::records::mirror;

/// The body of requests without arguments, and of replies without data.
pub const EMPTY: &[u8] = &[0x80];

/// Asks whether a server is there. Body and reply are [`EMPTY`].
pub const PING: &str = "Status.Ping";
/// Asks for the leader. Body: [`encode_status`]; reply: [`decode_text`], `ip:port` or empty.
pub const LEADER: &str = "Status.Leader";
/// Asks for the peers. Body: [`encode_status`]; reply: [`decode_texts`], each `ip:port`.
pub const PEERS: &str = "Status.Peers";
/// Asks how far the log of a server is. Body: [`EMPTY`]; reply: [`decode_server_stats`].
pub const RAFT_STATS: &str = "Status.RaftStats";

mirror! {
    /// `structs.ServerStats`.
    Stats<'a> {
        "LastContact" last_contact: Str<'a>,
        "LastIndex" last_index: u64,
        "LastTerm" last_term: u64,
    }
}

/// Encodes the body of a request that has a datacenter and nothing else to say.
pub fn encode_status(datacenter: &str, token: &str) -> Vec<u8> {
    let mut fields = Fields::default();
    put_datacenter(&mut fields, datacenter, &ReadOptions::default(), token);
    fields.into_vec()
}

/// Adds a `DCSpecificRequest` without narrowing or sorting.
pub(super) fn put_datacenter<'a>(
    fields: &mut Fields<'a>,
    datacenter: &'a str,
    options: &ReadOptions,
    token: &'a str,
) {
    const NONE: &tribune_types::text::TextMap = &tribune_types::text::TextMap::new();
    fields.str("Datacenter", datacenter);
    put_node_meta(fields, NONE);
    put_source(fields, "", "");
    put_options(fields, options, "", token);
}

/// Decodes a bare string.
///
/// # Errors
/// The bytes are none.
pub fn decode_text(body: &[u8]) -> Result<String, Error> {
    let text: Str<'_> = msgpack::from_slice(body)?;
    Ok(text.to_string())
}

/// Decodes a bare list of strings.
///
/// # Errors
/// The bytes are none.
pub fn decode_texts(body: &[u8]) -> Result<Vec<String>, Error> {
    let texts: Option<Vec<Str<'_>>> = msgpack::from_slice(body)?;
    let texts = texts.unwrap_or_default().into_iter();
    Ok(texts.map(|text| text.to_string()).collect())
}

/// Encodes a bare string.
pub fn encode_text(text: &str, out: &mut Vec<u8>) {
    encode::put_str(out, text);
}

/// Encodes a bare list of strings.
pub fn encode_texts(texts: &[String], out: &mut Vec<u8>) {
    encode::put_array(out, u32::try_from(texts.len()).unwrap_or(u32::MAX));
    for text in texts {
        encode_text(text, out);
    }
}

/// Encodes the figures of a server.
pub fn encode_server_stats(stats: &ServerStats, out: &mut Vec<u8>) {
    let last_contact = match stats.last_contact {
        None => "never".to_owned(),
        Some(age) if age.is_zero() => "0".to_owned(),
        Some(age) => format_go(age),
    };
    let mut fields = Fields::default();
    fields.str("LastContact", &last_contact);
    fields.uint("LastIndex", stats.last_index);
    fields.uint("LastTerm", stats.last_term.0);
    fields.finish(out);
}

/// Decodes the figures of a server.
///
/// # Errors
/// The bytes are no such reply, or the age of the last contact is no duration.
pub fn decode_server_stats(body: &[u8]) -> Result<ServerStats, Error> {
    let stats: Stats<'_> = msgpack::from_slice(body)?;
    let last_contact = match &*stats.last_contact {
        "never" => None,
        age => Some(parse_go(age).map_err(|_| Error::Mismatch(RAFT_STATS))?),
    };
    Ok(ServerStats {
        last_contact,
        last_term: Term(stats.last_term),
        last_index: stats.last_index,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_contact_is_zero_a_duration_or_never() {
        for (last_contact, want) in [
            (Some(Duration::ZERO), "0"),
            (Some(Duration::from_micros(21_500)), "21.5ms"),
            (None, "never"),
        ] {
            let stats = ServerStats {
                last_contact,
                last_term: Term(2),
                last_index: 300,
            };
            let mut body = Vec::new();
            encode_server_stats(&stats, &mut body);
            let mirror: Stats<'_> = msgpack::from_slice(&body).unwrap();
            assert_eq!(&*mirror.last_contact, want);
            assert_eq!(decode_server_stats(&body), Ok(stats));
        }
    }
}
