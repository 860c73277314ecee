//! Entry points: sources in their order, read, decoded, merged, built.
//!
//! In: flags and the [`Environment`]; files are read here. Out: [`Loaded`], or the first error. A reload is a second
//! `load` with the same flags: on error nothing of the caller's changes. Order and rules: config.md section 1.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use tribune_types::definition::ServiceDefinition;
use tribune_types::value::{Value, ValueMap};

use crate::build::build;
use crate::config::Config;
use crate::decode::decode;
use crate::defaults::{DEFAULTS, DEV, FIXED, FIXED_DEV};
use crate::error::{ConfigError, ParseError};
use crate::flags::FlagValues;
use crate::get::View;
use crate::interfaces::Interfaces;
use crate::merge::merge;
use crate::schema::ROOT;
use crate::tree::{Object, Tree};
use crate::{definition, hcl, json};

/// Bytes a configuration file may have.
const FILE_SIZE_MAX: u64 = 64 * 1024 * 1024;

/// What the machine contributes.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Default node name.
    pub hostname: String,
    /// Network interfaces, for templates and the advertise address.
    pub interfaces: Interfaces,
    /// Environment variables; only `CONSUL_INTRO_TOKEN` is looked at.
    pub vars: BTreeMap<String, String>,
}

impl Environment {
    /// The machine this process runs on.
    pub fn of_this_host() -> Environment {
        let hostname = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let vars = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .filter(|(k, _)| k == "CONSUL_INTRO_TOKEN")
            .collect();
        Environment {
            hostname,
            interfaces: Interfaces::of_this_host(),
            vars,
        }
    }
}

/// A configuration and what to say about it at start.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Sentences for the log; they stop nothing.
    pub warnings: Vec<String>,
}

/// File formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// HCL 1.
    Hcl,
    /// JSON.
    Json,
}

impl Format {
    /// Reads the value of `-config-format`; empty is none.
    pub fn parse(name: &str) -> Result<Option<Format>, ConfigError> {
        match name {
            "" => Ok(None),
            "hcl" => Ok(Some(Format::Hcl)),
            "json" => Ok(Some(Format::Json)),
            _ => Err(ConfigError::Format),
        }
    }
}

/// Makes the configuration of an agent.
///
/// Also refuses what `validate` lets pass but an agent cannot start with, and settings that this version does not
/// enforce although they protect something.
pub fn load(flags: &FlagValues, env: &Environment) -> Result<Loaded, ConfigError> {
    let format = Format::parse(flags.config_format.as_deref().unwrap_or(""))?;
    let mut sources = Sources::new(flags.dev);
    sources.add_fragment("flags", flags.lists.clone())?;
    sources.add_paths(&flags.config_paths, format)?;
    sources.add_fragment("flags", flags.scalars.clone())?;
    for (at, text) in flags.hcl.iter().enumerate() {
        sources.add_text(&format!("flags-{at}.hcl"), text, Format::Hcl)?;
    }
    let (merged, mut warnings) = sources.finish();
    let built = build(View(&merged), flags.dev, env)?;
    warnings.extend(built.warnings);
    if let Some(error) = built.start_error {
        return Err(error);
    }
    let (unbuilt, refused) = crate::unbuilt::unbuilt(&built.config, View(&merged));
    if let Some(sentence) = refused.into_iter().next() {
        return Err(ConfigError::Unbuilt(sentence));
    }
    warnings.extend(unbuilt);
    Ok(Loaded {
        config: built.config,
        warnings,
    })
}

/// Checks files and directories as `consul validate` does; gives the warnings.
pub fn validate_paths(
    paths: &[PathBuf],
    format: Option<Format>,
    env: &Environment,
) -> Result<Vec<String>, ConfigError> {
    let mut sources = Sources::new(false);
    sources.add_paths(paths, format)?;
    let (merged, mut warnings) = sources.finish();
    warnings.extend(build(View(&merged), false, env)?.warnings);
    Ok(warnings)
}

/// The services of definition files, for `services register FILE...`. Other keys of the files are ignored.
pub fn services_from_files(paths: &[PathBuf]) -> Result<Vec<ServiceDefinition>, ConfigError> {
    let mut sources = Sources::empty();
    sources.add_paths(paths, None)?;
    let (merged, _) = sources.finish();
    let mut errors = Vec::new();
    let services = View(&merged)
        .objects("services")
        .map(|s| definition::service(s, &mut errors))
        .collect();
    if errors.is_empty() {
        Ok(services)
    } else {
        Err(ConfigError::Values(errors))
    }
}

/// Parses one source and checks it against the schema, without files or the rules between settings.
///
/// For fuzzing and for editors. Never panics, memory is bounded by the text.
pub fn check_source(text: &str, format: Format) -> Result<(), ParseError> {
    let parsed = match format {
        Format::Hcl => hcl::parse(text),
        Format::Json => json::parse(text),
    };
    decode(parsed?, &ROOT).map(drop)
}

/// Parses one source without a schema, for programs beside the agent: a map, repeated blocks as lists of maps.
///
/// Never panics, memory is bounded by the text.
pub fn parse_free(text: &str, format: Format) -> Result<ValueMap, ParseError> {
    let object = match format {
        Format::Hcl => hcl::parse(text),
        Format::Json => json::parse(text),
    }?;
    match Tree::Map(object).to_value() {
        Value::Map(map) => Ok(map),
        _ => Ok(ValueMap::new()),
    }
}

/// What is merged so far.
struct Sources {
    merged: Object,
    warnings: Vec<String>,
    last: &'static [&'static str],
}

impl Sources {
    fn empty() -> Sources {
        Sources {
            merged: Object::new(),
            warnings: Vec::new(),
            last: &[],
        }
    }

    fn new(dev: bool) -> Sources {
        let mut sources = Sources::empty();
        sources.built_in(DEFAULTS);
        if dev {
            sources.built_in(DEV);
        }
        sources.last = if dev { &[FIXED, FIXED_DEV] } else { &[FIXED] };
        sources
    }

    fn built_in(&mut self, text: &'static str) {
        let object = hcl::parse(text).and_then(|object| decode(object, &ROOT));
        merge(
            &mut self.merged,
            object.expect("built-in values parse, see the test in defaults"),
            &ROOT,
        );
    }

    fn finish(mut self) -> (Object, Vec<String>) {
        for text in self.last {
            self.built_in(text);
        }
        (self.merged, self.warnings)
    }

    fn add_paths(&mut self, paths: &[PathBuf], format: Option<Format>) -> Result<(), ConfigError> {
        for path in paths {
            let meta = std::fs::metadata(path).map_err(|source| ConfigError::Read {
                operation: "Open",
                path: path.clone(),
                source,
            })?;
            if !meta.is_dir() {
                self.add_file(path, format)?;
                continue;
            }
            for file in files_of(path)? {
                self.add_file(&file, format)?;
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path, format: Option<Format>) -> Result<(), ConfigError> {
        let name = path.display().to_string();
        let by_extension = match path.extension().and_then(|e| e.to_str()) {
            Some("hcl") => Some(Format::Hcl),
            Some("json") => Some(Format::Json),
            _ => None,
        };
        let Some(format) = format.or(by_extension) else {
            self.warnings.push(format!(
                "skipping file {name}, extension must be .hcl or .json, or config format must be set"
            ));
            return Ok(());
        };
        let failed = |source| ConfigError::Read {
            operation: "Read",
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(FILE_SIZE_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > FILE_SIZE_MAX {
            return Err(ConfigError::Parse {
                name,
                cause: ParseError::TooLarge {
                    limit: FILE_SIZE_MAX,
                },
            });
        }
        match String::from_utf8(bytes) {
            Ok(text) => self.add_text(&name, &text, format),
            Err(_) => Err(ConfigError::Parse {
                name,
                cause: ParseError::Utf8,
            }),
        }
    }

    fn add_text(&mut self, name: &str, text: &str, format: Format) -> Result<(), ConfigError> {
        if text.is_empty() {
            return Ok(());
        }
        let parsed = match format {
            Format::Hcl => hcl::parse(text),
            Format::Json => json::parse(text),
        };
        let object = parsed.map_err(|cause| ConfigError::Parse {
            name: name.to_owned(),
            cause,
        })?;
        self.add_fragment(name, object)
    }

    fn add_fragment(&mut self, name: &str, object: Object) -> Result<(), ConfigError> {
        let mut object = decode(object, &ROOT).map_err(|cause| ConfigError::Parse {
            name: name.to_owned(),
            cause,
        })?;
        for (singular, plural) in [("service", "services"), ("check", "checks")] {
            if let Some(one) = object.remove(singular) {
                match object.get_mut(plural) {
                    Some(Tree::List(list)) => list.push(one),
                    _ => {
                        object.insert(plural.to_owned(), Tree::List(vec![one]));
                    }
                }
            }
        }
        if object.contains_key("acl_enforce_version_8") {
            self.warnings.push(
                "config key \"acl_enforce_version_8\" is deprecated and should be removed"
                    .to_owned(),
            );
        }
        for key in ENTERPRISE {
            if View(&object).raw(key).is_some() {
                self.warnings.push(format!(
                    "\"{key}\" is a Consul Enterprise configuration and will have no effect"
                ));
            }
        }
        merge(&mut self.merged, object, &ROOT);
        Ok(())
    }
}

/// Keys of the Enterprise build, in the order of their warnings.
const ENTERPRISE: &[&str] = &[
    "acl.tokens.managed_service_provider",
    "acl.msp_disable_bootstrap",
    "autopilot.disable_upgrade_migration",
    "autopilot.redundancy_zone_tag",
    "autopilot.upgrade_version_tag",
    "dns_config.prefer_namespace",
    "audit",
    "non_voting_server",
    "segment",
    "segments",
];

/// Files of a directory by name; sub-directories are not entered, links are followed.
fn files_of(dir: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let failed = |source| ConfigError::Read {
        operation: "Readdir",
        path: dir.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // A link that leads nowhere is skipped: editors leave such lock files.
        if std::fs::metadata(&path).is_ok_and(|meta| meta.is_file()) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
