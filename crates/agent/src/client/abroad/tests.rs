//! Calls to servers that answer, refuse, end the connection or are not there.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;
use tribune_local::servers::ServerAddr;
use tribune_net::{CallFailure, CallResult, Handler, NetOptions, Pool, SnapshotReply, serve};
use tribune_rt::{CancellationToken, Env, TaskGroup};
use tribune_types::text::text;

use super::super::Patience;
use super::*;

const PATIENCE: Patience = Patience {
    hold: Duration::from_millis(300),
    query_time_max: Duration::from_secs(600),
};
const NO_LEADER: &str = "No cluster leader";

/// What a server does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Answer,
    /// It is not there.
    Nothing,
    /// Says that there is no leader, at once.
    Leave,
    /// Says so once, and answers then.
    LeaveOnce,
    /// Cannot connect to its leader once, and answers then.
    LoseLeaderOnce,
    /// Says so after having waited.
    Wait,
    Deny,
    /// Ends the connection in the middle of the call.
    Die,
}

struct Fake {
    does: Does,
    calls: AtomicUsize,
    group: TaskGroup,
    env: Env,
}

impl Handler for Fake {
    fn call<'a>(
        &'a self,
        _peer: SocketAddr,
        _method: &'a str,
        body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        let first = self.calls.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move {
            match self.does {
                Does::LeaveOnce if first => Err(CallFailure::failed(NO_LEADER)),
                Does::LoseLeaderOnce if first => Err(CallFailure::failed(
                    "rpc error getting client: failed to get conn: refused",
                )),
                Does::LeaveOnce | Does::LoseLeaderOnce => Ok(body.to_vec()),
                Does::Answer | Does::Nothing => Ok(body.to_vec()),
                Does::Leave => Err(CallFailure::failed(NO_LEADER)),
                Does::Wait => {
                    self.env.sleep(NOT_WAITED).await;
                    Err(CallFailure::failed(NO_LEADER))
                }
                Does::Deny => Err(CallFailure::failed("Permission denied")),
                Does::Die => {
                    self.group.stop().cancel();
                    std::future::pending().await
                }
            }
        })
    }

    fn snapshot<'a>(
        &'a self,
        _peer: SocketAddr,
        _request: &'a [u8],
        _archive: mpsc::Receiver<Bytes>,
    ) -> Pin<Box<dyn Future<Output = SnapshotReply> + Send + 'a>> {
        Box::pin(std::future::pending())
    }
}

struct World {
    client: Arc<Client>,
    env: Env,
    servers: Vec<(SocketAddr, Arc<Fake>)>,
    _tasks: TaskGroup,
}

fn fake(env: &Env, addr: SocketAddr, does: Does) -> (SocketAddr, Arc<Fake>) {
    let group = env.group(&CancellationToken::new());
    let fake = Arc::new(Fake {
        does,
        calls: AtomicUsize::new(0),
        group: group.clone(),
        env: env.clone(),
    });
    let handler = Arc::clone(&fake) as Arc<dyn Handler>;
    let addr = serve(env, &group, NetOptions::new(addr), handler).unwrap();
    if does == Does::Nothing {
        group.stop().cancel();
    }
    (addr, fake)
}

/// A datacenter of servers that are asked in this order.
async fn world(does: &[Does]) -> World {
    let env = Env::ambient().unwrap();
    let tasks = env.group(&CancellationToken::new());
    let pool = Pool::new(&env, &tasks, pool_options());
    let client = Client::abroad(&env, &tasks, pool, text("dc2"), PATIENCE);
    let mut servers = Vec::new();
    let mut list: Vec<ServerAddr> = Vec::new();
    for (i, does) in does.iter().enumerate() {
        let any: SocketAddr = "127.62.60.1:0".parse().unwrap();
        let server = fake(&env, any, *does);
        list.push(ServerAddr {
            name: text(&format!("s{i}.dc2")),
            addr: server.0,
            datacenter: text("dc2"),
            id: None,
        });
        // One by one, so that the order stays.
        client.set_servers(list.clone());
        servers.push(server);
    }
    // Listeners that were stopped are closed by their tasks.
    env.sleep(Duration::from_millis(20)).await;
    World {
        client,
        env,
        servers,
        _tasks: tasks,
    }
}

impl World {
    async fn call(&self, kind: Kind) -> Result<Vec<u8>, RpcError> {
        let deadline = Duration::from_secs(20);
        self.client.call(kind, "Test.Echo", &[0x80], deadline).await
    }

    fn calls(&self) -> Vec<usize> {
        let calls = |(_, fake): &(SocketAddr, Arc<Fake>)| fake.calls.load(Ordering::SeqCst);
        self.servers.iter().map(calls).collect()
    }
}

#[tokio::test]
async fn another_server_is_asked_where_that_can_do_no_harm() {
    use Does::{Answer, Deny, Die, Leave, LeaveOnce, LoseLeaderOnce, Nothing, Wait};
    let eof = "rpc error making call: stream reset|rpc error making call: EOF|\
               rpc error making call: session shutdown|rpc error making call: stream closed";
    // (servers, kind, an error, calls that each got)
    let cases: [(&[Does], Kind, &str, &[usize]); 14] = [
        (&[Answer, Answer], Kind::Write, "", &[1, 0]),
        (&[Nothing, Answer, Answer], Kind::Write, "", &[0, 1, 0]),
        (&[Nothing, Nothing, Answer], Kind::Read, "", &[0, 0, 1]),
        (&[Die, Answer], Kind::Read, "", &[1, 1]),
        (&[Die, Answer], Kind::Write, eof, &[1, 0]),
        (&[Die, Die], Kind::Read, eof, &[1, 1]),
        (&[Die, Nothing], Kind::Read, eof, &[1, 0]),
        (&[Leave, Answer], Kind::Write, "", &[1, 1]),
        (&[LeaveOnce, LeaveOnce], Kind::Write, "", &[2, 1]),
        (&[LoseLeaderOnce, Nothing], Kind::Write, "", &[2, 0]),
        (
            &[Wait, Answer],
            Kind::Read,
            "rpc error making call: No cluster leader",
            &[1, 0],
        ),
        (
            &[Deny, Answer],
            Kind::Read,
            "rpc error making call: Permission denied",
            &[1, 0],
        ),
        (
            &[],
            Kind::Read,
            "Remote DC has no server currently reachable",
            &[],
        ),
        (
            &[Nothing, Nothing],
            Kind::Write,
            "Remote DC has no server currently reachable",
            &[0, 0],
        ),
    ];
    for (does, kind, error, calls) in cases {
        let w = world(does).await;
        let got = w.call(kind).await.map_err(|err| err.to_string());
        match got {
            Ok(reply) => assert_eq!((error, reply), ("", vec![0x80]), "{does:?} {kind:?}"),
            Err(text) => assert!(
                error.split('|').any(|one| one == text),
                "{does:?} {kind:?} {text}"
            ),
        }
        assert_eq!(w.calls(), calls, "{does:?} {kind:?}");
    }
}

#[tokio::test]
async fn servers_that_do_not_wait_for_a_leader_are_asked_until_the_hold_time_is_over() {
    let w = world(&[Does::Leave, Does::Leave]).await;
    let begin = w.env.mono();
    let err = w.call(Kind::Write).await.unwrap_err().to_string();
    assert_eq!(err, "rpc error making call: No cluster leader");
    assert!(w.env.mono().since(begin) >= PATIENCE.hold);
    assert!(w.calls().iter().all(|calls| *calls > 2), "{:?}", w.calls());
    assert!(w.client.is_reachable());
}

#[tokio::test]
async fn the_server_that_failed_is_not_the_first_one_next_time() {
    let w = world(&[Does::Nothing, Does::Answer]).await;
    for _ in 0..3 {
        assert_eq!(w.call(Kind::Write).await, Ok(vec![0x80]));
    }
    assert_eq!(w.calls(), [0, 3]);
    assert!(w.client.take_used() && !w.client.take_used());
}

#[tokio::test]
async fn a_server_that_refuses_what_is_asked_stays_the_first_one() {
    let w = world(&[Does::Deny, Does::Answer]).await;
    for _ in 0..3 {
        assert!(w.call(Kind::Read).await.is_err());
    }
    assert_eq!(w.calls(), [3, 0]);
}

#[tokio::test]
async fn a_datacenter_that_is_cut_off_is_found_again_when_one_of_its_servers_is() {
    let w = world(&[Does::Nothing, Does::Nothing]).await;
    assert!(w.client.is_reachable());
    assert_eq!(w.call(Kind::Read).await, Err(RpcError::RemoteUnreachable));
    assert!(!w.client.is_reachable());
    let addr = w.servers[1].0;
    let (_, back) = fake(&w.env, addr, Does::Answer);
    for _ in 0..500 {
        if w.client.is_reachable() {
            break;
        }
        // Nobody is asked meanwhile.
        assert_eq!(back.calls.load(Ordering::SeqCst), 0);
        w.env.sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(w.call(Kind::Write).await, Ok(vec![0x80]));
    assert_eq!(back.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_datacenter_without_servers_is_not_looked_for() {
    let w = world(&[Does::Nothing]).await;
    assert_eq!(w.call(Kind::Read).await, Err(RpcError::RemoteUnreachable));
    w.client.set_servers(Vec::new());
    for _ in 0..500 {
        if !w.client.is_cut_off() {
            break;
        }
        w.env.sleep(Duration::from_millis(10)).await;
    }
    assert!(!w.client.is_cut_off() && !w.client.is_reachable());
}
