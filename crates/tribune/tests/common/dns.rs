//! A DNS client in a few lines: one question over UDP, the records of the answer.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Record types.
pub const A: u16 = 1;
pub const SOA: u16 = 6;
pub const SRV: u16 = 33;

/// Answer codes.
pub const OK: u8 = 0;
pub const NAME_ERROR: u8 = 3;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub code: u8,
    pub records: Vec<Record>,
}

/// A record of the answer section.
#[derive(Debug, PartialEq, Eq)]
pub enum Record {
    A(Ipv4Addr),
    /// Port.
    Srv(u16),
    Other(u16),
}

/// A question as bytes.
pub fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut packet = id.to_be_bytes().to_vec();
    // Recursion desired, one question.
    packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        packet.push(label.len() as u8);
        packet.extend(label.as_bytes());
    }
    packet.push(0);
    packet.extend(kind.to_be_bytes());
    packet.extend([0, 1]);
    packet
}

/// Asks; a lost packet is sent again.
pub fn ask(server: SocketAddr, name: &str, kind: u16) -> Answer {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(2)))
        .expect("a timeout");
    let packet = question(0x1234, name, kind);
    let mut buffer = [0u8; 4096];
    for _ in 0..10 {
        // A closed port shows here or below, and is asked again.
        let _ = socket.send_to(&packet, server);
        if let Ok((size, _)) = socket.recv_from(&mut buffer) {
            return parse(&buffer[..size]).expect("a well-formed answer");
        }
    }
    panic!("{name}: no answer from {server}");
}

/// Reads an answer.
pub fn parse(packet: &[u8]) -> Option<Answer> {
    let number = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let (questions, answers) = (number(4)?, number(6)?);
    let mut at = 12;
    for _ in 0..questions {
        at = after_name(packet, at)? + 4;
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        at = after_name(packet, at)?;
        let (kind, size) = (number(at)?, usize::from(number(at + 8)?));
        at += 10;
        let data = packet.get(at..at + size)?;
        records.push(match (kind, data) {
            (A, &[a, b, c, d]) => Record::A(Ipv4Addr::new(a, b, c, d)),
            (SRV, [_, _, _, _, high, low, ..]) => Record::Srv(u16::from_be_bytes([*high, *low])),
            _ => Record::Other(kind),
        });
        at += size;
    }
    Some(Answer {
        code: packet.get(3)? & 15,
        records,
    })
}

fn after_name(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *packet.get(at)? {
            0 => return Some(at + 1),
            size if size >= 0xc0 => return Some(at + 2),
            size => at += 1 + usize::from(size),
        }
    }
}
