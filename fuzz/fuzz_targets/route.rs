//! A path that means something prints as a path that means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_oci::Route;

fuzz_target!(|path: &str| {
    for path in [path, &format!("/v2/{path}")] {
        let Ok(route) = Route::parse(path) else { continue };
        assert_eq!(Route::parse(&route.to_string()), Ok(route));
    }
});
