//! A small binary codec, good enough to carry messages between cores in tests.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tribune_types::text::{Text, text};

use crate::message::{Accusation, Ack, Alive, IndirectPing, Message, Peer, Ping, Versions};

pub(super) fn encode(message: &Message, out: &mut Vec<u8>) {
    match message {
        Message::Ping(ping) => {
            out.push(0);
            number(out, ping.seq);
            bytes(out, ping.node.as_bytes());
            address(out, ping.source);
            bytes(out, ping.source_node.as_bytes());
        }
        Message::IndirectPing(ping) => {
            out.push(1);
            number(out, ping.seq);
            address(out, Some(ping.target));
            bytes(out, ping.node.as_bytes());
            out.push(u8::from(ping.nack));
            address(out, ping.source);
            bytes(out, ping.source_node.as_bytes());
        }
        Message::Ack(ack) => {
            out.push(2);
            number(out, ack.seq);
            out.push(u8::from(ack.payload.is_some()));
            bytes(out, ack.payload.as_deref().unwrap_or_default());
        }
        Message::Suspect(word) => accusation(out, 3, word),
        Message::Alive(alive) => {
            out.push(4);
            number(out, alive.incarnation);
            bytes(out, alive.peer.name.as_bytes());
            address(out, Some(alive.peer.addr));
            bytes(out, &alive.peer.meta);
            match alive.peer.versions {
                Some(Versions(versions)) => bytes(out, &versions),
                None => bytes(out, &[]),
            }
        }
        Message::Dead(word) => accusation(out, 5, word),
        Message::User(message) => {
            out.push(8);
            out.extend_from_slice(message);
        }
        Message::Nack(seq) => {
            out.push(11);
            number(out, *seq);
        }
    }
}

fn accusation(out: &mut Vec<u8>, kind: u8, word: &Accusation) {
    out.push(kind);
    number(out, word.incarnation);
    bytes(out, word.node.as_bytes());
    bytes(out, word.from.as_bytes());
}

fn number(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u32);
    out.extend_from_slice(bytes);
}

fn address(out: &mut Vec<u8>, addr: Option<SocketAddr>) {
    match addr {
        Some(SocketAddr::V4(addr)) => {
            bytes(out, &addr.ip().octets());
            number(out, u32::from(addr.port()));
        }
        _ => {
            bytes(out, &[]);
            number(out, 0);
        }
    }
}

pub(super) fn decode(part: &[u8]) -> Message {
    let mut reader = Reader(&part[1..]);
    match part[0] {
        0 => Message::Ping(Ping {
            seq: reader.number(),
            node: reader.text(),
            source: reader.address(),
            source_node: reader.text(),
        }),
        1 => Message::IndirectPing(IndirectPing {
            seq: reader.number(),
            target: reader.address().unwrap(),
            node: reader.text(),
            nack: reader.take(1)[0] == 1,
            source: reader.address(),
            source_node: reader.text(),
        }),
        2 => Message::Ack(Ack {
            seq: reader.number(),
            payload: (reader.take(1)[0] == 1).then(|| Arc::from(reader.bytes())),
        }),
        3 => Message::Suspect(reader.accusation()),
        4 => Message::Alive(Alive {
            incarnation: reader.number(),
            peer: Arc::new(Peer {
                name: reader.text(),
                addr: reader.address().unwrap(),
                meta: Arc::from(reader.bytes()),
                versions: reader.bytes().try_into().ok().map(Versions),
            }),
        }),
        5 => Message::Dead(reader.accusation()),
        8 => Message::User(Arc::from(reader.0)),
        11 => Message::Nack(reader.number()),
        other => panic!("message of type {other}"),
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }
    fn number(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }
    fn bytes(&mut self) -> &'a [u8] {
        let count = self.number() as usize;
        self.take(count)
    }
    fn text(&mut self) -> Text {
        text(std::str::from_utf8(self.bytes()).unwrap())
    }
    fn address(&mut self) -> Option<SocketAddr> {
        let ip: Option<[u8; 4]> = self.bytes().try_into().ok();
        let port = self.number() as u16;
        ip.map(|ip| SocketAddr::new(IpAddr::from(ip), port))
    }
    fn accusation(&mut self) -> Accusation {
        Accusation {
            incarnation: self.number(),
            node: self.text(),
            from: self.text(),
        }
    }
}
