//! One pass: brings the destination to what the source's listing says.
//!
//! Sets are written while the listings are merged. Deletes wait until the source's listing was read to its end, in order
//! and without error, so that a listing that breaks off deletes nothing. An empty one then deletes only if the flow
//! believes it, and of the others only those keys go that the source's token could have seen.

use std::{
    io::Read,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use tribune_api::client::Client;

use crate::{
    entries::{Entries, ListingError},
    merge::{Change, Merge, MergeError},
    meters::Meters,
    rules::Rules,
    source::{self, AUTHORIZE_COUNT_MAX, Answer, AskError},
    writers::{self, Operation, Refused, Sink, Target, WriteError},
};

/// Keys to delete that one pass remembers. What is more is left to a pass right behind it.
pub(crate) const DELETES_MAX: usize = 65_536;
/// The side of a listing that is copied.
pub(crate) const SOURCE: &str = "source";
/// Entries between two looks for a stop.
const STOP_LOOK: u64 = 256;

/// How a pass ended.
#[derive(Debug)]
pub(crate) enum Pass {
    /// The destination equals the source.
    Complete {
        /// Keys the source listed.
        keys: u64,
    },
    /// There is more to delete.
    Again,
    /// The destination did not take some keys; nothing was deleted.
    Refused(Refused),
    /// The source is empty and that was not believed; so many keys were kept.
    Withheld(u64),
    /// So many keys were kept because the source's token may not read them: they may exist there.
    Hidden(u64),
}

/// What a pass asks its flow before it deletes.
pub(crate) trait Judge {
    /// Whether an empty source is to be followed. Asked with the source's listing read to its end.
    fn believes_in_nothing(&self) -> Result<bool, AskError>;
    /// Which of these source keys a listing would show if they existed; `None`: all keys.
    fn can_see(&self, keys: &[String]) -> Result<Option<Vec<bool>>, AskError>;
}

/// Why a pass failed. The destination has some of its changes, or all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    #[error("source: {0}")]
    AskSource(#[source] AskError),
    #[error("destination: {0}")]
    AskDestination(#[source] AskError),
    #[error("{side}: {}", chain(.source))]
    Listing {
        side: &'static str,
        #[source]
        source: ListingError,
    },
    #[error("destination: {0}")]
    Write(#[from] WriteError),
    #[error("stopped")]
    Stopped,
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

impl From<MergeError> for PassError {
    fn from(error: MergeError) -> Self {
        match error {
            MergeError::Source(source) => Self::Listing {
                side: SOURCE,
                source,
            },
            MergeError::Destination(source) => Self::Listing {
                side: "destination",
                source,
            },
        }
    }
}

/// Runs one pass over `listing`. `reader` reads the destination.
pub(crate) fn run(
    rules: &Rules,
    listing: Answer,
    reader: &Client,
    target: &Target<'_>,
    stop: &AtomicBool,
    judge: &impl Judge,
) -> Result<Pass, PassError> {
    let there = source::list(reader, &rules.destination, target.query)
        .map_err(PassError::AskDestination)?;
    let from = Entries::new(listing.body, &rules.source);
    let to = Entries::new(there.body, &rules.destination);
    target.meters.pass_keys.store(0, Relaxed);
    let (compared, refused) = writers::write(target, |sink| {
        compare(Merge::new(rules, from, to), sink, target.meters, stop)
    })?;
    if stop.load(Relaxed) {
        return Err(PassError::Stopped);
    }
    if refused.count > 0 {
        return Ok(Pass::Refused(refused));
    }
    let Compared { keys, extra, .. } = compared;
    if extra.is_empty() {
        return Ok(Pass::Complete { keys });
    }
    if keys == 0 && !judge.believes_in_nothing().map_err(PassError::AskSource)? {
        return Ok(Pass::Withheld(extra.len() as u64));
    }
    let found = extra.len();
    let extra = visible(rules, extra, judge).map_err(PassError::AskSource)?;
    let hidden = (found - extra.len()) as u64;
    let refused = delete(extra, target, stop)?;
    Ok(if refused.count > 0 {
        Pass::Refused(refused)
    } else if hidden > 0 {
        Pass::Hidden(hidden)
    } else if compared.is_cut {
        Pass::Again
    } else {
        Pass::Complete { keys }
    })
}

/// What comparing both listings gave, besides what was set.
struct Compared {
    /// Keys the source listed.
    keys: u64,
    /// Keys that only the destination has.
    extra: Vec<String>,
    /// There are more of them.
    is_cut: bool,
}

/// Reads both listings to their end, and has set at the destination what differs.
fn compare<S: Read, D: Read>(
    mut merge: Merge<'_, S, D>,
    sink: &mut Sink<'_>,
    meters: &Meters,
    stop: &AtomicBool,
) -> Result<Compared, PassError> {
    let (mut extra, mut is_cut) = (Vec::new(), false);
    let (mut counted, mut looked) = (0, 0);
    while let Some(change) = merge.next()? {
        let mut goes_on = true;
        match change {
            Change::Set {
                key,
                flags,
                value,
                replaces,
            } => {
                goes_on = sink.push(Operation::Set {
                    key,
                    flags,
                    value,
                    replaces,
                });
            }
            Change::Extra(key) if extra.len() < DELETES_MAX => extra.push(key),
            Change::Extra(_) => is_cut = true,
        }
        meters.same.fetch_add(merge.same() - counted, Relaxed);
        counted = merge.same();
        meters.pass_keys.store(merge.source_count(), Relaxed);
        looked += 1;
        if !goes_on {
            break;
        }
        if looked % STOP_LOOK == 0 && stop.load(Relaxed) {
            return Err(PassError::Stopped);
        }
    }
    meters.same.fetch_add(merge.same() - counted, Relaxed);
    Ok(Compared {
        keys: merge.source_count(),
        extra,
        is_cut,
    })
}

/// Deletes keys at the destination; what it refused.
fn delete(keys: Vec<String>, target: &Target<'_>, stop: &AtomicBool) -> Result<Refused, PassError> {
    let ((), refused) = writers::write(target, |sink| {
        for key in keys {
            if stop.load(Relaxed) {
                return Err(PassError::Stopped);
            }
            if !sink.push(Operation::Delete(key)) {
                break;
            }
        }
        Ok(())
    })?;
    Ok(refused)
}

/// Those of the destination's extra keys that the source would have shown.
fn visible(rules: &Rules, extra: Vec<String>, judge: &impl Judge) -> Result<Vec<String>, AskError> {
    let mut kept = Vec::with_capacity(extra.len());
    for chunk in extra.chunks(AUTHORIZE_COUNT_MAX) {
        let names: Vec<String> = chunk.iter().map(|key| rules.to_source(key)).collect();
        match judge.can_see(&names)? {
            // No access rules: there are none for the others either.
            None => return Ok(extra),
            Some(seen) => kept.extend(
                chunk
                    .iter()
                    .zip(seen)
                    .filter(|(_, seen)| *seen)
                    .map(|(key, _)| key.clone()),
            ),
        }
    }
    Ok(kept)
}
