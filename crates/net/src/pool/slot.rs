//! The place of one address: its connection, and the one dial that its callers wait for.

use std::sync::Arc;

use parking_lot::Mutex;

/// A connection: with streams, or with frames.
pub(super) trait Link {
    /// True while calls can be made.
    fn is_open(&self) -> bool;
}

/// See the module.
pub(super) struct Slot<C, E> {
    known: Mutex<Known<C, E>>,
    dialing: tokio::sync::Mutex<()>,
}

struct Known<C, E> {
    conn: Option<Arc<C>>,
    /// Dials that have failed.
    failures: u64,
    /// How the last one did.
    error: Option<E>,
}

impl<C, E> Default for Slot<C, E> {
    fn default() -> Slot<C, E> {
        Slot {
            known: Mutex::new(Known {
                conn: None,
                failures: 0,
                error: None,
            }),
            dialing: tokio::sync::Mutex::default(),
        }
    }
}

impl<C: Link, E: Clone> Slot<C, E> {
    /// The connection, if it can be used.
    pub(super) fn conn(&self) -> Option<Arc<C>> {
        let known = self.known.lock();
        known.conn.as_ref().filter(|conn| conn.is_open()).cloned()
    }

    /// The connection, or the outcome of the dial that is on its way, or that of a new one. Cancel safe: the next caller
    /// dials.
    pub(super) async fn conn_or_dial(
        &self,
        dial: impl AsyncFnOnce() -> Result<Arc<C>, E>,
    ) -> Result<Arc<C>, E> {
        let before = {
            let known = self.known.lock();
            match known.conn.as_ref().filter(|conn| conn.is_open()) {
                Some(conn) => return Ok(Arc::clone(conn)),
                None => known.failures,
            }
        };
        let _turn = self.dialing.lock().await;
        {
            let known = self.known.lock();
            if let Some(conn) = known.conn.as_ref().filter(|conn| conn.is_open()) {
                return Ok(Arc::clone(conn));
            }
            // Whoever dialed while this caller waited has dialed for it.
            if known.failures != before
                && let Some(error) = &known.error
            {
                return Err(error.clone());
            }
        }
        let made = dial().await;
        let mut known = self.known.lock();
        match &made {
            Ok(conn) => known.conn = Some(Arc::clone(conn)),
            Err(error) => {
                known.failures += 1;
                known.error = Some(error.clone());
            }
        }
        made
    }

    /// Drops the connection if it is this one.
    pub(super) fn forget(&self, conn: &Arc<C>) {
        let mut known = self.known.lock();
        if known
            .conn
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, conn))
        {
            known.conn = None;
        }
    }
}
