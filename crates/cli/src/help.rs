//! Help texts: the list of commands, and one page per command.
//!
//! Wrapped at 80 columns, without tabs; the conformance tests look for a `Usage: ` line.

use crate::{
    api_flags,
    command::{Action, Command},
    commands,
    flags::{Flag, FlagError},
};

/// Width of a help line.
const WIDTH: usize = 80;

/// The list of all commands.
pub(crate) fn overview(program: &str) -> String {
    let mut text = format!(
        "Usage: {program} [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n"
    );
    text.push_str(&list(commands::below("")));
    text
}

/// The page of one command.
pub(crate) fn page(program: &str, command: &Command) -> String {
    let mut text = format!("Usage: {program} {}", command.path);
    if !command.usage.is_empty() {
        text.push(' ');
        text.push_str(command.usage);
    }
    text.push('\n');
    for paragraph in command.about.split("\n\n").filter(|p| !p.trim().is_empty()) {
        text.push('\n');
        let paragraph = paragraph.replace("{p}", program);
        if paragraph.trim_start().starts_with('$') {
            for line in paragraph.lines() {
                text.push_str("      ");
                text.push_str(line.trim());
                text.push('\n');
            }
        } else {
            wrap(&mut text, &paragraph, 2);
        }
    }
    let client: Vec<&Flag> = api_flags::of(command.api).collect();
    section(&mut text, "HTTP API Options", client);
    section(&mut text, "Command Options", command.flags.iter().collect());
    if matches!(command.action, Action::Group) {
        text.push_str("\nSubcommands:\n");
        text.push_str(&list(commands::below(command.path)));
    }
    if matches!(command.action, Action::Later) {
        text.push('\n');
        wrap(&mut text, "This command is not built yet.", 2);
    }
    text
}

/// What Go prints below a flag error: every flag with its text.
pub(crate) fn flag_usage(error: &FlagError, command: &Command) -> String {
    let mut flags: Vec<&Flag> = command.all_flags().collect();
    flags.sort_by_key(|f| f.name);
    let mut text = match error {
        FlagError::Help => String::new(),
        error => format!("{error}\n"),
    };
    text.push_str("Usage:\n");
    for flag in flags {
        let word = flag.value_word();
        let blank = if word.is_empty() { "" } else { " " };
        text.push_str(&format!(
            "  -{}{blank}{word}\n    \t{}\n",
            flag.name, flag.help
        ));
    }
    text
}

fn section(text: &mut String, title: &str, mut flags: Vec<&Flag>) {
    if flags.is_empty() {
        return;
    }
    flags.sort_by_key(|f| f.name);
    text.push_str(&format!("\n{title}\n"));
    for flag in flags {
        let word = flag.value_word();
        if word.is_empty() {
            text.push_str(&format!("\n  -{}\n", flag.name));
        } else {
            text.push_str(&format!("\n  -{}=<{word}>\n", flag.name));
        }
        wrap(text, flag.help, 5);
    }
}

fn list(commands: Vec<(&'static str, &'static str)>) -> String {
    let width = commands.iter().map(|(n, _)| n.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, synopsis) in commands {
        text.push_str(&format!("    {name:width$}    {synopsis}\n"));
    }
    text
}

fn wrap(text: &mut String, paragraph: &str, indent: usize) {
    let mut column = 0;
    for word in paragraph.split_whitespace() {
        if column > 0 && column + 1 + word.len() > WIDTH {
            text.push('\n');
            column = 0;
        }
        if column == 0 {
            text.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.len();
    }
    text.push('\n');
}
