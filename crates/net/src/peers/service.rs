//! Who serves the requests of a connection, within which bounds, and the requests that are being served.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::conn::IN_FLIGHT_MAX;
use super::frame::MESSAGE_MAX;
use super::{PeerHandler, PeerId, rpc};
use crate::Handler;
use crate::budget::Budget;

/// See the module.
#[derive(Clone, Copy)]
pub(super) enum Service<'a> {
    /// The other servers' requests.
    Peers(&'a dyn PeerHandler),
    /// Calls of the server RPC. What is received for them counts against the budget.
    Rpc(&'a dyn Handler, &'a Budget),
}

impl<'a> Service<'a> {
    /// Requests at a time.
    pub(super) fn in_flight_max(self) -> usize {
        match self {
            Service::Peers(_) => IN_FLIGHT_MAX,
            Service::Rpc(..) => rpc::IN_FLIGHT_MAX,
        }
    }

    /// Bytes of a request.
    pub(super) fn request_max(self) -> usize {
        match self {
            Service::Peers(_) => MESSAGE_MAX,
            Service::Rpc(..) => rpc::REQUEST_MAX,
        }
    }

    /// Begins to serve.
    pub(super) fn call(self, from: PeerId, addr: SocketAddr, request: Bytes) -> Serving<'a> {
        match self {
            Service::Peers(handler) => Serving::Peer(handler.call(from, addr, request)),
            Service::Rpc(handler, _) => Serving::Rpc(Box::pin(rpc::serve(handler, addr, request))),
        }
    }

    /// True if more may be received; else the task is woken once that may be so.
    pub(super) fn has_room_or_wake(self, cx: &Context<'_>) -> bool {
        match self {
            Service::Peers(_) => true,
            Service::Rpc(_, budget) => budget.has_room_or_wake(cx.waker()),
        }
    }

    /// Counts bytes that were received.
    pub(super) fn charge(self, len: usize) {
        if let Service::Rpc(_, budget) = self {
            budget.charge(len);
        }
    }

    /// Gives them back.
    pub(super) fn release(self, len: usize) {
        if let Service::Rpc(_, budget) = self {
            budget.release(len);
        }
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What yields an answer.
pub(super) enum Serving<'a> {
    /// To a server.
    Peer(Boxed<'a, Bytes>),
    /// To a call of the server RPC.
    Rpc(Boxed<'a, Option<rpc::Answer>>),
}

/// An answer.
pub(super) enum Answered {
    /// To a server.
    Peer(Bytes),
    /// To a call of the server RPC; `None` if it was none.
    Rpc(Option<rpc::Answer>),
}

/// A request that is being served.
pub(super) struct Call<'a> {
    sequence: u64,
    size: usize,
    serving: Serving<'a>,
    _drawn: Option<OwnedSemaphorePermit>,
}

/// A request that was served.
pub(super) struct Served {
    pub(super) sequence: u64,
    /// Bytes of the request.
    pub(super) size: usize,
    pub(super) answer: Answered,
}

impl<'a> Call<'a> {
    /// A request of `size` bytes with the memory that was drawn for it.
    pub(super) fn new(
        sequence: u64,
        size: usize,
        serving: Serving<'a>,
        drawn: Option<OwnedSemaphorePermit>,
    ) -> Call<'a> {
        Call {
            sequence,
            size,
            serving,
            _drawn: drawn,
        }
    }
}

impl Future for Call<'_> {
    type Output = Served;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Served> {
        let answer = match &mut self.serving {
            Serving::Peer(answer) => answer.as_mut().poll(cx).map(Answered::Peer),
            Serving::Rpc(answer) => answer.as_mut().poll(cx).map(Answered::Rpc),
        };
        let (sequence, size) = (self.sequence, self.size);
        answer.map(|answer| Served {
            sequence,
            size,
            answer,
        })
    }
}
