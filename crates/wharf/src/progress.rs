//! How far long work is: a bar on a terminal, nothing anywhere else.

use indicatif::{ProgressBar, ProgressStyle};

/// What it looks like.
const TEMPLATE: &str = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";

/// How many characters stand before the bar at most.
const MESSAGE_MAX: usize = 40;

/// A bar that counts bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Nothing of `total_bytes` has been done. The bar is on standard error.
    pub(crate) fn new(doing: &'static str, total_bytes: u64) -> Self {
        let bar = ProgressBar::new(total_bytes).with_message(doing);
        let style = ProgressStyle::with_template(TEMPLATE);
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    /// There is so much more to be done.
    pub(crate) fn expect(&self, bytes: u64) {
        self.0.inc_length(bytes);
    }

    /// Says in place of what is being done what was done last; cut to what leaves room for the bar.
    pub(crate) fn show(&self, doing: &str) {
        self.0.set_message(doing.chars().take(MESSAGE_MAX).collect::<String>());
    }

    /// Prints a line to standard error, without disturbing the bar.
    pub(crate) fn say(&self, line: &str) {
        self.0.suspend(|| anstream::eprintln!("{line}"));
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

#[cfg(test)]
mod tests {
    use indicatif::ProgressStyle;

    use super::TEMPLATE;

    #[test]
    fn the_bar_says_how_much_how_fast_and_how_long() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
        for part in ["{binary_bytes}", "{binary_total_bytes}", "{binary_bytes_per_sec}", "{eta}"] {
            assert!(TEMPLATE.contains(part), "{part}");
        }
    }
}
