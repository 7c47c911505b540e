//! Whom a process believes when it connects: the certificate authority of its cluster, for the
//! broker and for the database.
//!
//! Deliberately absent: serving TLS, and the making of certificates (`keyhelm setup`).

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Why an authority's file is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// It cannot be read.
    #[error("{path}: {reason}")]
    Unreadable {
        /// Which file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// It holds no certificate.
    #[error("{0} holds no certificate in PEM")]
    Empty(String),
    /// What it holds is no certificate that can be used.
    #[error("{path} is not understood: {reason}")]
    Malformed {
        /// Which file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// A certificate authority that is believed, beside no other.
#[derive(Clone, Debug)]
pub struct Authority {
    pem: String,
    config: Arc<ClientConfig>,
}

impl Authority {
    /// Reads certificates in PEM.
    pub fn from_file(path: &Path) -> Result<Self, AuthorityError> {
        let shown = path.display().to_string();
        let pem = std::fs::read_to_string(path).map_err(|error| AuthorityError::Unreadable {
            path: shown.clone(),
            reason: error.to_string(),
        })?;
        let malformed = |reason: String| AuthorityError::Malformed { path: shown.clone(), reason };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| malformed(error.to_string()))?;
            roots.add(certificate).map_err(|error| malformed(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(AuthorityError::Empty(shown));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| malformed(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { pem, config: config.into() })
    }

    /// Its certificates in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Connects to PostgreSQL: the server shows a certificate of this authority for its name.
    pub fn postgres(&self) -> MakeRustlsConnect {
        MakeRustlsConnect::new((*self.config).clone())
    }
}
