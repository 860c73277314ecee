//! Names, records and their bytes (RFC 1035 section 4, RFC 2782, RFC 3596).
//!
//! [`Name`] is a domain name in uncompressed wire form that is known to be well formed. [`Record`] is what an answer is
//! made of before it is written; [`crate::write`] turns it into bytes. Reading goes through [`read_name`], which bounds
//! every step by the bytes at hand.

use std::sync::Arc;

/// Longest name in wire form, with the root label.
pub(crate) const NAME_SIZE_MAX: usize = 255;
/// Longest label.
pub(crate) const LABEL_SIZE_MAX: usize = 63;
/// Pointers followed in one name before it is taken for a loop.
const POINTERS_MAX: usize = 126;

/// Record and question types by their numbers.
pub(crate) mod rtype {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const MX: u16 = 15;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const AXFR: u16 = 252;
    pub(crate) const ANY: u16 = 255;
}

/// Response codes.
pub(crate) mod rcode {
    pub(crate) const NOERROR: u8 = 0;
    pub(crate) const FORMERR: u8 = 1;
    pub(crate) const SERVFAIL: u8 = 2;
    pub(crate) const NXDOMAIN: u8 = 3;
    pub(crate) const NOTIMP: u8 = 4;
    pub(crate) const REFUSED: u8 = 5;
}

/// The bytes end too early, or what they say cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A name in wire form, in the spelling it was given. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Name(Arc<[u8]>);

impl Name {
    /// Takes over wire bytes that were read or built with the rules kept.
    pub(crate) fn from_wire(bytes: &[u8]) -> Name {
        debug_assert!(is_name(bytes), "a name in wire form");
        Name(Arc::from(bytes))
    }

    /// Parses dotted text with or without the last dot. `None` for empty or long labels and long names: such a name
    /// cannot be asked for and cannot be answered with.
    pub(crate) fn from_text(text: &str) -> Option<Name> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut wire = Vec::with_capacity(text.len() + 2);
        if !text.is_empty() {
            for label in text.split('.') {
                if label.is_empty() || label.len() > LABEL_SIZE_MAX {
                    return None;
                }
                wire.push(u8::try_from(label.len()).ok()?);
                wire.extend_from_slice(label.as_bytes());
            }
        }
        wire.push(0);
        (wire.len() <= NAME_SIZE_MAX).then(|| Name(Arc::from(wire)))
    }

    /// The wire bytes with the root label.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.0
    }
}

/// True if `bytes` are exactly one uncompressed name.
pub(crate) fn is_name(bytes: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&len) = bytes.get(at) {
        if len == 0 {
            return at + 1 == bytes.len() && bytes.len() <= NAME_SIZE_MAX;
        }
        if usize::from(len) > LABEL_SIZE_MAX {
            return false;
        }
        at += 1 + usize::from(len);
    }
    false
}

/// True if two wire names are equal but for ASCII letter case.
pub(crate) fn same_wire_name(a: &[u8], b: &[u8]) -> bool {
    // Length bytes are below 64 and so never letters.
    a.eq_ignore_ascii_case(b)
}

/// Reads the name at `at` of a message, following compression pointers, and appends its wire form to `out`.
/// Returns where the bytes after the name begin.
pub(crate) fn read_name(message: &[u8], at: usize, out: &mut Vec<u8>) -> Result<usize, Malformed> {
    let start = out.len();
    let mut at = at;
    let mut next = None;
    let mut pointers = 0;
    loop {
        let len = *message.get(at).ok_or(Malformed)?;
        match len {
            0 => {
                out.push(0);
                return if out.len() - start > NAME_SIZE_MAX {
                    Err(Malformed)
                } else {
                    Ok(next.unwrap_or(at + 1))
                };
            }
            1..=63 => {
                let end = at + 1 + usize::from(len);
                out.extend_from_slice(message.get(at..end).ok_or(Malformed)?);
                if out.len() - start > NAME_SIZE_MAX {
                    return Err(Malformed);
                }
                at = end;
            }
            192.. => {
                let low = *message.get(at + 1).ok_or(Malformed)?;
                next.get_or_insert(at + 2);
                pointers += 1;
                if pointers > POINTERS_MAX {
                    return Err(Malformed);
                }
                at = usize::from(len & 0x3f) << 8 | usize::from(low);
            }
            _ => return Err(Malformed),
        }
    }
}

/// A big-endian 16-bit number at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    bytes
        .get(at..at + 2)
        .and_then(|b| b.try_into().ok())
        .map(u16::from_be_bytes)
        .ok_or(Malformed)
}

/// A big-endian 32-bit number at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map(u32::from_be_bytes)
        .ok_or(Malformed)
}

/// Whose record it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The name that was asked for, as it was spelled.
    Question,
    /// Another name.
    Name(Name),
}

/// One resource record; class is always IN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Whose.
    pub(crate) owner: Owner,
    /// Seconds it may be kept.
    pub(crate) ttl: u32,
    /// Its type and content.
    pub(crate) data: Data,
}

/// Type and content of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    /// IPv4 address.
    A([u8; 4]),
    /// IPv6 address.
    Aaaa([u8; 16]),
    /// Name server.
    Ns(Name),
    /// Another name for the same thing.
    Cname(Name),
    /// Name of an address.
    Ptr(Name),
    /// Start of authority.
    Soa(Arc<Soa>),
    /// Where a service is; priority is always 1.
    Srv {
        weight: u16,
        port: u16,
        target: Name,
    },
    /// Character strings, each with its length byte.
    Txt(Arc<[u8]>),
    /// From another server, names in it uncompressed.
    Raw { rtype: u16, rdata: Arc<[u8]> },
}

/// Content of the SOA record of the zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Soa {
    pub(crate) mname: Name,
    pub(crate) rname: Name,
    pub(crate) serial: u32,
    pub(crate) refresh: u32,
    pub(crate) retry: u32,
    pub(crate) expire: u32,
    pub(crate) minimum: u32,
}

impl Data {
    /// The type number.
    pub(crate) fn rtype(&self) -> u16 {
        match self {
            Data::A(_) => rtype::A,
            Data::Aaaa(_) => rtype::AAAA,
            Data::Ns(_) => rtype::NS,
            Data::Cname(_) => rtype::CNAME,
            Data::Ptr(_) => rtype::PTR,
            Data::Soa(_) => rtype::SOA,
            Data::Srv { .. } => rtype::SRV,
            Data::Txt(_) => rtype::TXT,
            Data::Raw { rtype, .. } => *rtype,
        }
    }

    /// Bytes of the content when nothing is compressed.
    pub(crate) fn size(&self) -> usize {
        match self {
            Data::A(_) => 4,
            Data::Aaaa(_) => 16,
            Data::Ns(name) | Data::Cname(name) | Data::Ptr(name) => name.wire().len(),
            Data::Soa(soa) => soa.mname.wire().len() + soa.rname.wire().len() + 20,
            Data::Srv { target, .. } => 6 + target.wire().len(),
            Data::Txt(strings) => strings.len(),
            Data::Raw { rdata, .. } => rdata.len(),
        }
    }
}

/// `text` as character strings: pieces of up to 255 bytes, each after its length.
pub(crate) fn character_strings(text: &[u8]) -> Arc<[u8]> {
    let mut out = Vec::with_capacity(text.len() + 1 + text.len() / 255);
    if text.is_empty() {
        out.push(0);
    }
    for piece in text.chunks(255) {
        out.push(u8::try_from(piece.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(piece);
    }
    Arc::from(out)
}

/// Reads the answer section of a message from another server. Names inside well-known types are decompressed.
/// Stops at the first record that is malformed or cut off, keeping those before it.
pub(crate) fn read_answers(message: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut name = Vec::with_capacity(NAME_SIZE_MAX);
    let Ok(questions) = u16_at(message, 4) else {
        return records;
    };
    let Ok(answers) = u16_at(message, 6) else {
        return records;
    };
    let mut at = 12;
    for _ in 0..questions {
        name.clear();
        match read_name(message, at, &mut name) {
            Ok(end) => at = end + 4,
            Err(Malformed) => return records,
        }
    }
    for _ in 0..answers {
        match read_record(message, at, &mut name) {
            Ok((record, end)) => {
                records.push(record);
                at = end;
            }
            Err(Malformed) => break,
        }
    }
    records
}

fn read_record(
    message: &[u8],
    at: usize,
    scratch: &mut Vec<u8>,
) -> Result<(Record, usize), Malformed> {
    scratch.clear();
    let at = read_name(message, at, scratch)?;
    let owner = Owner::Name(Name::from_wire(scratch));
    let kind = u16_at(message, at)?;
    let ttl = u32_at(message, at + 4)?;
    let start = at + 10;
    let end = start + usize::from(u16_at(message, at + 8)?);
    let rdata = message.get(start..end).ok_or(Malformed)?;
    scratch.clear();
    let data = match kind {
        rtype::A => Data::A(rdata.try_into().map_err(|_| Malformed)?),
        rtype::AAAA => Data::Aaaa(rdata.try_into().map_err(|_| Malformed)?),
        rtype::CNAME => {
            read_name_within(message, start, end, scratch)?;
            Data::Cname(Name::from_wire(scratch))
        }
        rtype::NS | rtype::PTR => {
            read_name_within(message, start, end, scratch)?;
            Data::Raw {
                rtype: kind,
                rdata: Arc::from(&scratch[..]),
            }
        }
        rtype::MX | rtype::SRV => {
            let fixed = if kind == rtype::MX { 2 } else { 6 };
            scratch.extend_from_slice(rdata.get(..fixed).ok_or(Malformed)?);
            read_name_within(message, start + fixed, end, scratch)?;
            Data::Raw {
                rtype: kind,
                rdata: Arc::from(&scratch[..]),
            }
        }
        rtype::SOA => {
            let middle = read_name(message, start, scratch)?;
            let numbers = read_name(message, middle, scratch)?;
            if numbers + 20 != end {
                return Err(Malformed);
            }
            scratch.extend_from_slice(&message[numbers..end]);
            Data::Raw {
                rtype: kind,
                rdata: Arc::from(&scratch[..]),
            }
        }
        _ => Data::Raw {
            rtype: kind,
            rdata: Arc::from(rdata),
        },
    };
    Ok((Record { owner, ttl, data }, end))
}

fn read_name_within(
    message: &[u8],
    at: usize,
    end: usize,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    if read_name(message, at, out)? == end {
        Ok(())
    } else {
        Err(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_empty_or_long_labels_are_none() {
        let long = "a".repeat(64);
        let total = format!("{0}.{0}.{0}.{0}", "a".repeat(63));
        for (text, fine) in [
            ("a.b", true),
            ("a.b.", true),
            (".", true),
            ("a..b", false),
            (long.as_str(), false),
            (total.as_str(), false),
        ] {
            assert_eq!(Name::from_text(text).is_some(), fine, "{text}");
        }
        assert_eq!(Name::from_text("Ab.c").unwrap().wire(), b"\x02Ab\x01c\x00");
    }

    #[test]
    fn pointer_loops_and_overlong_names_are_malformed() {
        let mut out = Vec::new();
        assert_eq!(read_name(b"\xc0\x00", 0, &mut out), Err(Malformed));
        assert_eq!(read_name(b"\x01a\xc0\x00", 0, &mut out), Err(Malformed));
        assert_eq!(read_name(b"\x41a\x00", 0, &mut out), Err(Malformed));
        assert_eq!(read_name(b"\x05abc", 0, &mut out), Err(Malformed));
        assert_eq!(read_name(b"\xc0", 0, &mut out), Err(Malformed));
        out.clear();
        assert_eq!(read_name(b"\x01a\x00\x01b\xc0\x00", 3, &mut out), Ok(7));
        assert_eq!(out, b"\x01b\x01a\x00");
    }

    #[test]
    fn long_text_is_split_into_strings_of_255_bytes() {
        let strings = character_strings(&[b'x'; 300]);
        assert_eq!((strings.len(), strings[0], strings[256]), (302, 255, 45));
        assert_eq!(&*character_strings(b""), b"\0");
    }
}
