//! Snapshots, with both sides of ours and with hand-driven ones.

use std::io;

use tribune_rt::TaskHandle;

use super::super::receive::receive;
use super::super::send::{SendError, send};
use super::super::serve::ServeError;
use super::*;

struct Received {
    env: Env,
    handler: Arc<Handler>,
    ended: TaskHandle<Result<(), ServeError>>,
}

fn receiver() -> (Received, DuplexStream) {
    let (env, handler) = (Env::sim(1).unwrap(), handler());
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let (own, served) = (env.clone(), Arc::clone(&handler));
    let ended = env.spawn("receive", async move {
        receive(&own, &*served, THEM, ours, LIMIT).await
    });
    let received = Received {
        env,
        handler,
        ended,
    };
    (received, theirs)
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_arrives_whole() {
    for size in [0, 1, 100_000, 3 << 20] {
        let (w, io) = receiver();
        let body = vec![7; size];
        let answer = send(&w.env, io, Bytes::from_static(b"take"), &body[..]).await;
        assert_eq!(answer.unwrap(), "take");
        w.ended.join().await.unwrap().unwrap();
        assert_eq!(*w.handler.snapshots.lock(), [Ok(size)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_may_be_refused_while_it_is_sent() {
    let (w, io) = receiver();
    // It never ends.
    let answer = send(&w.env, io, Bytes::from_static(b"no"), tokio::io::repeat(7)).await;
    assert_eq!(answer.unwrap(), "refused");
    let _ = w.ended.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_receiver_may_work_for_as_long_as_it_shows_that_it_lives() {
    let (w, io) = receiver();
    let env = w.env.clone();
    let sending = env.spawn("send", {
        let env = env.clone();
        async move { send(&env, io, Bytes::from_static(b"slow"), &[7; 10][..]).await }
    });
    env.sleep(Duration::from_secs(600)).await;
    w.handler.release.notify_waiters();
    assert_eq!(sending.join().await.unwrap().unwrap(), "slow");
}

#[tokio::test(start_paused = true)]
async fn a_sender_does_not_wait_for_a_receiver_that_is_gone() {
    let env = Env::sim(1).unwrap();
    // (answer, error)
    type Is = fn(&SendError) -> bool;
    let cases: [(&[u8], Is); 4] = [
        (b"", |err| matches!(err, SendError::Silent)),
        (&frame(Kind::Response, 1, b"x"), |err| {
            matches!(err, SendError::Violation)
        }),
        (&frame(Kind::Request, 0, b"x"), |err| {
            matches!(err, SendError::Violation)
        }),
        (&[9; 100], |err| matches!(err, SendError::Io(_))),
    ];
    for (answer, is) in cases {
        let (ours, mut theirs) = tokio::io::duplex(64 << 10);
        theirs.write_all(answer).await.unwrap();
        let sent = send(&env, ours, Bytes::new(), &[7; 10][..]).await;
        assert!(sent.as_ref().is_err_and(is), "{sent:?}");
    }
}

/// Fails after a few bytes.
struct Failing(bool);

impl AsyncRead for Failing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        if std::mem::replace(&mut self.0, true) {
            return std::task::Poll::Ready(Err(io::Error::other("disk")));
        }
        buf.put_slice(&[7; 100]);
        std::task::Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_read_is_not_whole_at_the_other_side() {
    let (w, io) = receiver();
    let sent = send(&w.env, io, Bytes::from_static(b"take"), Failing(false)).await;
    assert!(matches!(sent.unwrap_err(), SendError::Body(_)));
    let _ = w.ended.join().await.unwrap();
    assert_eq!(
        *w.handler.snapshots.lock(),
        [Err(io::ErrorKind::UnexpectedEof)]
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_but_pieces_in_order_makes_a_snapshot() {
    let start = frame(Kind::Request, 0, b"take");
    let piece = |sequence| frame(Kind::Piece, sequence, &[7; 10]);
    let end = |sequence| frame(Kind::End, sequence, b"");
    // (what, bytes, outcome of reading)
    let cases: [(&str, Vec<u8>, Result<usize, io::ErrorKind>); 9] = [
        ("whole", [piece(1), piece(2), end(3)].concat(), Ok(20)),
        (
            "no end",
            [piece(1), piece(2)].concat(),
            Err(io::ErrorKind::UnexpectedEof),
        ),
        (
            "half a piece",
            piece(1)[..15].to_vec(),
            Err(io::ErrorKind::UnexpectedEof),
        ),
        (
            "a piece again",
            [piece(1), piece(1), end(2)].concat(),
            Err(io::ErrorKind::InvalidData),
        ),
        (
            "a piece left out",
            [piece(1), piece(3), end(4)].concat(),
            Err(io::ErrorKind::InvalidData),
        ),
        (
            "an early end",
            [piece(1), end(1)].concat(),
            Err(io::ErrorKind::InvalidData),
        ),
        (
            "an empty piece",
            frame(Kind::Piece, 1, b""),
            Err(io::ErrorKind::InvalidData),
        ),
        (
            "a request",
            frame(Kind::Request, 1, b"x"),
            Err(io::ErrorKind::InvalidData),
        ),
        (
            "a piece that is too large",
            head(Kind::Piece, 1, 1 << 20).to_vec(),
            Err(io::ErrorKind::InvalidData),
        ),
    ];
    for (what, bytes, outcome) in cases {
        let (w, mut io) = receiver();
        io.write_all(&[start.clone(), bytes].concat())
            .await
            .unwrap();
        io.shutdown().await.unwrap();
        let mut peer = Peer::new(&w.env, io);
        peer.closed().await;
        let _ = w.ended.join().await.unwrap();
        assert_eq!(*w.handler.snapshots.lock(), [outcome], "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_begins_with_something_else_is_refused() {
    for bytes in [
        frame(Kind::Request, 1, b"take"),
        frame(Kind::Piece, 0, b"take"),
        head(Kind::Request, 0, (1 << 20) + 1).to_vec(),
        vec![0xff; 100],
    ] {
        let (w, mut io) = receiver();
        let start = w.env.mono();
        io.write_all(&bytes).await.unwrap();
        Peer::new(&w.env, io).closed().await;
        assert_eq!(w.env.mono(), start);
        let err = w.ended.join().await.unwrap().unwrap_err();
        assert!(err.is_refusal(), "{err}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_stands_still_is_cut() {
    for bytes in [
        vec![],
        frame(Kind::Request, 0, b"take")[..10].to_vec(),
        frame(Kind::Request, 0, b"take"),
        [
            frame(Kind::Request, 0, b"take"),
            frame(Kind::Piece, 1, &[7; 9]),
        ]
        .concat(),
    ] {
        let (w, mut io) = receiver();
        let start = w.env.mono();
        io.write_all(&bytes).await.unwrap();
        let mut peer = Peer::new(&w.env, io);
        peer.closed().await;
        let took = Duration::from_nanos(w.env.mono().0 - start.0).as_secs();
        assert!((10..=16).contains(&took), "{took} s");
        let _ = w.ended.join().await.unwrap();
        assert!(
            w.handler
                .snapshots
                .lock()
                .iter()
                .all(|read| *read == Err(io::ErrorKind::TimedOut))
        );
    }
}
