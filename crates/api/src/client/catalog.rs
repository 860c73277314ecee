//! Reads of the catalog, of health, and of network coordinates.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    AgentService, Client, CoordDatacenter, CoordEntry, Error, HealthCheck, Node, QueryMeta,
    QueryOptions, Request, ServiceEntry, ServiceNode, encode_segment,
};

/// A node and its services.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct CatalogNode {
    services: BTreeMap<String, AgentService>,
}

impl Client {
    /// Known datacenters, nearest first.
    pub fn datacenters(&self) -> Result<Vec<String>, Error> {
        Ok(self
            .get("/v1/catalog/datacenters", &QueryOptions::default())?
            .0)
    }

    /// Nodes.
    pub fn nodes(&self, options: &QueryOptions) -> Result<(Vec<Node>, QueryMeta), Error> {
        self.list("/v1/catalog/nodes", options)
    }

    /// Services and their tags.
    pub fn services(
        &self,
        options: &QueryOptions,
    ) -> Result<(BTreeMap<String, Vec<String>>, QueryMeta), Error> {
        self.get("/v1/catalog/services", options)
    }

    /// Instances of a service.
    pub fn service_nodes(
        &self,
        service: &str,
        options: &QueryOptions,
    ) -> Result<(Vec<ServiceNode>, QueryMeta), Error> {
        self.list(&format!("/v1/catalog/service/{service}"), options)
    }

    /// Services of one node by instance ID; `None` when the node is unknown.
    pub fn node_services(
        &self,
        node: &str,
        options: &QueryOptions,
    ) -> Result<Option<BTreeMap<String, AgentService>>, Error> {
        let path = format!("/v1/catalog/node/{node}");
        let found: Option<CatalogNode> = self.get(&path, options)?.0;
        Ok(found.map(|n| n.services))
    }

    /// Health of a service's instances; `passing` leaves the others out.
    pub fn health_service(
        &self,
        service: &str,
        tags: &[String],
        passing: bool,
        options: &QueryOptions,
    ) -> Result<(Vec<ServiceEntry>, QueryMeta), Error> {
        let mut request = Request::new("GET", "/v1/health/service/")
            .raw_tail(&encode_segment(service))
            .options(options);
        for tag in tags {
            request = request.param("tag", tag.as_str());
        }
        if passing {
            request = request.param("passing", "1");
        }
        let (list, meta) = self.query::<Option<Vec<ServiceEntry>>>(request)?;
        Ok((list.unwrap_or_default(), meta))
    }

    /// Checks of a service.
    pub fn health_checks(
        &self,
        service: &str,
        options: &QueryOptions,
    ) -> Result<(Vec<HealthCheck>, QueryMeta), Error> {
        self.list(&format!("/v1/health/checks/{service}"), options)
    }

    /// Checks in a state: `any`, `passing`, `warning`, `critical`.
    pub fn health_state(
        &self,
        state: &str,
        options: &QueryOptions,
    ) -> Result<(Vec<HealthCheck>, QueryMeta), Error> {
        self.list(&format!("/v1/health/state/{state}"), options)
    }

    /// Coordinates of the LAN's nodes.
    pub fn coordinate_nodes(&self, options: &QueryOptions) -> Result<Vec<CoordEntry>, Error> {
        Ok(self.list("/v1/coordinate/nodes", options)?.0)
    }

    /// Coordinates of servers by datacenter.
    pub fn coordinate_datacenters(&self) -> Result<Vec<CoordDatacenter>, Error> {
        Ok(self
            .list("/v1/coordinate/datacenters", &QueryOptions::default())?
            .0)
    }

    fn list<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        options: &QueryOptions,
    ) -> Result<(Vec<T>, QueryMeta), Error> {
        let (list, meta) = self.get::<Option<Vec<T>>>(path, options)?;
        Ok((list.unwrap_or_default(), meta))
    }
}
