//! Points in time and spans (spec rpc.md 2.3).

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use tribune_types::time::Wall;

use super::Error;

/// Seconds from the year 1 to 1970.
const UNIX_OFFSET: i64 = 62_135_596_800;

/// A point in time with the zone it is shown in. The default is the zero time of the year 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970; negative before.
    pub unix_secs: i64,
    /// Nanoseconds of the second.
    pub nanos: u32,
    /// Minutes east of UTC; `None` is UTC itself. For display only.
    pub offset_min: Option<i16>,
}

impl Default for Time {
    fn default() -> Self {
        Time {
            unix_secs: -UNIX_OFFSET,
            nanos: 0,
            offset_min: None,
        }
    }
}

impl Time {
    /// Whether this is the zero time.
    pub fn is_zero(&self) -> bool {
        self.unix_secs == -UNIX_OFFSET && self.nanos == 0
    }

    /// The wall time; `None` before 1970 and after 2554.
    pub fn to_wall(&self) -> Option<Wall> {
        let secs = u64::try_from(self.unix_secs).ok()?;
        secs.checked_mul(1_000_000_000)?
            .checked_add(u64::from(self.nanos))
            .map(Wall)
    }

    /// The 15 bytes of the wire form.
    pub fn to_bytes(&self) -> [u8; 15] {
        let mut out = [0; 15];
        out[0] = 1;
        out[1..9].copy_from_slice(&self.unix_secs.wrapping_add(UNIX_OFFSET).to_be_bytes());
        out[9..13].copy_from_slice(&self.nanos.to_be_bytes());
        out[13..].copy_from_slice(&self.offset_min.unwrap_or(-1).to_be_bytes());
        out
    }

    /// Reads the 15 bytes of version 1 or the 16 bytes of version 2.
    pub fn from_bytes(bytes: &[u8]) -> Result<Time, Error> {
        let body = match bytes {
            [1, body @ ..] if body.len() == 14 => body,
            [2, body @ .., _seconds] if body.len() == 14 => body,
            _ => return Err(Error::Time),
        };
        let (secs, rest) = body.split_first_chunk::<8>().ok_or(Error::Time)?;
        let (nanos, rest) = rest.split_first_chunk::<4>().ok_or(Error::Time)?;
        let offset = rest
            .first_chunk::<2>()
            .map(|b| i16::from_be_bytes(*b))
            .ok_or(Error::Time)?;
        let nanos = u32::from_be_bytes(*nanos);
        let unix_secs = i64::from_be_bytes(*secs).checked_sub(UNIX_OFFSET);
        match unix_secs {
            Some(unix_secs) if nanos < 1_000_000_000 => Ok(Time {
                unix_secs,
                nanos,
                offset_min: (offset != -1).then_some(offset),
            }),
            _ => Err(Error::Time),
        }
    }
}

impl From<Wall> for Time {
    fn from(wall: Wall) -> Self {
        Time {
            unix_secs: i64::try_from(wall.unix_secs()).unwrap_or(i64::MAX),
            nanos: (wall.0 % 1_000_000_000) as u32,
            offset_min: None,
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;
        impl Visitor<'_> for TimeVisitor {
            type Value = Time;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time of 15 bytes")
            }
            fn visit_bytes<E: de::Error>(self, v: &[u8]) -> Result<Time, E> {
                // Nil arrives as no bytes.
                if v.is_empty() {
                    return Ok(Time::default());
                }
                Time::from_bytes(v).map_err(E::custom)
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Time, E> {
                self.visit_bytes(v.as_bytes())
            }
        }
        deserializer.deserialize_bytes(TimeVisitor)
    }
}

/// A span in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dur(pub i64);

impl From<Duration> for Dur {
    /// Spans beyond 292 years are cut.
    fn from(span: Duration) -> Self {
        Dur(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl From<Dur> for Duration {
    /// Negative spans, which mean "none" wherever they are allowed, become zero.
    fn from(span: Dur) -> Duration {
        Duration::from_nanos(u64::try_from(span.0).unwrap_or(0))
    }
}

impl Serialize for Dur {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for Dur {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(Dur)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip_and_the_zero_time_is_all_zeros() {
        assert_eq!(
            Time::default().to_bytes(),
            [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
        );
        for time in [
            Time::default(),
            Time {
                unix_secs: 1_700_000_000,
                nanos: 999_999_999,
                offset_min: Some(-90),
            },
            Time::from(Wall(5)),
        ] {
            assert_eq!(Time::from_bytes(&time.to_bytes()), Ok(time));
        }
        assert_eq!(
            Time::from(Wall(1_500_000_000)).to_wall(),
            Some(Wall(1_500_000_000))
        );
        assert_eq!(Time::default().to_wall(), None);
    }

    #[test]
    fn malformed_times_are_refused() {
        let good = Time::default().to_bytes();
        let mut newer = [0; 16];
        newer[..15].copy_from_slice(&good);
        newer[0] = 2;
        assert!(Time::from_bytes(&newer).is_ok());
        for bad in [
            &good[..14],
            &[0u8; 15][..],
            &[3u8; 15][..],
            &newer[..15],
            &[1u8; 16][..],
        ] {
            assert_eq!(Time::from_bytes(bad), Err(Error::Time), "{bad:?}");
        }
        let mut nanos = good;
        nanos[9] = 0xff;
        assert_eq!(Time::from_bytes(&nanos), Err(Error::Time));
    }
}
