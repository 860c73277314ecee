//! What a question asks for, by its name (spec dns.md 1 and 2).
//!
//! In: the name in wire form and the type. Out: [`Zone`], which zone it belongs to, and [`Asked`], what it names there.
//! Pure; knows no catalog.
//!
//! Labels are compared in lower case. A label with characters that text form escapes (a dot, a backslash, bytes outside
//! printable ASCII) is carried on in its escaped form, and so finds nothing that is registered without the escapes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tribune_types::query::Endpoint;
use tribune_types::text::{Text, text};

use crate::options::Settings;
use crate::wire::{NAME_SIZE_MAX, rtype};

/// Where a name belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    /// The zone of this server, or the other name of it. The number of wire bytes before the zone.
    Own { prefix: usize },
    /// Names of addresses.
    Reverse,
    /// Not served here.
    Outside,
}

/// What a name in the own zone names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Instances of a service.
    Service {
        name: Text,
        tag: Option<Text>,
        endpoint: Endpoint,
        dc: Option<Text>,
    },
    /// A node.
    Node { name: Text, dc: Option<Text> },
    /// A prepared query, by name or ID.
    Query { name: Text, dc: Option<Text> },
    /// The address written in the name.
    Addr(IpAddr),
    /// An address of no known length: exists, has no records.
    Nothing,
    /// No form of name that is known.
    Invalid,
}

/// A name in lower case with the places of its labels; on the stack.
pub(crate) struct Labels {
    bytes: [u8; NAME_SIZE_MAX],
    /// Start of the content of each label, and its length.
    places: [(u8, u8); 128],
    count: usize,
}

impl Labels {
    /// Splits the first `size` bytes of a wire name.
    pub(crate) fn new(wire: &[u8], size: usize) -> Labels {
        let mut labels = Labels {
            bytes: [0; NAME_SIZE_MAX],
            places: [(0, 0); 128],
            count: 0,
        };
        let size = size.min(wire.len()).min(NAME_SIZE_MAX);
        labels.bytes[..size].copy_from_slice(&wire[..size]);
        labels.bytes[..size].make_ascii_lowercase();
        let mut at = 0;
        while at < size && labels.count < labels.places.len() {
            let len = wire[at];
            if len == 0 {
                break;
            }
            labels.places[labels.count] = (u8::try_from(at + 1).unwrap_or(0), len);
            labels.count += 1;
            at += 1 + usize::from(len);
        }
        labels
    }

    fn get(&self, index: usize) -> &[u8] {
        let (start, len) = self.places[index];
        let start = usize::from(start);
        self.bytes
            .get(start..start + usize::from(len))
            .unwrap_or_default()
    }

    /// The labels of a range joined with dots.
    fn join(&self, range: std::ops::Range<usize>) -> Text {
        let mut buffer = [0u8; NAME_SIZE_MAX];
        let mut used = 0;
        for index in range.clone() {
            let label = self.get(index);
            if !label.iter().copied().all(is_plain) {
                return self.join_escaped(range);
            }
            if used > 0 {
                buffer[used] = b'.';
                used += 1;
            }
            buffer[used..used + label.len()].copy_from_slice(label);
            used += label.len();
        }
        text(std::str::from_utf8(&buffer[..used]).unwrap_or_default())
    }

    #[cold]
    fn join_escaped(&self, range: std::ops::Range<usize>) -> Text {
        let mut out = String::new();
        for index in range {
            if !out.is_empty() {
                out.push('.');
            }
            for &byte in self.get(index) {
                match byte {
                    b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                        out.push('\\');
                        out.push(char::from(byte));
                    }
                    0x21..=0x7e => out.push(char::from(byte)),
                    _ => out.push_str(&format!("\\{byte:03}")),
                }
            }
        }
        text(&out)
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// The zone of a name. Of nested zones the longest counts.
pub(crate) fn zone_of(name: &[u8], settings: &Settings) -> Zone {
    let own = [Some(&settings.domain), settings.alt_domain.as_ref()];
    let longest = own
        .into_iter()
        .flatten()
        .filter_map(|zone| Some((prefix_before(name, zone.wire())?, zone.wire().len())))
        .max_by_key(|(_, size)| *size);
    const ARPA: &[u8] = b"\x04arpa\x00";
    match (longest, prefix_before(name, ARPA)) {
        (Some((_, size)), Some(_)) if size <= ARPA.len() => Zone::Reverse,
        (Some((prefix, _)), _) => Zone::Own { prefix },
        (None, Some(_)) => Zone::Reverse,
        (None, None) => Zone::Outside,
    }
}

/// Bytes of `name` before the suffix `zone`, if it ends so at a label.
fn prefix_before(name: &[u8], zone: &[u8]) -> Option<usize> {
    let prefix = name.len().checked_sub(zone.len())?;
    if !name[prefix..].eq_ignore_ascii_case(zone) {
        return None;
    }
    let mut at = 0;
    while at < prefix {
        at += 1 + usize::from(name[at]);
    }
    (at == prefix).then_some(prefix)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keyword {
    Service,
    Connect,
    Ingress,
    Node,
    Query,
    Addr,
}

/// Reads the labels before the zone.
pub(crate) fn asked(labels: &Labels, qtype: u16, settings: &Settings) -> Asked {
    let found = (0..labels.count).rev().find_map(|index| {
        let label = labels.get(index);
        Some(match label {
            b"service" => (Keyword::Service, index, index + 1),
            b"connect" => (Keyword::Connect, index, index + 1),
            b"ingress" => (Keyword::Ingress, index, index + 1),
            b"node" => (Keyword::Node, index, index + 1),
            b"query" => (Keyword::Query, index, index + 1),
            b"addr" => (Keyword::Addr, index, index + 1),
            // RFC 2782 without the keyword: the label belongs to the arguments.
            _ if qtype == rtype::SRV && label.first() == Some(&b'_') => {
                (Keyword::Service, index + 1, index + 1)
            }
            _ => return None,
        })
    });
    let Some((keyword, args, suffix)) = found else {
        return Asked::Invalid;
    };
    if args == 0 {
        return Asked::Invalid;
    }
    if keyword == Keyword::Addr {
        // Whatever follows is not looked at.
        return if args == 1 {
            address(labels.get(0))
        } else {
            Asked::Invalid
        };
    }
    let dc = match labels.count - suffix {
        0 => None,
        1 => Some(labels.join(suffix..suffix + 1)).filter(|dc| *dc != settings.options.datacenter),
        _ => return Asked::Invalid,
    };
    let endpoint = match keyword {
        Keyword::Node => {
            return Asked::Node {
                name: labels.join(0..args),
                dc,
            };
        }
        Keyword::Query => {
            return Asked::Query {
                name: labels.join(0..args),
                dc,
            };
        }
        Keyword::Connect => Endpoint::Connect,
        Keyword::Ingress => Endpoint::Ingress,
        Keyword::Service | Keyword::Addr => {
            let (name, tag) = service_and_tag(labels, args);
            return Asked::Service {
                name,
                tag,
                endpoint: Endpoint::Service,
                dc,
            };
        }
    };
    Asked::Service {
        name: labels.join(args - 1..args),
        tag: None,
        endpoint,
        dc,
    }
}

/// `_name._tag` or `tag.with.dots.name`.
fn service_and_tag(labels: &Labels, args: usize) -> (Text, Option<Text>) {
    let (first, second) = (labels.get(0), labels.get(1));
    if args == 2 && first.first() == Some(&b'_') && second.first() == Some(&b'_') {
        let strip = |label: Text| text(label.strip_prefix('_').unwrap_or_default());
        let tag = if second == b"_tcp" {
            None
        } else {
            Some(strip(labels.join(1..2)))
        };
        return (strip(labels.join(0..1)), tag);
    }
    let tag = (args > 1).then(|| labels.join(0..args - 1));
    (labels.join(args - 1..args), tag)
}

/// 8 or 32 hexadecimal digits. Half the length decides, so that one digit too many is a bad number, not no number.
fn address(label: &[u8]) -> Asked {
    let mut bytes = [0u8; 16];
    let size = label.len() / 2;
    if size != 4 && size != 16 {
        return Asked::Nothing;
    }
    if !label.len().is_multiple_of(2) {
        return Asked::Invalid;
    }
    for (at, pair) in label.chunks_exact(2).enumerate() {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
            return Asked::Invalid;
        };
        bytes[at] = u8::try_from(high << 4 | low).unwrap_or(0);
    }
    if size == 4 {
        Asked::Addr(IpAddr::V4(Ipv4Addr::new(
            bytes[0], bytes[1], bytes[2], bytes[3],
        )))
    } else {
        Asked::Addr(IpAddr::V6(Ipv6Addr::from(bytes)))
    }
}

/// The address a name under `arpa.` stands for; `None` if it is none or not whole.
pub(crate) fn reverse_address(name: &[u8]) -> Option<IpAddr> {
    let labels = Labels::new(name, name.len());
    let count = labels.count.checked_sub(2)?;
    match (labels.get(count), labels.get(count + 1)) {
        (b"in-addr", b"arpa") if count == 4 => {
            let mut bytes = [0u8; 4];
            for (at, byte) in bytes.iter_mut().rev().enumerate() {
                let label = std::str::from_utf8(labels.get(at)).ok()?;
                if label.len() > 1 && label.starts_with('0') || label.starts_with('+') {
                    return None;
                }
                *byte = label.parse().ok()?;
            }
            Some(IpAddr::from(bytes))
        }
        (b"ip6", b"arpa") if count == 32 => {
            let mut bytes = [0u8; 16];
            for at in 0..32 {
                let [digit] = labels.get(at) else { return None };
                let value = u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
                bytes[15 - at / 2] |= if at % 2 == 0 { value } else { value << 4 };
            }
            Some(IpAddr::from(bytes))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::DnsOptions;
    use crate::wire::Name;

    fn settings(alt: &str) -> Settings {
        Settings::new(DnsOptions {
            alt_domain: alt.to_owned(),
            ..DnsOptions::default()
        })
        .unwrap()
    }

    fn read(name: &str, qtype: u16) -> Asked {
        let settings = settings("");
        let name = Name::from_text(name).unwrap();
        match zone_of(name.wire(), &settings) {
            Zone::Own { prefix } => asked(&Labels::new(name.wire(), prefix), qtype, &settings),
            other => panic!("{other:?}"),
        }
    }

    fn service(name: &str, tag: Option<&str>, dc: Option<&str>) -> Asked {
        Asked::Service {
            name: text(name),
            tag: tag.map(text),
            endpoint: Endpoint::Service,
            dc: dc.map(text),
        }
    }

    #[test]
    fn names_say_service_tag_and_datacenter() {
        // (name, type, meaning)
        for (name, qtype, want) in [
            ("web.service.consul", rtype::A, service("web", None, None)),
            ("WEB.SerVice.CONSUL", rtype::A, service("web", None, None)),
            (
                "web.service.dc1.consul",
                rtype::A,
                service("web", None, None),
            ),
            (
                "web.service.dc2.consul",
                rtype::A,
                service("web", None, Some("dc2")),
            ),
            (
                "a.b.web.service.consul",
                rtype::A,
                service("web", Some("a.b"), None),
            ),
            (
                "_web._tcp.service.consul",
                rtype::SRV,
                service("web", None, None),
            ),
            (
                "_web._TCP.service.consul",
                rtype::A,
                service("web", None, None),
            ),
            (
                "_web._v1.service.dc2.consul",
                rtype::SRV,
                service("web", Some("v1"), Some("dc2")),
            ),
            ("_web._tcp.consul", rtype::SRV, service("web", None, None)),
            (
                "_web._v1.dc2.consul",
                rtype::SRV,
                service("web", Some("v1"), Some("dc2")),
            ),
            ("_web._tcp.consul", rtype::A, Asked::Invalid),
            (
                "x._web._tcp.consul",
                rtype::SRV,
                service("_tcp", Some("x._web"), None),
            ),
            (
                "_web.v1.service.consul",
                rtype::SRV,
                service("v1", Some("_web"), None),
            ),
            (
                "web.service.service.consul",
                rtype::A,
                service("service", Some("web"), None),
            ),
            ("service.consul", rtype::A, Asked::Invalid),
            ("consul", rtype::A, Asked::Invalid),
            ("web.consul", rtype::A, Asked::Invalid),
            ("web.service.dc1.x.consul", rtype::A, Asked::Invalid),
            (
                "a.b.node.consul",
                rtype::A,
                Asked::Node {
                    name: text("a.b"),
                    dc: None,
                },
            ),
            (
                "a.node.dc9.consul",
                rtype::A,
                Asked::Node {
                    name: text("a"),
                    dc: Some(text("dc9")),
                },
            ),
            (
                "X.y.query.dc2.consul",
                rtype::A,
                Asked::Query {
                    name: text("x.y"),
                    dc: Some(text("dc2")),
                },
            ),
            ("query.consul", rtype::A, Asked::Invalid),
            (
                "7f000001.addr.consul",
                rtype::SRV,
                Asked::Addr(IpAddr::from([127, 0, 0, 1])),
            ),
            (
                "7f000001.addr.a.b.c.consul",
                rtype::SRV,
                Asked::Addr(IpAddr::from([127, 0, 0, 1])),
            ),
            ("7f0001.addr.consul", rtype::A, Asked::Nothing),
            ("7f00000g.addr.consul", rtype::A, Asked::Invalid),
            ("7f0000011.addr.consul", rtype::A, Asked::Invalid),
            ("x.7f000001.addr.consul", rtype::A, Asked::Invalid),
        ] {
            assert_eq!(read(name, qtype), want, "{name} {qtype}");
        }
        assert_eq!(
            read("x.web.connect.consul", rtype::A),
            Asked::Service {
                name: text("web"),
                tag: None,
                endpoint: Endpoint::Connect,
                dc: None
            }
        );
    }

    #[test]
    fn escaped_labels_do_not_name_what_is_registered_without_escapes() {
        let settings = settings("");
        let name = b"\x04a.b\xff\x07service\x06consul\x00";
        let Asked::Service { name, .. } = asked(&Labels::new(name, 13), rtype::A, &settings) else {
            panic!()
        };
        assert_eq!(&*name, "a\\.b\\255");
    }

    #[test]
    fn the_longer_of_two_zones_is_taken_off() {
        let settings = settings("test.consul.");
        for (name, zone) in [
            ("a.consul", Zone::Own { prefix: 2 }),
            ("a.test.consul", Zone::Own { prefix: 2 }),
            ("test.consul", Zone::Own { prefix: 0 }),
            ("xconsul", Zone::Outside),
            ("consul.service", Zone::Outside),
            ("1.in-addr.ARPA", Zone::Reverse),
            (".", Zone::Outside),
        ] {
            assert_eq!(
                zone_of(Name::from_text(name).unwrap().wire(), &settings),
                zone,
                "{name}"
            );
        }
    }

    #[test]
    fn reverse_names_must_be_whole_addresses() {
        let read = |name: &str| {
            reverse_address(Name::from_text(name).unwrap().wire()).map(|addr| addr.to_string())
        };
        assert_eq!(
            read("10.0.0.127.in-addr.arpa").as_deref(),
            Some("127.0.0.10")
        );
        assert_eq!(
            read("10.0.0.127.IN-ADDR.ARPA").as_deref(),
            Some("127.0.0.10")
        );
        let six = "2.4.2.4.2.4.2.4.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";
        assert_eq!(read(six).as_deref(), Some("::4242:4242"));
        for name in [
            "0.127.in-addr.arpa",
            "256.0.0.127.in-addr.arpa",
            "010.0.0.127.in-addr.arpa",
            "in-addr.arpa",
            "arpa",
            "x.ip6.arpa",
        ] {
            assert_eq!(read(name), None, "{name}");
        }
    }
}
