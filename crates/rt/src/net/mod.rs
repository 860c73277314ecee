//! Sockets: TCP, UDP and Unix listeners and streams.
//!
//! The public types are newtypes over an enum of backends, tokio's sockets and those of a simulated
//! network ([`sim`]). Every constructor takes the [`Env`](crate::Env), which decides: an `Env` of a
//! simulated network has all its sockets there. Unix sockets are real only.
//!
//! A socket belongs to the reactor of the runtime it is created on: create it inside the task
//! (or the worker) that serves it.

pub mod sim;
mod tcp;
mod udp;
mod unix;

use std::io;

pub use tcp::{BindOptions, TcpListener, TcpStream};
pub use udp::{RecvBatch, SendBatch, UdpSocket};
pub use unix::{UnixListener, UnixStream};

/// Sockets panic in tokio when no reactor is there; this turns it into an error.
fn need_runtime() -> io::Result<()> {
    tokio::runtime::Handle::try_current()
        .map(|_| ())
        .map_err(io::Error::other)
}
