//! `kv get`, `kv put`, `kv delete`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tribune_api::client::{KvPair, KvWrite};

use crate::{
    api_flags::NAMESPACE,
    command::{Action, Api, Command, Failure, Outcome, Run, because, fail},
    flags::{Flag, Kind, flag},
};

const MODIFY_INDEX: Flag = flag(
    "modify-index",
    Kind::Uint,
    "ModifyIndex that the key must have, for -cas.",
);

pub(super) const COMMANDS: &[Command] = &[
    Command {
        path: "kv get",
        synopsis: "Reads an entry, or lists entries",
        usage: "[options] [KEY_OR_PREFIX]",
        about: "Prints the value of a key, and fails when there is no such key. With -recurse or -keys the argument is a prefix, everything when left out.\n\n$ {p} kv get foo\n$ {p} kv get -detailed foo\n$ {p} kv get -recurse foo/\n$ {p} kv get -keys foo/",
        api: Api::Cluster,
        flags: &[
            flag("base64", Kind::Bool, "Print values in base64."),
            flag(
                "detailed",
                Kind::Bool,
                "Print what is known about the key besides its value: flags, indexes, session.",
            ),
            flag(
                "keys",
                Kind::Bool,
                "Print only the names below the prefix, each cut behind the separator.",
            ),
            NAMESPACE,
            flag(
                "recurse",
                Kind::Bool,
                "Print all entries whose keys start with the argument.",
            ),
            flag(
                "separator",
                Kind::Text,
                "Where -keys cuts names. Default: /.",
            ),
        ],
        action: Action::Call(get),
    },
    Command {
        path: "kv put",
        synopsis: "Writes an entry",
        usage: "[options] KEY [DATA]",
        about: "Writes a value, creating the key if need be. DATA is the value itself, @FILE for a file's contents, or - for standard input; without it the value is empty.\n\n$ {p} kv put foo 5\n$ {p} kv put foo @data.json\n$ {p} kv put -cas -modify-index=844 foo 6\n$ {p} kv put -acquire -session=SESSION lock/web",
        api: Api::Cluster,
        flags: &[
            flag(
                "acquire",
                Kind::Bool,
                "Take the lock on the key for the session. Needs -session.",
            ),
            flag("base64", Kind::Bool, "DATA is base64 and is decoded first."),
            flag(
                "cas",
                Kind::Bool,
                "Write only if the key is unchanged. Needs -modify-index.",
            ),
            flag(
                "flags",
                Kind::Uint,
                "A number of your own to keep with the value. Default: 0.",
            ),
            MODIFY_INDEX,
            NAMESPACE,
            flag(
                "release",
                Kind::Bool,
                "Give the session's lock on the key back. Needs -session.",
            ),
            flag("session", Kind::Text, "Session for -acquire and -release."),
        ],
        action: Action::Call(put),
    },
    Command {
        path: "kv delete",
        synopsis: "Deletes entries",
        usage: "[options] KEY_OR_PREFIX",
        about: "Deletes a key, or with -recurse every key that starts with the argument. Deleting what does not exist succeeds.\n\n$ {p} kv delete foo\n$ {p} kv delete -recurse foo/\n$ {p} kv delete -cas -modify-index=1456 foo",
        api: Api::Cluster,
        flags: &[
            flag(
                "cas",
                Kind::Bool,
                "Delete only if the key is unchanged. Needs -modify-index.",
            ),
            MODIFY_INDEX,
            NAMESPACE,
            flag("recurse", Kind::Bool, "Delete all keys with this prefix."),
        ],
        action: Action::Call(delete),
    },
];

const QUERYING: &str = "Error querying Consul agent";

fn get(run: &mut Run<'_, '_>) -> Outcome {
    let many = run.flags.on("recurse") || run.flags.on("keys");
    let key = match run.args.as_slice() {
        [] => String::new(),
        [key] => key.strip_prefix('/').unwrap_or(key).to_owned(),
        args => {
            return fail(format!(
                "Too many arguments (expected 1, got {})",
                args.len()
            ));
        }
    };
    if key.is_empty() && !many {
        return fail("Error! Missing KEY argument");
    }
    let (client, query) = (run.client()?, run.query());
    if run.flags.on("keys") {
        let separator = if run.flags.given("separator") {
            run.flags.text("separator")
        } else {
            "/"
        };
        let names = client
            .kv_keys(&key, separator, &query)
            .map_err(because(QUERYING))?;
        names.iter().for_each(|n| run.out(n));
        return Ok(0);
    }
    let base64 = run.flags.on("base64");
    let detailed = run.flags.on("detailed");
    if run.flags.on("recurse") {
        let (pairs, _) = client.kv_list(&key, &query).map_err(because(QUERYING))?;
        for (i, pair) in pairs.unwrap_or_default().iter().enumerate() {
            if detailed {
                if i > 0 {
                    run.out("");
                }
                show_detailed(run, pair, base64);
            } else {
                let mut line = format!("{}:", pair.key).into_bytes();
                line.extend(value(pair, base64));
                line.push(b'\n');
                run.host.out_bytes(&line);
            }
        }
        return Ok(0);
    }
    let (pair, _) = client.kv_get(&key, &query).map_err(because(QUERYING))?;
    let Some(pair) = pair else {
        return fail(format!("Error! No key exists at: {key}"));
    };
    if detailed {
        show_detailed(run, &pair, base64);
    } else {
        let mut bytes = value(&pair, base64);
        bytes.push(b'\n');
        run.host.out_bytes(&bytes);
    }
    Ok(0)
}

fn value(pair: &KvPair, base64: bool) -> Vec<u8> {
    if base64 {
        STANDARD.encode(pair.bytes()).into_bytes()
    } else {
        pair.bytes().to_vec()
    }
}

fn show_detailed(run: &mut Run<'_, '_>, pair: &KvPair, base64: bool) {
    let session = if pair.session.is_empty() {
        "-"
    } else {
        &pair.session
    };
    let mut block = Vec::new();
    for (name, text) in [
        ("CreateIndex", pair.create_index.to_string()),
        ("Flags", pair.flags.to_string()),
        ("Key", pair.key.clone()),
        ("LockIndex", pair.lock_index.to_string()),
        ("ModifyIndex", pair.modify_index.to_string()),
        ("Session", session.to_owned()),
    ] {
        block.extend_from_slice(format!("{name:17}{text}\n").as_bytes());
    }
    let value = value(pair, base64);
    if value.is_empty() {
        block.extend_from_slice(b"Value\n");
    } else {
        block.extend_from_slice(format!("{:17}", "Value").as_bytes());
        block.extend(value);
        block.push(b'\n');
    }
    run.host.out_bytes(&block);
}

fn put(run: &mut Run<'_, '_>) -> Outcome {
    let (key, data) = match run.args.as_slice() {
        [] => return fail("Error! Missing KEY argument"),
        [key] => (key.clone(), String::new()),
        [key, data] => (key.clone(), data.clone()),
        args => {
            return fail(format!(
                "Error! Too many arguments (expected 1 or 2, got {})",
                args.len()
            ));
        }
    };
    let (acquire, release) = (run.flags.on("acquire"), run.flags.on("release"));
    let session = run.flags.text("session").to_owned();
    if (acquire || release) && session.is_empty() {
        return fail("Error! Missing -session (required with -acquire and -release)");
    }
    let index = run.flags.uint("modify-index");
    let cas = run.flags.on("cas");
    if cas && index == 0 {
        return fail("Must specify -modify-index with -cas!");
    }
    let mut bytes = match run.data(&data) {
        Ok(bytes) => bytes,
        Err(e) => return fail(format!("Error! {e}")),
    };
    if run.flags.on("base64") {
        // 1.8.7 says this, writes an empty value all the same and ends with 0. Nobody can want that.
        bytes = match STANDARD.decode(&bytes) {
            Ok(bytes) => bytes,
            Err(e) => {
                return fail(format!(
                    "Error! Cannot base 64 decode data: {}",
                    base64_text(&e)
                ));
            }
        };
    }
    let mut how = KvWrite {
        flags: run.flags.uint("flags"),
        ..KvWrite::default()
    };
    if cas {
        how.cas = Some(index);
    } else if acquire {
        how.acquire.clone_from(&session);
    } else if release {
        how.release.clone_from(&session);
    }
    let done = run
        .client()?
        .kv_put(&key, bytes, &how, &run.query())
        .map_err(because("Error! Failed writing data"))?;
    match (done, cas, acquire, release) {
        (true, true, ..) | (true, _, false, false) => {
            run.out(format!("Success! Data written to: {key}"))
        }
        (true, _, true, _) => run.out(format!("Success! Lock acquired on: {key}")),
        (true, ..) => run.out(format!("Success! Lock released on: {key}")),
        (false, true, ..) => return fail(format!("Error! Did not write to {key}: CAS failed")),
        (false, _, true, _) => return fail("Error! Did not acquire lock"),
        (false, _, _, true) => return fail("Error! Did not release lock"),
        (false, ..) => return fail(format!("Error! Did not write to {key}")),
    }
    Ok(0)
}

/// A base64 mistake in Go's words.
pub(super) fn base64_text(error: &base64::DecodeError) -> String {
    let at = match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => {
            *at
        }
        base64::DecodeError::InvalidLength(len) => *len,
        base64::DecodeError::InvalidPadding => 0,
    };
    format!("illegal base64 data at input byte {at}")
}

fn delete(run: &mut Run<'_, '_>) -> Outcome {
    let recurse = run.flags.on("recurse");
    let key = match run.args.as_slice() {
        [] => String::new(),
        [key] => key.strip_prefix('/').unwrap_or(key).to_owned(),
        args => {
            return fail(format!(
                "Too many arguments (expected 1, got {})",
                args.len()
            ));
        }
    };
    if key.is_empty() && !recurse {
        return fail("Error! Missing KEY argument");
    }
    let (cas, index) = (run.flags.on("cas"), run.flags.uint("modify-index"));
    match (cas, recurse, index) {
        (true, true, _) => return fail("Cannot specify both -cas and -recurse!"),
        (true, _, 0) => return fail("Must specify -modify-index with -cas!"),
        (false, _, index) if index != 0 => {
            return fail("Cannot specify -modify-index without -cas!");
        }
        _ => {}
    }
    let (client, query) = (run.client()?, run.query());
    if recurse {
        client
            .kv_delete_tree(&key, &query)
            .map_err(|e| Failure::Text(format!("Error! Did not delete prefix {key}: {e}")))?;
        run.out(format!("Success! Deleted keys with prefix: {key}"));
        return Ok(0);
    }
    let done = client
        .kv_delete(&key, cas.then_some(index), &query)
        .map_err(|e| Failure::Text(format!("Error deleting key {key}: {e}")))?;
    if !done {
        return fail(format!("Error! Did not delete key {key}: CAS failed"));
    }
    run.out(format!("Success! Deleted key: {key}"));
    Ok(0)
}
