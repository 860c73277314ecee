//! `operator autopilot get-config` and `set-config`.

use crate::{
    command::{Action, Api, Command, Outcome, Run, because, fail},
    flags::{Kind, flag, flag_of},
};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        path: "operator autopilot get-config",
        synopsis: "Shows autopilot's settings",
        usage: "[options]",
        about: "Shows autopilot's settings.",
        api: Api::Cluster,
        flags: &[],
        action: Action::Call(read),
    },
    Command {
        path: "operator autopilot set-config",
        synopsis: "Changes autopilot's settings",
        usage: "[options]",
        about: "Changes the settings that are given; the others stay.",
        api: Api::Cluster,
        flags: &[
            flag(
                "cleanup-dead-servers",
                Kind::LazyBool,
                "Remove dead servers when new ones come.",
            ),
            flag(
                "disable-upgrade-migration",
                Kind::LazyBool,
                "Do not wait for enough servers of a new version; an Enterprise feature.",
            ),
            flag_of(
                "last-contact-threshold",
                Kind::LazyDuration,
                "200ms",
                "Longest time without the leader before a server counts as unhealthy.",
            ),
            flag(
                "max-trailing-logs",
                Kind::LazyUint,
                "How many log entries a server may lag before it counts as unhealthy.",
            ),
            flag(
                "min-quorum",
                Kind::LazyUint,
                "Fewest voters that cleaning up may leave.",
            ),
            flag_of(
                "redundancy-zone-tag",
                Kind::Text,
                "value",
                "Node metadata key of zones; an Enterprise feature.",
            ),
            flag_of(
                "server-stabilization-time",
                Kind::LazyDuration,
                "10s",
                "How long a new server must be healthy before it votes.",
            ),
            flag_of(
                "upgrade-version-tag",
                Kind::Text,
                "value",
                "Node metadata key of versions; an Enterprise feature.",
            ),
        ],
        action: Action::Call(write),
    },
];

fn read(run: &mut Run<'_, '_>) -> Outcome {
    let config = run
        .client()?
        .autopilot(&run.query())
        .map_err(because("Error querying Autopilot configuration"))?;
    run.out(format!(
        "CleanupDeadServers = {}",
        config.cleanup_dead_servers
    ));
    run.out(format!(
        "LastContactThreshold = {}",
        config.last_contact_threshold
    ));
    run.out(format!("MaxTrailingLogs = {}", config.max_trailing_logs));
    run.out(format!("MinQuorum = {}", config.min_quorum));
    run.out(format!(
        "ServerStabilizationTime = {}",
        config.server_stabilization_time
    ));
    run.out(format!(
        "RedundancyZoneTag = {:?}",
        config.redundancy_zone_tag
    ));
    run.out(format!(
        "DisableUpgradeMigration = {}",
        config.disable_upgrade_migration
    ));
    run.out(format!(
        "UpgradeVersionTag = {:?}",
        config.upgrade_version_tag
    ));
    Ok(0)
}

fn write(run: &mut Run<'_, '_>) -> Outcome {
    let (client, query) = (run.client()?, run.query());
    let mut config = client
        .autopilot(&query)
        .map_err(because("Error querying Autopilot configuration"))?;
    let flags = &run.flags;
    let text = |name: &str, into: &mut String| {
        if flags.given(name) {
            flags.text(name).clone_into(into);
        }
    };
    text("last-contact-threshold", &mut config.last_contact_threshold);
    text(
        "server-stabilization-time",
        &mut config.server_stabilization_time,
    );
    text("redundancy-zone-tag", &mut config.redundancy_zone_tag);
    text("upgrade-version-tag", &mut config.upgrade_version_tag);
    if let Some(on) = flags.bool("cleanup-dead-servers") {
        config.cleanup_dead_servers = on;
    }
    if let Some(on) = flags.bool("disable-upgrade-migration") {
        config.disable_upgrade_migration = on;
    }
    if flags.given("max-trailing-logs") {
        config.max_trailing_logs = flags.uint("max-trailing-logs");
    }
    if flags.given("min-quorum") {
        config.min_quorum = flags.uint("min-quorum");
    }
    let done = client
        .autopilot_cas(&config, &query)
        .map_err(because("Error setting Autopilot configuration"))?;
    if !done {
        return fail("Configuration could not be atomically updated, please try again");
    }
    run.out("Configuration updated!");
    Ok(0)
}
