//! One prefix of a source, read once for all flows that mirror it to different destinations.
//!
//! In: flows that want a listing unlike the one of an index they have seen. Out: for each the listing, in pieces as it is
//! read, or that nothing changed. A thread waits with one blocking query for all that ask; what comes is handed to all of
//! them at the pace of the slowest.
//!
//! Nobody holds the others up for long. A flow whose destination is down asks for nothing and is not waited for. One that
//! cost the others more than [`HOLD_UP_MAX`] within a listing is left behind: its reader breaks off, and it reads by
//! itself. So does one that starts from the beginning, or has not seen what the others have, while they wait for a change.
//!
//! Memory: [`PIECES_MAX`] pieces of [`PIECE_SIZE`] for each flow; flows in step share them.

use std::{
    io::{self, Read},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

use crate::{
    flow::POLL,
    host,
    source::{Answer, AskError},
};

/// Most bytes handed out at once.
const PIECE_SIZE: usize = 64 << 10;
/// Pieces that a flow may be behind.
const PIECES_MAX: usize = 16;
/// How long one flow may hold the others up within a listing.
const HOLD_UP_MAX: Duration = Duration::from_secs(10);
/// How long those who ask first wait for the others.
const GATHER: Duration = Duration::from_millis(100);
/// How often a wait looks for a stop.
const STOP_LOOK: Duration = Duration::from_millis(50);
/// Pause between two tries to hand a piece over.
const HAND_PAUSE: Duration = Duration::from_millis(1);

/// What a look at the source gave.
pub(crate) enum Seen {
    /// A listing unlike the one that was seen.
    Listing(Answer),
    /// It did not change.
    Nothing {
        /// That was said before the wait was over.
        early: bool,
    },
}

/// The reading of one prefix. Its thread calls [`Feed::run`].
pub(crate) struct Feed {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Flows there are.
    seats: usize,
    /// The thread waits for the source, or hands a listing out.
    busy: bool,
    /// While it waits: for a listing unlike the one of this index.
    asked: Option<u64>,
    wants: Vec<Want>,
}

/// A flow that asks.
struct Want {
    /// What it has seen; 0 for nothing.
    index: u64,
    answer: SyncSender<Result<Seen, Arc<AskError>>>,
}

/// A flow's place at a feed.
pub(crate) struct Seat(Arc<Feed>);

impl Feed {
    /// A feed that ends when nobody sits there any more.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                seats: 0,
                busy: false,
                asked: None,
                wants: Vec::new(),
            }),
            changed: Condvar::new(),
        })
    }

    /// A place for one more flow.
    pub(crate) fn seat(self: &Arc<Self>) -> Seat {
        self.lock().seats += 1;
        Seat(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves the flows until there are none, or a stop. `ask` waits for a listing unlike the one of an index.
    pub(crate) fn run(&self, ask: impl Fn(u64) -> Result<Answer, AskError>, stop: &AtomicBool) {
        while let Some(mut wants) = self.gather(stop) {
            let oldest = oldest(&wants);
            let asked = host::now();
            let answer = match ask(oldest) {
                Ok(answer) => answer,
                Err(e) => {
                    let error = Arc::new(e);
                    for want in wants {
                        want.tell(Err(error.clone()));
                    }
                    continue;
                }
            };
            let is_old = answer.index == oldest && oldest != 0;
            let early = asked.elapsed() < POLL;
            if is_old {
                let (same, newer): (Vec<_>, Vec<_>) =
                    { wants.into_iter() }.partition(|want| want.index == oldest);
                for want in same {
                    want.tell(Ok(Seen::Nothing { early }));
                }
                wants = newer;
            }
            // Those who came while it was waited for have waited less: they learn only what is new to them.
            {
                let mut state = self.lock();
                state.asked = None;
                wants.append(&mut state.wants);
            }
            let is_news = |want: &Want| want.index == 0 || want.index != answer.index;
            let (guests, rest): (Vec<_>, Vec<_>) = wants.into_iter().partition(is_news);
            self.lock().wants.extend(rest);
            serve(answer, guests, stop);
        }
    }

    /// Those who ask, as soon as somebody does; `None` at the end.
    fn gather(&self, stop: &AtomicBool) -> Option<Vec<Want>> {
        let mut state = self.lock();
        (state.busy, state.asked) = (false, None);
        loop {
            if state.seats == 0 || stop.load(Relaxed) {
                // Whoever still asks reads by itself.
                state.busy = true;
                state.wants.clear();
                return None;
            }
            if !state.wants.is_empty() {
                break;
            }
            let waited = self.changed.wait_timeout(state, STOP_LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.wants.len() < state.seats {
            drop(state);
            host::sleep(GATHER);
            state = self.lock();
        }
        state.busy = true;
        state.asked = Some(oldest(&state.wants));
        Some(std::mem::take(&mut state.wants))
    }
}

/// The index of the flow that has seen least.
fn oldest(wants: &[Want]) -> u64 {
    wants.iter().map(|want| want.index).min().unwrap_or(0)
}

impl Want {
    fn tell(&self, answer: Result<Seen, Arc<AskError>>) {
        // It may have given up.
        let _ = self.answer.try_send(answer);
    }
}

impl Seat {
    /// Waits for a listing unlike the one of `index` (0: any). `None`: the caller shall ask by itself.
    pub(crate) fn look(&self, index: u64, stop: &AtomicBool) -> Option<Result<Seen, AskError>> {
        let (answer, inbox) = sync_channel(1);
        {
            let mut state = self.0.lock();
            // What is new to it does not end a wait for what is new to all others.
            let is_late = state.asked.is_some_and(|asked| index < asked);
            if state.busy && (index == 0 || is_late) {
                return None;
            }
            state.wants.push(Want { index, answer });
        }
        self.0.changed.notify_all();
        loop {
            match inbox.recv_timeout(STOP_LOOK) {
                Ok(answer) => return Some(answer.map_err(AskError::Shared)),
                Err(RecvTimeoutError::Timeout) if stop.load(Relaxed) => {
                    return Some(Err(AskError::Stopped));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.lock().seats -= 1;
        self.0.changed.notify_all();
    }
}

/// Hands a listing to all that asked.
fn serve(mut answer: Answer, guests: Vec<Want>, stop: &AtomicBool) {
    if let [one] = &guests[..] {
        // Nobody else has to be thought of.
        one.tell(Ok(Seen::Listing(answer)));
        return;
    }
    let body = answer.body.take();
    let has_body = body.is_some();
    let mut fed = Vec::new();
    for guest in guests {
        let (queue, inbox) = sync_channel(PIECES_MAX);
        let behind = Arc::new(AtomicBool::new(false));
        let reader = || Box::new(Pieces::new(inbox)) as Box<dyn Read + Send>;
        guest.tell(Ok(Seen::Listing(Answer {
            index: answer.index,
            age: answer.age,
            body: has_body.then(reader),
            behind: Some(behind.clone()),
        })));
        fed.push(Fed {
            queue,
            behind,
            held_up: Duration::ZERO,
        });
    }
    if let Some(body) = body {
        pump(body, fed, stop);
    }
}

/// A part of a listing.
#[derive(Clone)]
enum Piece {
    Bytes(Arc<[u8]>),
    End,
    Broken(Arc<str>),
}

/// A flow that a listing is handed to.
struct Fed {
    queue: SyncSender<Piece>,
    behind: Arc<AtomicBool>,
    /// How long the others waited for it.
    held_up: Duration,
}

/// Reads `body` to its end, or until nobody listens.
fn pump(mut body: impl Read, mut fed: Vec<Fed>, stop: &AtomicBool) {
    let mut buffer = vec![0; PIECE_SIZE];
    while !fed.is_empty() {
        let piece = match body.read(&mut buffer) {
            Ok(0) => Piece::End,
            Ok(count) => Piece::Bytes(Arc::from(&buffer[..count])),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => Piece::Broken(Arc::from(e.to_string())),
        };
        let is_last = !matches!(piece, Piece::Bytes(_));
        let is_alone = fed.len() == 1;
        fed.retain_mut(|flow| flow.hand(&piece, is_alone, stop));
        if is_last {
            return;
        }
    }
}

impl Fed {
    /// Hands a piece over; false if that was the last for this flow.
    fn hand(&mut self, piece: &Piece, is_alone: bool, stop: &AtomicBool) -> bool {
        let start = host::now();
        let mut piece = piece.clone();
        loop {
            match self.queue.try_send(piece) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) => piece = back,
            }
            let is_behind = !is_alone && self.held_up + start.elapsed() > HOLD_UP_MAX;
            if is_behind {
                self.behind.store(true, Relaxed);
            }
            if is_behind || stop.load(Relaxed) {
                return false;
            }
            host::sleep(HAND_PAUSE);
        }
        self.held_up += start.elapsed();
        true
    }
}

/// A flow's end of a listing that is handed out.
struct Pieces {
    inbox: Receiver<Piece>,
    piece: Arc<[u8]>,
    at: usize,
    ended: bool,
}

impl Pieces {
    fn new(inbox: Receiver<Piece>) -> Self {
        Self {
            inbox,
            piece: Arc::from([]),
            at: 0,
            ended: false,
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            if self.ended {
                return Ok(0);
            }
            match self.inbox.recv() {
                Ok(Piece::Bytes(bytes)) => (self.piece, self.at) = (bytes, 0),
                Ok(Piece::End) => self.ended = true,
                Ok(Piece::Broken(why)) => return Err(io::Error::other(&*why)),
                Err(_) => return Err(io::Error::other("the others went ahead")),
            }
        }
        let count = out.len().min(self.piece.len() - self.at);
        out[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, thread};

    use super::*;

    const INDEX: u64 = 7;

    /// A source whose listing has a length; every ask but the first waits for a change that never comes.
    struct Source {
        asked: AtomicUsize,
        body: Option<usize>,
    }

    impl Source {
        fn new(body: Option<usize>) -> Self {
            let asked = AtomicUsize::new(0);
            Self { asked, body }
        }

        fn ask(&self, index: u64) -> Result<Answer, AskError> {
            self.asked.fetch_add(1, Relaxed);
            if index == INDEX {
                host::sleep(GATHER * 2);
            }
            Ok(Answer {
                index: INDEX,
                age: Duration::ZERO,
                body: { self.body }.map(|size| Box::new(io::repeat(b'x').take(size as u64)) as _),
                behind: None,
            })
        }
    }

    fn listing(seen: Option<Result<Seen, AskError>>) -> Answer {
        match seen {
            Some(Ok(Seen::Listing(answer))) => answer,
            Some(Ok(Seen::Nothing { early })) => panic!("nothing, early: {early}"),
            Some(Err(e)) => panic!("{e}"),
            None => panic!("sent away"),
        }
    }

    fn read_all(answer: Answer) -> io::Result<usize> {
        let mut bytes = Vec::new();
        match answer.body {
            None => Ok(0),
            Some(mut body) => body.read_to_end(&mut bytes),
        }
    }

    type Steps<'a> = Box<dyn FnOnce(&Seat) + Send + 'a>;

    /// Runs `flows`, each with a seat, beside the thread of a feed that asks `source`.
    fn run(source: &Source, flows: Vec<Steps<'_>>) {
        let (feed, stop) = (Feed::new(), AtomicBool::new(false));
        let seats: Vec<Seat> = flows.iter().map(|_| feed.seat()).collect();
        thread::scope(|scope| {
            scope.spawn(|| feed.run(|index| source.ask(index), &stop));
            for (flow, seat) in flows.into_iter().zip(seats) {
                scope.spawn(move || flow(&seat));
            }
        });
    }

    #[test]
    fn all_that_ask_get_the_whole_listing_of_one_question() {
        for size in [
            None,
            Some(0),
            Some(1),
            Some(PIECE_SIZE * (PIECES_MAX * 3) + 5),
        ] {
            let source = Source::new(size);
            let go = AtomicBool::new(false);
            let flow = || -> Steps<'_> {
                Box::new(|seat| {
                    let answer = listing(seat.look(0, &go));
                    assert_eq!(answer.index, INDEX);
                    assert_eq!(read_all(answer).unwrap(), size.unwrap_or(0));
                })
            };
            run(&source, vec![flow(), flow(), flow()]);
            assert_eq!(source.asked.load(Relaxed), 1, "{size:?}");
        }
    }

    #[test]
    fn who_has_seen_the_listing_hears_that_nothing_changed() {
        let source = Source::new(Some(10));
        let stop = AtomicBool::new(false);
        let is_early = |seat: &Seat| match seat.look(INDEX, &stop) {
            Some(Ok(Seen::Nothing { early })) => assert!(early, "long before the wait is over"),
            _ => panic!("something else"),
        };
        run(&source, vec![Box::new(is_early), Box::new(is_early)]);
    }

    #[test]
    fn who_starts_or_is_late_while_the_others_wait_reads_by_itself() {
        for seen in [0, INDEX - 1] {
            let source = Source::new(Some(10));
            let stop = AtomicBool::new(false);
            let waits = |seat: &Seat| {
                assert!(matches!(
                    seat.look(INDEX, &stop),
                    Some(Ok(Seen::Nothing { .. }))
                ));
            };
            let comes = |seat: &Seat| {
                while source.asked.load(Relaxed) == 0 {
                    host::sleep(HAND_PAUSE);
                }
                assert!(seat.look(seen, &stop).is_none(), "{seen}");
            };
            run(&source, vec![Box::new(waits), Box::new(comes)]);
        }
    }

    #[test]
    fn an_error_reaches_all_that_asked() {
        let (feed, stop) = (Feed::new(), AtomicBool::new(false));
        let seats = [feed.seat(), feed.seat()];
        thread::scope(|scope| {
            scope.spawn(|| feed.run(|_| Err(AskError::NoLeader), &stop));
            for seat in seats {
                let stop = &stop;
                scope.spawn(move || {
                    let Some(Err(e)) = seat.look(0, stop) else {
                        panic!("no error");
                    };
                    assert_eq!(e.to_string(), AskError::NoLeader.to_string());
                });
            }
        });
    }

    #[test]
    fn a_body_that_breaks_off_breaks_off_for_all() {
        struct Breaks(bool);
        impl Read for Breaks {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                match std::mem::replace(&mut self.0, true) {
                    false => Ok(out.len().min(5)),
                    true => Err(io::Error::other("cut")),
                }
            }
        }
        let stop = AtomicBool::new(false);
        let (fed, readers) = guests(2);
        pump(Breaks(false), fed, &stop);
        for mut reader in readers {
            let mut bytes = Vec::new();
            let broken = reader.read_to_end(&mut bytes).unwrap_err();
            assert_eq!((bytes.len(), broken.to_string().as_str()), (5, "cut"));
        }
    }

    fn guests(count: usize) -> (Vec<Fed>, Vec<Pieces>) {
        let guest = |_| {
            let (queue, inbox) = sync_channel(PIECES_MAX);
            let fed = Fed {
                queue,
                behind: Arc::default(),
                held_up: Duration::ZERO,
            };
            (fed, Pieces::new(inbox))
        };
        (0..count).map(guest).unzip()
    }

    #[test]
    fn one_that_stands_still_is_left_behind_and_the_others_get_all() {
        let stop = AtomicBool::new(false);
        let (mut fed, mut readers) = guests(3);
        let size = PIECE_SIZE * PIECES_MAX * 4;
        // As if it had held them up for long already.
        fed[1].held_up = HOLD_UP_MAX - Duration::from_millis(50);
        let behind = fed[1].behind.clone();
        let mut still = readers.remove(1);
        thread::scope(|scope| {
            scope.spawn(|| pump(io::repeat(b'x').take(size as u64), fed, &stop));
            for mut reader in readers {
                scope.spawn(move || {
                    let mut bytes = Vec::new();
                    assert_eq!(reader.read_to_end(&mut bytes).unwrap(), size);
                });
            }
        });
        assert!(behind.load(Relaxed));
        // It got what was on its way, and no end.
        let mut bytes = Vec::new();
        assert!(still.read_to_end(&mut bytes).is_err());
        assert_eq!(bytes.len(), PIECE_SIZE * PIECES_MAX);
    }

    #[test]
    fn who_gives_up_is_not_waited_for() {
        let stop = AtomicBool::new(false);
        let (fed, mut readers) = guests(2);
        drop(readers.pop());
        let size = PIECE_SIZE * PIECES_MAX * 2;
        thread::scope(|scope| {
            scope.spawn(|| pump(io::repeat(b'x').take(size as u64), fed, &stop));
            let mut bytes = Vec::new();
            assert_eq!(readers[0].read_to_end(&mut bytes).unwrap(), size);
        });
    }
}
