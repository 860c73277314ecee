//! Messages of packets: a type byte and a map (gossip.md section 3.2). Some also go over streams.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tribune_swim::{Accusation, Ack, Alive, IndirectPing, Message, Peer, Ping, Versions};
use tribune_types::text::Text;

use super::{Malformed, kind};
use crate::ip;
use crate::msgpack::encode::{put_bool, put_nil, put_raw, put_str, put_uint};
use crate::msgpack::{Error, Reader};

/// Appends a message with its type byte, in the bytes that Consul 1.8.7 writes.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    match message {
        Message::Ping(ping) => encode_ping(ping, out),
        Message::IndirectPing(ping) => encode_indirect_ping(ping, out),
        Message::Ack(ack) => encode_ack(ack, out),
        Message::Nack(seq) => {
            out.push(kind::NACK);
            out.extend_from_slice(b"\x81\xa5SeqNo");
            put_uint(out, u64::from(*seq));
        }
        Message::Suspect(word) => encode_accusation(kind::SUSPECT, word, out),
        Message::Alive(alive) => encode_alive(alive, out),
        Message::Dead(word) => encode_accusation(kind::DEAD, word, out),
        Message::User(bytes) => {
            out.push(kind::USER);
            out.extend_from_slice(bytes);
        }
    }
}

/// Reads one message with its type byte. What follows its map is ignored.
///
/// # Errors
/// See [`Malformed`]. Types that pack other messages are unknown here.
pub fn decode(bytes: &[u8]) -> Result<Message, Malformed> {
    let (&first, body) = bytes.split_first().ok_or(Malformed::Empty)?;
    let mut reader = Reader::new(body);
    let message = match first {
        kind::PING => Message::Ping(decode_ping(&mut reader).map_err(Malformed::body(first))?),
        kind::INDIRECT_PING => Message::IndirectPing(decode_indirect_ping(&mut reader)?),
        kind::ACK => Message::Ack(decode_ack(&mut reader).map_err(Malformed::body(first))?),
        kind::NACK => Message::Nack(decode_nack(&mut reader).map_err(Malformed::body(first))?),
        kind::SUSPECT => {
            Message::Suspect(decode_accusation(&mut reader).map_err(Malformed::body(first))?)
        }
        kind::ALIVE => Message::Alive(decode_alive(&mut reader)?),
        kind::DEAD => {
            Message::Dead(decode_accusation(&mut reader).map_err(Malformed::body(first))?)
        }
        kind::USER => Message::User(Arc::from(body)),
        other => return Err(Malformed::Kind(other)),
    };
    Ok(message)
}

/// Number of the optional fields about the sender that are there.
fn source_fields(source: Option<SocketAddr>, name: &Text) -> u8 {
    let port = source.is_some_and(|addr| addr.port() != 0);
    u8::from(source.is_some()) + u8::from(port) + u8::from(!name.is_empty())
}

fn put_source(source: Option<SocketAddr>, name: &Text, out: &mut Vec<u8>) {
    if let Some(addr) = source {
        out.extend_from_slice(b"\xaaSourceAddr");
        ip::put(out, addr.ip());
    }
    if !name.is_empty() {
        out.extend_from_slice(b"\xaaSourceNode");
        put_str(out, name);
    }
    if let Some(port) = source.map(|addr| addr.port()).filter(|port| *port != 0) {
        out.extend_from_slice(b"\xaaSourcePort");
        put_uint(out, u64::from(port));
    }
}

/// The address of the sender, which is good for nothing unless whole.
fn source(ip: Option<IpAddr>, port: u16) -> Option<SocketAddr> {
    ip.filter(|_| port != 0).map(|ip| SocketAddr::new(ip, port))
}

pub(super) fn encode_ping(ping: &Ping, out: &mut Vec<u8>) {
    out.push(kind::PING);
    out.push(0x82 + source_fields(ping.source, &ping.source_node));
    out.extend_from_slice(b"\xa4Node");
    put_str(out, &ping.node);
    out.extend_from_slice(b"\xa5SeqNo");
    put_uint(out, u64::from(ping.seq));
    put_source(ping.source, &ping.source_node, out);
}

pub(super) fn decode_ping(reader: &mut Reader<'_>) -> Result<Ping, Error> {
    let mut ping = Ping {
        seq: 0,
        node: Text::default(),
        source: None,
        source_node: Text::default(),
    };
    let (mut ip, mut port) = (None, 0);
    reader.fields(
        ["SeqNo", "Node", "SourceAddr", "SourcePort", "SourceNode"],
        |at, r| {
            match at {
                0 => ping.seq = r.uint()?,
                1 => ping.node = r.text()?,
                2 => ip = ip::from_bytes(&r.bytes()?.unwrap_or_default()),
                3 => port = r.uint()?,
                _ => ping.source_node = r.text()?,
            }
            Ok::<(), Error>(())
        },
    )?;
    ping.source = source(ip, port);
    Ok(ping)
}

fn encode_indirect_ping(ping: &IndirectPing, out: &mut Vec<u8>) {
    out.push(kind::INDIRECT_PING);
    out.push(0x85 + source_fields(ping.source, &ping.source_node));
    out.extend_from_slice(b"\xa4Nack");
    put_bool(out, ping.nack);
    out.extend_from_slice(b"\xa4Node");
    put_str(out, &ping.node);
    out.extend_from_slice(b"\xa4Port");
    put_uint(out, u64::from(ping.target.port()));
    out.extend_from_slice(b"\xa5SeqNo");
    put_uint(out, u64::from(ping.seq));
    put_source(ping.source, &ping.source_node, out);
    out.extend_from_slice(b"\xa6Target");
    ip::put(out, ping.target.ip());
}

fn decode_indirect_ping(reader: &mut Reader<'_>) -> Result<IndirectPing, Malformed> {
    let (mut seq, mut nack) = (0, false);
    let (mut target, mut target_port) = (None, 0);
    let (mut ip, mut port) = (None, 0);
    let (mut node, mut source_node) = (Text::default(), Text::default());
    let names = [
        "SeqNo",
        "Target",
        "Port",
        "Node",
        "Nack",
        "SourceAddr",
        "SourcePort",
        "SourceNode",
    ];
    reader
        .fields(names, |at, r| {
            match at {
                0 => seq = r.uint()?,
                1 => target = ip::from_bytes(&r.bytes()?.unwrap_or_default()),
                2 => target_port = r.uint()?,
                3 => node = r.text()?,
                4 => nack = r.bool()?,
                5 => ip = ip::from_bytes(&r.bytes()?.unwrap_or_default()),
                6 => port = r.uint()?,
                _ => source_node = r.text()?,
            }
            Ok(())
        })
        .map_err(Malformed::body(kind::INDIRECT_PING))?;
    let target = target.ok_or(Malformed::Address(kind::INDIRECT_PING))?;
    Ok(IndirectPing {
        seq,
        target: SocketAddr::new(target, target_port),
        node,
        nack,
        source: source(ip, port),
        source_node,
    })
}

pub(super) fn encode_ack(ack: &Ack, out: &mut Vec<u8>) {
    out.push(kind::ACK);
    out.extend_from_slice(b"\x82\xa7Payload");
    match &ack.payload {
        Some(payload) => put_raw(out, payload),
        None => put_nil(out),
    }
    out.extend_from_slice(b"\xa5SeqNo");
    put_uint(out, u64::from(ack.seq));
}

pub(super) fn decode_ack(reader: &mut Reader<'_>) -> Result<Ack, Error> {
    let mut seq = 0;
    let mut payload: Option<Cow<'_, [u8]>> = None;
    reader.fields(["SeqNo", "Payload"], |at, r| {
        match at {
            0 => seq = r.uint()?,
            _ => payload = r.bytes()?,
        }
        Ok::<(), Error>(())
    })?;
    Ok(Ack {
        seq,
        payload: payload.map(Arc::from),
    })
}

fn decode_nack(reader: &mut Reader<'_>) -> Result<u32, Error> {
    let mut seq = 0;
    reader.fields(["SeqNo"], |_, r| {
        seq = r.uint()?;
        Ok::<(), Error>(())
    })?;
    Ok(seq)
}

fn encode_accusation(kind: u8, word: &Accusation, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(b"\x83\xa4From");
    put_str(out, &word.from);
    out.extend_from_slice(b"\xabIncarnation");
    put_uint(out, u64::from(word.incarnation));
    out.extend_from_slice(b"\xa4Node");
    put_str(out, &word.node);
}

fn decode_accusation(reader: &mut Reader<'_>) -> Result<Accusation, Error> {
    let mut word = Accusation {
        incarnation: 0,
        node: Text::default(),
        from: Text::default(),
    };
    reader.fields(["Incarnation", "Node", "From"], |at, r| {
        match at {
            0 => word.incarnation = r.uint()?,
            1 => word.node = r.text()?,
            _ => word.from = r.text()?,
        }
        Ok::<(), Error>(())
    })?;
    Ok(word)
}

fn encode_alive(alive: &Alive, out: &mut Vec<u8>) {
    let peer = &alive.peer;
    out.push(kind::ALIVE);
    out.extend_from_slice(b"\x86\xa4Addr");
    ip::put(out, peer.addr.ip());
    out.extend_from_slice(b"\xabIncarnation");
    put_uint(out, u64::from(alive.incarnation));
    out.extend_from_slice(b"\xa4Meta");
    put_meta(&peer.meta, out);
    out.extend_from_slice(b"\xa4Node");
    put_str(out, &peer.name);
    out.extend_from_slice(b"\xa4Port");
    put_uint(out, u64::from(peer.addr.port()));
    out.extend_from_slice(b"\xa3Vsn");
    put_versions(peer.versions, out);
}

fn decode_alive(reader: &mut Reader<'_>) -> Result<Alive, Malformed> {
    let (mut incarnation, mut name, mut versions) = (0, Text::default(), None);
    let (mut ip, mut port) = (None, 0);
    let mut meta: Arc<[u8]> = Arc::default();
    reader
        .fields(
            ["Incarnation", "Node", "Addr", "Port", "Meta", "Vsn"],
            |at, r| {
                match at {
                    0 => incarnation = r.uint()?,
                    1 => name = r.text()?,
                    2 => ip = ip::from_bytes(&r.bytes()?.unwrap_or_default()),
                    3 => port = r.uint()?,
                    4 => meta = r.blob()?,
                    _ => versions = take_versions(r)?,
                }
                Ok(())
            },
        )
        .map_err(Malformed::body(kind::ALIVE))?;
    let ip = ip.ok_or(Malformed::Address(kind::ALIVE))?;
    let addr = SocketAddr::new(ip, port);
    Ok(Alive {
        incarnation,
        peer: Arc::new(Peer {
            name,
            addr,
            meta,
            versions,
        }),
    })
}

/// Metadata that is empty is nil in the original.
pub(super) fn put_meta(meta: &[u8], out: &mut Vec<u8>) {
    if meta.is_empty() {
        put_nil(out)
    } else {
        put_raw(out, meta)
    }
}

pub(super) fn put_versions(versions: Option<Versions>, out: &mut Vec<u8>) {
    match versions {
        Some(Versions(numbers)) => put_raw(out, &numbers),
        None => put_nil(out),
    }
}

pub(super) fn take_versions(reader: &mut Reader<'_>) -> Result<Option<Versions>, Error> {
    let bytes = reader.bytes()?.unwrap_or_default();
    Ok(bytes.first_chunk::<6>().map(|numbers| Versions(*numbers)))
}
