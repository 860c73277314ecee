//! Alias checks: the status of a node's or service's checks as one check (spec agent.md 1.3).
//!
//! Counted are the node-level checks and, if a service is named, the checks of that service. The first critical one
//! wins, else the last warning. The alias itself never counts.

use std::sync::Arc;

use tribune_types::catalog::{Check, Status};

/// What an alias check reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasResult {
    /// Status.
    pub status: Status,
    /// Output.
    pub output: String,
}

/// Evaluates checks that were already narrowed to those that count.
pub(crate) fn evaluate<'a>(checks: impl Iterator<Item = &'a Check>) -> AliasResult {
    let mut found = false;
    let mut worst: Option<&Check> = None;
    for check in checks {
        found = true;
        match check.status {
            Status::Passing => {}
            Status::Warning => worst = Some(check),
            Status::Critical => {
                worst = Some(check);
                break;
            }
        }
    }
    match worst {
        Some(check) => AliasResult {
            status: check.status,
            output: format!("Aliased check {:?} failing: {}", check.name, check.output),
        },
        None if found => AliasResult {
            status: Status::Passing,
            output: "All checks passing.".to_owned(),
        },
        None => AliasResult {
            status: Status::Passing,
            output: "No checks found.".to_owned(),
        },
    }
}

/// What an alias of a service reports when the service does not exist.
pub(crate) fn missing(service: &str, node: &str) -> AliasResult {
    AliasResult {
        status: Status::Critical,
        output: format!("Service {service} could not be found on node {node}"),
    }
}

/// Evaluates an alias of another node by the catalog's view of that node.
///
/// `services` is `None` for an unknown node. `own_node` and `own_id` name the alias itself.
pub fn evaluate_remote_alias(
    node: &str,
    service: &str,
    services: Option<&[&str]>,
    checks: &[Arc<Check>],
    own_node: &str,
    own_id: &str,
) -> AliasResult {
    match services {
        None => return missing(service, node),
        Some(ids) if !service.is_empty() && !ids.contains(&service) => {
            return missing(service, node);
        }
        Some(_) => {}
    }
    evaluate(
        checks
            .iter()
            .map(|check| &**check)
            .filter(|check| !(&*check.node == own_node && &*check.id == own_id))
            .filter(|check| check.service_id.is_empty() || &*check.service_id == service),
    )
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;

    fn check(id: &str, service: &str, status: Status) -> Arc<Check> {
        Arc::new(Check {
            node: text("n2"),
            id: text(id),
            name: text(id),
            status,
            output: text("out"),
            service_id: text(service),
            ..Check::default()
        })
    }

    #[test]
    fn an_alias_follows_node_and_service_checks_and_not_itself() {
        use Status::{Critical, Passing, Warning};
        let view = [
            check("a", "", Passing),
            check("b", "web", Warning),
            check("c", "web", Warning),
            check("d", "db", Critical),
            check("me", "web", Critical),
        ];
        // (service, node known, status, output)
        for (service, known, status, output) in [
            ("web", true, Warning, "Aliased check \"c\" failing: out"),
            ("db", true, Critical, "Aliased check \"d\" failing: out"),
            ("", true, Passing, "All checks passing."),
            (
                "gone",
                true,
                Critical,
                "Service gone could not be found on node n2",
            ),
            (
                "web",
                false,
                Critical,
                "Service web could not be found on node n2",
            ),
        ] {
            let services = known.then_some(&["db", "web"][..]);
            let got = evaluate_remote_alias("n2", service, services, &view, "n2", "me");
            assert_eq!((got.status, &*got.output), (status, output), "{service:?}");
        }
        let got = evaluate_remote_alias("n2", "web", Some(&["web"]), &[], "n1", "me");
        assert_eq!((got.status, &*got.output), (Passing, "No checks found."));
    }
}
