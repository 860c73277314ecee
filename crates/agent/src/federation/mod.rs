//! What is between datacenters on a server: who is where, how far, and the way there (rpc.md sections 4 and 5.1).
//!
//! In: the members of the WAN pool and their coordinates; requests that name another datacenter. Out: for each such
//! datacenter one [`Remote`], the names of datacenters by distance, and what their servers answer. A request abroad uses
//! nothing that local ones wait for: connections, budgets and tasks are its own ([`crate::client`] says how long it may
//! take).
//!
//! The rules of who is known and how far are in `atlas`, which is plain data; gossip is not here.

mod atlas;
mod keyring;
mod remote;
mod router;

pub(crate) use remote::Remote;
pub(crate) use router::Router;
