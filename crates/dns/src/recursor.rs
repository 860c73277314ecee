//! Recursion: passing questions on to other servers, and asking them for the addresses of host names.
//!
//! A request is sent on as it came but for a fresh random id, over the transport it came by, to one recursor after the
//! other. An answer counts if it comes from the address asked, has that id and the same question, and says NOERROR or
//! NXDOMAIN; it is passed back as it is with the client's id (spec dns.md 8). Anything else means the next recursor.
//!
//! A recursor that is this very server is left out: it would only ask itself again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tribune_rt::Env;
use tribune_rt::net::{BindOptions, TcpStream, UdpSocket};

use crate::message::{HEADER_SIZE, Request};
use crate::options::Settings;
use crate::shape::Transport;
use crate::wire::{Name, Record, rcode, read_answers, read_name, rtype, same_wire_name, u16_at};

const MESSAGE_SIZE_MAX: usize = 65_535;

/// Asks other servers.
#[derive(Debug, Clone)]
pub(crate) struct Recursors {
    pub(crate) env: Env,
    /// Own addresses.
    pub(crate) listen: Arc<[SocketAddr]>,
}

impl Recursors {
    /// Passes `packet` on. The answer with the client's id, or `None` if no recursor had one.
    pub(crate) async fn forward(
        &self,
        packet: &[u8],
        request: &Request,
        transport: Transport,
        settings: &Settings,
    ) -> Option<Vec<u8>> {
        let mut message = packet.to_vec();
        let mut answer = self
            .ask(
                &mut message,
                request.name.wire(),
                request.qtype,
                transport,
                settings,
            )
            .await?;
        answer
            .get_mut(..2)?
            .copy_from_slice(&request.id.to_be_bytes());
        Some(answer)
    }

    /// Records of a host name elsewhere, by an A question over UDP; none if nobody knows.
    pub(crate) async fn host(&self, host: &Name, settings: &Settings) -> Vec<Record> {
        let mut message = vec![0; HEADER_SIZE];
        message[2] = 1; // recursion desired
        message[5] = 1;
        message.extend_from_slice(host.wire());
        message.extend_from_slice(&[0, 1, 0, 1]);
        match self
            .ask(
                &mut message,
                host.wire(),
                rtype::A,
                Transport::Udp,
                settings,
            )
            .await
        {
            Some(answer) => read_answers(&answer),
            None => Vec::new(),
        }
    }

    async fn ask(
        &self,
        message: &mut [u8],
        name: &[u8],
        qtype: u16,
        transport: Transport,
        settings: &Settings,
    ) -> Option<Vec<u8>> {
        for &recursor in settings
            .options
            .recursors
            .iter()
            .filter(|recursor| !self.is_own(recursor))
        {
            let id = (self.env.random_u64() & 0xffff) as u16;
            message.get_mut(..2)?.copy_from_slice(&id.to_be_bytes());
            let exchange = async {
                match transport {
                    Transport::Udp => self.over_udp(message, name, qtype, recursor).await,
                    Transport::Tcp => self.over_tcp(message, name, qtype, recursor).await,
                }
            };
            match self
                .env
                .timeout(settings.options.recursor_timeout, exchange)
                .await
            {
                Ok(Ok(answer)) if matches!(answer[3] & 15, rcode::NOERROR | rcode::NXDOMAIN) => {
                    return Some(answer);
                }
                Ok(Ok(answer)) => {
                    tracing::debug!(%recursor, rcode = answer[3] & 15, "recursor did not answer the question")
                }
                Ok(Err(err)) => tracing::debug!(%recursor, %err, "recursor failed"),
                Err(_) => tracing::debug!(%recursor, "recursor timed out"),
            }
        }
        None
    }

    fn is_own(&self, recursor: &SocketAddr) -> bool {
        self.listen.iter().any(|own| {
            let any_local = own.ip().is_unspecified()
                && (recursor.ip().is_loopback() || recursor.ip().is_unspecified());
            own.port() == recursor.port() && (own.ip() == recursor.ip() || any_local)
        })
    }

    async fn over_udp(
        &self,
        message: &[u8],
        name: &[u8],
        qtype: u16,
        recursor: SocketAddr,
    ) -> io::Result<Vec<u8>> {
        let any: SocketAddr = if recursor.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            ([0u16; 8], 0).into()
        };
        let socket = UdpSocket::bind(&self.env, any, BindOptions::default())?;
        // Connected, so that only the recursor's datagrams arrive and its refusal is an error.
        socket.connect(recursor).await?;
        socket.send_to(message, recursor).await?;
        let mut answer = vec![0; MESSAGE_SIZE_MAX];
        loop {
            let (size, peer) = socket.recv_from(&mut answer).await?;
            if peer == recursor && is_answer(&answer[..size], message, name, qtype) {
                answer.truncate(size);
                answer.shrink_to_fit();
                return Ok(answer);
            }
        }
    }

    async fn over_tcp(
        &self,
        message: &[u8],
        name: &[u8],
        qtype: u16,
        recursor: SocketAddr,
    ) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.env, recursor).await?;
        let size = u16::try_from(message.len()).map_err(io::Error::other)?;
        let mut framed = Vec::with_capacity(message.len() + 2);
        framed.extend_from_slice(&size.to_be_bytes());
        framed.extend_from_slice(message);
        stream.write_all(&framed).await?;
        let size = usize::from(stream.read_u16().await?);
        let mut answer = Vec::new();
        (&mut stream)
            .take(size as u64)
            .read_to_end(&mut answer)
            .await?;
        if answer.len() == size && is_answer(&answer, message, name, qtype) {
            Ok(answer)
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not an answer to the question",
            ))
        }
    }
}

/// True if `answer` is a response with the id and the question of `message`.
fn is_answer(answer: &[u8], message: &[u8], name: &[u8], qtype: u16) -> bool {
    if answer.len() < HEADER_SIZE || answer[..2] != message[..2] || answer[2] & 0x80 == 0 {
        return false;
    }
    match u16_at(answer, 4) {
        // Some servers leave the question out of errors.
        Ok(0) => answer[3] & 15 != rcode::NOERROR,
        Ok(1) => {
            let mut asked = Vec::new();
            read_name(answer, HEADER_SIZE, &mut asked)
                .is_ok_and(|at| same_wire_name(&asked, name) && u16_at(answer, at) == Ok(qtype))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_response_with_the_same_id_and_question_is_an_answer() {
        let message = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x01a\x00\0\x01\0\x01";
        let mut answer = message.to_vec();
        answer[2] |= 0x80;
        let ok = |answer: &[u8]| is_answer(answer, message, b"\x01a\x00", rtype::A);
        assert!(ok(&answer));
        assert!(!ok(message), "a query");
        let changed = |at: usize, value: u8| {
            let mut other = answer.clone();
            other[at] = value;
            ok(&other)
        };
        assert!(
            !changed(0, 0x13)
                && !changed(13, b'b')
                && !changed(16, 28)
                && !changed(5, 2)
                && !changed(5, 0)
        );
        assert!(changed(13, b'A'), "letter case does not matter");
        for size in 0..answer.len() - 2 {
            assert!(!ok(&answer[..size]), "cut at {size}");
        }
    }
}
