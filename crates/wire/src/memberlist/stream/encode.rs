//! Writes streams.

use tribune_swim::{PushPull, RemoteNode};

use super::StreamMessage;
use crate::ip;
use crate::keyring::{Keyring, Version};
use crate::memberlist::body::{encode_ack, encode_ping, put_meta, put_versions};
use crate::memberlist::kind;
use crate::memberlist::packet::put_compressed;
use crate::msgpack::encode::{put_bool, put_str, put_uint};

/// How a message becomes a stream.
#[derive(Debug, Clone, Copy, Default)]
pub struct StreamFraming<'a> {
    /// Compress, also if that makes it longer.
    pub compress: bool,
    /// Encrypt.
    pub seal: Option<Seal<'a>>,
}

/// What to encrypt with.
#[derive(Debug, Clone, Copy)]
pub struct Seal<'a> {
    /// Its primary key is used.
    pub keyring: &'a Keyring,
    /// Random.
    pub nonce: [u8; 12],
}

/// Appends a whole stream.
pub fn encode_stream(message: &StreamMessage, framing: &StreamFraming<'_>, out: &mut Vec<u8>) {
    if !framing.compress && framing.seal.is_none() {
        return put_message(message, out);
    }
    let mut bytes = Vec::new();
    put_message(message, &mut bytes);
    if framing.compress {
        let mut compressed = Vec::new();
        put_compressed(&bytes, &mut compressed);
        bytes = compressed;
    }
    let Some(seal) = &framing.seal else {
        return out.append(&mut bytes);
    };
    let size = Keyring::sealed_size(Version::Plain, bytes.len());
    // Beyond 4 GiB the other side gives up; it does so beyond 20 MiB.
    let [a, b, c, d] = u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
    let head = [kind::ENCRYPT, a, b, c, d];
    out.extend_from_slice(&head);
    seal.keyring
        .seal(Version::Plain, &head, &bytes, seal.nonce, out);
}

fn put_message(message: &StreamMessage, out: &mut Vec<u8>) {
    match message {
        StreamMessage::PushPull(state) => put_state(state, out),
        StreamMessage::Ping(ping) => encode_ping(ping, out),
        StreamMessage::Ack(ack) => encode_ack(ack, out),
        StreamMessage::User(bytes) => {
            out.push(kind::USER);
            out.extend_from_slice(b"\x81\xaaUserMsgLen");
            put_uint(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        StreamMessage::Error(text) => {
            out.push(kind::ERROR);
            out.extend_from_slice(b"\x81\xa5Error");
            put_str(out, text);
        }
    }
}

fn put_state(state: &PushPull, out: &mut Vec<u8>) {
    out.push(kind::PUSH_PULL);
    out.extend_from_slice(b"\x83\xa4Join");
    put_bool(out, state.join);
    out.extend_from_slice(b"\xa5Nodes");
    put_uint(out, state.nodes.len() as u64);
    out.extend_from_slice(b"\xacUserStateLen");
    put_uint(out, state.user_state.len() as u64);
    for node in &state.nodes {
        put_node(node, out);
    }
    out.extend_from_slice(&state.user_state);
}

fn put_node(node: &RemoteNode, out: &mut Vec<u8>) {
    let peer = &node.peer;
    out.extend_from_slice(b"\x87\xa4Addr");
    ip::put(out, peer.addr.ip());
    out.extend_from_slice(b"\xabIncarnation");
    put_uint(out, u64::from(node.incarnation));
    out.extend_from_slice(b"\xa4Meta");
    put_meta(&peer.meta, out);
    out.extend_from_slice(b"\xa4Name");
    put_str(out, &peer.name);
    out.extend_from_slice(b"\xa4Port");
    put_uint(out, u64::from(peer.addr.port()));
    out.extend_from_slice(b"\xa5State");
    put_uint(out, node.state as u64);
    out.extend_from_slice(b"\xa3Vsn");
    put_versions(peer.versions, out);
}
