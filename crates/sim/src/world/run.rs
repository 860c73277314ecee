//! One seed from its beginning to its end.

use std::time::Duration;

use super::{Bug, Mix, World};

/// How large a world is and how long things go wrong in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Servers.
    pub servers: usize,
    /// Client agents.
    pub clients: usize,
    /// How long things go wrong.
    pub chaos: Duration,
    /// A bug put in on purpose.
    pub bug: Option<Bug>,
}

/// What happened in a world.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Operations recorded.
    pub ops: usize,
    /// Those with an answer.
    pub answered: usize,
    /// Keys whose linearizability could not be decided within the bound.
    pub undecided: usize,
    /// Answers that watchers got.
    pub watched: u64,
    /// Terms that had a leader.
    pub terms: usize,
    /// States compared.
    pub states: usize,
    /// Faults.
    pub faults: u64,
    /// Writes that were refused for the time being, or whose fate is not known.
    pub failed: u64,
    /// Leaders that handed over when they were asked to.
    pub moved: u64,
    /// Leaders that were asked to and could not.
    pub kept: u64,
    /// Virtual time.
    pub virtual_ms: u64,
}

impl Report {
    /// Adds another report.
    pub fn add(&mut self, other: &Report) {
        self.ops += other.ops;
        self.answered += other.answered;
        self.undecided += other.undecided;
        self.watched += other.watched;
        self.terms += other.terms;
        self.states += other.states;
        self.faults += other.faults;
        self.failed += other.failed;
        self.moved += other.moved;
        self.kept += other.kept;
        self.virtual_ms += other.virtual_ms;
    }
}

/// Runs the world of a seed: a cluster forms, works while the seed's faults happen, heals, converges; then everything that
/// clients saw is checked, and all agents end.
///
/// # Errors
/// What must not be, with what happened before.
pub fn run_world(seed: u64, shape: Shape, mix: &Mix) -> Result<Report, String> {
    let mut builder = World::seeded(seed)
        .servers(shape.servers)
        .clients(shape.clients);
    if let Some(bug) = shape.bug {
        builder = builder.bug(bug);
    }
    let mut world = builder.build()?;
    let report = live(&mut world, shape, mix);
    report.map_err(|what| format!("{what}\n{}", world.describe()))
}

fn live(world: &mut World, shape: Shape, mix: &Mix) -> Result<Report, String> {
    world.until("a leader", Duration::from_secs(60), World::has_leader)?;
    world.chaos(mix, shape.chaos)?;
    world.heal()?;
    world.until("convergence", Duration::from_secs(300), World::converged)?;
    let report = world.check_clients()?;
    world.shutdown()?;
    Ok(report)
}
