//! HTTP/1.1 on one connection: one request at a time, bodies streamed.
//!
//! In: a request head without framing headers, a [`Payload`]. Out: a [`Response`] that is a reader of its body.
//! When the body has been read to its end and the peer allows it, the connection goes back to the client's slot.
//!
//! Invariants: a head is at most 64 KiB, a chunk line at most 4 KiB; a body that ends before its announced length
//! is an `UnexpectedEof` error, never a short success.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    sync::{Arc, Mutex, PoisonError},
};

use super::transport::{Stream, tls_text};

/// Longest head of an answer.
const HEAD_SIZE_MAX: u64 = 64 << 10;
/// Longest line that announces a chunk.
const CHUNK_LINE_SIZE_MAX: u64 = 4 << 10;

/// The body of a request.
pub enum Payload {
    /// None.
    Empty,
    /// All of it at hand.
    Bytes(Vec<u8>),
    /// Read while it is sent, in chunks of unknown total length.
    Stream(Box<dyn Read + Send>),
}

/// A connection that can carry a request.
pub(super) struct Connection {
    stream: BufReader<Stream>,
}

/// Head of an answer, and a reader of its body.
pub struct Response {
    /// HTTP status.
    pub status: u16,
    headers: Vec<(String, String)>,
    framing: Framing,
    keep_alive: bool,
    connection: Option<Connection>,
    idle: Arc<Mutex<Option<Connection>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// This many bytes are still to come.
    Length(u64),
    /// This many bytes of the current chunk are still to come; `None` before the next chunk's line.
    Chunk(Option<u64>),
    /// The body ends with the connection.
    UntilClose,
    /// Nothing more.
    Done,
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream: BufReader::with_capacity(16 << 10, stream),
        }
    }

    /// Whether it is open and no byte is left over from the last answer.
    pub(super) fn is_quiet(&self) -> bool {
        self.stream.buffer().is_empty() && self.stream.get_ref().is_quiet()
    }

    /// Sends one request and reads the head of the answer. `head` is the request line and headers, each line
    /// ended, without the empty one.
    pub(super) fn exchange(
        mut self,
        method: &str,
        head: &str,
        payload: Payload,
        idle: Arc<Mutex<Option<Connection>>>,
    ) -> Result<Response, String> {
        // An agent may answer and close while it is still being sent to (a body too large): the answer counts more
        // than the write error.
        let sent = self.write(method, head, payload);
        let answer = self.read_head();
        match (sent, answer) {
            (_, Ok((status, headers, keep_alive, framing))) => Ok(Response {
                status,
                headers,
                framing,
                keep_alive,
                connection: Some(self),
                idle,
            }),
            (Err(e), Err(_)) | (Ok(()), Err(e)) => Err(match e.kind() {
                io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
                _ => tls_text(&e),
            }),
        }
    }

    fn write(&mut self, method: &str, head: &str, payload: Payload) -> io::Result<()> {
        let out = self.stream.get_mut();
        let mut bytes = head.as_bytes().to_vec();
        match payload {
            Payload::Empty => {
                if method != "GET" {
                    bytes.extend_from_slice(b"Content-Length: 0\r\n");
                }
                bytes.extend_from_slice(b"\r\n");
                out.write_all(&bytes)?;
            }
            Payload::Bytes(body) => {
                bytes.extend_from_slice(
                    format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(),
                );
                bytes.extend_from_slice(&body);
                out.write_all(&bytes)?;
            }
            Payload::Stream(mut body) => {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                out.write_all(&bytes)?;
                let mut piece = vec![0; 64 << 10];
                loop {
                    let n = match body.read(&mut piece) {
                        Ok(n) => n,
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                        Err(e) => return Err(e),
                    };
                    if n == 0 {
                        break;
                    }
                    out.write_all(format!("{n:x}\r\n").as_bytes())?;
                    out.write_all(&piece[..n])?;
                    out.write_all(b"\r\n")?;
                }
                out.write_all(b"0\r\n\r\n")?;
            }
        }
        out.flush()
    }

    #[allow(clippy::type_complexity, reason = "read once, by the caller above")]
    fn read_head(&mut self) -> io::Result<(u16, Vec<(String, String)>, bool, Framing)> {
        loop {
            let mut limit = HEAD_SIZE_MAX;
            let status_line = self.line(&mut limit)?;
            let mut words = status_line.splitn(3, ' ');
            let version = words.next().unwrap_or_default();
            if !version.starts_with("HTTP/1.") {
                return Err(malformed("malformed HTTP response"));
            }
            let status: u16 = words
                .next()
                .and_then(|w| w.parse().ok())
                .ok_or_else(|| malformed("malformed HTTP status code"))?;
            let mut headers = Vec::new();
            loop {
                let line = self.line(&mut limit)?;
                if line.is_empty() {
                    break;
                }
                let (name, value) = line
                    .split_once(':')
                    .ok_or_else(|| malformed("malformed MIME header line"))?;
                headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
            if (100..200).contains(&status) {
                continue;
            }
            let find = |name: &str| {
                headers
                    .iter()
                    .find(|(n, _)| n == name)
                    .map(|(_, v)| v.as_str())
            };
            let close = find("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
            let chunked =
                find("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
            let framing = if status == 204 || status == 304 {
                Framing::Done
            } else if chunked {
                Framing::Chunk(None)
            } else if let Some(text) = find("content-length") {
                match text.parse() {
                    Ok(0) => Framing::Done,
                    Ok(n) => Framing::Length(n),
                    Err(_) => return Err(malformed("bad Content-Length")),
                }
            } else {
                Framing::UntilClose
            };
            let keep_alive = version == "HTTP/1.1" && !close && framing != Framing::UntilClose;
            return Ok((status, headers, keep_alive, framing));
        }
    }

    /// One line without its end; counts against `limit`.
    fn line(&mut self, limit: &mut u64) -> io::Result<String> {
        let mut bytes = Vec::new();
        let n = (&mut self.stream)
            .take(*limit)
            .read_until(b'\n', &mut bytes)?;
        *limit -= n as u64;
        if bytes.pop() != Some(b'\n') {
            return Err(if *limit == 0 {
                malformed("header too long")
            } else {
                io::ErrorKind::UnexpectedEof.into()
            });
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Response {
    /// First value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    fn finish(&mut self) {
        self.framing = Framing::Done;
        if let Some(connection) = self.connection.take()
            && self.keep_alive
        {
            *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        }
    }

    /// Reads the line before a chunk; the length is `None` after the last one.
    fn next_chunk(connection: &mut Connection, first: bool) -> io::Result<Option<u64>> {
        let mut limit = CHUNK_LINE_SIZE_MAX;
        if !first && !connection.line(&mut limit)?.is_empty() {
            return Err(malformed("malformed chunked encoding"));
        }
        let line = connection.line(&mut limit)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size =
            u64::from_str_radix(digits, 16).map_err(|_| malformed("malformed chunked encoding"))?;
        if size > 0 {
            return Ok(Some(size));
        }
        // Trailers.
        let mut limit = HEAD_SIZE_MAX;
        while !connection.line(&mut limit)?.is_empty() {}
        Ok(None)
    }
}

impl Read for Response {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(connection) = self.connection.as_mut() else {
                return Ok(0);
            };
            match self.framing {
                Framing::Done => {
                    self.finish();
                    return Ok(0);
                }
                Framing::UntilClose => {
                    let n = connection.stream.read(buf);
                    // TLS peers that close without goodbye end a body of unknown length all the same.
                    let n = match n {
                        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => 0,
                        other => other?,
                    };
                    if n == 0 {
                        self.finish();
                    }
                    return Ok(n);
                }
                Framing::Length(left) => {
                    let want = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
                    let n = connection.stream.read(&mut buf[..want])?;
                    if n == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.framing = match left - n as u64 {
                        0 => Framing::Done,
                        left => Framing::Length(left),
                    };
                    return Ok(n);
                }
                Framing::Chunk(Some(left)) if left > 0 => {
                    let want = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
                    let n = connection.stream.read(&mut buf[..want])?;
                    if n == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.framing = Framing::Chunk(Some(left - n as u64));
                    return Ok(n);
                }
                Framing::Chunk(state) => {
                    match Self::next_chunk(connection, state.is_none())? {
                        Some(size) => self.framing = Framing::Chunk(Some(size)),
                        None => self.framing = Framing::Done,
                    };
                }
            }
        }
    }
}

fn malformed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}
