//! Whom the network transport believes to be the broker.

// Helpers of tests are tests to no lint.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use pulsar_client::config::{BrokerAddress, TlsConfig};
use pulsar_client::transport::{Network, Transport as _};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

/// An authority of the test's own, in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: std::path::PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = std::env::temp_dir().join(format!("{name}-{}.pem", std::process::id()));
        std::fs::File::create(&file)
            .unwrap()
            .write_all(issuer.pem().as_bytes())
            .unwrap();
        Authority { issuer, file }
    }

    fn trusted(&self, hostname_verification: bool) -> TlsConfig {
        let ca_file = Some(self.file.clone());
        TlsConfig {
            ca_file,
            hostname_verification,
        }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Echoes one byte to each client, under a certificate for `name`.
async fn server(authority: &Authority, name: &str) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(mut tls) = acceptor.accept(tcp).await {
                let byte = tls.read_u8().await.unwrap();
                tls.write_u8(byte).await.unwrap();
            }
        }
    });
    address
}

async fn echo(config: &TlsConfig, address: SocketAddr) -> std::io::Result<u8> {
    let address = BrokerAddress {
        host: "localhost".into(),
        port: address.port(),
        tls: true,
    };
    let mut stream = Network::new(config)?.connect(&address).await?;
    stream.write.write_u8(7).await?;
    stream.write.flush().await?;
    stream.read.read_u8().await
}

#[tokio::test]
async fn a_broker_with_its_own_name_and_a_trusted_authority_is_believed() {
    let authority = Authority::new("believed");
    let address = server(&authority, "localhost").await;
    assert_eq!(echo(&authority.trusted(true), address).await.unwrap(), 7);
}

#[tokio::test]
async fn a_broker_under_another_name_is_refused_unless_names_do_not_matter() {
    let authority = Authority::new("names");
    let address = server(&authority, "elsewhere.example").await;
    assert!(echo(&authority.trusted(true), address).await.is_err());
    assert_eq!(echo(&authority.trusted(false), address).await.unwrap(), 7);
}

#[tokio::test]
async fn an_unknown_authority_is_refused_even_where_names_do_not_matter() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let address = server(&theirs, "localhost").await;
    assert!(echo(&ours.trusted(true), address).await.is_err());
    assert!(echo(&ours.trusted(false), address).await.is_err());
    assert!(echo(&TlsConfig::default(), address).await.is_err());
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let config = TlsConfig {
        ca_file: Some("/nowhere.pem".into()),
        ..TlsConfig::default()
    };
    assert!(Network::new(&config).is_err());
}
