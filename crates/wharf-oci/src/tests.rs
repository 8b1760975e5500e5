//! Tables for the odd cases of the checklist, and properties: what is printed parses as the same value, and nothing
//! panics whatever it is given.
#![allow(clippy::unwrap_used)]

use crate as oci;

mod content_range;
mod digest;
mod errors;
mod json;
mod link;
mod manifest;
mod manifest_limits;
mod manifest_properties;
mod media_type;
mod name;
mod print;
mod query;
mod range;
mod referrers;
mod route;
mod scope;
mod tag;

/// sha256 of `{}`, fixture J of the checklist.
const J: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
