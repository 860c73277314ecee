//! The conformance ratchet: the tests of the official Go client that must pass, by name, in files that only grow.
//!
//! Each is run twice: against a single server, and against a client of three servers (`client-of-three` stands in for the
//! binary). A test that cannot pass as a client is named with the reason in a file of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{cargo, root, run_in};

/// The folder of the lists, one test name per line, and of the stand-in.
const FOLDER: &str = "tests/conformance";
/// Tests that pass against a single server.
const PASSING: &str = "passing.txt";
/// Those of them that pass against a client of three servers, too.
const PASSING_AS_CLIENT: &str = "passing-client.txt";
/// The others: name, tab, reason.
const NOT_AS_CLIENT: &str = "not-as-client.txt";
/// What the runner is given in place of the binary.
const CLIENT_OF_THREE: &str = "client-of-three";

/// Runs the listed tests against the release binary. `DIR` holds the runner (`run.sh`, `baseline.tsv`).
/// With `--bless` every test of the runner's list runs, and those that pass are added to the file; with `--single` or
/// `--client` only one of the two ways is taken.
pub(crate) fn ratchet(args: &[String]) -> Result<()> {
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let dir = args
        .iter()
        .find(|arg| !arg.starts_with("--"))
        .context("name the folder of the runner")?;
    let runner = Runner::new(Path::new(dir))?;
    let lists = root().join(FOLDER);
    cargo(&["build", "--release", "--package", "tribune"])?;
    if !has("--client") {
        let binary = root().join("target/release/tribune");
        let file = lists.join(PASSING);
        if has("--bless") {
            runner.bless(&binary, &file, None)?;
        } else {
            runner.run(&binary, &names(&file)?)?;
        }
    }
    if !has("--single") {
        let binary = lists.join(CLIENT_OF_THREE);
        let file = lists.join(PASSING_AS_CLIENT);
        let passing = names(&lists.join(PASSING))?;
        if has("--bless") {
            runner.bless(&binary, &file, Some(&passing))?;
        }
        let as_client = names(&file)?;
        every_test_has_its_place(&passing, &as_client, &reasons(&lists.join(NOT_AS_CLIENT))?)?;
        if !has("--bless") {
            runner.run(&binary, &as_client)?;
        }
    }
    Ok(())
}

/// Fails unless each test that passes against a single server does so against a client, too, or cannot.
fn every_test_has_its_place(
    passing: &BTreeSet<String>,
    as_client: &BTreeSet<String>,
    cannot: &BTreeMap<String, String>,
) -> Result<()> {
    let placed = |name: &&String| as_client.contains(*name) || cannot.contains_key(*name);
    if let Some(name) = passing.iter().find(|name| !placed(name)) {
        bail!("{name} is in {PASSING}, but neither in {PASSING_AS_CLIENT} nor in {NOT_AS_CLIENT}");
    }
    if let Some(name) = as_client
        .iter()
        .find(|name| cannot.contains_key(*name) || !passing.contains(*name))
    {
        bail!("{name} is in {PASSING_AS_CLIENT}, and not in {PASSING} or in {NOT_AS_CLIENT}, too");
    }
    if let Some((name, _)) = cannot
        .iter()
        .find(|(name, why)| why.trim().is_empty() || !passing.contains(*name))
    {
        bail!("{name} is in {NOT_AS_CLIENT} without a reason, or not in {PASSING}");
    }
    Ok(())
}

fn names(file: &Path) -> Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("no {}", file.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn reasons(file: &Path) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("no {}", file.display()))?;
    let line = |line: &str| {
        let (name, why) = line.split_once('\t').unwrap_or((line, ""));
        (name.to_owned(), why.to_owned())
    };
    Ok(text.lines().map(line).collect())
}

/// The runner of the Go client's tests, which lives outside of this repository.
struct Runner {
    program: PathBuf,
    /// Its list of all tests it knows: a line of columns per test, the name first, below a heading.
    list: String,
}

impl Runner {
    fn new(dir: &Path) -> Result<Runner> {
        let dir = { dir.canonicalize() }.with_context(|| format!("no folder {}", dir.display()))?;
        let list = std::fs::read_to_string(dir.join("baseline.tsv"))
            .context("the runner has no baseline.tsv")?;
        Ok(Runner {
            program: dir.join("run.sh"),
            list,
        })
    }

    /// Runs these tests; all must pass.
    fn run(&self, binary: &Path, chosen: &BTreeSet<String>) -> Result<()> {
        self.start(binary, Some(chosen)).map(drop)
    }

    /// Runs these tests, or all, and adds those that pass to the file.
    fn bless(&self, binary: &Path, file: &Path, chosen: Option<&BTreeSet<String>>) -> Result<()> {
        // Some may fail.
        let ran = self.start(binary, chosen);
        let record =
            std::fs::read_to_string(record_file()).or_else(|_| ran.map(|()| String::new()))?;
        let mut passing = names(file).unwrap_or_default();
        passing.extend(record.lines().filter_map(|line| {
            let mut columns = line.split('\t');
            let name = columns.next()?;
            (columns.nth(1) == Some("pass")).then(|| name.to_owned())
        }));
        if passing.is_empty() {
            bail!("no test passed");
        }
        let text: String = passing.iter().map(|name| format!("{name}\n")).collect();
        std::fs::write(file, text)?;
        eprintln!("xtask: {} tests pass", passing.len());
        Ok(())
    }

    fn start(&self, binary: &Path, chosen: Option<&BTreeSet<String>>) -> Result<()> {
        let wanted = |line: &str| {
            let name = line.split('\t').next().unwrap_or_default();
            chosen.is_none_or(|chosen| chosen.contains(name))
        };
        let list: String = { self.list.lines().enumerate() }
            .filter(|(n, line)| *n == 0 || wanted(line))
            .map(|(_, line)| format!("{line}\n"))
            .collect();
        let record = record_file();
        let list_file = record.with_file_name("list.tsv");
        std::fs::create_dir_all(record.parent().context("no folder")?)?;
        std::fs::write(&list_file, list)?;
        // One of an earlier run would be taken for this one's.
        let _ = std::fs::remove_file(&record);
        let path = |p: &Path| p.to_string_lossy().into_owned();
        let (program, binary) = (path(&self.program), path(binary));
        let (list_file, record) = (path(&list_file), path(&record));
        // Two at a time: one test leaves a core idle most of the time. No retries: a flaky test is a bug.
        let arguments = [
            &binary, "--list", &list_file, "-j", "2", "--retry", "0", "--all", "--record", &record,
        ];
        run_in(&root(), &program, &arguments)
    }
}

/// Where the runner writes what came of each test.
fn record_file() -> PathBuf {
    root().join("target/conformance/record.tsv")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_test_without_a_place_or_with_two_is_named() {
        // (against a single server, as client, cannot with reason, fault)
        for (passing, client, cannot, fault) in [
            (vec!["a", "b"], vec!["a"], vec![("b", "one peer")], None),
            (vec!["a", "b"], vec!["a"], vec![], Some("b")),
            (vec!["a"], vec!["a"], vec![("a", "why")], Some("a")),
            (vec!["a"], vec!["a", "c"], vec![], Some("c")),
            (vec!["a", "b"], vec!["a"], vec![("b", " ")], Some("b")),
            (vec!["a"], vec!["a"], vec![("c", "gone")], Some("c")),
        ] {
            let cannot = { cannot.iter() }
                .map(|(name, why)| ((*name).to_owned(), (*why).to_owned()))
                .collect();
            let found = every_test_has_its_place(&set(&passing), &set(&client), &cannot);
            match fault {
                None => assert!(found.is_ok(), "{found:?}"),
                Some(name) => assert!(
                    found.is_err_and(|err| err.to_string().starts_with(name)),
                    "{passing:?} {client:?}"
                ),
            }
        }
    }
}
