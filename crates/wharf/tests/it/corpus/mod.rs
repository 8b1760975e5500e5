//! The raw-HTTP corpus: 147 cases, byte for byte over a real socket.
//!
//! The cases are text (`*.txt`, notation in `table`), a file for each block of the protocol checklist's Annex C. Every
//! block has a fresh server and plays from top to bottom; its state carries over from case to case. Every reply is also
//! held against the rules for all replies (`rules`), and every GET is repeated as HEAD.

mod hand;
mod play;
mod rules;
mod table;
mod world;

use std::collections::BTreeSet;

use play::play;
use table::Block;

/// Every block, in the order of the checklist.
const BLOCKS: [(&str, &str); 13] = [
    ("base", include_str!("base.txt")),
    ("upload", include_str!("upload.txt")),
    ("chunks", include_str!("chunks.txt")),
    ("mount", include_str!("mount.txt")),
    ("reads", include_str!("reads.txt")),
    ("manifests", include_str!("manifests.txt")),
    ("referrers", include_str!("referrers.txt")),
    ("tags", include_str!("tags.txt")),
    ("delete", include_str!("delete.txt")),
    ("delete_tags", include_str!("delete_tags.txt")),
    ("auth", include_str!("auth.txt")),
    ("routing", include_str!("routing.txt")),
    ("rate", include_str!("rate.txt")),
];

macro_rules! block {
    ($($name:ident)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                play(include_str!(concat!(stringify!($name), ".txt"))).await;
            }
        )*
    };
}

block!(base upload chunks mount reads manifests referrers tags delete delete_tags auth routing rate proxy);

#[test]
fn the_table_has_every_case_once() {
    let cases: Vec<_> = BLOCKS.iter().flat_map(|(_, text)| Block::parse(text).cases).collect();
    let cases: Vec<_> = cases.iter().filter(|case| case.id != "setup").collect();
    let ids: BTreeSet<_> = cases.iter().map(|case| case.id.clone()).collect();
    let expected: BTreeSet<_> = (1..=147).map(|number| format!("C-{number:03}")).collect();
    assert_eq!(ids, expected);
    assert_eq!(cases.len(), 147, "a case is there twice");
}
