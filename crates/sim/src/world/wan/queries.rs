//! Prepared queries: what is at home is found there, what is not is found elsewhere as long as some datacenter that has it can
//! be reached.
//!
//! Two servers of each datacenter have an instance of a service that is everywhere, and one of a service for each other
//! datacenter, which is not found there. In every datacenter a query looks for the first, and one for what is missing there.

use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use tribune_agent::Handle;
use tribune_types::caller::Caller;
use tribune_types::definition::ServiceDefinition;
use tribune_types::error::RpcError;
use tribune_types::prepared::{
    ExecuteQuery, ExecutedQuery, PreparedQuery, QueryFailover, QueryOp, QueryService, QuerySource,
};
use tribune_types::query::ReadOptions;
use tribune_types::text::{Text, text};
use tribune_types::write::Write;

use super::super::clients::Sent;
use super::super::{Bug, PATIENCE, World};
use super::ORDER_LIMIT;
use super::calendar::Calendar;
use super::judge::{Counts, LOCAL_LIMIT, REMOTE_FINE_LIMIT, REMOTE_LIMIT_DISTURBED};
use super::probes::{Asked, Fate, Probe, Prober};

/// A service that every datacenter has.
pub(super) const EVERYWHERE: &str = "everywhere";
/// Servers of a datacenter that have instances.
const HOSTS: usize = 2;
/// A query that looks elsewhere gives each of the two other datacenters 5 s.
const QUERY_LIMIT: Duration = Duration::from_secs(12);

/// What a prepared query looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// What is there.
    Here,
    /// What is only elsewhere.
    Elsewhere,
}

impl Wanted {
    fn query(self) -> &'static str {
        match self {
            Wanted::Here => "here",
            Wanted::Elsewhere => "elsewhere",
        }
    }
}

/// The service that a datacenter does not have and the others do.
fn missing_in(datacenter: &str) -> Text {
    text(&format!("not-in-{datacenter}"))
}

async fn execute(handle: &Handle, wanted: Wanted) -> Result<ExecutedQuery, RpcError> {
    let identity = handle.identity();
    let request = ExecuteQuery {
        name: text(wanted.query()),
        agent: QuerySource {
            datacenter: identity.datacenter.clone(),
            node: identity.node.clone(),
            ..QuerySource::default()
        },
        ..ExecuteQuery::default()
    };
    let options = ReadOptions::default();
    handle
        .execute_query(&Caller::internal(), &request, &options)
        .await
}

impl Prober {
    /// Carries out prepared queries until the workload ends.
    pub(super) async fn run_queries(mut self) {
        self.rng = SeedableRng::seed_from_u64(self.rng.random::<u64>() ^ 3);
        while !self.outside.stop.is_cancelled() {
            let agent = self.any_agent();
            let wanted = if self.rng.random_bool(0.3) {
                Wanted::Here
            } else {
                Wanted::Elsewhere
            };
            let this = self.clone();
            self.probe(agent, Asked::Query(wanted), |handle| async move {
                let found = execute(&handle, wanted).await?;
                let place = this.number_of(&found.datacenter);
                Ok(Fate::Found(found.nodes.len(), place))
            })
            .await;
            self.pause(300..1000).await;
        }
    }
}

impl Probe {
    /// What is wrong with what a prepared query found.
    pub(super) fn judge_query(
        &self,
        wanted: Wanted,
        calendar: &Calendar,
        counts: &mut Counts,
    ) -> Result<(), &'static str> {
        let (began, ended) = (self.began_ns, self.ended_ns);
        let disturbed = calendar.is_disturbed(self.dc, began, ended);
        let limit = if disturbed {
            REMOTE_LIMIT_DISTURBED
        } else {
            QUERY_LIMIT
        };
        if self.fate == Fate::NoAnswer || self.took() > limit {
            return Err("a prepared query had no answer in time");
        }
        if disturbed {
            return Ok(());
        }
        let Fate::Found(count, place) = self.fate else {
            return Err("a prepared query failed though nothing was wrong here");
        };
        match wanted {
            Wanted::Here if calendar.is_shaken(self.dc, began, ended) => Ok(()),
            Wanted::Here => {
                counts.queries += 1;
                if count == 0 || place != self.dc {
                    return Err("a prepared query did not find what is here");
                }
                if self.took() > LOCAL_LIMIT {
                    return Err("a prepared query for what is here took too long");
                }
                Ok(())
            }
            Wanted::Elsewhere => self.judge_failover(count, place, calendar, counts),
        }
    }

    fn judge_failover(
        &self,
        count: usize,
        place: usize,
        calendar: &Calendar,
        counts: &mut Counts,
    ) -> Result<(), &'static str> {
        let (began, ended) = (self.began_ns, self.ended_ns);
        let others: Vec<usize> = calendar.others(self.dc).collect();
        let is_severed = |other: &usize| calendar.is_severed(self.dc, *other, began, ended);
        let is_fine = |other: &&usize| !calendar.is_rough(self.dc, **other, began, ended);
        let fine = others.iter().filter(is_fine).count();
        if count > 0 && place == self.dc {
            return Err("a prepared query found here what is only elsewhere");
        }
        if count > 0
            && others
                .iter()
                .any(|other| *other == place && is_severed(other))
        {
            return Err("a prepared query found something where nothing gets through to");
        }
        if others.iter().all(is_severed) {
            counts.nothing += 1;
        }
        if fine > 0 {
            counts.failovers += 1;
            if count == 0 {
                return Err("a prepared query did not find what another datacenter has");
            }
        }
        if fine == others.len() && self.took() > REMOTE_FINE_LIMIT {
            return Err("a prepared query for what is elsewhere took too long");
        }
        Ok(())
    }
}

impl World {
    /// Gives every datacenter its services and queries, and waits until they are found from everywhere.
    ///
    /// # Errors
    /// They are not, or what an oracle found.
    pub(super) fn prepare_queries(&mut self) -> Result<(), String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        for dc in 0..self.dcs.len() {
            self.host_services(dc)?;
            for wanted in [Wanted::Here, Wanted::Elsewhere] {
                self.store_query(dc, wanted)?;
            }
        }
        for dc in 0..self.dcs.len() {
            for wanted in [Wanted::Here, Wanted::Elsewhere] {
                if wanted == Wanted::Elsewhere && self.bug == Some(Bug::NoFailover) {
                    continue;
                }
                let outside = Arc::clone(&self.dcs[dc].outside);
                self.until_async("a prepared query that finds something", || {
                    let outside = Arc::clone(&outside);
                    async move {
                        let ask = |handle: Handle| async move { execute(&handle, wanted).await };
                        let found = outside.ask(0, PATIENCE, ask).await;
                        matches!(found, Sent::Answered(Ok(found), _) if found.nodes.len() == HOSTS)
                    }
                })?;
            }
        }
        if let Some(wan) = &mut self.wan {
            wan.has_queries = true;
        }
        Ok(())
    }

    fn host_services(&mut self, dc: usize) -> Result<(), String> {
        let others = { self.dcs.iter() }.map(|other| other.name.clone());
        let others = others.filter(|name| *name != self.dcs[dc].name);
        let mut names: Vec<Text> = others.map(|name| missing_in(&name)).collect();
        names.push(text(EVERYWHERE));
        let outside = Arc::clone(&self.dcs[dc].outside);
        for host in 0..HOSTS.min(outside.servers) {
            for (port, name) in (1..).zip(&names) {
                let definition = ServiceDefinition {
                    id: name.clone(),
                    name: name.clone(),
                    port,
                    ..ServiceDefinition::default()
                };
                let outside = Arc::clone(&outside);
                self.until_async("a service is registered", || {
                    let (outside, definition) = (Arc::clone(&outside), definition.clone());
                    async move {
                        let register = |handle: Handle| async move {
                            let caller = Caller::internal();
                            handle.register_service(&caller, definition, false).await
                        };
                        let done = outside.ask(host, PATIENCE, register).await;
                        matches!(done, Sent::Answered(Ok(()), _))
                    }
                })?;
            }
        }
        Ok(())
    }

    fn store_query(&mut self, dc: usize, wanted: Wanted) -> Result<(), String> {
        let name = self.dcs[dc].name.clone();
        let service = match wanted {
            Wanted::Here => text(EVERYWHERE),
            Wanted::Elsewhere => missing_in(&name),
        };
        let mut failover = QueryFailover {
            nearest_n: 2,
            ..QueryFailover::default()
        };
        if self.bug == Some(Bug::NoFailover) {
            failover.nearest_n = 0;
        }
        if let (Some(Bug::FarthestFirst), Some(wan)) = (self.bug, &self.wan) {
            let order = wan.by_distance(dc).into_iter().rev();
            let names = order.map(|dc| text(&self.dcs[dc].name));
            failover.nearest_n = 0;
            failover.datacenters = Some(names.collect());
        }
        let query = PreparedQuery {
            name: text(wanted.query()),
            service: QueryService {
                service,
                failover,
                ..QueryService::default()
            },
            ..PreparedQuery::default()
        };
        let outside = Arc::clone(&self.dcs[dc].outside);
        self.until_async("a prepared query is stored", || {
            let (outside, query) = (Arc::clone(&outside), Box::new(query.clone()));
            async move {
                let create = Write::PreparedQuery(QueryOp::Create, query);
                let stored = outside.write(0, create).await;
                matches!(stored, Sent::Answered(Ok(_), _))
            }
        })
    }

    /// Carries out the queries of every agent: all is well, so what is elsewhere is found in the nearest datacenter, as soon
    /// as it is known which that is.
    ///
    /// # Errors
    /// What was found instead, within [`ORDER_LIMIT`], or what an oracle found.
    pub(super) fn queries_find_the_nearest(&mut self) -> Result<(), String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        let began = self.env.mono();
        loop {
            let found = self.find_the_nearest();
            if found.is_ok() || self.env.mono().since(began) > ORDER_LIMIT {
                return found;
            }
            self.distances()?;
        }
    }

    fn find_the_nearest(&self) -> Result<(), String> {
        for dc in 0..self.dcs.len() {
            let Some(wan) = &self.wan else { return Ok(()) };
            let nearest = wan.by_distance(dc).first().copied();
            let outside = Arc::clone(&self.dcs[dc].outside);
            for agent in 0..outside.slots.len() {
                for (wanted, place) in [(Wanted::Here, Some(dc)), (Wanted::Elsewhere, nearest)] {
                    let Some(place) = place else { continue };
                    let ask = |handle: Handle| async move { execute(&handle, wanted).await };
                    let found = self.runtime.block_on(outside.ask(agent, PATIENCE, ask));
                    let tried = u64::from(wanted == Wanted::Elsewhere);
                    let place = &self.dcs[place].name;
                    let what = match found {
                        Sent::Answered(Ok(found), _) => {
                            let is_right = *found.datacenter == **place
                                && found.nodes.len() == HOSTS
                                && found.failovers == tried;
                            if is_right {
                                continue;
                            }
                            format!("{found:?}")
                        }
                        Sent::Answered(Err(err), _) => err.to_string(),
                        Sent::Not | Sent::Lost => "no answer".to_owned(),
                    };
                    let agent = &outside.names[agent];
                    let dc = &self.dcs[dc].name;
                    return Err(format!(
                        "{agent} of {dc} did not find in {place} what is {wanted:?}, nearest: {what}"
                    ));
                }
            }
        }
        Ok(())
    }
}
