//! Where the agent is and how to speak to it.
//!
//! In: an address text, files, tokens. Out: a [`ClientConfig`]. The order of flags and environment variables is the
//! command line's business (spec cli.md section 1).

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use super::error::{Error, FileProblem};

/// Clear text or TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// `http://`
    #[default]
    Http,
    /// `https://`
    Https,
}

impl Scheme {
    /// As written in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The agent's endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `host:port`, or a host alone (port 80 or 443).
    Tcp(String),
    /// Path of a unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Host part of a URL in messages.
    pub(super) fn url_host(&self) -> String {
        match self {
            Self::Tcp(host) => host.clone(),
            Self::Unix(path) => super::encode_query(&path.to_string_lossy()),
        }
    }

    /// Value of the `Host` header.
    pub(super) fn host_header(&self) -> String {
        match self {
            Self::Tcp(host) => host.clone(),
            // The path is not a valid host; servers look at nothing here.
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

/// TLS material and rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file of CA certificates.
    pub ca_file: Option<PathBuf>,
    /// Folder of such files.
    pub ca_path: Option<PathBuf>,
    /// Client certificate; used with `client_key`.
    pub client_cert: Option<PathBuf>,
    /// Key of `client_cert`.
    pub client_key: Option<PathBuf>,
    /// Name to ask for and verify in place of the address's host.
    pub server_name: String,
    /// Accept any server certificate.
    pub skip_verify: bool,
}

/// How long a client waits for an agent that says nothing, and who may end the wait sooner. The default waits for ever.
#[derive(Debug, Clone, Default)]
pub struct Patience {
    /// Longest silence on a connection while an answer is due, then the call fails with `i/o timeout`. A blocking query
    /// is silent for its whole wait.
    pub silence_max: Option<Duration>,
    /// Once set, calls that wait for bytes fail with `stopped` within a quarter of a second.
    pub stop: Option<Arc<AtomicBool>>,
}

/// Everything a [`Client`](super::Client) needs to know.
#[derive(Clone)]
pub struct ClientConfig {
    /// Endpoint.
    pub address: Address,
    /// Clear text or TLS.
    pub scheme: Scheme,
    /// ACL token; empty sends none.
    pub token: String,
    /// User and password of HTTP basic authentication.
    pub basic_auth: Option<(String, String)>,
    /// TLS material.
    pub tls: TlsFiles,
    /// How long to wait for the agent.
    pub patience: Patience,
}

impl std::fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientConfig")
            .field("address", &self.address)
            .field("scheme", &self.scheme)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl ClientConfig {
    /// Parses an address: `host:port`, `http://...`, `https://...` or `unix:///path`. `tls_wanted` is the
    /// environment's wish for https; an explicit `http://` does not revoke it.
    pub fn new(address: &str, tls_wanted: bool) -> Result<Self, Error> {
        let wanted = if tls_wanted {
            Scheme::Https
        } else {
            Scheme::Http
        };
        let (scheme, address) = match address.split_once("://") {
            None => (wanted, Address::Tcp(host(address))),
            Some(("http", rest)) => (wanted, Address::Tcp(host(rest))),
            Some(("https", rest)) => (Scheme::Https, Address::Tcp(host(rest))),
            Some(("unix", path)) => (wanted, Address::Unix(PathBuf::from(path))),
            Some((other, _)) => return Err(Error::Scheme(other.to_owned())),
        };
        Ok(Self {
            address,
            scheme,
            token: String::new(),
            basic_auth: None,
            tls: TlsFiles::default(),
            patience: Patience::default(),
        })
    }

    /// Takes the token from a file, trimmed.
    pub fn token_from_file(&mut self, path: &std::path::Path) -> Result<(), Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::File {
            what: "token file",
            problem: FileProblem::Open {
                path: path.to_owned(),
                source,
            },
        })?;
        text.trim().clone_into(&mut self.token);
        Ok(())
    }
}

fn host(rest: &str) -> String {
    rest.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_scheme_and_endpoint() {
        // (text, https wanted by the environment, scheme, endpoint)
        let tcp = |s: &str| Address::Tcp(s.to_owned());
        for (text, wanted, scheme, address) in [
            ("127.0.0.1:8500", false, Scheme::Http, tcp("127.0.0.1:8500")),
            ("127.0.0.1:8500", true, Scheme::Https, tcp("127.0.0.1:8500")),
            ("http://a:1", true, Scheme::Https, tcp("a:1")),
            ("https://a:1/", false, Scheme::Https, tcp("a:1")),
            (
                "unix:///run/c.sock",
                false,
                Scheme::Http,
                Address::Unix("/run/c.sock".into()),
            ),
        ] {
            let got = ClientConfig::new(text, wanted).unwrap();
            assert_eq!((got.scheme, got.address), (scheme, address), "{text}");
        }
        let err = ClientConfig::new("ftp://a:1", false).unwrap_err();
        assert_eq!(err.to_string(), "Unknown protocol scheme: ftp");
    }
}
