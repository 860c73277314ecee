//! Calls of the server RPC: both sides.

use tribune_rt::TaskHandle;

use super::super::conn::{Conn, End, NoPlace, Pending, conn};
use super::super::frame::MESSAGE_MAX;
use super::super::hello::{Purpose, Verdict};
use super::super::rpc::{IN_FLIGHT_MAX, REQUEST_MAX, Request, read_answer};
use super::super::serve::{PeerPort, ServeError};
use super::super::{PeerError, pulse};
use super::acceptor::{RPC_CONNS_MAX, Served, greeted, hear, world};
use super::*;
use crate::pool::CallError;

async fn welcome(env: &Env, port: &Arc<PeerPort>) -> Served {
    let mut served = greeted(env, port, Purpose::Rpc).await;
    let answer = hear(&mut served.peer).await.unwrap();
    assert_eq!(answer.verdict, Verdict::Welcome);
    served
}

/// The bytes of a call.
fn bytes(method: &str, body: &[u8]) -> Vec<u8> {
    let len = u8::try_from(method.len()).unwrap();
    [&[0, len], method.as_bytes(), body].concat()
}

/// The next answer: its sequence and what its caller is told.
async fn told(w: &mut Served) -> (u64, Result<Vec<u8>, CallError>) {
    loop {
        let frame = w.peer.next().await.expect("an open connection");
        match frame.kind {
            Kind::Ping => {}
            kind => {
                assert_eq!(kind, Kind::Response);
                return (frame.sequence, read_answer(frame.bytes));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_are_answered_in_any_order_and_failures_end_nothing() {
    let (env, handler, port) = world();
    let mut w = welcome(&env, &port).await;
    w.peer.send(Kind::Request, 1, &bytes("Wait", b"\x01")).await;
    w.peer.until("it waits", || handler.running() == 1).await;
    let remote = |text: &str| Err(CallError::Remote(text.to_owned()));
    let passed_on = [&[1], &bytes("Echo", b"\xc0")[1..]].concat();
    // (call, what its caller is told)
    let cases = [
        (
            bytes("Echo", b"\x81\xa1k\x07"),
            Ok(b"\x81\xa1k\x07".to_vec()),
        ),
        (passed_on, Ok(b"passed on".to_vec())),
        (bytes("Fail", b"\xc0"), remote("it failed")),
        (bytes("Nope", b"\xc0"), remote("no Nope")),
        (bytes("", b"\xc0"), remote("no ")),
        (bytes("Long", b"\xc0"), Ok(vec![b'l'; 1 << 20])),
        (bytes("Echo", b"\x01"), Ok(vec![1])),
    ];
    for (sequence, (call, want)) in (2..).zip(cases) {
        w.peer.send(Kind::Request, sequence, &call).await;
        let told = told(&mut w).await;
        assert!(told == (sequence, want), "{sequence}");
    }
    w.peer.send(Kind::Request, 9, &bytes("Huge", b"\xc0")).await;
    let (_, huge) = told(&mut w).await;
    let huge = huge.unwrap_err().to_string();
    assert_eq!(
        huge,
        format!("rpc error making call: a reply of {MESSAGE_MAX} bytes is too large")
    );
    handler.release.notify_waiters();
    assert_eq!(told(&mut w).await, (1, Ok(vec![1])));
    assert_eq!(w.budget.used(), 0, "all is given back");
    drop(w.peer);
    assert!(w.ended.join().await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_no_calls_is_cut_at_once_and_holds_nothing() {
    let mut cases = nonsense();
    let large = u32::try_from(REQUEST_MAX + 1).unwrap();
    let call = |bytes: &[u8]| frame(Kind::Request, 1, bytes);
    cases.extend([
        ("no call", call(b"")),
        ("a method that is cut", call(b"\0\x05Echo")),
        ("no body", call(b"\0\x04Echo")),
        ("half a body", call(b"\0\x04Echo\x81\xa1k")),
        (
            "a length that lies",
            call(b"\0\x04Echo\xdd\xff\xff\xff\xff"),
        ),
        ("two bodies", call(b"\0\x04Echo\xc0\xc0")),
        ("an unknown flag", call(b"\x80\x04Echo\xc0")),
        ("no UTF-8", call(b"\0\x02\xff\xfe\xc0")),
        (
            "a call that is too large",
            head(Kind::Request, 1, large).to_vec(),
        ),
        (
            "a sequence that jumps",
            frame(Kind::Request, 2, &bytes("Echo", b"\xc0")),
        ),
    ]);
    for (what, bytes) in cases {
        let (env, handler, port) = world();
        let mut w = welcome(&env, &port).await;
        let start = env.mono();
        let _ = w.peer.io.write_all(&bytes).await;
        w.peer.closed().await;
        assert_eq!(env.mono(), start, "{what}");
        let err = w.ended.join().await.unwrap().unwrap_err();
        assert!(err.is_refusal(), "{what}: {err}");
        assert_eq!((handler.running(), w.budget.used()), (0, 0), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_calls_run_and_so_much_is_held() {
    let (env, handler, port) = world();
    let mut w = welcome(&env, &port).await;
    let count = IN_FLIGHT_MAX as u64 + 20;
    for sequence in 1..=count {
        let call = bytes("Wait", b"\x01");
        w.peer.send(Kind::Request, sequence, &call).await;
    }
    w.peer
        .until("many run", || handler.running() == IN_FLIGHT_MAX)
        .await;
    assert_eq!(w.peer.told().await.unwrap().0, Kind::Ping, "a sign of life");
    assert_eq!(handler.running(), IN_FLIGHT_MAX);
    drop(w.peer);
    let _ = w.ended.join().await.unwrap();
    assert_eq!((handler.running(), w.budget.used()), (0, 0));

    // The budget of these tests is a mebibyte: about eight of these.
    let mut w = welcome(&env, &port).await;
    let body = [&[0xdb, 0, 1, 0xe0, 0][..], &[b'x'; 0x1_e000]].concat();
    let calls: Vec<u8> = (1..=20)
        .flat_map(|sequence| frame(Kind::Request, sequence, &bytes("Wait", &body)))
        .collect();
    {
        let mut sending = std::pin::pin!(w.peer.io.write_all(&calls));
        let early = env.timeout(Duration::from_secs(5), &mut sending).await;
        assert!(early.is_err(), "not all of it is read");
    }
    let running = handler.running();
    assert!((6..=10).contains(&running), "{running} run");
    assert!(w.budget.used() < 3 << 20, "{}", w.budget.used());
    drop(w.peer);
    let _ = w.ended.join().await.unwrap();
    assert_eq!((handler.running(), w.budget.used()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn connections_for_calls_count_apart_from_those_of_servers() {
    let (env, _, port) = world();
    let mut all = Vec::new();
    for _ in 0..RPC_CONNS_MAX {
        all.push(welcome(&env, &port).await);
    }
    let mut more = greeted(&env, &port, Purpose::Rpc).await;
    assert_eq!(hear(&mut more.peer).await.unwrap().verdict, Verdict::Busy);
    let err = more.ended.join().await.unwrap().unwrap_err();
    assert!(matches!(err, ServeError::Busy));
    let mut server = greeted(&env, &port, Purpose::Calls).await;
    let answer = hear(&mut server.peer).await.unwrap();
    assert_eq!(answer.verdict, Verdict::Welcome);
    let last = all.pop().unwrap();
    drop(last.peer);
    last.ended.join().await.unwrap().unwrap();
    welcome(&env, &port).await;
}

#[tokio::test(start_paused = true)]
async fn random_bytes_end_the_connection_and_nothing_else() {
    let env = Env::sim(6).unwrap();
    let (_, handler, port) = world();
    for round in 0..300 {
        let mut random = vec![0; 600];
        env.fill_random(&mut random);
        let mut w = welcome(&env, &port).await;
        let mut sent = random.clone();
        if round % 2 == 0 {
            // Frames that may be right, with anything in them.
            sent = (1..)
                .zip(random.chunks(31))
                .flat_map(|(sequence, chunk)| {
                    let mut call = chunk.to_vec();
                    call[0] &= 1;
                    call[1] %= 9;
                    frame(Kind::Request, sequence, &call)
                })
                .collect();
        }
        let _ = w.peer.io.write_all(&sent).await;
        w.peer.io.shutdown().await.unwrap();
        w.peer.closed().await;
        let _ = w.ended.join().await.unwrap();
        assert_eq!((handler.running(), w.budget.used()), (0, 0));
    }
}

struct Dialed {
    conn: Arc<Conn>,
    peer: Peer,
    ended: TaskHandle<End>,
}

fn dialed() -> Dialed {
    let env = Env::sim(1).unwrap();
    let (ours, theirs) = tokio::io::duplex(1 << 10);
    let (conn, driver) = conn(&env, addr(), ours);
    Dialed {
        conn,
        peer: Peer::new(&env, theirs),
        ended: env.spawn("driver", driver.patient(10).run(None)),
    }
}

impl Dialed {
    fn call(&self, body: &[u8]) -> Result<Pending, NoPlace> {
        self.conn.call(&Request {
            method: "Echo",
            body,
            passed_on: false,
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_finds_a_place_at_once_or_none() {
    let mut w = dialed();
    let mut pending = Vec::new();
    for _ in 0..IN_FLIGHT_MAX {
        pending.push(w.call(b"\xc0").expect("a place"));
    }
    assert_eq!(w.call(b"\xc0").err(), Some(NoPlace::Full));
    // Whoever gives up leaves the place behind until the answer comes.
    pending.truncate(1);
    let call = w.peer.told().await.unwrap();
    assert_eq!(call, (Kind::Request, 1, bytes("Echo", b"\xc0")));
    assert_eq!(w.call(b"\xc0").err(), Some(NoPlace::Full));
    w.peer.send(Kind::Response, 1, b"\0yes").await;
    let answer = pending.remove(0).await.unwrap().unwrap();
    assert_eq!(read_answer(answer), Ok(b"yes".to_vec()));
    assert!(w.call(b"\xc0").is_ok());
    assert_eq!(w.call(&[0; REQUEST_MAX]).err(), Some(NoPlace::Full));

    let w = dialed();
    let body = vec![0; REQUEST_MAX - 6];
    let mut pending = Vec::new();
    while let Ok(one) = w.call(&body) {
        pending.push(one);
    }
    assert_eq!(pending.len(), 32, "8 MiB in flight");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_the_stream_has_not_taken_was_not_sent() {
    let mut w = dialed();
    let first = w.call(b"\x01").unwrap();
    assert_eq!(w.peer.told().await.unwrap().1, 1);
    // The stream takes a kibibyte: half of this one, and nothing of the next.
    let second = w.call(&[0; 1500]).unwrap();
    let third = w.call(b"\x03").unwrap();
    w.peer.env.sleep(Duration::from_millis(1)).await;
    drop(w.peer);
    assert!(matches!(first.await.unwrap(), Err(PeerError::Failed(_))));
    for unsent in [second, third] {
        let err = unsent.await.unwrap().unwrap_err();
        assert!(matches!(err, PeerError::Unreachable(_)), "{err}");
    }
    assert_eq!(
        w.conn
            .call(&Request {
                method: "",
                body: b"",
                passed_on: false
            })
            .err(),
        Some(NoPlace::Ended)
    );
    assert!(!w.conn.is_open());
    let _ = w.ended.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_the_peer_has_said_is_heard_before_anything_is_sent() {
    let w = dialed();
    let env = w.peer.env.clone();
    env.sleep(Duration::from_millis(1)).await;
    // The driver finds both at once: a peer that has closed, and a call.
    drop(w.peer);
    let pending = w.conn.call(&Request {
        method: "Echo",
        body: b"\xc0",
        passed_on: false,
    });
    let err = pending.unwrap().await.unwrap().unwrap_err();
    assert!(matches!(err, PeerError::Unreachable(_)), "{err}");
    assert!(matches!(w.ended.join().await.unwrap(), End::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_for_a_while_is_not_given_up() {
    let mut w = dialed();
    let env = w.peer.env.clone();
    let mut pending = w.call(b"\xc0").unwrap();
    w.peer.told().await.unwrap();
    env.sleep(pulse::ROUND * (pulse::DEAD_AFTER + 3)).await;
    assert!(pending.try_recv().is_err(), "it waits");
    w.peer.send(Kind::Response, 1, b"\0late").await;
    assert!(pending.await.unwrap().is_ok());
    while w.peer.next().await.is_some() {}
    assert!(matches!(w.ended.join().await.unwrap(), End::Silent));
}
