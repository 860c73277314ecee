//! From arguments to a command.
//!
//! `-h`, `-help`, `--help` anywhere before `--` show help; `-v`, `-version`, `--version` before the command show the
//! version; no command or an unknown one shows the list and ends with 127 (spec cli.md section 1).

use crate::{
    command::{Action, Command, Failure, Run},
    commands, complete,
    flags::{FlagError, Flags},
    help,
    host::Host,
};

/// Runs one command line. `args` are the arguments behind the program's name. Returns the exit code.
pub fn run(args: &[String], mut host: Host<'_>) -> i32 {
    if let Some(line) = host.var("COMP_LINE").map(str::to_owned) {
        let point = host.var("COMP_POINT").and_then(|p| p.parse().ok());
        let words = complete::candidates(&line, point);
        words.iter().for_each(|w| host.out(w));
        return 0;
    }
    let before_dashes = args.iter().take_while(|a| *a != "--");
    let wants_help = before_dashes
        .clone()
        .any(|a| matches!(a.as_str(), "-h" | "-help" | "--help"));
    let first = args.iter().position(|a| !a.starts_with('-') || a == "-");
    let top = &args[..first.unwrap_or(args.len())];
    if top
        .iter()
        .any(|a| matches!(a.as_str(), "-v" | "-version" | "--version"))
    {
        return execute(commands::find("version"), &[], &mut host);
    }
    for (word, install) in [
        ("autocomplete-install", true),
        ("autocomplete-uninstall", false),
    ] {
        if top.iter().any(|a| a.trim_start_matches('-') == word) {
            return complete::install(&mut host, install);
        }
    }
    let words = &args[first.unwrap_or(args.len())..];
    let Some((command, rest)) = commands::longest(words) else {
        let text = help::overview(&host.program);
        if wants_help && words.is_empty() {
            host.out(&text);
            return 0;
        }
        host.err(&text);
        return 127;
    };
    if wants_help {
        let text = match command.action {
            Action::Agent => host.agent.help(),
            _ => help::page(&host.program, command),
        };
        host.out_bytes(text.as_bytes());
        return 0;
    }
    execute(Some(command), rest, &mut host)
}

fn execute(command: Option<&'static Command>, args: &[String], host: &mut Host<'_>) -> i32 {
    let Some(command) = command else { return 127 };
    let call = match command.action {
        Action::Call(call) => call,
        Action::Agent => return host.agent.run(args),
        Action::Group => {
            let page = help::page(&host.program, command);
            let _ = host.stderr.write_all(page.as_bytes());
            return 1;
        }
        Action::Later => {
            host.err(&format!("{} is not built yet", command.path));
            return 1;
        }
    };
    let (flags, args) = match Flags::parse(command.all_flags(), args) {
        Ok(parsed) => parsed,
        Err(error) => {
            let text = help::flag_usage(&error, command);
            let _ = host.stderr.write_all(text.as_bytes());
            return i32::from(error != FlagError::Help);
        }
    };
    let outcome = call(&mut Run { host, flags, args });
    match outcome {
        Ok(code) => code,
        Err(Failure::Text(text)) => {
            host.err(&text);
            1
        }
        Err(Failure::Usage(text)) => {
            host.err(&text);
            host.err("");
            let page = help::page(&host.program, command);
            let _ = host.stderr.write_all(page.as_bytes());
            1
        }
        Err(Failure::Help) => {
            let page = help::page(&host.program, command);
            let _ = host.stderr.write_all(page.as_bytes());
            1
        }
    }
}
