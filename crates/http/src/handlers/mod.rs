//! Handlers by area. Each reads its parameters and gives one step: a call on the agent's handle and a renderer.

pub(crate) mod agent;
pub(crate) mod catalog;
pub(crate) mod coordinate;
pub(crate) mod debug;
pub(crate) mod event;
pub(crate) mod health;
pub(crate) mod internal;
pub(crate) mod keyring;
pub(crate) mod kv;
pub(crate) mod later;
pub(crate) mod local_health;
pub(crate) mod operator;
pub(crate) mod query;
pub(crate) mod registration;
pub(crate) mod session;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod txn;

use std::sync::Arc;

use tribune_agent::handle::LocalError;
use tribune_api::errors::ApiError;
use tribune_types::text::Text;

use crate::cx::Cx;
use crate::step::{Planned, work};

/// The answer to a failed local request.
fn local(error: LocalError) -> ApiError {
    match error {
        LocalError::Invalid(text) => ApiError::bad(text),
        LocalError::NotFound(text) => ApiError::not_found(text),
        LocalError::Rpc(error) => error.into(),
    }
}

/// Refuses a request as the servers of its datacenter would.
fn refused(cx: &Arc<Cx>, datacenter: Option<Text>, text: String) -> Planned {
    let cx = Arc::clone(cx);
    work(async move { Err(cx.handle.refusal(datacenter.as_deref(), text).await.into()) })
}

/// A reply to a write that does not belong to it: the two sides disagree about the interface.
fn mismatched() -> ApiError {
    ApiError::new(500, "the servers gave an answer of another kind")
}
