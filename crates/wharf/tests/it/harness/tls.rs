//! Certificates for a test and a client that trusts them.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A certificate authority of one test.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority with a new key.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("certificate parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        Self { issuer }
    }

    /// The authority's certificate, for a client's trust store.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server's certificate for `127.0.0.1` with a new key.
    pub fn issue(&self) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]);
        let certificate = params.expect("certificate parameters").signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            certificate_pem: certificate.pem(),
            certificate_der: certificate.der().clone(),
            key_pem: key.serialize_pem(),
        }
    }
}

/// A server's certificate and key.
pub struct Identity {
    certificate_pem: String,
    key_pem: String,
    /// What a client is shown.
    pub certificate_der: CertificateDer<'static>,
}

impl Identity {
    /// Writes the two files that `Builder::tls` names. The key comes first and each replaces its file whole, as a tool
    /// that renews certificates does it.
    pub fn write(&self, directory: &Path) {
        for (name, text) in [("key.pem", &self.key_pem), ("certificate.pem", &self.certificate_pem)] {
            let staged = directory.join(format!(".{name}"));
            std::fs::write(&staged, text).expect("writing a certificate file");
            restrict(&staged);
            std::fs::rename(&staged, directory.join(name)).expect("placing a certificate file");
        }
    }
}

/// Secret files that others may read are refused.
fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("restricting a file");
}

/// A TLS client that trusts `authority` only and offers `protocols` by ALPN.
pub fn connector(authority: &Authority, protocols: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).expect("a usable root certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}
