//! Asking an agent for a listing, and believing only what an agent with a leader says.
//!
//! In: a client, a prefix, an index to wait beyond. Out: the index and the body, not read yet; no body where no key
//! exists. An answer without the headers of a query (a proxy's 404, another service on the port) is an error, as is one
//! from servers without a leader: neither may pass for "there are no keys".

use std::{
    io::Read,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tribune_api::client::{Client, Error, QueryOptions, Request};

use crate::flow::POLL;

/// Keys asked about in one request: the servers' limit.
pub(crate) const AUTHORIZE_COUNT_MAX: usize = 64;

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
    /// It was asked for several flows.
    #[error("{0}")]
    Shared(Arc<AskError>),
    /// The job ends.
    #[error("stopped")]
    Stopped,
}

/// A listing, not read yet.
pub(crate) struct Answer {
    /// Index of the prefix.
    pub(crate) index: u64,
    /// How old it may be.
    pub(crate) age: Duration,
    /// The listing; `None` where no key begins with the prefix.
    pub(crate) body: Option<Box<dyn Read + Send>>,
    /// Of a body that several flows read: it broke off because this one was too slow.
    pub(crate) behind: Option<Arc<AtomicBool>>,
}

/// What one prefix of a source is asked, over and over.
pub(crate) struct Question {
    pub(crate) client: Client,
    pub(crate) prefix: String,
    pub(crate) datacenter: String,
    pub(crate) max_stale: Duration,
}

impl Question {
    /// Asks for the listing, and unless `index` is 0 waits until it is another than that of `index`.
    pub(crate) fn ask(&self, index: u64) -> Result<Answer, AskError> {
        let options = QueryOptions {
            datacenter: self.datacenter.clone(),
            wait_index: index,
            wait: if index == 0 { Duration::ZERO } else { POLL },
            ..QueryOptions::default()
        };
        list_stale(&self.client, &self.prefix, &options, self.max_stale)
    }
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
    let mut answer = Answer {
        index: meta.last_index,
        age: meta.last_contact,
        body: None,
        behind: None,
    };
    if status == 404 {
        response.text_limited()?;
    } else {
        answer.body = Some(Box::new(response));
    }
    Ok(answer)
}

/// As [`list`], by any server if its answer is at most `max_stale` old, else by the leader.
fn list_stale(
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
    // What says that there is nothing is asked of the leader in any case.
    if answer.body.is_some() && answer.age <= max_stale {
        return Ok(answer);
    }
    drop(answer);
    let now = QueryOptions {
        wait_index: 0,
        ..options.clone()
    };
    list(client, prefix, &now)
}

/// One question about access rules, and its answer.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Access {
    resource: String,
    access: String,
    segment: String,
    #[serde(default, skip_serializing)]
    allow: bool,
}

/// Which of the keys the client's token may read; `None` where no access rules apply. Listings leave out what may not be
/// read, without a word, so that a key that is missing from one may well exist.
pub(crate) fn may_read(
    client: &Client,
    keys: &[String],
    options: &QueryOptions,
) -> Result<Option<Vec<bool>>, AskError> {
    let question: Vec<Access> = keys
        .iter()
        .map(|key| Access {
            resource: "key".to_owned(),
            access: "read".to_owned(),
            segment: key.clone(),
            allow: false,
        })
        .collect();
    let request = Request::new("POST", "/v1/internal/acl/authorize")
        .write_options(options)
        .json(&question);
    match client.query::<Vec<Access>>(request) {
        Ok((answers, _)) if answers.len() == keys.len() => {
            Ok(Some(answers.iter().map(|answer| answer.allow).collect()))
        }
        // Fewer answers than questions say nothing for the keys.
        Ok(_) => Ok(Some(vec![false; keys.len()])),
        // Access rules are off (401), or this agent is too old to have them asked.
        Err(Error::Status {
            status: 401 | 404 | 405,
            ..
        }) => Ok(None),
        Err(e) => Err(e.into()),
    }
}
