//! `[storage]`: where everything is kept.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;
use wharf_base::{ByteSize, HumanDuration};
use wharf_store::{BucketConfig, Encryption};

use super::credentials;

/// `[storage]`: where everything is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Storage {
    /// The data directory, on a local disk. Created if missing; relative to the directory that Wharf is started in.
    pub data: PathBuf,
    /// The bucket that content is kept in instead, and what its keys begin with: "s3://bucket/prefix". The database stays in the
    /// data directory.
    pub url: Option<String>,
    /// The address of a service that speaks S3, such as `https://s3.example.com:9000`. Default: Amazon's own for the region.
    pub endpoint: Option<String>,
    /// The region that requests are signed for. Default: AWS_REGION, or us-east-1.
    pub region: Option<String>,
    /// Whether the bucket is named in the path of addresses and not in the host. Default: where an endpoint is set.
    pub path_style: Option<bool>,
    /// A file of credentials as Amazon's tools write it. Default: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, then a web
    /// identity, then AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials, then the machine's own role.
    pub credentials_file: Option<PathBuf>,
    /// Which section of the file of credentials. Default: AWS_PROFILE, or "default".
    pub profile: Option<String>,
    /// What the service is asked to encrypt with: "bucket" as the bucket is set; "aes256" with keys of its own; "kms" with
    /// `kms_key`.
    pub sse: Sse,
    /// The key of the key management service.
    pub kms_key: Option<String>,
    /// A file of PEM certificates that the endpoint may be known by besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether the endpoint may be a plain http:// one.
    pub allow_http: bool,
    /// Whether clients that read a large blob are sent to the bucket itself: "off" or "always". They need a way to it.
    pub redirect: Redirect,
    /// Only clients of these networks are sent there; empty for all.
    #[schemars(with = "Vec<String>")]
    pub redirect_networks: Vec<ipnet::IpNet>,
    /// How long the address that they are sent to is good; at most 5 minutes.
    pub redirect_lifetime: HumanDuration,
    /// While less than this is free on the data directory's file system, uploads are answered 507; pulls and deletions go on.
    /// Default: the larger of 1 GiB and 2 % of the file system, but at most a tenth of it. Not with a bucket.
    pub min_free: Option<ByteSize>,
    /// How much is set aside in the data directory, for the day on which the database has no room left to record a deletion;
    /// at most a twentieth of the file system. 0 for nothing. Not with a bucket.
    pub reserve: ByteSize,
    /// When a large blob is hashed because somebody reads it: "scrub" for never, because the scrub reads all of them by and
    /// by; "first" for its first full read since the start; "always".
    pub verify_reads: wharf_registry::VerifyReads,
    /// How much memory is for small blobs that have been read, up to 64 KiB each: they are answered without the disk or the bucket,
    /// unless `verify_reads` is "always". 0 for none.
    pub remembered: ByteSize,
}

/// What a bucket is asked to encrypt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sse {
    /// As the bucket is set.
    #[default]
    Bucket,
    /// With keys of the service's own.
    Aes256,
    /// With a named key.
    Kms,
}

/// Whether clients are sent to the bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Redirect {
    /// Wharf passes content on.
    #[default]
    Off,
    /// They read large blobs from the bucket.
    Always,
}

/// An address that was handed out opens the content to whoever has it.
const LIFETIME_MAX: std::time::Duration = std::time::Duration::from_secs(300);

impl Default for Storage {
    fn default() -> Self {
        let room = wharf_registry::Room::default();
        Self {
            data: PathBuf::from("./wharf-data"),
            url: None,
            endpoint: None,
            region: None,
            path_style: None,
            credentials_file: None,
            profile: None,
            sse: Sse::default(),
            kms_key: None,
            ca_file: None,
            allow_http: false,
            redirect: Redirect::default(),
            redirect_networks: Vec::new(),
            redirect_lifetime: HumanDuration::secs(120),
            min_free: room.min_free,
            reserve: room.reserve,
            verify_reads: wharf_registry::VerifyReads::default(),
            remembered: ByteSize::mib(8),
        }
    }
}

impl Storage {
    /// What is kept free, and what is set aside.
    pub fn room(&self) -> wharf_registry::Room {
        wharf_registry::Room { min_free: self.min_free, reserve: self.reserve }
    }

    /// Which clients are sent to the bucket.
    pub fn redirects(&self) -> wharf_http::Redirects {
        wharf_http::Redirects {
            are_on: self.redirect == Redirect::Always,
            networks: self.redirect_networks.clone(),
            lifetime: self.redirect_lifetime.get(),
        }
    }

    /// The bucket that content is kept in; `None`: it is kept in the data directory.
    ///
    /// # Errors
    ///
    /// Why the credentials cannot be read.
    pub fn bucket(&self, blob_size_max: u64) -> Result<Option<BucketConfig>, credentials::Unreadable> {
        let Some(url) = &self.url else { return Ok(None) };
        // It has passed the checks.
        let Ok((bucket, prefix)) = place(url) else { return Ok(None) };
        let credentials = credentials::find(self.credentials_file.as_deref(), self.profile.as_deref())?;
        Ok(Some(BucketConfig {
            bucket,
            prefix,
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            path_style: self.path_style.unwrap_or(self.endpoint.is_some()),
            credentials,
            encryption: match (self.sse, &self.kms_key) {
                (Sse::Bucket, _) => Encryption::AsSet,
                (Sse::Kms, Some(key)) => Encryption::Kms(key.clone()),
                (Sse::Aes256 | Sse::Kms, _) => Encryption::Aes256,
            },
            ca_file: self.ca_file.clone(),
            allow_http: self.allow_http,
            blob_size_max,
        }))
    }

    pub(crate) fn check(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.data.as_os_str().is_empty() {
            complaints.push("storage.data must name a directory".into());
        }
        if let Some(problem) = self.url.as_deref().and_then(|url| place(url).err()) {
            complaints.push(format!("storage.url {problem}, for example s3://bucket/prefix"));
        }
        if let Some(problem) = self.endpoint.as_deref().and_then(|endpoint| endpoint_problem(endpoint, self.allow_http))
        {
            complaints.push(format!("storage.endpoint {problem}"));
        }
        if (self.sse == Sse::Kms) != self.kms_key.is_some() {
            complaints.push("storage.kms_key goes with storage.sse = \"kms\", and only with it".into());
        }
        if self.redirect_lifetime.get() > LIFETIME_MAX || self.redirect_lifetime.get().as_secs() == 0 {
            complaints.push("storage.redirect_lifetime must be from 1 second to 5 minutes".into());
        }
        if self.url.is_none() {
            let bucket_only = [
                ("endpoint", self.endpoint.is_some()),
                ("region", self.region.is_some()),
                ("path_style", self.path_style.is_some()),
                ("credentials_file", self.credentials_file.is_some()),
                ("profile", self.profile.is_some()),
                ("sse", self.sse != Sse::Bucket),
                ("ca_file", self.ca_file.is_some()),
                ("allow_http", self.allow_http),
                ("redirect", self.redirect != Redirect::Off),
            ];
            let said = bucket_only.into_iter().filter(|(_, is_said)| *is_said);
            complaints.extend(said.map(|(key, _)| format!("storage.{key} is for a bucket: name it with storage.url")));
        }
        complaints
    }

    /// The place of content, for people.
    pub fn place(&self) -> &Path {
        self.url.as_deref().map_or(self.data.as_path(), Path::new)
    }
}

/// Bucket and prefix.
fn place(url: &str) -> Result<(String, String), &'static str> {
    let parsed = Url::parse(url).map_err(|_| "is no address")?;
    if parsed.scheme() != "s3" {
        return Err("must begin with s3://");
    }
    if !parsed.username().is_empty()
        || parsed.password().is_some()
        || parsed.query().is_some()
        || parsed.port().is_some()
    {
        return Err("names a bucket and a prefix only: credentials, ports and options have keys of their own");
    }
    let bucket = parsed.host_str().filter(|bucket| is_bucket_name(bucket)).ok_or("names no bucket that can be")?;
    let prefix = parsed.path().trim_matches('/');
    let is_plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if !prefix.is_empty() && !prefix.split('/').all(is_plain) {
        return Err("has a prefix with other characters than letters, digits, '-', '_', '.' and '/'");
    }
    Ok((bucket.to_owned(), prefix.to_owned()))
}

fn is_bucket_name(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.')
}

fn endpoint_problem(endpoint: &str, allow_http: bool) -> Option<&'static str> {
    let Ok(url) = Url::parse(endpoint) else { return Some("is no address; for example https://s3.example.com") };
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => {
            return Some("is a plain connection, over which everybody can read; use https, or set storage.allow_http");
        }
        _ => return Some("must begin with https://"),
    }
    let is_address_only = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    (!is_address_only).then_some("names a host only: credentials have keys of their own")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_bucket_and_a_prefix() {
        let place = |url| place(url).map_err(|problem| problem.to_owned());
        assert_eq!(place("s3://bucket"), Ok(("bucket".to_owned(), String::new())));
        assert_eq!(place("s3://my.bucket-1/"), Ok(("my.bucket-1".to_owned(), String::new())));
        assert_eq!(place("s3://bucket/a/b_c"), Ok(("bucket".to_owned(), "a/b_c".to_owned())));
        for bad in [
            "bucket",
            "gs://bucket",
            "s3://",
            "s3://a",
            "s3://key:secret@bucket",
            "s3://bucket:9000",
            "s3://bucket?x=1",
            "s3://Bucket_1",
            "s3://bucket/a//b",
            "s3://bucket/a b",
            "s3://bucket/\u{e9}",
            "http://bucket",
        ] {
            assert!(place(bad).is_err(), "{bad} is accepted: {:?}", place(bad));
        }
    }

    #[test]
    fn what_is_for_a_bucket_needs_one() {
        let with = |change: &dyn Fn(&mut Storage)| {
            let mut storage = Storage { url: Some("s3://bucket".to_owned()), ..Storage::default() };
            change(&mut storage);
            storage.check()
        };
        assert_eq!(with(&|_| {}), Vec::<String>::new());
        let plain = Some("http://127.0.0.1:9000".to_owned());
        assert!(with(&|storage| storage.endpoint = plain.clone())[0].contains("allow_http"));
        assert_eq!(
            with(&|storage| (storage.endpoint, storage.allow_http) = (plain.clone(), true)),
            Vec::<String>::new()
        );
        assert!(with(&|storage| storage.sse = Sse::Kms)[0].contains("kms_key"));
        assert!(with(&|storage| storage.redirect_lifetime = HumanDuration::secs(600))[0].contains("5 minutes"));
        let without = Storage { redirect: Redirect::Always, region: Some("x".to_owned()), ..Storage::default() };
        assert_eq!(without.check().len(), 2, "{:?}", without.check());
    }
}
