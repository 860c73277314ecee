//! Where an event comes from, in the names operators know: `agent.server.raft` for what Consul calls so.
//!
//! In: the target of an event, which is the path of the Rust module unless the event names one. Out: a dotted name.

use std::borrow::Cow;

/// Path of a module and the name its events carry. The longest path that fits wins; it stands first.
const NAMES: [(&str, &str); 14] = [
    ("tribune_agent::telemetry", "agent.telemetry"),
    ("tribune_agent::watches", "agent.watch"),
    ("tribune_agent::sync", "agent.anti_entropy"),
    ("tribune_server::leading", "agent.leader"),
    ("tribune_server", "agent.server"),
    ("tribune_leader", "agent.leader"),
    ("tribune_state", "agent.fsm"),
    ("tribune_raft", "agent.server.raft"),
    ("openraft", "agent.server.raft"),
    ("tribune_net", "agent.server.rpc"),
    ("tribune_http", "agent.http"),
    ("tribune_dns", "agent.dns"),
    ("tribune_config", "agent.config"),
    ("tribune", "agent"),
];

/// The name of the module an event comes from.
pub(super) fn name(target: &str) -> Cow<'_, str> {
    if is_below(target, "agent", '.') {
        return Cow::Borrowed(target);
    }
    if let Some((_, name)) = NAMES.iter().find(|(path, _)| is_below(target, path, ':')) {
        return Cow::Borrowed(name);
    }
    let library = target.split("::").next().unwrap_or(target);
    if library.starts_with("tribune") {
        return Cow::Borrowed("agent");
    }
    let clean: String = library
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        .collect();
    if clean.is_empty() {
        Cow::Borrowed("agent")
    } else {
        Cow::Owned(format!("agent.{clean}"))
    }
}

fn is_below(target: &str, path: &str, separator: char) -> bool {
    target
        .strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(separator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_carry_the_names_operators_know() {
        // (target, name)
        for (target, want) in [
            ("tribune_server::leading", "agent.leader"),
            ("tribune_server::writes", "agent.server"),
            ("tribune_server", "agent.server"),
            ("tribune_raft::wal::segment", "agent.server.raft"),
            ("openraft::core::raft_core", "agent.server.raft"),
            ("tribune_http::listen", "agent.http"),
            ("tribune_dns", "agent.dns"),
            ("tribune_agent::checks::http", "agent"),
            ("tribune_agent::sync", "agent.anti_entropy"),
            ("tribune_agent::synchronous", "agent"),
            ("tribune", "agent"),
            ("tribune_local", "agent"),
            ("agent.auto_config", "agent.auto_config"),
            ("agent", "agent"),
            ("hyper::proto::h1", "agent.hyper"),
            ("evil\nname", "agent.evilname"),
            ("", "agent"),
        ] {
            assert_eq!(name(target), want, "{target:?}");
        }
    }
}
