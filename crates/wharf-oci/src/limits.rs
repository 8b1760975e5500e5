//! The bounds of everything a client can make us read, in one place (security requirements, §3.2; S-040).
//!
//! The unit stands at the end of each name: `_BYTES`, or `_MAX` alone for a count.

/// Longest repository name (P-038). Fixed: docker clients cannot say a longer one.
pub const NAME_MAX_BYTES: usize = 255;
/// Most components of a repository name (§3.2).
pub const NAME_COMPONENTS_MAX: usize = 32;
/// Longest component of a repository name (§3.2).
pub const NAME_COMPONENT_MAX_BYTES: usize = 128;
/// Longest tag (P-040). Fixed by the specification.
pub const TAG_MAX_BYTES: usize = 128;
/// Longest digest of any algorithm; sha512, the longest we know, has 135 bytes.
pub const DIGEST_MAX_BYTES: usize = 255;
/// Longest media type, parameters included (§3.2); RFC 6838 allows two names of 127 bytes and a slash.
pub const MEDIA_TYPE_MAX_BYTES: usize = 255;

/// Largest manifest that is accepted by default, inclusive (P-213). Podman pulls no larger one.
pub const MANIFEST_MAX_BYTES: u64 = 4_194_304;
/// Deepest nesting of objects and arrays in a manifest (S-046).
pub const JSON_DEPTH_MAX: usize = 32;
/// Most members of one object in a manifest (§3.2).
pub const JSON_MEMBERS_MAX: usize = 1_024;
/// Most values in a manifest, objects and arrays included: one for every 16 bytes of the largest, which no real manifest
/// comes near. It keeps the time that a hostile one takes in proportion (B-058).
pub const JSON_VALUES_MAX: usize = 262_144;

/// Most layers of an image manifest (§3.2).
pub const LAYERS_MAX: usize = 1_000;
/// Most children of an image index (§3.2).
pub const CHILDREN_MAX: usize = 4_000;
/// Largest size that a descriptor or a range may state: 2⁶³−1, the most that a database column can keep (S-046).
pub const SIZE_MAX_BYTES: u64 = i64::MAX.unsigned_abs();
/// Most annotations of a descriptor, or of a manifest with a subject, whose annotations are repeated in lists (§3.2).
/// Those of other manifests are bounded by [`JSON_MEMBERS_MAX`] and the manifest's size alone: the conformance suite
/// pushes 390 of them with 3.9 MB, and one may fill a manifest of the largest size (P-213, C-087).
pub const ANNOTATIONS_MAX: usize = 256;
/// Longest key of an annotation (§3.2).
pub const ANNOTATION_KEY_MAX_BYTES: usize = 256;
/// Longest value of an annotation where [`ANNOTATIONS_MAX`] holds (§3.2).
pub const ANNOTATION_VALUE_MAX_BYTES: usize = 65_536;
/// Most bytes of all annotations of one object where [`ANNOTATIONS_MAX`] holds (§3.2).
pub const ANNOTATIONS_TOTAL_MAX_BYTES: usize = 524_288;
/// Largest content that a descriptor may carry inline, counted without its base64 coat (§3.2).
pub const DATA_MAX_BYTES: usize = 65_536;
/// Most bytes that the descriptors of one manifest may carry inline in all (§3.2).
pub const DATA_TOTAL_MAX_BYTES: usize = 1_048_576;
/// Most `urls` of a descriptor (§3.2).
pub const URLS_MAX: usize = 16;
/// Longest of a descriptor's `urls` (§3.2).
pub const URL_MAX_BYTES: usize = 2_048;
/// Most features in `os.features` of a platform.
pub const OS_FEATURES_MAX: usize = 256;

/// Most ranges of one request (P-123): containers/storage merges its own down to this.
pub const RANGES_MAX: usize = 1_024;
/// Most parameters of a query string (security requirements, §3.1).
pub const QUERY_PARAMETERS_MAX: usize = 256;
/// Error bodies stay below this (P-057): crane reads no more.
pub const ERROR_BODY_MAX_BYTES: usize = 65_536;
/// Longest message or detail in an error body. Escaping makes six bytes of one at worst, so that a body always has room
/// for one entry.
pub const ERROR_TEXT_MAX_BYTES: usize = 2_048;

/// Most scopes that one request for a token may name (security requirements, §3.1).
pub const SCOPES_MAX: usize = 16;
/// Longest text of all scopes of one request for a token.
pub const SCOPE_MAX_BYTES: usize = 8_192;
