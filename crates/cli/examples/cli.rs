//! The command line without an agent: `cargo run -p tribune-cli --example cli -- kv get foo`.
//!
//! A link to it named `consul` makes its help and usage texts say so. Interrupts have their usual effect.

use std::sync::mpsc;

use tribune_cli::{Agent, Host, run};

struct NoAgent;

impl Agent for NoAgent {
    fn help(&self) -> String {
        "Usage: agent [options]\n".to_owned()
    }

    fn run(&self, _args: &[String]) -> i32 {
        eprintln!("there is no agent in this example");
        1
    }
}

fn main() {
    let mut args = std::env::args();
    let argv0 = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    let host = Host::of_process(&argv0, &NoAgent, no_interrupts, "example");
    std::process::exit(run(&args, host));
}

fn no_interrupts() -> mpsc::Receiver<()> {
    mpsc::channel().1
}
