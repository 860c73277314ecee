//! The table of routes: methods, patterns, handlers. `Allow` and the names of timers (`meters`) come from it.
//!
//! A pattern that ends in a slash takes everything below it; the longest pattern wins (Go's `ServeMux`).

use std::collections::HashMap;
use std::sync::Arc;

use crate::cx::Cx;
use crate::handlers::{
    agent, catalog, coordinate, debug, event, health, internal, keyring, kv, later, local_health,
    operator, query, registration, session, snapshot, status, txn,
};
use crate::request::Req;
use crate::step::Planned;

/// A handler.
pub(crate) type Handler = fn(&Arc<Cx>, &mut Req<'_>) -> Planned;

/// The methods of a path, of which the part behind the pattern is given.
pub(crate) type Narrowed = fn(&[u8]) -> &'static [&'static str];

/// One pattern.
pub(crate) struct Route {
    /// Path, or prefix if it ends in a slash.
    pub(crate) pattern: &'static str,
    /// Methods in the order that `Allow` lists them.
    pub(crate) methods: &'static [(&'static str, Handler)],
    /// Refuses namespace parameters.
    pub(crate) refuses_namespace: bool,
    /// The methods of a path below the pattern, where they differ from path to path and the handler says so itself.
    pub(crate) narrowed: Option<Narrowed>,
}

impl Route {
    /// `OPTIONS,GET,…`.
    pub(crate) fn allow(&self) -> String {
        let mut out = String::from("OPTIONS");
        for (method, _) in self.methods {
            out.push(',');
            out.push_str(method);
        }
        out
    }
}

const fn plain(pattern: &'static str, methods: &'static [(&'static str, Handler)]) -> Route {
    Route {
        pattern,
        methods,
        refuses_namespace: false,
        narrowed: None,
    }
}

const fn scoped(pattern: &'static str, methods: &'static [(&'static str, Handler)]) -> Route {
    Route {
        pattern,
        methods,
        refuses_namespace: true,
        narrowed: None,
    }
}

const GET: &str = "GET";
const PUT: &str = "PUT";
const POST: &str = "POST";
const DELETE: &str = "DELETE";

/// Every route of Consul 1.8.
#[rustfmt::skip]
pub(crate) static ROUTES: &[Route] = &[
    // Later areas that answer as Consul does while they are off.
    plain("/v1/acl/bootstrap", &[(PUT, later::acl_disabled)]),
    plain("/v1/acl/login", &[(POST, later::acl_disabled)]),
    plain("/v1/acl/logout", &[(POST, later::acl_disabled)]),
    plain("/v1/acl/replication", &[(GET, later::acl_disabled)]),
    plain("/v1/acl/policies", &[(GET, later::acl_disabled)]),
    plain("/v1/acl/policy", &[(PUT, later::acl_disabled)]),
    plain("/v1/acl/policy/", &[(GET, later::acl_disabled), (PUT, later::acl_disabled), (DELETE, later::acl_disabled)]),
    plain("/v1/acl/policy/name/", &[(GET, later::acl_disabled)]),
    plain("/v1/acl/roles", &[(GET, later::acl_disabled)]),
    plain("/v1/acl/role", &[(PUT, later::acl_disabled)]),
    plain("/v1/acl/role/", &[(GET, later::acl_disabled), (PUT, later::acl_disabled), (DELETE, later::acl_disabled)]),
    plain("/v1/acl/role/name/", &[(GET, later::acl_disabled)]),
    plain("/v1/acl/binding-rules", &[(GET, later::acl_disabled)]),
    plain("/v1/acl/binding-rule", &[(PUT, later::acl_disabled)]),
    plain("/v1/acl/binding-rule/", &[(GET, later::acl_disabled), (PUT, later::acl_disabled), (DELETE, later::acl_disabled)]),
    plain("/v1/acl/auth-methods", &[(GET, later::acl_disabled)]),
    plain("/v1/acl/auth-method", &[(PUT, later::acl_disabled)]),
    plain("/v1/acl/auth-method/", &[(GET, later::acl_disabled), (PUT, later::acl_disabled), (DELETE, later::acl_disabled)]),
    plain("/v1/acl/tokens", &[(GET, later::acl_disabled)]),
    plain("/v1/acl/token", &[(PUT, later::acl_disabled)]),
    plain("/v1/acl/token/", &[(GET, later::acl_disabled), (PUT, later::acl_disabled), (DELETE, later::acl_disabled)]),
    plain("/v1/acl/token/self", &[(GET, later::acl_disabled)]),
    plain("/v1/acl/rules/translate", &[(POST, later::acl_disabled)]),
    plain("/v1/acl/rules/translate/", &[(GET, later::acl_disabled)]),
    plain("/v1/acl/create", &[(PUT, later::acl_disabled)]),
    plain("/v1/acl/update", &[(PUT, later::acl_disabled)]),
    plain("/v1/acl/destroy/", &[(PUT, later::acl_disabled)]),
    plain("/v1/acl/clone/", &[(PUT, later::acl_disabled)]),
    plain("/v1/acl/info/", &[(GET, later::acl_disabled)]),
    plain("/v1/acl/list", &[(GET, later::acl_disabled)]),
    plain("/v1/internal/acl/authorize", &[(POST, later::acl_disabled)]),
    plain("/v1/agent/connect/authorize", &[(POST, later::connect_authorize)]),
    plain("/v1/agent/connect/ca/roots", &[(GET, later::connect_disabled_there)]),
    scoped("/v1/agent/connect/ca/leaf/", &[(GET, later::connect_disabled)]),
    plain("/v1/connect/ca/roots", &[(GET, later::connect_disabled_query)]),
    plain("/v1/connect/ca/configuration", &[(GET, later::connect_disabled), (PUT, later::connect_disabled_write)]),
    plain("/v1/connect/intentions", &[(GET, later::empty_list), (POST, later::intentions)]),
    plain("/v1/connect/intentions/", &[(GET, later::intention), (PUT, later::intentions), (DELETE, later::intentions)]),
    plain("/v1/connect/intentions/match", &[(GET, later::intention_match)]),
    plain("/v1/connect/intentions/check", &[(GET, later::intention_check)]),
    scoped("/v1/discovery-chain/", &[(GET, later::discovery_chain), (POST, later::discovery_chain)]),
    scoped("/v1/config", &[(PUT, later::config_write)]),
    scoped("/v1/config/", &[(GET, later::config_read), (DELETE, later::config_write)]),
    plain("/v1/query", &[(GET, query::list), (POST, query::create)]),
    Route { narrowed: Some(query::methods), ..plain("/v1/query/", &[(GET, query::get), (PUT, query::update), (DELETE, query::delete)]) },
    plain("/v1/internal/federation-states", &[(GET, later::empty_list)]),
    plain("/v1/internal/federation-states/mesh-gateways", &[(GET, later::empty_map)]),
    plain("/v1/internal/federation-state/", &[(GET, later::federation_state)]),

    plain("/v1/agent/self", &[(GET, agent::self_report)]),
    plain("/v1/agent/host", &[(GET, agent::host)]),
    plain("/v1/agent/maintenance", &[(PUT, agent::maintenance)]),
    plain("/v1/agent/reload", &[(PUT, agent::reload)]),
    plain("/v1/agent/monitor", &[(GET, agent::monitor)]),
    plain("/v1/agent/metrics", &[(GET, agent::metrics)]),
    plain("/v1/agent/members", &[(GET, agent::members)]),
    plain("/v1/agent/join/", &[(PUT, agent::join)]),
    plain("/v1/agent/leave", &[(PUT, agent::leave)]),
    plain("/v1/agent/force-leave/", &[(PUT, agent::force_leave)]),
    plain("/v1/agent/token/", &[(PUT, agent::token)]),
    scoped("/v1/agent/services", &[(GET, agent::services)]),
    scoped("/v1/agent/service/", &[(GET, agent::service)]),
    scoped("/v1/agent/checks", &[(GET, agent::checks)]),
    scoped("/v1/agent/health/service/id/", &[(GET, local_health::by_id)]),
    scoped("/v1/agent/health/service/name/", &[(GET, local_health::by_name)]),
    scoped("/v1/agent/check/register", &[(PUT, registration::check_register)]),
    scoped("/v1/agent/check/deregister/", &[(PUT, registration::check_deregister)]),
    scoped("/v1/agent/check/pass/", &[(PUT, registration::check_pass)]),
    scoped("/v1/agent/check/warn/", &[(PUT, registration::check_warn)]),
    scoped("/v1/agent/check/fail/", &[(PUT, registration::check_fail)]),
    scoped("/v1/agent/check/update/", &[(PUT, registration::check_update)]),
    scoped("/v1/agent/service/register", &[(PUT, registration::service_register)]),
    scoped("/v1/agent/service/deregister/", &[(PUT, registration::service_deregister)]),
    scoped("/v1/agent/service/maintenance/", &[(PUT, registration::service_maintenance)]),

    scoped("/v1/catalog/register", &[(PUT, catalog::register)]),
    scoped("/v1/catalog/deregister", &[(PUT, catalog::deregister)]),
    plain("/v1/catalog/datacenters", &[(GET, catalog::datacenters)]),
    plain("/v1/catalog/nodes", &[(GET, catalog::nodes)]),
    scoped("/v1/catalog/services", &[(GET, catalog::services)]),
    scoped("/v1/catalog/service/", &[(GET, catalog::service)]),
    scoped("/v1/catalog/connect/", &[(GET, catalog::connect)]),
    scoped("/v1/catalog/node/", &[(GET, catalog::node)]),
    scoped("/v1/catalog/node-services/", &[(GET, catalog::node_services)]),
    scoped("/v1/catalog/gateway-services/", &[(GET, catalog::gateway_services)]),

    scoped("/v1/health/node/", &[(GET, health::node)]),
    scoped("/v1/health/checks/", &[(GET, health::checks)]),
    scoped("/v1/health/state/", &[(GET, health::state)]),
    scoped("/v1/health/service/", &[(GET, health::service)]),
    scoped("/v1/health/connect/", &[(GET, health::connect)]),
    scoped("/v1/health/ingress/", &[(GET, health::ingress)]),

    scoped("/v1/kv/", &[(GET, kv::get), (PUT, kv::put), (DELETE, kv::delete)]),
    plain("/v1/txn", &[(PUT, txn::apply)]),

    scoped("/v1/session/create", &[(PUT, session::create)]),
    scoped("/v1/session/destroy/", &[(PUT, session::destroy)]),
    scoped("/v1/session/renew/", &[(PUT, session::renew)]),
    scoped("/v1/session/info/", &[(GET, session::info)]),
    scoped("/v1/session/node/", &[(GET, session::of_node)]),
    scoped("/v1/session/list", &[(GET, session::list)]),

    plain("/v1/event/fire/", &[(PUT, event::fire)]),
    plain("/v1/event/list", &[(GET, event::list)]),
    plain("/v1/coordinate/datacenters", &[(GET, coordinate::datacenters)]),
    plain("/v1/coordinate/nodes", &[(GET, coordinate::nodes)]),
    plain("/v1/coordinate/node/", &[(GET, coordinate::node)]),
    plain("/v1/coordinate/update", &[(PUT, coordinate::update)]),
    plain("/v1/status/leader", &[(GET, status::leader)]),
    plain("/v1/status/peers", &[(GET, status::peers)]),
    plain("/v1/snapshot", &[(GET, snapshot::save), (PUT, snapshot::restore)]),

    plain("/v1/operator/raft/configuration", &[(GET, operator::raft_configuration)]),
    plain("/v1/operator/raft/peer", &[(DELETE, operator::raft_remove_peer)]),
    plain("/v1/operator/autopilot/configuration", &[(GET, operator::autopilot), (PUT, operator::set_autopilot)]),
    plain("/v1/operator/autopilot/health", &[(GET, operator::health)]),
    plain("/v1/operator/keyring", &[(GET, keyring::list), (POST, keyring::install), (PUT, keyring::use_key), (DELETE, keyring::remove)]),

    scoped("/v1/internal/ui/nodes", &[(GET, internal::nodes)]),
    scoped("/v1/internal/ui/node/", &[(GET, internal::node)]),
    scoped("/v1/internal/ui/services", &[(GET, internal::services)]),
    scoped("/v1/internal/ui/gateway-services-nodes/", &[(GET, internal::gateway_nodes)]),

    plain("/debug/pprof/", &[(GET, debug::pprof)]),
];

/// Where a path leads.
#[derive(Clone, Copy)]
pub(crate) enum Found {
    /// The route's position in [`ROUTES`], and where the argument starts in the path.
    Route(usize, usize),
    /// The path needs a slash at its end.
    AddSlash,
    /// Nothing is there.
    Nothing,
}

/// Looks paths up.
pub(crate) struct Router {
    exact: HashMap<&'static [u8], usize>,
    below: HashMap<&'static [u8], usize>,
    /// Slashes in the deepest pattern: no need to look at later ones.
    slashes_max: usize,
    kv: usize,
}

impl Router {
    /// Over [`ROUTES`].
    pub(crate) fn new() -> Router {
        let mut router = Router {
            exact: HashMap::new(),
            below: HashMap::new(),
            slashes_max: 0,
            kv: 0,
        };
        for (at, route) in ROUTES.iter().enumerate() {
            let pattern = route.pattern.as_bytes();
            if pattern.ends_with(b"/") {
                router.below.insert(pattern, at);
                let slashes = pattern.iter().filter(|b| **b == b'/').count();
                router.slashes_max = router.slashes_max.max(slashes);
            } else {
                router.exact.insert(pattern, at);
            }
            if route.pattern == KV {
                router.kv = at;
            }
        }
        router
    }

    /// Where `path` (decoded and clean) leads.
    pub(crate) fn find(&self, path: &[u8]) -> Found {
        // The busiest route, and nothing lies below it.
        if path.starts_with(KV.as_bytes()) {
            return Found::Route(self.kv, KV.len());
        }
        if let Some(at) = self.exact.get(path) {
            return Found::Route(*at, path.len());
        }
        let mut best = Found::Nothing;
        let slashes = path
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'/')
            .take(self.slashes_max);
        for (position, _) in slashes {
            if let Some(at) = self.below.get(&path[..=position]) {
                best = Found::Route(*at, position + 1);
            }
        }
        let mut with_slash = path.to_vec();
        with_slash.push(b'/');
        if self.below.contains_key(&with_slash[..]) {
            return Found::AddSlash;
        }
        best
    }
}

const KV: &str = "/v1/kv/";

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(path: &str) -> String {
        match Router::new().find(path.as_bytes()) {
            Found::Route(at, arg) => format!("{} {}", ROUTES[at].pattern, &path[arg..]),
            Found::AddSlash => "slash".to_owned(),
            Found::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn the_longest_pattern_wins() {
        for (path, want) in [
            ("/v1/kv/", "/v1/kv/ "),
            ("/v1/kv/a/b/", "/v1/kv/ a/b/"),
            ("/v1/kv", "slash"),
            ("/v1/health/service", "slash"),
            ("/v1/agent/service/register", "/v1/agent/service/register "),
            (
                "/v1/agent/service/registers",
                "/v1/agent/service/ registers",
            ),
            (
                "/v1/agent/service/deregister/a/b",
                "/v1/agent/service/deregister/ a/b",
            ),
            ("/v1/agent/service/deregister", "slash"),
            ("/v1/acl/policy/name/x", "/v1/acl/policy/name/ x"),
            ("/v1/acl/policy", "/v1/acl/policy "),
            ("/v1/acl/policy/x", "/v1/acl/policy/ x"),
            ("/v1/query/a/execute", "/v1/query/ a/execute"),
            ("/v1/status/leader", "/v1/status/leader "),
            ("/v1/status/leader/", "nothing"),
            ("/v1/status/leader/x", "nothing"),
            ("/v1/", "nothing"),
            ("/", "nothing"),
            ("/debug/pprof/heap", "/debug/pprof/ heap"),
        ] {
            assert_eq!(lead(path), want, "{path}");
        }
    }

    #[test]
    fn allow_lists_options_first_and_keeps_the_order() {
        let kv = ROUTES
            .iter()
            .find(|route| route.pattern == "/v1/kv/")
            .unwrap();
        assert_eq!(kv.allow(), "OPTIONS,GET,PUT,DELETE");
    }

    #[test]
    fn no_pattern_stands_twice() {
        let mut patterns: Vec<&str> = ROUTES.iter().map(|route| route.pattern).collect();
        patterns.sort_unstable();
        let count = patterns.len();
        patterns.dedup();
        assert_eq!(patterns.len(), count);
    }
}
