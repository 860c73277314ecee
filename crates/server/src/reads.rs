//! The read path: guarantee first, then a version of the state, then perhaps waiting.
//!
//! Every server reads from its own state. A follower that owes more than a stale answer first learns from the leader how
//! far the log is and applies up to there; then its state contains everything that was acknowledged before the request,
//! and a blocking query can park here: whatever it is woken with is newer still.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tribune_raft::ReadGuarantee;
use tribune_rt::Stopwatch;
use tribune_state::{ReadContext, WatchKeys};
use tribune_types::caller::Caller;
use tribune_types::coordinate::{Coordinate, CoordinateEntry, DatacenterMap};
use tribune_types::error::RpcError;
use tribune_types::id::Index;
use tribune_types::query::{Consistency, Query, QueryMeta, ReadOptions, Reply};
use tribune_types::raft::{RaftConfiguration, RaftServer};
use tribune_types::text::text;

use crate::Server;
use crate::answer::{Answer, Shared};
use crate::hub::{shown, worth_sharing};
use crate::route::{Need, Origin, Route, View, decide};

/// Least time for the leader's word, however short requests are held.
const ASK_MIN: Duration = Duration::from_millis(500);

impl Server {
    /// Reads without waiting, if the guarantee can be had at once. `None`: use [`Server::read`].
    pub fn read_now(
        &self,
        caller: &Caller,
        query: &Query,
        options: &ReadOptions,
    ) -> Option<Result<Answer, RpcError>> {
        if options.min_index != Index(0) || !self.has_guarantee(need(query, options), options) {
            return None;
        }
        if let Err(err) = self.authorizer().read(caller, query) {
            return Some(Err(err));
        }
        Some(
            self.evaluate(query)
                .map(|shared| self.answer(shared, options.consistency)),
        )
    }

    /// Reads, waiting for the asked index. Cancel safe: dropping it unparks the request.
    ///
    /// # Errors
    /// No leader within the hold time, denied, a datacenter that is not known, or what the evaluation refuses.
    pub async fn read(
        &self,
        caller: &Caller,
        query: Query,
        options: &ReadOptions,
    ) -> Result<Answer, RpcError> {
        self.authorizer().read(caller, &query)?;
        let need = need(&query, options);
        let consistency = self.read_guarantee(need, options).await?;
        if options.min_index == Index(0) || !is_state(&query) {
            let shared = self.evaluate(&query)?;
            return Ok(self.answer(shared, consistency));
        }
        let shared = self.wait_above(&query, options).await?;
        Ok(self.answer(shared, consistency))
    }

    /// True if the request can be served at once without asking anybody.
    pub(crate) fn has_guarantee(&self, need: Need, options: &ReadOptions) -> bool {
        self.is_own_datacenter(options.datacenter.as_ref())
            && match need {
                Need::AnyServer => true,
                Need::Read(Consistency::Default) => self.raft().is_current() && !self.is_leaving(),
                Need::Read(Consistency::Stale) => self.stale_now(options),
                Need::Read(Consistency::Consistent) | Need::Leader => false,
            }
    }

    /// The guarantee under which this server may answer, at once or after waiting for it as [`Server::guarantee`] does.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn read_guarantee(
        &self,
        need: Need,
        options: &ReadOptions,
    ) -> Result<Consistency, RpcError> {
        if self.has_guarantee(need, options) {
            return Ok(options.consistency);
        }
        // Large: kept out of the future that parks.
        Box::pin(self.guarantee(need, options)).await
    }

    /// Waits until this server may answer under the asked guarantee. The result is the one in effect: what is too old for a
    /// stale read is answered as if that had not been asked for.
    ///
    /// # Errors
    /// `NoPath`; `NoLeader` or `NotReady` after the hold time.
    pub(crate) async fn guarantee(
        &self,
        need: Need,
        options: &ReadOptions,
    ) -> Result<Consistency, RpcError> {
        let confirmed = match need {
            Need::Read(Consistency::Consistent) => ReadGuarantee::Quorum,
            _ => ReadGuarantee::Lease,
        };
        if confirmed == ReadGuarantee::Quorum && self.is_leader() {
            counter!("raft.verify_leader").increment(1);
        }
        let _timed = (confirmed == ReadGuarantee::Quorum)
            .then(|| Stopwatch::start(self.env(), &self.figures().consistent_read));
        let mut hold = self.hold();
        if self.may_catch_up(need, options) && self.raft().read_index(confirmed).await.is_ok() {
            return self.caught_up(confirmed, options).await;
        }
        loop {
            let changed = pin!(self.leading().notified());
            let view = View {
                own_datacenter: self.is_own_datacenter(options.datacenter.as_ref()),
                fresh: self.stale_now(options),
                ..self.view()
            };
            match decide(need, Origin::Asked, &view) {
                Route::Here => return Ok(options.consistency),
                Route::Refuse(err) => return Err(err),
                Route::CatchUp => {
                    let left = hold.left(self.env().mono()).max(ASK_MIN);
                    let caught_up = self.raft().read_index(confirmed);
                    if let Ok(Ok(_)) = self.env().timeout(left, caught_up).await {
                        break;
                    }
                }
                Route::Leader(_) | Route::Wait => {}
            }
            if !self.wait(&mut hold, changed).await? {
                return Err(RpcError::NoLeader);
            }
        }
        self.caught_up(confirmed, options).await
    }

    /// True where a leader is known: then [`decide`] says nothing but to catch up with it. Short, because every read of a
    /// follower comes this way.
    fn may_catch_up(&self, need: Need, options: &ReadOptions) -> bool {
        matches!(
            need,
            Need::Read(Consistency::Default | Consistency::Consistent)
        ) && self.is_own_datacenter(options.datacenter.as_ref())
            && !self.is_leaving()
            && self.raft().has_leader()
    }

    /// This server has seen what was acknowledged: says which guarantee that is.
    async fn caught_up(
        &self,
        confirmed: ReadGuarantee,
        options: &ReadOptions,
    ) -> Result<Consistency, RpcError> {
        if confirmed == ReadGuarantee::Quorum && self.is_leader() {
            self.wait_until_ready().await?;
        }
        Ok(match options.consistency {
            Consistency::Stale => Consistency::Default,
            asked => asked,
        })
    }

    fn stale_now(&self, options: &ReadOptions) -> bool {
        if self.raft().is_leader_lease_valid() {
            return true;
        }
        match self.raft().last_contact() {
            None => false,
            Some(age) => options.max_stale.is_none_or(|max| age <= max),
        }
    }

    fn answer(&self, shared: Arc<Shared>, consistency: Consistency) -> Answer {
        let meta = self.meta(shared.index(), consistency);
        Answer { shared, meta }
    }

    /// What holds for an answer of now. What was read with the leader's word is as good as the leader's own answer.
    pub(crate) fn meta(&self, index: Index, consistency: Consistency) -> QueryMeta {
        let current = consistency != Consistency::Stale || self.is_leader();
        QueryMeta {
            index: shown(index),
            known_leader: current || self.raft().has_leader(),
            last_contact: if current {
                Duration::ZERO
            } else {
                self.raft().last_contact().unwrap_or_default()
            },
            consistency,
        }
    }

    /// As [`Server::meta`], for an answer that has no index: nobody can wait for another one.
    pub(crate) fn once_meta(&self, consistency: Consistency) -> QueryMeta {
        QueryMeta {
            index: Index(0),
            ..self.meta(Index(0), consistency)
        }
    }

    fn evaluate(&self, query: &Query) -> Result<Arc<Shared>, RpcError> {
        if let Some(reply) = self.own_reply(query) {
            return Ok(Arc::new(reply));
        }
        let cx = ReadContext {
            datacenter: &self.options().datacenter,
        };
        self.figures().queries.increment(1);
        if worth_sharing(query) {
            let watch = self.hub().watch(query);
            let shared = watch.latest(&cx)?.shared;
            watch.count(&shared);
            return Ok(shared);
        }
        let mut keys = WatchKeys::new();
        let (reply, index) = self.store().load().version.read(query, &cx, &mut keys)?;
        Ok(Arc::new(Shared::new(reply, index)))
    }

    async fn wait_above(
        &self,
        query: &Query,
        options: &ReadOptions,
    ) -> Result<Arc<Shared>, RpcError> {
        let cx = ReadContext {
            datacenter: &self.options().datacenter,
        };
        let wait = match options.wait {
            None => self.options().default_query_time,
            Some(wait) if wait.is_zero() => self.options().default_query_time,
            Some(wait) => wait.min(self.options().max_query_time),
        };
        let deadline = self.env().mono() + wait + self.env().jitter(wait / 16);
        let epoch = self.store().load().epoch;
        let watch = self.hub().watch(query);
        let _blocking = self.count_blocking();
        loop {
            let changed = watch.changed();
            self.figures().queries.increment(1);
            let latest = watch.latest(&cx)?;
            let replaced = self.store().load().epoch != epoch;
            if latest.shared.index() > options.min_index || replaced {
                watch.count(&latest.shared);
                return Ok(latest.shared);
            }
            if !latest.registered {
                tokio::task::yield_now().await;
                continue;
            }
            drop(latest);
            tokio::select! {
                biased;
                () = changed => {}
                () = self.env().sleep_until(deadline) => {
                    let shared = watch.latest(&cx)?.shared;
                    watch.count(&shared);
                    return Ok(shared);
                }
                () = self.stop().cancelled() => return Err(RpcError::ShuttingDown),
            }
        }
    }

    /// Answers of the server itself, which are not in the replicated state.
    fn own_reply(&self, query: &Query) -> Option<Shared> {
        let dc = &self.options().datacenter;
        match query {
            Query::Datacenters => Some(Shared::new(Reply::Datacenters(vec![dc.clone()]), Index(1))),
            Query::DatacenterMaps => {
                let coordinates = vec![CoordinateEntry {
                    node: self.options().node.clone(),
                    segment: text(""),
                    coord: Coordinate::default(),
                }];
                let map = DatacenterMap {
                    datacenter: dc.clone(),
                    area: text("wan"),
                    coordinates,
                };
                Some(Shared::new(Reply::DatacenterMaps(vec![map]), Index(1)))
            }
            Query::RaftConfiguration => {
                let configuration = self.raft_configuration();
                let index = configuration.index;
                Some(Shared::new(Reply::RaftConfiguration(configuration), index))
            }
            _ => None,
        }
    }

    fn raft_configuration(&self) -> RaftConfiguration {
        let membership = self.raft().membership();
        let leader = self.raft().leader().map(|leader| leader.id);
        let servers = membership
            .peers
            .iter()
            .map(|server| {
                let id = server.id;
                let node = match self.directory().by_id(id) {
                    Some(member) => Some(member.name),
                    // The pool may not have told of this server itself yet.
                    None => (id == self.options().id).then(|| self.options().node.clone()),
                };
                RaftServer {
                    id,
                    protocol_version: text(if node.is_some() { "3" } else { "unknown" }),
                    node: node.unwrap_or_else(|| text("(unknown)")),
                    address: text(&server.addr),
                    leader: leader == Some(server.id),
                    voter: server.voter,
                }
            })
            .collect();
        RaftConfiguration {
            servers,
            index: Index(membership.index.0),
        }
    }
}

/// What a query needs. Names of datacenters are known everywhere.
fn need(query: &Query, options: &ReadOptions) -> Need {
    match query {
        Query::Datacenters | Query::DatacenterMaps => Need::AnyServer,
        _ => Need::Read(options.consistency),
    }
}

fn is_state(query: &Query) -> bool {
    !matches!(
        query,
        Query::Datacenters | Query::DatacenterMaps | Query::RaftConfiguration
    )
}
