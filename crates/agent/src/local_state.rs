//! The local half of the agent: its own services, checks, events, tokens and configuration.
//!
//! [`LocalAgent`] owns the rules ([`Registry`]) behind a mutex that is held for short synchronous sections only, and
//! carries out what they ask for: probes to the scheduler, files to the store (queued under the lock, so that files
//! follow the order of decisions), and news to the tasks and waiters. Four tasks: `checks`, `local-timers`,
//! `local-files`, `sync`; they end with their stop token.
//!
//! Limits: events 256; files and pushes are bounded by the requests that wait for them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{error, info, warn};
use tribune_config::Config;
use tribune_local::members::Pool;
use tribune_local::{Action, NodeInfo, Options, PortRange, Refusal, Registry};
use tribune_rt::{CancellationToken, Env, TaskGroup};
use tribune_types::caller::{Caller, Token};
use tribune_types::definition::{CheckDefinition, ServiceDefinition};
use tribune_types::member::{Member, MemberStatus};
use tribune_types::text::{Text, TextMap, text};
use tribune_types::time::Mono;

use crate::Handle;
use crate::checks::{Outcome, Scheduler, TlsFilesForChecks, TlsForChecks};
use crate::events::Events;
use crate::info::Identity;
use crate::persist::{
    self, FileOp, JournalError, Paths, Store, Ticket, encode_check, encode_service, encode_state,
};
use crate::sync::SyncSignals;
use crate::tokens::Tokens;
use crate::watches::Watches;

/// Reads the configuration again. Blocks; runs on a worker thread. The error is the text to show.
pub type Reload = Box<dyn Fn() -> Result<Config, String> + Send + Sync>;
/// Applies the parts of a reloaded configuration that are not local: log level, limits, TLS of listeners.
pub type Applied = Box<dyn Fn(&Arc<Config>) + Send + Sync>;

/// A wish to the owner of the process.
#[derive(Debug)]
pub(crate) enum ProcessRequest {
    /// Leave gracefully and end. Answer before ending.
    Leave(oneshot::Sender<Result<(), String>>),
}

/// What the local half is given at start.
pub(crate) struct LocalParts {
    /// Reads the configuration again.
    pub(crate) reload: Reload,
    /// Applies what is not local.
    pub(crate) applied: Applied,
    /// To the owner of the process.
    pub(crate) process: mpsc::Sender<ProcessRequest>,
}

/// Why the local half cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalStartError {
    /// A folder below the data folder cannot be made.
    #[error("failed to create {path}")]
    Folder {
        /// The folder.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Registrations cannot be made durable, or those of the last run cannot be brought into their files.
    #[error("{}: {}", .0, .0.source)]
    Journal(JournalError),
    /// A configured service or check is wrong.
    #[error(transparent)]
    Definition(#[from] Refusal),
}

/// This agent's own state and tasks. See the module header.
pub(crate) struct LocalAgent {
    env: Env,
    identity: Identity,
    core: Mutex<Registry>,
    config: RwLock<Arc<Config>>,
    paths: Option<Paths>,
    store: Option<Store>,
    scheduler: Arc<Scheduler>,
    timers: Notify,
    services_changed: Notify,
    tls: RwLock<TlsForChecks>,
    parts: LocalParts,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
    watches: Watches,
    pub(crate) tokens: Tokens,
    pub(crate) events: Events,
    pub(crate) sync: SyncSignals,
}

impl LocalAgent {
    /// Loads configured and stored services and checks. Blocks on files; nothing runs yet.
    pub(crate) fn new(
        env: &Env,
        identity: &Identity,
        config: Arc<Config>,
        parts: LocalParts,
    ) -> Result<Arc<LocalAgent>, LocalStartError> {
        let data_dir = config.data_dir.clone().filter(|_| !config.dev_mode);
        let paths = data_dir.as_deref().map(Paths::new);
        if let Some(paths) = &paths {
            for folder in [paths.services(), paths.states()] {
                env.disk()
                    .create_dir_all(&folder)
                    .map_err(|source| LocalStartError::Folder {
                        path: folder.display().to_string(),
                        source,
                    })?;
            }
        }
        let store = data_dir.as_deref().map(|dir| Store::open(env, dir));
        let store = store.transpose().map_err(LocalStartError::Journal)?;
        let registry = Registry::new(options(&config, identity), node_info(&config, identity));
        let agent = LocalAgent {
            core: Mutex::new(registry),
            store,
            paths,
            scheduler: Arc::new(Scheduler::new(env)),
            timers: Notify::new(),
            services_changed: Notify::new(),
            tls: RwLock::new(tls_for_checks(env, &config)),
            parts,
            reloading: tokio::sync::Mutex::new(()),
            watches: Watches::new(env),
            tokens: Tokens::load(env, &config, data_dir.as_deref()),
            events: Events::default(),
            sync: SyncSignals::default(),
            env: env.clone(),
            identity: identity.clone(),
            config: RwLock::new(config),
        };
        agent.load()?;
        Ok(Arc::new(agent))
    }

    /// Starts the tasks. They end when `tasks` stops.
    pub(crate) fn spawn_tasks(self: &Arc<Self>, handle: &Handle, tasks: &TaskGroup) {
        let stop = tasks.stop().clone();
        if let Some(store) = &self.store {
            tasks.spawn("local-files", store.clone().run(stop.clone()));
        }
        tasks.spawn(
            "checks",
            Arc::clone(&self.scheduler).run(handle.clone(), stop.clone()),
        );
        tasks.spawn("local-timers", Arc::clone(self).run_timers(stop.clone()));
        tasks.spawn("sync", crate::sync::run(handle.clone(), tasks.clone()));
        self.watches.replace(&self.config(), &self.tokens);
        let local = Arc::clone(self);
        tasks.spawn("watches-stop", async move {
            stop.cancelled().await;
            local.watches.stop();
        });
    }

    /// The world.
    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    /// The settings in effect.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read())
    }

    /// TLS settings of probes.
    pub(crate) fn tls_for_checks(&self) -> TlsForChecks {
        self.tls.read().clone()
    }

    /// Where wishes to the owner of the process go.
    pub(crate) fn process(&self) -> &mpsc::Sender<ProcessRequest> {
        &self.parts.process
    }

    /// Waits for the next change of local services. Enable the future before looking at them.
    pub(crate) fn services_changed(&self) -> &Notify {
        &self.services_changed
    }

    /// Looks at the registry.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Registry) -> T) -> T {
        look(&self.core.lock())
    }

    /// Changes the registry and carries out what follows. The ticket resolves when the change is on disk, and all changes
    /// before it: what is found done already may be so in memory only.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Registry, Mono, &mut Vec<Action>) -> T,
    ) -> (T, Option<Ticket>) {
        let mut actions = Vec::new();
        let now = self.env.mono();
        let mut core = self.core.lock();
        let wake_before = core.next_wake();
        let result = change(&mut core, now, &mut actions);
        let mut ops = Vec::new();
        let mut services_changed = false;
        for action in actions {
            match action {
                Action::ServicesChanged => services_changed = true,
                action => self.carry_out(&core, action, &mut ops),
            }
        }
        let ticket = { self.store.as_ref() }.and_then(|store| store.submit(ops));
        let earlier = match (core.next_wake(), wake_before) {
            (Some(after), Some(before)) => after < before,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let push = core.has_push();
        drop(core);
        if services_changed {
            self.services_changed.notify_waiters();
        }
        if earlier {
            self.timers.notify_one();
        }
        if push {
            self.sync.changed.notify_one();
        }
        (result, ticket)
    }

    fn carry_out(&self, core: &Registry, action: Action, ops: &mut Vec<FileOp>) {
        match action {
            Action::StartProbe {
                id,
                generation,
                check_type,
            } => self.scheduler.start(id, generation, check_type),
            Action::StopProbe { id } => self.scheduler.stop(&id),
            Action::Reaped { service, check } => {
                info!(%service, %check, "deregistered service that was critical for too long");
            }
            Action::ServicesChanged => {}
            file => {
                if let Some(paths) = &self.paths {
                    ops.extend(self.file_op(core, paths, file));
                }
            }
        }
    }

    fn file_op(&self, core: &Registry, paths: &Paths, action: Action) -> Option<FileOp> {
        Some(match action {
            Action::SaveService { id } => {
                let entry = core.service(&id)?;
                FileOp::Write(
                    paths.service(&id),
                    encode_service(&entry.service, &entry.token, entry.source).into(),
                )
            }
            Action::SaveCheck { id } => {
                let entry = core.check(&id)?;
                let bytes = encode_check(
                    &entry.check,
                    entry.check_type.as_deref(),
                    &entry.token,
                    entry.source,
                );
                FileOp::Write(paths.check(&id), bytes.into())
            }
            Action::SaveCheckState { id, ttl } => {
                let expires = (self.env.wall() + ttl).unix_secs();
                FileOp::Write(
                    paths.state(&id),
                    encode_state(&core.check(&id)?.check, expires).into(),
                )
            }
            Action::ForgetService { id } => FileOp::Remove(paths.service(&id)),
            Action::ForgetCheck { id } => FileOp::Remove(paths.check(&id)),
            Action::ForgetCheckState { id } => FileOp::Remove(paths.state(&id)),
            _ => return None,
        })
    }

    /// Takes the result of a run.
    pub(crate) fn on_probe_result(&self, id: &Text, generation: u64, outcome: &Outcome) {
        let jitter = self.update_jitter();
        self.change(|core, now, _| {
            core.on_result(
                now,
                id,
                generation,
                outcome.status,
                &outcome.output,
                outcome.thresholds,
                jitter,
            );
        });
    }

    /// A random part of the time that output may wait.
    pub(crate) fn update_jitter(&self) -> Duration {
        self.env.jitter(self.config.read().checks.update_interval)
    }

    /// Bytes of output a probe may keep.
    pub(crate) fn output_limit(&self, output_max_size: i64) -> usize {
        self.look(|core| core.output_limit(output_max_size))
    }

    /// Token of a check; empty if it has none of its own.
    pub(crate) fn check_token(&self, id: &str) -> Text {
        self.look(|core| {
            core.check(id)
                .map(|entry| entry.token.clone())
                .unwrap_or_default()
        })
    }

    /// The caller for work on an item with this token; without one the agent's default token counts.
    pub(crate) fn caller_for(&self, token: &Text) -> Caller {
        let token = if token.is_empty() {
            self.tokens.default_token()
        } else {
            Token::new(token.clone())
        };
        Caller { token, addr: None }
    }

    /// The caller for the agent's own work.
    pub(crate) fn own_caller(&self) -> Caller {
        Caller {
            token: self.tokens.agent_token(),
            addr: None,
        }
    }

    /// Members of a pool that is not there: this agent alone.
    pub(crate) fn lone_member(&self, wan: bool, revision: &str) -> Arc<[Member]> {
        let config = self.config();
        if wan && !config.server.enabled {
            return Arc::default();
        }
        own_member(&config, &self.identity, wan, revision)
            .into_iter()
            .collect()
    }

    /// Reads the configuration again and applies what may change (config.md section 6). The text says what is wrong;
    /// then nothing has changed.
    pub(crate) async fn reload(self: &Arc<Self>) -> Result<(), String> {
        let _one = self.reloading.lock().await;
        let local = Arc::clone(self);
        let read = self
            .env
            .spawn_blocking("reload", move || (local.parts.reload)());
        let new = Arc::new(read.join().await.map_err(|err| err.to_string())??);
        self.look_mut(Registry::pause);
        let result = self.apply_config(&new);
        self.look_mut(Registry::resume);
        if result.is_ok() {
            (self.parts.applied)(&new);
            self.watches.replace(&new, &self.tokens);
        }
        self.sync.changed.notify_one();
        result
    }

    fn look_mut(&self, change: impl FnOnce(&mut Registry)) {
        change(&mut self.core.lock());
    }

    fn apply_config(&self, new: &Arc<Config>) -> Result<(), String> {
        let reloadable = &new.reloadable;
        let (result, _ticket) = self.change(|core, now, out| {
            core.reload(now, &reloadable.services, &reloadable.checks, out)?;
            core.set_node_meta(node_meta(&reloadable.node_meta));
            core.set_discard_output(reloadable.discard_check_output);
            Ok::<_, Refusal>(())
        });
        result.map_err(|err| err.to_string())?;
        self.tokens.configure(&reloadable.tokens);
        *self.tls.write() = tls_for_checks(&self.env, new);
        *self.config.write() = Arc::clone(new);
        Ok(())
    }

    /// Enters configured and stored services and checks.
    fn load(&self) -> Result<(), LocalStartError> {
        let config = self.config();
        let disk = self.env.disk();
        let mut found = self
            .paths
            .as_ref()
            .map(|paths| persist::load(&disk, paths, self.env.wall()))
            .unwrap_or_default();
        for path in std::mem::take(&mut found.expired) {
            if let Err(err) = disk.remove_file(&path) {
                warn!(file = %path.display(), %err, "expired check state not removed");
            }
        }
        let (services, checks): (&[ServiceDefinition], &[CheckDefinition]) =
            (&config.reloadable.services, &config.reloadable.checks);
        let (result, _ticket) = self.change(|core, now, out| {
            core.reserve_ports(found.services.iter().map(|(service, _)| service.port));
            core.reload(now, services, checks, out)?;
            core.reserve_ports([]);
            for (service, token) in found.services {
                core.restore_service(now, service, token, out);
            }
            for check in found.checks {
                let id = check.check.id.clone();
                if let Err(err) = core.restore_check(now, check, out) {
                    warn!(check = %id, %err, "failed to restore check");
                }
            }
            for state in &found.states {
                core.restore_state(now, state);
            }
            Ok::<_, Refusal>(())
        });
        Ok(result?)
    }

    /// Expires TTL checks, sends postponed output and removes critical services, until `stop`.
    async fn run_timers(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let next = self.look(Registry::next_wake);
            let sleep = async {
                match next {
                    Some(at) => self.env.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.timers.notified() => {}
                () = sleep => {
                    let (_, ticket) = self.change(|core, now, out| core.on_time(now, out));
                    if let Some(ticket) = ticket
                        && let Err(err) = ticket.done().await
                    {
                        error!(%err, "change of local services not on disk");
                    }
                }
            }
        }
    }
}

fn options(config: &Config, identity: &Identity) -> Options {
    let range = config.port_ranges.sidecar;
    Options {
        server: identity.server,
        enable_scripts: config.checks.enable_scripts,
        enable_local_scripts: config.checks.enable_local_scripts,
        output_size_max: config.checks.output_size_max,
        discard_output: config.reloadable.discard_check_output,
        update_interval: config.checks.update_interval,
        reap_interval: config.checks.reap_interval,
        deregister_interval_min: config.checks.deregister_interval_min,
        sidecar_ports: (range.max > 0).then_some(PortRange {
            min: range.min,
            max: range.max,
        }),
    }
}

/// This node as it registers itself in the catalog.
pub(crate) fn node_info(config: &Config, identity: &Identity) -> NodeInfo {
    NodeInfo {
        id: identity.id,
        name: identity.node.clone(),
        address: text(&config.addrs.advertise_lan.to_string()),
        datacenter: identity.datacenter.clone(),
        tagged_addresses: config
            .node
            .tagged_addresses
            .iter()
            .map(|(k, v)| (text(k), text(v)))
            .collect(),
        meta: node_meta(&config.reloadable.node_meta),
    }
}

/// The node's metadata in the catalog: the configured pairs and the network segment, which is always the empty one.
fn node_meta(configured: &TextMap) -> TextMap {
    let mut meta = configured.clone();
    meta.insert(text("consul-network-segment"), Text::default());
    meta
}

fn tls_for_checks(env: &Env, config: &Config) -> TlsForChecks {
    let tls = &config.reloadable.tls;
    let files = config.tls.enable_for_checks.then(|| TlsFilesForChecks {
        ca_file: tls.ca_file.clone(),
        ca_path: tls.ca_path.clone(),
        cert_file: tls.cert_file.clone(),
        key_file: tls.key_file.clone(),
        server_name: config.node.server_name.clone(),
    });
    TlsForChecks::new(env.disk(), files)
}

/// This agent as a member of a pool (gossip.md section 10.1).
fn own_member(config: &Config, identity: &Identity, wan: bool, revision: &str) -> Option<Member> {
    let (gossip, pool): (SocketAddr, _) = if wan {
        (config.addrs.serf_wan_advertise?, Pool::Wan)
    } else {
        (config.addrs.serf_lan_advertise, Pool::Lan)
    };
    let name = if wan {
        crate::gossip::wan_name(&identity.node, &identity.datacenter)
    } else {
        identity.node.clone()
    };
    Some(Member {
        name,
        addr: text(&gossip.ip().to_string()),
        port: gossip.port(),
        tags: crate::gossip::tags(config, identity, revision, pool),
        status: MemberStatus::Alive,
        protocol: [1, 5, 2],
        delegate: [2, 5, 4],
    })
}

#[cfg(test)]
mod tests;
