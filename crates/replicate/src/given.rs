//! From what the command line says, and the files it names, to [`Settings`].
//!
//! A flag goes before the files, the files before environment variables. Lists (prefixes, excludes) add up; destinations
//! of flags replace those of files. A token is only sent to the agent it was given for: a source at an address of its own
//! gets its own token or none.

use std::{path::PathBuf, time::Duration};

use tribune_api::client::{ClientConfig, Scheme};

use crate::{
    file::{self, AgentBlock, FileSettings, Ssl},
    settings::{Endpoint, Level, Mirror, Retry, Settings, SettingsError},
    spec::{self, PrefixSpec},
};

/// Folder of status keys unless another is given: the one of the tool whose job this is.
const STATUS_DIR: &str = "service/consul-replicate/statuses";
/// Failures of one prefix in a row that end a single run.
const ONCE_ATTEMPTS: u32 = 12;
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// The command line.
#[derive(Debug, Clone)]
pub struct Given {
    /// The agent of the destination, from flags and environment.
    pub agent: ClientConfig,
    /// The agent's address comes from a flag.
    pub address_is_flag: bool,
    /// The token comes from a flag.
    pub token_is_flag: bool,
    /// Files and folders of configuration.
    pub config_paths: Vec<PathBuf>,
    /// `SOURCE[:DESTINATION]@DATACENTER`.
    pub prefixes: Vec<String>,
    /// Beginnings of source keys to leave alone.
    pub excludes: Vec<String>,
    /// Parts of source keys to leave alone.
    pub exclude_matches: Vec<String>,
    /// `[ADDRESS][@DATACENTER]`; none: the agent and its datacenter.
    pub destinations: Vec<String>,
    /// Address of the source's agent; empty: the destination's agent.
    pub source_address: String,
    /// Token for the source.
    pub source_token: String,
    /// Folder of status keys.
    pub status_dir: Option<String>,
    /// `MIN[:MAX]`.
    pub wait: Option<String>,
    /// Pause after a failure, always the same.
    pub retry: Option<Duration>,
    /// How old answers may be.
    pub max_stale: Option<Duration>,
    /// Least level of lines.
    pub log_level: Option<String>,
    /// One pass only.
    pub once: bool,
    /// An empty source may empty the destination.
    pub allow_empty: bool,
}

impl Given {
    /// A command line that names an agent and nothing else.
    pub fn new(agent: ClientConfig) -> Self {
        Self {
            agent,
            address_is_flag: false,
            token_is_flag: false,
            config_paths: Vec::new(),
            prefixes: Vec::new(),
            excludes: Vec::new(),
            exclude_matches: Vec::new(),
            destinations: Vec::new(),
            source_address: String::new(),
            source_token: String::new(),
            status_dir: None,
            wait: None,
            retry: None,
            max_stale: None,
            log_level: None,
            once: false,
            allow_empty: false,
        }
    }

    /// Reads the files and puts all together. Called again for a reload.
    pub fn settings(&self) -> Result<Settings, SettingsError> {
        let files = file::read(&self.config_paths)?;
        let agent = self.base(&files)?;
        let source = self.source(&agent, &files)?;
        let mut mirrors = Vec::new();
        for text in &self.prefixes {
            let spec = PrefixSpec::parse(text)?;
            let mut from = source.clone();
            if !spec.datacenter.is_empty() {
                from.datacenter = spec.datacenter;
            }
            mirrors.push(Mirror {
                destination: spec.destination.unwrap_or_else(|| spec.source.clone()),
                source: spec.source,
                from,
            });
        }
        for block in &files.prefixes {
            mirrors.push(Mirror {
                source: block.source.clone(),
                destination: block
                    .destination
                    .clone()
                    .unwrap_or_else(|| block.source.clone()),
                from: endpoint("source", &source, &block.from)?,
            });
        }
        let mut excludes = files.excludes.clone();
        excludes.extend(given_texts(&self.excludes));
        let mut exclude_matches = files.exclude_matches.clone();
        exclude_matches.extend(given_texts(&self.exclude_matches));
        let status_dir = self.status_dir.as_ref().or(files.status_dir.as_ref());
        let level = self.log_level.as_ref().or(files.log_level.as_ref());
        let settings = Settings {
            mirrors,
            destinations: self.destinations(&agent, &files)?,
            excludes,
            exclude_matches,
            status_dir: status_dir
                .map_or(STATUS_DIR, String::as_str)
                .trim_matches('/')
                .to_owned(),
            wait: self.wait(&files)?,
            retry: self.retry(&files),
            max_stale: self.max_stale.or(files.max_stale).unwrap_or_default(),
            log_level: match level {
                None => Level::Info,
                Some(name) => Level::parse(name).ok_or_else(|| SettingsError::Value {
                    name: "log level",
                    value: name.clone(),
                    wanted: "one of debug, info, warn, err",
                })?,
            },
            once: self.once,
            allow_empty: self.allow_empty,
            notes: files.notes,
        };
        settings.check()?;
        Ok(settings)
    }

    /// The destination's agent: flags, then files, then environment.
    fn base(&self, files: &FileSettings) -> Result<Endpoint, SettingsError> {
        let mut block = files.agent.clone();
        if self.address_is_flag {
            // Where the flag points, the files' TLS and password do not belong.
            (block.address, block.ssl, block.auth) = (None, None, None);
        }
        if self.token_is_flag {
            block.token = None;
        }
        let environment = Endpoint {
            config: self.agent.clone(),
            datacenter: String::new(),
        };
        // The environment's token goes along: both mean the same agent.
        let token = environment.config.token.clone();
        let mut base = endpoint("destination", &environment, &block)?;
        if block.token.is_none() {
            base.config.token = token;
        }
        Ok(base)
    }

    fn source(&self, agent: &Endpoint, files: &FileSettings) -> Result<Endpoint, SettingsError> {
        let mut block = files.source.clone().unwrap_or_default();
        if !self.source_address.is_empty() {
            block = AgentBlock {
                address: Some(self.source_address.clone()),
                ..AgentBlock::default()
            };
        }
        if !self.source_token.is_empty() {
            block.token = Some(self.source_token.clone());
        }
        endpoint("source", agent, &block)
    }

    fn destinations(
        &self,
        agent: &Endpoint,
        files: &FileSettings,
    ) -> Result<Vec<Endpoint>, SettingsError> {
        let mut blocks: Vec<AgentBlock> = files.destinations.clone();
        if !self.destinations.is_empty() {
            blocks = Vec::new();
            for text in &self.destinations {
                let (address, dc) = spec::destination(text);
                if text.contains('@') && !spec::is_datacenter(dc) {
                    return Err(SettingsError::Value {
                        name: "destination",
                        value: text.clone(),
                        wanted: "[ADDRESS][@DATACENTER]",
                    });
                }
                let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
                blocks.push(AgentBlock {
                    address: some(address),
                    datacenter: some(dc),
                    // One token for all that flags name.
                    token: some(&agent.config.token),
                    ..AgentBlock::default()
                });
            }
        }
        if blocks.is_empty() {
            return Ok(vec![agent.clone()]);
        }
        blocks
            .iter()
            .map(|block| endpoint("destination", agent, block))
            .collect()
    }

    fn wait(&self, files: &FileSettings) -> Result<Duration, SettingsError> {
        match &self.wait {
            None => Ok(files.wait.unwrap_or_default()),
            Some(text) => file::wait(text).ok_or_else(|| SettingsError::Value {
                name: "wait",
                value: text.clone(),
                wanted: "MIN[:MAX], two durations of which the second is not the shorter",
            }),
        }
    }

    fn retry(&self, files: &FileSettings) -> Retry {
        let attempts = match (files.retry_enabled, files.retry_attempts) {
            (Some(false), _) => Some(1),
            (_, Some(0)) => None,
            (_, Some(n)) => Some(n),
            (_, None) => self.once.then_some(ONCE_ATTEMPTS),
        };
        let backoff = self.retry.or(files.backoff).unwrap_or(BACKOFF);
        let longest = self.retry.or(files.backoff_max).unwrap_or(BACKOFF_MAX);
        Retry {
            attempts,
            // A pause of nothing would ask without end.
            backoff: backoff.max(Duration::from_millis(10)),
            backoff_max: longest.max(backoff).max(Duration::from_millis(10)),
        }
    }
}

/// Flags given as the empty text would exclude everything.
fn given_texts(list: &[String]) -> impl Iterator<Item = String> + '_ {
    list.iter().filter(|text| !text.is_empty()).cloned()
}

/// `base` with what `block` says. A new address takes neither token nor password along.
fn endpoint(
    what: &'static str,
    base: &Endpoint,
    block: &AgentBlock,
) -> Result<Endpoint, SettingsError> {
    let mut config = base.config.clone();
    let mut datacenter = base.datacenter.clone();
    if let Some(address) = &block.address {
        let https = config.scheme == Scheme::Https;
        let mut fresh =
            ClientConfig::new(address, https).map_err(|source| SettingsError::Address {
                what,
                address: address.clone(),
                source,
            })?;
        // Written out, the scheme of the address counts for it.
        if address.starts_with("http://") {
            fresh.scheme = Scheme::Http;
        }
        if fresh.address != config.address {
            fresh.tls = config.tls.clone();
            datacenter = String::new();
            config = fresh;
        } else {
            config.scheme = fresh.scheme;
        }
    }
    if let Some(token) = &block.token {
        config.token.clone_from(token);
    }
    if let Some(auth) = &block.auth {
        config.basic_auth = Some(auth.clone());
    }
    if let Some(Ssl { enabled, files }) = &block.ssl {
        config.scheme = if *enabled {
            Scheme::Https
        } else {
            Scheme::Http
        };
        config.tls = files.clone();
    }
    if let Some(dc) = &block.datacenter {
        datacenter.clone_from(dc);
    }
    Ok(Endpoint { config, datacenter })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn given(prefixes: &[&str]) -> Given {
        let mut given = Given::new(ClientConfig::new("127.0.0.1:8500", false).unwrap());
        given.prefixes = prefixes.iter().map(|p| (*p).to_owned()).collect();
        given
    }

    fn with_file(given: &mut Given, text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("r.hcl"), text).unwrap();
        given.config_paths = vec![dir.path().to_owned()];
        dir
    }

    #[test]
    fn flags_alone_are_enough() {
        let mut given = given(&["global@nyc1", "a:b@dc2"]);
        given.agent.token = "t".to_owned();
        let got = given.settings().unwrap();
        assert_eq!(got.status_dir, STATUS_DIR);
        assert_eq!(got.retry.attempts, None);
        let seen: Vec<_> = got
            .mirrors
            .iter()
            .map(|m| (m.source.as_str(), m.destination.as_str(), m.from.describe()))
            .collect();
        let want = [
            ("global", "global", "127.0.0.1:8500@nyc1".to_owned()),
            ("a", "b", "127.0.0.1:8500@dc2".to_owned()),
        ];
        assert_eq!(seen, want);
        assert_eq!(got.mirrors[0].from.config.token, "t");
        assert_eq!(got.destinations.len(), 1);
        given.once = true;
        assert_eq!(
            given.settings().unwrap().retry.attempts,
            Some(ONCE_ATTEMPTS)
        );
    }

    #[test]
    fn a_flag_goes_before_the_files_and_these_before_the_environment() {
        let mut given = given(&[]);
        given.agent.token = "environment".to_owned();
        let _dir = with_file(
            &mut given,
            "consul = \"files:1\"\ntoken = \"file\"\nstatus_dir = \"/s/\"\nretry = \"3s\"\nprefix { source = \"a\" }",
        );
        let got = given.settings().unwrap();
        assert_eq!(got.destinations[0].describe(), "files:1");
        assert_eq!(got.destinations[0].config.token, "file");
        assert_eq!(got.status_dir, "s");
        assert_eq!(got.retry.pause(5), Duration::from_secs(3));
        given.address_is_flag = true;
        given.token_is_flag = true;
        given.status_dir = Some("t".to_owned());
        given.prefixes = vec!["b@dc1".to_owned()];
        let got = given.settings().unwrap();
        assert_eq!(got.destinations[0].describe(), "127.0.0.1:8500");
        assert_eq!(got.destinations[0].config.token, "environment");
        assert_eq!(got.status_dir, "t");
        assert_eq!(got.mirrors.len(), 2);
    }

    #[test]
    fn a_token_stays_with_the_agent_it_was_given_for() {
        let mut given = given(&["a"]);
        given.agent.token = "here".to_owned();
        given.source_address = "there:1".to_owned();
        let got = given.settings().unwrap();
        assert_eq!(got.mirrors[0].from.config.token, "");
        assert_eq!(got.destinations[0].config.token, "here");
        given.source_token = "theirs".to_owned();
        let got = given.settings().unwrap();
        assert_eq!(got.mirrors[0].from.config.token, "theirs");
        let _dir = with_file(
            &mut given,
            "destination { address = \"x:1\" }\ndestination { datacenter = \"dc9\" }",
        );
        let got = given.settings().unwrap();
        let seen: Vec<_> = got
            .destinations
            .iter()
            .map(|d| (d.describe(), d.config.token.as_str()))
            .collect();
        let want = [
            ("x:1".to_owned(), ""),
            ("127.0.0.1:8500@dc9".to_owned(), "here"),
        ];
        assert_eq!(seen, want);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let refused = |given: &Given| given.settings().unwrap_err().to_string();
        assert!(refused(&given(&[])).contains("no prefix"));
        assert!(refused(&given(&["a@dc1", "a/b@dc2"])).contains("separate destinations"));
        assert!(refused(&given(&["a:x@dc1", "b:xy@dc1"])).contains("separate destinations"));
        let mut twice = given(&["a@dc1"]);
        twice.destinations = vec!["@dc2".to_owned(), "@dc2".to_owned()];
        assert!(refused(&twice).contains("twice"));
        twice.destinations = vec!["@d c".to_owned()];
        assert!(refused(&twice).contains("[ADDRESS][@DATACENTER]"));
        let mut level = given(&["a@dc1"]);
        level.log_level = Some("loud".to_owned());
        assert!(refused(&level).contains("log level"));
        let mut scheme = given(&["a@dc1"]);
        scheme.source_address = "ftp://x".to_owned();
        assert!(refused(&scheme).contains("ftp"));
        let mut status = given(&["a@dc1"]);
        status.status_dir = Some("/".to_owned());
        assert!(refused(&status).contains("status folder"));
    }
}
