//! Small bodies: check updates, tokens, coordinates, autopilot settings. All strict.

use tribune_types::autopilot::AutopilotConfig;
use tribune_types::coordinate::{Coordinate, CoordinateEntry};
use tribune_types::text::Text;

use super::BodyError;
use super::decode::{
    At, boolean, duration, fields, float, list, lower, string, top_fields, uint, unknown,
};
use crate::json::{Json, JsonError, parse};

/// The body of `/v1/agent/check/update/`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckUpdateBody {
    /// Status word, unchecked.
    pub status: Text,
    /// Output.
    pub output: Text,
}

/// The body of `/v1/agent/check/update/`.
pub fn check_update(body: &[u8]) -> Result<CheckUpdateBody, BodyError> {
    let json = parse(body)?;
    let mut update = CheckUpdateBody::default();
    for (name, value) in top_fields(&json, "agent.checkUpdate")? {
        let at = At::top("checkUpdate", name);
        match &*lower(name) {
            "status" => string(&mut update.status, value, at)?,
            "output" => string(&mut update.output, value, at)?,
            _ => return Err(unknown(name).into()),
        }
    }
    Ok(update)
}

/// The body of `/v1/agent/token/`.
pub fn token(body: &[u8]) -> Result<Text, BodyError> {
    let json = parse(body)?;
    let mut token = Text::default();
    for (name, value) in top_fields(&json, "api.AgentToken")? {
        match &*lower(name) {
            "token" => string(&mut token, value, At::top("AgentToken", name))?,
            _ => return Err(unknown(name).into()),
        }
    }
    Ok(token)
}

/// The body of changes at `/v1/operator/keyring`: the key in base64, unchecked.
pub fn keyring_key(body: &[u8]) -> Result<Text, BodyError> {
    let json = parse(body)?;
    let mut key = Text::default();
    for (name, value) in top_fields(&json, "agent.keyringArgs")? {
        match &*lower(name) {
            "key" => string(&mut key, value, At::top("keyringArgs", name))?,
            _ => return Err(unknown(name).into()),
        }
    }
    Ok(key)
}

/// The body of `/v1/coordinate/update`. `None` without a coordinate, which is accepted and changes nothing.
pub fn coordinate_update(body: &[u8]) -> Result<Option<CoordinateEntry>, BodyError> {
    let json = parse(body)?;
    let (mut node, mut segment) = (Text::default(), Text::default());
    let (mut datacenter, mut coord) = (Text::default(), None);
    for (name, value) in top_fields(&json, "structs.CoordinateUpdateRequest")? {
        let at = At::top("CoordinateUpdateRequest", name);
        match &*lower(name) {
            "datacenter" | "token" => string(&mut datacenter, value, at)?,
            "node" => string(&mut node, value, at)?,
            "segment" => string(&mut segment, value, at)?,
            "coord" => coord = coordinate(value, at)?,
            _ => return Err(unknown(name).into()),
        }
    }
    Ok(coord.map(|coord| CoordinateEntry {
        node,
        segment,
        coord,
    }))
}

fn coordinate(value: &Json<'_>, at: At<'_>) -> Result<Option<Coordinate>, JsonError> {
    let Some(pairs) = fields(value, at, "coordinate.Coordinate")? else {
        return Ok(None);
    };
    let mut coord = Coordinate {
        vec: Vec::new(),
        error: 0.0,
        adjustment: 0.0,
        height: 0.0,
    };
    for (name, value) in pairs {
        let here = at.inside("Coordinate", name);
        match &*lower(name) {
            "vec" => {
                coord.vec.clear();
                for item in list(value, here, "[]float64")?.unwrap_or_default() {
                    let mut x = 0.0;
                    float(&mut x, item, here)?;
                    coord.vec.push(x);
                }
            }
            "error" => float(&mut coord.error, value, here)?,
            "adjustment" => float(&mut coord.adjustment, value, here)?,
            "height" => float(&mut coord.height, value, here)?,
            _ => return Err(unknown(name)),
        }
    }
    Ok(Some(coord))
}

/// The body of `PUT /v1/operator/autopilot/configuration`; what is left out is zero, not the default.
pub fn autopilot(body: &[u8]) -> Result<AutopilotConfig, BodyError> {
    let json = parse(body)?;
    let zero = std::time::Duration::ZERO;
    let mut config = AutopilotConfig {
        cleanup_dead_servers: false,
        last_contact_threshold: zero,
        max_trailing_logs: 0,
        server_stabilization_time: zero,
        ..AutopilotConfig::default()
    };
    let mut ignored = 0;
    for (name, value) in top_fields(&json, "api.AutopilotConfiguration")? {
        let at = At::top("AutopilotConfiguration", name);
        match &*lower(name) {
            "cleanupdeadservers" => boolean(&mut config.cleanup_dead_servers, value, at)?,
            "lastcontactthreshold" => config.last_contact_threshold = duration(value)?,
            "maxtrailinglogs" => uint(&mut config.max_trailing_logs, value, at, "uint64")?,
            "minquorum" => uint(&mut config.min_quorum, value, at, "uint")?,
            "serverstabilizationtime" => config.server_stabilization_time = duration(value)?,
            "redundancyzonetag" => string(&mut config.redundancy_zone_tag, value, at)?,
            "disableupgrademigration" => boolean(&mut config.disable_upgrade_migration, value, at)?,
            "upgradeversiontag" => string(&mut config.upgrade_version_tag, value, at)?,
            "createindex" | "modifyindex" => uint(&mut ignored, value, at, "uint64")?,
            _ => return Err(unknown(name).into()),
        }
    }
    Ok(config)
}
