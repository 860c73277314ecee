//! `Coordinate.*`: positions of nodes, and of servers of other datacenters.

use std::sync::Arc;

use tribune_types::coordinate::{self as domain, CoordinateEntry};
use tribune_types::query::{Query, Reply};
use tribune_types::write::Write;

use super::Error;
use super::catalog::NodeSpecificRequest;
use super::fields::{Each, Empty, Fields};
use crate::msgpack::{self, Str};
use crate::records::{Coordinate, CoordinateUpdateRequest, CoordinateVector, mirror};

mirror! {
    /// `structs.IndexedCoordinates`.
    IndexedCoordinates<'a> {
        "Coordinates" coordinates: Option<Vec<Coordinate<'a>>>,
    }

    /// `structs.DatacenterMap`.
    DatacenterMap<'a> {
        "AreaID" area: Str<'a>,
        "Coordinates" coordinates: Option<Vec<Coordinate<'a>>>,
        "Datacenter" datacenter: Str<'a>,
    }
}

pub(super) fn decode(method: &str, body: &[u8]) -> Result<Option<Query>, Error> {
    Ok(Some(match method {
        "Coordinate.ListDatacenters" => Query::DatacenterMaps,
        "Coordinate.ListNodes" => Query::Coordinates {
            node: None,
            segment: None,
        },
        "Coordinate.Node" => {
            let request: NodeSpecificRequest<'_> = msgpack::from_slice(body)?;
            Query::Coordinates {
                node: Some(request.node.into()),
                segment: None,
            }
        }
        _ => return Ok(None),
    }))
}

pub(super) fn update(body: &[u8]) -> Result<Write, Error> {
    let request: CoordinateUpdateRequest<'_> = msgpack::from_slice(body)?;
    Ok(Write::Coordinate(request.try_into()?))
}

pub(super) fn put_update<'a>(entry: &'a CoordinateEntry, fields: &mut Fields<'a>) {
    fields.put("Coord", CoordinateVector::from(&entry.coord));
    fields.str("Node", &entry.node);
    fields.str("Segment", &entry.segment);
}

pub(super) fn put_reply<'a>(found: &'a [Arc<CoordinateEntry>], fields: &mut Fields<'a>) {
    fields.list("Coordinates", found, Empty::Nil, |c| Coordinate::from(&**c));
}

/// Encodes the bare list of maps.
pub(super) fn put_maps(maps: &[domain::DatacenterMap], out: &mut Vec<u8>) {
    let each = Each {
        items: maps,
        convert: |map| DatacenterMap::from(map),
    };
    let done = msgpack::to_writer(out, &each);
    debug_assert!(done.is_ok(), "maps cannot be encoded: {done:?}");
}

/// Decodes coordinates, of one segment if one is asked for: the servers answer all segments.
pub(super) fn reply(segment: Option<&str>, body: &[u8]) -> Result<Reply, Error> {
    let reply: IndexedCoordinates<'_> = msgpack::from_slice(body)?;
    let entries = reply.coordinates.unwrap_or_default().into_iter();
    let entries = entries
        .filter(|c| segment.is_none_or(|wanted| &*c.segment == wanted))
        .map(|c| CoordinateEntry::try_from(c).map(Arc::new));
    Ok(Reply::Coordinates(entries.collect::<Result<_, _>>()?))
}

pub(super) fn maps(body: &[u8]) -> Result<Reply, Error> {
    let maps: Option<Vec<DatacenterMap<'_>>> = msgpack::from_slice(body)?;
    let maps = maps.unwrap_or_default().into_iter();
    let maps = maps.map(domain::DatacenterMap::try_from);
    Ok(Reply::DatacenterMaps(maps.collect::<Result<_, _>>()?))
}

impl<'a> From<&'a domain::DatacenterMap> for DatacenterMap<'a> {
    fn from(map: &'a domain::DatacenterMap) -> Self {
        DatacenterMap {
            area: (&map.area).into(),
            coordinates: Some(map.coordinates.iter().map(Into::into).collect()),
            datacenter: (&map.datacenter).into(),
        }
    }
}

impl TryFrom<DatacenterMap<'_>> for domain::DatacenterMap {
    type Error = Error;

    fn try_from(map: DatacenterMap<'_>) -> Result<Self, Error> {
        let coordinates = map.coordinates.unwrap_or_default().into_iter();
        Ok(domain::DatacenterMap {
            datacenter: map.datacenter.into(),
            area: map.area.into(),
            coordinates: coordinates
                .map(CoordinateEntry::try_from)
                .collect::<Result<_, _>>()?,
        })
    }
}
