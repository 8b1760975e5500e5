//! Style, script and pictures: compiled in, and named by what is in them, so that a browser keeps each for ever and asks
//! for another one when there is another one.

use std::sync::LazyLock;

use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use wharf_oci::{Algorithm, Digest};

use crate::reply::{Payload, Reply};

/// Where they are below the site's root.
pub(super) const BELOW: &str = "/assets/";

/// A file and its name on the network.
struct Asset {
    name: String,
    content_type: &'static str,
    content: &'static [u8],
}

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, content: &'static [u8]) -> Self {
        let digest = Digest::of(Algorithm::Sha256, content).to_string();
        let hash: String = digest.trim_start_matches("sha256:").chars().take(16).collect();
        Self { name: format!("{stem}.{hash}.{extension}"), content_type, content }
    }
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("wharf", "css", "text/css; charset=utf-8", include_bytes!("../../assets/wharf.css")));
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("wharf", "js", "text/javascript; charset=utf-8", include_bytes!("../../assets/wharf.js"))
});
static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("wharf", "svg", "image/svg+xml", include_bytes!("../../assets/wharf.svg")));

/// The names that pages refer to, below the site's root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    pub(super) style: &'static str,
    pub(super) script: &'static str,
    pub(super) icon: &'static str,
}

pub(super) fn names() -> Names {
    Names { style: &STYLE.name, script: &SCRIPT.name, icon: &ICON.name }
}

/// The file of that name.
pub(super) fn answer(name: &str) -> Option<Reply> {
    let asset = [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.name == name)?;
    let reply = Reply::of(
        StatusCode::OK,
        HeaderValue::from_static(asset.content_type),
        Payload::Bytes(bytes::Bytes::from_static(asset.content)),
    );
    Some(reply.with(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")))
}
