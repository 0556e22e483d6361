//! Real connections on loopback.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::*;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

struct Pair {
    cert: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Pair {
            cert: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

struct Server {
    files: TempDir,
    certificates: Certificates,
    address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn write(dir: &Path, server: &Pair, clients: &Authority) -> TlsFiles {
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    TlsFiles {
        cert: file("tls.crt", &server.cert),
        key: file("tls.key", &server.key),
        client_ca: file("ca.crt", &clients.pem),
    }
}

impl Server {
    async fn start(server: &Pair, clients: &Authority) -> Self {
        let files = tempfile::tempdir().unwrap();
        let certificates = Certificates::load(write(files.path(), server, clients)).unwrap();
        let stop = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = TlsListener::new(listener, certificates.clone(), stop.clone()).unwrap();
        let address = listener.address();
        let router = Router::new().route("/", get(|| async { "hello" }));
        let serving =
            axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::spawn(async move { serving.await.unwrap() });
        Self {
            files,
            certificates,
            address,
            stop,
        }
    }

    async fn connect(
        &self,
        trusted: &Authority,
        own: Option<&Pair>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(trusted.pem.as_bytes()).unwrap())
            .unwrap();
        let builder =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let cert = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
        };
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("extender").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    async fn ask(&self, trusted: &Authority, own: Option<&Pair>) -> std::io::Result<String> {
        let mut stream = self.connect(trusted, own).await?;
        ask(&mut stream).await
    }
}

/// One question on a connection that stays open.
async fn ask(stream: &mut TlsStream<TcpStream>) -> std::io::Result<String> {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: extender\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    let mut part = [0; 512];
    loop {
        let read = stream.read(&mut part).await?;
        answer.extend_from_slice(&part[..read]);
        if read == 0 || answer.ends_with(b"hello") {
            return Ok(String::from_utf8_lossy(&answer).into_owned());
        }
    }
}

#[tokio::test]
async fn only_a_client_of_the_authority_is_answered() {
    let (ours, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let server = Server::start(&ours.sign("extender"), &clients).await;
    let (known, unknown) = (
        clients.sign("kube-scheduler"),
        strangers.sign("kube-scheduler"),
    );
    let answer = server.ask(&ours, Some(&known)).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"),
        "{answer}"
    );
    // With TLS 1.3 the refusal arrives after the client's own handshake is done.
    for own in [None, Some(&unknown)] {
        let answer = server.ask(&ours, own).await;
        assert!(
            answer.as_ref().map_or(true, |text| !text.contains("hello")),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_holds_up_nobody() {
    let (ours, clients) = (Authority::new(), Authority::new());
    let server = Server::start(&ours.sign("extender"), &clients).await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let known = clients.sign("kube-scheduler");
    assert!(
        server
            .ask(&ours, Some(&known))
            .await
            .unwrap()
            .ends_with("hello")
    );
}

#[tokio::test]
async fn replaced_files_are_used_without_a_restart_and_old_connections_stay() {
    let (first, second, clients) = (Authority::new(), Authority::new(), Authority::new());
    let server = Server::start(&first.sign("extender"), &clients).await;
    let known = clients.sign("kube-scheduler");
    let mut old = server.connect(&first, Some(&known)).await.unwrap();
    assert!(ask(&mut old).await.unwrap().ends_with("hello"));
    assert!(!server.certificates.reload().unwrap(), "nothing changed");

    write(server.files.path(), &second.sign("extender"), &clients);
    assert!(server.certificates.reload().unwrap());
    assert!(
        server
            .ask(&second, Some(&known))
            .await
            .unwrap()
            .ends_with("hello")
    );
    assert!(
        server.ask(&first, Some(&known)).await.is_err(),
        "the old certificate is not shown any more"
    );
    assert!(
        ask(&mut old).await.unwrap().ends_with("hello"),
        "a connection that stands is left alone"
    );
}

#[tokio::test]
async fn another_authority_of_clients_takes_effect() {
    let (ours, before, after) = (Authority::new(), Authority::new(), Authority::new());
    let pair = ours.sign("extender");
    let server = Server::start(&pair, &before).await;
    write(server.files.path(), &pair, &after);
    assert!(server.certificates.reload().unwrap());
    let (outdated, known) = (before.sign("kube-scheduler"), after.sign("kube-scheduler"));
    assert!(
        server
            .ask(&ours, Some(&known))
            .await
            .unwrap()
            .ends_with("hello")
    );
    let answer = server.ask(&ours, Some(&outdated)).await;
    assert!(
        answer.as_ref().map_or(true, |text| !text.contains("hello")),
        "{answer:?}"
    );
}

#[tokio::test]
async fn files_that_do_not_belong_together_change_nothing() {
    let (ours, clients) = (Authority::new(), Authority::new());
    let server = Server::start(&ours.sign("extender"), &clients).await;
    let known = clients.sign("kube-scheduler");
    let half = Pair {
        cert: ours.sign("extender").cert,
        key: ours.sign("extender").key,
    };
    write(server.files.path(), &half, &clients);
    let error = server.certificates.reload().unwrap_err().to_string();
    assert!(
        error.contains("tls.crt") && error.contains("tls.key"),
        "{error}"
    );
    std::fs::write(server.files.path().join("ca.crt"), "").unwrap();
    let error = server.certificates.reload().unwrap_err().to_string();
    assert!(error.contains("ca.crt"), "{error}");
    assert!(
        server
            .ask(&ours, Some(&known))
            .await
            .unwrap()
            .ends_with("hello")
    );
}
