//! The range of a chunk parses from what it prints, in every form that is accepted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_oci::ContentRange;

fuzz_target!(|text: &str| {
    let Ok(range) = text.parse::<ContentRange>() else { return };
    assert!(range.len_bytes() >= 1 && range.len_bytes() - 1 == range.end - range.start);
    for form in [range.to_string(), format!("bytes {range}"), format!("bytes {range}/*"), format!("bytes={range}")] {
        assert_eq!(form.parse(), Ok(range), "{form}");
    }
});
