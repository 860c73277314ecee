//! The agent's ACL tokens: configured, set by the API, kept on disk if that is wanted.
//!
//! A token set through the API wins over the configured one for as long as the process runs and, with
//! `enable_token_persistence`, over restarts. File: spec agent.md section 3, mode 0600.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};
use tribune_config::Config;
use tribune_config::config::AclTokens;
use tribune_rt::Env;
use tribune_types::caller::Token;
use tribune_types::text::{Text, text};

const FILE_NAME: &str = "acl-tokens.json";
const FILE_MODE: u32 = 0o600;

/// The tokens and where they are kept.
pub(crate) struct Tokens {
    env: Env,
    file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    configured: AclTokens,
    /// Set through the API.
    set: Set,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Set {
    #[serde(skip_serializing_if = "Option::is_none")]
    replication: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_master: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
}

/// Why a token was not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("Token {0:?} is unknown")]
    Unknown(String),
    #[error("failed to persist ACL tokens: {0}")]
    NotKept(String),
}

impl Tokens {
    /// The tokens of a configuration, with kept ones over them. Blocks.
    pub(crate) fn load(env: &Env, config: &Config, data_dir: Option<&Path>) -> Tokens {
        let file = data_dir
            .filter(|_| config.acl.enable_token_persistence)
            .map(|dir| dir.join(FILE_NAME));
        let set = file
            .as_deref()
            .map(|path| read(env, path))
            .unwrap_or_default();
        let configured = config.reloadable.tokens.clone();
        Tokens {
            env: env.clone(),
            file,
            state: Mutex::new(State { configured, set }),
        }
    }

    /// Takes over newly configured tokens.
    pub(crate) fn configure(&self, tokens: &AclTokens) {
        self.state.lock().configured = tokens.clone();
    }

    /// For requests without a token.
    pub(crate) fn default_token(&self) -> Token {
        let state = self.state.lock();
        pick(&state.set.default, &state.configured.default)
    }

    /// For the agent's own work.
    pub(crate) fn agent_token(&self) -> Token {
        let own = {
            let state = self.state.lock();
            pick(&state.set.agent, &state.configured.agent)
        };
        if own.is_anonymous() {
            self.default_token()
        } else {
            own
        }
    }

    /// Sets a token by its name in the API.
    pub(crate) async fn set(&self, kind: &str, token: Text) -> Result<(), TokenError> {
        let set = {
            let mut state = self.state.lock();
            let slot = match kind {
                "default" | "acl_token" => &mut state.set.default,
                "agent" | "acl_agent_token" => &mut state.set.agent,
                "agent_master" | "acl_agent_master_token" => &mut state.set.agent_master,
                "replication" | "acl_replication_token" => &mut state.set.replication,
                other => return Err(TokenError::Unknown(other.to_owned())),
            };
            *slot = Some(token.to_string());
            state.set.clone()
        };
        let Some(path) = self.file.clone() else {
            return Ok(());
        };
        let (disk, random) = (self.env.disk(), self.env.random_u64());
        let work = move || {
            disk.write_atomic(
                &path,
                &serde_json::to_vec(&set).unwrap_or_default(),
                FILE_MODE,
                random,
            )
        };
        match self.env.spawn_blocking("tokens", work).join().await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(err)) => Err(TokenError::NotKept(err.to_string())),
            Err(err) => Err(TokenError::NotKept(err.to_string())),
        }
    }
}

fn pick(set: &Option<String>, configured: &Token) -> Token {
    match set {
        Some(token) => Token::new(text(token)),
        None => configured.clone(),
    }
}

fn read(env: &Env, path: &Path) -> Set {
    match env.disk().read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            // The content holds secrets; not even an excerpt is shown.
            error!(file = %path.display(), "stored ACL tokens cannot be read, they are not used");
            Set::default()
        }),
        Err(err) => {
            if err.kind() != std::io::ErrorKind::NotFound {
                warn!(file = %path.display(), %err, "stored ACL tokens cannot be opened");
            }
            Set::default()
        }
    }
}
