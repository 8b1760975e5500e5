use proptest::prelude::*;

use crate::{ManifestKind, MediaType, MediaTypeError};

#[test]
fn types_that_are_valid() {
    let longest = format!("{0}/{0}", "a".repeat(127));
    for text in [
        "application/json",
        "a/b",
        "application/vnd.oci.image.manifest.v1+json",
        "x/!#$&-^_.+".replacen('!', "a!", 1).as_str(),
        &longest,
    ] {
        assert_eq!(text.parse::<MediaType>().unwrap().as_str(), text);
    }
}

#[test]
fn types_that_are_not() {
    for text in ["", "/", "a", "a/", "/b", "a/b/c", "a/b; q=1", "a /b", "a/b ", "+a/b", "a/é", "a/b\n", "a, b/c", "*/*"]
    {
        assert_eq!(text.parse::<MediaType>(), Err(MediaTypeError::Grammar), "{text:?}");
    }
    assert_eq!(format!("a/{}", "b".repeat(128)).parse::<MediaType>(), Err(MediaTypeError::Grammar));
    assert_eq!(format!("a/{}", "b".repeat(254)).parse::<MediaType>(), Err(MediaTypeError::TooLong));
}

#[test]
fn p214_a_content_type_loses_parameters_and_case() {
    for header in [
        "Application/JSON",
        "application/json;charset=utf-8",
        " application/json\t; a=b; c=\"d;e\"",
        "application/json;",
    ] {
        assert_eq!(MediaType::from_content_type(header).unwrap().as_str(), "application/json", "{header:?}");
    }
    for header in ["", ";", "json", "application/json, text/html"] {
        assert_eq!(MediaType::from_content_type(header), Err(MediaTypeError::Grammar), "{header:?}");
    }
}

#[test]
fn kinds_and_their_types_belong_together() {
    use ManifestKind::{DockerList, DockerManifest, OciIndex, OciManifest};
    for (kind, is_index, is_docker) in
        [(OciManifest, false, false), (OciIndex, true, false), (DockerManifest, false, true), (DockerList, true, true)]
    {
        assert_eq!(ManifestKind::from_media_type(kind.as_str()), Some(kind));
        assert_eq!(ManifestKind::from_media_type(&kind.as_str().to_uppercase()), Some(kind));
        assert_eq!(ManifestKind::from_media_type(&format!("{kind}; charset=utf-8")), None);
        assert_eq!((kind.is_index(), kind.is_docker()), (is_index, is_docker));
    }
}

proptest! {
    #[test]
    fn a_type_prints_as_it_was_parsed(text in "[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}/[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}") {
        prop_assert_eq!(text.parse::<MediaType>().unwrap().to_string(), text);
    }

    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        if let Ok(media_type) = text.parse::<MediaType>() {
            prop_assert_eq!(media_type.as_str(), &text);
        }
        if let Ok(media_type) = MediaType::from_content_type(&text) {
            prop_assert_eq!(MediaType::from_content_type(media_type.as_str()), Ok(media_type));
        }
    }
}
