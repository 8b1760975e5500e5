//! How many instructions the things cost that requests are made of, compared with what is written down in `kernels.txt`.
//!
//! valgrind counts them, so nothing else that the machine does is among them. It does not know `openat2`, without which no store is
//! opened; so it does not run the server but `examples/kernels.rs`. `cargo build --release -p wharf --example kernels` builds that;
//! `cargo test --test it` does not. When something costs more for a good reason, or less, write that down:
//! `CARGO_PROFILE_RELEASE_LTO=thin CARGO_PROFILE_RELEASE_CODEGEN_UNITS=4 WHARF_UPDATE_GUARD=1 cargo test --release -p wharf --test it kernels:: -- --ignored`

use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Table, binary, tools};

/// The names that `examples/kernels.rs` knows, and how often each is done: the less it costs, the more often, so that what differs
/// between two runs in what is made first, by threads that race, is nothing beside it.
const KERNELS: [(&str, u64); 5] = [
    ("parse", 1_000),
    ("evaluate with 200 rules", 10_000),
    ("token check", 10_000),
    ("token check, known", 100_000),
    ("manifest hit", 100_000),
];

const TABLE: Table = Table { file: "kernels.txt", things: "one", counted: "instructions", slack: 200.0 };

#[test]
#[ignore = "wants the release build"]
fn what_requests_are_made_of_costs_no_more_than_is_written_down() {
    TABLE.compare(&KERNELS.map(|(kernel, times)| (kernel, instructions_of_one(kernel, times))));
}

/// What is made first is in both runs, and so not in the difference.
fn instructions_of_one(kernel: &str, times: u64) -> f64 {
    (instructions(kernel, times) - instructions(kernel, 0)) / times as f64
}

/// All instructions of a run.
fn instructions(kernel: &str, times: u64) -> f64 {
    let output = Command::new(tools::find("valgrind"))
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(example())
        .args([kernel, &times.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{kernel}: {said}");
    let count = said.lines().find_map(|line| line.split_once("Collected : ")).expect("a count").1;
    count.trim().parse().expect("a number")
}

/// The program with the kernels, which lies near the server's.
fn example() -> PathBuf {
    let example = binary().parent().expect("a directory").join("examples/kernels");
    let profile = if cfg!(debug_assertions) { "" } else { " --release" };
    assert!(example.is_file(), "examples/kernels is not built; run cargo build{profile} -p wharf --example kernels");
    example
}
