//! What a check definition means: which probe it asks for, and the ID, name and type word it gets.

use tribune_types::definition::CheckType;
use tribune_types::text::{Text, text};

/// How a check gets its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Results are reported.
    Ttl,
    /// Requests a URL.
    Http,
    /// Connects.
    Tcp,
    /// Asks by the gRPC health protocol.
    Grpc,
    /// Runs a command in a container.
    Docker,
    /// Runs a command.
    Script,
    /// Follows other checks of this agent.
    LocalAlias,
    /// Follows checks of a node through the catalog.
    RemoteAlias,
    /// Nothing: maintenance, or a definition that asks for nothing.
    None,
}

/// The probe of a definition. A definition that sets several gets the first of this order.
pub fn probe_of(check: &CheckType) -> Probe {
    let periodic = !check.interval.is_zero();
    if !check.ttl.is_zero() {
        Probe::Ttl
    } else if !check.http.is_empty() && periodic {
        Probe::Http
    } else if !check.tcp.is_empty() && periodic {
        Probe::Tcp
    } else if !check.grpc.is_empty() && periodic {
        Probe::Grpc
    } else if is_script(check) && !check.docker_container_id.is_empty() && periodic {
        Probe::Docker
    } else if is_script(check) && periodic {
        Probe::Script
    } else if !check.alias_node.is_empty() {
        Probe::RemoteAlias
    } else if !check.alias_service.is_empty() {
        Probe::LocalAlias
    } else {
        Probe::None
    }
}

/// The `Type` of a check in the API.
pub fn check_word(check: &CheckType) -> &'static str {
    match probe_of(check) {
        Probe::Ttl => "ttl",
        Probe::Http => "http",
        Probe::Tcp => "tcp",
        Probe::Grpc => "grpc",
        Probe::Docker => "docker",
        Probe::Script => "script",
        Probe::LocalAlias | Probe::RemoteAlias => "alias",
        Probe::None => "",
    }
}

/// True if it runs a command, here or in a container.
pub(crate) fn is_script(check: &CheckType) -> bool {
    !check.script_args.is_empty()
}

/// True if it follows other checks.
pub(crate) fn is_alias(check: &CheckType) -> bool {
    !check.alias_node.is_empty() || !check.alias_service.is_empty()
}

/// ID of check `position` (from 0) of the `count` checks of a service.
pub(crate) fn service_check_id(
    check: &CheckType,
    service_id: &str,
    position: usize,
    count: usize,
) -> Text {
    if !check.id.is_empty() {
        return check.id.clone();
    }
    if count > 1 {
        text(&format!("service:{service_id}:{}", position + 1))
    } else {
        text(&format!("service:{service_id}"))
    }
}

/// Name of a check of a service.
pub(crate) fn service_check_name(check: &CheckType, service_name: &str) -> Text {
    if check.name.is_empty() {
        text(&format!("Service '{service_name}' check"))
    } else {
        check.name.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_definition_names_its_probe() {
        let second = Duration::from_secs(1);
        let http = CheckType {
            http: text("http://x"),
            interval: second,
            ..CheckType::default()
        };
        let script = CheckType {
            script_args: vec![text("true")],
            interval: second,
            ..CheckType::default()
        };
        let docker = CheckType {
            docker_container_id: text("c"),
            ..script.clone()
        };
        let alias = CheckType {
            alias_service: text("web"),
            ..CheckType::default()
        };
        let remote = CheckType {
            alias_node: text("n"),
            ..alias.clone()
        };
        let ttl = CheckType {
            ttl: second,
            ..CheckType::default()
        };
        for (check, probe, word) in [
            (http, Probe::Http, "http"),
            (script, Probe::Script, "script"),
            (docker, Probe::Docker, "docker"),
            (alias, Probe::LocalAlias, "alias"),
            (remote, Probe::RemoteAlias, "alias"),
            (ttl, Probe::Ttl, "ttl"),
            (CheckType::default(), Probe::None, ""),
        ] {
            assert_eq!((probe_of(&check), check_word(&check)), (probe, word));
        }
    }

    #[test]
    fn checks_of_a_service_get_derived_ids_and_names() {
        let plain = CheckType::default();
        let named = CheckType {
            id: text("mine"),
            name: text("Mine"),
            ..CheckType::default()
        };
        assert_eq!(&*service_check_id(&plain, "web1", 0, 1), "service:web1");
        assert_eq!(&*service_check_id(&plain, "web1", 1, 2), "service:web1:2");
        assert_eq!(&*service_check_id(&named, "web1", 1, 2), "mine");
        assert_eq!(&*service_check_name(&plain, "web"), "Service 'web' check");
        assert_eq!(&*service_check_name(&named, "web"), "Mine");
    }
}
