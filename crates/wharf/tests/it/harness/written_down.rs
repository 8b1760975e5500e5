//! What things cost, compared with what is written down in a table beside the tests. Such a table is for counts, which
//! repeat on a noisy machine where times do not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How much more a thing may cost than what is written down.
const MARGIN: f64 = 1.25;

/// Where the counts begin in a line.
const COLUMN: usize = 24;

/// A table in `tests/it`.
pub struct Table {
    /// The name of its file.
    pub file: &'static str,
    /// What is counted of.
    pub things: &'static str,
    /// What is counted.
    pub counted: &'static str,
    /// How many more than what is written down are nothing to speak of, even where that is more than the margin.
    pub slack: f64,
}

impl Table {
    /// Compares each thing's count with its line; with `WHARF_UPDATE_GUARD` set, writes the table anew instead.
    ///
    /// # Panics
    ///
    /// When a thing costs more than its line and the margin allow, or has no line.
    pub fn compare(&self, found: &[(&str, f64)]) {
        let text = self.written(found);
        println!("{text}");
        if std::env::var_os("WHARF_UPDATE_GUARD").is_some() {
            std::fs::write(self.path(), text).unwrap();
            return;
        }
        let known = read(&std::fs::read_to_string(self.path()).expect(self.file));
        for &(thing, count) in found {
            let known = known.get(thing).unwrap_or_else(|| panic!("{} has no line for {thing:?}", self.file));
            let most = (known * MARGIN).max(known + self.slack);
            assert!(count <= most, "{thing}: {count:.1} {}; {known:.1} are written down", self.counted);
        }
    }

    fn path(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(self.file)
    }

    fn written(&self, found: &[(&str, f64)]) -> String {
        let mut text = format!("{:<COLUMN$}{:>14}\n", format!("# {}", self.things), self.counted);
        for (thing, count) in found {
            text += &format!("{thing:<COLUMN$}{count:>14.1}\n");
        }
        text
    }
}

fn read(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (thing, count) = line.split_at(COLUMN);
            (thing.trim().to_owned(), count.trim().parse().expect("a number"))
        })
        .collect()
}
