//! Runs a pipeline of calls over the interfaces.
//!
//! The value starts as what the first function gives (a list of addresses or text) and passes through the filters.
//! Only `Get*` may come first; only filters may follow.

use std::cmp::Ordering;
use std::net::IpAddr;

use ipnet::IpNet;

use super::parse::Call;
use crate::interfaces::{Interface, Interfaces, in_any};

/// What flows through a pipeline.
enum Flow {
    List(Vec<Interface>),
    Text(String),
}

/// Runs a whole pipeline; a list at the end is written as its addresses.
pub(super) fn run(calls: &[Call], host: &Interfaces) -> Result<String, String> {
    let mut flow = None;
    for call in calls {
        flow = Some(match flow {
            None => source(call, host)?,
            Some(flow) => filter(call, flow, host)?,
        });
    }
    Ok(match flow {
        Some(Flow::Text(text)) => text,
        Some(Flow::List(list)) => join(&list, "address", " ")?,
        None => String::new(),
    })
}

fn undefined(name: &str) -> String {
    format!("template: sockaddr.Parse:1: function {name:?} not defined")
}

fn args<const N: usize>(call: &Call) -> Result<[&str; N], String> {
    let args: Vec<&str> = call.args.iter().map(String::as_str).collect();
    args.try_into().map_err(|_| {
        format!(
            "template: sockaddr.Parse:1: wrong number of args for {}: want {N} got {}",
            call.name,
            call.args.len()
        )
    })
}

fn source(call: &Call, host: &Interfaces) -> Result<Flow, String> {
    let named = |name: &str| -> Vec<Interface> {
        let mut list: Vec<Interface> = host
            .list
            .iter()
            .filter(|i| i.name == name && forwardable(i.ip))
            .cloned()
            .collect();
        list.sort_by_key(|i| (i.ip.is_ipv6(), std::cmp::Reverse(i.prefix_len)));
        list
    };
    let first = |list: Vec<Interface>| {
        Flow::Text(list.first().map(|i| i.ip.to_string()).unwrap_or_default())
    };
    let all = |list: Vec<Interface>| join(&list, "address", " ").map(Flow::Text);
    Ok(match call.name.as_str() {
        "GetAllInterfaces" => {
            args::<0>(call)?;
            Flow::List(host.list.clone())
        }
        "GetDefaultInterfaces" => {
            args::<0>(call)?;
            let list = host
                .list
                .iter()
                .filter(|i| Some(&i.name) == host.default_route.as_ref());
            Flow::List(list.cloned().collect())
        }
        "GetPrivateInterfaces" => Flow::List(by_scope(call, host, true)?),
        "GetPublicInterfaces" => Flow::List(by_scope(call, host, false)?),
        "GetPrivateIP" => first(by_scope(call, host, true)?),
        "GetPrivateIPs" => all(by_scope(call, host, true)?)?,
        "GetPublicIP" => first(by_scope(call, host, false)?),
        "GetPublicIPs" => all(by_scope(call, host, false)?)?,
        "GetInterfaceIP" => first(named(args::<1>(call)?[0])),
        "GetInterfaceIPs" => all(named(args::<1>(call)?[0]))?,
        "include" | "exclude" | "sort" | "limit" | "offset" | "unique" | "join" | "attr" => {
            return Err(format!(
                "template: sockaddr.Parse:1: {} needs a list of interfaces before it",
                call.name
            ));
        }
        other => return Err(undefined(other)),
    })
}

/// Addresses of interfaces that are up, private or public; the default route's first, IPv4 first.
fn by_scope(call: &Call, host: &Interfaces, private: bool) -> Result<Vec<Interface>, String> {
    args::<0>(call)?;
    let mut list: Vec<Interface> = host
        .list
        .iter()
        .filter(|i| i.up && forwardable(i.ip) && is_special(i.ip) == private)
        .cloned()
        .collect();
    list.sort_by_key(|i| {
        (
            Some(&i.name) != host.default_route.as_ref(),
            i.ip.is_ipv6(),
            std::cmp::Reverse(i.prefix_len),
        )
    });
    Ok(list)
}

fn filter(call: &Call, flow: Flow, host: &Interfaces) -> Result<Flow, String> {
    let list = match flow {
        Flow::List(list) => list,
        Flow::Text(_) => {
            return Err(match call.name.as_str() {
                "include" | "exclude" | "sort" | "limit" | "offset" | "unique" | "join"
                | "attr" => {
                    format!(
                        "template: sockaddr.Parse:1: {} needs a list of interfaces before it",
                        call.name
                    )
                }
                other => undefined(other),
            });
        }
    };
    Ok(match call.name.as_str() {
        "include" | "exclude" => {
            let [kind, value] = args(call)?;
            let keep = call.name == "include";
            let test = selector(kind, value)?;
            Flow::List(list.into_iter().filter(|i| test(i) == keep).collect())
        }
        "sort" => Flow::List(sort(list, args::<1>(call)?[0], host)?),
        "limit" => {
            let count = number(call)?;
            Flow::List(
                list.into_iter()
                    .take(usize::try_from(count).unwrap_or(0))
                    .collect(),
            )
        }
        "offset" => {
            let count = number(call)?;
            // A negative offset counts from the end.
            let skip = match usize::try_from(count) {
                Ok(skip) => skip,
                Err(_) => list
                    .len()
                    .saturating_sub(usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX)),
            };
            Flow::List(list.into_iter().skip(skip).collect())
        }
        "unique" => {
            let [kind] = args(call)?;
            let mut seen = std::collections::BTreeSet::new();
            let mut out = Vec::new();
            for i in list {
                if seen.insert(attribute(&i, kind)?) {
                    out.push(i);
                }
            }
            Flow::List(out)
        }
        "join" => {
            let [kind, separator] = args(call)?;
            Flow::Text(join(&list, kind, separator)?)
        }
        "attr" => {
            let [kind] = args(call)?;
            Flow::Text(match list.first() {
                Some(i) => attribute(i, kind)?,
                None => String::new(),
            })
        }
        other => return Err(undefined(other)),
    })
}

fn number(call: &Call) -> Result<i64, String> {
    let [text] = args(call)?;
    text.parse().map_err(|_| {
        format!(
            "template: sockaddr.Parse:1: {} needs a number, got {text:?}",
            call.name
        )
    })
}

fn join(list: &[Interface], kind: &str, separator: &str) -> Result<String, String> {
    let parts: Vec<String> = list
        .iter()
        .map(|i| attribute(i, kind))
        .collect::<Result<_, _>>()?;
    Ok(parts.join(separator))
}

fn attribute(i: &Interface, kind: &str) -> Result<String, String> {
    let net = || IpNet::new(i.ip, i.prefix_len).map_err(|e| e.to_string());
    Ok(match kind {
        "name" => i.name.clone(),
        "address" | "host" | "string" => i.ip.to_string(),
        "network" => net()?.trunc().to_string(),
        "mask_bits" | "size" => i.prefix_len.to_string(),
        "netmask" => net()?.netmask().to_string(),
        "broadcast" => net()?.broadcast().to_string(),
        "type" => if i.ip.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
        other => return Err(format!("unknown attribute {other:?}")),
    })
}

type Test = Box<dyn Fn(&Interface) -> bool>;

fn selector(kind: &str, value: &str) -> Result<Test, String> {
    Ok(match kind.to_ascii_lowercase().as_str() {
        "name" | "address" => {
            let pattern =
                regex::Regex::new(value).map_err(|e| format!("bad pattern {value:?}: {e}"))?;
            let by_name = kind.eq_ignore_ascii_case("name");
            Box::new(move |i| {
                if by_name {
                    pattern.is_match(&i.name)
                } else {
                    pattern.is_match(&i.ip.to_string())
                }
            })
        }
        "network" => {
            let nets: Vec<IpNet> = value
                .split('|')
                .map(|n| {
                    n.trim()
                        .parse()
                        .map_err(|_| format!("invalid network {n:?}"))
                })
                .collect::<Result<_, String>>()?;
            Box::new(move |i| nets.iter().any(|n| n.contains(&i.ip)))
        }
        "type" => {
            let want = value.to_ascii_lowercase();
            match want.as_str() {
                "ip" => Box::new(|_| true),
                "ipv4" => Box::new(|i| i.ip.is_ipv4()),
                "ipv6" => Box::new(|i| i.ip.is_ipv6()),
                _ => return Err(format!("unknown interface type {value:?}")),
            }
        }
        "size" => {
            let want: u8 = value
                .trim_start_matches('/')
                .parse()
                .map_err(|_| format!("invalid size {value:?}"))?;
            Box::new(move |i| i.prefix_len == want)
        }
        "flag" | "flags" => {
            let tests: Vec<fn(&Interface) -> bool> = value
                .split('|')
                .map(|name| flag(name.trim()))
                .collect::<Result<_, _>>()?;
            Box::new(move |i| tests.iter().all(|test| test(i)))
        }
        "rfc" | "rfcs" => {
            let nets: Vec<&'static [&'static str]> = value
                .split('|')
                .map(|n| rfc(n.trim()))
                .collect::<Result<_, _>>()?;
            Box::new(move |i| nets.iter().any(|nets| in_any(i.ip, nets)))
        }
        _ => return Err(format!("unknown selector {kind:?}")),
    })
}

fn flag(name: &str) -> Result<fn(&Interface) -> bool, String> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "up" => |i| i.up,
        "down" => |i| !i.up,
        "loopback" => |i| i.ip.is_loopback() || i.loopback,
        "forwardable" => |i| forwardable(i.ip),
        "multicast" => |i| i.ip.is_multicast(),
        "point-to-point" => |i| i.point_to_point,
        "unspecified" => |i| i.ip.is_unspecified(),
        "link-local unicast" => |i| link_local(i.ip),
        "global unicast" => |i| {
            !i.ip.is_unspecified()
                && !i.ip.is_loopback()
                && !i.ip.is_multicast()
                && !link_local(i.ip)
        },
        _ => return Err(format!("unknown flag {name:?}")),
    })
}

fn link_local(ip: IpAddr) -> bool {
    in_any(ip, &["169.254.0.0/16", "fe80::/10"])
}

fn forwardable(ip: IpAddr) -> bool {
    !ip.is_loopback() && !ip.is_multicast() && !ip.is_unspecified() && !link_local(ip)
}

/// Networks of RFC 6890: everything that is not public.
const RFC_6890: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::1/128",
    "::/128",
    "::ffff:0:0/96",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "fc00::/7",
    "fe80::/10",
];

fn is_special(ip: IpAddr) -> bool {
    in_any(ip, RFC_6890)
}

fn rfc(number: &str) -> Result<&'static [&'static str], String> {
    Ok(match number {
        "919" => &["255.255.255.255/32"],
        "1112" => &["224.0.0.0/4"],
        "1122" => &["0.0.0.0/8", "127.0.0.0/8"],
        "1918" => &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
        "3927" => &["169.254.0.0/16"],
        "4193" => &["fc00::/7"],
        "4291" => &["::1/128", "::/128", "fe80::/10", "ff00::/8"],
        "5737" => &["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"],
        "6598" => &["100.64.0.0/10"],
        "6890" => RFC_6890,
        _ => return Err(format!("RFC {number:?} is not known here")),
    })
}

fn sort(mut list: Vec<Interface>, keys: &str, host: &Interfaces) -> Result<Vec<Interface>, String> {
    let mut orders: Vec<(&str, bool)> = Vec::new();
    for key in keys.split(',') {
        let key = key.trim();
        let (name, down) = match key.strip_prefix('-') {
            Some(name) => (name, true),
            None => (key.strip_prefix('+').unwrap_or(key), false),
        };
        if !matches!(
            name,
            "name" | "address" | "default" | "private" | "size" | "type" | "network"
        ) {
            return Err(format!("unknown sort type {name:?}"));
        }
        orders.push((name, down));
    }
    let compare = |a: &Interface, b: &Interface, name: &str| match name {
        "name" => a.name.cmp(&b.name),
        "address" | "network" => a.ip.cmp(&b.ip),
        "default" => {
            let rank = |i: &Interface| Some(&i.name) != host.default_route.as_ref();
            rank(a).cmp(&rank(b))
        }
        "private" => is_special(b.ip).cmp(&is_special(a.ip)),
        "size" => b.prefix_len.cmp(&a.prefix_len),
        _ => a.ip.is_ipv6().cmp(&b.ip.is_ipv6()),
    };
    list.sort_by(|a, b| {
        orders.iter().fold(Ordering::Equal, |order, (name, down)| {
            order.then_with(|| {
                if *down {
                    compare(b, a, name)
                } else {
                    compare(a, b, name)
                }
            })
        })
    });
    Ok(list)
}
