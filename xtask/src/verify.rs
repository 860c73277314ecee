//! What CI checks beside tests, read-only; and its counterpart that changes files.

use anyhow::Result;

use crate::{arrows, cargo, root, run_in};

/// Format, lints with warnings as errors, arrows and core purity, documentation.
pub(crate) fn verify() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    arrows::check()?;
    cargo(&[
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--no-default-features",
        "--",
        "-D",
        "warnings",
    ])?;
    // Links in docs are checked by the compiler of docs.
    run_in(
        &root(),
        "env",
        &[
            "RUSTDOCFLAGS=-D warnings",
            "cargo",
            "doc",
            "--quiet",
            "--workspace",
            "--no-deps",
            "--no-default-features",
        ],
    )?;
    eprintln!("xtask: verified");
    Ok(())
}

/// Formats and applies clippy's suggestions.
pub(crate) fn fix() -> Result<()> {
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--no-default-features",
        "--fix",
        "--allow-dirty",
    ])?;
    cargo(&["fmt", "--all"])
}

/// Runs every fuzz target for some seconds each. The targets are ordinary programs (fuzz/README.md).
pub(crate) fn fuzz(args: &[String]) -> Result<()> {
    let seconds = args.first().map_or("60", String::as_str);
    run_in(
        &root().join("fuzz"),
        "cargo",
        &["run", "--release", "--quiet", "--", "all", seconds],
    )
}
