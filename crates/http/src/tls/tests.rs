//! Handshakes with rustls clients over in-memory streams.

use std::sync::Arc;

use rustls::{AlertDescription, ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

macro_rules! pem {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/tls/", $name))
    };
}

fn options(verify_incoming: bool) -> TlsOptions {
    TlsOptions {
        cert_pem: pem!("server.pem").to_vec(),
        key_pem: pem!("server.key").to_vec(),
        ca_pem: pem!("ca.pem").to_vec(),
        verify_incoming,
        only_tls13: false,
    }
}

type Identity = (&'static [u8], &'static [u8]);
const CLIENT: Identity = (pem!("client.pem"), pem!("client.key"));
const STRANGER: Identity = (pem!("stranger.pem"), pem!("stranger.key"));

fn client(version: &'static SupportedProtocolVersion, identity: Option<Identity>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem!("ca.pem")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(cert).unwrap()],
                PrivateKeyDer::from_pem_slice(key).unwrap(),
            )
            .unwrap(),
    }
}

/// What the client sees: the answer to a byte, or the error.
async fn exchange(tls: &Tls, config: ClientConfig) -> Result<u8, RustlsError> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let server = async {
        if let Ok(mut stream) = tls.accept(far).await {
            let byte = stream.read_u8().await.unwrap();
            stream.write_u8(byte + 1).await.unwrap();
            stream.flush().await.unwrap();
        }
    };
    let client = async {
        let name = ServerName::try_from("localhost").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, near).await?;
        stream.write_u8(41).await?;
        stream.flush().await?;
        stream.read_u8().await
    };
    let (_, seen) = tokio::join!(server, client);
    seen.map_err(|error| {
        let text = error.to_string();
        match error
            .into_inner()
            .map(|inner| inner.downcast::<RustlsError>())
        {
            Some(Ok(inner)) => *inner,
            _ => RustlsError::General(text),
        }
    })
}

fn server(options: &TlsOptions) -> Tls {
    let tls = Tls::default();
    tls.set(options).unwrap();
    tls
}

const BAD: Result<u8, RustlsError> =
    Err(RustlsError::AlertReceived(AlertDescription::BadCertificate));

#[tokio::test]
async fn a_missing_or_foreign_client_certificate_is_a_bad_certificate() {
    let tls = server(&options(true));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        assert_eq!(exchange(&tls, client(version, Some(CLIENT))).await, Ok(42));
        assert_eq!(
            exchange(&tls, client(version, None)).await,
            BAD,
            "none, {version:?}"
        );
        assert_eq!(
            exchange(&tls, client(version, Some(STRANGER))).await,
            BAD,
            "stranger, {version:?}"
        );
    }
}

#[tokio::test]
async fn every_cipher_suite_can_say_so() {
    let tls = server(&options(true));
    for suite in rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES {
        if suite
            .suite()
            .as_str()
            .is_some_and(|name| name.contains("RSA"))
        {
            continue;
        }
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites = vec![*suite];
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(pem!("ca.pem")).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        assert_eq!(exchange(&tls, config).await, BAD, "{:?}", suite.suite());
    }
}

#[tokio::test]
async fn without_verification_anyone_may_come() {
    let tls = server(&options(false));
    assert_eq!(
        exchange(&tls, client(&rustls::version::TLS13, None)).await,
        Ok(42)
    );
}

#[tokio::test]
async fn without_a_certificate_every_handshake_fails() {
    let seen = exchange(&Tls::default(), client(&rustls::version::TLS13, None)).await;
    assert_eq!(
        seen,
        Err(RustlsError::AlertReceived(
            AlertDescription::UnrecognisedName
        ))
    );
}

#[tokio::test]
async fn old_versions_can_be_refused() {
    let tls = server(&TlsOptions {
        only_tls13: true,
        ..options(false)
    });
    assert!(
        exchange(&tls, client(&rustls::version::TLS12, None))
            .await
            .is_err()
    );
    assert_eq!(
        exchange(&tls, client(&rustls::version::TLS13, None)).await,
        Ok(42)
    );
}

#[test]
fn unusable_certificates_are_refused_and_change_nothing() {
    let tls = server(&options(false));
    for broken in [
        TlsOptions {
            cert_pem: b"nonsense".to_vec(),
            ..options(false)
        },
        TlsOptions {
            key_pem: Vec::new(),
            ..options(false)
        },
        TlsOptions {
            key_pem: pem!("client.key").to_vec(),
            ..options(false)
        },
        TlsOptions {
            ca_pem: Vec::new(),
            ..options(true)
        },
    ] {
        assert!(tls.set(&broken).is_err(), "{broken:?}");
    }
    assert!(
        tls.current
            .load_full()
            .is_some_and(|current| !current.demand_client)
    );
}
