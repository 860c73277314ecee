//! The dialing side of calls.

use std::io;
use std::task::{Context, Poll};

use tokio::io::{AsyncWrite, ReadBuf};
use tribune_rt::TaskHandle;

use super::super::PeerError;
use super::super::conn::{Conn, End, IN_FLIGHT_MAX, conn};
use super::super::dial::{DialError, greet};
use super::super::hello::{HELLO_SIZE, Hello, Purpose};
use super::*;

struct Dialed {
    conn: Arc<Conn>,
    peer: Peer,
    ended: TaskHandle<End>,
}

fn dialed(idle: Option<Duration>) -> Dialed {
    let env = Env::sim(1).unwrap();
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let (conn, driver) = conn(&env, addr(), ours);
    Dialed {
        conn,
        peer: Peer::new(&env, theirs),
        ended: env.spawn("driver", driver.run(idle)),
    }
}

impl Dialed {
    /// A call in a task of its own.
    fn call(&self, request: &'static [u8]) -> TaskHandle<Result<Bytes, PeerError>> {
        let conn = Arc::clone(&self.conn);
        self.peer.env.spawn("call", async move {
            let pending = conn.submit(Bytes::from_static(request)).await;
            pending.expect("an open connection").await.unwrap()
        })
    }
}

#[tokio::test(start_paused = true)]
async fn answers_find_their_callers_in_any_order() {
    let mut w = dialed(None);
    let calls: Vec<_> = [&b"one"[..], b"two", b"three"]
        .map(|text| w.call(text))
        .into();
    let mut requests = Vec::new();
    for sequence in 1..=3 {
        let (kind, at, bytes) = w.peer.told().await.unwrap();
        assert_eq!((kind, at), (Kind::Request, sequence));
        requests.push((at, bytes));
    }
    for (sequence, bytes) in requests.iter().rev() {
        w.peer
            .send(Kind::Response, *sequence, &[b"re ", &bytes[..]].concat())
            .await;
    }
    for (call, want) in calls.into_iter().zip(["re one", "re two", "re three"]) {
        assert_eq!(call.join().await.unwrap().unwrap(), want);
    }
}

/// Counts writes.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_together_go_out_in_one_write() {
    let env = Env::sim(1).unwrap();
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let writes = Arc::new(AtomicUsize::new(0));
    let (conn, driver) = conn(&env, addr(), Counted(ours, Arc::clone(&writes)));
    let _ended = env.spawn("driver", driver.run(None));
    let mut peer = Peer::new(&env, theirs);
    for round in 1..=3 {
        let mut pending = Vec::new();
        for _ in 0..40 {
            pending.push(conn.submit(Bytes::from_static(b"x")).await.unwrap());
        }
        for _ in 0..40 {
            let (_, sequence, _) = peer.told().await.unwrap();
            peer.send(Kind::Response, sequence, b"y").await;
        }
        for answer in pending {
            assert_eq!(answer.await.unwrap().unwrap(), "y");
        }
        assert_eq!(writes.load(Ordering::SeqCst), round);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_breaks_nothing_and_keeps_its_place_until_it_is_answered() {
    let mut w = dialed(None);
    for sequence in 1..=IN_FLIGHT_MAX as u64 {
        drop(w.conn.submit(Bytes::from_static(b"dropped")).await.unwrap());
        assert_eq!(w.peer.told().await.unwrap().1, sequence);
    }
    let call = w.call(b"more");
    w.peer.env.sleep(Duration::from_millis(100)).await;
    let quiet = w
        .peer
        .env
        .timeout(Duration::from_millis(100), w.peer.io.read_u8())
        .await;
    assert!(quiet.is_err(), "the peer would not read it");
    w.peer.send(Kind::Response, 7, b"late").await;
    let sequence = IN_FLIGHT_MAX as u64 + 1;
    assert_eq!(
        w.peer.told().await,
        Some((Kind::Request, sequence, b"more".to_vec()))
    );
    w.peer.send(Kind::Response, sequence, b"here").await;
    assert_eq!(call.join().await.unwrap().unwrap(), "here");
    assert!(w.conn.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_breaks_the_rules_is_left_and_all_calls_are_told() {
    let mut cases = nonsense();
    cases.extend([
        (
            "a response again",
            [
                frame(Kind::Response, 1, b"x"),
                frame(Kind::Response, 1, b"x"),
            ]
            .concat(),
        ),
        (
            "a response to what comes next",
            frame(Kind::Response, 3, b"x"),
        ),
        ("a request", frame(Kind::Request, 1, b"x")),
    ]);
    for (what, bytes) in cases {
        let mut w = dialed(None);
        let calls = [w.call(b"one"), w.call(b"two")];
        for _ in 0..2 {
            w.peer.told().await.unwrap();
        }
        let _ = w.peer.io.write_all(&bytes).await;
        let [_, second] = calls;
        let err = second.join().await.unwrap().unwrap_err();
        assert!(matches!(err, PeerError::Failed(_)), "{what}: {err}");
        assert!(!w.conn.is_open());
        assert!(w.conn.submit(Bytes::new()).await.is_err());
        let end = w.ended.join().await.unwrap();
        assert!(
            matches!(end, End::Violation(_) | End::Frame(_)),
            "{what}: {end}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_asked_and_then_left() {
    let mut w = dialed(None);
    let start = w.peer.env.mono();
    let seconds = |w: &Dialed| Duration::from_nanos(w.peer.env.mono().0 - start.0).as_secs();
    let call = w.call(b"anybody");
    assert_eq!(w.peer.told().await.unwrap().0, Kind::Request);
    for round in 1..=3 {
        assert_eq!(w.peer.told().await, Some((Kind::Ping, round, vec![])));
        w.peer.send(Kind::Pong, round, b"").await;
    }
    assert!((6..=9).contains(&seconds(&w)), "{}", seconds(&w));
    assert_eq!(w.peer.told().await.unwrap().0, Kind::Ping);
    let answered = seconds(&w);
    w.peer.closed().await;
    assert!((2..=4).contains(&(seconds(&w) - answered)));
    assert!(matches!(w.ended.join().await.unwrap(), End::Silent));
    let err = call.join().await.unwrap().unwrap_err();
    assert_eq!(
        err.to_string(),
        "peer did not answer: connection to 192.0.2.7:1 ended: peer does not answer"
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_calls_is_closed_and_one_with_a_call_is_not() {
    let mut w = dialed(Some(Duration::from_secs(20)));
    let call = w.call(b"long");
    let mut told = Vec::new();
    while told.len() < 30 {
        let (kind, sequence, _) = w.peer.told().await.unwrap();
        if kind == Kind::Ping {
            w.peer.send(Kind::Pong, sequence, b"").await;
        }
        told.push(kind);
    }
    assert!(w.conn.is_open(), "a minute of work");
    w.peer.send(Kind::Response, 1, b"done").await;
    call.join().await.unwrap().unwrap();
    while let Some((kind, sequence, _)) = w.peer.told().await {
        assert_eq!(kind, Kind::Ping);
        let _ = w.peer.io.write_all(&frame(Kind::Pong, sequence, b"")).await;
    }
    assert!(matches!(w.ended.join().await.unwrap(), End::Idle));
}

#[tokio::test(start_paused = true)]
async fn a_response_that_never_ends_is_given_up() {
    let mut w = dialed(None);
    let call = w.call(b"question");
    w.peer.told().await.unwrap();
    w.peer
        .io
        .write_all(&head(Kind::Response, 1, 1000))
        .await
        .unwrap();
    for _ in 0..100 {
        if w.peer.io.write_all(b"x").await.is_err() {
            break;
        }
        w.peer.env.sleep(Duration::from_secs(1)).await;
    }
    assert!(matches!(w.ended.join().await.unwrap(), End::Stuck));
    assert!(call.join().await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_the_hello_is_believed_only_from_the_server_that_was_meant() {
    let hello = Hello {
        purpose: Purpose::Calls,
        from: THEM,
        target: US,
    };
    let with = |verdict: u8, version: u8, from: [u8; 16]| {
        [&b"TRIB"[..], &[version, verdict], &from].concat()
    };
    // (answer, outcome)
    let cases = [
        (with(0, 1, [1; 16]), "welcome"),
        (with(0, 1, [3; 16]), "not a server with the peer protocol"),
        (
            with(1, 1, [3; 16]),
            "another server (03030303-0303-0303-0303-030303030303) lives there",
        ),
        (with(2, 9, [1; 16]), "peer protocol version 9 there, 1 here"),
        (with(3, 1, [1; 16]), "it does not serve this"),
        (with(4, 1, [1; 16]), "too many connections"),
        (with(9, 1, [1; 16]), "not a server with the peer protocol"),
        (
            b"HTTP/1.1 400 Bad Request\r\n".to_vec(),
            "not a server with the peer protocol",
        ),
        (b"TRIB".to_vec(), "early eof"),
        (vec![], "early eof"),
    ];
    for (answer, outcome) in cases {
        let (mut ours, mut theirs) = tokio::io::duplex(1000);
        let far = async {
            let mut bytes = [0; HELLO_SIZE];
            theirs.read_exact(&mut bytes).await.unwrap();
            assert_eq!(Hello::decode(&bytes), Ok(hello.clone()));
            theirs.write_all(&answer).await.unwrap();
            theirs.shutdown().await.unwrap();
        };
        let (greeted, ()) = tokio::join!(greet(&mut ours, &hello), far);
        match greeted {
            Ok(()) => assert_eq!(outcome, "welcome"),
            Err(err) => assert_eq!(err.to_string(), outcome),
        }
    }
    let other = DialError::OtherServer(US).text(addr());
    assert!(
        other.starts_with("dial 192.0.2.7:1: another server"),
        "{other}"
    );
}
