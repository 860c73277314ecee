//! Sessions, and keeping one alive.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Client, Error, QueryOptions, Request, host, kv::drain};

/// What a new session shall be; empty fields take the server's defaults.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SessionRequest {
    /// Name for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Node to bind it to; that of the agent asked unless given. Another datacenter does not know the agent's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// Checks whose failure ends it; the node's health unless given, none for an empty list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<Vec<String>>,
    /// Time to live, a Go duration.
    #[serde(rename = "TTL", skip_serializing_if = "String::is_empty")]
    pub ttl: String,
    /// How long its keys stay barred after it ended, a Go duration.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lock_delay: String,
    /// `release` or `delete`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub behavior: String,
}

/// A session as far as this client looks at it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SessionEntry {
    /// UUID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Node it is bound to.
    pub node: String,
    /// Time to live, a Go duration; empty for none.
    #[serde(rename = "TTL")]
    pub ttl: String,
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

impl Client {
    /// Creates a session on the agent's node and returns its ID.
    pub fn session_create(
        &self,
        wanted: &SessionRequest,
        options: &QueryOptions,
    ) -> Result<String, Error> {
        let request = Request::new("PUT", "/v1/session/create")
            .write_options(options)
            .json(wanted);
        Ok(self.query::<Created>(request)?.0.id)
    }

    /// Ends a session.
    pub fn session_destroy(&self, id: &str, options: &QueryOptions) -> Result<(), Error> {
        let path = format!("/v1/session/destroy/{id}");
        self.send_done(Request::new("PUT", &path).write_options(options))
    }

    /// Resets a session's clock; `false` when it is gone.
    pub fn session_renew(&self, id: &str, options: &QueryOptions) -> Result<bool, Error> {
        let path = format!("/v1/session/renew/{id}");
        let mut response = self.send(Request::new("PUT", &path).write_options(options))?;
        match response.status {
            200 => drain(&mut response),
            404 => {
                drain(&mut response);
                return Ok(false);
            }
            status => {
                let body = response.text_limited()?;
                return Err(Error::Status { status, body });
            }
        }
        Ok(true)
    }

    /// Renews a session every half of `ttl` until `stop` says or hangs up, then destroys it. Gives up when the
    /// session is gone or could not be renewed for a whole `ttl`.
    pub fn session_renew_until(
        &self,
        id: &str,
        ttl: Duration,
        stop: &Receiver<()>,
        options: &QueryOptions,
    ) -> Result<(), Error> {
        let mut wait = ttl / 2;
        let mut last_good = host::now();
        loop {
            match stop.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                    return self.session_destroy(id, options);
                }
            }
            match self.session_renew(id, options) {
                Ok(true) => {
                    wait = ttl / 2;
                    last_good = host::now();
                }
                Ok(false) => return Ok(()),
                Err(e) if last_good.elapsed() > ttl => return Err(e),
                Err(_) => wait = Duration::from_secs(1).min(ttl / 2),
            }
        }
    }
}
