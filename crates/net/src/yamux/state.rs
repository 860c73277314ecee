//! The streams of one connection: what a frame means, and which frames go out.
//!
//! In: headers and bytes from the driver; reads, writes and closes from streams. Out: bytes for the socket, in `out`,
//! and wake-ups. No socket and no timer here.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::io::ReadBuf;

use super::frame::{ACK, FIN, HEADER_SIZE, Header, Kind, RST, SYN};
use super::{OUT_MAX, Role, UNACKED_MAX, WINDOW};
use crate::budget::Budget;

/// Bytes of one data frame we send.
const FRAME_MAX: usize = 32 << 10;
/// Keep-alive rounds (30 s each) that a stream we have dropped may wait for the other side's FIN.
const LINGER_ROUNDS: u8 = 10;

/// The connection is closed, or will be; nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("session shutdown")]
pub(crate) struct SessionClosed;

/// The peer broke the rules; the connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// Not a frame header of version 0.
    #[error("unknown frame")]
    Frame,
    /// A stream is opened under an id that is taken, zero, or ours to give.
    #[error("invalid stream id {0}")]
    Id(u32),
    /// More bytes than the window allows.
    #[error("window of stream {0} exceeded")]
    Window(u32),
    /// A window beyond what 32 bits count.
    #[error("window of stream {0} overflows")]
    Overflow(u32),
    /// The peer says that we broke the rules, or that it failed.
    #[error("peer gave up with code {0}")]
    GoAway(u32),
}

/// What the driver does with the bytes after a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing follows.
    Header,
    /// This many bytes of a stream follow; `fin` ends it after them.
    Body { id: u32, len: u32, fin: bool },
    /// As `Header`, and our ping came back.
    Pong,
}

/// State shared by the driver and the streams.
pub(crate) struct Shared {
    state: Mutex<State>,
    budget: Arc<Budget>,
    heard: AtomicU64,
    /// Nothing is read for want of memory.
    paused: AtomicBool,
}

struct State {
    role: Role,
    streams: BTreeMap<u32, Entry>,
    streams_max: usize,
    next_id: u32,
    unacked: usize,
    out: Vec<u8>,
    /// How often the driver has taken `out`.
    taken: u64,
    driver: Option<Waker>,
    /// Writers that wait for room in `out`.
    room: Vec<Waker>,
    /// Openers that wait for acknowledgements.
    openers: Vec<Waker>,
    /// The peer wants no more streams.
    refused: bool,
    /// We want to end.
    closing: bool,
    ended: bool,
}

struct Entry {
    recv: BytesMut,
    /// What the peer may still send.
    recv_window: u32,
    /// Read but not yet told to the peer.
    consumed: u32,
    send_window: u32,
    /// What was written last waits for the driver while this equals [`State::taken`].
    queued: u64,
    acked: bool,
    /// FIN came.
    remote_closed: bool,
    /// FIN went.
    local_closed: bool,
    reset: bool,
    /// Nobody has the stream any more; rounds it has waited for the peer's FIN.
    orphan: Option<u8>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    watcher: Option<Waker>,
}

impl Entry {
    fn new(acked: bool) -> Entry {
        Entry {
            recv: BytesMut::new(),
            recv_window: WINDOW,
            consumed: 0,
            send_window: WINDOW,
            queued: 0,
            acked,
            remote_closed: false,
            local_closed: false,
            reset: false,
            orphan: None,
            reader: None,
            writer: None,
            watcher: None,
        }
    }

    fn wake_all(&mut self) {
        for waker in [&mut self.reader, &mut self.writer, &mut self.watcher] {
            wake(waker);
        }
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl State {
    fn send(&mut self, kind: Kind, flags: u16, stream: u32, length: u32) {
        Header {
            kind,
            flags,
            stream,
            length,
        }
        .write(&mut self.out);
        wake(&mut self.driver);
    }

    fn fin(&mut self, id: u32) {
        self.send(Kind::WindowUpdate, FIN, id, 0);
    }

    fn reset(&mut self, id: u32) {
        self.send(Kind::WindowUpdate, RST, id, 0);
    }

    /// Forgets a stream; its bytes still count until its holder is gone.
    fn remove(&mut self, id: u32, budget: &Budget) {
        if let Some(mut entry) = self.streams.remove(&id) {
            budget.release(entry.recv.len());
            if !entry.acked {
                self.count_ack();
            }
            entry.wake_all();
        }
    }

    fn count_ack(&mut self) {
        self.unacked -= 1;
        for opener in self.openers.drain(..) {
            opener.wake();
        }
    }

    fn end(&mut self, budget: &Budget) {
        self.ended = true;
        self.out = Vec::new();
        for waker in self.room.drain(..).chain(self.openers.drain(..)) {
            waker.wake();
        }
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        for id in ids {
            let held = self.streams.get(&id).is_some_and(|e| e.orphan.is_none());
            if held {
                if let Some(entry) = self.streams.get_mut(&id) {
                    entry.wake_all();
                }
            } else {
                self.remove(id, budget);
            }
        }
    }
}

/// What the peer does on a stream the moment a frame arrives.
impl Shared {
    pub(super) fn new(role: Role, budget: Arc<Budget>, streams_max: usize) -> Shared {
        Shared {
            state: Mutex::new(State {
                role,
                streams: BTreeMap::new(),
                streams_max,
                next_id: match role {
                    Role::Dialer => 1,
                    Role::Acceptor => 2,
                },
                unacked: 0,
                out: Vec::new(),
                taken: 0,
                driver: None,
                room: Vec::new(),
                openers: Vec::new(),
                refused: false,
                closing: false,
                ended: false,
            }),
            budget,
            heard: AtomicU64::new(0),
            paused: AtomicBool::new(false),
        }
    }

    /// The budget that received bytes count against.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    // --- for the driver -----------------------------------------------------------------------

    /// Something has come.
    pub(super) fn on_heard(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// Reading pauses, or goes on.
    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Takes in a header. An opened stream is put into `opened`, to be handed to its server.
    pub(super) fn on_header(
        &self,
        header: Header,
        opened: &mut Option<u32>,
    ) -> Result<Next, Violation> {
        let mut state = self.state.lock();
        let id = header.stream;
        match header.kind {
            Kind::Ping if header.flags & SYN != 0 => {
                state.send(Kind::Ping, ACK, 0, header.length);
                return Ok(Next::Header);
            }
            Kind::Ping => return Ok(Next::Pong),
            Kind::GoAway if header.length == 0 => {
                state.refused = true;
                for opener in state.openers.drain(..) {
                    opener.wake();
                }
                return Ok(Next::Header);
            }
            Kind::GoAway => return Err(Violation::GoAway(header.length)),
            Kind::Data | Kind::WindowUpdate => {}
        }
        if header.flags & SYN != 0 {
            self.on_syn(&mut state, id, opened)?;
        }
        if header.flags & RST != 0 {
            if let Some(entry) = state.streams.get_mut(&id) {
                entry.reset = true;
                entry.remote_closed = true;
                entry.wake_all();
                if entry.orphan.is_some() {
                    state.remove(id, &self.budget);
                }
            }
        } else if header.flags & ACK != 0
            && let Some(entry) = state.streams.get_mut(&id)
            && !entry.acked
        {
            entry.acked = true;
            state.count_ack();
        }
        let fin = header.flags & FIN != 0;
        match header.kind {
            Kind::Data => {
                if let Some(entry) = state.streams.get_mut(&id) {
                    entry.recv_window = entry
                        .recv_window
                        .checked_sub(header.length)
                        .ok_or(Violation::Window(id))?;
                }
                if header.length > 0 {
                    let len = header.length;
                    return Ok(Next::Body { id, len, fin });
                }
            }
            _ => {
                if let Some(entry) = state.streams.get_mut(&id) {
                    entry.send_window = entry
                        .send_window
                        .checked_add(header.length)
                        .ok_or(Violation::Overflow(id))?;
                    if header.length > 0 {
                        wake(&mut entry.writer);
                    }
                }
            }
        }
        if fin {
            self.on_fin(&mut state, id);
        }
        Ok(Next::Header)
    }

    fn on_syn(
        &self,
        state: &mut State,
        id: u32,
        opened: &mut Option<u32>,
    ) -> Result<(), Violation> {
        let theirs = match state.role {
            Role::Dialer => id.is_multiple_of(2),
            Role::Acceptor => !id.is_multiple_of(2),
        };
        if id == 0 || !theirs || state.streams.contains_key(&id) {
            return Err(Violation::Id(id));
        }
        // Nobody serves what a dialed peer opens.
        let refuse =
            state.role == Role::Dialer || state.closing || state.streams.len() >= state.streams_max;
        if refuse {
            state.reset(id);
            return Ok(());
        }
        state.streams.insert(id, Entry::new(true));
        state.send(Kind::WindowUpdate, ACK, id, 0);
        *opened = Some(id);
        Ok(())
    }

    fn on_fin(&self, state: &mut State, id: u32) {
        let Some(entry) = state.streams.get_mut(&id) else {
            return;
        };
        entry.remote_closed = true;
        wake(&mut entry.reader);
        wake(&mut entry.watcher);
        if entry.orphan.is_some() {
            // An orphan has sent its own FIN.
            state.remove(id, &self.budget);
        }
    }

    /// Takes in bytes of a stream. Those of streams that nobody reads are dropped.
    pub(super) fn on_body(&self, id: u32, bytes: &[u8]) {
        let mut state = self.state.lock();
        let Some(entry) = state.streams.get_mut(&id) else {
            return;
        };
        if entry.orphan.is_some() {
            state.reset(id);
            state.remove(id, &self.budget);
            return;
        }
        if entry.reset {
            return;
        }
        self.budget.charge(bytes.len());
        entry.recv.extend_from_slice(bytes);
        wake(&mut entry.reader);
    }

    /// The body of a frame with FIN is complete.
    pub(super) fn on_body_fin(&self, id: u32) {
        self.on_fin(&mut self.state.lock(), id);
    }

    /// Moves what is to be sent into `out`, which is empty; false if there is nothing. Registers the driver.
    pub(super) fn take_out(&self, out: &mut Vec<u8>, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if state.out.is_empty() {
            state.driver = Some(waker.clone());
            return false;
        }
        *out = std::mem::take(&mut state.out);
        state.taken += 1;
        for writer in state.room.drain(..) {
            writer.wake();
        }
        true
    }

    /// Bytes that wait for the socket.
    pub(super) fn out_len(&self) -> usize {
        self.state.lock().out.len()
    }

    /// Queues a ping.
    pub(super) fn send_ping(&self, value: u32) {
        self.state.lock().send(Kind::Ping, SYN, 0, value);
    }

    /// Queues a farewell with a reason.
    pub(super) fn send_go_away(&self, code: u32) {
        self.state.lock().send(Kind::GoAway, 0, 0, code);
    }

    /// True once [`Shared::close`] was called.
    pub(super) fn is_closing(&self) -> bool {
        self.state.lock().closing
    }

    /// Gives up on dropped streams whose FIN is not answered.
    pub(super) fn on_round(&self) {
        let mut state = self.state.lock();
        let mut late = Vec::new();
        for (id, entry) in &mut state.streams {
            if let Some(rounds) = &mut entry.orphan {
                *rounds += 1;
                if *rounds > LINGER_ROUNDS {
                    late.push(*id);
                }
            }
        }
        for id in late {
            state.reset(id);
            state.remove(id, &self.budget);
        }
    }

    /// The connection is gone: everything that waits is woken and told.
    pub(super) fn end(&self) {
        self.state.lock().end(&self.budget);
    }

    // --- for the session ------------------------------------------------------------------------

    pub(super) fn poll_open(&self, cx: &mut Context<'_>) -> Poll<Result<u32, SessionClosed>> {
        let mut state = self.state.lock();
        if state.ended || state.closing || state.refused {
            return Poll::Ready(Err(SessionClosed));
        }
        if state.unacked >= UNACKED_MAX || state.streams.len() >= state.streams_max {
            state.openers.push(cx.waker().clone());
            return Poll::Pending;
        }
        let id = state.next_id;
        let Some(next) = id.checked_add(2) else {
            return Poll::Ready(Err(SessionClosed));
        };
        state.next_id = next;
        state.unacked += 1;
        state.streams.insert(id, Entry::new(false));
        state.send(Kind::WindowUpdate, SYN, id, 0);
        Poll::Ready(Ok(id))
    }

    /// Changes whenever something has come, and with each question while reading pauses.
    pub(super) fn heard(&self) -> u64 {
        let unread = u64::from(self.paused.load(Ordering::Relaxed));
        self.heard.fetch_add(unread, Ordering::Relaxed) + unread
    }

    pub(super) fn is_open(&self) -> bool {
        let state = self.state.lock();
        !(state.ended || state.closing || state.refused)
    }

    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        if !state.closing && !state.ended {
            state.closing = true;
            state.send(Kind::GoAway, 0, 0, 0);
            for opener in state.openers.drain(..) {
                opener.wake();
            }
        }
    }

    // --- for streams ------------------------------------------------------------------------

    pub(super) fn poll_read(
        &self,
        id: u32,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state.lock();
        let ended = state.ended;
        let Some(entry) = state.streams.get_mut(&id) else {
            return Poll::Ready(Ok(()));
        };
        if entry.recv.is_empty() {
            if entry.reset {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if entry.remote_closed || ended {
                return Poll::Ready(Ok(()));
            }
            entry.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = entry.recv.len().min(buf.remaining());
        buf.put_slice(&entry.recv[..len]);
        entry.recv.advance(len);
        if entry.recv.is_empty() {
            // An idle stream holds no buffer.
            entry.recv = BytesMut::new();
        }
        // At most the window, which fits.
        entry.consumed += len as u32;
        if entry.consumed >= WINDOW / 2 && !entry.remote_closed && !ended {
            let credit = std::mem::take(&mut entry.consumed);
            entry.recv_window += credit;
            state.send(Kind::WindowUpdate, 0, id, credit);
        }
        drop(state);
        self.budget.release(len);
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_write(
        &self,
        id: u32,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state.lock();
        if state.ended || state.closing {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        let room = OUT_MAX.saturating_sub(state.out.len() + HEADER_SIZE);
        let taken = state.taken;
        let Some(entry) = state.streams.get_mut(&id) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        if entry.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if entry.local_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if entry.send_window == 0 {
            entry.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if room == 0 {
            state.room.push(cx.waker().clone());
            return Poll::Pending;
        }
        let len = bytes
            .len()
            .min(FRAME_MAX)
            .min(room)
            .min(entry.send_window as usize);
        // At most FRAME_MAX, which fits.
        entry.send_window -= len as u32;
        entry.queued = taken;
        state.send(Kind::Data, 0, id, len as u32);
        state.out.extend_from_slice(&bytes[..len]);
        Poll::Ready(Ok(len))
    }

    /// True if what was written last on a stream may have reached the peer.
    pub(super) fn was_sent(&self, id: u32) -> bool {
        let state = self.state.lock();
        let entry = state.streams.get(&id);
        entry.is_none_or(|entry| entry.queued < state.taken)
    }

    /// Resolves once the peer sends no more on a stream.
    pub(super) fn poll_hung_up(&self, id: u32, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        let ended = state.ended;
        match state.streams.get_mut(&id) {
            Some(entry) if !entry.remote_closed && !entry.reset && !ended => {
                entry.watcher = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// True while a stream can carry another exchange.
    pub(super) fn is_usable(&self, id: u32) -> bool {
        let state = self.state.lock();
        !state.ended
            && !state.closing
            && state.streams.get(&id).is_some_and(|entry| {
                !entry.remote_closed && !entry.local_closed && !entry.reset && entry.recv.is_empty()
            })
    }

    /// Sends FIN, once.
    pub(super) fn shutdown(&self, id: u32) {
        let mut state = self.state.lock();
        if state.ended {
            return;
        }
        if let Some(entry) = state.streams.get_mut(&id)
            && !entry.local_closed
            && !entry.reset
        {
            entry.local_closed = true;
            state.fin(id);
        }
    }

    /// The holder of a stream is gone. `clean`: nothing is under way on it, so that a FIN ends it; else it is reset.
    pub(super) fn abandon(&self, id: u32, clean: bool) {
        let mut state = self.state.lock();
        let ended = state.ended;
        let Some(entry) = state.streams.get_mut(&id) else {
            return;
        };
        if ended || entry.reset || (entry.remote_closed && entry.local_closed) {
            state.remove(id, &self.budget);
        } else if entry.remote_closed {
            state.fin(id);
            state.remove(id, &self.budget);
        } else if clean && entry.recv.is_empty() {
            entry.orphan = Some(0);
            if !entry.local_closed {
                entry.local_closed = true;
                state.fin(id);
            }
        } else {
            state.reset(id);
            state.remove(id, &self.budget);
        }
    }

    /// Streams that are known, dropped ones included.
    #[cfg(test)]
    pub(super) fn stream_count(&self) -> usize {
        self.state.lock().streams.len()
    }
}
