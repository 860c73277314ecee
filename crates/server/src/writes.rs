//! The write path. On the leader: authorise, check what the state cannot, stamp, propose, translate the outcome. Elsewhere
//! the write is encoded once and asked of the leader (`forward`).

use std::pin::pin;

use bytes::Bytes;
use tribune_raft::{MembershipError, ProposeError};
use tribune_rt::Stopwatch;
use tribune_state::Version;
use tribune_types::caller::Caller;
use tribune_types::command::{Command, Outcome};
use tribune_types::error::RpcError;
use tribune_types::id::Uuid;
use tribune_types::kv::KvOp;
use tribune_types::prepared::{PreparedQuery, QueryOp};
use tribune_types::query::{Consistency, ReadOptions};
use tribune_types::session::Session;
use tribune_types::text::text;
use tribune_types::txn::{KvVerb, TxnError, TxnOp, TxnOutcome};
use tribune_types::uuid::parse_query;
use tribune_types::write::{PeerRef, Write, WriteReply};
use tribune_wire::{entry, rpc};

use crate::forward::unreadable;
use crate::route::{Need, Origin};
use crate::{Server, validate};

impl Server {
    /// Writes, here or through the leader. Dropping the future does not take the write back.
    ///
    /// # Errors
    /// Refusals leave everything unchanged; [`RpcError::FateUnknown`] and [`RpcError::Storage`] say that the write may
    /// or may not have happened. What the leader or the way to it says is [`RpcError::Remote`].
    pub async fn write(
        &self,
        caller: &Caller,
        datacenter: Option<&str>,
        write: Write,
    ) -> Result<WriteReply, RpcError> {
        self.write_from(Origin::Asked, caller, datacenter, write)
            .await
    }

    /// As [`Server::write`], for a request that may have come through another server.
    ///
    /// # Errors
    /// As [`Server::write`].
    pub async fn write_from(
        &self,
        origin: Origin,
        caller: &Caller,
        datacenter: Option<&str>,
        write: Write,
    ) -> Result<WriteReply, RpcError> {
        if datacenter.is_some_and(|dc| dc != &*self.options().datacenter) {
            return Err(RpcError::NoPath);
        }
        self.authorizer().write(caller, &write)?;
        match write {
            Write::TxnRead(ops, consistency) => self.txn_read(&ops, consistency).await,
            Write::EventFire(_) => {
                // Events travel by gossip, which the agent owns; any server may send them.
                let stale = Need::Read(Consistency::Stale);
                self.guarantee(stale, &ReadOptions::default()).await?;
                Ok(WriteReply::Done)
            }
            write => self.write_at_leader(origin, caller, write).await,
        }
    }

    async fn write_at_leader(
        &self,
        origin: Origin,
        caller: &Caller,
        write: Write,
    ) -> Result<WriteReply, RpcError> {
        let mut hold = self.hold();
        let mut encoded = None;
        loop {
            if self.leads_on() {
                let changed = self.leading().notified();
                // Kept for the case that the lead is lost before anything is proposed.
                match self.write_here(write.clone()).await {
                    Err(RpcError::NoLeader) => {
                        if !self.wait(&mut hold, pin!(changed)).await? {
                            return Err(RpcError::NoLeader);
                        }
                        continue;
                    }
                    done => return done,
                }
            }
            let (method, body) = match &encoded {
                Some(encoded) => encoded,
                None => encoded.insert(
                    rpc::encode_write(&write, &self.options().datacenter, caller.token.secret())
                        .ok_or_else(|| {
                            RpcError::Invalid("this write cannot be sent to a server".to_owned())
                        })?,
                ),
            };
            // Large, and not needed on the leader: kept out of this future.
            let asked = Box::pin(self.at_leader(origin, &mut hold, method, body)).await?;
            if let Some(reply) = asked {
                return rpc::decode_write_reply(&write, &reply).map_err(|err| unreadable(&err));
            }
        }
    }

    /// Evaluates a transaction that only reads.
    async fn txn_read(
        &self,
        ops: &[TxnOp],
        consistency: Consistency,
    ) -> Result<WriteReply, RpcError> {
        let _timed = Stopwatch::start(self.env(), &self.figures().txn_read);
        let need = Need::Read(consistency);
        let options = ReadOptions {
            consistency,
            ..ReadOptions::default()
        };
        let in_effect = self.read_guarantee(need, &options).await?;
        let errors = self.refused_ops(ops);
        let outcome = if errors.is_empty() {
            self.store().load().version.txn_read(ops)
        } else {
            TxnOutcome {
                errors,
                ..TxnOutcome::default()
            }
        };
        let meta = self.once_meta(in_effect);
        Ok(WriteReply::TxnRead(Box::new(outcome), meta))
    }

    /// Writes as the leader. `NoLeader` says that nothing was proposed.
    async fn write_here(&self, write: Write) -> Result<WriteReply, RpcError> {
        let _timed =
            { self.figures().of_write(&write) }.map(|timer| Stopwatch::start(self.env(), timer));
        match write {
            Write::Register(mut register) => {
                validate::register(&mut register)?;
                self.done(Command::Register(register)).await
            }
            Write::Deregister(deregister) => {
                if deregister.node.is_empty() {
                    return Err(RpcError::Invalid("Must provide node".to_owned()));
                }
                self.done(Command::Deregister(deregister)).await
            }
            Write::Kv(op, entry) => self.kv(op, entry).await,
            Write::SessionCreate(session) => self.create_session(session).await,
            Write::SessionDestroy(id) => self.done(Command::SessionDestroy(id)).await,
            Write::SessionRenew(id) => {
                if !self.raft().is_current() {
                    // Somebody else may lead already, and end the session that this answer would call alive.
                    return Err(RpcError::NoLeader);
                }
                let found = self.store().load().version.session(&id).cloned();
                if found.is_some() {
                    self.soft()
                        .sessions
                        .lock()
                        .on_renewed(self.env().mono(), id);
                }
                Ok(WriteReply::Renewed(found.into_iter().collect()))
            }
            Write::Txn(ops) => self.txn(ops).await,
            Write::Coordinate(entry) => {
                if self.options().disable_coordinates {
                    return Err(RpcError::CoordinatesDisabled);
                }
                self.coordinates()
                    .lock()
                    .on_update(entry)
                    .map_err(|err| RpcError::Invalid(err.to_string()))?;
                Ok(WriteReply::Done)
            }
            // Served by every server, and not here.
            Write::TxnRead(..) | Write::EventFire(_) => Ok(WriteReply::Done),
            Write::Autopilot { config, cas } => {
                match self.propose(Command::Autopilot { config, cas }).await? {
                    Outcome::Verdict(verdict) => Ok(WriteReply::Verdict(verdict)),
                    _ => Ok(WriteReply::Verdict(true)),
                }
            }
            Write::PreparedQuery(op, query) => self.prepared_query(op, query).await,
            Write::RaftRemovePeer(peer) => self.remove_peer(peer).await,
        }
    }

    async fn prepared_query(
        &self,
        op: QueryOp,
        mut query: Box<PreparedQuery>,
    ) -> Result<WriteReply, RpcError> {
        if op == QueryOp::Create {
            if !query.id.is_empty() {
                return Err(RpcError::Invalid(
                    "ID must be empty when creating a new prepared query".to_owned(),
                ));
            }
            let is_taken = |version: &Version, id: &Uuid| version.prepared_query(id).is_some();
            query.id = text(&self.fresh_id(is_taken).to_string());
        }
        let known = self.known_query(op, &query.id)?;
        let command = if op == QueryOp::Delete {
            Command::QueryDelete(known)
        } else {
            validate::prepared_query(&query)?;
            // In its usual form, however the client wrote it.
            let id = text(&known.to_string());
            Command::QuerySet(Box::new(PreparedQuery {
                id,
                ..(*query).clone()
            }))
        };
        self.propose(command).await?;
        Ok(WriteReply::PreparedQuery(query.id))
    }

    /// The ID of a query that is to be changed, which must be there, or of one that is new.
    fn known_query(&self, op: QueryOp, given: &str) -> Result<Uuid, RpcError> {
        let id = parse_query(given)
            .map_err(|why| RpcError::Invalid(format!("Prepared Query lookup failed: {why}")))?;
        let is_there = |id: &Uuid| {
            op == QueryOp::Create || self.store().load().version.prepared_query(id).is_some()
        };
        id.filter(is_there).ok_or_else(|| {
            RpcError::Invalid(format!(
                "Cannot modify non-existent prepared query: '{given}'"
            ))
        })
    }

    /// Proposes a command and waits until it is applied here.
    ///
    /// # Errors
    /// As [`Server::write`]; `NoLeader` says that it was not proposed.
    pub(crate) async fn propose(&self, command: Command) -> Result<Outcome, RpcError> {
        let mut payload = Vec::new();
        entry::encode(&command, &mut payload);
        self.figures().proposals.increment(1);
        let timed = Stopwatch::start(self.env(), &self.figures().commit_time);
        let outcome = self.raft().propose(Bytes::from(payload)).await;
        if outcome.is_err() {
            timed.discard();
        }
        match outcome {
            Ok(Outcome::Refused(err)) => Err(RpcError::State(err)),
            Ok(outcome) => Ok(outcome),
            Err(ProposeError::Refused { .. }) if self.stop().is_cancelled() => {
                Err(RpcError::ShuttingDown)
            }
            Err(err) => Err(propose_error(err)),
        }
    }

    async fn done(&self, command: Command) -> Result<WriteReply, RpcError> {
        self.propose(command).await?;
        Ok(WriteReply::Done)
    }

    async fn kv(
        &self,
        op: KvOp,
        entry: tribune_types::kv::KvEntry,
    ) -> Result<WriteReply, RpcError> {
        if entry.key.is_empty() && op != KvOp::DeleteTree {
            return Err(RpcError::Invalid("Must provide key".to_owned()));
        }
        if op == KvOp::Lock
            && self
                .soft()
                .delays
                .lock()
                .is_delayed(self.env().mono(), &entry.key)
        {
            return Ok(WriteReply::Verdict(false));
        }
        match self.propose(Command::Kv(op, entry)).await? {
            Outcome::Verdict(verdict) => Ok(WriteReply::Verdict(verdict)),
            _ => Ok(WriteReply::Verdict(true)),
        }
    }

    async fn create_session(&self, mut session: Box<Session>) -> Result<WriteReply, RpcError> {
        validate::session(&mut session, self.options().session_ttl_min)?;
        session.id = self.fresh_id(|version, id| version.session(id).is_some());
        let id = session.id;
        match self.propose(Command::SessionCreate(session)).await? {
            Outcome::Session(id) => Ok(WriteReply::Session(id)),
            _ => Ok(WriteReply::Session(id)),
        }
    }

    /// An ID that nothing has.
    fn fresh_id(&self, is_taken: impl Fn(&Version, &Uuid) -> bool) -> Uuid {
        loop {
            let mut bytes = [0; 16];
            self.env().fill_random(&mut bytes);
            let id = Uuid::from_random(bytes);
            if !is_taken(&self.store().load().version, &id) {
                return id;
            }
        }
    }

    async fn txn(&self, ops: Vec<TxnOp>) -> Result<WriteReply, RpcError> {
        let refused = self.refused_ops(&ops);
        if !refused.is_empty() {
            return Ok(refused_txn(refused));
        }
        match self.propose(Command::Txn(ops)).await? {
            Outcome::Txn(outcome) => Ok(WriteReply::Txn(outcome)),
            _ => Ok(WriteReply::Txn(Box::default())),
        }
    }

    /// Operations that are refused before anything is proposed.
    fn refused_ops(&self, ops: &[TxnOp]) -> Vec<TxnError> {
        let now = self.env().mono();
        let delays = self.soft().delays.lock();
        ops.iter()
            .enumerate()
            .filter_map(|(op_index, op)| match op {
                TxnOp::Kv(verb, entry) if entry.key.is_empty() && *verb != KvVerb::DeleteTree => {
                    Some(TxnError {
                        op_index,
                        what: "Must provide key".to_owned(),
                    })
                }
                TxnOp::Kv(KvVerb::Lock, entry) if delays.is_delayed(now, &entry.key) => {
                    Some(TxnError {
                        op_index,
                        what: format!(
                            "failed to lock key {:?} due to lock delay",
                            String::from_utf8_lossy(&entry.key)
                        ),
                    })
                }
                _ => None,
            })
            .collect()
    }

    async fn remove_peer(&self, peer: PeerRef) -> Result<WriteReply, RpcError> {
        let membership = self.raft().membership();
        let found = match &peer {
            PeerRef::Address(addr) => membership.peers.iter().find(|s| *s.addr == **addr),
            PeerRef::Id(_) => {
                let id = peer.node_id();
                membership.peers.iter().find(|s| Some(s.id) == id)
            }
        };
        let Some(server) = found else {
            let (kind, name) = match &peer {
                PeerRef::Address(addr) => ("address", addr),
                PeerRef::Id(id) => ("id", id),
            };
            return Err(RpcError::Invalid(format!(
                "{kind} {name:?} was not found in the Raft configuration"
            )));
        };
        self.raft()
            .remove(server.id)
            .await
            .map_err(|err| match err {
                MembershipError::NotLeader { .. } => RpcError::NoLeader,
                err => RpcError::Invalid(err.to_string()),
            })?;
        Ok(WriteReply::Done)
    }
}

fn refused_txn(errors: Vec<TxnError>) -> WriteReply {
    WriteReply::Txn(Box::new(TxnOutcome {
        errors,
        ..TxnOutcome::default()
    }))
}

fn propose_error(err: ProposeError) -> RpcError {
    match err {
        ProposeError::NotLeader { .. } => RpcError::NoLeader,
        ProposeError::Refused { .. } => RpcError::Storage(text(&err.to_string()).to_string()),
        _ => RpcError::FateUnknown,
    }
}
