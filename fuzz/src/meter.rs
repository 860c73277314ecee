//! A bound on the memory that one input may take.
//!
//! libFuzzer's own limit looks at the size of the process once a second, and its limit per allocation works only with a
//! sanitizer. This allocator counts bytes in use and panics at the allocation that goes beyond.

#![allow(
    unsafe_code,
    reason = "an allocator that counts and passes everything on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The system's allocator with a count.
#[derive(Debug)]
pub struct Meter;

static USED: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Runs `run`, which may hold up to `size_max` bytes more than were in use before.
pub fn bounded(size_max: usize, run: impl FnOnce()) {
    LIMIT.store(USED.load(Relaxed).saturating_add(size_max), Relaxed);
    run();
    LIMIT.store(usize::MAX, Relaxed);
}

/// Lets a panic report what it wants, whatever memory that takes. Call it once, before the first run.
pub fn lift_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        LIMIT.store(usize::MAX, Relaxed);
        report(info);
    }));
}

fn add(size: usize) {
    let used = USED.fetch_add(size, Relaxed).saturating_add(size);
    if used > LIMIT.load(Relaxed) {
        // The message allocates too. The hook of libFuzzer ends the process before anything unwinds.
        LIMIT.store(usize::MAX, Relaxed);
        panic!("an allocation of {size} bytes goes beyond the memory that an input may take");
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as promised by our caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as promised by our caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as promised by our caller.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as promised by our caller.
        unsafe { System.dealloc(old, layout) }
    }
}
