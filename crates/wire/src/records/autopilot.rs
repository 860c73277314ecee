//! Settings of server management.

use tribune_types::autopilot as domain;
use tribune_types::id::Index;

use super::mirror;
use crate::msgpack::{Dur, Str};

mirror! {
    /// `autopilot.Config`.
    AutopilotConfig<'a> {
        "CleanupDeadServers" cleanup_dead_servers: bool,
        "CreateIndex" create_index: u64,
        "DisableUpgradeMigration" disable_upgrade_migration: bool,
        "LastContactThreshold" last_contact_threshold: Dur,
        "MaxTrailingLogs" max_trailing_logs: u64,
        "MinQuorum" min_quorum: u64,
        "ModifyIndex" modify_index: u64,
        "RedundancyZoneTag" redundancy_zone_tag: Str<'a>,
        "ServerStabilizationTime" server_stabilization_time: Dur,
        "UpgradeVersionTag" upgrade_version_tag: Str<'a>,
    }

    /// `structs.AutopilotSetConfigRequest`, with the expected index apart: in the original it is
    /// the configuration's own modify index, which is read when `CASIndex` is not there.
    AutopilotSetConfigRequest<'a> {
        "CAS" cas: bool,
        "CASIndex" cas_index: Option<u64>,
        "Config" config: AutopilotConfig<'a>,
        "Datacenter" datacenter: Str<'a>,
        "Token" token: Str<'a>,
    }
}

impl<'a> From<&'a domain::AutopilotConfig> for AutopilotConfig<'a> {
    fn from(c: &'a domain::AutopilotConfig) -> Self {
        AutopilotConfig {
            cleanup_dead_servers: c.cleanup_dead_servers,
            create_index: c.create.0,
            disable_upgrade_migration: c.disable_upgrade_migration,
            last_contact_threshold: c.last_contact_threshold.into(),
            max_trailing_logs: c.max_trailing_logs,
            min_quorum: c.min_quorum,
            modify_index: c.modify.0,
            redundancy_zone_tag: (&c.redundancy_zone_tag).into(),
            server_stabilization_time: c.server_stabilization_time.into(),
            upgrade_version_tag: (&c.upgrade_version_tag).into(),
        }
    }
}

impl From<AutopilotConfig<'_>> for domain::AutopilotConfig {
    fn from(c: AutopilotConfig<'_>) -> Self {
        domain::AutopilotConfig {
            cleanup_dead_servers: c.cleanup_dead_servers,
            last_contact_threshold: c.last_contact_threshold.into(),
            max_trailing_logs: c.max_trailing_logs,
            min_quorum: c.min_quorum,
            server_stabilization_time: c.server_stabilization_time.into(),
            redundancy_zone_tag: c.redundancy_zone_tag.into(),
            disable_upgrade_migration: c.disable_upgrade_migration,
            upgrade_version_tag: c.upgrade_version_tag.into(),
            create: Index(c.create_index),
            modify: Index(c.modify_index),
        }
    }
}
