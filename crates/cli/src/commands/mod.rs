//! The table of commands, one module per group.

mod agent_local;
mod autopilot;
mod catalog;
mod child;
mod debug;
mod events;
mod exec;
mod groups;
mod keyring;
mod kv;
mod kv_transfer;
mod later;
mod lock;
mod maint;
mod members;
mod monitor;
mod offline;
mod raft;
mod replicate;
mod rtt;
mod services;
mod snapshot;
mod watch;

use crate::command::Command;

/// Every command.
pub(crate) fn all() -> impl Iterator<Item = &'static Command> {
    [
        groups::COMMANDS,
        agent_local::COMMANDS,
        autopilot::COMMANDS,
        catalog::COMMANDS,
        debug::COMMANDS,
        events::COMMANDS,
        exec::COMMANDS,
        keyring::COMMANDS,
        kv::COMMANDS,
        kv_transfer::COMMANDS,
        later::COMMANDS,
        lock::COMMANDS,
        maint::COMMANDS,
        members::COMMANDS,
        monitor::COMMANDS,
        offline::COMMANDS,
        raft::COMMANDS,
        replicate::COMMANDS,
        rtt::COMMANDS,
        services::COMMANDS,
        snapshot::COMMANDS,
        watch::COMMANDS,
    ]
    .into_iter()
    .flatten()
}

/// The command of this name.
pub(crate) fn find(path: &str) -> Option<&'static Command> {
    all().find(|c| c.path == path)
}

/// The command whose name is the longest beginning of `words`, and the words behind it.
pub(crate) fn longest(words: &[String]) -> Option<(&'static Command, &[String])> {
    (1..=words.len().min(3))
        .rev()
        .find_map(|n| Some((find(&words[..n].join(" "))?, &words[n..])))
}

/// Name and synopsis of the commands one level below `path`, by name. Internal ones stay out.
pub(crate) fn below(path: &str) -> Vec<(&'static str, &'static str)> {
    let mut list: Vec<_> = all()
        .filter(|c| !c.synopsis.is_empty())
        .filter_map(|c| {
            let name = match path {
                "" => c.path,
                path => c.path.strip_prefix(path)?.strip_prefix(' ')?,
            };
            (!name.contains(' ')).then_some((name, c.synopsis))
        })
        .collect();
    list.sort_unstable();
    list
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{command::Action, help};

    #[test]
    fn every_command_has_a_page_of_at_most_eighty_columns() {
        for command in all() {
            let page = help::page("consul", command);
            assert!(
                page.starts_with(&format!("Usage: consul {}", command.path)),
                "{page}"
            );
            assert!(!page.contains('\t'), "{}", command.path);
            for line in page.lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", command.path);
            }
        }
    }

    #[test]
    fn names_are_unique_and_their_groups_exist() {
        let mut seen = BTreeSet::new();
        for command in all() {
            assert!(seen.insert(command.path), "{} twice", command.path);
            if let Some((group, _)) = command.path.rsplit_once(' ')
                && !command.synopsis.is_empty()
            {
                let group = find(group).unwrap_or_else(|| panic!("no group {group}"));
                assert!(matches!(group.action, Action::Group), "{}", group.path);
            }
            let mut flags = BTreeSet::new();
            for flag in command.all_flags() {
                assert!(
                    flags.insert(flag.name),
                    "{} -{} twice",
                    command.path,
                    flag.name
                );
            }
        }
    }

    #[test]
    fn the_longest_name_wins() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (line, path, rest) in [
            ("kv get a", "kv get", 1),
            ("kv zork", "kv", 1),
            ("operator raft list-peers", "operator raft list-peers", 0),
            ("kv", "kv", 0),
        ] {
            let line = words(line);
            let (command, got) = longest(&line).unwrap();
            assert_eq!((command.path, got.len()), (path, rest));
        }
        assert!(longest(&words("zork kv")).is_none());
    }
}
