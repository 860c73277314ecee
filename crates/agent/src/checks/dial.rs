//! Connecting to `host:port`: the TCP check, and the first step of HTTP and gRPC checks.
//!
//! A name is looked up; IPv6 addresses are tried first, IPv4 ones join after a short while (RFC 8305, section 5, in
//! its simplest form). Error texts are those that Consul's users know.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tribune_rt::Env;
use tribune_rt::net::TcpStream;
use tribune_types::definition::CheckType;

use super::Outcome;
use tribune_types::catalog::Status;

/// How long the first address family is alone.
const FALLBACK_DELAY: Duration = Duration::from_millis(300);

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DialError {
    /// The text is no `host:port`.
    Address { addr: String, problem: &'static str },
    /// The host has no address.
    Lookup { host: String, problem: String },
    /// No address answered.
    Connect { addr: SocketAddr, problem: String },
    /// The time is over.
    Timeout { addr: String },
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Address { addr, problem } => {
                write!(f, "dial tcp: address {addr}: {problem}")
            }
            DialError::Lookup { host, problem } => write!(f, "dial tcp: lookup {host}: {problem}"),
            DialError::Connect { addr, problem } => {
                write!(f, "dial tcp {addr}: connect: {problem}")
            }
            DialError::Timeout { addr } => write!(f, "dial tcp {addr}: i/o timeout"),
        }
    }
}

/// Runs a TCP check.
pub(super) async fn run(env: &Env, check: &CheckType, timeout: Duration) -> Outcome {
    match dial(env, &check.tcp, timeout).await {
        Ok(_) => Outcome::new(
            Status::Passing,
            format!("TCP connect {}: Success", check.tcp),
        ),
        Err(err) => Outcome::critical(err.to_string()),
    }
}

/// Connects to `host:port` within `timeout`.
pub(super) async fn dial(env: &Env, addr: &str, timeout: Duration) -> Result<TcpStream, DialError> {
    let (host, port) = split(addr)?;
    match env.timeout(timeout, dial_host(env, host, port)).await {
        Ok(result) => result,
        Err(_) => Err(DialError::Timeout {
            addr: addr.to_owned(),
        }),
    }
}

async fn dial_host(env: &Env, host: &str, port: u16) -> Result<TcpStream, DialError> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return connect_any(env, &[SocketAddr::new(ip, port)]).await;
    }
    let (v6, v4): (Vec<_>, Vec<_>) = look_up(env, host, port)
        .await?
        .into_iter()
        .partition(SocketAddr::is_ipv6);
    let (first, second) = if v6.is_empty() { (v4, v6) } else { (v6, v4) };
    if second.is_empty() {
        return connect_any(env, &first).await;
    }
    let primary = connect_any(env, &first);
    tokio::pin!(primary);
    let early = tokio::select! {
        biased;
        result = &mut primary => Some(result),
        () = env.sleep(FALLBACK_DELAY) => None,
    };
    let fallback = connect_any(env, &second);
    tokio::pin!(fallback);
    match early {
        Some(Ok(stream)) => Ok(stream),
        Some(Err(err)) => fallback.await.map_err(|_| err),
        None => tokio::select! {
            biased;
            result = &mut primary => match result {
                Ok(stream) => Ok(stream),
                Err(err) => fallback.await.map_err(|_| err),
            },
            result = &mut fallback => match result {
                Ok(stream) => Ok(stream),
                Err(_) => primary.await,
            },
        },
    }
}

async fn connect_any(env: &Env, addrs: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let mut last = None;
    for addr in addrs {
        match TcpStream::connect(env, *addr).await {
            Ok(stream) => return Ok(stream),
            Err(err) => {
                last = last.or(Some(DialError::Connect {
                    addr: *addr,
                    problem: os_text(&err),
                }))
            }
        }
    }
    Err(last.unwrap_or(DialError::Lookup {
        host: String::new(),
        problem: "no such host".to_owned(),
    }))
}

async fn look_up(env: &Env, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
    let name = host.to_owned();
    let work = move || {
        (name.as_str(), port)
            .to_socket_addrs()
            .map(Iterator::collect::<Vec<_>>)
    };
    let failed = |problem: &str| DialError::Lookup {
        host: host.to_owned(),
        problem: problem.to_owned(),
    };
    match env.spawn_blocking("check-lookup", work).join().await {
        Ok(Ok(addrs)) if !addrs.is_empty() => Ok(addrs),
        Ok(_) => Err(failed("no such host")),
        Err(_) => Err(failed("operation was canceled")),
    }
}

/// Splits `host:port`; IPv6 hosts stand in brackets.
pub(super) fn split(addr: &str) -> Result<(&str, u16), DialError> {
    let wrong = |problem| DialError::Address {
        addr: addr.to_owned(),
        problem,
    };
    let (host, port) = match addr.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest
                .split_once(']')
                .ok_or_else(|| wrong("missing ']' in address"))?;
            (
                host,
                after
                    .strip_prefix(':')
                    .ok_or_else(|| wrong("missing port in address"))?,
            )
        }
        None => {
            let (host, port) = addr
                .rsplit_once(':')
                .ok_or_else(|| wrong("missing port in address"))?;
            if host.contains(':') {
                return Err(wrong("too many colons in address"));
            }
            (host, port)
        }
    };
    let port = port.parse().map_err(|_| wrong("invalid port"))?;
    Ok((if host.is_empty() { "127.0.0.1" } else { host }, port))
}

/// The system's text of an error, without its number and with a small first letter.
pub(super) fn os_text(err: &io::Error) -> String {
    let text = err.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
