//! An agent: local services and their checks, the server inside it, and the one handle the fronts use.

mod cluster;
pub mod handle;
pub mod info;
mod local_state;

pub use handle::Handle;
pub use tribune_server::answer::{Answer, Form, Shared};
