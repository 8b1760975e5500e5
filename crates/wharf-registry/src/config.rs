use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharf_base::{ByteSize, HumanDuration};

/// `[registry]`: what the registry accepts, keeps and lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Whether a tag can be deleted on its own. Off by default: `DELETE …/manifests/<tag>` answers 405 (F-01).
    pub delete_tags: bool,
    /// Whether a manifest can be deleted by its digest, together with its tags (F-02).
    pub delete_manifests: bool,
    /// Whether a blob can be removed from a repository (F-03).
    pub delete_blobs: bool,
    /// Whether a manifest may name layers that the repository does not have.
    pub allow_missing_layers: bool,
    /// Whether an index may name manifests that the repository does not have.
    pub allow_missing_children: bool,
    /// Refuse every write with 405 and go on serving reads.
    pub read_only: bool,
    /// Whether `/v2/_catalog` is served; 404 otherwise.
    pub catalog: bool,
    /// The largest blob that can be pushed. A larger one is answered 413.
    pub blob_size_max: ByteSize,
    /// How much memory the buffers of all uploads may take together; more uploads wait for some. Default: 512 MiB, or two
    /// fifths of what the process may have if that is less.
    pub memory: Option<ByteSize>,
    /// How long an upload session lives after its last byte.
    pub upload_idle: HumanDuration,
    /// How long an upload session lives in all.
    pub upload_life: HumanDuration,
    /// Open upload sessions in one repository; one more is answered 429.
    pub uploads_per_repository: u32,
    /// Open upload sessions of one principal; one more is answered 429.
    pub uploads_per_principal: u32,
    /// Open upload sessions in all; one more is answered 429.
    pub uploads_total: u32,
    /// Chunks that one upload session may consist of.
    pub chunks_per_upload: u32,
    /// The longest page of a tag list; also the page when the client names no length.
    pub tags_page_max: u32,
    /// The page of the catalog when the client names no length.
    pub catalog_page: u32,
    /// The longest page of the catalog.
    pub catalog_page_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            delete_tags: false,
            delete_manifests: true,
            delete_blobs: true,
            allow_missing_layers: false,
            allow_missing_children: false,
            read_only: false,
            catalog: true,
            blob_size_max: ByteSize::gib(100),
            memory: None,
            upload_idle: HumanDuration::hours(24),
            upload_life: HumanDuration::days(7),
            uploads_per_repository: 200,
            uploads_per_principal: 500,
            uploads_total: 10_000,
            chunks_per_upload: 10_000,
            tags_page_max: 10_000,
            catalog_page: 100,
            catalog_page_max: 1_000,
        }
    }
}

/// What one upload into a bucket with the smallest parts takes.
const MEMORY_MIN: ByteSize = ByteSize::mib(16);

impl Config {
    /// Relations between keys that cannot hold; empty when all is well.
    pub fn check(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.memory.is_some_and(|memory| memory < MEMORY_MIN) {
            complaints.push(format!("memory must be at least {MEMORY_MIN}"));
        }
        for (key, value) in [
            ("uploads_per_repository", self.uploads_per_repository),
            ("uploads_per_principal", self.uploads_per_principal),
            ("uploads_total", self.uploads_total),
            ("chunks_per_upload", self.chunks_per_upload),
            ("tags_page_max", self.tags_page_max),
            ("catalog_page", self.catalog_page),
            ("catalog_page_max", self.catalog_page_max),
        ] {
            if value == 0 {
                complaints.push(format!("registry.{key} must be at least 1"));
            }
        }
        if self.catalog_page > self.catalog_page_max {
            complaints.push("registry.catalog_page must not be larger than registry.catalog_page_max".into());
        }
        if self.upload_idle > self.upload_life {
            complaints.push("registry.upload_idle must not be longer than registry.upload_life".into());
        }
        if self.blob_size_max.as_u64() == 0 {
            complaints.push("registry.blob_size_max must be at least 1 byte".into());
        }
        complaints
    }
}
