//! The cluster half of the agent: where replicated data is read and written.
//!
//! Today every agent is a server and serves itself. A client agent will put the choice of a server here; nothing above
//! will notice.

use tribune_server::Server;

/// The way to the servers.
pub(crate) struct Cluster {
    server: Server,
}

impl Cluster {
    /// The way into the server of this process.
    pub(crate) fn own(server: Server) -> Cluster {
        Cluster { server }
    }

    /// The server of this process.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }
}
