//! Members of a pool for readers, and news of them for followers.
//!
//! A reader gets a shared, immutable list. It is made when it is first asked for after a change, not with every change
//! and not with every request; what has not changed in it is taken over from the list before.
//!
//! Followers get news over a bounded channel. One that does not keep up loses some and is told so: then it reads the list.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tribune_serf::{MemberChange, MemberView, Serf};
use tribune_swim::Peer;
use tribune_types::member::{Member, MemberStatus};
use tribune_types::text::text;

use super::codec;

/// News a follower may leave unread.
const NEWS_MAX: usize = 1024;

/// News of a pool.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// Something happened to a member.
    Changed(MemberChange, Arc<Member>),
    /// News were lost: read the list of members.
    Lost,
}

/// Follows the members of a pool.
#[derive(Debug)]
pub(crate) struct Subscription {
    news: mpsc::Receiver<(MemberChange, Arc<Member>)>,
    lost: Arc<AtomicBool>,
}

impl Subscription {
    /// The next news; `None` once the pool has ended. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<News> {
        if self.lost.swap(false, Ordering::Relaxed) {
            return Some(News::Lost);
        }
        let (change, member) = self.news.recv().await?;
        Some(News::Changed(change, member))
    }

    /// News that are there already.
    pub(crate) fn try_next(&mut self) -> Option<News> {
        if self.lost.swap(false, Ordering::Relaxed) {
            return Some(News::Lost);
        }
        let (change, member) = self.news.try_recv().ok()?;
        Some(News::Changed(change, member))
    }
}

/// The followers of a pool.
#[derive(Debug, Default)]
pub(super) struct Followers(Mutex<Vec<Follower>>);

#[derive(Debug)]
struct Follower {
    news: mpsc::Sender<(MemberChange, Arc<Member>)>,
    lost: Arc<AtomicBool>,
}

impl Followers {
    pub(super) fn subscribe(&self) -> Subscription {
        let (tx, news) = mpsc::channel(NEWS_MAX);
        let lost = Arc::new(AtomicBool::new(false));
        self.0.lock().push(Follower {
            news: tx,
            lost: Arc::clone(&lost),
        });
        Subscription { news, lost }
    }

    /// Tells all; those that are gone are forgotten.
    pub(super) fn tell(&self, change: MemberChange, peer: &Peer, status: MemberStatus) {
        let mut followers = self.0.lock();
        if followers.is_empty() {
            return;
        }
        let member = Arc::new(member_of(peer, status));
        followers.retain(
            |follower| match follower.news.try_send((change, Arc::clone(&member))) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    follower.lost.store(true, Ordering::Relaxed);
                    true
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            },
        );
    }
}

/// The list for readers.
#[derive(Debug, Default)]
pub(super) struct Roster(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    /// Number of the change that the list contains; 0 is none.
    version: u64,
    list: Arc<[Member]>,
    /// Who each entry was made from, in the same order.
    peers: Vec<(Arc<Peer>, MemberStatus)>,
}

impl Roster {
    /// The list as of change `version`, which is made now if it is not there. `core` is locked as short as possible.
    pub(super) fn list(&self, version: u64, core: &Mutex<Serf>) -> Arc<[Member]> {
        let mut cached = self.0.lock();
        if cached.version == version {
            return Arc::clone(&cached.list);
        }
        let peers: Vec<(Arc<Peer>, MemberStatus)> = {
            let core = core.lock();
            let views = core.members();
            views
                .iter()
                .map(|MemberView { peer, status, .. }| (Arc::clone(peer), *status))
                .collect()
        };
        let old: BTreeMap<*const Peer, usize> = cached
            .peers
            .iter()
            .enumerate()
            .map(|(at, (peer, _))| (Arc::as_ptr(peer), at))
            .collect();
        let list: Arc<[Member]> = peers
            .iter()
            .map(|(peer, status)| match old.get(&Arc::as_ptr(peer)) {
                Some(at) => Member {
                    status: *status,
                    ..cached.list[*at].clone()
                },
                None => member_of(peer, *status),
            })
            .collect();
        *cached = Cached {
            version,
            list: Arc::clone(&list),
            peers,
        };
        list
    }
}

/// A member as the agent shows it.
pub(super) fn member_of(peer: &Peer, status: MemberStatus) -> Member {
    let [pmin, pmax, pcur, dmin, dmax, dcur] = peer.versions.map_or([0; 6], |versions| versions.0);
    Member {
        name: peer.name.clone(),
        addr: text(&peer.addr.ip().to_string()),
        port: peer.addr.port(),
        tags: codec::decode_tags(&peer.meta),
        status,
        protocol: [pmin, pmax, pcur],
        delegate: [dmin, dmax, dcur],
    }
}
