//! A manifest that is accepted parses from what is printed of it as the same manifest, with and without a Content-Type.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_oci as oci;
use wharf_oci::{Manifest, ManifestKind};

#[path = "../../crates/wharf-oci/src/tests/print.rs"]
mod print;

const KINDS: [ManifestKind; 4] =
    [ManifestKind::OciManifest, ManifestKind::OciIndex, ManifestKind::DockerManifest, ManifestKind::DockerList];

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else { return };
    let content_type = KINDS.get(usize::from(*choice) % 5).map(|kind| kind.as_str());
    let Ok(manifest) = Manifest::parse(content_type, body) else { return };
    assert!(content_type.is_none_or(|content_type| content_type == manifest.kind.as_str()));
    assert!(serde_json::from_slice::<serde_json::Value>(body).is_ok());

    let printed = print::manifest(&manifest).to_string();
    assert_eq!(Manifest::parse(content_type, printed.as_bytes()).as_ref(), Ok(&manifest));
    assert_eq!(Manifest::parse(None, printed.as_bytes()), Ok(manifest));
});
