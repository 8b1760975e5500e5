//! TLS by certificate and key from files, read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use wharf_base::Shutdown;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why there is no certificate to serve with. Names the file; never falls back to plain text (S-081).
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate file cannot be read or holds none.
    #[error("reading certificates from {}", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rustls_pki_types::pem::Error,
    },
    /// The certificate file holds none.
    #[error("{} holds no certificate in PEM form", .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The key file cannot be read or holds none.
    #[error("reading a private key from {}", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rustls_pki_types::pem::Error,
    },
    /// The two do not belong together, or are of a kind that is not spoken.
    #[error("using the certificate {} with the key {}", .certificate.display(), .key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

/// The pair of files, and what was last read from them.
pub(crate) struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    /// Taken before the first read: a change that comes right after it is then one that `keep_fresh` sees.
    loaded: Stamps,
    current: ArcSwap<CertifiedKey>,
}

/// By what a change of the two files is noticed.
type Stamps = [Option<(SystemTime, u64)>; 2];

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates")
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads both files.
    pub(crate) fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let loaded = stamps(certificate, key);
        let current = read_pair(certificate, key, &provider)?;
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            provider,
            loaded,
            current: ArcSwap::from_pointee(current),
        }))
    }

    /// A configuration that always serves the pair last read: TLS 1.2 at least, HTTP/2 before HTTP/1.1.
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&self.provider)).with_safe_default_protocol_versions();
        let builder = builder.map_err(|source| self.pair_error(source))?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Self>::clone(self);
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Reads the files again whenever one of them changes. A pair that cannot be used is reported and the old one
    /// stays in use (S-084).
    pub(crate) async fn keep_fresh(self: Arc<Self>, shutdown: Shutdown) {
        let mut seen = self.loaded;
        while tokio::time::timeout(LOOK_EVERY, shutdown.started()).await.is_err() {
            let certificates = Arc::clone(&self);
            let Ok(found) =
                tokio::task::spawn_blocking(move || stamps(&certificates.certificate, &certificates.key)).await
            else {
                continue;
            };
            if found != seen {
                seen = found;
                self.reload();
            }
        }
    }

    fn reload(&self) {
        match read_pair(&self.certificate, &self.key, &self.provider) {
            Ok(pair) => {
                self.current.store(Arc::new(pair));
                tracing::info!("the certificate {} has changed and is in use", self.certificate.display());
            }
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the certificate {} has changed and cannot be used; the old one stays in use",
                self.certificate.display()
            ),
        }
    }

    fn pair_error(&self, source: rustls::Error) -> TlsError {
        TlsError::Pair { certificate: self.certificate.clone(), key: self.key.clone(), source }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn stamps(certificate: &Path, key: &Path) -> Stamps {
    let stamp = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    [stamp(certificate), stamp(key)]
}

fn read_pair(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let unreadable = |source| TlsError::Certificate { path: certificate.to_owned(), source };
    let chain = CertificateDer::pem_file_iter(certificate).map_err(unreadable)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: certificate.to_owned() });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Key { path: key.to_owned(), source })?;
    CertifiedKey::from_der(chain, private, provider).map_err(|source| TlsError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    })
}
