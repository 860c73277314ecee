//! What a flow has done so far, and how others see it: numbers for a terminal, text for Prometheus.
//!
//! | metric | kind | meaning |
//! | --- | --- | --- |
//! | `tribune_replicate_active` | gauge | 1 while this process holds the prefix's lock |
//! | `tribune_replicate_passes_total` | counter | complete passes |
//! | `tribune_replicate_keys_compared_total` | counter | keys found equal |
//! | `tribune_replicate_keys_written_total` | counter | keys written |
//! | `tribune_replicate_keys_deleted_total` | counter | keys deleted |
//! | `tribune_replicate_keys_refused_total` | counter | keys the destination refused |
//! | `tribune_replicate_bytes_written_total` | counter | bytes of values written, in base64 |
//! | `tribune_replicate_errors_total` | counter | passes that failed |
//! | `tribune_replicate_source_index` | gauge | index of the source at the last complete pass |
//! | `tribune_replicate_last_success_seconds` | gauge | its end, seconds since 1970 |

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::host;

/// Longest request head that is read.
const HEAD_SIZE_MAX: usize = 8 << 10;
/// How long a client of the metrics may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Numbers of one flow.
#[derive(Debug, Default)]
pub struct Meters {
    /// Names in metrics: source prefix, source datacenter, destination prefix, destination.
    pub(crate) labels: [String; 4],
    pub(crate) active: AtomicBool,
    pub(crate) passes: AtomicU64,
    pub(crate) same: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) deleted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) source_index: AtomicU64,
    pub(crate) last_success: AtomicU64,
    /// Keys of the pass under way, and how many the last complete one had; 0 between passes.
    pub(crate) pass_keys: AtomicU64,
    pub(crate) keys_expected: AtomicU64,
}

/// A reading of [`Meters`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// This process holds the lock.
    pub active: bool,
    /// Complete passes.
    pub passes: u64,
    /// Keys found equal, over all passes.
    pub same: u64,
    /// Keys written.
    pub written: u64,
    /// Keys deleted.
    pub deleted: u64,
    /// Keys the destination refused.
    pub refused: u64,
    /// Keys of the pass under way; 0 between passes.
    pub pass_keys: u64,
    /// Keys of the last complete pass, 0 if unknown.
    pub keys_expected: u64,
}

impl Meters {
    /// `SOURCE@DATACENTER -> DESTINATION@DATACENTER`.
    pub fn name(&self) -> String {
        let [source, dc, destination, to] = &self.labels;
        let all = |text: &str| {
            if text.is_empty() {
                "*".to_owned()
            } else {
                text.to_owned()
            }
        };
        format!("{}@{dc} -> {}@{to}", all(source), all(destination))
    }

    /// Reads all.
    pub fn counts(&self) -> Counts {
        Counts {
            active: self.active.load(Relaxed),
            passes: self.passes.load(Relaxed),
            same: self.same.load(Relaxed),
            written: self.written.load(Relaxed),
            deleted: self.deleted.load(Relaxed),
            refused: self.refused.load(Relaxed),
            pass_keys: self.pass_keys.load(Relaxed),
            keys_expected: self.keys_expected.load(Relaxed),
        }
    }
}

/// The text form of all flows' numbers.
pub(crate) fn render(all: &[Arc<Meters>]) -> String {
    type Reading = fn(&Meters) -> u64;
    let rows: [(&str, &str, Reading); 10] = [
        ("active", "gauge", |m| u64::from(m.active.load(Relaxed))),
        ("passes_total", "counter", |m| m.passes.load(Relaxed)),
        ("keys_compared_total", "counter", |m| m.same.load(Relaxed)),
        ("keys_written_total", "counter", |m| m.written.load(Relaxed)),
        ("keys_deleted_total", "counter", |m| m.deleted.load(Relaxed)),
        ("keys_refused_total", "counter", |m| m.refused.load(Relaxed)),
        ("bytes_written_total", "counter", |m| m.bytes.load(Relaxed)),
        ("errors_total", "counter", |m| m.errors.load(Relaxed)),
        ("source_index", "gauge", |m| m.source_index.load(Relaxed)),
        ("last_success_seconds", "gauge", |m| {
            m.last_success.load(Relaxed)
        }),
    ];
    let mut text = String::new();
    for (name, kind, read) in rows {
        text.push_str(&format!("# TYPE tribune_replicate_{name} {kind}\n"));
        for meters in all {
            let [source, dc, destination, to] = meters.labels.each_ref().map(|l| label(l));
            text.push_str(&format!(
                "tribune_replicate_{name}{{source=\"{source}\",datacenter=\"{dc}\",destination=\"{destination}\",to=\"{to}\"}} {}\n",
                read(meters)
            ));
        }
    }
    text
}

fn label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Serves the metrics of whatever flows `current` holds at that moment, until the process ends.
///
/// `GET /metrics` (or `/`) answers; one request at a time, each within two seconds.
///
/// # Errors
/// When the address cannot be listened on, or no thread be started.
pub fn serve_metrics(
    addr: SocketAddr,
    current: Arc<Mutex<Vec<Arc<Meters>>>>,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(addr)?;
    let bound = listener.local_addr()?;
    host::spawn("metrics", move || {
        for stream in listener.incoming() {
            match stream {
                // A client that goes away hurts nobody.
                Ok(stream) => drop(answer(stream, &current)),
                // Out of descriptors, for instance: others may be freed.
                Err(_) => host::sleep(Duration::from_millis(100)),
            }
        }
    })?;
    Ok(bound)
}

fn answer(mut stream: TcpStream, current: &Mutex<Vec<Arc<Meters>>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    let start = host::now();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        let n = stream.read(&mut piece)?;
        if n == 0 || head.len() > HEAD_SIZE_MAX || start.elapsed() > PATIENCE {
            return Ok(());
        }
        head.extend_from_slice(&piece[..n]);
    }
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let target = (words.next(), words.next());
    let (status, body) = match target {
        (Some("GET"), Some("/" | "/metrics")) => {
            let all = current.lock().unwrap_or_else(PoisonError::into_inner);
            ("200 OK", render(&all))
        }
        (Some("GET"), _) => ("404 Not Found", String::new()),
        _ => ("405 Method Not Allowed", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_served_with_their_labels_escaped() {
        let meters = Arc::new(Meters {
            labels: ["a\"b/", "dc1", "", "dc2"].map(str::to_owned),
            ..Meters::default()
        });
        meters.written.store(7, Relaxed);
        assert_eq!(meters.name(), "a\"b/@dc1 -> *@dc2");
        let current = Arc::new(Mutex::new(vec![meters]));
        let addr = serve_metrics("127.0.0.1:0".parse().unwrap(), current).unwrap();
        let ask = |request: &str| {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        };
        let text = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        let row = r#"tribune_replicate_keys_written_total{source="a\"b/",datacenter="dc1",destination="",to="dc2"} 7"#;
        assert!(text.contains(row), "{text}");
        assert!(ask("GET /x HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(ask("PUT / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
    }
}
