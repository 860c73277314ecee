//! What goes wrong in a world, drawn from its seed.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::{SeedableRng, seq::IndexedRandom};
use tribune_rt::disk::Faults;

use super::operators::Replacement;
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
    /// The leader is asked to hand its office over.
    MoveLead,
    /// A server that leaves in order and comes back.
    LeaveServer,
    /// A server, running or not, is taken out of the peer set by an operator.
    RemovePeer,
    /// A server's machine is lost for good, and a new one takes over its name and address. Once in a world.
    Replace,
    /// All servers stop at once, some for good, and an operator tells those that are left who the peers are. Once in a world.
    Recover,
    /// A server that was away for long, and whose disk fails while it catches up.
    LeftBehind,
}

/// All kinds.
pub const ALL: [Kind; 24] = [
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
    Kind::MoveLead,
    Kind::LeaveServer,
    Kind::RemovePeer,
    Kind::Replace,
    Kind::Recover,
    Kind::LeftBehind,
];

impl Kind {
    /// Data is lost for good: nothing is lost with it as long as a majority of all servers has the rest.
    fn loses_data(self) -> bool {
        matches!(self, Kind::Replace | Kind::Recover)
    }

    /// The peer set gets smaller: then fewer than a majority of all servers may have what was acknowledged.
    fn shrinks(self) -> bool {
        matches!(self, Kind::LeaveServer | Kind::RemovePeer)
    }
}

/// Which faults, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix {
    /// The kinds; none is a quiet world.
    pub kinds: Vec<Kind>,
    /// Mean time between two faults.
    pub every: Duration,
}

impl Mix {
    /// One to five kinds that may happen in one world, and how often.
    pub fn from_seed(seed: u64) -> Mix {
        let mut rng = SmallRng::seed_from_u64(seed ^ 0x006d_6978);
        let count = rng.random_range(1..=5);
        let mut kinds: Vec<Kind> = ALL.choose_multiple(&mut rng, count).copied().collect();
        if kinds.iter().any(|kind| kind.loses_data()) {
            kinds.retain(|kind| !kind.shrinks());
        }
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
    /// Start the process of a machine whose disk does this.
    StartOn(usize, Faults),
    /// A new machine for one that was lost, once it can be.
    Replace(Replacement),
    /// Something between datacenters.
    Wan(WanUndo),
}
