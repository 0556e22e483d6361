//! The three PEM files, and what rustls makes of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::TlsError;

/// Which files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities that sign the clients' certificates.
    pub client_ca: PathBuf,
}

/// The files' bytes. Not `Debug`: one of them is a key.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
}

/// What the next handshake uses. Clones share it.
#[derive(Clone)]
pub struct Certificates {
    files: TlsFiles,
    current: Arc<Mutex<(Contents, Arc<ServerConfig>)>>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads the files for the first time.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let contents = files.read()?;
        let config = Arc::new(files.configure(&contents)?);
        Ok(Self {
            files,
            current: Arc::new(Mutex::new((contents, config))),
        })
    }

    /// What a handshake that begins now uses.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.lock().1.clone()
    }

    /// Reads the files again; true when they had changed and are in use now. After an error the old ones stay.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let contents = self.files.read()?;
        if contents == self.current.lock().0 {
            return Ok(false);
        }
        let config = Arc::new(self.files.configure(&contents)?);
        *self.current.lock() = (contents, config);
        Ok(true)
    }
}

impl TlsFiles {
    fn read(&self) -> Result<Contents, TlsError> {
        Ok(Contents {
            cert: read(&self.cert)?,
            key: read(&self.key)?,
            client_ca: read(&self.client_ca)?,
        })
    }

    fn configure(&self, contents: &Contents) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(&self.cert, &contents.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|source| TlsError::Pem {
            path: show(&self.key),
            what: "private key",
            source,
        })?;
        let authority = |cause: String| TlsError::Authority {
            path: show(&self.client_ca),
            cause,
        };
        let mut roots = RootCertStore::empty();
        for root in certificates(&self.client_ca, &contents.client_ca)? {
            roots
                .add(root)
                .map_err(|error| authority(error.to_string()))?;
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|error| authority(error.to_string()))?;
        let pair = |source| TlsError::Pair {
            cert: show(&self.cert),
            key: show(&self.key),
            source,
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(pair)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(pair)?;
        // Go's client speaks HTTP/2 only where it is offered; this server has HTTP/1.1 alone.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |source| TlsError::Pem {
        path: show(path),
        what: "certificate",
        source,
    };
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(error)?;
    if found.is_empty() {
        return Err(error(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        path: show(path),
        source,
    })
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
