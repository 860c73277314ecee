//! Bugs put in on purpose: an oracle is trusted once it has caught one. For tests.

/// Which bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// Reads that should be consistent are served by any server as it is. Caught by linearizability.
    StaleAsConsistent,
    /// Some writes are acknowledged and never done. Caught by linearizability.
    LostWrite,
    /// A refused lock is taken for granted. Caught by linearizability: a lock held by two.
    DoubleGrant,
    /// Disks say that they have synced and have not. Caught as lost acknowledged writes after a power loss of all.
    LyingDisk,
    /// A watcher is told an index before the data that belongs to it. Caught as a missed change.
    DeafWatcher,
    /// A client mixes the indexes of two servers. Caught as an index that goes back.
    IndexOfAnyServer,
    /// The disks of all machines are copied and started a second time elsewhere. Caught as two leaders of one term, and as
    /// states that differ at one index.
    Twin,
    /// A member that is there is taken out of the catalog behind its back, for good. Caught as a catalog that differs.
    LostNode,
    /// A task outlives the end of its agent. Caught as a leak.
    LeakedTask,
    /// A leader says that it handed over, and did not. Caught by looking at who leads.
    HollowHandOver,
    /// A server that left comes back and is told of nobody. Caught as a pool that is not whole.
    LeftAlone,
    /// An operator takes a server out of the peer set again and again. Caught as a peer set that is not whole.
    RemovedForGood,
    /// Machines are replaced, two at a time, by some that have their identities and nothing else. Caught as lost
    /// acknowledged writes.
    Amnesia,
    /// Of all servers only the one is saved that is least far. Caught as lost acknowledged writes.
    WrongSurvivor,
    /// Requests that name a datacenter are served where they arrive. Caught by linearizability in that datacenter.
    IgnoredDatacenter,
    /// A local request waits for an answer of another datacenter. Caught as a local request that takes too long.
    WaitsForRemote,
    /// Servers forget a datacenter as soon as it failed. Caught as an unreachable datacenter that is said to be unknown.
    ForgottenDatacenter,
    /// A request to a datacenter that does not answer is tried again and again. Caught as one without an answer in time.
    TriesForever,
    /// With the leader of a datacenter the ways to its other servers are lost. Caught as a killed server that is not routed
    /// around.
    NoWayAround,
    /// The way between two datacenters is forgotten when all heals. Caught as a pair that does not route.
    ForgottenRoute,
    /// Datacenters are ordered as if two of them had changed places. Caught as an order that is not that of their delays.
    WrongOrder,
    /// A server does not join the WAN pool. Caught as a pool that does not converge.
    NotInWanPool,
    /// A way between two datacenters is said to be cut, and is not. Caught as an answer that cannot be.
    SaidToBeCut,
    /// Prepared queries do not look elsewhere. Caught as a query that finds nothing.
    NoFailover,
    /// Prepared queries look elsewhere, the other way round. Caught as one that finds what is not nearest.
    FarthestFirst,
    /// An event is fired in other datacenters, too. Caught as an event that left its datacenter.
    EventsEverywhere,
}
