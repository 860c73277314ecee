//! Chores of the project as one command, so that people and CI do the same: `cargo xtask help`.

mod arrows;
mod conformance;
mod fuzz;
mod verify;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("xtask: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let rest = args.get(1..).unwrap_or_default();
    match args.first().map(String::as_str) {
        Some("test") => test(rest),
        Some("simulate") => simulate(rest),
        Some("verify") => verify::verify(),
        Some("fix") => verify::fix(),
        Some("arrows") => arrows::check(),
        Some("conformance") => conformance::ratchet(rest),
        Some("fuzz") => fuzz::run(rest),
        _ => {
            println!(
                "cargo xtask test [ARGS]      all tests (arguments go to the test runner)\n\
                 cargo xtask simulate [SEEDS [WORLDS]]  so many simulated clusters (2000), and worlds of several\n\
                 \x20                            datacenters (a quarter as many)\n\
                 cargo xtask verify           read-only: format, lints, arrows and core purity, docs\n\
                 cargo xtask fix              format and apply what clippy can fix\n\
                 cargo xtask arrows           only the crate arrows and core purity\n\
                 cargo xtask conformance DIR  the Go client tests of tests/conformance/, by the runner in DIR, against\n\
                 \x20                            a single server and against a client of three (--single, --client: one of them)\n\
                 cargo xtask fuzz [SECONDS] [TARGET...]  every fuzz target, or those, for that long each (60)"
            );
            Ok(())
        }
    }
}

/// Runs all tests: by nextest where it is installed (a process and a time limit per test), else by cargo test.
fn test(args: &[String]) -> Result<()> {
    let nextest = Command::new("cargo")
        .args(["nextest", "--version"])
        .output()
        .is_ok_and(|out| out.status.success());
    // jemalloc takes longer to build than all tests; it belongs in the release binary.
    let common = ["--workspace", "--no-default-features"];
    if nextest {
        let mut all = vec!["nextest", "run"];
        all.extend(common);
        all.extend(args.iter().map(String::as_str));
        cargo(&all)?;
        cargo(&[
            "test",
            "--quiet",
            "--workspace",
            "--no-default-features",
            "--doc",
        ])
    } else {
        let mut all = vec!["test"];
        all.extend(common);
        all.extend(args.iter().map(String::as_str));
        cargo(&all)
    }
}

/// Runs simulated clusters and worlds of several datacenters, a seed each, in a profile of their own.
fn simulate(args: &[String]) -> Result<()> {
    let count = |at: usize, otherwise: u64| match args.get(at) {
        None => Ok(otherwise),
        Some(text) => text.parse().with_context(|| format!("no count: {text:?}")),
    };
    let clusters = count(0, 2000)?;
    let federations = count(1, clusters.div_ceil(4))?;
    for (test, seeds) in [("world", clusters), ("federation", federations)] {
        let args = [
            "test",
            "--profile",
            "sim",
            "--package",
            "tribune-sim",
            "--test",
            test,
            "--",
            "--nocapture",
        ];
        eprintln!("xtask: TRIBUNE_SEEDS={seeds} cargo {}", args.join(" "));
        let status = Command::new("cargo")
            .args(args)
            .env("TRIBUNE_SEEDS", seeds.to_string())
            .current_dir(root())
            .status()
            .context("cannot run cargo")?;
        if !status.success() {
            bail!("a simulated world broke a promise, or did not build");
        }
    }
    Ok(())
}

/// Runs cargo in the workspace root and fails if it fails.
fn cargo(args: &[&str]) -> Result<()> {
    run_in(&root(), "cargo", args)
}

fn run_in(dir: &Path, program: &str, args: &[&str]) -> Result<()> {
    eprintln!("xtask: {program} {}", args.join(" "));
    let status = Command::new(program)
        .args(args)
        .current_dir(dir)
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("{program} {} failed", args.join(" "));
    }
    Ok(())
}

/// The workspace root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}
