//! Calls on the agent asked: itself, its members, services, maintenance, events, logs.

use std::collections::BTreeMap;

use super::{
    AgentSelf, Client, Error, HealthCheck, Member, Payload, QueryMeta, QueryOptions, Request,
    Response, UserEvent, encode_segment, kv::drain,
};

fn here() -> QueryOptions {
    QueryOptions::default()
}

impl Client {
    /// What the agent says about itself.
    pub fn agent_self(&self) -> Result<AgentSelf, Error> {
        Ok(self.get("/v1/agent/self", &here())?.0)
    }

    /// Name of the agent's node.
    pub fn node_name(&self) -> Result<String, Error> {
        Ok(self.agent_self()?.config_text("NodeName").to_owned())
    }

    /// Members of the LAN or WAN pool; `segment` `_all` for every network segment.
    pub fn members(&self, wan: bool, segment: &str) -> Result<Vec<Member>, Error> {
        let mut request = Request::new("GET", "/v1/agent/members").param_if("segment", segment);
        if wan {
            request = request.param("wan", "1");
        }
        // A client agent, which is in no WAN pool, answers `null`.
        let members: Option<Vec<Member>> = self.query(request)?.0;
        Ok(members.unwrap_or_default())
    }

    /// Joins the pool of the agent at `address`.
    pub fn join(&self, address: &str, wan: bool) -> Result<(), Error> {
        let mut request = Request::new("PUT", "/v1/agent/join/").raw_tail(&encode_segment(address));
        if wan {
            request = request.param("wan", "1");
        }
        self.send_done(request)
    }

    /// Leaves gracefully.
    pub fn leave(&self) -> Result<(), Error> {
        self.send_done(Request::new("PUT", "/v1/agent/leave"))
    }

    /// Marks a failed member as left; `prune` forgets it altogether.
    pub fn force_leave(&self, node: &str, prune: bool) -> Result<(), Error> {
        let mut request =
            Request::new("PUT", "/v1/agent/force-leave/").raw_tail(&encode_segment(node));
        if prune {
            request = request.param("prune", "1");
        }
        self.send_done(request)
    }

    /// Reads the configuration files again.
    pub fn reload(&self) -> Result<(), Error> {
        self.send_done(Request::new("PUT", "/v1/agent/reload"))
    }

    /// Local checks by ID.
    pub fn checks(&self) -> Result<BTreeMap<String, HealthCheck>, Error> {
        Ok(self.get("/v1/agent/checks", &here())?.0)
    }

    /// Turns node maintenance on (with a reason) or off.
    pub fn node_maintenance(&self, enable: bool, reason: &str) -> Result<(), Error> {
        let request = Request::new("PUT", "/v1/agent/maintenance");
        self.maintenance(request, enable, reason)
    }

    /// Turns maintenance of one service instance on (with a reason) or off.
    pub fn service_maintenance(&self, id: &str, enable: bool, reason: &str) -> Result<(), Error> {
        let request =
            Request::new("PUT", "/v1/agent/service/maintenance/").raw_tail(&encode_segment(id));
        self.maintenance(request, enable, reason)
    }

    fn maintenance(&self, request: Request, enable: bool, reason: &str) -> Result<(), Error> {
        let mut request = request.param("enable", if enable { "true" } else { "false" });
        if enable {
            request = request.param("reason", reason);
        }
        self.send_done(request)
    }

    /// Registers a service with the agent. `definition` is the JSON body.
    pub fn service_register(&self, definition: &serde_json::Value) -> Result<(), Error> {
        self.send_done(Request::new("PUT", "/v1/agent/service/register").json(definition))
    }

    /// Deregisters a service instance.
    pub fn service_deregister(&self, id: &str) -> Result<(), Error> {
        let request =
            Request::new("PUT", "/v1/agent/service/deregister/").raw_tail(&encode_segment(id));
        self.send_done(request)
    }

    /// Streams the agent's log. The answer's body goes on until it is dropped.
    pub fn monitor(&self, level: &str, json: bool) -> Result<Response, Error> {
        let mut request = Request::new("GET", "/v1/agent/monitor").param_if("loglevel", level);
        if json {
            request = request.param("logjson", "true");
        }
        self.send_ok(request)
    }

    /// Fires an event and returns its ID. `filters` are node, service and tag.
    pub fn event_fire(
        &self,
        name: &str,
        payload: Vec<u8>,
        filters: [&str; 3],
        options: &QueryOptions,
    ) -> Result<String, Error> {
        let [node, service, tag] = filters;
        let request = Request::new("PUT", "/v1/event/fire/")
            .raw_tail(&encode_segment(name))
            .write_options(options)
            .param_if("node", node)
            .param_if("service", service)
            .param_if("tag", tag)
            .body(Payload::Bytes(payload));
        let event: UserEvent = self.query(request)?.0;
        Ok(event.id)
    }

    /// The events this agent knows of.
    pub fn events(
        &self,
        name: &str,
        options: &QueryOptions,
    ) -> Result<(Vec<UserEvent>, QueryMeta), Error> {
        let request = Request::new("GET", "/v1/event/list")
            .param_if("name", name)
            .options(options);
        let (list, meta) = self.query::<Option<Vec<UserEvent>>>(request)?;
        Ok((list.unwrap_or_default(), meta))
    }

    /// Sends, demands 200 and forgets the body.
    pub(super) fn send_done(&self, request: Request) -> Result<(), Error> {
        drain(&mut self.send_ok(request)?);
        Ok(())
    }
}

impl Request {
    /// Appends an already encoded segment to the path.
    #[must_use]
    pub fn raw_tail(mut self, segment: &str) -> Self {
        self.path.push_str(segment);
        self
    }
}
