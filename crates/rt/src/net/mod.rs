//! Sockets: TCP, UDP and Unix listeners and streams.
//!
//! The public types are newtypes over an enum of backends. The real one (tokio) is the only one
//! today; a simulated network becomes a second variant without touching a user, which is why
//! every constructor takes the [`Env`](crate::Env).
//!
//! A socket belongs to the reactor of the runtime it is created on: create it inside the task
//! (or the worker) that serves it.

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
