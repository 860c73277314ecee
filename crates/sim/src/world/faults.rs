//! What goes wrong in a world, drawn from its seed.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::{SeedableRng, seq::IndexedRandom};

use super::wan::WanUndo;

/// Kinds of faults. A mix has each or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Two groups that do not hear each other.
    Partition,
    /// One group does not hear the other, which hears it.
    OneWay,
    /// The leader alone.
    IsolateLeader,
    /// A link with long delays.
    SlowLink,
    /// Datagrams lost, doubled and out of order, streams stalling, everywhere.
    Lossy,
    /// A process killed, its disk unharmed.
    Kill,
    /// The leader's process killed.
    KillLeader,
    /// A machine loses power: unsynced writes are lost or torn.
    PowerLoss,
    /// All machines lose power.
    PowerLossAll,
    /// A machine that dies in the middle of a write, sync, create, rename or removal.
    DieInWrite,
    /// A write or a sync fails once.
    DiskError,
    /// No room on the disk for a while.
    DiskFull,
    /// A wall clock that jumps.
    ClockJump,
    /// A clock that runs fast or slow.
    ClockDrift,
    /// A process that stops for a while and goes on.
    Pause,
    /// The leader's process stops for a while and goes on.
    PauseLeader,
    /// A server that is killed and comes back with another address, known by its identity.
    NewAddress,
    /// A client agent that leaves in order and comes back.
    Leave,
}

/// All kinds.
pub const ALL: [Kind; 18] = [
    Kind::Partition,
    Kind::OneWay,
    Kind::IsolateLeader,
    Kind::SlowLink,
    Kind::Lossy,
    Kind::Kill,
    Kind::KillLeader,
    Kind::PowerLoss,
    Kind::PowerLossAll,
    Kind::DieInWrite,
    Kind::DiskError,
    Kind::DiskFull,
    Kind::ClockJump,
    Kind::ClockDrift,
    Kind::Pause,
    Kind::PauseLeader,
    Kind::NewAddress,
    Kind::Leave,
];

/// Which faults, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix {
    /// The kinds; none is a quiet world.
    pub kinds: Vec<Kind>,
    /// Mean time between two faults.
    pub every: Duration,
}

impl Mix {
    /// One to five kinds, and how often.
    pub fn from_seed(seed: u64) -> Mix {
        let mut rng = SmallRng::seed_from_u64(seed ^ 0x006d_6978);
        let count = rng.random_range(1..=5);
        let kinds = ALL.choose_multiple(&mut rng, count).copied().collect();
        Mix {
            kinds,
            every: Duration::from_millis(rng.random_range(400..2500)),
        }
    }

    /// Nothing goes wrong.
    pub fn none() -> Mix {
        Mix::of(&[])
    }

    /// These kinds, about one fault a second.
    pub fn of(kinds: &[Kind]) -> Mix {
        Mix {
            kinds: kinds.to_vec(),
            every: Duration::from_secs(1),
        }
    }

    pub(super) fn draw(&self, rng: &mut SmallRng) -> Option<Kind> {
        self.kinds.choose(rng).copied()
    }
}

/// What ends a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Undo {
    /// All links as they should be.
    Links,
    /// Start the process of a machine.
    Start(usize),
    /// Let a process go on.
    Resume(usize),
    /// The disk of a machine has room and works again.
    Disk(usize),
    /// The machine's process has been slow to die: it loses power now.
    PowerLoss(usize),
    /// A true clock again.
    Clock(usize),
    /// Something between datacenters.
    Wan(WanUndo),
}
