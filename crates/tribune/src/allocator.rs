//! The allocator of the release binary: jemalloc, set up for few threads and many small connections.
//!
//! Two arenas and small thread caches keep parked connections cheap; freed pages go back to the system after a second.

#![allow(
    unsafe_code,
    reason = "an exported symbol is how jemalloc takes its compiled-in settings"
)]

use std::ptr::null_mut;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A pointer to a constant string, which is what jemalloc reads.
#[repr(transparent)]
struct Settings(*const u8);

// SAFETY: the pointer is to constant data that is never written.
unsafe impl Sync for Settings {}

/// Read by jemalloc before the first allocation.
// SAFETY: the name is jemalloc's own for this purpose, and the value has the type it reads: a C string pointer.
#[unsafe(export_name = "_rjem_malloc_conf")]
static SETTINGS: Settings = Settings(
    c"narenas:2,tcache_max:4096,dirty_decay_ms:1000,muzzy_decay_ms:0"
        .as_ptr()
        .cast(),
);

/// Arena number that stands for all arenas (jemalloc's `MALLCTL_ARENAS_ALL`).
const PURGE_ALL: &std::ffi::CStr = c"arena.4096.purge";

/// Returns freed memory to the system now: without activity nothing else would.
pub(crate) fn give_back() {
    // SAFETY: the name is a constant C string and this control takes and gives no value.
    unsafe {
        tikv_jemalloc_sys::mallctl(PURGE_ALL.as_ptr(), null_mut(), null_mut(), null_mut(), 0)
    };
}
