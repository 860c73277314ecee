//! The arrows between crates, and what cores may depend on.
//!
//! ARCHITECTURE.md holds the table: a line `crate -> crate, crate` per crate inside the block fenced by `arrows`.
//! An edge in cargo's metadata that is not in the table fails, and so does a table edge that no longer exists: the page
//! stays true. Crates of the layers L0 and L1 must not reach `serde`, `tokio`, `rustls` or `hyper` at any depth.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use crate::root;

/// Crates that must stay pure, by layer.
const CORES: [&str; 5] = ["types", "filter", "state", "local", "leader"];
/// What must not appear below them.
const IMPURE: [&str; 4] = ["serde", "tokio", "rustls", "hyper"];
const PREFIX: &str = "tribune-";

type Edges = BTreeMap<String, BTreeSet<String>>;

/// Compares cargo's view with the table.
pub(crate) fn check() -> Result<()> {
    let metadata = MetadataCommand::new()
        .current_dir(root())
        .exec()
        .context("cannot read cargo metadata")?;
    let table = read_table(&std::fs::read_to_string(root().join("ARCHITECTURE.md"))?)?;
    let mut problems = compare(&real_edges(&metadata), &table);
    problems.extend(impure_cores(&metadata)?);
    if problems.is_empty() {
        eprintln!("xtask: arrows and core purity hold");
        return Ok(());
    }
    bail!("{}", problems.join("\n"))
}

fn read_table(page: &str) -> Result<Edges> {
    let block = page
        .split("```arrows\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .context("ARCHITECTURE.md has no arrows block")?;
    let mut edges = Edges::new();
    for line in block.lines().filter(|line| !line.trim().is_empty()) {
        let (from, to) = line
            .split_once("->")
            .with_context(|| format!("no arrow in {line:?}"))?;
        let to = to
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        edges.insert(from.trim().to_owned(), to);
    }
    Ok(edges)
}

fn real_edges(metadata: &Metadata) -> Edges {
    let own = |name: &str| {
        name.strip_prefix(PREFIX)
            .or((name == "tribune").then_some("tribune"))
            .map(str::to_owned)
    };
    metadata
        .workspace_packages()
        .into_iter()
        .filter_map(|package| {
            let to = package
                .dependencies
                .iter()
                .filter(|dep| dep.kind == DependencyKind::Normal)
                .filter_map(|dep| own(&dep.name))
                .collect();
            Some((own(&package.name)?, to))
        })
        .collect()
}

fn compare(real: &Edges, table: &Edges) -> Vec<String> {
    let mut problems = Vec::new();
    for (from, to) in real {
        let Some(allowed) = table.get(from) else {
            problems.push(format!(
                "crate {from} is not in the table of ARCHITECTURE.md"
            ));
            continue;
        };
        for extra in to.difference(allowed) {
            problems.push(format!(
                "{from} -> {extra} is not in the table of ARCHITECTURE.md"
            ));
        }
        for gone in allowed.difference(to) {
            problems.push(format!(
                "{from} -> {gone} is in the table but not in Cargo.toml"
            ));
        }
    }
    for from in table.keys().filter(|from| !real.contains_key(*from)) {
        problems.push(format!(
            "the table names crate {from}, which does not exist"
        ));
    }
    problems
}

fn impure_cores(metadata: &Metadata) -> Result<Vec<String>> {
    let resolve = metadata
        .resolve
        .as_ref()
        .context("cargo metadata has no resolution")?;
    let below: BTreeMap<&PackageId, Vec<&PackageId>> = resolve
        .nodes
        .iter()
        .map(|node| {
            let normal = node
                .deps
                .iter()
                .filter(|dep| {
                    dep.dep_kinds
                        .iter()
                        .any(|kind| kind.kind == DependencyKind::Normal)
                })
                .map(|dep| &dep.pkg)
                .collect();
            (&node.id, normal)
        })
        .collect();
    let mut problems = Vec::new();
    for core in CORES {
        let name = format!("{PREFIX}{core}");
        let Some(package) = metadata
            .workspace_packages()
            .into_iter()
            .find(|p| *p.name == name)
        else {
            continue;
        };
        let mut seen = BTreeSet::new();
        let mut next = vec![&package.id];
        while let Some(id) = next.pop() {
            if !seen.insert(id) {
                continue;
            }
            if IMPURE.contains(&metadata[id].name.as_str()) {
                problems.push(format!("core {core} reaches {}", metadata[id].name));
            }
            next.extend(below.get(id).into_iter().flatten());
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(text: &str) -> Edges {
        read_table(&format!("# page\n```arrows\n{text}\n```\n")).expect("a block")
    }

    #[test]
    fn an_edge_outside_the_table_is_reported() {
        let problems = compare(&edges("http -> agent, state"), &edges("http -> agent"));
        assert_eq!(
            problems,
            ["http -> state is not in the table of ARCHITECTURE.md"]
        );
    }

    #[test]
    fn a_table_that_is_no_longer_true_is_reported() {
        let problems = compare(&edges("http -> agent"), &edges("http -> agent, rt\nold ->"));
        assert_eq!(problems.len(), 2);
    }
}
