//! The body of `/v1/session/create`. Lenient: unknown fields are ignored.

use std::time::Duration;

use tribune_types::catalog::SERF_HEALTH;
use tribune_types::session::{Behavior, ServiceCheckRef, Session};
use tribune_types::text::{Text, text};

use super::BodyError;
use super::decode::{At, duration_signed, fields, list, lower, string, string_list, top_fields};
use crate::json::{Json, JsonError, parse};

/// Delay of locks after invalidation unless the client says otherwise.
const LOCK_DELAY: Duration = Duration::from_secs(15);
/// A lock delay that came as a smaller number counts seconds.
const SECONDS_BELOW: i64 = 1000;

/// The session to create on `own_node` unless the body names another; an empty body gives the defaults.
pub fn session(body: &[u8], own_node: &Text) -> Result<Session, BodyError> {
    let mut session = Session {
        node: own_node.clone(),
        lock_delay: LOCK_DELAY,
        node_checks: Some(vec![text(SERF_HEALTH)]),
        ..Session::default()
    };
    if body.is_empty() {
        return Ok(session);
    }
    let json = parse(body)?;
    let mut behavior = Text::default();
    // `None`: not given.
    let mut checks = None;
    for (name, value) in top_fields(&json, "structs.Session")? {
        let at = At::top("", name);
        match &*lower(name) {
            "name" => string(&mut session.name, value, at)?,
            "node" => string(&mut session.node, value, at)?,
            "lockdelay" => lock_delay(&mut session.lock_delay, value)?,
            "behavior" => string(&mut behavior, value, at)?,
            "ttl" => string(&mut session.ttl, value, at)?,
            "nodechecks" => session.node_checks = string_list(value, at, "[]string")?,
            "servicechecks" => session.service_checks = service_checks(value, at)?,
            "checks" => {
                checks = Some(string_list(value, at, "[]types.CheckID")?.unwrap_or_default())
            }
            _ => {}
        }
    }
    if !behavior.is_empty() {
        session.behavior = match &*behavior {
            "release" => Behavior::Release,
            "delete" => Behavior::Delete,
            other => {
                return Err(BodyError::Refused(format!(
                    "Invalid Behavior setting '{other}'"
                )));
            }
        };
    }
    merge_checks(&mut session, checks);
    Ok(session)
}

/// Folds the older `Checks` field in: given but empty it removes the default check, a list that only repeats the
/// default is not kept, and without node checks it is dropped.
fn merge_checks(session: &mut Session, checks: Option<Vec<Text>>) {
    let Some(checks) = checks else { return };
    if checks.is_empty() {
        session.node_checks = Some(Vec::new());
    } else if session
        .node_checks
        .as_ref()
        .is_some_and(|list| !list.is_empty())
        && !matches!(&checks[..], [one] if &**one == SERF_HEALTH)
    {
        session.checks = Some(checks);
    }
}

fn lock_delay(into: &mut Duration, value: &Json<'_>) -> Result<(), JsonError> {
    if matches!(value, Json::Null) {
        return Ok(());
    }
    let mut nanos = duration_signed(value)?;
    if matches!(value, Json::Number(_)) && nanos < SECONDS_BELOW {
        nanos = nanos.saturating_mul(1_000_000_000);
    }
    *into = Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
    Ok(())
}

fn service_checks(value: &Json<'_>, at: At<'_>) -> Result<Option<Vec<ServiceCheckRef>>, JsonError> {
    let Some(items) = list(value, at, "[]structs.ServiceCheck")? else {
        return Ok(None);
    };
    let mut refs = Vec::with_capacity(items.len());
    for item in items {
        let mut one = ServiceCheckRef::default();
        for (name, value) in fields(item, at, "structs.ServiceCheck")?.unwrap_or_default() {
            let here = at.inside("ServiceCheck", name);
            match &*lower(name) {
                "id" => string(&mut one.id, value, here)?,
                "namespace" => string(&mut one.namespace, value, here)?,
                _ => {}
            }
        }
        refs.push(one);
    }
    Ok(Some(refs))
}
