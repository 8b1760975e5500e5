//! How far long work is: a bar on a terminal, nothing anywhere else.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Nothing of `total_bytes` has been done. The bar is on standard error.
    pub(crate) fn new(doing: &'static str, total_bytes: u64) -> Self {
        let bar = ProgressBar::new(total_bytes).with_message(doing);
        let style = ProgressStyle::with_template("{msg} {wide_bar} {binary_bytes}/{binary_total_bytes}, {eta} left");
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    /// So much more has been done.
    pub(crate) fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// All has been done; the line is free again.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
