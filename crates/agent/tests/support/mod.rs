//! Agents without fronts, from configuration text.

use tribune_agent::logs::{LogOptions, Logs};
use tribune_agent::start::{Agent, Parts};
use tribune_config::{Config, Environment, load, parse_agent_flags};
use tribune_rt::Env;

fn config(hcl: &str) -> Config {
    let flags = parse_agent_flags(&["-hcl", hcl]).unwrap();
    load(&flags, &Environment::default()).unwrap().config
}

/// Starts an agent that logs nothing.
pub(crate) async fn start(env: &Env, hcl: String) -> Agent {
    let parts = Parts {
        config: config(&hcl),
        reload: Box::new(move || Ok(config(&hcl))),
        applied: Box::new(|_| {}),
        logs: Logs::start(env, &LogOptions::silent()).unwrap(),
        host: "host".to_owned(),
        revision: String::new(),
    };
    Agent::start(env, parts).await.unwrap()
}
