//! Filters of queries: a type byte and a list of names, or a map of a tag and an expression (gossip.md section 7.6).

use regex::RegexBuilder;
use tribune_serf::Filter;
use tribune_types::text::Text;

use super::Malformed;
use crate::msgpack::encode::{put_array, put_str};
use crate::msgpack::{Error, Reader};

const NODES: u8 = 0;
const TAG: u8 = 1;
/// A type that nobody knows.
const UNKNOWN: u8 = 0xff;
/// Filters and names in them that a query may have. Those of other agents fit into a kilobyte.
pub(super) const ROOM: usize = 16_384;

/// Bytes of memory of a compiled expression.
const EXPRESSION_SIZE_MAX: usize = 1 << 20;

/// Appends a filter.
pub(super) fn encode(filter: &Filter, out: &mut Vec<u8>) {
    match filter {
        Filter::Nodes(names) => {
            out.push(NODES);
            put_array(out, names.len() as u32);
            for name in names {
                put_str(out, name);
            }
        }
        Filter::Tag { tag, expr } => {
            out.push(TAG);
            out.extend_from_slice(b"\x82\xa4Expr");
            put_str(out, expr);
            out.extend_from_slice(b"\xa3Tag");
            put_str(out, tag);
        }
        Filter::Unknown => out.push(UNKNOWN),
    }
}

/// Reads a filter. What cannot be understood is unknown, so that nobody passes; too many are an error.
pub(super) fn decode(bytes: &[u8], room: &mut usize) -> Result<Filter, Malformed> {
    take(room)?;
    let filter = match bytes.split_first() {
        Some((&NODES, body)) => {
            let mut names = Vec::new();
            let read = Reader::new(body).list(|_, r| {
                take(room)?;
                names.push(r.text()?);
                Ok::<(), Malformed>(())
            });
            match read {
                Ok(_) => Filter::Nodes(names),
                Err(Malformed::Memory(max)) => return Err(Malformed::Memory(max)),
                Err(_) => Filter::Unknown,
            }
        }
        Some((&TAG, body)) => decode_tag(Reader::new(body)).unwrap_or(Filter::Unknown),
        _ => Filter::Unknown,
    };
    Ok(filter)
}

/// True if a regular expression is found in a value; false if it is none, or a monstrous one.
pub(super) fn matches(expr: &str, value: &str) -> bool {
    let regex = RegexBuilder::new(expr)
        .size_limit(EXPRESSION_SIZE_MAX)
        .dfa_size_limit(EXPRESSION_SIZE_MAX)
        .build();
    regex.is_ok_and(|regex| regex.is_match(value))
}

fn take(room: &mut usize) -> Result<(), Malformed> {
    *room = room.checked_sub(1).ok_or(Malformed::Memory(ROOM))?;
    Ok(())
}

fn decode_tag(mut reader: Reader<'_>) -> Result<Filter, Error> {
    let (mut tag, mut expr) = (Text::default(), Text::default());
    reader.fields(["Tag", "Expr"], |at, r| {
        match at {
            0 => tag = r.text()?,
            _ => expr = r.text()?,
        }
        Ok::<(), Error>(())
    })?;
    Ok(Filter::Tag { tag, expr })
}
