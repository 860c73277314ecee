//! What the fuzz targets share: the frame of a target, a bound on memory, and seeds out of captured messages.
//!
//! A target is a program `src/bin/<name>.rs` that calls [`target!`] with what to do with some bytes, how much memory
//! that may take, and inputs to begin with. It fails by panicking: on a bug, on a broken promise (what it decoded does
//! not survive encoding), or when one input makes it hold more memory than it may.
//!
//! How to run them: README.md.

mod meter;
pub mod records;
mod seeds;

pub use libfuzzer_sys;
pub use meter::{Meter, bounded, lift_on_panic};
pub use seeds::{gossip, rpc_messages, unhex, vectors, write_and_exit};

/// Declares a target: `target! { memory: MIB, seeds: FN, run: FN }`.
///
/// `seeds: fn() -> Vec<Vec<u8>>` gives inputs to begin with; they are written where the variable
/// `TRIBUNE_FUZZ_SEEDS` points, instead of fuzzing. `run: fn(&[u8])` panics if something is wrong. `memory` bounds how
/// much more may be held at any moment of one `run`.
#[macro_export]
macro_rules! target {
    (memory: $mib:literal, seeds: $seeds:expr, run: $run:expr $(,)?) => {
        #[global_allocator]
        static METER: $crate::Meter = $crate::Meter;

        $crate::libfuzzer_sys::fuzz_target!(
            init: {
                $crate::write_and_exit($seeds);
                $crate::lift_on_panic();
            },
            |bytes: &[u8]| $crate::bounded($mib << 20, || $run(bytes))
        );
    };
}
