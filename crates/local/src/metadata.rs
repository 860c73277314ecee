//! Limits of metadata on nodes and services (spec agent.md section 13).

use tribune_types::text::TextMap;

const PAIRS_MAX: usize = 64;
const KEY_SIZE_MAX: usize = 128;
const VALUE_SIZE_MAX: usize = 512;
const RESERVED_PREFIX: &str = "consul-";

/// Checks metadata given by a user. The text is what clients see.
pub fn validate_metadata(meta: &TextMap) -> Result<(), String> {
    validate(meta, &[RESERVED_PREFIX])
}

/// As [`validate_metadata`], for what is looked for rather than set: reserved keys are allowed.
pub fn validate_metadata_filter(meta: &TextMap) -> Result<(), String> {
    validate(meta, &[])
}

fn validate(meta: &TextMap, reserved: &[&str]) -> Result<(), String> {
    if meta.len() > PAIRS_MAX {
        return Err(format!(
            "Node metadata cannot contain more than {PAIRS_MAX} key/value pairs"
        ));
    }
    for (key, value) in meta.iter() {
        validate_pair(key, value, reserved)
            .map_err(|why| format!("Couldn't load metadata pair ('{key}', '{value}'): {why}"))?;
    }
    Ok(())
}

fn validate_pair(key: &str, value: &str, reserved: &[&str]) -> Result<(), String> {
    if key.is_empty() {
        return Err("Key cannot be blank".to_owned());
    }
    if !key
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    {
        return Err("Key contains invalid characters".to_owned());
    }
    if key.len() > KEY_SIZE_MAX {
        return Err(format!(
            "Key is too long (limit: {KEY_SIZE_MAX} characters)"
        ));
    }
    if let Some(prefix) = reserved.iter().find(|prefix| key.starts_with(**prefix)) {
        return Err(format!(
            "Key prefix '{prefix}' is reserved for internal use"
        ));
    }
    if value.len() > VALUE_SIZE_MAX {
        return Err(format!(
            "Value is too long (limit: {VALUE_SIZE_MAX} characters)"
        ));
    }
    Ok(())
}
