//! Shell completion by the protocol of bash's `complete -C`: the shell runs the program with the line in `COMP_LINE`
//! and reads one candidate per line. Consul speaks the same, so that an installed completion goes on working.

use std::{fs, io, io::Write as _, path::PathBuf};

use crate::{commands, flags::Kind, host::Host};

/// Candidates for the word under the cursor of `line`; `point` is the cursor, the line's end if absent.
pub(crate) fn candidates(line: &str, point: Option<usize>) -> Vec<String> {
    let line = point.and_then(|p| line.get(..p)).unwrap_or(line);
    let mut words: Vec<String> = line.split_whitespace().skip(1).map(str::to_owned).collect();
    let current = if line.ends_with(char::is_whitespace) {
        String::new()
    } else {
        words.pop().unwrap_or_default()
    };
    let plain: Vec<String> = words
        .iter()
        .filter(|w| !w.starts_with('-'))
        .cloned()
        .collect();
    let command = commands::longest(&plain).map(|(c, _)| c);
    let mut found: Vec<String> = if current.starts_with('-') {
        let Some(command) = command else {
            return starting_with(&current, vec!["-version".to_owned(), "-help".to_owned()]);
        };
        command
            .all_flags()
            .map(|f| format!("-{}", f.name))
            .chain(["-help".to_owned()])
            .collect()
    } else {
        let takes_value = words
            .last()
            .filter(|w| w.starts_with('-') && !w.contains('='))
            .and_then(|w| {
                let name = w.trim_start_matches('-');
                command?
                    .all_flags()
                    .find(|f| f.name == name && !matches!(f.kind, Kind::Bool | Kind::LazyBool))
            });
        if takes_value.is_some() {
            return Vec::new();
        }
        let below = commands::below(command.map_or("", |c| c.path));
        below.into_iter().map(|(name, _)| name.to_owned()).collect()
    };
    found.sort();
    starting_with(&current, found)
}

fn starting_with(current: &str, mut words: Vec<String>) -> Vec<String> {
    let bare = current.trim_start_matches('-');
    let dashed = current.starts_with('-');
    words.retain(|w| {
        if dashed {
            w.trim_start_matches('-').starts_with(bare)
        } else {
            w.starts_with(current)
        }
    });
    words
}

/// Adds the completion to the start files of the shells found in the home folder, or takes it out.
pub(crate) fn install(host: &mut Host<'_>, install: bool) -> i32 {
    let Some(home) = host.var("HOME").map(PathBuf::from) else {
        host.err("HOME is not set");
        return 1;
    };
    let exe =
        std::env::current_exe().map_or_else(|_| host.program.clone(), |p| p.display().to_string());
    let name = host.program.clone();
    let bash = format!("complete -C {exe} {name}");
    let fish = format!(
        "function __complete_{name}\n    set -lx COMP_LINE (commandline -cp)\n    test -z (commandline -ct)\n    and set COMP_LINE \"$COMP_LINE \"\n    {exe}\nend\ncomplete -f -c {name} -a \"(__complete_{name})\"\n"
    );
    let bash_file = [".bashrc", ".bash_profile", ".bash_login", ".profile"]
        .iter()
        .map(|f| home.join(f))
        .find(|p| p.is_file())
        .unwrap_or_else(|| home.join(".bashrc"));
    let mut problems = edit_lines(&bash_file, &[&bash], install)
        .err()
        .into_iter()
        .collect::<Vec<_>>();
    let zsh_file = home.join(".zshrc");
    if zsh_file.is_file() {
        let line = format!("complete -o nospace -C {exe} {name}");
        let first = "autoload -U +X bashcompinit && bashcompinit";
        let lines: Vec<&str> = if install {
            vec![first, &line]
        } else {
            vec![&line]
        };
        problems.extend(edit_lines(&zsh_file, &lines, install).err());
    }
    let fish_dir = home.join(".config/fish");
    if fish_dir.is_dir() {
        let file = fish_dir.join("completions").join(format!("{name}.fish"));
        let done = if install {
            fs::create_dir_all(fish_dir.join("completions")).and_then(|()| fs::write(&file, fish))
        } else {
            fs::remove_file(&file)
        };
        problems.extend(done.err().filter(|e| e.kind() != io::ErrorKind::NotFound));
    }
    for problem in &problems {
        host.err(&format!("Error executing CLI: {problem}"));
    }
    i32::from(!problems.is_empty())
}

/// Makes each of `lines` be in the file once, or not at all.
fn edit_lines(path: &std::path::Path, lines: &[&str], present: bool) -> io::Result<()> {
    let old = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(e),
    };
    if present {
        let missing: Vec<&&str> = lines
            .iter()
            .filter(|l| !old.lines().any(|o| o == **l))
            .collect();
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)?;
        for line in missing {
            writeln!(file, "{line}")?;
        }
        return Ok(());
    }
    let kept: String = old
        .lines()
        .filter(|l| !lines.contains(l))
        .map(|l| format!("{l}\n"))
        .collect();
    if kept == old {
        Ok(())
    } else {
        fs::write(path, kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_flags_complete() {
        // (line, candidates)
        for (line, want) in [
            ("consul op", "operator"),
            ("consul kv ", "delete export get import put"),
            ("consul kv g", "get"),
            ("consul operator raft ", "list-peers remove-peer"),
            ("consul kv get -re", "-recurse"),
            ("consul kv get --det", "-detailed"),
            ("consul kv get -separator ", ""),
            ("consul zork ", "zork"),
        ] {
            let got = candidates(line, None).join(" ");
            if want == "zork" {
                assert!(got.contains("catalog"), "{line}: {got}");
            } else {
                assert_eq!(got, want, "{line}");
            }
        }
        assert_eq!(candidates("consul kv get", Some(9)), ["kv"]);
    }

    #[test]
    fn lines_of_start_files_come_once_and_go() {
        let dir = std::env::temp_dir().join(format!("tribune-complete-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("rc");
        fs::write(&file, "a\n").unwrap();
        edit_lines(&file, &["x", "y"], true).unwrap();
        edit_lines(&file, &["x", "y"], true).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "a\nx\ny\n");
        edit_lines(&file, &["x"], false).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "a\ny\n");
        fs::remove_dir_all(&dir).unwrap();
    }
}
