//! Asking an agent for a listing, and believing only what an agent with a leader says.
//!
//! In: a client, a prefix, an index to wait beyond. Out: the index and the body, not read yet; no body where no key
//! exists. An answer without the headers of a query (a proxy's 404, another service on the port) is an error, as is one
//! from servers without a leader: neither may pass for "there are no keys".

use std::time::Duration;

use tribune_api::client::{Client, Error, QueryOptions, Request, Response};

/// Why there is no listing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// The call failed, or the agent refused.
    #[error("{0}")]
    Call(#[from] Error),
    /// The answer lacks what every agent says.
    #[error("answer with status {status} and no index: not from an agent")]
    NotAnAgent {
        /// HTTP status.
        status: u16,
    },
    /// The answer comes from servers that know no leader.
    #[error("its servers have no leader")]
    NoLeader,
}

/// A listing, not read yet.
pub(crate) struct Answer {
    /// Index of the prefix.
    pub(crate) index: u64,
    /// The listing; `None` where no key begins with the prefix.
    pub(crate) body: Option<Response>,
}

/// Asks for all entries below `prefix`.
pub(crate) fn list(
    client: &Client,
    prefix: &str,
    options: &QueryOptions,
) -> Result<Answer, AskError> {
    let request = Request::new("GET", &format!("/v1/kv/{prefix}"))
        .param("recurse", "")
        .options(options);
    let mut response = client.send(request)?;
    let status = response.status;
    if !matches!(status, 200 | 404) {
        let body = response.text_limited()?;
        return Err(Error::Status { status, body }.into());
    }
    let meta = response.meta();
    if meta.last_index == 0 {
        return Err(AskError::NotAnAgent { status });
    }
    if !meta.known_leader {
        return Err(AskError::NoLeader);
    }
    let index = meta.last_index;
    if status == 404 {
        response.text_limited()?;
        return Ok(Answer { index, body: None });
    }
    let body = Some(response);
    Ok(Answer { index, body })
}

/// As [`list`], by any server if its answer is at most `max_stale` old, else by the leader.
pub(crate) fn list_stale(
    client: &Client,
    prefix: &str,
    options: &QueryOptions,
    max_stale: Duration,
) -> Result<Answer, AskError> {
    if max_stale.is_zero() {
        return list(client, prefix, options);
    }
    let stale = QueryOptions {
        stale: true,
        ..options.clone()
    };
    let answer = list(client, prefix, &stale)?;
    let age = answer.body.as_ref().map(|body| body.meta().last_contact);
    // What says that there is nothing is asked of the leader in any case.
    if age.is_some_and(|age| age <= max_stale) {
        return Ok(answer);
    }
    drop(answer);
    let now = QueryOptions {
        wait_index: 0,
        ..options.clone()
    };
    list(client, prefix, &now)
}
