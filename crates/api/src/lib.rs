//! The HTTP API of Consul: JSON shapes, parameters and error texts for the server side, a client for the command line.

pub mod client;
pub mod errors;
pub mod json;
pub mod params;
pub mod parse;
pub mod render;
pub mod uuid;
