//! The accepting side.

use tribune_rt::TaskHandle;

use super::super::conn::IN_FLIGHT_MAX;
use super::super::frame::MESSAGE_MAX;
use super::super::hello::{ANSWER_SIZE, Answer, Hello, Purpose, Verdict};
use super::super::serve::{CONNS_PER_ADDR_MAX, PeerPort, ServeError};
use super::*;
use crate::budget::Budget;

pub(super) struct Served {
    pub(super) peer: Peer,
    pub(super) ended: TaskHandle<Result<(), ServeError>>,
    pub(super) budget: Arc<Budget>,
}

/// A connection whose first byte has been read already.
fn connect(env: &Env, port: &Arc<PeerPort>) -> Served {
    let budget = Arc::new(Budget::new(1 << 20));
    let held = Arc::clone(&budget);
    let (mut ours, theirs) = tokio::io::duplex(64 << 10);
    let (own, port) = (env.clone(), Arc::clone(port));
    let ended = env.spawn("served", async move {
        let guest = port.admit(&own, &mut ours, addr(), LIMIT).await?;
        port.serve(&own, ours, &guest, LIMIT, &held).await
    });
    Served {
        peer: Peer::new(env, theirs),
        ended,
        budget,
    }
}

fn hello(purpose: Purpose) -> Hello {
    Hello {
        purpose,
        from: THEM,
        target: US,
    }
}

pub(super) async fn hear(peer: &mut Peer) -> Option<Answer> {
    let mut bytes = [0; ANSWER_SIZE];
    peer.io.read_exact(&mut bytes).await.ok()?;
    Answer::decode(&bytes)
}

/// A connection that was let in.
async fn welcome(env: &Env, port: &Arc<PeerPort>) -> Served {
    let mut served = greeted(env, port, Purpose::Calls).await;
    let answer = hear(&mut served.peer).await.unwrap();
    assert_eq!(answer.verdict, Verdict::Welcome);
    assert_eq!((answer.version, answer.from), (1, US));
    served
}

/// A connection that has said what it is for.
pub(super) async fn greeted(env: &Env, port: &Arc<PeerPort>, purpose: Purpose) -> Served {
    let mut served = connect(env, port);
    let hello = hello(purpose).encode();
    served.peer.io.write_all(&hello[1..]).await.unwrap();
    served
}

/// Connections for the server RPC that an address may have.
pub(super) const RPC_CONNS_MAX: usize = 3;

pub(super) fn world() -> (Env, Arc<Handler>, Arc<PeerPort>) {
    let (env, handler) = (Env::sim(1).unwrap(), handler());
    let port = Arc::new(PeerPort::new(
        Arc::clone(&handler) as Arc<dyn PeerHandler>,
        Arc::clone(&handler) as Arc<dyn crate::Handler>,
        RPC_CONNS_MAX,
    ));
    (env, handler, port)
}

#[tokio::test(start_paused = true)]
async fn requests_are_served_at_a_time_and_answered_in_any_order() {
    let (env, handler, port) = world();
    let mut w = welcome(&env, &port).await;
    w.peer.send(Kind::Request, 1, b"wait").await;
    w.peer.send(Kind::Request, 2, b"echo").await;
    w.peer.send(Kind::Ping, 9, b"").await;
    w.peer.send(Kind::Request, 3, b"").await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(w.peer.told().await.unwrap());
    }
    told.sort_by_key(|(_, sequence, _)| *sequence);
    assert_eq!(
        told,
        [
            (Kind::Response, 2, b"echo".to_vec()),
            (Kind::Response, 3, vec![]),
            (Kind::Pong, 9, vec![]),
        ]
    );
    handler.release.notify_waiters();
    assert_eq!(
        w.peer.told().await,
        Some((Kind::Response, 1, b"wait".to_vec()))
    );
    drop(w.peer);
    assert!(w.ended.join().await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_goes_takes_its_requests_with_it() {
    let (env, handler, port) = world();
    let mut w = welcome(&env, &port).await;
    w.peer.send(Kind::Request, 1, b"wait").await;
    w.peer.until("it runs", || handler.running() == 1).await;
    drop(w.peer);
    assert!(w.ended.join().await.unwrap().is_ok());
    assert_eq!(handler.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hello_of_another_kind_is_turned_away_and_told_why() {
    let good = hello(Purpose::Calls).encode();
    let with = |at: usize, value: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = value;
        bytes
    };
    // (hello, verdict told)
    let cases = [
        (with(1, b'X'), None),
        (b"TLS".repeat(20), None),
        (with(4, 2), Some(Verdict::Version)),
        (with(5, 9), Some(Verdict::Purpose)),
        (with(37, 3), Some(Verdict::OtherServer)),
    ];
    for (bytes, verdict) in cases {
        let (env, _, port) = world();
        let mut w = connect(&env, &port);
        w.peer.io.write_all(&bytes[1..]).await.unwrap();
        let answer = hear(&mut w.peer).await;
        assert_eq!(answer.map(|answer| answer.verdict), verdict);
        if let Some(answer) = answer {
            assert_eq!((answer.version, answer.from), (1, US));
        }
        w.peer.closed().await;
        let err = w.ended.join().await.unwrap().unwrap_err();
        assert!(err.is_refusal(), "{err}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_stops_half_way_is_cut_in_time() {
    for len in [0, 1, 36] {
        let (env, _, port) = world();
        let mut w = connect(&env, &port);
        let start = env.mono();
        let bytes = hello(Purpose::Calls).encode();
        w.peer.io.write_all(&bytes[1..1 + len]).await.unwrap();
        w.peer.closed().await;
        assert_eq!(Duration::from_nanos(env.mono().0 - start.0).as_secs(), 10);
        let err = w.ended.join().await.unwrap().unwrap_err();
        assert!(matches!(err, ServeError::NoHello) && err.is_refusal());
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_breaks_the_rules_is_cut_at_once() {
    let mut cases = nonsense();
    cases.extend([
        (
            "a sequence that does not begin",
            frame(Kind::Request, 2, b"x"),
        ),
        ("sequence 0", frame(Kind::Request, 0, b"x")),
        (
            "a sequence again",
            [frame(Kind::Request, 1, b"x"), frame(Kind::Request, 1, b"x")].concat(),
        ),
        (
            "a sequence that jumps",
            [frame(Kind::Request, 1, b"x"), frame(Kind::Request, 3, b"x")].concat(),
        ),
        (
            "the head of a jump",
            head(Kind::Request, 5, 64 << 20).to_vec(),
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
        assert_eq!(handler.running(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn random_bytes_end_the_connection_and_nothing_else() {
    let env = Env::sim(5).unwrap();
    let (_, handler, port) = world();
    for round in 0..300 {
        let mut bytes = vec![0; 2000];
        env.fill_random(&mut bytes);
        let mut w = match round % 3 {
            0 => connect(&env, &port),
            _ => welcome(&env, &port).await,
        };
        if round % 3 == 2 {
            // Lengths and kinds that may be right.
            for (at, header) in bytes.chunks_mut(HEADER_SIZE).enumerate() {
                header[..3].fill(0);
                if header.len() == HEADER_SIZE {
                    header[3] %= 4;
                    header[4..11].fill(0);
                    header[11] = at as u8;
                    header[12] %= 7;
                }
            }
        }
        let _ = w.peer.io.write_all(&bytes).await;
        w.peer.io.shutdown().await.unwrap();
        w.peer.closed().await;
        let _ = w.ended.join().await.unwrap();
        assert_eq!(handler.running(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn reading_waits_while_too_many_requests_run_and_the_peer_is_told_that_we_live() {
    let (env, handler, port) = world();
    let mut w = welcome(&env, &port).await;
    let count = IN_FLIGHT_MAX as u64 + 44;
    for sequence in 1..=count {
        w.peer.send(Kind::Request, sequence, b"wait").await;
    }
    w.peer.send(Kind::Ping, 1, b"").await;
    w.peer
        .until("many run", || handler.running() == IN_FLIGHT_MAX)
        .await;
    for _ in 0..60 {
        assert_eq!(w.peer.told().await.unwrap().0, Kind::Ping, "a sign of life");
    }
    assert_eq!(handler.running(), IN_FLIGHT_MAX);
    let mut answered = 0;
    let mut pong = false;
    while answered < count {
        handler.release.notify_waiters();
        match w.peer.told().await.unwrap() {
            (Kind::Response, ..) => answered += 1,
            (Kind::Pong, 1, _) => pong = true,
            (Kind::Ping, ..) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(pong);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_never_ends_is_cut_and_silence_too_but_later() {
    // (what, bytes, seconds until the end)
    let cases = [
        ("half a header", vec![0; 5], 10..=13),
        (
            "half a message",
            frame(Kind::Request, 1, &[7; 100])[..50].to_vec(),
            10..=13,
        ),
        ("nothing", vec![], 30..=33),
    ];
    for (what, bytes, seconds) in cases {
        let (env, _, port) = world();
        let mut w = welcome(&env, &port).await;
        let start = env.mono();
        w.peer.io.write_all(&bytes).await.unwrap();
        w.peer.closed().await;
        let took = Duration::from_nanos(env.mono().0 - start.0).as_secs();
        assert!(seconds.contains(&took), "{what}: {took} s");
        assert!(w.ended.join().await.unwrap().is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_trickles_is_cut_however_often_a_byte_comes() {
    let (env, _, port) = world();
    let mut w = welcome(&env, &port).await;
    let start = env.mono();
    let bytes = frame(Kind::Request, 1, &[7; 1000]);
    for byte in bytes {
        if w.peer.io.write_all(&[byte]).await.is_err() {
            break;
        }
        env.sleep(Duration::from_millis(500)).await;
    }
    let took = Duration::from_nanos(env.mono().0 - start.0).as_secs();
    assert!((10..=14).contains(&took), "{took} s");
    let err = w.ended.join().await.unwrap().unwrap_err();
    assert!(matches!(err, ServeError::Stuck));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_pings_may_stay_for_ever() {
    let (env, _, port) = world();
    let mut w = welcome(&env, &port).await;
    for round in 0..100 {
        env.sleep(Duration::from_secs(20)).await;
        w.peer.send(Kind::Ping, round, b"").await;
        assert_eq!(w.peer.told().await, Some((Kind::Pong, round, vec![])));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_no_answers_is_cut_and_holds_little() {
    let (env, handler, port) = world();
    let mut w = welcome(&env, &port).await;
    let start = env.mono();
    let mut sent = 0;
    // Each asks for a mebibyte.
    loop {
        let request = frame(Kind::Request, sent + 1, b"long");
        if w.peer.io.write_all(&request).await.is_err() {
            break;
        }
        sent += 1;
        assert!(sent < 100_000);
    }
    let took = Duration::from_nanos(env.mono().0 - start.0).as_secs();
    assert!((9..=15).contains(&took), "{took} s");
    assert!(matches!(
        w.ended.join().await.unwrap().unwrap_err(),
        ServeError::Stuck
    ));
    assert_eq!(handler.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn large_messages_of_an_address_share_their_memory() {
    let (env, _, port) = world();
    let large = u32::try_from(MESSAGE_MAX).unwrap();
    let mut first = welcome(&env, &port).await;
    let mut second = welcome(&env, &port).await;
    let mut third = welcome(&env, &port).await;
    // Two that begin and do not go on take all there is.
    for w in [&mut first, &mut second] {
        w.peer
            .io
            .write_all(&head(Kind::Request, 1, large))
            .await
            .unwrap();
        w.peer.io.write_all(&[7; 1000]).await.unwrap();
    }
    env.sleep(Duration::from_millis(1)).await;
    third
        .peer
        .io
        .write_all(&head(Kind::Request, 1, 1 << 20))
        .await
        .unwrap();
    let body = vec![7; 1 << 20];
    {
        let mut sending = std::pin::pin!(third.peer.io.write_all(&body));
        let early = env.timeout(Duration::from_secs(5), &mut sending).await;
        assert!(early.is_err(), "it is not read");
        // The others are cut in time, and it goes on.
        sending.await.unwrap();
    }
    loop {
        match third.peer.told().await.unwrap() {
            (Kind::Ping, ..) => {}
            answer => break assert_eq!(answer, (Kind::Response, 1, body)),
        }
    }
    for w in [first, second] {
        assert!(matches!(
            w.ended.join().await.unwrap().unwrap_err(),
            ServeError::Stuck
        ));
    }
    // All of it is back.
    let mut fourth = welcome(&env, &port).await;
    let body = vec![9; MESSAGE_MAX];
    fourth.peer.send(Kind::Request, 1, &body).await;
    let answer = fourth.peer.next().await.unwrap();
    assert!(answer.kind == Kind::Response && answer.bytes == body);
}

#[tokio::test(start_paused = true)]
async fn an_address_has_so_many_connections_of_peers() {
    let (env, _, port) = world();
    let mut all = Vec::new();
    for _ in 0..CONNS_PER_ADDR_MAX {
        all.push(welcome(&env, &port).await);
    }
    let mut more = connect(&env, &port);
    more.peer
        .io
        .write_all(&hello(Purpose::Calls).encode()[1..])
        .await
        .unwrap();
    let answer = hear(&mut more.peer).await.unwrap();
    assert_eq!(answer.verdict, Verdict::Busy);
    let last = all.pop().unwrap();
    drop(last.peer);
    last.ended.join().await.unwrap().unwrap();
    welcome(&env, &port).await;
}
