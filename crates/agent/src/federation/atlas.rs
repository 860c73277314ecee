//! Which datacenters there are, who serves in them, and how far away they are (rpc.md section 4, agent.md section 9).
//!
//! In: the members of the WAN pool, and a coordinate per member name. Out: the servers by datacenter, names in order of
//! distance, coordinates. No state, no clock, no locks.
//!
//! A datacenter is known as long as a server of it is a member that has not left, whether it can be reached or not: so is
//! told "unreachable" from "unknown".

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use tribune_local::members::{MemberKind, recognise};
use tribune_local::servers::ServerAddr;
use tribune_types::coordinate::{Coordinate, CoordinateEntry, DatacenterMap};
use tribune_types::member::{Member, MemberStatus};
use tribune_types::text::{Text, text};

/// The area of all maps: there is one WAN.
const AREA: &str = "wan";

/// A datacenter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Site {
    /// Its servers that have not left.
    pub(super) servers: Vec<Resident>,
    /// Those of them that are alive, by the name in the WAN pool.
    pub(super) alive: Vec<ServerAddr>,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resident {
    /// Name in the WAN pool.
    pub(super) name: Text,
    /// Name in its datacenter.
    pub(super) node: Text,
}

/// All known datacenters, by name.
pub(super) type Sites = BTreeMap<Text, Site>;

/// Sorts members by datacenter. Whoever does not look like a server is left out.
pub(super) fn survey(members: &[Member]) -> Sites {
    let mut sites = Sites::new();
    for member in members {
        if member.status == MemberStatus::Left {
            continue;
        }
        let Ok(ip) = member.addr.parse::<IpAddr>() else {
            continue;
        };
        let addr = SocketAddr::new(ip, member.port);
        let Some(MemberKind::Server(facts)) = recognise(&member.tags, &member.name, addr) else {
            continue;
        };
        if facts.datacenter.is_empty() {
            continue;
        }
        let site = sites.entry(facts.datacenter.clone()).or_default();
        site.servers.push(Resident {
            name: facts.name.clone(),
            node: facts.short_name.clone(),
        });
        if member.status == MemberStatus::Alive
            && let Some(addr) = facts.rpc_addr()
        {
            site.alive.push(ServerAddr {
                name: facts.name,
                addr,
                datacenter: facts.datacenter,
                // Calls to other datacenters go on streams, whose pace suits long ways.
                id: None,
            });
        }
    }
    sites
}

/// Names of all datacenters: the own one, whether its servers are known or not, then the nearest. The distance is the median
/// of those to the servers, one without a coordinate being infinitely far; names decide between equals.
pub(super) fn by_distance(
    sites: &Sites,
    own: &Text,
    here: &Coordinate,
    coordinate_of: impl Fn(&str) -> Option<Coordinate>,
) -> Vec<Text> {
    let mut others: Vec<(f64, &Text)> = sites
        .iter()
        .filter(|(name, _)| *name != own)
        .map(|(name, site)| (median(site, here, &coordinate_of), name))
        .collect();
    // Stable, and the map is in order of names.
    others.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let others = others.into_iter().map(|(_, name)| name.clone());
    std::iter::once(own.clone()).chain(others).collect()
}

fn median(
    site: &Site,
    here: &Coordinate,
    coordinate_of: &impl Fn(&str) -> Option<Coordinate>,
) -> f64 {
    let distance = |server: &Resident| {
        coordinate_of(&server.name).map_or(f64::INFINITY, |there| here.distance_secs(&there))
    };
    let mut distances: Vec<f64> = site.servers.iter().map(distance).collect();
    distances.sort_by(f64::total_cmp);
    distances
        .get(distances.len() / 2)
        .copied()
        .unwrap_or(f64::INFINITY)
}

/// The coordinates of servers by datacenter, in order of names. Servers without one are left out, and datacenters without
/// any such server.
pub(super) fn maps(
    sites: &Sites,
    coordinate_of: impl Fn(&str) -> Option<Coordinate>,
) -> Vec<DatacenterMap> {
    let entry = |server: &Resident| {
        Some(CoordinateEntry {
            node: server.node.clone(),
            segment: Text::default(),
            coord: coordinate_of(&server.name)?,
        })
    };
    let maps = sites.iter().map(|(name, site)| DatacenterMap {
        datacenter: name.clone(),
        area: text(AREA),
        coordinates: site.servers.iter().filter_map(entry).collect(),
    });
    maps.filter(|map| !map.coordinates.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, dc: &str, status: MemberStatus, port: &str) -> Member {
        let tags = [
            ("role", "consul"),
            ("dc", dc),
            ("port", port),
            ("vsn", "2"),
            ("build", "1.8.7:x"),
        ];
        Member {
            name: text(&format!("{name}.{dc}")),
            addr: text("127.62.0.1"),
            port: 8302,
            tags: tags.iter().map(|(k, v)| (text(k), text(v))).collect(),
            status,
            ..Member::default()
        }
    }

    fn at(secs: f64) -> Coordinate {
        let mut coordinate = Coordinate {
            height: 0.0,
            ..Coordinate::default()
        };
        coordinate.vec[0] = secs;
        coordinate
    }

    fn names(list: &[Text]) -> Vec<&str> {
        list.iter().map(|name| &**name).collect()
    }

    #[test]
    fn who_has_left_is_forgotten_and_who_has_failed_is_known_but_not_asked() {
        use MemberStatus::{Alive, Failed, Leaving, Left};
        // (statuses of the servers of dc2, known, asked)
        for (statuses, known, alive) in [
            (vec![Alive, Alive], true, 2),
            (vec![Alive, Failed], true, 1),
            (vec![Failed, Failed], true, 0),
            (vec![Leaving], true, 0),
            (vec![Left, Failed], true, 0),
            (vec![Left, Left], false, 0),
            (vec![], false, 0),
        ] {
            let members: Vec<Member> = (0..)
                .zip(&statuses)
                .map(|(i, status)| member(&format!("s{i}"), "dc2", *status, "8300"))
                .collect();
            let sites = survey(&members);
            let site = sites.get("dc2");
            assert_eq!(site.is_some(), known, "{statuses:?}");
            let asked = site.map_or(0, |site| site.alive.len());
            assert_eq!(asked, alive, "{statuses:?}");
        }
    }

    #[test]
    fn what_is_no_server_is_left_out() {
        let good = member("a", "dc2", MemberStatus::Alive, "8300");
        let mut client = good.clone();
        client.tags.insert(text("role"), text("node"));
        let mut nowhere = good.clone();
        nowhere.addr = text("nowhere");
        let mut without = good.clone();
        without.tags.insert(text("dc"), Text::default());
        let strange = member("a", "dc2", MemberStatus::Alive, "x");
        assert!(survey(&[client, nowhere, without, strange]).is_empty());
        // It is there, but a port of 0 cannot be asked.
        let mute = survey(&[member("a", "dc2", MemberStatus::Alive, "0")]);
        assert!(mute["dc2"].alive.is_empty() && mute["dc2"].servers.len() == 1);
        let sites = survey(&[good]);
        assert_eq!(&*sites["dc2"].servers[0].node, "a");
        assert_eq!(&*sites["dc2"].alive[0].name, "a.dc2");
        assert_eq!(sites["dc2"].alive[0].addr.to_string(), "127.62.0.1:8300");
    }

    #[test]
    fn datacenters_are_ordered_by_the_median_distance_of_their_servers() {
        // (servers and how far each is in ms; none is unknown), own is dc1, want
        for (servers, want) in [
            (vec![], "dc1"),
            (vec![("dc2", None), ("dc0", None)], "dc1 dc0 dc2"),
            (vec![("dc2", Some(80)), ("dc0", None)], "dc1 dc2 dc0"),
            (
                vec![("dc2", Some(80)), ("dc3", Some(20)), ("dc1", Some(500))],
                "dc1 dc3 dc2",
            ),
            // One far server of three does not make a datacenter far.
            (
                vec![
                    ("dc2", Some(10)),
                    ("dc2", Some(10)),
                    ("dc2", Some(900)),
                    ("dc3", Some(20)),
                ],
                "dc1 dc2 dc3",
            ),
            // Of two the farther one counts.
            (
                vec![("dc2", Some(10)), ("dc2", None), ("dc3", Some(900))],
                "dc1 dc3 dc2",
            ),
        ] {
            let mut members = Vec::new();
            let mut places = BTreeMap::new();
            for (i, (dc, ms)) in servers.iter().enumerate() {
                let member = member(&format!("s{i}"), dc, MemberStatus::Failed, "8300");
                if let Some(ms) = ms {
                    places.insert(member.name.clone(), at(f64::from(*ms) / 1000.0));
                }
                members.push(member);
            }
            let sites = survey(&members);
            let order = by_distance(&sites, &text("dc1"), &at(0.0), |name| {
                places.get(name).cloned()
            });
            assert_eq!(names(&order).join(" "), want, "{servers:?}");
        }
    }

    #[test]
    fn maps_hold_the_servers_whose_place_is_known() {
        let sites = survey(&[
            member("b", "dc2", MemberStatus::Alive, "8300"),
            member("c", "dc2", MemberStatus::Failed, "8300"),
            member("a", "dc1", MemberStatus::Alive, "8300"),
            member("d", "dc3", MemberStatus::Alive, "8300"),
        ]);
        let maps = maps(&sites, |name| {
            (name != "c.dc2" && name != "d.dc3").then(|| at(0.5))
        });
        let shown: Vec<String> = maps
            .iter()
            .map(|map| {
                format!(
                    "{} {} {:?}",
                    map.datacenter,
                    map.area,
                    map.coordinates.len()
                )
            })
            .collect();
        assert_eq!(shown, ["dc1 wan 1", "dc2 wan 1"]);
        assert_eq!(&*maps[1].coordinates[0].node, "b");
    }
}
