//! Token scopes print as what reads the same, and are bounded whatever is asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_oci::parse_scopes;

fuzz_target!(|values: Vec<&str>| {
    let Ok(scopes) = parse_scopes(values.iter().copied()) else { return };
    assert!(scopes.len() <= 16);
    let printed: Vec<String> = scopes.iter().map(ToString::to_string).collect();
    let printed = printed.join(" ");
    assert_eq!(parse_scopes([printed.as_str()].into_iter()), Ok(scopes));
});
