//! Behaviour of the core through its public interface, with a codec made for tests: rules one by one on a single node
//! ([`solo`]), and pools of several nodes on virtual time ([`pool`]).

mod codec;
mod events;
mod intents;
mod leave;
mod pool;
mod queries;
mod snapshot;
mod solo;
mod state;
mod tags;
mod tally;
mod upkeep;
