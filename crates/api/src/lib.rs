//! The HTTP API of Consul: JSON shapes, parameters and error texts for the server side, a client for the command line.

pub mod client;
