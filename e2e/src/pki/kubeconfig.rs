//! Files that tell a Kubernetes client where the API server is and who it is itself.

use k8s_openapi::ByteString;
use katalyst_crds::yaml;
use serde::Serialize;

use super::{Pair, PkiError};

#[derive(Serialize)]
struct Named<T> {
    name: &'static str,
    #[serde(flatten)]
    value: T,
}

#[derive(Serialize)]
struct ClusterEntry {
    cluster: ClusterFields,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ClusterFields {
    server: String,
    certificate_authority_data: ByteString,
}

#[derive(Serialize)]
struct UserEntry {
    user: UserFields,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct UserFields {
    client_certificate_data: ByteString,
    client_key_data: ByteString,
}

#[derive(Serialize)]
struct ContextEntry {
    context: ContextFields,
}

#[derive(Serialize)]
struct ContextFields {
    cluster: &'static str,
    user: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    api_version: &'static str,
    kind: &'static str,
    clusters: [Named<ClusterEntry>; 1],
    users: [Named<UserEntry>; 1],
    contexts: [Named<ContextEntry>; 1],
    #[serde(rename = "current-context")]
    current_context: &'static str,
}

/// Name of the cluster, the user and the context in every file.
const NAME: &str = "katalyst-e2e";

/// A kubeconfig as YAML, with everything in it.
pub fn kubeconfig(server: &str, authority: &str, client: &Pair) -> Result<String, PkiError> {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let file = File {
        api_version: "v1",
        kind: "Config",
        clusters: [Named {
            name: NAME,
            value: ClusterEntry {
                cluster: ClusterFields {
                    server: server.to_owned(),
                    certificate_authority_data: bytes(authority),
                },
            },
        }],
        users: [Named {
            name: NAME,
            value: UserEntry {
                user: UserFields {
                    client_certificate_data: bytes(&client.certificate),
                    client_key_data: bytes(&client.key),
                },
            },
        }],
        contexts: [Named {
            name: NAME,
            value: ContextEntry {
                context: ContextFields {
                    cluster: NAME,
                    user: NAME,
                },
            },
        }],
        current_context: NAME,
    };
    Ok(yaml::write("kubeconfig", &file)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Authority, Identity};

    #[test]
    fn kube_client_reads_the_file() {
        let authority = Authority::new("ca").unwrap();
        let client = authority.issue(&Identity::client("admin")).unwrap();
        let text = kubeconfig("https://127.0.0.1:16443", authority.certificate(), &client).unwrap();
        let parsed = kube::config::Kubeconfig::from_yaml(&text).unwrap();
        assert_eq!(parsed.current_context.as_deref(), Some(NAME));
        let cluster = parsed.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://127.0.0.1:16443"));
        assert!(cluster.certificate_authority_data.is_some());
    }
}
