//! TCP: messages after their length, several per connection (RFC 1035 section 4.2.2, RFC 7766).
//!
//! Bounds: connections in all, questions per connection, time between questions, time for one message to arrive and to
//! be taken. A message is at most 64 KiB by its length field, and its buffer grows with the bytes that really arrive.
//! Beyond the connection bound new ones are closed at once.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tribune_rt::net::{TcpListener, TcpStream};
use tribune_rt::{CancellationToken, TaskTracker};

use crate::front::{Now, Shared, Worker, answer_later};
use crate::shape::Transport;

/// Connections of the whole server.
pub(crate) const CONNECTIONS_MAX: usize = 1024;
/// Questions on one connection.
const QUESTIONS_MAX: usize = 128;
/// Quiet connections are closed after this.
const IDLE_MAX: Duration = Duration::from_secs(8);
/// For a message to arrive whole, or an answer to be taken.
const TRANSFER_MAX: Duration = Duration::from_secs(8);
/// After a failed accept (no descriptors left), as trying at once would only fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `stop` fires. Connections go to `tasks`.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    listener: TcpListener,
    connections: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(err) => {
                tracing::warn!(%err, "dns connection not accepted");
                shared.env.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            tracing::debug!(%peer, "too many dns connections");
            continue;
        };
        let (task_shared, stop) = (Arc::clone(&shared), stop.clone());
        let work = async move {
            let _permit = permit;
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                outcome = converse(&task_shared, peer.ip(), stream) => {
                    if let Err(err) = outcome {
                        tracing::trace!(%peer, %err, "dns connection ended");
                    }
                }
            }
        };
        shared
            .env
            .spawn_here("dns-tcp-connection", tasks.track_future(work));
    }
}

async fn converse(shared: &Arc<Shared>, peer: IpAddr, mut stream: TcpStream) -> io::Result<()> {
    // Answers are written whole.
    stream.set_nodelay(true)?;
    let mut worker = Worker::new(Arc::clone(shared));
    let mut message = Vec::new();
    let mut answer = Vec::new();
    for _ in 0..QUESTIONS_MAX {
        let size = match shared.env.timeout(IDLE_MAX, stream.read_u16()).await {
            Ok(Ok(size)) => u64::from(size),
            Ok(Err(err)) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(err)) => return Err(err),
            Err(_) => return Ok(()),
        };
        message.clear();
        let read = shared
            .env
            .timeout(
                TRANSFER_MAX,
                (&mut stream).take(size).read_to_end(&mut message),
            )
            .await;
        if read.map_err(io::Error::other)?? as u64 != size {
            return Ok(());
        }
        answer.clear();
        answer.extend_from_slice(&[0, 0]);
        match worker.answer_now(&message, peer, Transport::Tcp, &mut answer) {
            Now::Answered => {}
            Now::Silence => continue,
            Now::Later(pending) => {
                // Waits for room: the peer of a connection can be held back.
                let Ok(_permit) = shared.room(&pending).acquire().await else {
                    return Ok(());
                };
                answer.extend(answer_later(shared, &message, *pending, Transport::Tcp).await);
            }
        }
        let Ok(size) = u16::try_from(answer.len() - 2) else {
            return Ok(());
        };
        answer[..2].copy_from_slice(&size.to_be_bytes());
        shared
            .env
            .timeout(TRANSFER_MAX, stream.write_all(&answer))
            .await
            .map_err(io::Error::other)??;
    }
    Ok(())
}
