//! Frames in, frames out, against a hand-driven peer; and two sessions with one another.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tribune_rt::Env;

use super::frame::{ACK, FIN, HEADER_SIZE, Header, Kind, RST, SYN};
use super::{KeepAlive, Role, Session, SessionError, Stream, WINDOW, session};
use crate::budget::Budget;

/// The far side, frame by frame.
struct Peer {
    env: Env,
    io: DuplexStream,
}

impl Peer {
    async fn send(&mut self, kind: Kind, flags: u16, stream: u32, length: u32) {
        let mut out = Vec::new();
        let header = Header {
            kind,
            flags,
            stream,
            length,
        };
        header.write(&mut out);
        self.io.write_all(&out).await.unwrap();
    }

    async fn data(&mut self, flags: u16, stream: u32, bytes: &[u8]) {
        self.send(Kind::Data, flags, stream, bytes.len() as u32)
            .await;
        self.io.write_all(bytes).await.unwrap();
    }

    /// The next frame as (kind, flags, stream, length); `None` at the end.
    async fn next(&mut self) -> Option<(Kind, u16, u32, u32)> {
        let mut bytes = [0; HEADER_SIZE];
        self.io.read_exact(&mut bytes).await.ok()?;
        let header = Header::decode(&bytes).unwrap();
        Some((header.kind, header.flags, header.stream, header.length))
    }

    async fn body(&mut self, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.io.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// Nothing comes for a while.
    async fn silent(&mut self) {
        let mut byte = [0];
        let read = self.io.read_exact(&mut byte);
        let heard = self.env.timeout(Duration::from_millis(100), read).await;
        assert!(heard.is_err(), "{heard:?} {byte:?}");
    }
}

/// Our side, with its driver running.
struct Side {
    session: Session,
    accepted: mpsc::UnboundedReceiver<Stream>,
    budget: Arc<Budget>,
    ended: tribune_rt::TaskHandle<Result<(), SessionError>>,
}

fn side(env: &Env, io: DuplexStream, role: Role, streams_max: usize) -> Side {
    let budget = Arc::new(Budget::new(1 << 20));
    let (session, driver) = session(
        env,
        io,
        role,
        Arc::clone(&budget),
        streams_max,
        KeepAlive::default(),
    );
    let (tx, accepted) = mpsc::unbounded_channel();
    let ended = env.spawn("driver", async move {
        driver
            .run(|stream| {
                let _ = tx.send(stream);
            })
            .await
    });
    Side {
        session,
        accepted,
        budget,
        ended,
    }
}

fn against_peer(role: Role, streams_max: usize) -> (Side, Peer) {
    let env = Env::sim(7).unwrap();
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    (
        side(&env, ours, role, streams_max),
        Peer { env, io: theirs },
    )
}

fn pair() -> (Env, Side, Side) {
    let env = Env::sim(7).unwrap();
    let (a, b) = tokio::io::duplex(64 << 10);
    let dialer = side(&env, a, Role::Dialer, 1 << 16);
    let acceptor = side(&env, b, Role::Acceptor, 1 << 16);
    (env, dialer, acceptor)
}

#[tokio::test(start_paused = true)]
async fn an_accepted_stream_is_acknowledged_before_anything_is_written_to_it() {
    let (mut us, mut peer) = against_peer(Role::Acceptor, 100);
    peer.send(Kind::WindowUpdate, SYN, 1, 0).await;
    assert_eq!(peer.next().await, Some((Kind::WindowUpdate, ACK, 1, 0)));
    peer.data(0, 1, b"hello").await;
    let mut stream = us.accepted.recv().await.unwrap();
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello");
    stream.write_all(b"there").await.unwrap();
    assert_eq!(peer.next().await, Some((Kind::Data, 0, 1, 5)));
    assert_eq!(peer.body(5).await, b"there");
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_open_with_its_first_bytes_and_end_with_its_last() {
    let (mut us, mut peer) = against_peer(Role::Acceptor, 100);
    peer.data(SYN | FIN, 1, b"all at once").await;
    let mut stream = us.accepted.recv().await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "all at once");
    assert_eq!(peer.next().await, Some((Kind::WindowUpdate, ACK, 1, 0)));
    drop(stream);
    assert_eq!(peer.next().await, Some((Kind::WindowUpdate, FIN, 1, 0)));
    assert_eq!(us.session.0.stream_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_fin_is_answered_by_one_fin() {
    let (mut us, mut peer) = against_peer(Role::Acceptor, 100);
    peer.send(Kind::WindowUpdate, SYN, 1, 0).await;
    peer.next().await.unwrap();
    let mut stream = us.accepted.recv().await.unwrap();
    peer.send(Kind::WindowUpdate, FIN, 1, 0).await;
    assert_eq!(stream.read(&mut [0; 4]).await.unwrap(), 0);
    stream.shutdown().await.unwrap();
    stream.shutdown().await.unwrap();
    drop(stream);
    assert_eq!(peer.next().await, Some((Kind::WindowUpdate, FIN, 1, 0)));
    peer.silent().await;
    assert_eq!(us.session.0.stream_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_clean_stream_ends_with_fin_and_a_busy_one_with_rst() {
    let (us, mut peer) = against_peer(Role::Dialer, 100);
    let mut clean = us.session.open().await.unwrap();
    let busy = us.session.open().await.unwrap();
    assert_eq!(peer.next().await, Some((Kind::WindowUpdate, SYN, 1, 0)));
    assert_eq!(peer.next().await, Some((Kind::WindowUpdate, SYN, 3, 0)));
    clean.set_clean(true);
    drop(clean);
    drop(busy);
    assert_eq!(peer.next().await, Some((Kind::WindowUpdate, FIN, 1, 0)));
    assert_eq!(peer.next().await, Some((Kind::WindowUpdate, RST, 3, 0)));
    assert_eq!(us.session.0.stream_count(), 1, "one waits for its FIN");
    peer.send(Kind::WindowUpdate, ACK | FIN, 1, 0).await;
    // Late frames of the reset one are nobody's.
    peer.data(0, 3, b"late").await;
    peer.send(Kind::Ping, SYN, 0, 9).await;
    assert_eq!(peer.next().await, Some((Kind::Ping, ACK, 0, 9)));
    assert_eq!(us.session.0.stream_count(), 0);
    assert_eq!(us.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_does_not_wait_for_its_fin_for_ever() {
    let (us, mut peer) = against_peer(Role::Dialer, 100);
    let mut stream = us.session.open().await.unwrap();
    peer.next().await.unwrap();
    stream.set_clean(true);
    drop(stream);
    assert_eq!(peer.next().await, Some((Kind::WindowUpdate, FIN, 1, 0)));
    let mut pings = 0;
    loop {
        match peer.next().await.unwrap() {
            (Kind::Ping, SYN, 0, value) => peer.send(Kind::Ping, ACK, 0, value).await,
            (Kind::WindowUpdate, RST, 1, 0) => break,
            other => panic!("{other:?}"),
        }
        pings += 1;
    }
    assert_eq!(pings, 10, "five minutes");
    assert_eq!(us.session.0.stream_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn more_than_the_window_ends_the_connection() {
    let (mut us, mut peer) = against_peer(Role::Acceptor, 100);
    peer.send(Kind::WindowUpdate, SYN, 1, 0).await;
    peer.next().await.unwrap();
    let mut stream = us.accepted.recv().await.unwrap();
    peer.send(Kind::Data, 0, 1, WINDOW + 1).await;
    assert_eq!(peer.next().await, Some((Kind::GoAway, 0, 0, 1)));
    assert_eq!(peer.next().await, None);
    assert!(us.ended.join().await.unwrap().is_err());
    assert_eq!(stream.read(&mut [0; 4]).await.unwrap(), 0);
    assert!(stream.write(b"x").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn rule_breakers_are_told_so() {
    // (what the peer sends)
    let frames: &[&[(Kind, u16, u32, u32)]] = &[
        &[(Kind::WindowUpdate, SYN, 0, 0)],
        &[(Kind::WindowUpdate, SYN, 2, 0)],
        &[
            (Kind::WindowUpdate, SYN, 1, 0),
            (Kind::WindowUpdate, SYN, 1, 0),
        ],
        &[(Kind::WindowUpdate, SYN, 1, u32::MAX)],
    ];
    for sent in frames {
        let (us, mut peer) = against_peer(Role::Acceptor, 100);
        for &(kind, flags, stream, length) in *sent {
            peer.send(kind, flags, stream, length).await;
        }
        let mut last = None;
        while let Some(frame) = peer.next().await {
            last = Some(frame);
        }
        assert_eq!(last, Some((Kind::GoAway, 0, 0, 1)), "{sent:?}");
        assert!(us.ended.join().await.unwrap().is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn streams_beyond_the_limit_are_refused_and_the_others_go_on() {
    let (mut us, mut peer) = against_peer(Role::Acceptor, 2);
    for (id, answer) in [(1, ACK), (3, ACK), (5, RST)] {
        peer.send(Kind::WindowUpdate, SYN, id, 0).await;
        assert_eq!(peer.next().await, Some((Kind::WindowUpdate, answer, id, 0)));
    }
    let mut first = us.accepted.recv().await.unwrap();
    peer.data(0, 5, b"ignored").await;
    peer.data(0, 1, b"x").await;
    assert_eq!(first.read_u8().await.unwrap(), b'x');
}

#[tokio::test(start_paused = true)]
async fn what_a_server_opens_is_refused() {
    let (_us, mut peer) = against_peer(Role::Dialer, 100);
    peer.send(Kind::WindowUpdate, SYN, 2, 0).await;
    assert_eq!(peer.next().await, Some((Kind::WindowUpdate, RST, 2, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_still_sending_is_waited_for_until_it_falls_silent() {
    let (us, mut peer) = against_peer(Role::Dialer, 100);
    let Some((Kind::Ping, SYN, 0, _)) = peer.next().await else {
        panic!("no ping");
    };
    // A long message stands before the answer.
    for _ in 0..10 {
        peer.env.sleep(Duration::from_secs(9)).await;
        peer.send(Kind::Ping, SYN, 0, 7).await;
    }
    assert!(us.session.is_open());
    let start = peer.env.mono();
    let ended = us.ended.join().await.unwrap();
    assert!(matches!(ended, Err(SessionError::Stalled)));
    let waited = peer.env.mono().since(start);
    assert!(waited <= Duration::from_secs(20), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_and_a_silent_peer_is_cut() {
    let (us, mut peer) = against_peer(Role::Acceptor, 100);
    let start = peer.env.mono();
    peer.send(Kind::Ping, SYN, 0, 77).await;
    assert_eq!(peer.next().await, Some((Kind::Ping, ACK, 0, 77)));
    let Some((Kind::Ping, SYN, 0, value)) = peer.next().await else {
        panic!("no ping");
    };
    assert_eq!(peer.env.mono().0 - start.0, 30_000_000_000);
    peer.send(Kind::Ping, ACK, 0, value).await;
    assert!(matches!(peer.next().await, Some((Kind::Ping, SYN, 0, _))));
    assert_eq!(peer.next().await, None, "the second is not answered");
    assert_eq!(peer.env.mono().0 - start.0, 70_000_000_000);
    assert!(matches!(
        us.ended.join().await.unwrap(),
        Err(SessionError::Stalled)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_cut() {
    let (mut us, mut peer) = against_peer(Role::Acceptor, 100);
    let start = peer.env.mono();
    peer.send(Kind::WindowUpdate, SYN, 1, 0).await;
    let mut stream = us.accepted.recv().await.unwrap();
    let written = stream.write_all(&vec![0; 1 << 20]).await;
    assert!(written.is_err());
    assert_eq!(peer.env.mono().0 - start.0, 10_000_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_was_not_read_for_a_while_is_read_again_at_once() {
    let env = Env::sim(7).unwrap();
    // Takes all that waits to be sent at once, when it takes something again.
    let (ours, theirs) = tokio::io::duplex(4 << 20);
    let _us = side(&env, ours, Role::Acceptor, 100);
    let (mut reader, mut writer) = tokio::io::split(theirs);
    let count = 1_000_000;
    let flood = env.spawn("flood", async move {
        let mut ping = Vec::new();
        Header {
            kind: Kind::Ping,
            flags: SYN,
            stream: 0,
            length: 7,
        }
        .write(&mut ping);
        writer.write_all(&ping.repeat(count)).await.unwrap();
        writer
    });
    // Its answers fill all there is for them.
    env.sleep(Duration::from_secs(5)).await;
    let start = env.mono();
    let mut answers = vec![0; count * HEADER_SIZE];
    reader.read_exact(&mut answers).await.unwrap();
    let _writer = flood.join().await.unwrap();
    assert_eq!(env.mono(), start);
}

#[tokio::test(start_paused = true)]
async fn a_farewell_stops_new_streams_and_leaves_the_old_ones() {
    let (us, mut peer) = against_peer(Role::Dialer, 100);
    let mut stream = us.session.open().await.unwrap();
    peer.next().await.unwrap();
    peer.send(Kind::GoAway, 0, 0, 0).await;
    peer.data(ACK, 1, b"x").await;
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    assert!(us.session.open().await.is_err());
    assert!(!us.session.is_open());
}

#[tokio::test(start_paused = true)]
async fn an_opener_waits_while_256_streams_are_not_acknowledged() {
    let (us, mut peer) = against_peer(Role::Dialer, 1000);
    let mut streams = Vec::new();
    for _ in 0..256 {
        streams.push(us.session.open().await.unwrap());
    }
    let opening = us.session.open();
    let mut opening = std::pin::pin!(opening);
    let limit = Duration::from_secs(1);
    assert!(peer.env.timeout(limit, &mut opening).await.is_err());
    peer.send(Kind::WindowUpdate, ACK, 41, 0).await;
    assert!(peer.env.timeout(limit, &mut opening).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn large_messages_go_both_ways_on_many_streams_at_a_time() {
    let (env, dialer, mut acceptor) = pair();
    let echo = env.spawn("echo", {
        let env = env.clone();
        async move {
            while let Some(mut stream) = acceptor.accepted.recv().await {
                env.spawn("echo-one", async move {
                    let mut all = Vec::new();
                    stream.read_to_end(&mut all).await.unwrap();
                    stream.write_all(&all).await.unwrap();
                    stream.shutdown().await.unwrap();
                });
            }
        }
    });
    let mut calls = Vec::new();
    for number in 0..40u8 {
        let session = dialer.session.clone();
        calls.push(env.spawn("call", async move {
            let mut stream = session.open().await.unwrap();
            let sent = vec![number; 300_000 + usize::from(number) * 10_000];
            stream.write_all(&sent).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).await.unwrap();
            assert!(got == sent, "stream {number}");
        }));
    }
    for call in calls {
        call.join().await.unwrap();
    }
    assert_eq!(dialer.session.0.stream_count(), 0);
    assert_eq!(dialer.budget.used(), 0);
    dialer.session.close();
    dialer.ended.join().await.unwrap().unwrap();
    echo.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn reading_pauses_while_too_much_is_unread_and_then_goes_on() {
    let (env, dialer, mut acceptor) = pair();
    let mut senders = Vec::new();
    for _ in 0..12 {
        let session = dialer.session.clone();
        senders.push(env.spawn("send", async move {
            let mut stream = session.open().await.unwrap();
            stream.write_all(&vec![1; 200 << 10]).await.unwrap();
            stream.shutdown().await.unwrap();
            stream
        }));
    }
    let mut streams = Vec::new();
    env.sleep(Duration::from_secs(5)).await;
    assert!(acceptor.budget.used() >= 1 << 20, "the budget is used up");
    assert!(acceptor.budget.used() < (1 << 20) + (64 << 10));
    let mut seen = 0;
    while seen < 12 {
        let mut stream = acceptor.accepted.recv().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 200 << 10);
        seen += 1;
        streams.push(stream);
    }
    drop(streams);
    for sender in senders {
        sender.join().await.unwrap();
    }
    assert_eq!(acceptor.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn random_bytes_end_the_connection_and_nothing_else() {
    let env = Env::sim(3).unwrap();
    for round in 0..200 {
        let (mut us, mut peer) = against_peer(Role::Acceptor, 10);
        let mut bytes = vec![0; 600];
        env.fill_random(&mut bytes);
        // Mostly valid headers, so that more than the first byte is looked at.
        for header in bytes.chunks_mut(HEADER_SIZE) {
            if round % 2 == 0 {
                header[0] = 0;
                header[1] &= 3;
                header[2] = 0;
                header[3] &= 15;
                header[4..7].fill(0);
                if let Some(length) = header.get_mut(8..11) {
                    length.fill(0);
                }
            }
        }
        let _ = peer.io.write_all(&bytes).await;
        drop(peer);
        let _ = us.ended.join().await.unwrap();
        while let Some(stream) = us.accepted.recv().await {
            drop(stream);
        }
        assert_eq!(us.budget.used(), 0);
        assert_eq!(us.session.0.stream_count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_after_the_peer_has_closed_is_known_to_be_unsent() {
    let (us, mut peer) = against_peer(Role::Dialer, 100);
    let mut stream = us.session.open().await.unwrap();
    stream.write_all(b"first").await.unwrap();
    assert_eq!(peer.next().await, Some((Kind::WindowUpdate, SYN, 1, 0)));
    assert_eq!(peer.next().await, Some((Kind::Data, 0, 1, 5)));
    assert!(stream.was_sent());
    // Both happen before the driver gets its turn.
    drop(peer);
    stream.write_all(b"second").await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    assert!(!stream.was_sent());
    assert!(us.ended.join().await.unwrap().is_ok());
}
