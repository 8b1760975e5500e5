use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum, S3ConditionalPut};
use object_store::path::Path;
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};
use wharf_base::Secret;

use super::outgoing::part_bytes;
use super::transport::{Breaker, Watching};
use crate::BucketError;

/// How long a connection may take, and how long nothing may come of one.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// So many tries after the first, within this time.
const RETRIES: usize = 3;
const RETRIES_WITHIN: Duration = Duration::from_secs(30);

/// Which bucket, and how it is reached.
#[derive(Clone, Debug)]
pub struct BucketConfig {
    /// Its name.
    pub bucket: String,
    /// What all keys begin with; may be empty.
    pub prefix: String,
    /// The address of the service; `None`: Amazon's own for the region.
    pub endpoint: Option<String>,
    /// `None`: what the environment says, or `us-east-1`.
    pub region: Option<String>,
    /// Whether the bucket is named in the path and not in the host.
    pub path_style: bool,
    /// Key and secret; `None`: what the environment, a web identity or the machine's own role gives.
    pub credentials: Option<(String, Secret<String>)>,
    /// How the service is asked to encrypt.
    pub encryption: Encryption,
    /// More certificates that the service is known by.
    pub ca_file: Option<PathBuf>,
    /// Whether the connection may be plain.
    pub allow_http: bool,
    /// The largest blob in bytes that must fit; the size of parts follows from it.
    pub blob_size_max: u64,
}

/// How the service is asked to encrypt what it keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket is set.
    #[default]
    AsSet,
    /// With keys of the service's own.
    Aes256,
    /// With a key of the key management service.
    Kms(String),
}

impl BucketConfig {
    /// The size of all parts: so many bytes are in memory twice for each upload that is going on.
    pub(super) fn part_bytes(&self) -> u64 {
        part_bytes(self.blob_size_max)
    }

    pub(super) fn place(&self) -> String {
        if self.prefix.is_empty() {
            format!("s3://{}", self.bucket)
        } else {
            format!("s3://{}/{}", self.bucket, self.prefix)
        }
    }

    pub(super) fn prefix(&self) -> Result<Path, BucketError> {
        Path::parse(&self.prefix).map_err(|error| self.unfit(error))
    }

    fn unfit(&self, error: impl std::error::Error + Send + Sync + 'static) -> BucketError {
        BucketError::Settings { bucket: self.bucket.clone(), source: Box::new(error) }
    }

    pub(super) fn client(&self, breaker: &Arc<Breaker>) -> Result<AmazonS3, BucketError> {
        let mut options = ClientOptions::new()
            .with_allow_http(self.allow_http)
            .with_connect_timeout(CONNECT_MAX)
            .with_read_timeout(SILENCE_MAX)
            // A large object takes as long as it takes; silence ends it.
            .with_timeout_disabled();
        if let Some(path) = &self.ca_file {
            let unusable = |source| BucketError::Certificates { path: path.clone(), source };
            let pem = std::fs::read(path).map_err(|error| unusable(error.into()))?;
            for certificate in Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.into()))? {
                options = options.with_root_certificate(certificate);
            }
        }
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(3),
                base: 2.0,
            },
            max_retries: RETRIES,
            retry_timeout: RETRIES_WITHIN,
        };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&self.bucket)
            .with_virtual_hosted_style_request(!self.path_style)
            .with_allow_http(self.allow_http)
            .with_client_options(options)
            .with_retry(retry)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_http_connector(Watching { breaker: Arc::clone(breaker) });
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        if let Some((key, secret)) = &self.credentials {
            builder = builder.with_access_key_id(key).with_secret_access_key(secret.expose());
            // A session's token from the environment belongs to the key from the environment.
            builder = builder.with_token("");
        }
        builder = match &self.encryption {
            Encryption::AsSet => builder,
            Encryption::Aes256 => {
                let key: Result<AmazonS3ConfigKey, object_store::Error> = "aws_server_side_encryption".parse();
                builder.with_config(key.map_err(|error| self.unfit(error))?, "AES256")
            }
            Encryption::Kms(key) => builder.with_sse_kms_encryption(key),
        };
        builder.build().map_err(|error| self.unfit(error))
    }
}
