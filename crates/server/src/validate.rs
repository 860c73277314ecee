//! What the servers check of a write before it becomes a command. The texts reach clients (http-api.md sections 3.2, 3.6).

use std::time::Duration;

use tribune_types::catalog::{Check, Register, ServiceKind};
use tribune_types::definition::ServiceDefinition;
use tribune_types::duration::{format_go, parse_go_signed};
use tribune_types::error::RpcError;
use tribune_types::session::Session;
use tribune_types::text::text;

/// Longest lock delay.
const LOCK_DELAY_MAX: Duration = Duration::from_secs(60);
/// Longest session TTL.
const SESSION_TTL_MAX: Duration = Duration::from_secs(24 * 3600);

fn invalid(what: &str) -> RpcError {
    RpcError::Invalid(what.to_owned())
}

/// Checks a registration and fills in what follows from it.
pub(crate) fn register(register: &mut Register) -> Result<(), RpcError> {
    if register.node.is_empty() {
        return Err(invalid("Must provide node"));
    }
    if register.address.is_empty() && !register.skip_node_update {
        return Err(invalid("Must provide address if SkipNodeUpdate is not set"));
    }
    if let Some(service) = &mut register.service {
        if service.id.is_empty() && !service.name.is_empty() {
            service.id = service.name.clone();
        }
        if !service.id.is_empty() && service.name.is_empty() {
            return Err(invalid("Must provide service name with ID"));
        }
        if is_any_address(&service.address) {
            return Err(invalid("Invalid service address"));
        }
        if service.kind == ServiceKind::ConnectProxy {
            // What agents check of a proxy, the catalog checks as well; of other services it checks nothing more.
            let proxy = ServiceDefinition {
                name: service.name.clone(),
                kind: service.kind,
                port: service.port,
                proxy: service.proxy.clone(),
                connect_native: service.connect_native,
                ..ServiceDefinition::default()
            };
            tribune_local::validate_service(&proxy).map_err(|why| invalid(&why.to_string()))?;
        }
    }
    for check in &mut register.checks {
        fill_check(check, &register.node);
    }
    Ok(())
}

fn fill_check(check: &mut Check, node: &tribune_types::text::Text) {
    if check.id.is_empty() && !check.name.is_empty() {
        check.id = check.name.clone();
    }
    if check.node.is_empty() {
        check.node = node.clone();
    }
    if check.check_type.is_empty()
        && let Some(definition) = &check.definition
    {
        check.check_type = text(detail_type(definition));
    }
}

/// The probe that a definition names; with several, the first of these.
fn detail_type(definition: &tribune_types::catalog::CheckDetail) -> &'static str {
    let kinds = [
        (!definition.grpc.is_empty(), "grpc"),
        (!definition.http.is_empty(), "http"),
        (!definition.ttl.is_zero(), "ttl"),
        (!definition.tcp.is_empty(), "tcp"),
        (
            !definition.alias_node.is_empty() || !definition.alias_service.is_empty(),
            "alias",
        ),
        (!definition.docker_container_id.is_empty(), "docker"),
        (!definition.script_args.is_empty(), "script"),
    ];
    kinds
        .iter()
        .find(|(named, _)| *named)
        .map_or("", |(_, kind)| kind)
}

fn is_any_address(address: &str) -> bool {
    matches!(address, "0.0.0.0" | "::" | "[::]")
}

/// Checks a session to create and fills in the defaults.
pub(crate) fn session(session: &mut Session, ttl_min: Duration) -> Result<(), RpcError> {
    if session.node.is_empty() {
        return Err(invalid("Must provide Node"));
    }
    session.lock_delay = session.lock_delay.min(LOCK_DELAY_MAX);
    if !session.ttl.is_empty() {
        let nanos = parse_go_signed(&session.ttl).map_err(|err| {
            RpcError::Invalid(format!("Session TTL '{}' invalid: {err}", session.ttl))
        })?;
        let ttl = Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
        if nanos != 0 && (nanos < 0 || ttl < ttl_min || ttl > SESSION_TTL_MAX) {
            return Err(RpcError::Invalid(format!(
                "Invalid Session TTL '{nanos}', must be between [{}={}]",
                format_go(ttl_min),
                format_go(SESSION_TTL_MAX)
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ttls_outside_the_limits_are_refused_with_both_limits() {
        let min = Duration::from_secs(10);
        // (ttl, error)
        for (ttl, want) in [
            ("10s", None),
            ("24h", None),
            ("0s", None),
            (
                "9s",
                Some("Invalid Session TTL '9000000000', must be between [10s=24h0m0s]"),
            ),
            (
                "25h",
                Some("Invalid Session TTL '90000000000000', must be between [10s=24h0m0s]"),
            ),
        ] {
            let mut s = Session {
                node: text("n"),
                ttl: text(ttl),
                ..Session::default()
            };
            let got = session(&mut s, min).err().map(|e| e.to_string());
            assert_eq!(got.as_deref(), want, "{ttl}");
        }
    }

    #[test]
    fn a_registration_without_a_name_or_address_is_refused() {
        let mut r = Register::default();
        assert_eq!(
            register(&mut r).unwrap_err().to_string(),
            "Must provide node"
        );
        r.node = text("n");
        assert_eq!(
            register(&mut r).unwrap_err().to_string(),
            "Must provide address if SkipNodeUpdate is not set"
        );
        r.skip_node_update = true;
        assert_eq!(register(&mut r), Ok(()));
    }
}
