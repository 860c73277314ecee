//! Requests: bytes of a client into a [`Request`], or into what to do with bytes that are none.
//!
//! Strict about bounds, lenient where clients are sloppy and Consul 1.8.7 answers them (pinned by the `raw` lines of
//! `tests/vectors/consul-1.8.7.txt`): counts that promise more records than there are, a question without type or
//! class, any class, OPT records with any owner, version or place among the additional records.
//!
//! ```text
//! shorter than a header, or a response        silence
//! opcode other than QUERY and NOTIFY          NOTIMP, header only
//! not one question, too many records          FORMERR, header only
//! malformed name of the question              FORMERR, header only
//! malformed record, bad client subnet         FORMERR with the question
//! nothing after the header                    REFUSED, header only
//! ```

use std::net::IpAddr;

use crate::wire::{Malformed, NAME_SIZE_MAX, rcode, read_name, rtype, u16_at};

/// Size of the fixed header.
pub(crate) const HEADER_SIZE: usize = 12;
/// Bits that an error answer takes over: TC, RD, RA, AD, CD.
const KEPT_BY_ERRORS: u16 = 0x03b0;
const OPCODE_BITS: u16 = 0x7800;
const OPCODE_NOTIFY: u16 = 4;
const OPTION_CLIENT_SUBNET: u16 = 8;

/// What some bytes turned out to be.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the usual one, and it lives on the stack for one question"
)]
pub(crate) enum Parsed {
    /// Do not answer.
    Silence,
    /// Answer with these bytes.
    Refusal(Vec<u8>),
    /// A question.
    Request(Request),
}

/// One question with what matters of its surroundings.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Chosen by the client.
    pub(crate) id: u16,
    /// Header bits as sent.
    pub(crate) flags: u16,
    /// Name in wire form, as spelled.
    pub(crate) name: QuestionName,
    /// Type.
    pub(crate) qtype: u16,
    /// Class; echoed and otherwise ignored.
    pub(crate) qclass: u16,
    /// What the OPT record says.
    pub(crate) edns: Option<Edns>,
}

/// A name on the stack: one per request in flight, no allocation.
#[derive(Clone)]
pub(crate) struct QuestionName {
    len: u8,
    bytes: [u8; NAME_SIZE_MAX],
}

impl QuestionName {
    fn new(wire: &[u8]) -> QuestionName {
        let mut bytes = [0; NAME_SIZE_MAX];
        let len = wire.len().min(NAME_SIZE_MAX);
        bytes[..len].copy_from_slice(&wire[..len]);
        QuestionName {
            len: u8::try_from(len).unwrap_or(u8::MAX),
            bytes,
        }
    }

    /// The wire bytes with the root label.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for QuestionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.wire()))
    }
}

/// The parts of an OPT record that matter (RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edns {
    /// Largest UDP answer the client takes.
    pub(crate) size: u16,
    /// Client subnet (RFC 7871).
    pub(crate) subnet: Option<ClientSubnet>,
}

/// A client subnet option, already checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientSubnet {
    /// 0 none, 1 IPv4, 2 IPv6.
    pub(crate) family: u16,
    /// Bits of the address that count; at most 32 or 128.
    pub(crate) prefix: u8,
    /// The address with the bits after the prefix cleared.
    pub(crate) address: [u8; 16],
}

impl ClientSubnet {
    /// The address; `None` of a family that is none.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self.family {
            1 => {
                let [a, b, c, d, ..] = self.address;
                Some(IpAddr::from([a, b, c, d]))
            }
            2 => Some(IpAddr::from(self.address)),
            _ => None,
        }
    }

    /// Bytes of the address that are written.
    pub(crate) fn address_size(&self) -> usize {
        usize::from(self.prefix).div_ceil(8)
    }
}

impl Request {
    /// The address of the client: what a resolver says of it, else where the packet came from.
    pub(crate) fn client(&self, peer: IpAddr) -> IpAddr {
        let subnet = self.edns.and_then(|edns| edns.subnet);
        subnet.and_then(|subnet| subnet.ip()).unwrap_or(peer)
    }

    /// Header bits of an answer before AA, TC, RA and the code: RD and CD are copied from queries only.
    pub(crate) fn answer_flags(&self) -> u16 {
        let copied = if self.flags & OPCODE_BITS == 0 {
            OPCODE_BITS | 0x0110
        } else {
            OPCODE_BITS
        };
        0x8000 | self.flags & copied
    }
}

/// Reads a request. Never panics; `packet` may be anything.
pub(crate) fn parse(packet: &[u8]) -> Parsed {
    let (Some(_), Ok(id), Ok(flags)) = (
        packet.get(..HEADER_SIZE),
        u16_at(packet, 0),
        u16_at(packet, 2),
    ) else {
        return Parsed::Silence;
    };
    if flags & 0x8000 != 0 {
        return Parsed::Silence;
    }
    let opcode = (flags & OPCODE_BITS) >> 11;
    if opcode != 0 && opcode != OPCODE_NOTIFY {
        return Parsed::Refusal(header(
            id,
            flags & OPCODE_BITS | flags & KEPT_BY_ERRORS,
            rcode::NOTIMP,
        ));
    }
    let malformed = || Parsed::Refusal(header(id, flags & KEPT_BY_ERRORS, rcode::FORMERR));
    let count = |at| u16_at(packet, at).unwrap_or(u16::MAX);
    let counts = [count(6), count(8), count(10)];
    if count(4) != 1 || counts[0] > 1 || counts[1] > 1 || counts[2] > 2 {
        return malformed();
    }
    if packet.len() == HEADER_SIZE {
        return Parsed::Refusal(header(id, flags & 0x0110, rcode::REFUSED));
    }
    let mut name = Vec::with_capacity(NAME_SIZE_MAX);
    let Ok((qtype, qclass, at)) = read_question(packet, &mut name) else {
        return malformed();
    };
    let name = QuestionName::new(&name);
    match read_sections(packet, at, counts) {
        Ok(edns) => Parsed::Request(Request {
            id,
            flags,
            name,
            qtype,
            qclass,
            edns,
        }),
        Err(Malformed) => {
            let mut bytes = header(id, flags & KEPT_BY_ERRORS, rcode::FORMERR);
            bytes[5] = 1;
            bytes.extend_from_slice(name.wire());
            bytes.extend_from_slice(&qtype.to_be_bytes());
            bytes.extend_from_slice(&qclass.to_be_bytes());
            Parsed::Refusal(bytes)
        }
    }
}

fn header(id: u16, flags: u16, code: u8) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_SIZE];
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    bytes[2..4].copy_from_slice(&(0x8000 | flags | u16::from(code)).to_be_bytes());
    bytes
}

/// A question may end after its name or its type; what is missing reads 0.
fn read_question(packet: &[u8], name: &mut Vec<u8>) -> Result<(u16, u16, usize), Malformed> {
    let at = read_name(packet, HEADER_SIZE, name)?;
    if at == packet.len() {
        return Ok((0, 0, at));
    }
    let qtype = u16_at(packet, at)?;
    match u16_at(packet, at + 2) {
        Ok(qclass) => Ok((qtype, qclass, at + 4)),
        Err(Malformed) => Ok((qtype, 0, packet.len())),
    }
}

fn read_sections(packet: &[u8], at: usize, counts: [u16; 3]) -> Result<Option<Edns>, Malformed> {
    let mut at = at;
    let mut edns = None;
    let mut scratch = Vec::new();
    for (section, count) in counts.into_iter().enumerate() {
        for _ in 0..count {
            if at >= packet.len() {
                break;
            }
            scratch.clear();
            at = read_name(packet, at, &mut scratch)?;
            let kind = u16_at(packet, at)?;
            let class = u16_at(packet, at + 2)?;
            let start = at + 10;
            let end = start + usize::from(u16_at(packet, at + 8)?);
            let rdata = packet.get(start..end).ok_or(Malformed)?;
            match kind {
                rtype::A if rdata.len() != 4 && !rdata.is_empty() => return Err(Malformed),
                rtype::AAAA if rdata.len() != 16 && !rdata.is_empty() => return Err(Malformed),
                // Not a type that records have.
                rtype::ANY if !rdata.is_empty() => return Err(Malformed),
                rtype::OPT => {
                    let subnet = read_options(rdata)?;
                    if section == 2 {
                        // Of several, the last counts.
                        edns = Some(Edns {
                            size: class,
                            subnet,
                        });
                    }
                }
                _ => {}
            }
            at = end;
        }
    }
    Ok(edns)
}

/// Options are (code, length, content); of several client subnets the first counts.
fn read_options(rdata: &[u8]) -> Result<Option<ClientSubnet>, Malformed> {
    let mut subnet = None;
    let mut at = 0;
    while at < rdata.len() {
        let code = u16_at(rdata, at)?;
        let end = at + 4 + usize::from(u16_at(rdata, at + 2)?);
        let content = rdata.get(at + 4..end).ok_or(Malformed)?;
        if code == OPTION_CLIENT_SUBNET {
            let read = read_subnet(content)?;
            subnet.get_or_insert(read);
        }
        at = end;
    }
    Ok(subnet)
}

fn read_subnet(content: &[u8]) -> Result<ClientSubnet, Malformed> {
    let family = u16_at(content, 0)?;
    let (&prefix, &scope) = (
        content.get(2).ok_or(Malformed)?,
        content.get(3).ok_or(Malformed)?,
    );
    let bits_max = match family {
        0 => 0,
        1 => 32,
        2 => 128,
        _ => return Err(Malformed),
    };
    if prefix > bits_max || family != 0 && scope > bits_max {
        return Err(Malformed);
    }
    let mut address = [0; 16];
    let whole = usize::from(prefix / 8);
    for (at, (to, from)) in address.iter_mut().zip(&content[4..]).enumerate() {
        *to = match at.cmp(&whole) {
            std::cmp::Ordering::Less => *from,
            std::cmp::Ordering::Equal => {
                from & !(0xff_u8.checked_shr(u32::from(prefix % 8)).unwrap_or(0))
            }
            std::cmp::Ordering::Greater => 0,
        };
    }
    Ok(ClientSubnet {
        family,
        prefix,
        address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_after_the_subnet_prefix_are_cleared() {
        // (prefix, address sent, address kept)
        for (prefix, sent, kept) in [
            (32, [1, 2, 3, 4], [1, 2, 3, 4]),
            (21, [198, 18, 255, 9], [198, 18, 248, 0]),
            (0, [9, 9, 9, 9], [0; 4]),
        ] {
            let mut content = vec![0, 1, prefix, 0];
            content.extend_from_slice(&sent);
            assert_eq!(
                read_subnet(&content).unwrap().address[..4],
                kept,
                "/{prefix}"
            );
        }
    }

    #[test]
    fn huge_counts_do_not_cost_anything() {
        let mut packet = vec![0; 12];
        packet[4..12].fill(0xff);
        assert!(matches!(parse(&packet), Parsed::Refusal(bytes) if bytes.len() == 12));
    }
}
