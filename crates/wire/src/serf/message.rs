//! Messages of packets (gossip.md section 7.1).

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tribune_serf::{
    Filter, JoinIntent, LTime, LeaveIntent, Message, Query, QueryResponse, UserEvent,
};
use tribune_types::text::Text;

use super::{Malformed, filter, kind};
use crate::ip;
use crate::msgpack::Reader;
use crate::msgpack::encode::{put_array, put_bool, put_nil, put_raw, put_str, put_uint};

/// Wants an ack; in an answer: is one.
const FLAG_ACK: u32 = 1;
/// Not to be spread further.
const FLAG_NO_BROADCAST: u32 = 2;

/// Appends a message with its type byte.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    match message {
        Message::Leave(intent) => {
            out.push(kind::LEAVE);
            out.extend_from_slice(b"\x83\xa5LTime");
            put_uint(out, intent.ltime);
            out.extend_from_slice(b"\xa4Node");
            put_str(out, &intent.node);
            out.extend_from_slice(b"\xa5Prune");
            put_bool(out, intent.prune);
        }
        Message::Join(intent) => {
            out.push(kind::JOIN);
            out.extend_from_slice(b"\x82\xa5LTime");
            put_uint(out, intent.ltime);
            out.extend_from_slice(b"\xa4Node");
            put_str(out, &intent.node);
        }
        Message::UserEvent(event) => {
            out.push(kind::USER_EVENT);
            out.extend_from_slice(b"\x84\xa2CC");
            put_bool(out, event.coalesce);
            out.extend_from_slice(b"\xa5LTime");
            put_uint(out, event.ltime);
            out.extend_from_slice(b"\xa4Name");
            put_str(out, &event.name);
            out.extend_from_slice(b"\xa7Payload");
            put_raw(out, &event.payload);
        }
        Message::Query(query) => encode_query(query, out),
        Message::QueryResponse(response) => encode_response(response, out),
        Message::Relay { to, node, message } => {
            out.push(kind::RELAY);
            out.extend_from_slice(b"\x82\xa8DestAddr\x83\xa2IP");
            ip::put(out, to.ip());
            out.extend_from_slice(b"\xa4Port");
            put_uint(out, u64::from(to.port()));
            out.extend_from_slice(b"\xa4Zone\xa0\xa8DestName");
            put_str(out, node);
            out.extend_from_slice(message);
        }
    }
}

/// Reads a message with its type byte. What follows its map is ignored.
///
/// # Errors
/// See [`Malformed`]. Types that are only for states and payloads are unknown here.
pub fn decode(bytes: &[u8]) -> Result<Message, Malformed> {
    let (&first, body) = bytes.split_first().ok_or(Malformed::Empty)?;
    let reader = Reader::new(body);
    match first {
        kind::LEAVE => decode_leave(reader).map(Message::Leave),
        kind::JOIN => decode_join(reader).map(Message::Join),
        kind::USER_EVENT => decode_user_event(reader).map(Message::UserEvent),
        kind::QUERY => decode_query(reader).map(Message::Query),
        kind::QUERY_RESPONSE => decode_response(reader).map(Message::QueryResponse),
        kind::RELAY => decode_relay(reader),
        other => Err(Malformed::Kind(other)),
    }
}

fn decode_leave(mut reader: Reader<'_>) -> Result<LeaveIntent, Malformed> {
    let mut intent = LeaveIntent {
        ltime: 0,
        node: Text::default(),
        prune: false,
    };
    reader.fields(["LTime", "Node", "Prune"], |at, r| {
        match at {
            0 => intent.ltime = r.uint()?,
            1 => intent.node = r.text()?,
            _ => intent.prune = r.bool()?,
        }
        Ok::<(), Malformed>(())
    })?;
    Ok(intent)
}

fn decode_join(mut reader: Reader<'_>) -> Result<JoinIntent, Malformed> {
    let mut intent = JoinIntent {
        ltime: 0,
        node: Text::default(),
    };
    reader.fields(["LTime", "Node"], |at, r| {
        match at {
            0 => intent.ltime = r.uint()?,
            _ => intent.node = r.text()?,
        }
        Ok::<(), Malformed>(())
    })?;
    Ok(intent)
}

fn decode_user_event(mut reader: Reader<'_>) -> Result<UserEvent, Malformed> {
    let mut event = UserEvent {
        ltime: 0,
        name: Text::default(),
        payload: Arc::default(),
        coalesce: false,
    };
    reader.fields(["LTime", "Name", "Payload", "CC"], |at, r| {
        match at {
            0 => event.ltime = r.uint()?,
            1 => event.name = r.text()?,
            2 => event.payload = r.blob()?,
            _ => event.coalesce = r.bool()?,
        }
        Ok::<(), Malformed>(())
    })?;
    Ok(event)
}

fn encode_query(query: &Query, out: &mut Vec<u8>) {
    out.push(kind::QUERY);
    out.extend_from_slice(b"\x8b\xa4Addr");
    ip::put(out, query.source.ip());
    out.extend_from_slice(b"\xa7Filters");
    put_filters(&query.filters, out);
    out.extend_from_slice(b"\xa5Flags");
    let ack = if query.ack { FLAG_ACK } else { 0 };
    let no_broadcast = if query.no_broadcast {
        FLAG_NO_BROADCAST
    } else {
        0
    };
    put_uint(out, u64::from(ack | no_broadcast));
    out.extend_from_slice(b"\xa2ID");
    put_uint(out, u64::from(query.id));
    out.extend_from_slice(b"\xa5LTime");
    put_uint(out, query.ltime);
    out.extend_from_slice(b"\xa4Name");
    put_str(out, &query.name);
    out.extend_from_slice(b"\xa7Payload");
    put_raw(out, &query.payload);
    out.extend_from_slice(b"\xa4Port");
    put_uint(out, u64::from(query.source.port()));
    out.extend_from_slice(b"\xabRelayFactor");
    put_uint(out, u64::from(query.relay_factor));
    out.extend_from_slice(b"\xaaSourceNode");
    put_str(out, &query.source_node);
    out.extend_from_slice(b"\xa7Timeout");
    let nanos = i64::try_from(query.timeout.as_nanos()).unwrap_or(i64::MAX);
    put_uint(out, nanos.unsigned_abs());
}

fn put_filters(filters: &[Filter], out: &mut Vec<u8>) {
    if filters.is_empty() {
        return put_nil(out);
    }
    put_array(out, filters.len() as u32);
    let mut bytes = Vec::new();
    for one in filters {
        bytes.clear();
        filter::encode(one, &mut bytes);
        put_raw(out, &bytes);
    }
}

fn decode_query(mut reader: Reader<'_>) -> Result<Query, Malformed> {
    const NAMES: [&str; 11] = [
        "LTime",
        "ID",
        "Addr",
        "Port",
        "SourceNode",
        "Filters",
        "Flags",
        "RelayFactor",
        "Timeout",
        "Name",
        "Payload",
    ];
    let (mut ltime, mut id, mut flags, mut relay_factor, mut timeout): (LTime, _, u32, _, _) =
        (0, 0, 0, 0, 0);
    let (mut ip, mut port) = (None, 0);
    let (mut source_node, mut name) = (Text::default(), Text::default());
    let mut filters = Vec::new();
    let mut payload: Arc<[u8]> = Arc::default();
    reader.fields(NAMES, |at, r| {
        match at {
            0 => ltime = r.uint()?,
            1 => id = r.uint()?,
            2 => ip = ip::from_bytes(&r.bytes()?.unwrap_or_default()),
            3 => port = r.uint()?,
            4 => source_node = r.text()?,
            5 => {
                let mut room = filter::ROOM;
                filters.clear();
                r.list(|_, r| {
                    let bytes = r.bytes()?.unwrap_or_default();
                    filters.push(filter::decode(&bytes, &mut room)?);
                    Ok::<(), Malformed>(())
                })?;
            }
            6 => flags = r.uint()?,
            7 => relay_factor = r.uint()?,
            8 => timeout = r.int()?,
            9 => name = r.text()?,
            _ => payload = r.blob()?,
        }
        Ok::<(), Malformed>(())
    })?;
    Ok(Query {
        ltime,
        id,
        source: SocketAddr::new(ip.ok_or(Malformed::Address)?, port),
        source_node,
        filters,
        ack: flags & FLAG_ACK != 0,
        no_broadcast: flags & FLAG_NO_BROADCAST != 0,
        relay_factor,
        timeout: Duration::from_nanos(u64::try_from(timeout).unwrap_or(0)),
        name,
        payload,
    })
}

fn encode_response(response: &QueryResponse, out: &mut Vec<u8>) {
    out.push(kind::QUERY_RESPONSE);
    out.extend_from_slice(b"\x85\xa5Flags");
    put_uint(out, u64::from(if response.ack { FLAG_ACK } else { 0 }));
    out.extend_from_slice(b"\xa4From");
    put_str(out, &response.from);
    out.extend_from_slice(b"\xa2ID");
    put_uint(out, u64::from(response.id));
    out.extend_from_slice(b"\xa5LTime");
    put_uint(out, response.ltime);
    out.extend_from_slice(b"\xa7Payload");
    match &response.payload {
        Some(payload) => put_raw(out, payload),
        None => put_nil(out),
    }
}

fn decode_response(mut reader: Reader<'_>) -> Result<QueryResponse, Malformed> {
    let mut response = QueryResponse {
        ltime: 0,
        id: 0,
        from: Text::default(),
        ack: false,
        payload: None,
    };
    reader.fields(["LTime", "ID", "From", "Flags", "Payload"], |at, r| {
        match at {
            0 => response.ltime = r.uint()?,
            1 => response.id = r.uint()?,
            2 => response.from = r.text()?,
            3 => response.ack = r.uint::<u32>()? & FLAG_ACK != 0,
            _ => response.payload = r.bytes()?.map(Arc::from),
        }
        Ok::<(), Malformed>(())
    })?;
    Ok(response)
}

fn decode_relay(mut reader: Reader<'_>) -> Result<Message, Malformed> {
    let (mut ip, mut port, mut node) = (Cow::default(), 0, Text::default());
    reader.fields(["DestAddr", "DestName"], |at, r| match at {
        0 => r.fields(["IP", "Port", "Zone"], |at, r| {
            match at {
                0 => ip = r.bytes()?.unwrap_or_default(),
                1 => port = r.uint()?,
                _ => _ = r.str()?,
            }
            Ok::<(), Malformed>(())
        }),
        _ => {
            node = r.text()?;
            Ok(())
        }
    })?;
    let ip = ip::from_bytes(&ip).ok_or(Malformed::Address)?;
    Ok(Message::Relay {
        to: SocketAddr::new(ip, port),
        node,
        message: Arc::from(reader.rest()),
    })
}
