//! `keyring`: the gossip encryption keys.

use std::collections::BTreeMap;

use tribune_api::client::KeyringPool;

use crate::{
    command::{Action, Api, Command, Failure, Outcome, Run, fail},
    flags::{Kind, flag},
};

pub(super) const COMMANDS: &[Command] = &[Command {
    path: "keyring",
    synopsis: "Manages the gossip encryption keys",
    usage: "[options]",
    about: "Shows and changes the keys that gossip is encrypted with, on all agents at once. A new key is installed first, then used, and the old one removed at last. Exactly one action can be given.",
    api: Api::Local,
    flags: &[
        flag(
            "install",
            Kind::Text,
            "Install this key, without using it to encrypt yet.",
        ),
        flag("list", Kind::Bool, "List the keys in use in the cluster."),
        flag("list-primary", Kind::Bool, "List the keys that encrypt."),
        flag(
            "local-only",
            Kind::Bool,
            "Ask only the local agent. Only for lists.",
        ),
        flag(
            "relay-factor",
            Kind::Int,
            "How many other nodes to send answers through as well, 0 to 5. Default: 0.",
        ),
        flag(
            "remove",
            Kind::Text,
            "Remove this key; not the one that encrypts.",
        ),
        flag(
            "use",
            Kind::Text,
            "Encrypt with this key, which must be installed.",
        ),
    ],
    action: Action::Call(keyring),
}];

fn keyring(run: &mut Run<'_, '_>) -> Outcome {
    let flags = &run.flags;
    let changes = [
        ("install", "POST", "Installing new gossip encryption key"),
        ("use", "PUT", "Changing primary gossip encryption key"),
        ("remove", "DELETE", "Removing gossip encryption key"),
    ];
    let wanted: Vec<_> = changes
        .iter()
        .filter(|(flag, ..)| !flags.text(flag).is_empty())
        .collect();
    let (list, primary) = (flags.on("list"), flags.on("list-primary"));
    match usize::from(list) + usize::from(primary) + wanted.len() {
        0 => return Err(Failure::Help),
        1 => {}
        _ => return fail("Only a single action is allowed"),
    }
    let relay = match u8::try_from(flags.int("relay-factor", 0)) {
        Ok(n @ 0..=5) => n,
        _ => return fail("Error parsing relay factor: Relay factor must be in range: [0, 5]"),
    };
    let local_only = flags.on("local-only");
    if local_only && !list && !primary {
        return fail("Error validating local-only: local-only can only be set for list requests");
    }
    let client = run.client()?;
    let failed = |e: tribune_api::client::Error| Failure::Text(format!("error: {e}"));
    if let [(flag, method, doing)] = wanted.as_slice() {
        let key = run.flags.text(flag).to_owned();
        run.out(format!("==> {doing}..."));
        client.keyring_change(method, &key, relay).map_err(failed)?;
        return Ok(0);
    }
    let which = if primary {
        "installed primary"
    } else {
        "installed"
    };
    run.out(format!("==> Gathering {which} encryption keys..."));
    for pool in client.keyring_list(relay, local_only).map_err(failed)? {
        let keys = if primary {
            &pool.primary_keys
        } else {
            &pool.keys
        };
        run.out(format!("\n{}", pool_text(&pool, keys)));
    }
    Ok(0)
}

fn pool_text(pool: &KeyringPool, keys: &BTreeMap<String, u64>) -> String {
    let mut text = match (pool.wan, pool.segment.as_str()) {
        (true, _) => "WAN:\n".to_owned(),
        (false, "") => format!("{} (LAN):\n", pool.datacenter),
        (false, segment) => format!("{} (LAN) [{segment}]:\n", pool.datacenter),
    };
    for (node, message) in &pool.messages {
        text.push_str(&format!("  ===> {node}: {message}\n"));
    }
    for (key, count) in keys {
        text.push_str(&format!("  {key} [{count}/{}]\n", pool.num_nodes));
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_show_how_many_nodes_hold_each_key() {
        let pool = KeyringPool {
            datacenter: "dc1".to_owned(),
            num_nodes: 2,
            messages: BTreeMap::from([("n1".to_owned(), "hello".to_owned())]),
            ..KeyringPool::default()
        };
        let keys = BTreeMap::from([("k".to_owned(), 1)]);
        assert_eq!(
            pool_text(&pool, &keys),
            "dc1 (LAN):\n  ===> n1: hello\n  k [1/2]"
        );
    }
}
