//! Inputs to begin with, taken from the golden vectors of the crates when they are needed.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Where seeds are written to, if that is all a target shall do.
const VARIABLE: &str = "TRIBUNE_FUZZ_SEEDS";

/// Writes the seeds and ends the process if it was started for that.
///
/// # Panics
/// When the folder cannot be written.
pub fn write_and_exit(seeds: fn() -> Vec<Vec<u8>>) {
    let Some(dir) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        return;
    };
    std::fs::create_dir_all(&dir).expect("the folder of the corpus can be made");
    for (i, seed) in seeds().iter().enumerate() {
        std::fs::write(dir.join(format!("seed-{i:04}")), seed).expect("a seed can be written");
    }
    std::process::exit(0);
}

/// A file below `crates/`, as bytes.
///
/// # Panics
/// When it is missing: seeds come from the repository this was built in.
pub fn vectors(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates")
        .join(path);
    std::fs::read(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

/// Bytes of a hexadecimal text; what is no digit counts as 0.
pub fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0) as u8;
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| digit(&pair[0]) << 4 | digit(&pair[1]))
        .collect()
}

/// Captured calls of the server RPC, requests and responses: header and body.
///
/// # Panics
/// When the file of captures is not as expected.
pub fn rpc_messages() -> Vec<(Vec<u8>, Vec<u8>)> {
    let all: Value = serde_json::from_slice(&vectors("wire/tests/vectors/rpc.json"))
        .expect("the captures are JSON");
    let list = all["vectors"].as_array().expect("a list of captures");
    let part = |side: &Value, name: &str| unhex(side[name].as_str().unwrap_or_default());
    list.iter()
        .flat_map(|call| [&call["request"], &call["response"]])
        .map(|side| (part(side, "header_hex"), part(side, "body_hex")))
        .filter(|(header, _)| !header.is_empty())
        .collect()
}

/// Captured gossip of one layer: packets, streams, or messages.
///
/// # Panics
/// When the file of captures is not as expected.
pub fn gossip(layer: &str) -> Vec<Vec<u8>> {
    let all: Value = serde_json::from_slice(&vectors("wire/tests/vectors/gossip.json"))
        .expect("the captures are JSON");
    let list = all.as_array().expect("a list of captures");
    list.iter()
        .filter(|capture| capture["layer"] == layer)
        .map(|capture| unhex(capture["hex"].as_str().unwrap_or_default()))
        .collect()
}
