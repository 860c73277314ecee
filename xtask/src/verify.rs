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
