//! `kv export` and `kv import`: entries as a JSON list.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use tribune_api::client::{KvWrite, gojson};

use super::kv::base64_text;
use crate::{
    api_flags::NAMESPACE,
    command::{Action, Api, Command, Failure, Outcome, Run, because, fail},
};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        path: "kv export",
        synopsis: "Prints entries as JSON",
        usage: "[KEY_OR_PREFIX]",
        about: "Prints all entries below a prefix, everything without one, as a JSON list that kv import reads.\n\n$ {p} kv export vault > backup.json",
        api: Api::Cluster,
        flags: &[NAMESPACE],
        action: Action::Call(export),
    },
    Command {
        path: "kv import",
        synopsis: "Writes entries from JSON",
        usage: "[DATA]",
        about: "Writes the entries of a JSON list as kv export prints it. DATA is the JSON itself, @FILE, or - for standard input.\n\n$ {p} kv import @backup.json",
        api: Api::Cluster,
        flags: &[NAMESPACE],
        action: Action::Call(import),
    },
];

/// One entry of the list.
#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(default, alias = "Key")]
    key: String,
    #[serde(default, alias = "Flags")]
    flags: u64,
    #[serde(default, alias = "Value")]
    value: String,
}

fn export(run: &mut Run<'_, '_>) -> Outcome {
    let prefix = match run.args.as_slice() {
        [] => String::new(),
        [prefix] => prefix.strip_prefix('/').unwrap_or(prefix).to_owned(),
        args => {
            return fail(format!(
                "Too many arguments (expected 1, got {})",
                args.len()
            ));
        }
    };
    let (pairs, _) = run
        .client()?
        .kv_list(&prefix, &run.query())
        .map_err(because("Error querying Consul agent"))?;
    let entries: Vec<Entry> = pairs
        .unwrap_or_default()
        .into_iter()
        .map(|pair| Entry {
            value: STANDARD.encode(pair.bytes()),
            flags: pair.flags,
            key: pair.key,
        })
        .collect();
    run.out(gojson::pretty(&entries, "\t"));
    Ok(0)
}

fn import(run: &mut Run<'_, '_>) -> Outcome {
    let argument = match run.args.as_slice() {
        [] => return fail("Error! Missing DATA argument"),
        [data] => data.clone(),
        args => {
            return fail(format!(
                "Error! Too many arguments (expected 1, got {})",
                args.len()
            ));
        }
    };
    if argument.is_empty() {
        return fail("Error! Empty DATA argument");
    }
    let data = match run.data(&argument) {
        Ok(data) => data,
        Err(e) => return fail(format!("Error! {e}")),
    };
    // `null` is a list of none.
    let entries: Option<Vec<Entry>> = serde_json::from_slice(&data)
        .map_err(|e| Failure::Text(format!("Cannot unmarshal data: {}", json_text(&data, &e))))?;
    let (client, query) = (run.client()?, run.query());
    for entry in entries.unwrap_or_default() {
        let value = STANDARD.decode(&entry.value).map_err(|e| {
            let why = base64_text(&e);
            Failure::Text(format!(
                "Error base 64 decoding value for key {}: {why}",
                entry.key
            ))
        })?;
        let how = KvWrite {
            flags: entry.flags,
            ..KvWrite::default()
        };
        client
            .kv_put(&entry.key, value, &how, &query)
            .map_err(|e| {
                Failure::Text(format!(
                    "Error! Failed writing data for key {}: {e}",
                    entry.key
                ))
            })?;
        run.out(format!("Imported: {}", entry.key));
    }
    Ok(0)
}

/// The most common mistakes in Go's words, the others in serde's.
fn json_text(data: &[u8], error: &serde_json::Error) -> String {
    let first = data.iter().find(|b| !b.is_ascii_whitespace());
    match first {
        None => "unexpected end of JSON input".to_owned(),
        Some(b'{') => {
            "json: cannot unmarshal object into Go value of type []*impexp.Entry".to_owned()
        }
        Some(b) if error.is_syntax() && error.line() == 1 && error.column() <= 1 => {
            format!(
                "invalid character '{}' looking for beginning of value",
                char::from(*b)
            )
        }
        Some(_) if error.is_eof() => "unexpected end of JSON input".to_owned(),
        Some(_) => error.to_string(),
    }
}
