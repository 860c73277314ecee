//! The `sync` task: brings the catalog in step with the local services and checks (spec agent.md section 2).
//!
//! Changes are pushed at once, up to 16 requests at a time; the registry keeps the order per item. A full comparison
//! runs at the start, then about every minute, and a while after something failed. Until the first comparison has
//! succeeded, failures are tried again within a second: at the start the leader is often not there yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{debug, info, warn};
use tribune_local::{
    Push, PushItem, PushResult, Registry, RemoteView, sync_delay_on_failure, sync_period,
};
use tribune_rt::TaskGroup;
use tribune_types::error::RpcError;
use tribune_types::query::{Consistency, Query, ReadOptions, Reply};
use tribune_types::text::Text;
use tribune_types::time::Mono;
use tribune_types::write::Write;

use crate::Handle;

/// Requests on their way at the same time.
const PUSHES_MAX: usize = 16;
/// Oldest view of the catalog to compare with.
const STALE_MAX: Duration = Duration::from_secs(2);
/// Longest time to the next try before the first success.
const START_DELAY: Duration = Duration::from_secs(1);

/// How the task is woken.
#[derive(Debug, Default)]
pub(crate) struct SyncSignals {
    /// Something is to be pushed.
    pub(crate) changed: Notify,
    /// A full comparison is wanted.
    pub(crate) full: Notify,
    /// The catalog answered to a push.
    pub(crate) pushed: Notify,
    pushers: AtomicUsize,
    failed: AtomicBool,
    ended: AtomicBool,
}

impl SyncSignals {
    /// Nothing is compared or pushed from now on: an agent that leaves would otherwise register itself again.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// Runs until the group stops.
pub(crate) async fn run(handle: Handle, tasks: TaskGroup) {
    let local = Arc::clone(&handle.inner.local);
    let env = local.env().clone();
    let stop = tasks.stop().clone();
    let mut succeeded = false;
    let mut alone = false;
    loop {
        if local.sync.has_ended() {
            return;
        }
        let done = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            result = compare(&handle) => result,
        };
        match &done {
            Ok(()) => (succeeded, alone) = (true, false),
            // A client that knows no server yet says so once.
            Err(RpcError::NoServers) if std::mem::replace(&mut alone, true) => {}
            Err(err) => warn!(%err, "failed to sync remote state"),
        }
        local.sync.failed.store(false, Ordering::Relaxed);
        start_pushers(&handle, &tasks);
        let now = env.mono();
        let mut deadline = match done {
            Ok(()) => {
                now + sync_period(
                    local.config().checks.sync_interval,
                    members(&handle),
                    random(&handle),
                )
            }
            Err(_) => retry_at(&handle, succeeded, now),
        };
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = local.sync.changed.notified() => {}
                () = local.sync.full.notified() => break,
                () = env.sleep_until(deadline) => break,
            }
            if local.sync.has_ended() {
                return;
            }
            if local.sync.failed.swap(false, Ordering::Relaxed) {
                deadline = deadline.min(retry_at(&handle, succeeded, env.mono()));
            }
            start_pushers(&handle, &tasks);
        }
    }
}

fn retry_at(handle: &Handle, succeeded: bool, now: Mono) -> Mono {
    let delay = if succeeded {
        sync_delay_on_failure(members(handle), random(handle))
    } else {
        START_DELAY.mul_f64(0.25 + 0.75 * random(handle))
    };
    now + delay
}

fn members(handle: &Handle) -> usize {
    handle.member_count()
}

/// A random number in [0, 1).
fn random(handle: &Handle) -> f64 {
    handle.inner.local.env().random_below(1 << 32) as f64 / (1u64 << 32) as f64
}

/// Reads the catalog's view of this node and marks what differs.
async fn compare(handle: &Handle) -> Result<(), RpcError> {
    let local = &handle.inner.local;
    let stamp = local.look(Registry::view_stamp);
    let node = handle.inner.identity.node.clone();
    let caller = local.own_caller();
    let options = ReadOptions {
        consistency: Consistency::Stale,
        max_stale: Some(STALE_MAX),
        ..ReadOptions::default()
    };
    let query = Query::NodeServices {
        node: node.clone(),
        filter: Text::default(),
    };
    let services = handle.read(&caller, query, &options).await?;
    if !services.meta.known_leader {
        return Err(RpcError::NoLeader);
    }
    let checks = handle
        .read(
            &caller,
            Query::NodeChecks {
                node,
                filter: Text::default(),
            },
            &options,
        )
        .await?;
    let (remote_node, remote_services) = match services.reply() {
        Reply::NodeServices(Some((node, services))) => (Some(&**node), services.as_slice()),
        _ => (None, &[][..]),
    };
    let remote_checks = match checks.reply() {
        Reply::Checks(checks) => checks.as_slice(),
        _ => &[],
    };
    let view = RemoteView {
        stamp,
        node: remote_node,
        services: remote_services,
        checks: remote_checks,
    };
    local.change(|core, _, out| {
        if core.on_remote_view(&view) {
            out.push(tribune_local::Action::ServicesChanged);
        }
    });
    Ok(())
}

/// Starts as many pushers as have work.
fn start_pushers(handle: &Handle, tasks: &TaskGroup) {
    let local = &handle.inner.local;
    let (open, pending) = local.look(|core| (core.has_push(), core.pending_count()));
    if !open {
        return;
    }
    let running = local.sync.pushers.load(Ordering::Relaxed);
    for _ in running..pending.clamp(1, PUSHES_MAX) {
        local.sync.pushers.fetch_add(1, Ordering::Relaxed);
        tasks.spawn("sync-push", push_all(handle.clone()));
    }
}

/// Pushes until there is nothing to push.
async fn push_all(handle: Handle) {
    let local = Arc::clone(&handle.inner.local);
    let _count = Pusher(&local.sync.pushers);
    while let Some(push) = local.change(|core, _, _| core.next_push()).0
        && !local.sync.has_ended()
    {
        let result = send(&handle, &push).await;
        local.change(|core, _, _| core.on_push_result(&push, result));
        local.sync.pushed.notify_waiters();
        if result == PushResult::Failed {
            local.sync.failed.store(true, Ordering::Relaxed);
            local.sync.changed.notify_one();
            return;
        }
    }
}

/// Counts a pusher down, however it ends.
struct Pusher<'a>(&'a AtomicUsize);

impl Drop for Pusher<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn send(handle: &Handle, push: &Push) -> PushResult {
    let local = &handle.inner.local;
    let (caller, write) = match &push.item {
        PushItem::Register(register)
            if register.service.is_none() && register.checks.is_empty() =>
        {
            (local.own_caller(), Write::Register(register.clone()))
        }
        PushItem::Register(register) => (
            local.caller_for(&push.token),
            Write::Register(register.clone()),
        ),
        PushItem::Deregister(deregister) => (
            local.caller_for(&push.token),
            Write::Deregister(deregister.clone()),
        ),
    };
    let what = name(&push.item);
    match handle.write(&caller, None, write).await {
        Ok(_) => {
            debug!(item = %what, "synced");
            PushResult::Done
        }
        Err(err) if err.is_denied() => {
            warn!(item = %what, "sync blocked by ACLs");
            metrics::counter!(blocked(&push.item)).increment(1);
            PushResult::Denied
        }
        Err(err) if is_removal(&push.item) && is_unknown(&err) => {
            info!(item = %what, "removed already");
            PushResult::Done
        }
        Err(err) => {
            warn!(item = %what, %err, "sync failed");
            PushResult::Failed
        }
    }
}

fn is_removal(item: &PushItem) -> bool {
    matches!(item, PushItem::Deregister(_))
}

fn is_unknown(err: &RpcError) -> bool {
    let text = err.to_string();
    text.contains("Unknown service") || text.contains("Unknown check")
}

fn blocked(item: &PushItem) -> &'static str {
    match item {
        PushItem::Register(r) if r.service.is_some() => "acl.blocked.service.registration",
        PushItem::Register(r) if !r.checks.is_empty() => "acl.blocked.check.registration",
        PushItem::Register(_) => "acl.blocked.node.registration",
        PushItem::Deregister(d) if !d.service_id.is_empty() => "acl.blocked.service.deregistration",
        PushItem::Deregister(_) => "acl.blocked.check.deregistration",
    }
}

/// The item for the log.
fn name(item: &PushItem) -> String {
    match item {
        PushItem::Register(r) => match (&r.service, r.checks.first()) {
            (Some(service), _) => format!("service {:?}", service.id),
            (None, Some(check)) => format!("check {:?}", check.id),
            (None, None) => "node".to_owned(),
        },
        PushItem::Deregister(d) if !d.service_id.is_empty() => {
            format!("removal of service {:?}", d.service_id)
        }
        PushItem::Deregister(d) => format!("removal of check {:?}", d.check_id),
    }
}
