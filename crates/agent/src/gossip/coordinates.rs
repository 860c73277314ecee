//! Sends this node's coordinate to the servers every now and then (spec gossip.md section 8).

use std::time::Duration;

use tracing::debug;
use tribune_rt::CancellationToken;
use tribune_types::coordinate::CoordinateEntry;
use tribune_types::text::Text;
use tribune_types::write::Write;

use super::Pool;
use crate::Handle;

/// Shortest time between two, before its random part.
const INTERVAL_MIN: Duration = Duration::from_secs(15);
/// Coordinates per second that all members together send.
const RATE: u32 = 64;

/// Sends until `stop`.
pub(super) async fn run(handle: Handle, pool: Pool, stop: CancellationToken) {
    let env = pool.env().clone();
    loop {
        let interval = interval(pool.member_count());
        let wait = interval + env.jitter(interval);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = env.sleep(wait) => {}
        }
        let entry = CoordinateEntry {
            node: handle.identity().node.clone(),
            segment: Text::default(),
            coord: pool.coordinate(),
        };
        let caller = handle.inner.local.own_caller();
        if let Err(err) = handle.write(&caller, None, Write::Coordinate(entry)).await {
            // The next one tells as much.
            debug!(%err, "coordinate not sent");
        }
    }
}

/// Grows with the pool, so that servers get a bounded number per second.
fn interval(members: usize) -> Duration {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    INTERVAL_MIN.max(Duration::from_secs(1) * members / RATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pools_send_less_often() {
        // (members, seconds)
        for (members, secs) in [(1, 15.0), (960, 15.0), (1280, 20.0), (10_000, 156.25)] {
            assert_eq!(
                interval(members),
                Duration::from_secs_f64(secs),
                "{members}"
            );
        }
    }
}
