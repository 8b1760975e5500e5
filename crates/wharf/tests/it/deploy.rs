//! What is in `deploy/` and `scripts/image`, used as its users use it.
//!
//! `WHARF_UPDATE_DOCS=1` writes what a test compares with anew.

mod chart;
mod image;
mod nginx;
mod reference;
mod systemd;

use std::path::{Path, PathBuf};

use crate::harness::{Tool, binary};

/// The binary, which sees no other variables than these.
fn wharf(variables: &[(&str, &str)]) -> Tool {
    let tool = Tool::new("env").arg("--ignore-environment");
    variables.iter().fold(tool, |tool, (name, value)| tool.arg(format!("{name}={value}"))).arg(binary())
}

/// A file of the repository.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

#[track_caller]
fn read(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// `made` is what stands in the file; or is written there, if that is wanted.
#[track_caller]
fn compare(name: &str, made: &str) {
    if std::env::var_os("WHARF_UPDATE_DOCS").is_some() {
        return std::fs::write(file(name), made).unwrap();
    }
    let there = read(name);
    let differs = there.lines().zip(made.lines()).position(|(there, made)| there != made);
    let line = differs.unwrap_or_else(|| there.lines().count().min(made.lines().count())) + 1;
    assert!(there == made, "{name}:{line} is not what it should be; look, then run this test with WHARF_UPDATE_DOCS=1");
}
