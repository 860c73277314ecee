//! The machine's network interfaces as data, and the rules that pick an address to advertise.
//!
//! [`Interfaces::of_this_host`] is the only place of this crate that asks the system. Tests pass their own list.
//! Rules: config.md section 3 (`advertise_addr`) and the 1.8.7 binary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// One address of one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Name, as `eth0`.
    pub name: String,
    /// Address.
    pub ip: IpAddr,
    /// Length of the network prefix in bits.
    pub prefix_len: u8,
    /// The interface is up.
    pub up: bool,
    /// It is the loopback interface.
    pub loopback: bool,
    /// It is a point-to-point link.
    pub point_to_point: bool,
}

/// All addresses of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interfaces {
    /// One entry per address, in the system's order.
    pub list: Vec<Interface>,
    /// Name of the interface of the default route.
    pub default_route: Option<String>,
}

impl Interfaces {
    /// Asks the system. Empty when it does not answer; addresses can then still be configured.
    pub fn of_this_host() -> Interfaces {
        let list = if_addrs::get_if_addrs().unwrap_or_default();
        let list = list
            .into_iter()
            .map(|i| {
                let prefix_len = match &i.addr {
                    if_addrs::IfAddr::V4(v4) => v4.prefixlen,
                    if_addrs::IfAddr::V6(v6) => v6.prefixlen,
                };
                let loopback = i.is_loopback();
                let (up, point_to_point) = (i.is_oper_up() || loopback, i.is_p2p());
                Interface {
                    ip: i.ip(),
                    name: i.name,
                    prefix_len,
                    up,
                    loopback,
                    point_to_point,
                }
            })
            .collect();
        Interfaces {
            list,
            default_route: default_route(),
        }
    }

    /// The only private IPv4 address: advertised when the bind address is `0.0.0.0`.
    pub(crate) fn private_v4(&self) -> Result<IpAddr, String> {
        only(
            self.active()
                .filter(|ip| matches!(ip, IpAddr::V4(v4) if is_private_v4(*v4)))
                .collect(),
            "private IPv4",
        )
    }

    /// The only public IPv6 address: advertised when the bind address is `::`.
    pub(crate) fn public_v6(&self) -> Result<IpAddr, String> {
        only(
            self.active()
                .filter(|ip| matches!(ip, IpAddr::V6(v6) if is_public_v6(*v6)))
                .collect(),
            "public IPv6",
        )
    }

    /// Addresses of interfaces that are up; loopback ones only if there is no other.
    fn active(&self) -> impl Iterator<Item = IpAddr> {
        let others = self.list.iter().any(|i| i.up && !i.loopback);
        self.list
            .iter()
            .filter(move |i| i.up && i.loopback != others)
            .map(|i| i.ip)
    }
}

fn only(found: Vec<IpAddr>, what: &str) -> Result<IpAddr, String> {
    match found[..] {
        [] => Err(format!("No {what} address found")),
        [ip] => Ok(ip),
        _ => Err(format!(
            "Multiple {what} addresses found. Please configure one with 'bind' and/or 'advertise'."
        )),
    }
}

/// The interface of the default IPv4 route, from the kernel's table (Linux; elsewhere unknown).
fn default_route() -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/route").ok()?;
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (name, destination) = (fields.next()?, fields.next()?);
        (destination == "00000000").then(|| name.to_owned())
    })
}

/// True if one of the networks, written as text, holds `ip`.
pub(crate) fn in_any(ip: IpAddr, networks: &[&str]) -> bool {
    networks
        .iter()
        .filter_map(|n| n.parse::<IpNet>().ok())
        .any(|n| n.contains(&ip))
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    in_any(
        ip.into(),
        &[
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.168.0.0/16",
        ],
    )
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    !ip.is_unspecified()
        && !in_any(
            ip.into(),
            &[
                "::1/128",
                "fc00::/7",
                "fe80::/10",
                "ff00::/8",
                "2001:db8::/32",
                "::ffff:0:0/96",
            ],
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(addrs: &[(&str, &str)]) -> Interfaces {
        let list = addrs
            .iter()
            .map(|(name, ip)| Interface {
                name: (*name).to_owned(),
                ip: ip.parse().unwrap(),
                prefix_len: 24,
                up: true,
                loopback: *name == "lo",
                point_to_point: false,
            })
            .collect();
        Interfaces {
            list,
            default_route: None,
        }
    }

    #[test]
    fn the_only_private_ipv4_is_advertised() {
        // (interfaces, address or error), as the 1.8.7 binary decides
        for (addrs, want) in [
            (&[("lo", "127.0.0.1")][..], Ok("127.0.0.1")),
            (
                &[("lo", "127.0.0.1"), ("eth0", "192.0.2.2")],
                Ok("192.0.2.2"),
            ),
            (
                &[("lo", "127.0.0.1"), ("eth0", "8.8.8.8")],
                Err("No private IPv4 address found"),
            ),
            (
                &[("eth0", "240.0.0.1")],
                Err("No private IPv4 address found"),
            ),
            (&[("eth0", "8.8.8.8"), ("eth1", "10.0.0.1")], Ok("10.0.0.1")),
            (
                &[("eth0", "10.0.0.1"), ("eth1", "10.0.1.1")],
                Err(
                    "Multiple private IPv4 addresses found. Please configure one with 'bind' and/or 'advertise'.",
                ),
            ),
        ] {
            let got = host(addrs).private_v4().map(|ip| ip.to_string());
            assert_eq!(
                got,
                want.map(str::to_owned).map_err(str::to_owned),
                "{addrs:?}"
            );
        }
    }

    #[test]
    fn the_only_public_ipv6_is_advertised() {
        for (ip, public) in [
            ("2001:db8::1", false),
            ("fd00::1", false),
            ("2a00::1", true),
            ("64:ff9b::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(host(&[("eth0", ip)]).public_v6().is_ok(), public, "{ip}");
        }
    }
}
