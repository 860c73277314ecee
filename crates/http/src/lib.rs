//! The HTTP front: listeners, routing, and handlers that translate requests into calls on the agent's handle.
//!
//! To follow a request, start at `wrap` (what holds for every route), then `routes` (which handler), then `handlers`.
//! A handler is synchronous: it reads parameters and gives a `step::Step`, which is an answer, a query to run or a
//! future that owns only what it needs. Reads that need no waiting never allocate a future.
//!
//! Memory of a parked blocking query: hyper's 8 KiB read buffer is given back by hyper between requests only, so a
//! connection costs that, its task (under 2 KiB, pinned by a test) and the boxed future of the query.
//!
//! Rules of status codes, headers and texts: spec http-api.md; shapes and parameters live in `tribune-api`.

mod body;
mod conn;
mod cx;
mod gzip;
mod handlers;
mod limiter;
mod listen;
mod meters;
mod options;
mod path;
mod read;
mod request;
mod response;
mod routes;
mod server;
mod step;
mod tls;
mod wrap;

pub use options::{
    HttpOptions, HttpReload, Limits, Listener, Place, TlsError, TlsOptions, UnixPermissions,
};
pub use server::{BindError, HttpServer, serve};
