//! Messages of consensus between servers: requests, answers, and headers of snapshots, whose checksum is made right.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_raft::fuzzing::{check_message, sample_messages};

tribune_fuzz::target! { memory: 16, seeds: sample_messages, run: check_message }
