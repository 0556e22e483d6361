//! A certificate authority and the certificates that it signs.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::PkiError;

/// First year in which the certificates are valid. Fixed, so that no clock of a machine matters.
const FIRST_YEAR: i32 = 2020;
/// First year in which they are not.
const LAST_YEAR: i32 = 2050;

/// Certificate and private key, both as PEM text.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// Certificate.
    pub certificate: String,
    /// Private key (PKCS#8).
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays out of logs.
        formatter.debug_struct("Pair").finish_non_exhaustive()
    }
}

/// Who a certificate speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User name to Kubernetes.
    pub common_name: String,
    /// Group to Kubernetes, empty for none.
    pub organization: String,
    /// Names and addresses under which it serves; empty for a client.
    pub addresses: Vec<String>,
}

impl Identity {
    /// A client without a group.
    pub fn client(common_name: &str) -> Self {
        Self {
            common_name: common_name.to_owned(),
            organization: String::new(),
            addresses: Vec::new(),
        }
    }

    /// A client in a group.
    pub fn member(common_name: &str, organization: &str) -> Self {
        Self {
            organization: organization.to_owned(),
            ..Self::client(common_name)
        }
    }

    /// A kubelet: a client of the API server, and a server at its node's name and address.
    pub fn kubelet(node: &str, address: &str) -> Self {
        Self {
            addresses: vec![node.to_owned(), address.to_owned(), "127.0.0.1".to_owned()],
            ..Self::member(&format!("system:node:{node}"), "system:nodes")
        }
    }
}

/// A certificate authority that can sign.
pub struct Authority {
    certificate: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new self-signed authority.
    pub fn new(common_name: &str) -> Result<Self, PkiError> {
        let key = new_key(common_name)?;
        let mut params = parameters(common_name, "", &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        let certificate = params
            .self_signed(&key)
            .map_err(|source| certificate_error(common_name, source))?;
        Ok(Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority with this certificate and key.
    pub fn from_pair(pair: &Pair) -> Result<Self, PkiError> {
        let failed = |source| certificate_error("certificate authority", source);
        let key = KeyPair::from_pem(&pair.key).map_err(failed)?;
        Ok(Self {
            certificate: pair.certificate.clone(),
            key: pair.key.clone(),
            issuer: Issuer::from_ca_cert_pem(&pair.certificate, key).map_err(failed)?,
        })
    }

    /// Its certificate, as PEM text.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its certificate and key.
    pub fn pair(&self) -> Pair {
        Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
        }
    }

    /// A new key with a certificate for `identity`, good for a client and, where it has addresses, for a server.
    pub fn issue(&self, identity: &Identity) -> Result<Pair, PkiError> {
        let name = &identity.common_name;
        let key = new_key(name)?;
        let mut params = parameters(name, &identity.organization, &identity.addresses)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !identity.addresses.is_empty() {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(|source| certificate_error(name, source))?;
        Ok(Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// A key pair that signs service account tokens: private key, public key.
pub(super) fn signing_key() -> Result<(String, String), PkiError> {
    let key = new_key("service accounts")?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

fn new_key(name: &str) -> Result<KeyPair, PkiError> {
    KeyPair::generate().map_err(|source| certificate_error(name, source))
}

fn parameters(
    common_name: &str,
    organization: &str,
    addresses: &[String],
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(addresses.to_vec())
        .map_err(|source| certificate_error(common_name, source))?;
    params.distinguished_name = DistinguishedName::new();
    if !organization.is_empty() {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
    }
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(FIRST_YEAR, 1, 1);
    params.not_after = date_time_ymd(LAST_YEAR, 1, 1);
    Ok(params)
}

fn certificate_error(name: &str, source: rcgen::Error) -> PkiError {
    PkiError::Certificate {
        name: name.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issued_certificate_is_new_each_time_and_pem() {
        let authority = Authority::new("ca").unwrap();
        let one = authority.issue(&Identity::client("a")).unwrap();
        let two = authority.issue(&Identity::client("a")).unwrap();
        assert_ne!(one, two);
        assert!(one.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(one.key.starts_with("-----BEGIN PRIVATE KEY-----"));
    }

    #[test]
    fn authority_survives_its_pem_form() {
        let first = Authority::new("ca").unwrap();
        let second = Authority::from_pair(&first.pair()).unwrap();
        assert_eq!(first.certificate(), second.certificate());
        second.issue(&Identity::kubelet("n", "10.200.0.2")).unwrap();
    }

    #[test]
    fn keys_stay_out_of_debug_output() {
        let pair = Authority::new("ca").unwrap().pair();
        assert!(!format!("{pair:?}").contains("PRIVATE"));
    }

    #[test]
    fn kubelet_is_a_node_to_kubernetes() {
        let identity = Identity::kubelet("node-host", "10.200.0.1");
        assert_eq!(identity.common_name, "system:node:node-host");
        assert_eq!(identity.organization, "system:nodes");
    }
}
