//! Instances of a service as DNS sees them: derived once per answer of the catalog, used by every question.
//!
//! In: evaluated instances with their checks. Out: [`ServiceView`]: instances that are not critical, with the address
//! for each kind of question already chosen, parsed and numbered for removing duplicates, and the SRV target in wire
//! form (spec dns.md 3). A question then only picks numbers.
//!
//! Memory: about 150 bytes per instance, and only for services that are asked for.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use tribune_types::catalog::{Node, Service, Status};
use tribune_types::query::{Instance, Reply};
use tribune_types::text::Text;

use crate::options::Settings;
use crate::pick::Order;
use crate::wire::{Name, character_strings};

/// An address as registered: a number or a name to be resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Addr {
    /// IPv4, IPv4 inside IPv6 included.
    V4([u8; 4]),
    /// IPv6.
    V6([u8; 16]),
    /// A host name.
    Host(Name),
}

impl Addr {
    /// Parses a registered address. `None` for the empty one and for what is no name either.
    pub(crate) fn parse(address: &str) -> Option<Addr> {
        match address.parse() {
            Ok(IpAddr::V4(v4)) => Some(Addr::V4(Ipv4Addr::octets(&v4))),
            Ok(IpAddr::V6(v6)) => Some(
                v6.to_ipv4_mapped()
                    .map_or(Addr::V6(Ipv6Addr::octets(&v6)), |v4| Addr::V4(v4.octets())),
            ),
            Err(_) if address.is_empty() => None,
            Err(_) => Name::from_text(address).map(Addr::Host),
        }
    }
}

/// Kind of address a question takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accept {
    /// IPv4 or a name.
    V4,
    /// IPv6 or a name.
    V6,
    /// Any.
    Any,
}

/// The address to give out: the tagged one of the wanted family, else the plain one if it fits.
///
/// `wan` puts the WAN addresses in the place of the LAN ones.
fn choose<'a>(
    plain: &'a str,
    tagged: impl Fn(&str) -> Option<&'a str>,
    wan: bool,
    accept: Accept,
) -> Option<&'a str> {
    // A tag of the WAN counts even if it is empty: then there is no such address.
    let wan_tag = |name: &str| if wan { tagged(name) } else { None };
    let family = |wan: &str, lan: &str| {
        let address = wan_tag(wan).or_else(|| tagged(lan));
        address.filter(|address| !address.is_empty())
    };
    let v6 = || family("wan_ipv6", "lan_ipv6");
    let v4 = || family("wan_ipv4", "lan_ipv4");
    let fallback = wan_tag("wan").unwrap_or(plain);
    let by_family = match accept {
        Accept::V4 => v4(),
        Accept::V6 => v6(),
        Accept::Any => v6().or_else(v4),
    };
    let address = by_family.unwrap_or(fallback);
    if address.is_empty() {
        None
    } else {
        Some(address)
    }
}

/// The address of a node for a kind of question; of any family, which the caller compares.
pub(crate) fn node_address(node: &Node, settings: &Settings, accept: Accept) -> Option<Addr> {
    Addr::parse(choose_node(node, is_wan(node, settings), accept)?)
}

fn choose_node(node: &Node, wan: bool, accept: Accept) -> Option<&str> {
    let tagged = |name: &str| {
        node.tagged_addresses
            .as_ref()
            .and_then(|map| map.get(name))
            .map(|address| &**address)
    };
    choose(&node.address, tagged, wan, accept)
}

fn choose_service(service: &Service, wan: bool, accept: Accept) -> Option<&str> {
    choose(
        &service.address,
        |name| tagged(service, name).map(|(address, _)| address),
        wan,
        accept,
    )
}

fn tagged<'a>(service: &'a Service, name: &str) -> Option<(&'a str, i64)> {
    let at = service
        .tagged_addresses
        .binary_search_by(|(tag, _)| (**tag).cmp(name))
        .ok()?;
    let tagged = &service.tagged_addresses[at].1;
    Some((&tagged.address, tagged.port))
}

fn is_wan(node: &Node, settings: &Settings) -> bool {
    settings.options.translate_wan_addrs
        && !node.datacenter.is_empty()
        && node.datacenter != settings.options.datacenter
}

/// Metadata of a node as TXT contents (RFC 1464), in the order of keys.
pub(crate) fn node_texts(node: &Node) -> Vec<Arc<[u8]>> {
    node.meta
        .iter()
        .flat_map(|meta| meta.iter())
        .map(|(key, value)| character_strings(&meta_text(key, value)))
        .collect()
}

/// `key=value` with the escapes of RFC 1464; the bare value for keys that say so.
fn meta_text(key: &str, value: &str) -> Vec<u8> {
    const BARE: &str = "rfc1035-";
    if key
        .get(..BARE.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(BARE))
    {
        return value.as_bytes().to_vec();
    }
    let inner = key.trim_start_matches(' ');
    let leading = key.len() - inner.len();
    let inner = inner.trim_end_matches(' ');
    let trailing = key.len() - leading - inner.len();
    let mut out = Vec::with_capacity(key.len() + value.len() + 4);
    out.extend(b"` ".repeat(leading));
    for &byte in inner.as_bytes() {
        if matches!(byte, b'=' | b'`') {
            out.push(b'`');
        }
        out.push(byte);
    }
    out.extend(b"` ".repeat(trailing));
    out.push(b'=');
    // In the value only the escape sign itself is escaped.
    for &byte in value.as_bytes() {
        if byte == b'`' {
            out.push(b'`');
        }
        out.push(byte);
    }
    out
}

/// `<node>.node.<dc>.<domain>`; `None` if the node has no name that DNS can carry.
pub(crate) fn node_name(node: &str, dc: &str, settings: &Settings) -> Option<Name> {
    canonical(node, "node", dc, settings)
}

/// `<service>.service.<dc>.<domain>`.
pub(crate) fn service_name(service: &str, dc: &str, settings: &Settings) -> Option<Name> {
    canonical(service, "service", dc, settings)
}

fn canonical(name: &str, kind: &str, dc: &str, settings: &Settings) -> Option<Name> {
    if name.is_empty() || name.ends_with('.') {
        return None;
    }
    let domain = settings.options.domain.to_ascii_lowercase();
    let text = [name, kind, dc, &domain].join(".");
    Name::from_text(text.strip_suffix("..").unwrap_or(&text))
}

/// `<hex>.addr.<dc>.<domain>`.
fn address_name(address: &[u8], dc: &str, settings: &Settings) -> Option<Name> {
    let hex: String = address.iter().map(|byte| format!("{byte:02x}")).collect();
    canonical(&hex, "addr", dc, settings)
}

/// One instance that is not critical.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// Its node, for metadata and the node's own address.
    pub(crate) node: Arc<Node>,
    /// `<node>.node.<dc>.<domain>`.
    pub(crate) node_name: Option<Name>,
    /// Address for A, AAAA and other questions, in this order of [`Accept`].
    pub(crate) addresses: [Option<Addr>; 3],
    /// SRV target when the address is used as it is; `None` if there is no address or no name for it.
    pub(crate) target: Option<Name>,
    /// SRV port, translated.
    pub(crate) port: u16,
    /// SRV weight by health.
    pub(crate) weight: u16,
}

/// Instances to pick from for one kind of question, each with the number under which duplicates are known.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// (instance, number of its address or target); the number is below `distinct`.
    pub(crate) members: Vec<(u32, u32)>,
    /// How many different numbers there are.
    pub(crate) distinct: u32,
}

/// The pools of all kinds of questions.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    /// Instances with an IPv4 address for A questions.
    pub(crate) v4: Pool,
    /// With an IPv6 address for AAAA questions.
    pub(crate) v6: Pool,
    /// With any address for other questions.
    pub(crate) any: Pool,
    /// With a host name, for A, AAAA and other questions.
    pub(crate) hosts: [Vec<u32>; 3],
    /// Instances by distinct node, address and port.
    pub(crate) srv: Pool,
    /// How many instances, with or without an address.
    pub(crate) count: usize,
}

impl Pools {
    /// The pool of a kind of address.
    pub(crate) fn addresses(&self, accept: Accept) -> &Pool {
        match accept {
            Accept::V4 => &self.v4,
            Accept::V6 => &self.v6,
            Accept::Any => &self.any,
        }
    }
}

/// All of it for one answer of the catalog.
#[derive(Debug)]
pub(crate) struct ServiceView {
    /// The instances that are not critical.
    pub(crate) candidates: Vec<Candidate>,
    all: Pools,
    /// Pools without warnings; `None` when there are no warnings.
    passing: Option<Pools>,
    /// In which order they are given out.
    pub(crate) order: Order,
    /// What of the settings went into it, which never changes while a server runs.
    domain: Name,
}

impl ServiceView {
    /// Derives the view. `dc` is the datacenter of instances that do not say theirs.
    pub(crate) fn new(reply: &Reply, dc: &str, settings: &Settings) -> ServiceView {
        let Reply::Instances(instances) = reply else {
            return ServiceView {
                candidates: Vec::new(),
                all: Pools::default(),
                passing: None,
                order: Order::Random,
                domain: settings.domain.clone(),
            };
        };
        let healthy = |instance: &Instance| instance.status() != Status::Critical;
        ServiceView::of(
            instances.iter().filter(|i| healthy(i)),
            Order::Random,
            dc,
            settings,
        )
    }

    /// Derives the view of what a prepared query found: all of it, in its order.
    pub(crate) fn listed(instances: &[Instance], dc: &str, settings: &Settings) -> ServiceView {
        ServiceView::of(instances.iter(), Order::Listed, dc, settings)
    }

    fn of<'a>(
        instances: impl Iterator<Item = &'a Instance>,
        order: Order,
        dc: &str,
        settings: &Settings,
    ) -> ServiceView {
        let (_, count) = instances.size_hint();
        let count = count.unwrap_or_default();
        let mut candidates = Vec::with_capacity(count);
        let mut keys = Vec::with_capacity(count);
        let mut warning = Vec::with_capacity(count);
        let mut node_names: HashMap<Text, Option<Name>> = HashMap::new();
        for instance in instances {
            let status = instance.status();
            let (node, service) = (&instance.node, &instance.service);
            let dc = if node.datacenter.is_empty() {
                dc
            } else {
                &node.datacenter
            };
            let name = node_names
                .entry(node.name.clone())
                .or_insert_with(|| node_name(&node.name, dc, settings))
                .clone();
            candidates.push(candidate(node, service, status, name, dc, settings));
            keys.push((node.name.clone(), service.address.clone(), service.port));
            warning.push(status == Status::Warning);
        }
        let all = pools(&candidates, &keys, |_| true);
        let passing = warning
            .contains(&true)
            .then(|| pools(&candidates, &keys, |index| !warning[index]));
        ServiceView {
            candidates,
            all,
            passing,
            order,
            domain: settings.domain.clone(),
        }
    }

    /// The pools to pick from.
    pub(crate) fn pools(&self, only_passing: bool) -> &Pools {
        match &self.passing {
            Some(passing) if only_passing => passing,
            _ => &self.all,
        }
    }

    /// True if it was derived for these settings. Two servers with different zones in one process would differ.
    pub(crate) fn fits(&self, settings: &Settings) -> bool {
        self.domain == settings.domain
    }
}

fn candidate(
    node: &Arc<Node>,
    service: &Service,
    status: Status,
    node_name: Option<Name>,
    dc: &str,
    settings: &Settings,
) -> Candidate {
    let wan = is_wan(node, settings);
    let address = |accept| match choose_service(service, wan, accept) {
        Some(own) => Addr::parse(own),
        None => Addr::parse(choose_node(node, wan, accept)?),
    };
    let any = address(Accept::Any);
    let own = choose_service(service, wan, Accept::Any).is_some();
    let target = match &any {
        None => None,
        Some(_)
            if !own
                && choose_node(node, wan, Accept::Any) == Some(&*node.address)
                && is_number(&any) =>
        {
            node_name.clone()
        }
        Some(Addr::V4(address)) => address_name(address, dc, settings),
        Some(Addr::V6(address)) => address_name(address, dc, settings),
        Some(Addr::Host(name)) => Some(name.clone()),
    };
    let port = if wan {
        tagged(service, "wan")
            .map(|(_, port)| port)
            .filter(|port| *port != 0)
    } else {
        None
    };
    let weights = service.weights.unwrap_or_default();
    let weight = match status {
        Status::Passing => weights.passing,
        Status::Warning => weights.warning,
        // Only queries that ignore the check give it out.
        Status::Critical => 0,
    };
    Candidate {
        node: Arc::clone(node),
        node_name,
        addresses: [address(Accept::V4), address(Accept::V6), any],
        target,
        // Ports are kept as any number; the wire has 16 bits of it.
        port: u16::try_from(port.unwrap_or(service.port) & 0xffff).unwrap_or(0),
        weight: u16::try_from(weight).unwrap_or(1),
    }
}

fn is_number(address: &Option<Addr>) -> bool {
    matches!(address, Some(Addr::V4(_) | Addr::V6(_)))
}

fn pools(
    candidates: &[Candidate],
    keys: &[(Text, Text, i64)],
    keep: impl Fn(usize) -> bool,
) -> Pools {
    let mut pools = Pools::default();
    let mut numbers: [HashMap<&Addr, u32>; 3] = Default::default();
    let mut srv: HashMap<&(Text, Text, i64), u32> = HashMap::new();
    for (index, candidate) in candidates
        .iter()
        .enumerate()
        .filter(|(index, _)| keep(*index))
    {
        let Ok(member) = u32::try_from(index) else {
            break;
        };
        pools.count += 1;
        for (kind, address) in candidate.addresses.iter().enumerate() {
            let Some(address) = address else { continue };
            let pool = match (kind, address) {
                (_, Addr::Host(_)) => {
                    pools.hosts[kind].push(member);
                    continue;
                }
                (0, Addr::V4(_)) => &mut pools.v4,
                (1, Addr::V6(_)) => &mut pools.v6,
                (2, _) => &mut pools.any,
                _ => continue,
            };
            let number = *numbers[kind].entry(address).or_insert(pool.distinct);
            pool.distinct = pool.distinct.max(number + 1);
            pool.members.push((member, number));
        }
        if candidate.target.is_some() {
            let number = *srv.entry(&keys[index]).or_insert(pools.srv.distinct);
            pools.srv.distinct = pools.srv.distinct.max(number + 1);
            pools.srv.members.push((member, number));
        }
    }
    pools
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_escaped_as_rfc_1464_says() {
        // (key, value, text)
        for (key, value, want) in [
            ("color", "blue", "color=blue"),
            ("equation", "a=4", "equation=a=4"),
            ("a=a", "true", "a`=a=true"),
            ("a\\=a", "false", "a\\`=a=false"),
            ("=", "\\=", "`==\\="),
            ("string2", "`abc`", "string2=``abc``"),
            ("novalue", "", "novalue="),
            ("a b", "c d", "a b=c d"),
            ("abc ", "123 ", "abc` =123 "),
            (" abc", " 321", "` abc= 321"),
            ("`a", "b", "``a=b"),
            ("rfc1035-00", "bare", "bare"),
            ("RFC1035-x", "up", "up"),
            ("rfc1035", "v", "rfc1035=v"),
        ] {
            assert_eq!(
                String::from_utf8_lossy(&meta_text(key, value)),
                want,
                "{key:?}"
            );
        }
    }

    #[test]
    fn tagged_addresses_of_the_family_win_and_wan_ones_replace_lan_ones() {
        let tags = [
            ("lan_ipv4", "10.0.0.4"),
            ("lan_ipv6", "fd00::6"),
            ("wan", "1.1.1.1"),
            ("wan_ipv6", "2001::6"),
        ];
        let all = |name: &str| {
            tags.iter()
                .find(|(tag, _)| *tag == name)
                .map(|(_, address)| *address)
        };
        let none = |_: &str| None;
        // (tags, wan, accept, address)
        for (with, wan, accept, want) in [
            (true, false, Accept::V4, "10.0.0.4"),
            (true, false, Accept::V6, "fd00::6"),
            (true, false, Accept::Any, "fd00::6"),
            (true, true, Accept::V4, "10.0.0.4"),
            (true, true, Accept::V6, "2001::6"),
            (true, true, Accept::Any, "2001::6"),
            (false, true, Accept::V4, "127.0.0.1"),
            (false, false, Accept::V6, "127.0.0.1"),
        ] {
            let got = if with {
                choose("127.0.0.1", all, wan, accept)
            } else {
                choose("127.0.0.1", none, wan, accept)
            };
            assert_eq!(got, Some(want), "{with} {wan} {accept:?}");
        }
        assert_eq!(choose("", none, false, Accept::Any), None);
        let empty = |name: &str| match name {
            "wan" | "wan_ipv4" => Some(""),
            "lan_ipv4" => Some("10.0.0.4"),
            _ => None,
        };
        assert_eq!(choose("127.0.0.1", empty, true, Accept::V4), None);
        let lan = choose("127.0.0.1", empty, false, Accept::V4);
        assert_eq!(lan, Some("10.0.0.4"));
        let only_wan = |name: &str| (name == "wan").then_some("1.1.1.1");
        assert_eq!(
            choose("127.0.0.1", only_wan, true, Accept::V4),
            Some("1.1.1.1")
        );
        assert_eq!(
            choose("127.0.0.1", only_wan, false, Accept::V4),
            Some("127.0.0.1")
        );
    }
}
