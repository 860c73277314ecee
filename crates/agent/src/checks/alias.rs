//! Alias checks of a node of the catalog: a blocking query per check, evaluated on every change (spec agent.md 1.3).

use std::time::Duration;

use tribune_local::evaluate_remote_alias;
use tribune_types::definition::CheckType;
use tribune_types::error::RpcError;
use tribune_types::id::Index;
use tribune_types::query::{Consistency, Query, ReadOptions, Reply};
use tribune_types::text::Text;

use super::Outcome;
use crate::Handle;

/// Longest wait of one query.
const WAIT: Duration = Duration::from_secs(60);
/// Oldest answer that is taken from any server.
const STALE_MAX: Duration = Duration::from_secs(15);
/// Failures before the pauses grow.
const FAILURES_FREE: u32 = 3;
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Follows a node until the task is dropped.
pub(super) async fn follow(handle: &Handle, id: &Text, generation: u64, check: &CheckType) {
    let local = &handle.inner.local;
    let mut index = Index(0);
    let mut failures = 0u32;
    loop {
        match look(handle, id, check, index).await {
            Ok((outcome, next)) => {
                failures = 0;
                local.on_probe_result(id, generation, &outcome);
                // An index that goes back says that the state was replaced.
                index = if next < index { Index(0) } else { next };
            }
            Err(err) => {
                failures = failures.saturating_add(1);
                index = Index(0);
                let text = format!("Failure checking aliased node or service: {err}");
                local.on_probe_result(id, generation, &Outcome::critical(text));
                local
                    .env()
                    .sleep(pause(failures) + local.env().jitter(Duration::from_secs(1)))
                    .await;
            }
        }
    }
}

fn pause(failures: u32) -> Duration {
    let doubled = 1u64 << failures.saturating_sub(FAILURES_FREE).min(6);
    Duration::from_secs(doubled).min(PAUSE_MAX)
}

async fn look(
    handle: &Handle,
    id: &Text,
    check: &CheckType,
    index: Index,
) -> Result<(Outcome, Index), RpcError> {
    let local = &handle.inner.local;
    let caller = local.caller_for(&local.check_token(id));
    let options = ReadOptions {
        min_index: index,
        wait: Some(WAIT),
        consistency: Consistency::Stale,
        max_stale: Some(STALE_MAX),
        ..ReadOptions::default()
    };
    let node = check.alias_node.clone();
    let query = Query::NodeChecks {
        node: node.clone(),
        filter: Text::default(),
    };
    let answer = handle.read(&caller, query, &options).await?;
    let now = ReadOptions {
        min_index: Index(0),
        wait: None,
        ..options
    };
    let query = Query::NodeServices {
        node: node.clone(),
        filter: Text::default(),
    };
    let services = handle.read(&caller, query, &now).await?;
    let ids: Option<Vec<&str>> = match services.reply() {
        Reply::NodeServices(Some((_, list))) => Some(list.iter().map(|s| &*s.id).collect()),
        _ => None,
    };
    let checks = match answer.reply() {
        Reply::Checks(checks) => checks.as_slice(),
        _ => &[],
    };
    let own_node = &handle.inner.identity.node;
    let result = evaluate_remote_alias(
        &node,
        &check.alias_service,
        ids.as_deref(),
        checks,
        own_node,
        id,
    );
    let outcome = Outcome {
        status: result.status,
        output: result.output,
        thresholds: false,
    };
    Ok((outcome, answer.meta.index))
}
