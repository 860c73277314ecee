//! Joining: from what an operator wrote to exchanged states (spec gossip.md section 7.4).
//!
//! An address is `host`, `host:port` or `name/host:port`; a name stands for all of its addresses, and each is tried. Error
//! texts are those that Consul's users know; they reach HTTP clients and logs.
//!
//! Names are looked up by the system alone. The original first asks the first server of `resolv.conf` for ANY record of
//! the name over TCP, so that a long list of addresses arrives whole; what fails there falls back to the system. That is
//! left out: the system's resolver goes over to TCP by itself when an answer is cut, many servers do not answer ANY (RFC
//! 8482), and the detour ignores `hosts` and `nsswitch.conf` and waits for servers that do not speak TCP.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use tracing::{debug, info, warn};
use tribune_rt::Env;

use super::Pool;
use super::exchange::Purpose;

/// What became of a join.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    /// Members that were reached.
    pub(crate) count: usize,
    /// What failed, one text per address.
    pub(crate) errors: Vec<String>,
}

impl Joined {
    /// The errors as one text.
    pub(crate) fn error_text(&self) -> String {
        errors_text(&self.errors)
    }
}

/// Several errors as one text, in the form clients know.
pub(crate) fn errors_text(errors: &[String]) -> String {
    let mut text = match errors.len() {
        1 => "1 error occurred:".to_owned(),
        n => format!("{n} errors occurred:"),
    };
    for error in errors {
        text.push_str("\n\t* ");
        text.push_str(error);
    }
    text.push_str("\n\n");
    text
}

/// Where to find one address, before names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    host: String,
    port: u16,
}

impl Pool {
    /// Joins the pool of each address, one after the other, and announces this node if any was reached. Not cancel safe:
    /// what was reached stays joined.
    pub(crate) async fn join(&self, addrs: &[String]) -> Joined {
        let label = self.label();
        info!(
            "({label}) joining: {label_lower}_addresses=[{list}]",
            label_lower = label.to_lowercase(),
            list = addrs.join(", ")
        );
        let mut joined = Joined::default();
        for addr in addrs {
            let found = match resolve(self.env(), addr, self.default_port()).await {
                Ok(found) => found,
                Err(problem) => {
                    let text = format!("Failed to resolve {addr}: {problem}");
                    warn!("memberlist: {text}");
                    joined.errors.push(text);
                    continue;
                }
            };
            for to in found {
                match self.push_pull(to, Purpose::Join).await {
                    Ok(()) => joined.count += 1,
                    Err(problem) => {
                        let text = format!("Failed to join {}: {problem}", to.ip());
                        debug!("memberlist: {text}");
                        joined.errors.push(text);
                    }
                }
            }
        }
        if joined.count > 0 {
            self.announce_joined().await;
            info!("({label}) joined: number_of_nodes={}", joined.count);
        } else {
            let error = joined.error_text();
            warn!(%error, "({label}) couldn't join: number_of_nodes=0");
        }
        joined
    }
}

/// All addresses of what an operator wrote.
async fn resolve(env: &Env, written: &str, default_port: u16) -> Result<Vec<SocketAddr>, String> {
    let Target { host, port } = parse(written, default_port)?;
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let name = host.clone();
    let work = move || {
        (name.as_str(), port)
            .to_socket_addrs()
            .map(Iterator::collect::<Vec<_>>)
    };
    match env.spawn_blocking("join-lookup", work).join().await {
        Ok(Ok(mut addrs)) if !addrs.is_empty() => {
            let mut seen = Vec::new();
            addrs.retain(|addr| {
                let new = !seen.contains(addr);
                seen.push(*addr);
                new
            });
            Ok(addrs)
        }
        Ok(_) => Err(format!("lookup {host}: no such host")),
        Err(_) => Err(format!("lookup {host}: operation was canceled")),
    }
}

fn parse(written: &str, default_port: u16) -> Result<Target, String> {
    let rest = match written.split_once('/') {
        Some(("", _)) => return Err("empty node name provided".to_owned()),
        Some((_, rest)) => rest,
        None => written,
    };
    let (host, port) = split(rest);
    let Some(port) = port else {
        return Ok(Target {
            host: host.to_owned(),
            port: default_port,
        });
    };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port = port.parse().map_err(|_| {
        let problem = if digits {
            "value out of range"
        } else {
            "invalid syntax"
        };
        format!("strconv.ParseUint: parsing {port:?}: {problem}")
    })?;
    Ok(Target {
        host: host.to_owned(),
        port,
    })
}

/// Splits off a port. IPv6 addresses may stand alone, in brackets with a port.
fn split(text: &str) -> (&str, Option<&str>) {
    if let Some(rest) = text.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, after)) => (host, after.strip_prefix(':')),
            None => (text, None),
        };
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        _ => (text, None),
    }
}

/// A failed connection in the words clients know.
pub(super) fn dial_text(to: SocketAddr, err: &std::io::Error) -> String {
    let text = err.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    format!("dial tcp {to}: connect: {}", text.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_perhaps_a_port_and_a_name() {
        // (written, host, port)
        for (written, host, port) in [
            ("10.0.0.1", "10.0.0.1", 8301),
            ("10.0.0.1:9", "10.0.0.1", 9),
            ("db.example", "db.example", 8301),
            ("db.example:9", "db.example", 9),
            ("n1/10.0.0.1:9", "10.0.0.1", 9),
            ("n1.dc1/10.0.0.1", "10.0.0.1", 8301),
            ("::1", "::1", 8301),
            ("[::1]", "::1", 8301),
            ("[::1]:9", "::1", 9),
        ] {
            let want = Target {
                host: host.to_owned(),
                port,
            };
            assert_eq!(parse(written, 8301), Ok(want), "{written}");
        }
    }

    #[test]
    fn wrong_ports_are_told_in_known_words() {
        for (written, want) in [
            (
                "127.0.0.1:bad",
                "strconv.ParseUint: parsing \"bad\": invalid syntax",
            ),
            (
                "127.0.0.1:70000",
                "strconv.ParseUint: parsing \"70000\": value out of range",
            ),
            (
                "127.0.0.1:",
                "strconv.ParseUint: parsing \"\": invalid syntax",
            ),
            ("/127.0.0.1", "empty node name provided"),
        ] {
            assert_eq!(parse(written, 1), Err(want.to_owned()), "{written}");
        }
    }

    #[test]
    fn errors_are_listed_with_their_number() {
        let joined = Joined {
            count: 0,
            errors: vec!["a".to_owned()],
        };
        assert_eq!(joined.error_text(), "1 error occurred:\n\t* a\n\n");
        assert_eq!(
            errors_text(&["a".to_owned(), "b".to_owned()]),
            "2 errors occurred:\n\t* a\n\t* b\n\n"
        );
    }
}
