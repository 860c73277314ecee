//! Telling the service manager that the agent serves (sd_notify protocol: a datagram to `NOTIFY_SOCKET`).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tracing::debug;

/// Sends `READY=1` if a service manager listens.
pub(crate) fn ready() {
    let Some(target) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let target = target.to_string_lossy().into_owned();
    let sent = UnixDatagram::unbound().and_then(|socket| {
        // A leading @ stands for the zero byte of an abstract name.
        let addr = match target.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&target)?,
        };
        socket.send_to_addr(b"READY=1", &addr)
    });
    if let Err(err) = sent {
        debug!(%err, "the service manager was not told that the agent is ready");
    }
}
