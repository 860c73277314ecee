//! Rules for metadata of nodes and services (config.md section 3, `node_meta`).

use tribune_types::text::{TextMap, text};

/// Pairs a node or service may have.
const PAIRS_MAX: usize = 64;
/// Bytes of a key.
const KEY_MAX: usize = 128;
/// Bytes of a value.
const VALUE_MAX: usize = 512;
/// Keys Consul keeps for itself.
const RESERVED: &str = "consul-";

/// Checks metadata. `reserved_allowed` names keys that may carry the reserved prefix.
///
/// The error is the text clients see.
pub fn check_metadata<'a>(
    pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
    reserved_allowed: &[&str],
) -> Result<(), String> {
    if pairs.len() > PAIRS_MAX {
        return Err(format!(
            "Node metadata cannot contain more than {PAIRS_MAX} key/value pairs"
        ));
    }
    for (key, value) in pairs {
        let fail = |why: String| {
            Err(format!(
                "Couldn't load metadata pair ('{key}', '{value}'): {why}"
            ))
        };
        if key.is_empty() {
            return fail("Key cannot be blank".to_owned());
        }
        if !key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        {
            return fail("Key contains invalid characters".to_owned());
        }
        if key.len() > KEY_MAX {
            return fail(format!("Key is too long (limit: {KEY_MAX} characters)"));
        }
        if key.starts_with(RESERVED) && !reserved_allowed.contains(&key) {
            return fail(format!(
                "Key prefix '{RESERVED}' is reserved for internal use"
            ));
        }
        if value.len() > VALUE_MAX {
            return fail(format!("Value is too long (limit: {VALUE_MAX} characters)"));
        }
    }
    Ok(())
}

/// A string map as shared text.
pub(crate) fn text_map(map: &std::collections::BTreeMap<String, String>) -> TextMap {
    map.iter().map(|(k, v)| (text(k), text(v))).collect()
}
