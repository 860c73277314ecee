//! What `/v1/agent/self` and `info` tell: the settings in effect and figures of the running agent.
//!
//! In: the configuration and a few figures that the caller has collected. Out: free-form values with the names of 1.8.7
//! (http-api.md section 3.1, cli.md `info`). Secrets never come out: what is named like one reads `hidden`.

mod definitions;
mod figures;
mod settings;
mod shown;

pub(crate) use figures::{ClientFigures, Figures, PoolFigures, Role, ServerFigures, stats};
pub(crate) use settings::debug_config;

#[cfg(test)]
mod tests;
