//! Tests of the whole core: one node on a bench, and small clusters on virtual time.

mod bench;
mod cluster;
mod codec;
mod decisions;
mod exchanges;
mod model;
mod packets;
mod probes;
mod tally;
