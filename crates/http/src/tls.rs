//! TLS of the HTTPS listeners: certificates that can be replaced while serving, client certificates, one alert.
//!
//! Go reports every problem with a client certificate, its absence included, as the alert `bad_certificate`, and client
//! libraries match on that text; rustls would say `certificate_required` and others. So the client may come without a
//! certificate as far as rustls is concerned, and is then sent that alert here; a certificate that does not verify is
//! mapped to the error that gives that alert.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::{OutboundChunks, OutboundPlainMessage};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ConnectionTrafficSecrets, ContentType, DigitallySignedStruct,
    DistinguishedName, Error as RustlsError, ProtocolVersion, RootCertStore, ServerConfig,
    SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// ALPN name of HTTP/2.
const H2: &[u8] = b"h2";
/// Alert descriptions (RFC 8446, section 6).
const BAD_CERTIFICATE: u8 = 42;
const UNRECOGNIZED_NAME: u8 = 112;
/// A fatal alert.
const FATAL: u8 = 2;

/// What TLS listeners need, as PEM text.
#[derive(Clone, Default)]
pub struct TlsOptions {
    /// Certificate chain, leaf first.
    pub cert_pem: Vec<u8>,
    /// Private key of the leaf.
    pub key_pem: Vec<u8>,
    /// CA certificates that client certificates are verified against; may hold several files one after the other.
    pub ca_pem: Vec<u8>,
    /// Demand client certificates.
    pub verify_incoming: bool,
    /// Refuse TLS 1.2.
    pub only_tls13: bool,
}

impl std::fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsOptions")
            .field("verify_incoming", &self.verify_incoming)
            .field("only_tls13", &self.only_tls13)
            .finish_non_exhaustive()
    }
}

/// Why certificates cannot be used. What was in use before stays so.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM text of `what` holds none, or is broken.
    #[error("no usable {what} in the PEM text")]
    Pem {
        /// Certificate, key or CA.
        what: &'static str,
    },
    /// Key and certificate do not fit, or an algorithm is not supported.
    #[error("certificate and key cannot be used: {0}")]
    Config(#[from] RustlsError),
    /// Client certificates are demanded but no CA can verify them.
    #[error("client certificates cannot be verified: {0}")]
    Verifier(String),
}

/// The settings of new handshakes. Replaced as a whole.
#[derive(Default)]
pub(crate) struct Tls {
    current: ArcSwapOption<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    demand_client: bool,
}

/// A stream whose handshake is done.
pub(crate) type TlsStream<S> = tokio_rustls::server::TlsStream<S>;

impl Tls {
    /// Takes new settings for later handshakes.
    pub(crate) fn set(&self, options: &TlsOptions) -> Result<(), TlsError> {
        let current = Current {
            config: Arc::new(config(options)?),
            demand_client: options.verify_incoming,
        };
        self.current.store(Some(Arc::new(current)));
        Ok(())
    }

    /// Does the handshake. Without certificates every handshake fails, as in Consul.
    pub(crate) async fn accept<S>(&self, mut stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(current) = self.current.load_full() else {
            // The hello is read first: closing over unread bytes would reset the connection before the alert arrives.
            let mut hello = [0; 4096];
            let _ = stream.read(&mut hello).await?;
            // Alert, TLS 1.2 record, 2 bytes.
            stream
                .write_all(&[21, 3, 3, 0, 2, FATAL, UNRECOGNIZED_NAME])
                .await?;
            drain(stream).await;
            return Err(io::Error::other("no certificate is configured"));
        };
        let mut stream = tokio_rustls::TlsAcceptor::from(Arc::clone(&current.config))
            .accept(stream)
            .await?;
        if current.demand_client && stream.get_ref().1.peer_certificates().is_none() {
            stream.flush().await?;
            refuse(stream).await?;
            return Err(io::Error::other("the client has no certificate"));
        }
        Ok(stream)
    }

    /// True if the handshake settled on HTTP/2.
    pub(crate) fn is_h2<S>(stream: &TlsStream<S>) -> bool {
        stream.get_ref().1.alpn_protocol() == Some(H2)
    }
}

fn config(options: &TlsOptions) -> Result<ServerConfig, TlsError> {
    let certs = certificates(&options.cert_pem, "certificate")?;
    let key = PrivateKeyDer::from_pem_slice(&options.key_pem)
        .map_err(|_| TlsError::Pem { what: "key" })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions: &[&SupportedProtocolVersion] = if options.only_tls13 {
        &[&rustls::version::TLS13]
    } else {
        &[&rustls::version::TLS13, &rustls::version::TLS12]
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)?;
    let builder = if options.verify_incoming {
        builder.with_client_cert_verifier(Arc::new(GoVerifier::new(&options.ca_pem, provider)?))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_single_cert(certs, key)?;
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    // For the alert alone.
    config.enable_secret_extraction = options.verify_incoming;
    Ok(config)
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certs: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::Pem { what })?;
    if certs.is_empty() {
        Err(TlsError::Pem { what })
    } else {
        Ok(certs)
    }
}

/// Sends `bad_certificate` in a record of its own and closes. rustls offers no way to send an alert, but gives the keys
/// away once the handshake is done.
async fn refuse<S>(stream: TlsStream<S>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut stream, connection) = stream.into_inner();
    let suite = connection.negotiated_cipher_suite();
    let secrets = connection
        .dangerous_extract_secrets()
        .map_err(io::Error::other)?;
    let record = suite.and_then(|suite| alert_record(suite, secrets.tx));
    if let Some(record) = record {
        stream.write_all(&record).await?;
        stream.flush().await?;
    }
    drain(stream).await;
    Ok(())
}

/// Closes this side and reads until the client has closed its own, so that the alert is not lost in a reset. The
/// handshake's time limit bounds it.
async fn drain<S>(mut stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut rest = [0; 1024];
    while let Ok(1..) = stream.read(&mut rest).await {}
}

fn alert_record(
    suite: SupportedCipherSuite,
    (seq, secrets): (u64, ConnectionTrafficSecrets),
) -> Option<Vec<u8>> {
    let (key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (key, iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => return None,
    };
    let mut encrypter = match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            // The fixed part comes from the handshake, the explicit part follows it.
            let fixed = suite.aead_alg.key_block_shape().fixed_iv_len;
            let (fixed, explicit) = iv.as_ref().split_at_checked(fixed)?;
            suite.aead_alg.encrypter(key, fixed, explicit)
        }
    };
    let payload = [FATAL, BAD_CERTIFICATE];
    let plain = OutboundPlainMessage {
        typ: ContentType::Alert,
        version: ProtocolVersion::TLSv1_2,
        payload: OutboundChunks::Single(&payload),
    };
    encrypter
        .encrypt(plain, seq)
        .ok()
        .map(rustls::crypto::cipher::OutboundOpaqueMessage::encode)
}

/// Verifies against the configured CAs; whatever is wrong, the alert is `bad_certificate`.
#[derive(Debug)]
struct GoVerifier {
    inner: Arc<dyn ClientCertVerifier>,
}

impl GoVerifier {
    fn new(ca_pem: &[u8], provider: Arc<CryptoProvider>) -> Result<GoVerifier, TlsError> {
        let mut roots = RootCertStore::empty();
        for cert in certificates(ca_pem, "CA certificate")? {
            roots.add(cert)?;
        }
        let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|error| TlsError::Verifier(error.to_string()))?;
        Ok(GoVerifier { inner })
    }
}

impl ClientCertVerifier for GoVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, RustlsError> {
        self.inner
            .verify_client_cert(leaf, chain, now)
            .map_err(|_| RustlsError::InvalidCertificate(CertificateError::BadEncoding))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
