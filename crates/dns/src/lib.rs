//! The DNS front: names of nodes and services answered from the catalog (spec dns.md).
//!
//! ```text
//! packet -> message (parse) -> name (what is asked) -> resolve (the core) -> shape (limits) -> write (bytes)
//!                                                       | needs facts
//!             catalog (agent::Handle), recursor (other servers) <- front, udp, tcp (drivers)
//! ```
//!
//! The core is synchronous and owns nothing: it is run with the facts known so far and either answers or says what to
//! look up. `instances` derives from an answer of the catalog, once per version of it, what questions pick from, so
//! that a question costs the same for 3 and for 3,000 instances.
//!

mod catalog;
mod front;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod instances;
mod message;
mod name;
mod options;
mod pick;
#[cfg(test)]
mod prepared;
mod records;
mod recursor;
mod resolve;
mod server;
mod shape;
mod tcp;
mod udp;
mod wire;
mod write;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod speed;
#[cfg(any(test, fuzzing))]
mod world;

pub use options::{DnsOptions, DomainError, RecursorError, SoaOptions, recursor_addr};
pub use server::{BindError, DnsServer, serve};
