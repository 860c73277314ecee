//! What a command is, and what it works with while it runs.

use std::io::Read;

use tribune_api::client::{Client, ClientConfig, QueryOptions};

use crate::{
    api_flags,
    flags::{Flag, Flags},
    host::Host,
};

/// Which flags of the HTTP client a command has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    /// None: it asks no agent.
    None,
    /// Those of the connection: it asks the agent about itself.
    Local,
    /// Also datacenter and staleness.
    Cluster,
}

/// How a command runs.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// It only has sub-commands.
    Group,
    /// This function does it.
    Call(fn(&mut Run<'_, '_>) -> Outcome),
    /// It belongs to a feature that is not built yet.
    Later,
    /// The binary's agent.
    Agent,
}

/// One row of the table.
pub(crate) struct Command {
    /// Words of its name, by one blank: `kv get`.
    pub(crate) path: &'static str,
    /// One line for lists.
    pub(crate) synopsis: &'static str,
    /// What stands behind the name on the usage line.
    pub(crate) usage: &'static str,
    /// Paragraphs of help, split by empty lines. `{p}` is the program; a paragraph that starts with `$` is shown as an
    /// example, unwrapped.
    pub(crate) about: &'static str,
    pub(crate) api: Api,
    pub(crate) flags: &'static [Flag],
    pub(crate) action: Action,
}

impl Command {
    /// Every flag: the client's, then its own.
    pub(crate) fn all_flags(&self) -> impl Iterator<Item = &'static Flag> + Clone {
        api_flags::of(self.api).chain(self.flags.iter())
    }
}

/// How a command failed, or the code it ends with.
pub(crate) type Outcome = Result<i32, Failure>;

/// Why a command ends with code 1.
#[derive(Debug)]
pub(crate) enum Failure {
    /// This text goes to standard error.
    Text(String),
    /// The text and the command's help go to standard error.
    Usage(String),
    /// Only the help does.
    Help,
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Text(error.to_string())
    }
}

/// Ends a command with a text.
pub(crate) fn fail<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Text(text.into()))
}

/// Turns an error into `<context>: <error>`.
pub(crate) fn because<E: std::fmt::Display>(context: &str) -> impl FnOnce(E) -> Failure + '_ {
    move |e| Failure::Text(format!("{context}: {e}"))
}

/// A command at work.
pub(crate) struct Run<'r, 'a> {
    pub(crate) host: &'r mut Host<'a>,
    pub(crate) flags: Flags,
    /// Positional arguments.
    pub(crate) args: Vec<String>,
}

impl Run<'_, '_> {
    pub(crate) fn out(&mut self, line: impl AsRef<str>) {
        self.host.out(line.as_ref());
    }

    pub(crate) fn err(&mut self, line: impl AsRef<str>) {
        self.host.err(line.as_ref());
    }

    /// Where the agent is, from flags and environment.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, tribune_api::client::Error> {
        api_flags::client_config(&self.flags, self.host)
    }

    /// A client for the agent.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        self.client_config()
            .and_then(Client::new)
            .map_err(because("Error connecting to Consul agent"))
    }

    /// Datacenter, namespace and staleness from flags and environment.
    pub(crate) fn query(&self) -> QueryOptions {
        let namespace = match self.flags.text("namespace") {
            "" => self.host.var("CONSUL_NAMESPACE").unwrap_or_default(),
            given => given,
        };
        QueryOptions {
            datacenter: self.flags.text("datacenter").to_owned(),
            namespace: namespace.to_owned(),
            stale: self.flags.on("stale"),
            ..QueryOptions::default()
        }
    }

    /// Refuses more positional arguments than none.
    pub(crate) fn no_args(&self) -> Result<(), Failure> {
        match self.args.len() {
            0 => Ok(()),
            n => fail(format!("Too many arguments (expected 0, got {n})")),
        }
    }

    /// Takes the one positional argument; `missing` is said when there is none.
    pub(crate) fn one_arg(&self, missing: &str) -> Result<String, Failure> {
        match self.args.as_slice() {
            [] => fail(missing),
            [one] => Ok(one.clone()),
            many => fail(format!(
                "Too many arguments (expected 1, got {})",
                many.len()
            )),
        }
    }

    /// Data of an argument: `@file`, `-` for standard input, or the text itself.
    pub(crate) fn data(&mut self, argument: &str) -> Result<Vec<u8>, String> {
        if let Some(path) = argument.strip_prefix('@') {
            return read_file(path);
        }
        if argument == "-" {
            let mut bytes = Vec::new();
            self.host
                .stdin
                .read_to_end(&mut bytes)
                .map_err(|e| format!("Failed to read stdin: {e}"))?;
            return Ok(bytes);
        }
        Ok(argument.as_bytes().to_vec())
    }
}

/// A whole file, or the text that Go's reader fails with.
pub(crate) fn read_file(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("Failed to read file: {}", open_text(path, &e)))
}

/// `open PATH: no such file or directory`.
pub(crate) fn open_text(path: &str, error: &std::io::Error) -> String {
    format!("open {path}: {}", io_text(error))
}

/// An I/O error in Go's spelling.
pub(crate) fn io_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    match error.raw_os_error() {
        Some(_) => text[..1].to_lowercase() + &text[1..],
        None => text.to_owned(),
    }
}
