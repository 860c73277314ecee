//! UDP: one task per front worker and address, each with its own socket on the shared port.
//!
//! Receives a batch, answers what needs no waiting, sends a batch. What needs waiting gets a task, as long as there is
//! room for one; then the question is dropped and counted, and the client asks again.

use std::sync::Arc;

use tribune_rt::net::{RecvBatch, SendBatch, UdpSocket};
use tribune_rt::{CancellationToken, TaskTracker};

use crate::front::{Now, Shared, Worker, answer_later};
use crate::shape::Transport;

/// Datagrams handled per wake-up.
const BATCH_MAX: usize = 32;
/// Largest datagram.
const DATAGRAM_SIZE_MAX: usize = 65_535;
/// Room for one large datagram or many usual ones.
const BUFFER_SIZE: usize = DATAGRAM_SIZE_MAX + 32 * 1024;

/// Serves until `stop` fires. Waiting questions go to `tasks`.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    socket: UdpSocket,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let socket = Arc::new(socket);
    let mut worker = Worker::new(Arc::clone(&shared));
    let mut received = RecvBatch::new(DATAGRAM_SIZE_MAX, BATCH_MAX, BUFFER_SIZE);
    let mut answers = SendBatch::new();
    let mut answer = Vec::with_capacity(512);
    loop {
        let outcome = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            outcome = socket.recv_batch(&mut received) => outcome,
        };
        if let Err(err) = outcome {
            // An earlier answer was refused, for one.
            tracing::trace!(%err, "dns receive failed");
            tokio::task::yield_now().await;
            continue;
        }
        for (peer, packet) in received.iter() {
            answer.clear();
            let pending = match worker.answer_now(packet, peer.ip(), Transport::Udp, &mut answer) {
                Now::Answered => {
                    answers.push(peer, &answer);
                    continue;
                }
                Now::Silence => continue,
                Now::Later(pending) => pending,
            };
            let room = Arc::clone(shared.room(&pending));
            let Ok(permit) = room.try_acquire_owned() else {
                shared.meters.dropped();
                continue;
            };
            let (task_shared, socket, packet, stop) = (
                Arc::clone(&shared),
                Arc::clone(&socket),
                packet.to_vec(),
                stop.clone(),
            );
            let work = async move {
                let _permit = permit;
                let answer = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    answer = answer_later(&task_shared, &packet, *pending, Transport::Udp) => answer,
                };
                if let Err(err) = socket.send_to(&answer, peer).await {
                    tracing::trace!(%err, "dns answer not sent");
                }
            };
            shared
                .env
                .spawn_here("dns-udp-question", tasks.track_future(work));
        }
        if let Err(err) = socket.send_batch(&mut answers).await {
            tracing::trace!(%err, "dns answers not sent");
        }
    }
}
