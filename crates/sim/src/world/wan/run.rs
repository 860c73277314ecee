//! One seed of a world of several datacenters, from its beginning to its end.

use std::time::Duration;

use super::super::{Bug, Report, World};
use super::WanMix;
use super::judge::Counts;

/// All servers have met within this: what the first packets missed comes by the exchange of every minute.
pub const POOL_LIMIT: Duration = Duration::from_secs(200);

/// How large a world of several datacenters is, and what happens in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Federation {
    /// Servers and client agents of each datacenter.
    pub dcs: Vec<(usize, usize)>,
    /// How long things go wrong.
    pub chaos: Duration,
    /// A datacenter, by its number, that is cut off afterwards until all know it.
    pub lost: Option<usize>,
    /// A bug put in on purpose.
    pub bug: Option<Bug>,
}

/// What happened in a world of several datacenters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WanReport {
    /// In each of them, added up.
    pub report: Report,
    /// Between them.
    pub counts: Counts,
    /// The longest time until a lost datacenter was known to be, in ms.
    pub lost_ms_max: u64,
    /// The longest time until all ways were open again, in ms.
    pub routes_ms_max: u64,
    /// The longest time until the order was right after that, in ms.
    pub order_ms_max: u64,
}

impl WanReport {
    /// Adds another report.
    pub fn add(&mut self, other: &WanReport) {
        self.report.add(&other.report);
        self.counts.add(&other.counts);
        self.lost_ms_max = self.lost_ms_max.max(other.lost_ms_max);
        self.routes_ms_max = self.routes_ms_max.max(other.routes_ms_max);
        self.order_ms_max = self.order_ms_max.max(other.order_ms_max);
    }
}

/// Runs the world of a seed: datacenters form and meet, work while the seed's faults happen, heal, find each other again;
/// then everything that clients saw is checked, and all agents end.
///
/// # Errors
/// What must not be, with what happened before.
pub fn run_federation(seed: u64, shape: &Federation, mix: &WanMix) -> Result<WanReport, String> {
    let mut builder = World::seeded(seed).join_wan();
    for (number, (servers, clients)) in shape.dcs.iter().enumerate() {
        builder = builder.dc(&format!("dc{}", number + 1), *servers, *clients);
    }
    if let Some(bug) = shape.bug {
        builder = builder.bug(bug);
    }
    let mut world = builder.build()?;
    let report = live(&mut world, shape, mix);
    report.map_err(|what| format!("{what}\n{}", world.describe()))
}

fn live(world: &mut World, shape: &Federation, mix: &WanMix) -> Result<WanReport, String> {
    world.until("leaders", Duration::from_secs(60), World::has_leader)?;
    world.until("a WAN pool", POOL_LIMIT, World::wan_is_whole)?;
    world.routes()?;
    world.prepare_queries()?;
    world.wan_chaos(mix, shape.chaos)?;
    let ms = |time: Duration| time.as_millis() as u64;
    let mut report = WanReport::default();
    if let Some(dc) = shape.lost {
        report.lost_ms_max = ms(world.cut_off_for_good(dc)?);
    }
    world.heal()?;
    report.routes_ms_max = ms(world.routes()?);
    world.until("convergence", Duration::from_secs(300), World::converged)?;
    report.order_ms_max = ms(world.distances()?);
    world.events()?;
    world.queries_find_the_nearest()?;
    report.report = world.check_clients()?;
    report.counts = world.wan_counts();
    world.shutdown()?;
    Ok(report)
}

impl World {
    /// How often which rule between datacenters was asked.
    pub fn wan_counts(&self) -> Counts {
        self.wan
            .as_ref()
            .map(|wan| wan.counts.clone())
            .unwrap_or_default()
    }
}
