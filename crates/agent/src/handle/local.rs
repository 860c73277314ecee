//! This agent: its services, checks, events and process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::info;
use tribune_config::Config;
use tribune_local::{Action, CheckEntry, Refusal, Registry, ServiceEntry, Source};
use tribune_types::caller::Caller;
use tribune_types::catalog::{Check, NODE_MAINTENANCE, SERVICE_MAINTENANCE_PREFIX, Status};
use tribune_types::definition::{CheckDefinition, ServiceDefinition};
use tribune_types::error::RpcError;
use tribune_types::event::UserEvent;
use tribune_types::keyring::{KeyringRequest, KeyringResponse};
use tribune_types::member::Member;
use tribune_types::text::{Text, text};
use tribune_types::time::Mono;

use super::Handle;
use crate::gossip::{self, Pool};
use crate::info::{AggregatedStatus, Identity, LocalCheck, LocalHealth, LocalService};
use crate::local_state::{LocalAgent, ProcessRequest};
use crate::tokens::TokenError;

/// Why a local request failed. `Display` gives the text clients see; the variant gives the HTTP status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocalError {
    /// The request is wrong (400).
    #[error("{0}")]
    Invalid(String),
    /// The named thing does not exist here (404).
    #[error("{0}")]
    NotFound(String),
    /// Anything else (500, or the status of the wrapped error).
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

/// A reported result of a TTL check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckUpdate {
    /// New status.
    pub status: Status,
    /// New output; cut at the check's limit.
    pub output: String,
}

/// How long a registration waits for the catalog.
const PUSH_WAIT: Duration = Duration::from_millis(100);

impl Handle {
    /// Who this agent is.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// The settings in effect now; changes with a reload.
    pub fn config(&self) -> Arc<Config> {
        self.local().config()
    }

    /// Members of the LAN pool, or of the WAN pool: none if this agent is not in it.
    pub fn members(&self, wan: bool) -> Arc<[Member]> {
        let (pool, lan) = (self.pool(wan), &self.inner.lan);
        match pool {
            Some(pool) => pool.members(),
            None if lan.is_some() => Arc::default(),
            None => self.local().lone_member(wan, &self.inner.revision),
        }
    }

    fn pool(&self, wan: bool) -> Option<&Pool> {
        let pool = if wan {
            &self.inner.wan
        } else {
            &self.inner.lan
        };
        pool.as_ref()
    }

    /// Number of members of the LAN pool in any state.
    pub(crate) fn member_count(&self) -> usize {
        self.inner.lan.as_ref().map_or(1, Pool::member_count)
    }

    /// True if the gossip of the LAN pool is encrypted.
    pub fn is_gossip_encrypted(&self) -> bool {
        self.inner.lan.as_ref().is_some_and(Pool::is_encrypted)
    }

    /// Local services in ID order.
    pub fn services(&self) -> Vec<LocalService> {
        self.local()
            .look(|core| core.services().map(service_of).collect())
    }

    /// One local service.
    pub fn service(&self, id: &str) -> Option<LocalService> {
        self.local().look(|core| core.service(id).map(service_of))
    }

    /// Waits until the content hash of a local service differs from `hash`, it is gone, or `wait` is over. Cancel safe.
    pub async fn service_changed(
        &self,
        id: &str,
        hash: &str,
        wait: Duration,
    ) -> Option<LocalService> {
        let local = self.local();
        let changed = async {
            loop {
                let news = local.services_changed().notified();
                tokio::pin!(news);
                // Enabled before the look, so that no change falls between.
                news.as_mut().enable();
                let service = self.service(id);
                if service
                    .as_ref()
                    .is_none_or(|service| &*service.content_hash != hash)
                {
                    return;
                }
                news.await;
            }
        };
        // Out of time is an answer like any other.
        let _ = local.env().timeout(wait, changed).await;
        self.service(id)
    }

    /// Local checks in ID order.
    pub fn checks(&self) -> Vec<LocalCheck> {
        self.local()
            .look(|core| core.checks().map(check_of).collect())
    }

    /// Health of the local instances of a service.
    pub fn health_by_name(&self, name: &str) -> Vec<LocalHealth> {
        self.local().look(|core| {
            core.services()
                .filter(|entry| &*entry.service.name == name)
                .map(|entry| health_of(core, entry))
                .collect()
        })
    }

    /// Health of one local instance.
    pub fn health_by_id(&self, id: &str) -> Option<LocalHealth> {
        self.local()
            .look(|core| core.service(id).map(|entry| health_of(core, entry)))
    }

    /// Registers or replaces a service with its checks; stored on disk before it answers.
    ///
    /// # Errors
    /// A wrong definition changes nothing. After a failed write the service is registered, but perhaps not after a
    /// restart.
    pub async fn register_service(
        &self,
        caller: &Caller,
        definition: ServiceDefinition,
        replace_existing_checks: bool,
    ) -> Result<(), LocalError> {
        let token = token_of(caller);
        self.change(|core, now, out| {
            core.register_service(
                now,
                &definition,
                &token,
                Source::Api,
                replace_existing_checks,
                out,
            )
        })
        .await
    }

    /// Removes a service with its checks and its sidecar. Unknown ones are fine while ACLs are off.
    pub async fn deregister_service(&self, _caller: &Caller, id: &str) -> Result<(), LocalError> {
        self.change(|core, now, out| {
            core.deregister_service(now, id, out);
            Ok(())
        })
        .await
    }

    /// Registers or replaces a check.
    ///
    /// # Errors
    /// As [`Handle::register_service`].
    pub async fn register_check(
        &self,
        caller: &Caller,
        mut definition: CheckDefinition,
    ) -> Result<(), LocalError> {
        // The token of the request counts, not one in its body.
        definition.token = token_of(caller);
        self.change(|core, now, out| {
            core.register_check(now, &definition, &Text::default(), Source::Api, out)
        })
        .await
    }

    /// Removes a check.
    pub async fn deregister_check(&self, _caller: &Caller, id: &str) -> Result<(), LocalError> {
        self.change(|core, now, out| {
            core.deregister_check(now, id, out);
            Ok(())
        })
        .await
    }

    /// Reports the result of a TTL check.
    pub async fn update_check(
        &self,
        _caller: &Caller,
        id: &str,
        update: CheckUpdate,
    ) -> Result<(), LocalError> {
        let jitter = self.local().update_jitter();
        self.change(|core, now, out| {
            core.on_report(now, id, update.status, &update.output, jitter, out)
        })
        .await
    }

    /// Turns maintenance mode of a service on (with a reason, which may be empty) or off (`None`).
    pub async fn service_maintenance(
        &self,
        caller: &Caller,
        id: &str,
        reason: Option<&str>,
    ) -> Result<(), LocalError> {
        let token = token_of(caller);
        self.change(|core, now, out| core.service_maintenance(now, id, reason, &token, out))
            .await
    }

    /// Turns maintenance mode of the node on (with a reason, which may be empty) or off (`None`).
    pub async fn node_maintenance(
        &self,
        caller: &Caller,
        reason: Option<&str>,
    ) -> Result<(), LocalError> {
        let token = token_of(caller);
        self.change(|core, now, out| {
            core.node_maintenance(now, reason, &token, out);
            Ok(())
        })
        .await
    }

    /// Reads the configuration again and applies what may change at run time.
    ///
    /// # Errors
    /// What is wrong with the configuration; then nothing has changed.
    pub async fn reload(&self, _caller: &Caller) -> Result<(), LocalError> {
        self.local().reload().await.map_err(failed)
    }

    /// Leaves gracefully; the process ends soon after this returned.
    pub async fn leave(&self, _caller: &Caller) -> Result<(), LocalError> {
        let (answer, done) = oneshot::channel();
        let ending = |_| LocalError::Rpc(RpcError::ShuttingDown);
        self.local()
            .process()
            .send(ProcessRequest::Leave(answer))
            .await
            .map_err(|_| ending(()))?;
        done.await.map_err(|_| ending(()))?.map_err(failed)
    }

    /// Joins the LAN or the WAN pool of an address.
    ///
    /// # Errors
    /// Nobody was reached, or this agent has no such pool.
    pub async fn join(&self, _caller: &Caller, addr: &str, wan: bool) -> Result<(), LocalError> {
        let pool = self.pool_to_join(wan).map_err(failed)?;
        let joined = pool.join(&[addr.to_owned()]).await;
        if joined.count == 0 {
            return Err(failed(joined.error_text()));
        }
        Ok(())
    }

    /// The pool that is to join others, or why there is none, in words for clients.
    pub(crate) fn pool_to_join(&self, wan: bool) -> Result<&Pool, String> {
        self.pool(wan).ok_or_else(|| {
            let why = match (wan, self.identity().server) {
                (true, false) => "Must be a server to join WAN cluster",
                (true, true) => "WAN Federation is disabled",
                (false, _) => "this agent is in no gossip pool",
            };
            why.to_owned()
        })
    }

    /// Declares a failed member as left; a server in the WAN pool, too.
    pub async fn force_leave(
        &self,
        _caller: &Caller,
        node: &str,
        prune: bool,
    ) -> Result<(), LocalError> {
        info!("Force leaving node: node={node}");
        let known = match &self.inner.lan {
            Some(lan) => {
                let wan = self.inner.wan.as_ref();
                gossip::force_leave(lan, wan, &self.identity().datacenter, node, prune)
                    .await
                    .map_err(|problem| failed(problem.to_owned()))?
            }
            // A pool whose only member is this agent, which has not failed.
            None => self
                .members(false)
                .iter()
                .any(|member| &*member.name == node),
        };
        if known {
            Ok(())
        } else {
            Err(failed(format!("agent: No node found with name '{node}'")))
        }
    }

    /// Carries out an operation on the gossip keys of all members of a server's pools: the WAN, the LAN, and the LAN of
    /// every other datacenter.
    ///
    /// # Errors
    /// This agent is no server, or another datacenter does not answer; what could be done is done then. What single pools
    /// and members say is in the answers.
    pub async fn keyring(
        &self,
        caller: &Caller,
        request: KeyringRequest,
    ) -> Result<Vec<KeyringResponse>, RpcError> {
        let lan = self.inner.lan.as_ref().filter(|_| self.identity().server);
        let Some(lan) = lan else {
            return Err(RpcError::Invalid(
                "keyring operations must run against a server node".to_owned(),
            ));
        };
        let datacenter = &self.identity().datacenter;
        let mut responses = Vec::new();
        let elsewhere = !request.local_only && !request.forwarded;
        let wan = self.inner.wan.as_ref().filter(|_| elsewhere);
        for (pool, is_wan) in wan
            .map(|pool| (pool, true))
            .into_iter()
            .chain([(lan, false)])
        {
            let result = pool.keyring(request.operation, &request.key, request.relay_factor);
            responses.push(result.await.response(is_wan, datacenter));
        }
        if let Some(router) = { self.inner.cluster.router() }.filter(|_| elsewhere) {
            responses.extend(router.keyring(caller, &request).await?);
        }
        Ok(responses)
    }

    /// The last events known to this agent, oldest first, and the index to wait for (1 if there is none).
    pub fn events(&self) -> (Vec<Arc<UserEvent>>, u64) {
        self.local().events.list()
    }

    /// Waits until the event index differs from `index`, or `wait` is over. Cancel safe.
    pub async fn events_changed(&self, index: u64, wait: Duration) {
        let local = self.local();
        // Out of time is an answer like any other.
        let _ = local
            .env()
            .timeout(wait, local.events.changed_from(index))
            .await;
    }

    /// Sets one of the agent's ACL tokens by its API name. Unknown names are `NotFound`.
    pub async fn set_token(
        &self,
        _caller: &Caller,
        kind: &str,
        token: Text,
    ) -> Result<(), LocalError> {
        self.local()
            .tokens
            .set(kind, token)
            .await
            .map_err(|err| match err {
                TokenError::Unknown(_) => LocalError::NotFound(err.to_string()),
                TokenError::NotKept(_) => failed(err.to_string()),
            })
    }

    pub(super) fn local(&self) -> &Arc<LocalAgent> {
        &self.inner.local
    }

    /// Changes the registry and waits until the change is on disk.
    async fn change(
        &self,
        change: impl FnOnce(&mut Registry, Mono, &mut Vec<Action>) -> Result<(), Refusal>,
    ) -> Result<(), LocalError> {
        let ((result, stamp), ticket) = self.local().change(|core, now, out| {
            let result = change(core, now, out);
            (result, core.change_stamp())
        });
        result?;
        if let Some(ticket) = ticket {
            ticket.done().await.map_err(|err| failed(err.to_string()))?;
        }
        self.pushed_soon(stamp).await;
        Ok(())
    }

    /// Waits a moment for the catalog, so that whoever registers and then asks finds what was registered. The push goes
    /// on beside the writing of files and is as good as always faster than the limit; without a leader the limit ends it.
    async fn pushed_soon(&self, stamp: u64) {
        let local = self.local();
        let pushed = async {
            loop {
                let next = local.sync.pushed.notified();
                if local.look(|core| core.is_pushed(stamp)) {
                    return;
                }
                next.await;
            }
        };
        // Out of time is an answer, too: the push goes on.
        let _ = local.env().timeout(PUSH_WAIT, pushed).await;
    }
}

impl From<Refusal> for LocalError {
    fn from(refusal: Refusal) -> LocalError {
        match refusal {
            Refusal::Invalid(text) => LocalError::Invalid(text),
            Refusal::NotFound(text) => LocalError::NotFound(text),
            Refusal::Failed(text) => failed(text),
        }
    }
}

/// A failure that is nobody's request's fault (500).
fn failed(text: String) -> LocalError {
    LocalError::Rpc(RpcError::Invalid(text))
}

fn token_of(caller: &Caller) -> Text {
    text(caller.token.secret())
}

fn service_of(entry: &ServiceEntry) -> LocalService {
    LocalService {
        service: Arc::clone(&entry.service),
        content_hash: entry.hash.clone(),
    }
}

fn check_of(entry: &CheckEntry) -> LocalCheck {
    LocalCheck {
        check: Arc::clone(&entry.check),
        check_type: entry.check_type.clone(),
    }
}

fn health_of(core: &Registry, entry: &ServiceEntry) -> LocalHealth {
    let checks: Vec<LocalCheck> = core.checks_of_service(entry).map(check_of).collect();
    let status = checks
        .iter()
        .map(|check| status_of(&check.check))
        .max()
        .unwrap_or(AggregatedStatus::Passing);
    LocalHealth {
        service: service_of(entry),
        checks,
        status,
    }
}

fn status_of(check: &Check) -> AggregatedStatus {
    if &*check.id == NODE_MAINTENANCE || check.id.starts_with(SERVICE_MAINTENANCE_PREFIX) {
        AggregatedStatus::Maintenance
    } else {
        check.status.into()
    }
}
