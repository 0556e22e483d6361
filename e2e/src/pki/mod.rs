//! Certificates of a test cluster: one authority that everything trusts, a certificate a component.

mod authority;
mod kubeconfig;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use katalyst_crds::yaml::YamlError;

pub use authority::{Authority, Identity, Pair};
pub use kubeconfig::kubeconfig;

/// Why certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A key or a certificate could not be made or read.
    #[error("certificate of {name}: {source}")]
    Certificate {
        /// Whose certificate.
        name: String,
        /// The library's answer.
        source: rcgen::Error,
    },
    /// A kubeconfig could not be written as YAML.
    #[error(transparent)]
    Kubeconfig(#[from] YamlError),
    /// A file could not be used.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
}

/// Base names of the certificate files of the control plane.
pub mod names {
    /// The authority.
    pub const CA: &str = "ca";
    /// Serving certificate of the API server.
    pub const APISERVER: &str = "apiserver";
    /// The API server as a client of kubelets.
    pub const APISERVER_KUBELET_CLIENT: &str = "apiserver-kubelet-client";
    /// The API server as a client of aggregated APIs.
    pub const FRONT_PROXY_CLIENT: &str = "front-proxy-client";
    /// The administrator.
    pub const ADMIN: &str = "admin";
    /// kube-scheduler.
    pub const SCHEDULER: &str = "scheduler";
    /// kube-controller-manager.
    pub const CONTROLLER_MANAGER: &str = "controller-manager";
    /// kube-proxy.
    pub const PROXY: &str = "kube-proxy";
}

/// The certificate folder of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFolder {
    folder: PathBuf,
}

impl CertificateFolder {
    /// Makes the folder with the authority, the control plane's certificates and the service account key.
    ///
    /// `apiserver` lists the names and addresses under which the API server is reached.
    pub fn create(folder: &Path, apiserver: &[String]) -> Result<(Self, Authority), PkiError> {
        fs::create_dir_all(folder).map_err(|source| file(folder, source))?;
        let this = Self {
            folder: folder.to_owned(),
        };
        let authority = Authority::new("katalyst-e2e-ca")?;
        this.write(names::CA, &authority.pair())?;
        let masters = "system:masters";
        let identities = [
            (
                names::APISERVER,
                Identity {
                    addresses: apiserver.to_vec(),
                    ..Identity::client("kube-apiserver")
                },
            ),
            (
                names::APISERVER_KUBELET_CLIENT,
                Identity::member("kube-apiserver-kubelet-client", masters),
            ),
            (
                names::FRONT_PROXY_CLIENT,
                Identity::client("front-proxy-client"),
            ),
            (
                names::ADMIN,
                Identity::member("katalyst-e2e-admin", masters),
            ),
            (names::SCHEDULER, Identity::client("system:kube-scheduler")),
            (
                names::CONTROLLER_MANAGER,
                Identity::client("system:kube-controller-manager"),
            ),
            (names::PROXY, Identity::client("system:kube-proxy")),
        ];
        for (name, identity) in &identities {
            this.write(name, &authority.issue(identity)?)?;
        }
        let (private, public) = authority::signing_key()?;
        write_secret(&this.service_account_key(), &private)?;
        write_secret(&this.service_account_public_key(), &public)?;
        Ok((this, authority))
    }

    /// The authority of a folder made earlier, to sign more certificates.
    pub fn authority(&self) -> Result<Authority, PkiError> {
        Authority::from_pair(&self.read(names::CA)?)
    }

    /// A folder made earlier.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Certificate file of `name`.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.crt"))
    }

    /// Key file of `name`.
    pub fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    /// Key that signs service account tokens.
    pub fn service_account_key(&self) -> PathBuf {
        self.folder.join("sa.key")
    }

    /// Key that checks service account tokens.
    pub fn service_account_public_key(&self) -> PathBuf {
        self.folder.join("sa.pub")
    }

    /// Certificate and key of `name`.
    pub fn read(&self, name: &str) -> Result<Pair, PkiError> {
        let read = |path: PathBuf| fs::read_to_string(&path).map_err(|source| file(&path, source));
        Ok(Pair {
            certificate: read(self.certificate(name))?,
            key: read(self.key(name))?,
        })
    }

    /// Stores certificate and key of `name`.
    pub fn write(&self, name: &str, pair: &Pair) -> Result<(), PkiError> {
        write_secret(&self.certificate(name), &pair.certificate)?;
        write_secret(&self.key(name), &pair.key)
    }

    /// Kubeconfig of `name` for the API server at `server`.
    pub fn kubeconfig(&self, name: &str, server: &str) -> Result<String, PkiError> {
        let authority = self.read(names::CA)?;
        kubeconfig(server, &authority.certificate, &self.read(name)?)
    }
}

/// Writes a file that only its owner may read.
pub fn write_secret(path: &Path, text: &str) -> Result<(), PkiError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut open| open.write_all(text.as_bytes()))
        .map_err(|source| file(path, source))
}

fn file(path: &Path, source: io::Error) -> PkiError {
    PkiError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn folder_holds_every_pair_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let sans = ["localhost".to_owned(), "10.96.0.1".to_owned()];
        let (pki, authority) = CertificateFolder::create(folder.path(), &sans).unwrap();
        for name in [
            names::CA,
            names::APISERVER,
            names::ADMIN,
            names::SCHEDULER,
            names::PROXY,
        ] {
            pki.read(name).unwrap();
            let mode = fs::metadata(pki.key(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
        let again = CertificateFolder::at(folder.path()).authority().unwrap();
        assert_eq!(again.certificate(), authority.certificate());
        assert!(
            fs::read_to_string(pki.service_account_public_key())
                .unwrap()
                .contains("PUBLIC KEY")
        );
    }

    #[test]
    fn missing_pair_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = CertificateFolder::at(folder.path())
            .read("admin")
            .unwrap_err();
        assert!(error.to_string().contains("admin.crt"), "{error}");
    }
}
