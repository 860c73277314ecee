//! Configuration files of the replicator, HCL or JSON, in the style of the tool whose job this is.
//!
//! In: paths of files and folders (all files in a folder, below it too, by name). Out: one [`FileSettings`]; of a setting
//! given twice the later one counts, blocks that may repeat are collected. What a file may say:
//!
//! ```text
//! consul { address  token  auth { enabled username password }  ssl { ... }  retry { ... } }   or consul = "address"
//! ssl { enabled verify ca_cert ca_path cert key server_name }      token = ""      auth { ... }
//! source { address datacenter token ssl { ... } }                  where prefixes are copied from
//! destination { address datacenter token ssl { ... } }             repeatable
//! prefix { source datacenter destination address token }           repeatable
//! exclude { source }      excludematch { source }                  repeatable
//! retry = "5s"  or  retry { attempts backoff max_backoff }         wait = "5s:20s"  or  wait { min max }
//! max_stale  status_dir  log_level
//! ```
//!
//! Settings of the older tool that have no use here (`syslog`, `pid_file`, `kill_signal`, `reload_signal`) are noted and
//! passed over; any other unknown name is an error.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tribune_api::client::TlsFiles;
use tribune_config::{Format, ParseError, parse_free};
use tribune_types::{
    duration::parse_go,
    value::{Value, ValueMap},
};

/// Bytes a file may have.
const FILE_SIZE_MAX: u64 = 16 << 20;
/// Folders within folders that are looked into.
const DEPTH_MAX: usize = 16;

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is neither HCL nor JSON.
    #[error("cannot parse {}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: ParseError,
    },
    /// It says something that has no meaning.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What, and where.
        problem: String,
    },
}

/// How an agent is reached, as far as files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AgentBlock {
    pub(crate) address: Option<String>,
    pub(crate) datacenter: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) auth: Option<(String, String)>,
    pub(crate) ssl: Option<Ssl>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ssl {
    pub(crate) enabled: bool,
    pub(crate) files: TlsFiles,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PrefixBlock {
    pub(crate) source: String,
    pub(crate) destination: Option<String>,
    pub(crate) from: AgentBlock,
}

/// What files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileSettings {
    pub(crate) agent: AgentBlock,
    pub(crate) source: Option<AgentBlock>,
    pub(crate) destinations: Vec<AgentBlock>,
    pub(crate) prefixes: Vec<PrefixBlock>,
    pub(crate) excludes: Vec<String>,
    pub(crate) exclude_matches: Vec<String>,
    pub(crate) retry_attempts: Option<u32>,
    pub(crate) retry_enabled: Option<bool>,
    pub(crate) backoff: Option<Duration>,
    pub(crate) backoff_max: Option<Duration>,
    pub(crate) wait: Option<Duration>,
    pub(crate) max_stale: Option<Duration>,
    pub(crate) status_dir: Option<String>,
    pub(crate) log_level: Option<String>,
    pub(crate) notes: Vec<String>,
}

/// Reads all paths in order.
pub(crate) fn read(paths: &[PathBuf]) -> Result<FileSettings, FileError> {
    let mut settings = FileSettings::default();
    for path in paths {
        for file in files_below(path, 0)? {
            let problem = |source| FileError::Read {
                path: file.clone(),
                source,
            };
            let size = fs::metadata(&file).map_err(problem)?.len();
            if size > FILE_SIZE_MAX {
                return Err(problem(io::Error::other("it is too large")));
            }
            let text = fs::read_to_string(&file).map_err(problem)?;
            let format = match file.extension() {
                Some(ext) if ext == "json" => Format::Json,
                _ => Format::Hcl,
            };
            let map = parse_free(&text, format).map_err(|source| FileError::Parse {
                path: file.clone(),
                source,
            })?;
            let read = Reader { path: &file };
            read.top(&map, &mut settings)?;
        }
    }
    Ok(settings)
}

fn files_below(path: &Path, depth: usize) -> Result<Vec<PathBuf>, FileError> {
    let problem = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    if !fs::metadata(path).map_err(problem)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    if depth == DEPTH_MAX {
        return Err(problem(io::Error::other("too many folders in one another")));
    }
    let mut names: Vec<PathBuf> = fs::read_dir(path)
        .map_err(problem)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(problem)?;
    names.sort();
    let mut files = Vec::new();
    for name in names {
        files.extend(files_below(&name, depth + 1)?);
    }
    Ok(files)
}

/// Turns the values of one file into settings.
struct Reader<'a> {
    path: &'a Path,
}

impl Reader<'_> {
    fn wrong<T>(&self, problem: impl Into<String>) -> Result<T, FileError> {
        Err(FileError::Content {
            path: self.path.to_owned(),
            problem: problem.into(),
        })
    }

    fn top(&self, map: &ValueMap, out: &mut FileSettings) -> Result<(), FileError> {
        for (name, value) in map {
            let name: &str = name;
            match name {
                "consul" => match value {
                    Value::String(address) => out.agent.address = Some(address.to_string()),
                    value => {
                        for block in self.blocks(name, value)? {
                            self.consul(block, out)?;
                        }
                    }
                },
                "token" => out.agent.token = Some(self.text(name, value)?),
                "auth" => out.agent.auth = self.auth(name, value)?,
                "ssl" => out.agent.ssl = Some(self.ssl(name, value)?),
                "source" => {
                    for block in self.blocks(name, value)? {
                        out.source = Some(self.agent(name, block, &[])?);
                    }
                }
                "destination" => {
                    for block in self.blocks(name, value)? {
                        out.destinations.push(self.agent(name, block, &[])?);
                    }
                }
                "prefix" => {
                    for block in self.blocks(name, value)? {
                        out.prefixes.push(self.prefix(block)?);
                    }
                }
                "exclude" => self.sources(name, value, &mut out.excludes)?,
                "excludematch" => self.sources(name, value, &mut out.exclude_matches)?,
                "retry" => self.retry(name, value, out)?,
                "wait" => out.wait = Some(self.wait(name, value)?),
                "max_stale" => out.max_stale = Some(self.duration(name, value)?),
                "status_dir" => out.status_dir = Some(self.text(name, value)?),
                "log_level" => out.log_level = Some(self.text(name, value)?),
                "syslog" | "pid_file" | "kill_signal" | "reload_signal" => {
                    let path = self.path.display();
                    let note = format!("{path}: {name} has no effect here and is passed over");
                    out.notes.push(note);
                }
                other => return self.wrong(format!("unknown setting {other:?}")),
            }
        }
        Ok(())
    }

    fn consul(&self, block: &ValueMap, out: &mut FileSettings) -> Result<(), FileError> {
        let agent = self.agent("consul", block, &["retry"])?;
        let have = &mut out.agent;
        have.address = agent.address.or(have.address.take());
        have.token = agent.token.or(have.token.take());
        have.auth = agent.auth.or(have.auth.take());
        have.ssl = agent.ssl.or(have.ssl.take());
        match block.get("retry") {
            Some(value) => self.retry("consul.retry", value, out),
            None => Ok(()),
        }
    }

    fn agent(
        &self,
        name: &str,
        block: &ValueMap,
        besides: &[&str],
    ) -> Result<AgentBlock, FileError> {
        let mut agent = AgentBlock::default();
        for (field, value) in block {
            let field: &str = field;
            let full = format!("{name}.{field}");
            match field {
                "address" => agent.address = Some(self.text(&full, value)?),
                "datacenter" => agent.datacenter = Some(self.text(&full, value)?),
                "token" => agent.token = Some(self.text(&full, value)?),
                "auth" => agent.auth = self.auth(&full, value)?,
                "ssl" => agent.ssl = Some(self.ssl(&full, value)?),
                other if besides.contains(&other) => {}
                _ => return self.wrong(format!("unknown setting {full:?}")),
            }
        }
        Ok(agent)
    }

    fn prefix(&self, block: &ValueMap) -> Result<PrefixBlock, FileError> {
        let mut prefix = PrefixBlock {
            from: self.agent("prefix", block, &["source", "destination", "dependency"])?,
            ..PrefixBlock::default()
        };
        let Some(source) = block.get("source") else {
            return self.wrong("a prefix block has no source");
        };
        let source = self.text("prefix.source", source)?;
        prefix.source = crate::spec::key_prefix(&source);
        // The older form names the datacenter in the source.
        if prefix.from.datacenter.is_none()
            && let Some((source, dc)) = source.rsplit_once('@')
            && crate::spec::is_datacenter(dc)
        {
            prefix.source = crate::spec::key_prefix(source);
            prefix.from.datacenter = Some(dc.to_owned());
        }
        if let Some(destination) = block.get("destination") {
            let destination = self.text("prefix.destination", destination)?;
            prefix.destination = Some(crate::spec::key_prefix(&destination));
        }
        Ok(prefix)
    }

    fn sources(&self, name: &str, value: &Value, out: &mut Vec<String>) -> Result<(), FileError> {
        for block in self.blocks(name, value)? {
            let Some(source) = block.get("source") else {
                return self.wrong(format!("a block {name} has no source"));
            };
            let source = self.text(&format!("{name}.source"), source)?;
            if source.is_empty() {
                return self.wrong(format!("{name}.source must not be empty"));
            }
            out.push(source);
        }
        Ok(())
    }

    fn auth(&self, name: &str, value: &Value) -> Result<Option<(String, String)>, FileError> {
        let (mut enabled, mut user, mut password) = (true, String::new(), String::new());
        for block in self.blocks(name, value)? {
            for (field, value) in block {
                let full = format!("{name}.{field}");
                match &**field {
                    "enabled" => enabled = self.switch(&full, value)?,
                    "username" => user = self.text(&full, value)?,
                    "password" => password = self.text(&full, value)?,
                    _ => return self.wrong(format!("unknown setting {full:?}")),
                }
            }
        }
        Ok((enabled && !user.is_empty()).then_some((user, password)))
    }

    fn ssl(&self, name: &str, value: &Value) -> Result<Ssl, FileError> {
        let mut ssl = Ssl {
            enabled: true,
            ..Ssl::default()
        };
        for block in self.blocks(name, value)? {
            for (field, value) in block {
                let full = format!("{name}.{field}");
                let file = |text: String| (!text.is_empty()).then(|| PathBuf::from(text));
                match &**field {
                    "enabled" => ssl.enabled = self.switch(&full, value)?,
                    "verify" => ssl.files.skip_verify = !self.switch(&full, value)?,
                    "ca_cert" => ssl.files.ca_file = file(self.text(&full, value)?),
                    "ca_path" => ssl.files.ca_path = file(self.text(&full, value)?),
                    "cert" => ssl.files.client_cert = file(self.text(&full, value)?),
                    "key" => ssl.files.client_key = file(self.text(&full, value)?),
                    "server_name" => ssl.files.server_name = self.text(&full, value)?,
                    _ => return self.wrong(format!("unknown setting {full:?}")),
                }
            }
        }
        Ok(ssl)
    }

    fn retry(&self, name: &str, value: &Value, out: &mut FileSettings) -> Result<(), FileError> {
        if let Value::String(_) = value {
            // The older form: always the same pause.
            let pause = self.duration(name, value)?;
            (out.backoff, out.backoff_max) = (Some(pause), Some(pause));
            return Ok(());
        }
        for block in self.blocks(name, value)? {
            for (field, value) in block {
                let full = format!("{name}.{field}");
                match &**field {
                    "enabled" => out.retry_enabled = Some(self.switch(&full, value)?),
                    "attempts" => out.retry_attempts = Some(self.count(&full, value)?),
                    "backoff" => out.backoff = Some(self.duration(&full, value)?),
                    "max_backoff" => out.backoff_max = Some(self.duration(&full, value)?),
                    _ => return self.wrong(format!("unknown setting {full:?}")),
                }
            }
        }
        Ok(())
    }

    fn wait(&self, name: &str, value: &Value) -> Result<Duration, FileError> {
        if let Value::String(text) = value {
            return match wait(text) {
                Some(shortest) => Ok(shortest),
                None => self.wrong(format!("{name}: {text:?} is no \"MIN[:MAX]\"")),
            };
        }
        let (mut min, mut max) = (Duration::ZERO, None);
        for block in self.blocks(name, value)? {
            for (field, value) in block {
                let full = format!("{name}.{field}");
                match &**field {
                    "enabled" => {
                        self.switch(&full, value)?;
                    }
                    "min" => min = self.duration(&full, value)?,
                    "max" => max = Some(self.duration(&full, value)?),
                    _ => return self.wrong(format!("unknown setting {full:?}")),
                }
            }
        }
        match max {
            Some(max) if max < min => self.wrong(format!("{name}.max is shorter than min")),
            _ => Ok(min),
        }
    }

    fn blocks<'v>(&self, name: &str, value: &'v Value) -> Result<Vec<&'v ValueMap>, FileError> {
        let list = match value {
            Value::Map(map) => return Ok(vec![map]),
            Value::List(list) => list,
            _ => return self.wrong(format!("{name} must be a block")),
        };
        list.iter()
            .map(|item| match item {
                Value::Map(map) => Ok(map),
                _ => self.wrong(format!("{name} must be a block")),
            })
            .collect()
    }

    fn text(&self, name: &str, value: &Value) -> Result<String, FileError> {
        match value {
            Value::String(text) => Ok(text.to_string()),
            _ => self.wrong(format!("{name} must be a text")),
        }
    }

    fn switch(&self, name: &str, value: &Value) -> Result<bool, FileError> {
        match value {
            Value::Bool(on) => Ok(*on),
            Value::String(text) if &**text == "true" => Ok(true),
            Value::String(text) if &**text == "false" => Ok(false),
            _ => self.wrong(format!("{name} must be true or false")),
        }
    }

    fn count(&self, name: &str, value: &Value) -> Result<u32, FileError> {
        let number = match value {
            Value::Int(n) => u32::try_from(*n).ok(),
            Value::UInt(n) => u32::try_from(*n).ok(),
            // Numbers of JSON files are floats.
            Value::Float(n) => format!("{n}").parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => Ok(number),
            None => self.wrong(format!("{name} must be a whole number")),
        }
    }

    fn duration(&self, name: &str, value: &Value) -> Result<Duration, FileError> {
        let parsed = match value {
            Value::String(text) => parse_go(text).ok(),
            _ => None,
        };
        match parsed {
            Some(duration) => Ok(duration),
            None => self.wrong(format!("{name} must be a duration such as \"10s\"")),
        }
    }
}

/// The shortest wait of `MIN[:MAX]`; `None` if it is malformed.
pub(crate) fn wait(text: &str) -> Option<Duration> {
    let (min, max) = match text.split_once(':') {
        Some((min, max)) => (min, Some(max)),
        None => (text, None),
    };
    let min = parse_go(min).ok()?;
    match max.map(parse_go) {
        Some(Ok(max)) if max < min => None,
        Some(Err(_)) => None,
        _ => Some(min),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, format: Format) -> Result<FileSettings, FileError> {
        let mut out = FileSettings::default();
        let map = parse_free(text, format).unwrap();
        let path = Path::new("r.hcl");
        Reader { path }.top(&map, &mut out).map(|()| out)
    }

    #[test]
    fn files_of_the_older_tool_are_understood() {
        let got = parse(
            r#"
            consul = "10.0.0.1:8500"
            token = "t"
            retry = "10s"
            max_stale = "10m"
            wait = "5s:20s"
            auth { enabled = true username = "u" password = "p" }
            ssl { enabled = true verify = false }
            syslog { enabled = true facility = "LOCAL5" }
            prefix { source = "global@nyc1" }
            prefix { source = "other" datacenter = "nyc1" destination = "/default" }
            exclude { source = "global/a" }
            exclude { source = "global/b" }
            "#,
            Format::Hcl,
        )
        .unwrap();
        assert_eq!(got.agent.address.as_deref(), Some("10.0.0.1:8500"));
        assert_eq!(got.agent.auth, Some(("u".to_owned(), "p".to_owned())));
        let ssl = got.agent.ssl.as_ref().unwrap();
        assert!(ssl.enabled && ssl.files.skip_verify);
        assert_eq!(got.backoff, Some(Duration::from_secs(10)));
        assert_eq!(got.max_stale, Some(Duration::from_secs(600)));
        assert_eq!(got.wait, Some(Duration::from_secs(5)));
        assert_eq!(got.excludes, ["global/a", "global/b"]);
        assert_eq!(got.prefixes.len(), 2);
        assert_eq!(got.prefixes[0].source, "global");
        assert_eq!(got.prefixes[0].from.datacenter.as_deref(), Some("nyc1"));
        assert_eq!(got.prefixes[1].destination.as_deref(), Some("default"));
        assert_eq!(got.notes.len(), 1, "{:?}", got.notes);
    }

    #[test]
    fn blocks_may_nest_and_repeat_in_both_formats() {
        let hcl = parse(
            r#"
            consul { address = "a:1" token = "t" retry { attempts = 3 backoff = "1s" max_backoff = "2s" } }
            source { address = "b:1" datacenter = "east" }
            destination { datacenter = "dc2" }
            destination { address = "c:1" token = "u" }
            wait { min = "1s" max = "3s" }
            status_dir = "s"
            log_level = "debug"
            excludematch { source = "/.lock" }
            prefix { source = "p" }
            "#,
            Format::Hcl,
        )
        .unwrap();
        let json = parse(
            r#"{"consul":{"address":"a:1","token":"t","retry":{"attempts":3,"backoff":"1s","max_backoff":"2s"}},
            "source":{"address":"b:1","datacenter":"east"},
            "destination":[{"datacenter":"dc2"},{"address":"c:1","token":"u"}],
            "wait":{"min":"1s","max":"3s"},"status_dir":"s","log_level":"debug",
            "excludematch":[{"source":"/.lock"}],"prefix":[{"source":"p"}]}"#,
            Format::Json,
        )
        .unwrap();
        assert_eq!(hcl, json);
        assert_eq!(hcl.retry_attempts, Some(3));
        assert_eq!(hcl.destinations.len(), 2);
    }

    #[test]
    fn what_has_no_meaning_is_named() {
        for (text, want) in [
            ("zork = 1", "unknown setting \"zork\""),
            ("prefix { destination = \"a\" }", "no source"),
            ("prefix { source = 1 }", "prefix.source must be a text"),
            ("prefix = \"a\"", "prefix must be a block"),
            ("prefix { source = \"a\" zork = 1 }", "\"prefix.zork\""),
            ("exclude { }", "no source"),
            ("exclude { source = \"\" }", "must not be empty"),
            ("max_stale = \"soon\"", "must be a duration"),
            ("wait = \"5s:1s\"", "MIN[:MAX]"),
            ("wait { min = \"5s\" max = \"1s\" }", "shorter"),
            ("retry { attempts = -1 }", "whole number"),
            ("ssl { verify = 3 }", "true or false"),
        ] {
            let error = parse(text, Format::Hcl).unwrap_err().to_string();
            assert!(
                error.starts_with("r.hcl: ") && error.contains(want),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn folders_are_read_by_name_and_the_later_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("c")).unwrap();
        fs::write(path("a.hcl"), "token = \"1\"\nprefix { source = \"a\" }").unwrap();
        fs::write(path("b.json"), r#"{"token":"2","prefix":{"source":"b"}}"#).unwrap();
        fs::write(path("c/c"), "prefix { source = \"c\" }").unwrap();
        let got = read(&[dir.path().to_owned()]).unwrap();
        assert_eq!(got.agent.token.as_deref(), Some("2"));
        let names: Vec<_> = got.prefixes.iter().map(|p| p.source.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        fs::write(path("d.hcl"), "prefix {").unwrap();
        let error = read(&[dir.path().to_owned()]).unwrap_err().to_string();
        assert!(
            error.contains("cannot parse") && error.contains("d.hcl"),
            "{error}"
        );
        let error = read(&[path("none")]).unwrap_err().to_string();
        assert!(error.starts_with("cannot read"), "{error}");
    }
}
