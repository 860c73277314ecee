//! What the simulated network promises.
