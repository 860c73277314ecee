//! Giving back what only the start needed.
//!
//! Starting reads configuration, builds tables and maps most of the program's 17 MB through the kernel's read-ahead; an
//! idle agent runs a small part of it. Dropping the mapped code once costs a few page faults later and leaves resident
//! only what is used.

#![allow(unsafe_code, reason = "madvise is a raw system call on address ranges")]

use std::time::Duration;

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

/// Drops the executable pages of this program from the resident set; those in use come back at their next use.
fn drop_startup_code() {
    let (Ok(maps), Ok(program)) = (
        std::fs::read_to_string("/proc/self/maps"),
        std::env::current_exe(),
    ) else {
        return;
    };
    let program = program.to_string_lossy();
    for range in maps.lines().filter_map(|line| code_range(line, &program)) {
        let start = range.start as *mut std::ffi::c_void;
        // SAFETY: the range is a private, read-only, executable mapping of the program file, as the kernel lists it. Its
        // pages are clean copies of the file (position-independent code has no relocations in it), so the kernel reads
        // them again from the file when they are next used.
        let dropped =
            unsafe { rustix::mm::madvise(start, range.len(), rustix::mm::Advice::LinuxDontNeed) };
        if let Err(err) = dropped {
            debug!(%err, "pages of start-up code stay resident");
        }
    }
}

/// The addresses of a line of the map, if it is code of `program`.
fn code_range(line: &str, program: &str) -> Option<std::ops::Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (range, permissions) = (fields.next()?, fields.next()?);
    if permissions != "r-xp" || fields.nth(3) != Some(program) || fields.next().is_some() {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let parse = |text| usize::from_str_radix(text, 16).ok();
    Some(parse(start)?..parse(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_the_program_is_chosen() {
        let program = "/usr/bin/tribune";
        // (line of the map, chosen)
        for (line, chosen) in [
            ("1000-3000 r-xp 00001000 fe:00 42 /usr/bin/tribune", true),
            ("1000-3000 r--p 00001000 fe:00 42 /usr/bin/tribune", false),
            ("1000-3000 rw-p 00001000 fe:00 42 /usr/bin/tribune", false),
            ("1000-3000 r-xp 00001000 fe:00 42 /usr/lib/libc.so.6", false),
            (
                "1000-3000 r-xp 00001000 fe:00 42 /usr/bin/tribune (deleted)",
                false,
            ),
            (
                "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]",
                false,
            ),
            ("garbage", false),
        ] {
            assert_eq!(code_range(line, program).is_some(), chosen, "{line}");
        }
        assert_eq!(
            code_range("1000-3000 r-xp 00001000 fe:00 42 /usr/bin/tribune", program),
            Some(0x1000..0x3000)
        );
    }

    #[test]
    fn code_runs_on_after_its_pages_were_dropped() {
        drop_startup_code();
        assert_eq!("7".parse::<u8>(), Ok(7));
    }
}
