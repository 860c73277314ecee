//! Senders of metrics: statsd (UDP), dogstatsd (UDP or Unix datagram), statsite (TCP). Once per interval.
//!
//! An interval's sums travel instead of every single value: counters as their sum, timers as their mean, which keeps the
//! traffic of a busy agent constant. Unreachable receivers are tried again at the next interval.

use std::fmt::Write as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tracing::debug;
use tribune_config::config::TelemetryConfig;
use tribune_rt::Env;
use tribune_rt::net::{BindOptions, TcpStream, UdpSocket};

use super::registry::{Kind, Registry, Shown};

/// Bytes of one datagram; fits every common link.
const DATAGRAM: usize = 1400;

/// The configured receivers.
pub(super) struct Senders {
    statsd: String,
    dogstatsd: String,
    dogstatsd_tags: Vec<String>,
    statsite: String,
}

/// How labels are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Label values are parts of the name.
    Statsd,
    /// Labels are tags.
    Dogstatsd,
}

impl Senders {
    pub(super) fn new(config: &TelemetryConfig) -> Senders {
        Senders {
            statsd: config.statsd_address.clone(),
            dogstatsd: config.dogstatsd_address.clone(),
            dogstatsd_tags: config.dogstatsd_tags.clone(),
            statsite: config.statsite_address.clone(),
        }
    }

    /// Sends the last complete interval everywhere.
    pub(super) async fn send(&mut self, env: &Env, registry: &Registry) {
        if self.statsd.is_empty() && self.dogstatsd.is_empty() && self.statsite.is_empty() {
            return;
        }
        let all = registry.all();
        let lines = |dialect, tags: &[String]| {
            all.iter()
                .filter_map(|s| encode(s, dialect, tags))
                .collect::<Vec<_>>()
        };
        if !self.statsd.is_empty() {
            let lines = lines(Dialect::Statsd, &[]);
            report("statsd", send_udp(env, &self.statsd, &lines).await);
        }
        if !self.dogstatsd.is_empty() {
            let lines = lines(Dialect::Dogstatsd, &self.dogstatsd_tags);
            let sent = match self.dogstatsd.strip_prefix("unix://") {
                Some(path) => send_unix(path, &lines),
                None => send_udp(env, &self.dogstatsd, &lines).await,
            };
            report("dogstatsd", sent);
        }
        if !self.statsite.is_empty() {
            let text: String = lines(Dialect::Statsd, &[]).concat();
            report(
                "statsite",
                send_tcp(env, &self.statsite, text.as_bytes()).await,
            );
        }
    }
}

fn report(sink: &'static str, sent: std::io::Result<()>) {
    if let Err(err) = sent {
        debug!(sink, %err, "failed to send metrics");
    }
}

/// One line, or nothing if the series had no value in the interval.
fn encode(series: &Shown, dialect: Dialect, tags: &[String]) -> Option<String> {
    let (value, unit) = match series.kind {
        Kind::Gauge => (series.gauge(), "g"),
        Kind::Counter => (non_empty(series)?.0, "c"),
        Kind::Sample => (non_empty(series)?.1, "ms"),
    };
    let mut line = clean(&series.name);
    match dialect {
        Dialect::Statsd => {
            for (_, label) in &series.labels {
                line.push('.');
                line.push_str(&clean(label));
            }
            let _ = write!(line, ":{value}|{unit}");
        }
        Dialect::Dogstatsd => {
            let _ = write!(line, ":{value}|{unit}");
            let labels = series
                .labels
                .iter()
                .map(|(key, value)| format!("{}:{}", clean(key), clean(value)));
            let all: Vec<String> = tags.iter().cloned().chain(labels).collect();
            if !all.is_empty() {
                let _ = write!(line, "|#{}", all.join(","));
            }
        }
    }
    line.push('\n');
    Some(line)
}

/// Sum and mean of the last interval.
fn non_empty(series: &Shown) -> Option<(f64, f64)> {
    let figures = series.interval(false);
    (figures.count > 0).then(|| (figures.sum, figures.mean()))
}

/// Characters with a meaning in the format become underscores.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| {
            if matches!(c, ':' | ' ' | '|' | '\n' | ',' | '#') {
                '_'
            } else {
                c
            }
        })
        .collect()
}

fn datagrams(lines: &[String]) -> Vec<String> {
    let mut packets: Vec<String> = Vec::new();
    for line in lines {
        match packets.last_mut() {
            Some(packet) if packet.len() + line.len() <= DATAGRAM => packet.push_str(line),
            _ => packets.push(line.clone()),
        }
    }
    packets
}

async fn send_udp(env: &Env, address: &str, lines: &[String]) -> std::io::Result<()> {
    let to = resolve(env, address).await?;
    let any: SocketAddr = if to.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(env, any, BindOptions::default())?;
    for packet in datagrams(lines) {
        socket.send_to(packet.as_bytes(), to).await?;
    }
    Ok(())
}

fn send_unix(path: &str, lines: &[String]) -> std::io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    for packet in datagrams(lines) {
        socket.send_to(packet.as_bytes(), path)?;
    }
    Ok(())
}

async fn send_tcp(env: &Env, address: &str, text: &[u8]) -> std::io::Result<()> {
    let to = resolve(env, address).await?;
    let exchange = async {
        let mut stream = TcpStream::connect(env, to).await?;
        stream.write_all(text).await?;
        stream.shutdown().await
    };
    env.timeout(Duration::from_secs(5), exchange)
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}

async fn resolve(env: &Env, address: &str) -> std::io::Result<SocketAddr> {
    if let Ok(addr) = address.parse() {
        return Ok(addr);
    }
    let name = address.to_owned();
    let found = env.spawn_blocking("resolve", move || {
        name.to_socket_addrs().map(|mut all| all.next())
    });
    found
        .await
        .map_err(std::io::Error::other)??
        .ok_or_else(|| std::io::Error::other("the name has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fill_datagrams_without_being_cut() {
        let lines: Vec<String> = (0..100)
            .map(|n| format!("consul.some.metric.{n:04}:1|c\n"))
            .collect();
        let packets = datagrams(&lines);
        assert!(
            packets
                .iter()
                .all(|packet| packet.len() <= DATAGRAM && packet.ends_with('\n'))
        );
        assert_eq!(packets.concat(), lines.concat());
    }

    #[test]
    fn characters_of_the_format_are_replaced() {
        assert_eq!(clean("a:b|c d"), "a_b_c_d");
    }
}
