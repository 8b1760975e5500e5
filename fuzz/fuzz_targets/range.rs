//! Ranges parse from what they print, and no selection leaves the blob or asks for more bytes than it has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_oci::{RangeRequest, Selection};

fuzz_target!(|input: (u64, &str)| {
    let (size_bytes, header) = input;
    let request = RangeRequest::parse(header);
    if let RangeRequest::Ranges(ranges) = &request {
        let set: Vec<String> = ranges.iter().map(ToString::to_string).collect();
        assert_eq!(RangeRequest::parse(&format!("bytes={}", set.join(","))), request);
    }
    let parts = match request.resolve(size_bytes) {
        Selection::One(part) => vec![part],
        Selection::Many(parts) => parts,
        Selection::Whole | Selection::Unsatisfiable | Selection::TooMany => return,
    };
    assert!(parts.iter().all(|part| part.start <= part.end && part.end < size_bytes));
    assert!(parts.iter().map(|part| u128::from(part.len())).sum::<u128>() <= u128::from(size_bytes));
});
