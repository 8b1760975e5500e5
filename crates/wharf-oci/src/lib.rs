//! The words of the distribution protocol as values that cannot be wrong.
//!
//! Everything a client can write into a path, a query, a header or a manifest becomes one of the types of this room,
//! or an error that says what was wrong with it. A value that exists is valid, so no other room checks again, and a
//! value prints as the text it was parsed from, so that authorization, routing, SQL and file paths all mean the same
//! thing by it (S-041). Numbers such as `P-036`, `S-043` and `B-059` in the comments name clauses of the protocol
//! checklist, the security requirements and its corpus of bad inputs.
//!
//! This room is pure: it knows no I/O, no clock, no HTTP library and nothing of how Wharf keeps its data. Whatever it
//! reads comes from strangers, so every loop and every list has a bound of its own ([`limits`]), and nothing here
//! panics on input.

mod annotations;
mod any_digest;
mod challenge;
mod code;
mod content_range;
mod descriptor;
mod digest;
mod error_body;
mod json;
pub mod limits;
mod link;
mod manifest;
mod manifest_error;
mod manifest_kind;
mod media_type;
mod member;
mod name;
mod page;
mod path;
mod platform;
mod query;
mod range;
mod reference;
mod referrers;
mod route;
mod scope;
mod tag;
mod text;

pub use any_digest::AnyDigest;
pub use challenge::{Challenge, ChallengeError};
pub use code::Code;
pub use content_range::{ContentRange, ContentRangeError};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, DigestError};
pub use error_body::{ErrorEntry, error_body};
pub use json::JsonError;
pub use limits::MANIFEST_MAX_BYTES;
pub use link::{LinkError, NextLink};
pub use manifest::Manifest;
pub use manifest_error::ManifestError;
pub use manifest_kind::ManifestKind;
pub use media_type::{MediaType, MediaTypeError};
pub use name::{NameError, RepositoryName};
pub use page::{PageSize, PageSizeError};
pub use platform::Platform;
pub use query::{Query, QueryError};
pub use range::{ByteRange, RangeRequest, RangeSpec, Selection};
pub use reference::{Reference, ReferenceError};
pub use referrers::{ReferrerDescriptor, referrers_index};
pub use route::{Route, RouteError};
pub use scope::{Scope, ScopeAction, ScopeError, ScopeResource, parse_scopes};
pub use tag::{Tag, TagError};

#[cfg(test)]
mod tests;
