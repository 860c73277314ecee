//! `Internal.EventFire`, and the payload under which user events travel (gossip.md section 10.5).
//!
//! The payload is the one place of the server RPC that is written in the newer MessagePack: `str8` for texts of 32
//! bytes and more, `bin` for the bytes of the event.

use tribune_types::event::UserEvent;
use tribune_types::id::Uuid;

use super::Error;
use super::common::Envelope;
use super::fields::Fields;
use crate::msgpack::encode::{put_map, put_str, put_uint};
use crate::msgpack::{self, Bytes, Str};
use crate::records::{RecordError, mirror};

mirror! {
    /// `structs.EventFireRequest`.
    EventFireRequest<'a> {
        "Name" name: Str<'a>,
        "Payload" payload: Bytes<'a>,
    }

    /// A user event as its payload says it.
    Packed<'a> {
        "ID" id: Str<'a>,
        "n" name: Str<'a>,
        "nf" node_filter: Str<'a>,
        "p" payload: Bytes<'a>,
        "sf" service_filter: Str<'a>,
        "tf" tag_filter: Str<'a>,
        "v" version: u32,
    }
}

/// A user event to send to all agents of the datacenter. The payload is passed on as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFire {
    /// Where, and for whom.
    pub envelope: Envelope,
    /// Name of the event, without the prefix it has in gossip.
    pub name: String,
    /// The packed event; see [`unpack_event`].
    pub payload: Vec<u8>,
}

pub(super) fn decode(envelope: Envelope, body: &[u8]) -> Result<EventFire, Error> {
    let request: EventFireRequest<'_> = msgpack::from_slice(body)?;
    Ok(EventFire {
        envelope,
        name: request.name.to_string(),
        payload: request.payload.0.to_vec(),
    })
}

pub(super) fn put_fire<'a>(name: &'a str, payload: &'a [u8], fields: &mut Fields<'a>) {
    fields.str("Name", name);
    fields.raw("Payload", payload);
}

/// Appends the payload of an event.
pub fn pack_event(event: &UserEvent, out: &mut Vec<u8>) {
    let filters = [
        ("nf", &event.node_filter),
        ("sf", &event.service_filter),
        ("tf", &event.tag_filter),
    ];
    let given = filters.iter().filter(|(_, text)| !text.is_empty()).count();
    let count = 3 + given + usize::from(!event.payload.is_empty());
    put_map(out, count as u32);
    put_str(out, "ID");
    put_text(out, &event.id.to_string());
    put_str(out, "n");
    put_text(out, &event.name);
    for (key, text) in filters {
        if key == "sf" && !event.payload.is_empty() {
            put_str(out, "p");
            put_bin(out, &event.payload);
        }
        if !text.is_empty() {
            put_str(out, key);
            put_text(out, text);
        }
    }
    put_str(out, "v");
    put_uint(out, u64::from(event.version));
}

/// Reads the payload of an event. The Lamport time is not in it.
///
/// # Errors
/// No map of these fields, or the identity is no UUID.
pub fn unpack_event(payload: &[u8]) -> Result<UserEvent, Error> {
    let packed: Packed<'_> = msgpack::from_slice(payload)?;
    let id = Uuid::parse(&packed.id).map_err(|source| RecordError::Uuid {
        field: "event ID",
        text: packed.id.to_string(),
        source,
    })?;
    Ok(UserEvent {
        id,
        name: packed.name.into(),
        payload: packed.payload.0.into(),
        node_filter: packed.node_filter.into(),
        service_filter: packed.service_filter.into(),
        tag_filter: packed.tag_filter.into(),
        version: packed.version,
        ltime: 0,
    })
}

/// A string in the newer form.
fn put_text(out: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(len @ 32..) => {
            out.extend_from_slice(&[0xd9, len]);
            out.extend_from_slice(text.as_bytes());
        }
        _ => put_str(out, text),
    }
}

/// Bytes in the newer form.
fn put_bin(out: &mut Vec<u8>, bytes: &[u8]) {
    if let Ok(len) = u8::try_from(bytes.len()) {
        out.extend_from_slice(&[0xc4, len]);
    } else if let Ok(len) = u16::try_from(bytes.len()) {
        out.push(0xc5);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(0xc6);
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;

    #[test]
    fn events_of_all_sizes_pass_through_their_payload() {
        for size in [0, 1, 31, 32, 255, 256, 70_000] {
            for filter in ["", "^web", &"x".repeat(40)] {
                let event = UserEvent {
                    id: Uuid([0xab; 16]),
                    name: text("deploy"),
                    payload: vec![0xc1; size].into(),
                    node_filter: text(filter),
                    service_filter: text(filter),
                    tag_filter: text(filter),
                    version: 1,
                    ltime: 0,
                };
                let mut payload = Vec::new();
                pack_event(&event, &mut payload);
                assert_eq!(unpack_event(&payload), Ok(event), "{size} {filter}");
            }
        }
    }

    #[test]
    fn payloads_without_a_whole_id_are_refused() {
        assert!(unpack_event(b"\x82\xa2ID\xa4abcd\xa1n\xa1x").is_err());
        assert!(unpack_event(b"").is_err());
        assert!(unpack_event(b"\x91\x01").is_err());
    }
}
