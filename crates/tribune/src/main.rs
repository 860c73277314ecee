//! The binary: one program that is agent, server and command line.
//!
//! `main` hands the arguments to the command line, which calls back for `agent`. A link named `consul` behaves the same.

mod agent;
mod banner;
mod fronts;
mod interrupts;
mod pid_file;
mod resident;
mod systemd;

use std::process::ExitCode;

#[cfg(feature = "jemalloc")]
mod allocator;

fn main() -> ExitCode {
    let mut args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let program = args.next().unwrap_or_else(|| "tribune".to_owned());
    let rest: Vec<String> = args.collect();
    let agent = agent::AgentCommand;
    let mut host =
        tribune_cli::Host::of_process(&program, &agent, interrupts::catch, agent::REVISION);
    host.hangups = interrupts::catch_hangups;
    let code = tribune_cli::run(&rest, host);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
