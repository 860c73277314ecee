//! Runs the fuzz targets one after the other and says what came of it (fuzz/README.md).
//!
//! The targets are programs of a workspace of their own, built by the stable compiler with the flags of
//! `fuzz/.cargo/config.toml`. Each keeps its corpus in `fuzz/corpus/<target>`, starts with seeds that it makes itself and
//! those in `fuzz/seeds/<target>`, and leaves inputs that fail in `fuzz/artifacts/<target>`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{root, run_in};

/// Inputs that fail begin with these.
const FOUND: [&str; 4] = ["crash-", "oom-", "timeout-", "leak-"];

/// Lines shown of the report of a target that failed; all of it is kept beside the input.
const REPORT_LINES_MAX: usize = 50;

/// What a run of one target gave.
struct Outcome {
    target: String,
    executions: u64,
    per_second: u64,
    edges: u64,
    crashes: usize,
}

/// `cargo xtask fuzz [SECONDS] [TARGET...]`: builds once, runs each target that long.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let (seconds, chosen) = match args.split_first() {
        Some((first, rest)) if first.bytes().all(|b| b.is_ascii_digit()) => (first.parse()?, rest),
        _ => (60, args),
    };
    let dir = root().join("fuzz");
    let mut targets = targets(&dir)?;
    if let Some(unknown) = chosen.iter().find(|name| !targets.contains(name)) {
        bail!(
            "there is no target {unknown}; there are: {}",
            targets.join(" ")
        );
    }
    targets.retain(|name| chosen.is_empty() || chosen.contains(name));
    // Inside the folder, where cargo finds the flags.
    run_in(&dir, "cargo", &["build", "--release", "--bins"])?;
    let outcomes: Result<Vec<Outcome>> = targets
        .iter()
        .map(|name| fuzz(&dir, name, seconds))
        .collect();
    let outcomes = outcomes?;
    print(&outcomes);
    let failed: Vec<&str> = outcomes
        .iter()
        .filter(|o| o.crashes > 0)
        .map(|o| &*o.target)
        .collect();
    if !failed.is_empty() {
        bail!(
            "inputs that fail are in fuzz/artifacts/: {}",
            failed.join(" ")
        );
    }
    Ok(())
}

/// Names of the targets, sorted.
fn targets(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for file in fs::read_dir(dir.join("src/bin")).context("cannot list fuzz/src/bin")? {
        let name = file?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn fuzz(dir: &Path, target: &str, seconds: u64) -> Result<Outcome> {
    let program = program(dir, target)?;
    let (corpus, artifacts) = (
        dir.join("corpus").join(target),
        dir.join("artifacts").join(target),
    );
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    let seeded = Command::new(&program)
        .env("TRIBUNE_FUZZ_SEEDS", &corpus)
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !seeded.success() {
        bail!("{target} cannot make its seeds");
    }
    let before = found(&artifacts)?;
    eprintln!("xtask: {target} for {seconds} s");
    let mut command = Command::new(&program);
    command
        .args([
            "-rss_limit_mb=512",
            "-timeout=10",
            "-max_len=32768",
            "-len_control=20",
            "-print_final_stats=1",
        ])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&corpus)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let kept = dir.join("seeds").join(target);
    if kept.is_dir() {
        command.arg(kept);
    }
    let output = command
        .output()
        .with_context(|| format!("cannot run {target}"))?;
    let report = String::from_utf8_lossy(&output.stderr);
    let new = found(&artifacts)?.saturating_sub(before);
    // A finding that was there before has the same name; the exit code tells.
    let crashes = if output.status.success() {
        new
    } else {
        new.max(1)
    };
    if crashes > 0 {
        fs::write(artifacts.join("report.txt"), report.as_bytes())?;
        eprintln!("{}", cause(&report));
    }
    Ok(Outcome {
        target: target.to_owned(),
        executions: stat(&report, "stat::number_of_executed_units:"),
        per_second: stat(&report, "stat::average_exec_per_sec:"),
        edges: stat(&report, " cov: "),
        crashes,
    })
}

/// The panic with the beginning of its backtrace; the end of the report if there is none, as when time or memory ran out.
fn cause(report: &str) -> String {
    let lines: Vec<&str> = report.lines().collect();
    let start = lines
        .iter()
        .position(|line| line.contains("panicked at"))
        .unwrap_or(lines.len().saturating_sub(REPORT_LINES_MAX));
    let end = lines.len().min(start + REPORT_LINES_MAX);
    lines[start..end].join("\n")
}

/// The number behind the last `mark`; 0 without.
fn stat(report: &str, mark: &str) -> u64 {
    let Some((_, rest)) = report.rsplit_once(mark) else {
        return 0;
    };
    let number = rest.split_whitespace().next();
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The program of a target; its folder is named after the machine's target triple.
fn program(dir: &Path, target: &str) -> Result<PathBuf> {
    for folder in fs::read_dir(dir.join("target"))? {
        let program = folder?.path().join("release").join(target);
        if program.is_file() {
            return Ok(program);
        }
    }
    bail!("{target} was not built");
}

fn found(artifacts: &Path) -> Result<usize> {
    let mut count = 0;
    for file in fs::read_dir(artifacts)? {
        let name = file?.file_name();
        let name = name.to_string_lossy();
        count += usize::from(FOUND.iter().any(|kind| name.starts_with(kind)));
    }
    Ok(count)
}

fn print(outcomes: &[Outcome]) {
    println!("| target | executions | exec/s | edges | crashes |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for Outcome {
        target,
        executions,
        per_second,
        edges,
        crashes,
    } in outcomes
    {
        println!("| {target} | {executions} | {per_second} | {edges} | {crashes} |");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_of_a_report_counts() {
        let report = "#2 INITED cov: 7 ft: 9\n#10 DONE   cov: 41 ft: 110\nstat::number_of_executed_units: 10\n";
        assert_eq!(stat(report, " cov: "), 41);
        assert_eq!(stat(report, "stat::number_of_executed_units:"), 10);
        assert_eq!(stat(report, "stat::average_exec_per_sec:"), 0);
    }

    #[test]
    fn what_is_shown_of_a_report_begins_with_the_panic() {
        let noise = "#1 pulse\n".repeat(100);
        let report = format!("{noise}thread panicked at a.rs:1\nboom\n{noise}");
        let shown = cause(&report);
        assert!(shown.starts_with("thread panicked at a.rs:1\nboom\n"));
        assert_eq!(shown.lines().count(), REPORT_LINES_MAX);
    }
}
