//! Network coordinates.

use tribune_types::coordinate as domain;

use super::{RecordError, mirror};
use crate::msgpack::Str;

mirror! {
    /// `structs.Coordinate`: a node's position.
    Coordinate<'a> {
        "Coord" coord: Option<CoordinateVector>,
        "Node" node: Str<'a>,
        "Segment" segment: Str<'a>,
    }

    /// `structs.CoordinateUpdateRequest`.
    CoordinateUpdateRequest<'a> {
        "Coord" coord: Option<CoordinateVector>,
        "Datacenter" datacenter: Str<'a>,
        "Node" node: Str<'a>,
        "Segment" segment: Str<'a>,
        "Token" token: Str<'a>,
    }

    /// `coordinate.Coordinate`.
    CoordinateVector {
        "Adjustment" adjustment: f64,
        "Error" error: f64,
        "Height" height: f64,
        "Vec" vec: Option<Vec<f64>>,
    }
}

impl From<&domain::Coordinate> for CoordinateVector {
    fn from(c: &domain::Coordinate) -> Self {
        CoordinateVector {
            adjustment: c.adjustment,
            error: c.error,
            height: c.height,
            vec: Some(c.vec.clone()),
        }
    }
}

impl From<CoordinateVector> for domain::Coordinate {
    fn from(c: CoordinateVector) -> Self {
        domain::Coordinate {
            vec: c.vec.unwrap_or_default(),
            error: c.error,
            adjustment: c.adjustment,
            height: c.height,
        }
    }
}

impl<'a> From<&'a domain::CoordinateEntry> for Coordinate<'a> {
    fn from(c: &'a domain::CoordinateEntry) -> Self {
        Coordinate {
            coord: Some((&c.coord).into()),
            node: (&c.node).into(),
            segment: (&c.segment).into(),
        }
    }
}

impl TryFrom<Coordinate<'_>> for domain::CoordinateEntry {
    type Error = RecordError;

    fn try_from(c: Coordinate<'_>) -> Result<Self, RecordError> {
        Ok(domain::CoordinateEntry {
            node: c.node.into(),
            segment: c.segment.into(),
            coord: c.coord.ok_or(RecordError::Missing("Coord"))?.into(),
        })
    }
}

impl TryFrom<CoordinateUpdateRequest<'_>> for domain::CoordinateEntry {
    type Error = RecordError;

    fn try_from(c: CoordinateUpdateRequest<'_>) -> Result<Self, RecordError> {
        Coordinate {
            coord: c.coord,
            node: c.node,
            segment: c.segment,
        }
        .try_into()
    }
}
