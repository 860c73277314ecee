//! Network coordinates (Vivaldi): records and distance arithmetic (agent.md, section 9).

use std::time::Duration;

use crate::text::Text;

/// Dimensions of the Euclidean part.
pub const DIMENSIONS: usize = 8;

/// A position in the round-trip-time space, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Coordinate {
    /// Euclidean part, seconds. Clients may send another length, which is refused as incompatible.
    pub vec: Vec<f64>,
    /// Confidence, dimensionless.
    pub error: f64,
    /// Offset of observations, seconds.
    pub adjustment: f64,
    /// Access link part, seconds.
    pub height: f64,
}

impl Default for Coordinate {
    /// The position of a node that has not measured anything yet.
    fn default() -> Coordinate {
        Coordinate {
            vec: vec![0.0; DIMENSIONS],
            error: 1.5,
            adjustment: 0.0,
            height: 1.0e-5,
        }
    }
}

impl Coordinate {
    /// True if every component is a finite number.
    pub fn is_valid(&self) -> bool {
        self.vec.iter().all(|x| x.is_finite())
            && self.error.is_finite()
            && self.adjustment.is_finite()
            && self.height.is_finite()
    }

    /// True if distances between both are defined.
    pub fn is_compatible(&self, other: &Coordinate) -> bool {
        self.vec.len() == other.vec.len()
    }

    /// Estimated round-trip time in seconds; infinite for incompatible coordinates.
    pub fn distance_secs(&self, other: &Coordinate) -> f64 {
        if !self.is_compatible(other) {
            return f64::INFINITY;
        }
        let squares: f64 = self
            .vec
            .iter()
            .zip(&other.vec)
            .map(|(a, b)| (a - b) * (a - b))
            .sum();
        let raw = squares.sqrt() + self.height + other.height;
        let adjusted = raw + self.adjustment + other.adjustment;
        if adjusted > 0.0 { adjusted } else { raw }
    }

    /// Estimated round-trip time.
    pub fn distance(&self, other: &Coordinate) -> Option<Duration> {
        let secs = self.distance_secs(other);
        Duration::try_from_secs_f64(secs).ok()
    }
}

/// The coordinate of a node in a segment.
#[derive(Debug, Clone, PartialEq)]
pub struct CoordinateEntry {
    /// Node name.
    pub node: Text,
    /// Network segment, always empty here.
    pub segment: Text,
    /// Position.
    pub coord: Coordinate,
}

/// The coordinates of one datacenter's servers in an area.
#[derive(Debug, Clone, PartialEq)]
pub struct DatacenterMap {
    /// Datacenter name.
    pub datacenter: Text,
    /// `wan` for the pool of servers.
    pub area: Text,
    /// One entry per server.
    pub coordinates: Vec<CoordinateEntry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f64, height: f64, adjustment: f64) -> Coordinate {
        let mut vec = vec![0.0; DIMENSIONS];
        vec[0] = x;
        Coordinate {
            vec,
            error: 1.0,
            adjustment,
            height,
        }
    }

    #[test]
    fn distance_is_euclid_plus_heights_plus_adjustments_while_positive() {
        // (a.x, a.height, a.adj, b.x, b.height, b.adj, seconds)
        for (ax, ah, aa, bx, bh, ba, want) in [
            (0.0, 0.01, 0.0, 0.03, 0.0, 0.0, 0.04),
            (0.0, 0.0, -0.1, 0.03, 0.0, 0.0, 0.03),
            (0.0, 0.0, 0.01, 0.03, 0.0, 0.01, 0.05),
        ] {
            let d = at(ax, ah, aa).distance_secs(&at(bx, bh, ba));
            assert!((d - want).abs() < 1e-9, "{d} is not {want}");
        }
    }
}
