//! Byte streams to an agent: TCP, unix socket, TLS on top of either.
//!
//! Failures become the texts of Go's dialer (`dial tcp 127.0.0.1:1: connect: connection refused`), which scripts
//! and tests look for. How long a silent agent is waited for is the client's [`Patience`], kept below TLS, so that a
//! record that comes in pieces survives the pauses in which a stop is looked for.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rustls::{ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

use super::{
    config::{Address, ClientConfig, Patience, Scheme},
    error::io_text,
    host,
};

/// How long one address may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a wait that can be stopped looks whether it is.
const STOP_LOOK: Duration = Duration::from_millis(250);

/// A connected stream.
pub(super) enum Stream {
    Tcp(Socket<TcpStream>),
    Unix(Socket<UnixStream>),
    TlsTcp(Box<StreamOwned<ClientConnection, Socket<TcpStream>>>),
    TlsUnix(Box<StreamOwned<ClientConnection, Socket<UnixStream>>>),
}

/// A socket that waits as long as it was told.
pub(super) struct Socket<S> {
    inner: S,
    patience: Patience,
}

impl<S> Socket<S> {
    /// Sets the socket's own limits by `set_limits` (read, write), which both take `None` for none.
    fn new(
        inner: S,
        patience: &Patience,
        set_limits: impl FnOnce(&S, Option<Duration>, Option<Duration>) -> io::Result<()>,
    ) -> io::Result<Self> {
        let longest = patience.silence_max.map(|d| d.max(STOP_LOOK));
        let read = match patience.stop {
            Some(_) => Some(STOP_LOOK),
            None => longest,
        };
        if read.is_some() {
            set_limits(&inner, read, longest)?;
        }
        Ok(Self {
            inner,
            patience: patience.clone(),
        })
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "i/o timeout")
}

impl<S: Read> Read for Socket<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut since = None;
        loop {
            match self.inner.read(buf) {
                Err(e) if is_pause(&e) => {}
                other => return other,
            }
            if let Some(stop) = &self.patience.stop {
                if stop.load(Ordering::Relaxed) {
                    return Err(io::Error::other("stopped"));
                }
                let start = *since.get_or_insert_with(host::now);
                let limit = self.patience.silence_max;
                // The first pause has passed before the clock was looked at.
                if limit.is_none_or(|limit| start.elapsed() + STOP_LOOK < limit) {
                    continue;
                }
            }
            return Err(timed_out());
        }
    }
}

impl<S: Write> Write for Socket<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.inner.write(buf) {
            Err(e) if is_pause(&e) => Err(timed_out()),
            other => other,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Connects and shakes hands. The error is a text without the request's address.
pub(super) fn connect(
    config: &ClientConfig,
    tls: Option<&Arc<rustls::ClientConfig>>,
) -> Result<Stream, String> {
    match &config.address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path)
                .and_then(|stream| {
                    Socket::new(stream, &config.patience, |s, read, write| {
                        s.set_read_timeout(read)?;
                        s.set_write_timeout(write)
                    })
                })
                .map_err(|e| format!("dial unix {}: connect: {}", path.display(), io_text(&e)))?;
            match tls {
                None => Ok(Stream::Unix(stream)),
                Some(tls) => Ok(Stream::TlsUnix(handshake(tls, config, "", stream)?)),
            }
        }
        Address::Tcp(text) => {
            let (host, stream) = dial_tcp(text, config.scheme)?;
            let stream = Socket::new(stream, &config.patience, |s, read, write| {
                s.set_read_timeout(read)?;
                s.set_write_timeout(write)
            })
            .map_err(|e| format!("dial tcp {text}: {}", io_text(&e)))?;
            match tls {
                None => Ok(Stream::Tcp(stream)),
                Some(tls) => Ok(Stream::TlsTcp(handshake(tls, config, &host, stream)?)),
            }
        }
    }
}

fn dial_tcp(text: &str, scheme: Scheme) -> Result<(String, TcpStream), String> {
    let default_port = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    let (host, port) = split_host_port(text, default_port)
        .ok_or_else(|| format!("dial tcp: address {text}: invalid port"))?;
    let found: Vec<_> = (host.as_str(), port)
        .to_socket_addrs()
        .map_err(|_| format!("dial tcp: lookup {host}: no such host"))?
        .collect();
    let mut last = format!("dial tcp: lookup {host}: no such host");
    for addr in found {
        match TcpStream::connect_timeout(&addr, CONNECT_TIMEOUT) {
            Ok(stream) => {
                // Requests are written in one piece; waiting for more would only delay them.
                let _ = stream.set_nodelay(true);
                return Ok((host, stream));
            }
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                last = format!("dial tcp {addr}: i/o timeout");
            }
            Err(e) => last = format!("dial tcp {addr}: connect: {}", io_text(&e)),
        }
    }
    Err(last)
}

/// Splits `host:port`, `[v6]:port`, or a host alone.
fn split_host_port(text: &str, default_port: u16) -> Option<(String, u16)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        let port = match after.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None => default_port,
        };
        return Some((host.to_owned(), port));
    }
    match text.split_once(':') {
        Some((host, port)) => {
            // `:8500` means this machine, as in Go.
            let host = if host.is_empty() { "127.0.0.1" } else { host };
            Some((host.to_owned(), port.parse().ok()?))
        }
        None => Some((text.to_owned(), default_port)),
    }
}

fn handshake<S: Read + Write>(
    tls: &Arc<rustls::ClientConfig>,
    config: &ClientConfig,
    host: &str,
    mut stream: S,
) -> Result<Box<StreamOwned<ClientConnection, S>>, String> {
    let name = match (config.tls.server_name.as_str(), host) {
        ("", "") => "localhost",
        ("", host) => host,
        (name, _) => name,
    };
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| format!("tls: {name:?} is not a valid server name"))?;
    let mut session = ClientConnection::new(tls.clone(), name).map_err(|e| e.to_string())?;
    while session.is_handshaking() {
        if let Err(e) = session.complete_io(&mut stream) {
            return Err(tls_text(&e));
        }
    }
    Ok(Box::new(StreamOwned::new(session, stream)))
}

/// Says the two common failures as Go says them; the rest in rustls' words.
pub(super) fn tls_text(error: &io::Error) -> String {
    let inner = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(_)) => {
            "http: server gave HTTP response to HTTPS client".to_owned()
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            let name = match alert {
                rustls::AlertDescription::BadCertificate => "bad certificate".to_owned(),
                rustls::AlertDescription::CertificateRequired => "certificate required".to_owned(),
                rustls::AlertDescription::UnknownCA => "unknown certificate authority".to_owned(),
                other => format!("{other:?}"),
            };
            format!("remote error: tls: {name}")
        }
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            "x509: certificate signed by unknown authority".to_owned()
        }
        _ => io_text(error),
    }
}

impl Stream {
    /// Whether a kept connection can carry another request: still open, and nothing unasked waits in it.
    pub(super) fn is_quiet(&self) -> bool {
        let mut byte = [0u8; 1];
        let peeked = |set: &dyn Fn(bool) -> io::Result<()>,
                      peek: &mut dyn FnMut() -> io::Result<usize>| {
            if set(true).is_err() {
                return false;
            }
            let quiet = matches!(peek(), Err(e) if e.kind() == io::ErrorKind::WouldBlock);
            set(false).is_ok() && quiet
        };
        match self {
            Self::Tcp(s) => peeked(&|on| s.inner.set_nonblocking(on), &mut || {
                s.inner.peek(&mut byte)
            }),
            Self::TlsTcp(s) => peeked(&|on| s.sock.inner.set_nonblocking(on), &mut || {
                s.sock.inner.peek(&mut byte)
            }),
            // Unix sockets cannot be looked into on the stable toolchain; connecting anew is cheap.
            Self::Unix(_) | Self::TlsUnix(_) => false,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.read(buf),
            Self::Unix(s) => s.read(buf),
            Self::TlsTcp(s) => s.read(buf),
            Self::TlsUnix(s) => s.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.write(buf),
            Self::Unix(s) => s.write(buf),
            Self::TlsTcp(s) => s.write(buf),
            Self::TlsUnix(s) => s.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(s) => s.flush(),
            Self::Unix(s) => s.flush(),
            Self::TlsTcp(s) => s.flush(),
            Self::TlsUnix(s) => s.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (text, want) in [
            ("a:1", Some(("a", 1))),
            ("[::1]:2", Some(("::1", 2))),
            ("[::1]", Some(("::1", 80))),
            ("a", Some(("a", 80))),
            (":3", Some(("127.0.0.1", 3))),
            ("a:x", None),
            ("a:70000", None),
        ] {
            let want = want.map(|(h, p)| (h.to_owned(), p));
            assert_eq!(split_host_port(text, 80), want, "{text}");
        }
    }
}
