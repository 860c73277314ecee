//! `rtt`: the round trip time that network coordinates predict.

use tribune_api::client::{Client, Coords};

use crate::{
    command::{Action, Api, Command, Failure, Outcome, Run, because, fail},
    flags::{Kind, flag},
};

pub(super) const COMMANDS: &[Command] = &[Command {
    path: "rtt",
    synopsis: "Estimates the round trip time between nodes",
    usage: "[options] node1 [node2]",
    about: "Estimates the round trip time between two nodes from their network coordinates, without sending anything between them. The second node is the agent's own unless given. With -wan nodes are servers, named NODE.DATACENTER.\n\n$ {p} rtt n1 n2\n$ {p} rtt -wan n1.dc1 n2.dc2",
    api: Api::Local,
    flags: &[flag(
        "wan",
        Kind::Bool,
        "Use the coordinates between datacenters' servers.",
    )],
    action: Action::Call(rtt),
}];

fn rtt(run: &mut Run<'_, '_>) -> Outcome {
    if run.args.is_empty() || run.args.len() > 2 {
        return Err(Failure::Usage(
            "One or two node names must be specified".to_owned(),
        ));
    }
    let wan = run.flags.on("wan");
    if wan && run.args.iter().any(|n| split(n).is_none()) {
        return fail("Node names must be specified as <node name>.<datacenter> with -wan");
    }
    let client = run.client()?;
    let first = run.args[0].clone();
    let second = match run.args.get(1) {
        Some(name) => name.clone(),
        None => {
            let about = client
                .agent_self()
                .map_err(because("Unable to look up agent info"))?;
            let name = about.config_text("NodeName");
            if wan {
                format!("{name}.{}", about.config_text("Datacenter"))
            } else {
                name.to_owned()
            }
        }
    };
    let pairs = if wan {
        wan_coords(&client, &first, &second)?
    } else {
        lan_coords(&client, run, &first, &second)?
    };
    let missing = |name: &str| fail(format!("Could not find a coordinate for node {name:?}"));
    match pairs {
        (None, _) => missing(&first),
        // Of servers the first is named, whichever is missing: so does Consul.
        (_, None) => missing(if wan { &first } else { &second }),
        (Some(a), Some(b)) => {
            let ms = distance_secs(&a, &b) * 1000.0;
            let source = if wan { "WAN" } else { "LAN" };
            run.out(format!(
                "Estimated {first} <-> {second} rtt: {ms:.3} ms (using {source} coordinates)"
            ));
            Ok(0)
        }
    }
}

type Pair = (Option<Coords>, Option<Coords>);

/// Node and datacenter, of which nothing else is asked than that one dot is between them.
fn split(name: &str) -> Option<(&str, &str)> {
    name.split_once('.').filter(|(_, dc)| !dc.contains('.'))
}

fn lan_coords(
    client: &Client,
    run: &Run<'_, '_>,
    first: &str,
    second: &str,
) -> Result<Pair, Failure> {
    let entries = client
        .coordinate_nodes(&run.query())
        .map_err(because("Error getting coordinates"))?;
    let find = |name: &str, segment: Option<&str>| {
        let mut found = entries.iter().filter(|e| e.node == name);
        found
            .find(|e| segment.is_none_or(|s| s == e.segment))
            .map(|e| (e.segment.clone(), e.coord.clone()))
    };
    // Coordinates compare only within one network segment.
    let a = find(first, None);
    let b = a
        .as_ref()
        .and_then(|(segment, _)| find(second, Some(segment)))
        .or_else(|| find(second, None));
    Ok((a.map(|(_, c)| c), b.map(|(_, c)| c)))
}

fn wan_coords(client: &Client, first: &str, second: &str) -> Result<Pair, Failure> {
    let datacenters = client
        .coordinate_datacenters()
        .map_err(because("Error getting coordinates"))?;
    let find = |name: &str| {
        let (node, dc) = split(name)?;
        let dc = datacenters.iter().find(|d| d.datacenter == dc)?;
        let found = dc
            .coordinates
            .iter()
            .find(|e| e.node == node || e.node == name)?;
        Some(found.coord.clone())
    };
    Ok((find(first), find(second)))
}

/// The model's distance: Euclid plus heights, corrected by the adjustments while that stays positive
/// (spec gossip.md).
fn distance_secs(a: &Coords, b: &Coords) -> f64 {
    let squares: f64 = a
        .vec
        .iter()
        .zip(&b.vec)
        .map(|(x, y)| (x - y) * (x - y))
        .sum();
    let plain = squares.sqrt() + a.height + b.height;
    let adjusted = plain + a.adjustment + b.adjustment;
    if adjusted > 0.0 { adjusted } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_is_euclid_plus_heights_while_adjusted_is_positive() {
        let at = |x, height, adjustment| Coords {
            vec: vec![x, 0.0],
            height,
            adjustment,
            ..Coords::default()
        };
        for (a, b, want) in [
            (at(0.0, 0.0, 0.0), at(0.123, 0.0, 0.0), 0.123),
            (at(0.0, 1e-5, 0.0), at(0.0, 1e-5, 0.0), 2e-5),
            (at(1.0, 0.0, 0.5), at(0.0, 0.0, 0.0), 1.5),
            (at(1.0, 0.0, -2.0), at(0.0, 0.0, 0.0), 1.0),
        ] {
            assert!((distance_secs(&a, &b) - want).abs() < 1e-12);
        }
    }

    #[test]
    fn wan_names_end_in_their_datacenter() {
        assert_eq!(split("a.dc1"), Some(("a", "dc1")));
        assert_eq!(split("a."), Some(("a", "")));
        assert_eq!(split(".dc1"), Some(("", "dc1")));
        assert_eq!(split("a"), None);
        assert_eq!(split("a.b.dc1"), None);
        assert_eq!(split("a..dc1"), None);
    }
}
