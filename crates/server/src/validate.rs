//! What the servers check of a write before it becomes a command. The texts reach clients (http-api.md sections 3.2, 3.6).

use std::time::Duration;

use tribune_types::catalog::{Check, Register, ServiceKind};
use tribune_types::definition::ServiceDefinition;
use tribune_types::duration::{format_go, parse_go_signed};
use tribune_types::error::RpcError;
use tribune_types::prepared::PreparedQuery;
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

/// What is shown in the place of a token that the caller may not see.
const HIDDEN_TOKEN: &str = "<hidden>";

/// Checks a prepared query to store.
pub(crate) fn prepared_query(query: &PreparedQuery) -> Result<(), RpcError> {
    let refuse = |why: String| Err(RpcError::Invalid(format!("Invalid prepared query: {why}")));
    if query.name.is_empty() && !query.is_template() && query.session.is_empty() {
        return refuse("Must be bound to a session".to_owned());
    }
    if &*query.token == HIDDEN_TOKEN {
        return refuse(format!(
            "Bad Token '{HIDDEN_TOKEN}', it looks like a query definition with a redacted token was submitted"
        ));
    }
    let service = &query.service;
    if service.service.is_empty() {
        return refuse("Must provide a Service name to query".to_owned());
    }
    if service.failover.nearest_n < 0 {
        let given = service.failover.nearest_n;
        return refuse(format!("Bad NearestN '{given}', must be >= 0"));
    }
    if let Some(wanted) = &service.node_meta
        && let Err(why) = tribune_local::validate_metadata_filter(wanted)
    {
        return refuse(why);
    }
    let ttl = &query.dns.ttl;
    if ttl.is_empty() {
        return Ok(());
    }
    match parse_go_signed(ttl) {
        Err(err) => refuse(format!("Bad DNS TTL '{ttl}': {err}")),
        Ok(nanos) if nanos < 0 => refuse(format!("DNS TTL '{nanos}', must be >=0")),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tribune_types::prepared::QueryTemplate;

    use super::*;

    #[test]
    fn prepared_queries_are_refused_in_the_words_of_the_original() {
        let good = || {
            let mut query = PreparedQuery {
                name: text("q"),
                ..PreparedQuery::default()
            };
            query.service.service = text("web");
            query
        };
        assert_eq!(prepared_query(&good()), Ok(()));
        type Change = fn(&mut PreparedQuery);
        // (change, text behind the prefix)
        let table: [(Change, &str); 8] = [
            (|q| q.name = text(""), "Must be bound to a session"),
            (
                |q| q.token = text("<hidden>"),
                "Bad Token '<hidden>', it looks like a query definition with a redacted token was submitted",
            ),
            (
                |q| q.service.service = text(""),
                "Must provide a Service name to query",
            ),
            (
                |q| q.service.failover.nearest_n = -1,
                "Bad NearestN '-1', must be >= 0",
            ),
            (
                |q| q.service.node_meta = Some([(text("k!"), text("x"))].into_iter().collect()),
                "Couldn't load metadata pair ('k!', 'x'): Key contains invalid characters",
            ),
            (
                |q| q.dns.ttl = text("5"),
                "Bad DNS TTL '5': time: missing unit in duration \"5\"",
            ),
            (
                |q| q.dns.ttl = text("x"),
                "Bad DNS TTL 'x': time: invalid duration \"x\"",
            ),
            (
                |q| q.dns.ttl = text("-1s"),
                "DNS TTL '-1000000000', must be >=0",
            ),
        ];
        for (change, want) in table {
            let mut query = good();
            change(&mut query);
            let got = prepared_query(&query).unwrap_err().to_string();
            assert_eq!(got, format!("Invalid prepared query: {want}"));
        }
    }

    #[test]
    fn a_session_a_template_or_a_name_is_enough_and_reserved_metadata_may_be_asked_for() {
        let mut query = PreparedQuery::default();
        query.service.service = text("web");
        query.session = text("whatever");
        query.service.node_meta = Some(
            [(text("consul-network-segment"), text(""))]
                .into_iter()
                .collect(),
        );
        query.dns.ttl = text("1.5s");
        assert_eq!(prepared_query(&query), Ok(()));
        query.session = text("");
        query.template = QueryTemplate {
            kind: text("name_prefix_match"),
            ..QueryTemplate::default()
        };
        assert_eq!(prepared_query(&query), Ok(()));
    }

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
