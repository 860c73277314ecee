//! The write path on the leader: authorise, check what the state cannot, stamp, propose, translate the outcome.

use std::time::Duration;

use bytes::Bytes;
use tribune_raft::ProposeError;
use tribune_types::caller::Caller;
use tribune_types::command::{Command, Outcome};
use tribune_types::error::RpcError;
use tribune_types::id::Uuid;
use tribune_types::kv::KvOp;
use tribune_types::session::Session;
use tribune_types::text::text;
use tribune_types::txn::{KvVerb, TxnError, TxnOp, TxnOutcome};
use tribune_types::write::{PeerRef, Write, WriteReply};
use tribune_wire::entry;

use crate::{Server, validate};

impl Server {
    /// Writes. Dropping the future does not take the write back.
    ///
    /// # Errors
    /// Refusals leave everything unchanged; [`RpcError::FateUnknown`] and [`RpcError::Storage`] say that the write may
    /// or may not have happened.
    pub async fn write(
        &self,
        caller: &Caller,
        datacenter: Option<&str>,
        write: Write,
    ) -> Result<WriteReply, RpcError> {
        if datacenter.is_some_and(|dc| dc != &*self.options().datacenter) {
            return Err(RpcError::NoPath);
        }
        self.authorizer().write(caller, &write)?;
        self.wait_for_leadership().await?;
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
            Write::TxnRead(ops) => {
                let refused = self.refused_ops(&ops);
                if !refused.is_empty() {
                    return Ok(refused_txn(refused));
                }
                let outcome = self.store().load().version.txn_read(&ops);
                Ok(WriteReply::Txn(Box::new(outcome)))
            }
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
            Write::EventFire(_) => {
                // Events travel by gossip, which the agent owns; a server only authorises them.
                Ok(WriteReply::Done)
            }
            Write::Autopilot { config, cas } => {
                match self.propose(Command::Autopilot { config, cas }).await? {
                    Outcome::Verdict(verdict) => Ok(WriteReply::Verdict(verdict)),
                    _ => Ok(WriteReply::Verdict(true)),
                }
            }
            Write::RaftRemovePeer(peer) => self.remove_peer(peer).await,
        }
    }

    /// Proposes a command and waits until it is applied here.
    ///
    /// # Errors
    /// As [`Server::write`].
    pub(crate) async fn propose(&self, command: Command) -> Result<Outcome, RpcError> {
        let mut payload = Vec::new();
        entry::encode(&command, &mut payload);
        let deadline = self.env().mono() + self.options().rpc_hold_timeout;
        let payload = Bytes::from(payload);
        loop {
            match self.raft().propose(payload.clone()).await {
                Ok(Outcome::Refused(err)) => return Err(RpcError::State(err)),
                Ok(outcome) => return Ok(outcome),
                Err(ProposeError::NotLeader { .. }) if self.env().mono() < deadline => {
                    // Not proposed: safe to try again once there is a leader.
                    self.wait_for_leadership().await?;
                }
                Err(err) => return Err(propose_error(err)),
            }
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
        session.id = self.fresh_session_id();
        let id = session.id;
        match self.propose(Command::SessionCreate(session)).await? {
            Outcome::Session(id) => Ok(WriteReply::Session(id)),
            _ => Ok(WriteReply::Session(id)),
        }
    }

    fn fresh_session_id(&self) -> Uuid {
        loop {
            let mut bytes = [0; 16];
            self.env().fill_random(&mut bytes);
            let id = Uuid::from_random(bytes);
            if self.store().load().version.session(&id).is_none() {
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
            .map_err(|err| RpcError::Invalid(err.to_string()))?;
        Ok(WriteReply::Done)
    }

    /// Waits until this server leads, at most the hold time.
    ///
    /// # Errors
    /// `NoLeader`; nothing was done.
    pub(crate) async fn wait_for_leadership(&self) -> Result<(), RpcError> {
        if self.raft().is_leader_lease_valid() {
            return Ok(());
        }
        let deadline = self.env().mono() + self.options().rpc_hold_timeout;
        loop {
            if self.raft().is_leader_lease_valid() {
                return Ok(());
            }
            if self.stop().is_cancelled() {
                return Err(RpcError::ShuttingDown);
            }
            if self.env().mono() >= deadline {
                return Err(RpcError::NoLeader);
            }
            let changed = self.leading().notified();
            if self.raft().is_leader_lease_valid() {
                return Ok(());
            }
            // Leadership changes notify; the short sleep covers a lease that lapses and comes back silently.
            let _ = self.env().timeout(Duration::from_millis(50), changed).await;
        }
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
