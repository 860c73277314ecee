//! One pass: brings the destination to what the source's listing says.
//!
//! Sets are written while the listings are merged. Deletes wait until the source's listing was read to its end, in order
//! and without error, so that a listing that breaks off deletes nothing. An empty one then deletes only if the flow
//! believes it, and of the others only those keys go that the source's token could have seen.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tribune_api::client::Client;

use crate::{
    entries::{Entries, ListingError},
    merge::{Change, Merge, MergeError},
    rules::Rules,
    source::{self, AUTHORIZE_COUNT_MAX, Answer, AskError},
    writers::{self, Operation, Refused, Target, WriteError},
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
    let meters = target.meters;
    meters.pass_keys.store(0, Relaxed);
    let ((keys, deletes, is_cut), refused) = writers::write(target, |sink| {
        let mut merge = Merge::new(rules, from, to);
        let mut deletes = Vec::new();
        let mut is_cut = false;
        let (mut counted, mut looked) = (0, 0);
        while let Some(change) = merge.next()? {
            let goes_on = match change {
                Change::Set {
                    key,
                    flags,
                    value,
                    replaces,
                } => sink.push(Operation::Set {
                    key,
                    flags,
                    value,
                    replaces,
                }),
                Change::Extra(key) if deletes.len() < DELETES_MAX => {
                    deletes.push(key);
                    true
                }
                Change::Extra(_) => {
                    is_cut = true;
                    true
                }
            };
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
        Ok((merge.source_count(), deletes, is_cut))
    })?;
    if stop.load(Relaxed) {
        return Err(PassError::Stopped);
    }
    if refused.count > 0 {
        return Ok(Pass::Refused(refused));
    }
    if deletes.is_empty() {
        return Ok(Pass::Complete { keys });
    }
    if keys == 0 && !judge.believes_in_nothing().map_err(PassError::AskSource)? {
        return Ok(Pass::Withheld(deletes.len() as u64));
    }
    let found = deletes.len();
    let deletes = visible(rules, deletes, judge).map_err(PassError::AskSource)?;
    let hidden = (found - deletes.len()) as u64;
    let ((), refused) = writers::write(target, |sink| {
        for key in deletes {
            if stop.load(Relaxed) {
                return Err(PassError::Stopped);
            }
            if !sink.push(Operation::Delete(key)) {
                break;
            }
        }
        Ok(())
    })?;
    Ok(if refused.count > 0 {
        Pass::Refused(refused)
    } else if hidden > 0 {
        Pass::Hidden(hidden)
    } else if is_cut {
        Pass::Again
    } else {
        Pass::Complete { keys }
    })
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
