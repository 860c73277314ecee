//! Giving back what only the start needed.
//!
//! Starting reads configuration, builds tables and maps most of the program's 17 MB; an idle agent runs a small part of it.
//! Dropping the mapped code once costs a few page faults later and leaves resident only what is used.
//!
//! A page fault maps not one page of a file but all of its neighbours within 64 KiB that the kernel has at hand, so code
//! that is used here and there makes most of the program resident again. The kernel does not look beyond the limits of a
//! mapping: before it is dropped, the code is divided into mappings of a few pages, which differ only in whether they are
//! part of core dumps.

#![allow(unsafe_code, reason = "madvise is a raw system call on address ranges")]

use std::ops::Range;
use std::time::Duration;

use rustix::mm::Advice;
use tracing::debug;
use tribune_rt::Env;

/// How long after the start: the first election and registrations are over by then.
const AFTER: Duration = Duration::from_secs(5);

/// Gives back freed memory and start-up code once the agent has settled.
pub(crate) async fn settle(env: Env) {
    env.sleep(AFTER).await;
    #[cfg(feature = "jemalloc")]
    crate::allocator::give_back();
    drop_startup_code();
}

/// Bytes of a mapping after the division: a multiple of the page size of all common systems.
const DIVISION: usize = 16 * 1024;

/// Drops pages of program files from the resident set; those in use come back at their next use.
fn drop_startup_code() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/smaps") else {
        return;
    };
    for range in clean_files(&maps) {
        if let Err(err) = divide(&range) {
            debug!(%err, "code is not divided");
        }
        if let Err(err) = advise(&range, Advice::LinuxDontNeed) {
            debug!(%err, "pages of start-up code stay resident");
        }
    }
}

/// Makes mappings of [`DIVISION`] bytes of one mapping, by giving every other one a property of its own.
fn divide(range: &Range<usize>) -> rustix::io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let end = (at + DIVISION).min(range.end);
        advise(&(at..end), Advice::LinuxDontDump)?;
        at += 2 * DIVISION;
    }
    Ok(())
}

fn advise(range: &Range<usize>, advice: Advice) -> rustix::io::Result<()> {
    let start = range.start as *mut std::ffi::c_void;
    // SAFETY: the range is part of a private, read-only mapping of a file without pages of its own, as the kernel lists
    // it. Its pages are copies of the file, so the kernel reads them again from the file when they are next used; nothing
    // in this process writes to code or constants.
    unsafe { rustix::mm::madvise(start, range.len(), advice) }
}

/// Read-only mappings of files that hold nothing but the file: no relocated constants, which exist in memory only.
fn clean_files(smaps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(range) = file_range(line) {
            candidate = range;
        } else if let Some(own) = line.strip_prefix("Anonymous:") {
            found.extend(candidate.take().filter(|_| own.trim() == "0 kB"));
        }
    }
    found
}

/// `None` if the line does not begin a mapping; the addresses of one that is a read-only file.
fn file_range(line: &str) -> Option<Option<Range<usize>>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let parse = |text| usize::from_str_radix(text, 16).ok();
    let range = parse(start)?..parse(end)?;
    let permissions = fields.next()?;
    // Offset, device, inode, path.
    let path = fields.nth(3).unwrap_or_default();
    let read_only = permissions == "r-xp" || permissions == "r--p";
    Some((read_only && path.starts_with('/')).then_some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_read_only_files_without_pages_of_their_own_are_chosen() {
        // (first line of a mapping, memory of its own, chosen)
        for (line, own, chosen) in [
            ("1000-3000 r-xp 00001000 fe:00 42 /usr/bin/tribune", 0, true),
            ("1000-3000 r--p 00001000 fe:00 42 /usr/bin/tribune", 0, true),
            (
                "1000-3000 r-xp 00001000 fe:00 42 /usr/lib/libc.so.6",
                0,
                true,
            ),
            (
                "1000-3000 r--p 00001000 fe:00 42 /usr/bin/tribune",
                4,
                false,
            ),
            (
                "1000-3000 rw-p 00001000 fe:00 42 /usr/bin/tribune",
                0,
                false,
            ),
            (
                "1000-3000 r--s 00001000 fe:00 42 /usr/bin/tribune",
                0,
                false,
            ),
            ("1000-3000 r--p 00000000 00:00 0", 0, false),
            ("1000-3000 r-xp 00000000 00:00 0 [vdso]", 0, false),
            ("1000-3000 --xp 00000000 00:00 0 [vsyscall]", 0, false),
            ("garbage", 0, false),
        ] {
            let smaps = format!("{line}\nSize: 8 kB\nAnonymous: {own:>9} kB\nVmFlags: rd\n");
            let want: Vec<_> = chosen.then_some(0x1000..0x3000).into_iter().collect();
            assert_eq!(clean_files(&smaps), want, "{line} {own}");
        }
    }

    #[test]
    fn code_runs_on_after_its_pages_were_dropped() {
        drop_startup_code();
        assert_eq!("7".parse::<u8>(), Ok(7));
    }
}
