//! Pools of one process over loopback, with real sockets and real time.

use std::net::Ipv4Addr;
use std::path::Path;

use tribune_config::Secret;
use tribune_rt::CancellationToken;
use tribune_serf::MemberChange;
use tribune_swim::{AdmitAll, Timing};
use tribune_types::keyring::KeyringOperation;
use tribune_types::member::MemberStatus;
use tribune_types::text::text;

use super::options::KeyOptions;
use super::*;

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";
const OTHER_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
/// Longest wait: what a lost packet should have told comes with an exchange of whole states, of which there is one every 30 s.
const LONG: Duration = Duration::from_secs(90);

/// As in development mode, but calm enough for a busy machine.
fn timing() -> Timing {
    Timing {
        probe_interval: Duration::from_millis(200),
        probe_timeout: Duration::from_millis(150),
        // The time in which queries must be answered follows from it.
        gossip_interval: Duration::from_millis(200),
        suspicion_mult: 3,
        ..Timing::lan()
    }
}

struct Node {
    pool: Pool,
    tasks: TaskGroup,
    events: mpsc::Receiver<Fired>,
    news: Subscription,
    addr: String,
}

/// What is special about a node.
#[derive(Default)]
struct Special<'a> {
    key: &'a str,
    data: Option<&'a Path>,
    addr: Option<SocketAddr>,
    /// Told to others, if it is another one.
    advertise: Option<SocketAddr>,
    /// Who may enter, if not everybody.
    admit: Option<Arc<dyn tribune_swim::Admit>>,
    rejoin_after_leave: bool,
}

impl Node {
    fn start(env: &Env, name: &str, special: &Special<'_>) -> Node {
        let tasks = env.group(&CancellationToken::new());
        let (events_tx, events) = mpsc::channel(64);
        let bind = special
            .addr
            .unwrap_or_else(|| (Ipv4Addr::new(127, 0, 0, 1), 0).into());
        let pool = Pool::start(
            env,
            &tasks,
            PoolOptions {
                label: "LAN",
                name: text(name),
                bind,
                advertise: special.advertise.unwrap_or(bind),
                tags: [("role", "node"), ("id", name)]
                    .iter()
                    .map(|(key, value)| (text(key), text(value)))
                    .collect(),
                timing: timing(),
                reconnect_timeout: Duration::from_secs(3600),
                admit: special.admit.clone().unwrap_or(Arc::new(AdmitAll)),
                keys: KeyOptions {
                    configured: Secret::new(special.key.to_owned()),
                    file: special.data.map(|dir| dir.join("serf/local.keyring")),
                    verify_incoming: true,
                    verify_outgoing: true,
                },
                snapshot: special.data.map(|dir| dir.join("serf/local.snapshot")),
                rejoin_after_leave: special.rejoin_after_leave,
                events: Some(events_tx),
            },
        )
        .unwrap();
        let news = pool.subscribe();
        let addr = pool.shared.core.lock().swim().local().addr.to_string();
        Node {
            pool,
            tasks,
            events,
            news,
            addr,
        }
    }

    fn statuses(&self) -> Vec<(String, MemberStatus)> {
        let members = self.pool.members();
        members
            .iter()
            .map(|member| (member.name.to_string(), member.status))
            .collect()
    }

    async fn until(&self, what: &str, holds: impl Fn(&[(String, MemberStatus)]) -> bool) {
        let deadline = self.pool.env().mono() + LONG;
        while !holds(&self.statuses()) {
            let late = self.pool.env().mono() > deadline;
            assert!(!late, "never: {what}: {:?}", self.statuses());
            self.pool.env().sleep(Duration::from_millis(25)).await;
        }
    }

    async fn until_status(&self, name: &str, status: MemberStatus) {
        self.until(&format!("{name} {status:?}"), |members| {
            members.contains(&(name.to_owned(), status))
        })
        .await;
    }

    async fn join(&self, other: &Node) {
        let joined = self.pool.join(std::slice::from_ref(&other.addr)).await;
        assert_eq!((joined.count, &*joined.errors), (1, &[][..]));
    }

    async fn stop(self) {
        assert!(self.tasks.shutdown(Duration::from_secs(10)).await);
    }
}

fn names(members: &[(String, MemberStatus)]) -> usize {
    members
        .iter()
        .filter(|(_, status)| *status == MemberStatus::Alive)
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_that_join_see_one_another_and_hear_the_same_events() {
    let env = Env::ambient().unwrap();
    let mut a = Node::start(&env, "a", &Special::default());
    let mut b = Node::start(&env, "b", &Special::default());
    let mut c = Node::start(&env, "c", &Special::default());
    b.join(&a).await;
    c.join(&b).await;
    for node in [&a, &b, &c] {
        node.until("three members", |members| names(members) == 3)
            .await;
    }
    let member = a.pool.members()[1].clone();
    assert_eq!(
        (&*member.addr, member.protocol, member.delegate),
        ("127.0.0.1", [1, 5, 2], [2, 5, 4])
    );
    assert_eq!(member.tags.get("id").map(|id| &**id), Some("b"));

    a.pool.fire("deploy", b"42".to_vec()).await.unwrap();
    for node in [&mut a, &mut b, &mut c] {
        let fired = env
            .timeout(LONG, node.events.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!((&*fired.name, &*fired.payload), ("deploy", &b"42"[..]));
    }
    let err = a.pool.fire("big", vec![0; 600]).await.unwrap_err();
    assert_eq!(
        err.to_string(),
        "user event exceeds configured limit of 512 bytes before encoding"
    );
    // The own join may be older than the subscription.
    let mut joined = Vec::new();
    while let Some(news) = a.news.try_next() {
        if let News::Changed(MemberChange::Joined, member) = news
            && &*member.name != "a"
        {
            joined.push(member.name.to_string());
        }
    }
    joined.sort();
    assert_eq!(joined, ["b", "c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_is_left_and_who_is_gone_has_failed_until_forced() {
    let env = Env::ambient().unwrap();
    let a = Node::start(&env, "a", &Special::default());
    let b = Node::start(&env, "b", &Special::default());
    let c = Node::start(&env, "c", &Special::default());
    b.join(&a).await;
    c.join(&a).await;
    for node in [&a, &b, &c] {
        node.until("three members", |members| names(members) == 3)
            .await;
    }
    b.pool.leave().await;
    a.until_status("b", MemberStatus::Left).await;
    c.until_status("b", MemberStatus::Left).await;
    b.stop().await;
    c.stop().await;
    a.until_status("c", MemberStatus::Failed).await;
    assert_eq!(a.pool.force_leave("c", false).await, Ok(true));
    a.until_status("c", MemberStatus::Left).await;
    assert_eq!(a.pool.force_leave("nobody", false).await, Ok(false));
    assert_eq!(a.pool.force_leave("c", true).await, Ok(true));
    a.until("c forgotten", |members| {
        members.iter().all(|(name, _)| name != "c")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_changed_on_all_members_and_in_their_files() {
    let env = Env::ambient().unwrap();
    let (dir_a, dir_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let special = |data| Special {
        key: KEY,
        data: Some(data),
        ..Special::default()
    };
    let a = Node::start(&env, "a", &special(dir_a.path()));
    let b = Node::start(&env, "b", &special(dir_b.path()));
    let plain = Node::start(&env, "plain", &Special::default());
    b.join(&a).await;
    for node in [&a, &b] {
        node.until("two members", |members| names(members) == 2)
            .await;
    }
    let refused = plain.pool.join(std::slice::from_ref(&a.addr)).await;
    assert_eq!(refused.count, 0);
    assert!(
        refused.errors[0].contains("Remote state is encrypted and encryption is not configured"),
        "{refused:?}"
    );
    let file = |dir: &Path| std::fs::read_to_string(dir.join("serf/local.keyring")).unwrap();
    assert_eq!(file(dir_a.path()), format!("[\"{KEY}\"]"));

    let list = |result: keyring::KeyResult| -> Vec<(String, i64)> {
        assert_eq!(result.error, None);
        let keys = result.keys.into_iter();
        keys.map(|(key, count)| (key.to_string(), count)).collect()
    };
    for operation in [KeyringOperation::Install, KeyringOperation::Use] {
        let result = a.pool.keyring(operation, OTHER_KEY, 0).await;
        assert_eq!((result.error, result.nodes), (None, 2), "{operation:?}");
    }
    let result = b.pool.keyring(KeyringOperation::List, "", 0).await;
    let primary = result.primary_keys.clone();
    assert_eq!(
        list(result),
        [(KEY.to_owned(), 2), (OTHER_KEY.to_owned(), 2)]
    );
    assert_eq!(primary.get(OTHER_KEY), Some(&2));
    let result = a.pool.keyring(KeyringOperation::Remove, OTHER_KEY, 0).await;
    assert_eq!(result.error.as_deref(), Some("2/2 nodes reported failure"));
    assert_eq!(
        result.messages.get("b").map(|text| &**text),
        Some("Removing the primary key is not allowed")
    );
    let result = a.pool.keyring(KeyringOperation::Remove, KEY, 0).await;
    assert_eq!(result.error, None);
    let want = format!("[\n  \"{OTHER_KEY}\"\n]");
    assert_eq!(file(dir_a.path()), want);
    assert_eq!(file(dir_b.path()), want);
    let mode = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(&dir_a.path().join("serf")), 0o700);
    assert_eq!(mode(&dir_a.path().join("serf/local.keyring")), 0o600);
    let result = plain.pool.keyring(KeyringOperation::List, "", 0).await;
    assert_eq!(
        result.messages.get("plain").map(|text| &**text),
        Some("Keyring is empty (encryption not enabled)")
    );
    let result = a.pool.keyring(KeyringOperation::Use, "!!", 0).await;
    assert_eq!(
        result.error.as_deref(),
        Some("illegal base64 data at input byte 0")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_agent_finds_its_pool_again_but_not_after_a_leave() {
    let env = Env::ambient().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start(&env, "a", &Special::default());
    let special = Special {
        data: Some(dir.path()),
        ..Special::default()
    };
    let b = Node::start(&env, "b", &special);
    b.join(&a).await;
    a.until_status("b", MemberStatus::Alive).await;
    let special = Special {
        addr: Some(b.addr.parse().unwrap()),
        ..special
    };
    b.stop().await;
    a.until_status("b", MemberStatus::Failed).await;
    let b = Node::start(&env, "b", &special);
    a.until_status("b", MemberStatus::Alive).await;
    b.until("both members", |members| names(members) == 2).await;
    b.pool.leave().await;
    b.stop().await;
    let b = Node::start(&env, "b", &special);
    env.sleep(Duration::from_millis(500)).await;
    assert_eq!(b.statuses().len(), 1);
    b.stop().await;
    let special = Special {
        rejoin_after_leave: true,
        ..special
    };
    let b = Node::start(&env, "b", &special);
    b.until("both members", |members| names(members) == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_reaches_nobody_says_why_in_known_words() {
    let env = Env::ambient().unwrap();
    let a = Node::start(&env, "a", &Special::default());
    let joined = a
        .pool
        .join(&["127.46.9.9:1".to_owned(), "127.0.0.1:bad".to_owned()])
        .await;
    assert_eq!(
        joined.error_text(),
        "2 errors occurred:\n\t* Failed to join 127.46.9.9: dial tcp 127.46.9.9:1: connect: connection refused\n\t* Failed to resolve 127.0.0.1:bad: strconv.ParseUint: parsing \"bad\": invalid syntax\n\n"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_tags_are_told_to_all() {
    let env = Env::ambient().unwrap();
    let a = Node::start(&env, "a", &Special::default());
    let b = Node::start(&env, "b", &Special::default());
    b.join(&a).await;
    let tags: TextMap = [(text("role"), text("x"))].into_iter().collect();
    b.pool.set_tags(tags).await.unwrap();
    let deadline = env.mono() + LONG;
    while env.mono() < deadline {
        let members = a.pool.members();
        let role = members.iter().find(|member| &*member.name == "b");
        if role.is_some_and(|member| member.tags.get("role").is_some_and(|role| &**role == "x")) {
            return;
        }
        env.sleep(Duration::from_millis(25)).await;
    }
    panic!("never told: {:?}", a.pool.members());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_named() {
    let env = Env::ambient().unwrap();
    let a = Node::start(&env, "a", &Special::default());
    let addr: SocketAddr = a.addr.parse().unwrap();
    let err = bind(&env, addr).unwrap_err();
    assert_eq!(
        err.to_string(),
        format!(
            "Failed to create memberlist: Could not set up network transport: failed to obtain an address: \
             Failed to start TCP listener on \"127.0.0.1\" port {}: listen tcp {addr}: bind: address already in use",
            addr.port()
        )
    );
}

/// Sends a state of invented members, and its maker as the last of them, to an agent; how many that then knows.
async fn pushed_by_a_stranger(env: &Env, key: &str) -> usize {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let special = Special {
        key,
        ..Special::default()
    };
    let a = Node::start(env, "a", &special);
    let invented = (0..300_u16).map(|n| {
        let [high, low] = n.to_be_bytes();
        let ip = if n == 299 {
            [127, 0, 0, 1]
        } else {
            [127, 88, high, low]
        };
        tribune_swim::RemoteNode {
            peer: Arc::new(tribune_swim::Peer {
                name: text(&format!("invented-{n}")),
                addr: (ip, 8301).into(),
                meta: Arc::default(),
                versions: Some(tribune_swim::Versions::CONSUL),
            }),
            incarnation: 1,
            state: NodeState::Alive,
        }
    });
    let state = tribune_swim::PushPull {
        join: true,
        nodes: invented.collect(),
        user_state: Vec::new(),
    };
    let ring = a.pool.shared.keys.outgoing();
    let bytes = codec::seal_push_pull(env, ring.as_deref(), state).unwrap();
    let addr = a.addr.parse().unwrap();
    let mut stream = tribune_rt::net::TcpStream::connect(env, addr)
        .await
        .unwrap();
    stream.write_all(&bytes).await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    a.until("the maker", |members| {
        members.iter().any(|(name, _)| name == "invented-299")
    })
    .await;
    let known = a.statuses().len() - 1;
    a.stop().await;
    known
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_introduces_some_of_its_members_and_a_holder_of_the_key_all() {
    let env = Env::ambient().unwrap();
    assert_eq!(pushed_by_a_stranger(&env, "").await, 150);
    assert_eq!(pushed_by_a_stranger(&env, KEY).await, 300);
}

#[tokio::test]
async fn a_state_that_nobody_would_read_is_not_sent() {
    let env = Env::ambient().unwrap();
    let state = |size: usize| tribune_swim::PushPull {
        // Without patterns, so that it stays as large as it is.
        user_state: {
            let mut bytes = vec![0; size];
            env.fill_random(&mut bytes);
            bytes
        },
        ..tribune_swim::PushPull::default()
    };
    assert!(codec::seal_push_pull(&env, None, state(1 << 20)).is_ok());
    let err = codec::seal_push_pull(&env, None, state(20 << 20)).unwrap_err();
    assert!(err.to_string().starts_with("local node state of "), "{err}");
}

/// Only these sources are listened to.
struct Within(IpAddr);

impl tribune_swim::Admit for Within {
    fn address(&self, addr: IpAddr) -> bool {
        addr == self.0
    }
    fn alive(&self, _: &tribune_swim::Peer) -> Result<(), tribune_swim::Refusal> {
        Ok(())
    }
    fn join(&self, _: &[tribune_swim::RemoteNode]) -> Result<(), tribune_swim::Refusal> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_live_on_ipv6_and_on_both_at_once() {
    use std::net::Ipv6Addr;
    let env = Env::ambient().unwrap();
    if std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("skipped: no IPv6 here");
        return;
    }
    let special = |ip: IpAddr| Special {
        addr: Some((ip, 0).into()),
        ..Special::default()
    };
    let a = Node::start(&env, "a", &special(Ipv6Addr::LOCALHOST.into()));
    let b = Node::start(&env, "b", &special(Ipv6Addr::LOCALHOST.into()));
    b.join(&a).await;
    a.until_status("b", MemberStatus::Alive).await;
    assert_eq!(&*a.pool.members()[1].addr, "::1");
    b.stop().await;
    a.until_status("b", MemberStatus::Failed).await;

    // Bound to everything, known by an IPv4 address, and strict about sources.
    let v4 = IpAddr::from(Ipv4Addr::LOCALHOST);
    // Below the ports that the system gives to connections, which would be in the way on every address.
    let is_free = |port: &u16| {
        std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, *port)).is_ok()
            && std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).is_ok()
    };
    let port = (9_000..12_000).find(is_free).unwrap();
    let both = Special {
        addr: Some((Ipv6Addr::UNSPECIFIED, port).into()),
        advertise: Some((v4, port).into()),
        admit: Some(Arc::new(Within(v4))),
        ..Special::default()
    };
    let c = Node::start(&env, "c", &both);
    let d = Node::start(&env, "d", &Special::default());
    d.join(&c).await;
    let e = Node::start(&env, "e", &Special::default());
    e.join(&d).await;
    // Told by datagrams of d, not by a stream.
    c.until_status("e", MemberStatus::Alive).await;
    e.stop().await;
    c.until_status("e", MemberStatus::Failed).await;
    d.until_status("c", MemberStatus::Alive).await;
}
