//! The conformance ratchet: the tests of the official Go client that must pass, by name, in a file that only grows.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{cargo, root, run_in};

/// The file with one test name per line.
const PASSING: &str = "tests/conformance/passing.txt";

/// Runs the listed tests against the release binary. `DIR` holds the runner (`run.sh`, `baseline.tsv`).
/// With `--bless` every test of the runner's list runs, and those that pass are added to the file.
pub(crate) fn ratchet(args: &[String]) -> Result<()> {
    let bless = args.iter().any(|arg| arg == "--bless");
    let dir = args
        .iter()
        .find(|arg| !arg.starts_with("--"))
        .context("name the folder of the runner")?;
    let dir = Path::new(dir)
        .canonicalize()
        .with_context(|| format!("no folder {dir}"))?;
    cargo(&["build", "--release", "--package", "tribune"])?;
    let binary = root().join("target/release/tribune");
    let file = root().join(PASSING);
    let mut passing: BTreeSet<String> = std::fs::read_to_string(&file)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect();
    let list = std::fs::read_to_string(dir.join("baseline.tsv"))
        .context("the runner has no baseline.tsv")?;
    let work = root().join("target/conformance");
    std::fs::create_dir_all(&work)?;
    let chosen: String = list
        .lines()
        .enumerate()
        .filter(|(n, line)| {
            *n == 0 || bless || passing.contains(line.split('\t').next().unwrap_or_default())
        })
        .map(|(_, line)| format!("{line}\n"))
        .collect();
    let (chosen_file, record) = (work.join("list.tsv"), work.join("record.tsv"));
    std::fs::write(&chosen_file, &chosen)?;
    let path = |p: &Path| p.to_string_lossy().into_owned();
    let (runner, binary, chosen_file) =
        (path(&dir.join("run.sh")), path(&binary), path(&chosen_file));
    let record_name = path(&record);
    // Two at a time: one test leaves a core idle most of the time. No retries: a flaky test is a bug.
    let arguments = [
        binary.as_str(),
        "--list",
        &chosen_file,
        "-j",
        "2",
        "--retry",
        "0",
        "--all",
        "--record",
        &record_name,
    ];
    let ran = run_in(&root(), &runner, &arguments);
    if !bless {
        return ran;
    }
    let record = std::fs::read_to_string(record)?;
    passing.extend(record.lines().filter_map(|line| {
        let mut columns = line.split('\t');
        let name = columns.next()?;
        (columns.nth(1) == Some("pass")).then(|| name.to_owned())
    }));
    std::fs::create_dir_all(file.parent().context("no folder")?)?;
    std::fs::write(
        &file,
        passing
            .iter()
            .map(|name| format!("{name}\n"))
            .collect::<String>(),
    )?;
    if passing.is_empty() {
        bail!("no test passed");
    }
    eprintln!("xtask: {} tests pass", passing.len());
    Ok(())
}
