//! The servers of the datacenter as the gossip pool tells of them: the address book of the peer set.
//!
//! In: every member of the LAN pool, as [`Server::on_member`](crate::Server::on_member) is told. Out: the servers, and
//! where the one with a given identity lives now. Whoever follows the book asks for what changed since a number it has
//! seen, so nothing falls between looks.
//!
//! Size: as many entries as there are servers; looked through in full.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tribune_leader::peers::PoolServer;
use tribune_types::id::NodeId;
use tribune_types::member::MemberStatus;
use tribune_types::text::Text;

/// Forgotten servers that are remembered as such.
const REAPED_MAX: usize = 64;

/// The book.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    pages: Mutex<Pages>,
    /// Counts changes.
    version: AtomicU64,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Pages {
    servers: BTreeMap<Text, PoolServer>,
    /// Servers that the pool has forgotten, until the leader has looked.
    reaped: BTreeMap<Text, PoolServer>,
}

impl Directory {
    /// A member is a server as given from now on, or none.
    pub(crate) fn set(&self, name: &Text, server: Option<PoolServer>) {
        let mut pages = self.pages.lock();
        if pages.servers.get(name) == server.as_ref() {
            return;
        }
        match server {
            Some(server) => {
                pages.reaped.remove(name);
                pages.servers.insert(name.clone(), server);
            }
            None => {
                pages.servers.remove(name);
            }
        }
        drop(pages);
        self.tell();
    }

    /// The pool has forgotten a member.
    pub(crate) fn forget(&self, name: &str) {
        let mut pages = self.pages.lock();
        let Some((name, server)) = pages.servers.remove_entry(name) else {
            return;
        };
        if pages.reaped.len() < REAPED_MAX {
            pages.reaped.insert(name, server);
        }
        drop(pages);
        self.tell();
    }

    fn tell(&self) {
        self.version.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// All servers, by name.
    pub(crate) fn servers(&self) -> Vec<PoolServer> {
        self.pages.lock().servers.values().cloned().collect()
    }

    /// A server that the pool has forgotten, told once.
    pub(crate) fn take_reaped(&self, name: &str) -> Option<PoolServer> {
        self.pages.lock().reaped.remove(name)
    }

    /// The server with this identity; one that is there before one that is not.
    pub(crate) fn by_id(&self, id: NodeId) -> Option<PoolServer> {
        let pages = self.pages.lock();
        best(&pages, id).cloned()
    }

    /// True if the pool knows a server with this identity.
    pub(crate) fn knows(&self, id: NodeId) -> bool {
        best(&self.pages.lock(), id).is_some()
    }

    /// Where the server with this identity lives: as the pool tells, else as `stored`.
    pub(crate) fn addr_of(&self, id: NodeId, stored: &str) -> Option<SocketAddr> {
        let told = best(&self.pages.lock(), id).and_then(|server| server.addr);
        told.or_else(|| stored.parse().ok())
    }

    /// Number of the last change.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Waits for a change after the one numbered `seen`. Cancel safe.
    pub(crate) async fn changed_since(&self, seen: u64) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Enabled before the look, so that no change falls between.
            changed.as_mut().enable();
            if self.version() != seen {
                return;
            }
            changed.await;
        }
    }
}

fn best(pages: &Pages, id: NodeId) -> Option<&PoolServer> {
    let found = pages
        .servers
        .values()
        .filter(|server| server.id == Some(id));
    found.min_by_key(|server| match server.status {
        MemberStatus::Alive => 0,
        MemberStatus::Leaving => 1,
        MemberStatus::Failed => 2,
        MemberStatus::Left | MemberStatus::None => 3,
    })
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;

    fn server(name: &str, id: u8, port: u16, status: MemberStatus) -> PoolServer {
        PoolServer {
            name: text(name),
            id: Some(NodeId::from_random([id; 16])),
            addr: Some(([10, 0, 0, 1], port).into()),
            status,
            version: text("1.8.7"),
            expect: 0,
            bootstrap: false,
            voter: true,
            ours: true,
        }
    }

    fn put(book: &Directory, server: PoolServer) {
        book.set(&server.name.clone(), Some(server));
    }

    #[test]
    fn a_server_lives_where_the_pool_says_and_else_where_the_log_says() {
        let book = Directory::default();
        let id = NodeId::from_random([1; 16]);
        let stored = "10.9.9.9:8300";
        assert_eq!(book.addr_of(id, stored), stored.parse().ok());
        assert_eq!(book.addr_of(id, "nowhere"), None);
        put(&book, server("old", 1, 1, MemberStatus::Failed));
        assert_eq!(book.addr_of(id, stored).unwrap().port(), 1);
        put(&book, server("new", 1, 2, MemberStatus::Alive));
        assert_eq!(book.addr_of(id, stored).unwrap().port(), 2);
        book.forget("new");
        book.set(&text("old"), None);
        assert_eq!(book.addr_of(id, stored), stored.parse().ok());
    }

    #[test]
    fn only_changes_are_counted_and_a_forgotten_server_is_told_once() {
        let book = Directory::default();
        put(&book, server("a", 1, 1, MemberStatus::Alive));
        let seen = book.version();
        put(&book, server("a", 1, 1, MemberStatus::Alive));
        book.set(&text("client"), None);
        book.forget("nobody");
        assert_eq!(book.version(), seen);
        book.forget("a");
        assert_ne!(book.version(), seen);
        assert!(book.take_reaped("a").is_some());
        assert_eq!(book.take_reaped("a"), None);
        // Back again before anybody looked.
        put(&book, server("a", 1, 1, MemberStatus::Alive));
        book.forget("a");
        put(&book, server("a", 1, 1, MemberStatus::Alive));
        assert_eq!(book.take_reaped("a"), None);
    }
}
