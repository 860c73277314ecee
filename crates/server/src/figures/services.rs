//! Counters of reads of one service: how often it was asked for, by tags, and how often nothing was found.
//!
//! In: a query, later its replies. A group of equal queries keeps these, so that a read does not look its counters up.
//! What nobody found is counted under a name when that happens, since most services are never missing.

use metrics::{Counter, Label, counter};
use tribune_types::query::{Endpoint, Query, Reply, ServiceQuery};

/// The counters of a query for a service.
pub(crate) struct ServiceReads {
    asked: Counter,
    tagged: Option<Counter>,
    missing: &'static str,
    service: Label,
}

impl ServiceReads {
    /// The counters of `query`, if it asks for one service.
    pub(crate) fn of(query: &Query) -> Option<ServiceReads> {
        let (service, names) = match query {
            Query::ServiceNodes(service) => (service, Names::of_catalog(service.endpoint)),
            Query::ServiceHealth { service, .. } => (service, Names::of_health(service.endpoint)),
            _ => return None,
        };
        Some(ServiceReads::new(service, names))
    }

    fn new(query: &ServiceQuery, names: &Names) -> ServiceReads {
        let service = Label::new("service", query.name.to_string());
        let tagged = (!query.tags.is_empty()).then(|| {
            let tags = { query.tags.iter() }.map(|tag| Label::new("tag", tag.to_string()));
            let labels: Vec<Label> = [service.clone()].into_iter().chain(tags).collect();
            counter!(names.tagged, labels)
        });
        ServiceReads {
            asked: counter!(names.asked, vec![service.clone()]),
            tagged,
            missing: names.missing,
            service,
        }
    }

    /// Counts one reply.
    pub(crate) fn count(&self, reply: &Reply) {
        self.asked.increment(1);
        if let Some(tagged) = &self.tagged {
            tagged.increment(1);
        }
        let is_empty = match reply {
            Reply::ServiceNodes(found) => found.is_empty(),
            Reply::Instances(found) => found.is_empty(),
            _ => false,
        };
        if is_empty {
            counter!(self.missing, vec![self.service.clone()]).increment(1);
        }
    }
}

struct Names {
    asked: &'static str,
    tagged: &'static str,
    missing: &'static str,
}

macro_rules! names {
    ($what:literal) => {
        &Names {
            asked: concat!($what, ".query"),
            tagged: concat!($what, ".query-tags"),
            missing: concat!($what, ".not-found"),
        }
    };
}

impl Names {
    fn of_catalog(endpoint: Endpoint) -> &'static Names {
        match endpoint {
            Endpoint::Service | Endpoint::Ingress => names!("catalog.service"),
            Endpoint::Connect => names!("catalog.connect"),
        }
    }

    fn of_health(endpoint: Endpoint) -> &'static Names {
        match endpoint {
            Endpoint::Service => names!("health.service"),
            Endpoint::Connect => names!("health.connect"),
            Endpoint::Ingress => names!("health.ingress"),
        }
    }
}
