//! Coordinates in the payloads of acks: a version byte and a map (gossip.md section 8).

use std::sync::Arc;

use tribune_types::coordinate::Coordinate;

use crate::msgpack::encode::{put_array, put_f64};
use crate::msgpack::{Error, Reader};

const VERSION: u8 = 1;
/// Dimensions that are read. All agents use 8; others are refused by the core.
const DIMENSIONS_MAX: usize = 64;

/// The payload with a coordinate.
pub fn encode_coordinate(coordinate: &Coordinate) -> Arc<[u8]> {
    let mut out = Vec::with_capacity(64 + 9 * coordinate.vec.len());
    out.push(VERSION);
    out.extend_from_slice(b"\x84\xaaAdjustment");
    put_f64(&mut out, coordinate.adjustment);
    out.extend_from_slice(b"\xa5Error");
    put_f64(&mut out, coordinate.error);
    out.extend_from_slice(b"\xa6Height");
    put_f64(&mut out, coordinate.height);
    out.extend_from_slice(b"\xa3Vec");
    put_array(&mut out, coordinate.vec.len() as u32);
    for component in &coordinate.vec {
        put_f64(&mut out, *component);
    }
    Arc::from(out)
}

/// The coordinate in a payload; `None` if it is of another version, or malformed.
pub fn decode_coordinate(payload: &[u8]) -> Option<Coordinate> {
    let (&VERSION, body) = payload.split_first()? else {
        return None;
    };
    let mut coordinate = Coordinate {
        vec: Vec::new(),
        error: 0.0,
        adjustment: 0.0,
        height: 0.0,
    };
    let read = Reader::new(body).fields(["Vec", "Error", "Adjustment", "Height"], |at, r| {
        match at {
            0 => {
                coordinate.vec.clear();
                r.list(|at, r| {
                    if at == DIMENSIONS_MAX {
                        return Err(Error::Length);
                    }
                    coordinate.vec.push(r.float()?);
                    Ok(())
                })?;
            }
            1 => coordinate.error = r.float()?,
            2 => coordinate.adjustment = r.float()?,
            _ => coordinate.height = r.float()?,
        }
        Ok::<(), Error>(())
    });
    read.is_ok().then_some(coordinate)
}
