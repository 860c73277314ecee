//! Tags of a node in its metadata (gossip.md section 7.8).

use std::sync::Arc;

use tribune_types::text::{Text, TextMap, text};

use crate::msgpack::encode::{put_map, put_str};
use crate::msgpack::{Error, Reader};

/// What metadata with tags begins with.
const MAGIC: u8 = 0xff;
/// The tag that other metadata is the value of.
const ROLE: &str = "role";
/// Tags that are read. Metadata has 512 bytes.
const TAGS_MAX: usize = 1024;

/// Metadata of these tags. The core checks that it is not too long.
pub fn encode_tags(tags: &TextMap) -> Arc<[u8]> {
    let mut out = vec![MAGIC];
    put_tags(tags, &mut out);
    Arc::from(out)
}

/// Tags in metadata; if there is something wrong with it, those before.
pub fn decode_tags(meta: &[u8]) -> TextMap {
    let Some((&MAGIC, body)) = meta.split_first() else {
        return [(text(ROLE), text(&String::from_utf8_lossy(meta)))]
            .into_iter()
            .collect();
    };
    let (tags, _) = take_tags(&mut Reader::new(body));
    tags
}

pub(super) fn put_tags(tags: &TextMap, out: &mut Vec<u8>) {
    put_map(out, tags.len() as u32);
    for (key, value) in tags.iter() {
        put_str(out, key);
        put_str(out, value);
    }
}

/// Tags, and what was wrong with those that follow.
pub(super) fn take_tags(reader: &mut Reader<'_>) -> (TextMap, Result<(), Error>) {
    let mut pairs: Vec<(Text, Text)> = Vec::new();
    let result = reader.pairs(|key, r| {
        let value = r.text()?;
        if pairs.len() == TAGS_MAX {
            return Err(Error::Length);
        }
        pairs.push((text(&key), value));
        Ok(())
    });
    (pairs.into_iter().collect(), result)
}
