use proptest::prelude::*;

use crate::{ByteRange, RangeRequest, RangeSpec, Selection};

const SIZE: u64 = 2048;

fn select(header: &str, size_bytes: u64) -> Selection {
    RangeRequest::parse(header).resolve(size_bytes)
}

#[track_caller]
fn check(header: &str, expected: &str) {
    let shown = match select(header, SIZE) {
        Selection::Whole => "whole".to_owned(),
        Selection::One(part) => part.to_string(),
        Selection::Many(parts) => parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        Selection::Unsatisfiable => "unsatisfiable".to_owned(),
        Selection::TooMany => "too many".to_owned(),
    };
    assert_eq!(shown, expected, "{header}");
}

#[test]
fn p114_p115_p116_one_range() {
    check("bytes=500-1499", "500-1499");
    check("bytes=0-0", "0-0");
    check("bytes=500-", "500-2047");
    check("bytes=0-", "0-2047");
    check("bytes=-500", "1548-2047");
    check("bytes=-9999", "0-2047");
    check("bytes=2000-5000", "2000-2047");
    check("bytes=2047-", "2047-2047");
    check("bytes=0-99999999999999999999999", "0-2047");
    check("bytes=-99999999999999999999999", "0-2047");
    check("Bytes= 500-1499 ", "500-1499");
}

#[test]
fn p117_p118_ranges_without_a_byte() {
    for header in [
        "bytes=5000-10000",
        "bytes=2048-",
        "bytes=500-0",
        "bytes=-0",
        "bytes=99999999999999999999-",
        "bytes=99999999999999999999-99999999999999999999",
        "bytes=500-0,-0,4000-",
    ] {
        check(header, "unsatisfiable");
    }
}

#[test]
fn p119_what_is_not_understood_is_ignored() {
    for header in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=x",
        "bytes=a-b",
        "items=0-1",
        "bytes 0-1",
        "bytes=0",
        "bytes=-",
        "bytes=--1",
        "bytes=+0-1",
        "bytes=0-1-2",
        "bytes=0 - 1",
        "bytes=0-1;2-3",
        "bytes=0-1,x",
        "bytes=0x0-0x1",
        " bytes=0-1",
    ] {
        check(header, "whole");
    }
}

#[test]
fn p121_an_empty_blob_is_sent_whole() {
    let too_many = format!("bytes={}", "0-1,".repeat(1025));
    for header in ["bytes=0-1", "bytes=-1", "bytes=500-0", "bytes=0-1,2-3", &too_many] {
        assert_eq!(select(header, 0), Selection::Whole, "{header}");
    }
}

#[test]
fn p122_p123_several_ranges() {
    check("bytes=0-9,100-109", "0-9, 100-109");
    check("bytes=100-109, 0-9", "100-109, 0-9");
    check("bytes=0-9,,\t20-29 ,", "0-9, 20-29");
    check("bytes=0-9,0-9", "0-9, 0-9");
    check("bytes=0-9,9000-9001", "0-9");
    check("bytes=9000-,500-0,-1", "2047-2047");
    check("bytes=0-1023,1024-2047", "0-1023, 1024-2047");
    check("bytes=0-1024,1024-2047", "whole");
    check("bytes=0-,0-", "whole");
    check("bytes=0-99999999999999999999,0-99999999999999999999", "whole");
}

#[test]
fn p123_1024_ranges_are_accepted() {
    let ranges = |count: usize| format!("bytes={}", vec!["0-0"; count].join(","));
    assert!(matches!(select(&ranges(1024), SIZE), Selection::Many(parts) if parts.len() == 1024));
    check(&ranges(1025), "too many");
    check(&(ranges(1025) + ",x"), "whole");
}

#[test]
fn sums_beyond_64_bits_are_sent_whole() {
    assert_eq!(select("bytes=0-,0-", u64::MAX), Selection::Whole);
}

fn specs() -> impl Strategy<Value = RangeSpec> {
    let number = || prop_oneof![0..3000_u64, any::<u64>()];
    prop_oneof![
        (number(), number()).prop_map(|(start, end)| RangeSpec::Between { start, end }),
        number().prop_map(RangeSpec::From),
        number().prop_map(RangeSpec::Last),
    ]
}

/// What RFC 9110 says, byte by byte.
fn bytes_of(spec: RangeSpec, size: u64) -> Vec<u64> {
    let is_in = |byte: &u64| match spec {
        RangeSpec::Between { start, end } => start <= *byte && *byte <= end,
        RangeSpec::From(start) => start <= *byte,
        RangeSpec::Last(length) => size - *byte <= length,
    };
    (0..size).filter(is_in).collect()
}

proptest! {
    #[test]
    fn a_set_of_ranges_parses_from_what_it_prints(specs in prop::collection::vec(specs(), 1..20)) {
        let set: Vec<String> = specs.iter().map(ToString::to_string).collect();
        let header = format!("bytes={}", set.join(","));
        prop_assert_eq!(RangeRequest::parse(&header), RangeRequest::Ranges(specs));
    }

    #[test]
    fn one_range_has_the_bytes_that_were_asked_for(spec in specs(), size in 1..2000_u64) {
        let wanted = bytes_of(spec, size);
        match RangeRequest::Ranges(vec![spec]).resolve(size) {
            Selection::One(ByteRange { start, end }) => prop_assert_eq!((start..=end).collect::<Vec<_>>(), wanted),
            other => {
                prop_assert_eq!(other, Selection::Unsatisfiable);
                prop_assert!(wanted.is_empty());
            }
        }
    }

    #[test]
    fn parts_lie_inside_the_blob_and_sum_up_to_no_more(header in "bytes=[0-9,-]{0,60}", size in prop_oneof![0..100_u64, any::<u64>()]) {
        let parts = match select(&header, size) {
            Selection::One(part) => vec![part],
            Selection::Many(parts) => parts,
            _ => vec![],
        };
        prop_assert!(parts.iter().all(|part| part.start <= part.end && part.end < size));
        prop_assert!(parts.iter().map(|part| u128::from(part.len())).sum::<u128>() <= u128::from(size));
    }

    #[test]
    fn any_text_is_answered(header in any::<String>(), size in any::<u64>()) {
        select(&header, size);
    }
}
