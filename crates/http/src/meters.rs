//! What the API counts and times for every request (agent.md section 11).
//!
//! In: which route answered by which method, how long that took, with which status. Requests of the catalog are counted,
//! too: that they came (`client.api.<op>`), that they were served (`client.api.success.<op>`), that the servers did not
//! (`client.rpc.error.<op>`); a request that makes no sense is neither. All three are labelled with this node.
//!
//! Metrics are registered at their first use, so that those of areas nobody uses do not show.

use std::sync::OnceLock;

use hyper::StatusCode;
use metrics::{Counter, Histogram, counter, histogram};
use tribune_types::text::Text;

use crate::routes::ROUTES;

/// The meters of all routes.
pub(crate) struct Meters {
    node: Text,
    /// By route and method.
    routes: Vec<Vec<RouteMeters>>,
}

struct RouteMeters {
    timer: OnceLock<Histogram>,
    counters: Option<Counters>,
}

/// Counters of one operation of the catalog.
struct Counters {
    operation: &'static str,
    asked: OnceLock<Counter>,
    served: OnceLock<Counter>,
    failed: OnceLock<Counter>,
}

impl Meters {
    /// Nothing is registered yet.
    pub(crate) fn new(node: Text) -> Meters {
        let routes = ROUTES.iter().map(|route| {
            let of_method = |_| RouteMeters {
                timer: OnceLock::new(),
                counters: operation(route.pattern).map(Counters::new),
            };
            route.methods.iter().map(of_method).collect()
        });
        Meters {
            node,
            routes: routes.collect(),
        }
    }

    /// Takes in a request that a handler answered.
    pub(crate) fn record(&self, route: usize, method: usize, status: StatusCode, millis: f64) {
        let Some(meters) = { self.routes.get(route) }.and_then(|route| route.get(method)) else {
            return;
        };
        let timer = meters
            .timer
            .get_or_init(|| histogram!(timer_name(route, method)));
        timer.record(millis);
        if let Some(counters) = &meters.counters {
            counters.record(status, &self.node);
        }
    }
}

impl Counters {
    fn new(operation: &'static str) -> Counters {
        Counters {
            operation,
            asked: OnceLock::new(),
            served: OnceLock::new(),
            failed: OnceLock::new(),
        }
    }

    fn record(&self, status: StatusCode, node: &Text) {
        let one_more = |counter: &OnceLock<Counter>, what: &str| {
            let make = || counter!(format!("client.{what}.{}", self.operation), "node" => node.to_string());
            counter.get_or_init(make).increment(1);
        };
        one_more(&self.asked, "api");
        if status.is_success() {
            one_more(&self.served, "api.success");
        } else if status.is_server_error() || status == StatusCode::FORBIDDEN {
            one_more(&self.failed, "rpc.error");
        }
    }
}

/// `http.GET.v1.kv._`.
fn timer_name(route: usize, method: usize) -> String {
    let route = &ROUTES[route];
    let mut name = format!("http.{}", route.methods[method].0);
    for part in route.pattern.trim_matches('/').split('/') {
        name.push('.');
        name.push_str(part);
    }
    if route.pattern.ends_with('/') {
        name.push_str("._");
    }
    name
}

/// What a pattern of the catalog is called.
fn operation(pattern: &str) -> Option<&'static str> {
    Some(match pattern.strip_prefix("/v1/catalog/")? {
        "register" => "catalog_register",
        "deregister" => "catalog_deregister",
        "datacenters" => "catalog_datacenters",
        "nodes" => "catalog_nodes",
        "services" => "catalog_services",
        "service/" => "catalog_service_nodes",
        "connect/" => "catalog_connect_service_nodes",
        "node/" => "catalog_node_services",
        "node-services/" => "catalog_node_service_list",
        "gateway-services/" => "catalog_gateway_services",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pattern: &str) -> usize {
        let mut all = ROUTES.iter();
        all.position(|route| route.pattern == pattern).unwrap()
    }

    #[test]
    fn timers_are_named_by_method_and_pattern() {
        for (pattern, method, want) in [
            ("/v1/kv/", 0, "http.GET.v1.kv._"),
            ("/v1/txn", 0, "http.PUT.v1.txn"),
            ("/v1/acl/policy/name/", 0, "http.GET.v1.acl.policy.name._"),
        ] {
            assert_eq!(timer_name(at(pattern), method), want);
        }
    }

    #[test]
    fn every_request_of_the_catalog_has_an_operation_and_others_have_none() {
        for route in ROUTES {
            let is_catalog = route.pattern.starts_with("/v1/catalog/");
            assert_eq!(
                operation(route.pattern).is_some(),
                is_catalog,
                "{}",
                route.pattern
            );
        }
    }

    #[test]
    fn what_makes_no_sense_neither_succeeds_nor_fails() {
        // (status, served, failed)
        for (status, served, failed) in [
            (StatusCode::OK, true, false),
            (StatusCode::BAD_REQUEST, false, false),
            (StatusCode::FORBIDDEN, false, true),
            (StatusCode::INTERNAL_SERVER_ERROR, false, true),
        ] {
            let counters = Counters::new("catalog_nodes");
            counters.record(status, &tribune_types::text::text("n1"));
            assert!(counters.asked.get().is_some(), "{status}");
            assert_eq!(counters.served.get().is_some(), served, "{status}");
            assert_eq!(counters.failed.get().is_some(), failed, "{status}");
        }
    }
}
