//! API clients with explicit timeouts.
//!
//! kube 5 retries 429, 503 and 504 up to 15 times for any verb. That helps reads, and harms an eviction, whose 429 means
//! "the disruption budget says no": one call becomes ten requests. So there are two clients.
//!
//! In a pod the API server is reached by the address in `KUBERNETES_SERVICE_HOST`, as client-go does, so no resolver is
//! needed (a static binary has none); the certificate names that address. The service account's token and CA are
//! re-read by kube about every minute.

use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use crate::{
    Metrics, flags::ClientArgs, request_metrics::RequestMetrics, request_timeout::RequestTimeout,
};

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig given by flag does not load.
    #[error("kubeconfig {path} does not load")]
    Kubeconfig {
        /// The file.
        path: String,
        /// What is wrong.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// Neither a kubeconfig nor a service account was found.
    #[error("no API server is configured")]
    Infer(#[source] Box<InferConfigError>),
    /// The configuration was read but cannot be used.
    #[error("API client for {url} cannot be built")]
    Build {
        /// The API server.
        url: String,
        /// What is wrong.
        #[source]
        source: Box<kube::Error>,
    },
    /// The user agent holds a character that no header may hold.
    #[error("user agent {0:?} is not a header value")]
    UserAgent(String),
}

/// The two API clients of a process. Clones share connections.
#[derive(Clone)]
pub struct Clients {
    /// For reads, watches and idempotent writes: retries 429, 503 and 504 by itself within the request timeout.
    pub api: Client,
    /// For evictions, bindings, leases and anything with its own retry policy: every answer is final.
    pub unretried: Client,
    /// Namespace of the service account or of the kubeconfig's context.
    pub namespace: String,
}

impl Clients {
    /// Reads the configuration named by the flags (see [`ClientArgs::kubeconfig`]) and builds both
    /// clients, whose requests are counted in `metrics`.
    pub async fn connect(
        args: &ClientArgs,
        user_agent: &str,
        metrics: &Metrics,
    ) -> Result<Self, ClientError> {
        let counted = RequestMetrics::registered(metrics);
        Self::build(load(args).await?, args, user_agent, &counted)
    }

    /// Builds both clients for a given configuration. Must run inside a tokio runtime.
    pub fn from_config(
        config: Config,
        args: &ClientArgs,
        user_agent: &str,
    ) -> Result<Self, ClientError> {
        Self::build(config, args, user_agent, &RequestMetrics::default())
    }

    fn build(
        mut config: Config,
        args: &ClientArgs,
        user_agent: &str,
        counted: &RequestMetrics,
    ) -> Result<Self, ClientError> {
        let agent = http::HeaderValue::from_str(user_agent)
            .map_err(|_invalid| ClientError::UserAgent(user_agent.to_owned()))?;
        config.headers.push((http::header::USER_AGENT, agent));
        config.connect_timeout = Some(args.api_connect_timeout);
        config.read_timeout = Some(args.api_read_timeout);
        config.write_timeout = Some(args.api_request_timeout);
        // Otherwise the time a pooled connection sat idle counts against the next request on it.
        config.reset_reader_on_write = true;
        let build = |config: Config| -> Result<Client, ClientError> {
            let url = config.cluster_url.to_string();
            let stack = ClientBuilder::try_from(config).map_err(|source| ClientError::Build {
                url,
                source: Box::new(source),
            })?;
            Ok(stack
                .with_layer(&RequestTimeout::new(args.api_request_timeout))
                .with_layer(counted)
                .build())
        };
        let mut without_retry = config.clone();
        without_retry.default_retry = false;
        Ok(Self {
            namespace: config.default_namespace.clone(),
            api: build(config)?,
            unretried: build(without_retry)?,
        })
    }

    /// Uses one client for everything, for tests with a scripted API.
    pub fn single(client: Client) -> Self {
        Self {
            namespace: client.default_namespace().to_owned(),
            api: client.clone(),
            unretried: client,
        }
    }
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// Chooses *ring* as the TLS provider of this process. [`crate::main_with`] does it; a test that talks TLS must.
pub fn install_crypto() {
    // An error means that a provider is installed already, which is as good.
    let _already = rustls::crypto::ring::default_provider().install_default();
}

async fn load(args: &ClientArgs) -> Result<Config, ClientError> {
    let Some(path) = &args.kubeconfig else {
        return Config::infer()
            .await
            .map_err(|source| ClientError::Infer(Box::new(source)));
    };
    let in_file = |source| ClientError::Kubeconfig {
        path: path.display().to_string(),
        source: Box::new(source),
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(in_file)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(in_file)
}

#[cfg(test)]
mod tests;
