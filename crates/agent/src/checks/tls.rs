//! TLS of probes: who is trusted, and which certificate is shown.
//!
//! Trusted are the system's certificate authorities and, if the agent's TLS settings are used for checks, the agent's
//! own. With `tls_skip_verify` any certificate is taken. Settings are built on first use and kept until a reload.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::warn;
use tribune_rt::net::TcpStream;
use tribune_rt::{Disk, Env};

/// Files with the certificate authorities of the system; the first that exists counts.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The agent's TLS material, if checks are to use it.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsFilesForChecks {
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) ca_path: Option<PathBuf>,
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    /// Name to verify in place of the address's host; empty takes the host.
    pub(crate) server_name: String,
}

/// TLS settings of probes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct TlsForChecks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: Disk,
    files: Option<TlsFilesForChecks>,
    verified: OnceLock<Arc<ClientConfig>>,
    unverified: OnceLock<Arc<ClientConfig>>,
    verified_h2: OnceLock<Arc<ClientConfig>>,
    unverified_h2: OnceLock<Arc<ClientConfig>>,
}

/// Protocol spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alpn {
    /// HTTP/1.1, not announced.
    Http1,
    /// HTTP/2.
    Http2,
}

impl TlsForChecks {
    /// Settings with the agent's material, or without.
    pub(crate) fn new(disk: Disk, files: Option<TlsFilesForChecks>) -> TlsForChecks {
        TlsForChecks(Arc::new(Inner {
            disk,
            files,
            verified: OnceLock::new(),
            unverified: OnceLock::new(),
            verified_h2: OnceLock::new(),
            unverified_h2: OnceLock::new(),
        }))
    }

    /// Speaks TLS on a connection to `host`.
    pub(super) async fn connect(
        &self,
        env: &Env,
        stream: TcpStream,
        host: &str,
        skip_verify: bool,
        alpn: Alpn,
        timeout: Duration,
    ) -> Result<TlsStream<TcpStream>, String> {
        let cell = match (skip_verify, alpn) {
            (false, Alpn::Http1) => &self.0.verified,
            (true, Alpn::Http1) => &self.0.unverified,
            (false, Alpn::Http2) => &self.0.verified_h2,
            (true, Alpn::Http2) => &self.0.unverified_h2,
        };
        let config = match cell.get() {
            Some(config) => Arc::clone(config),
            None => {
                // Reading the system's certificates takes longer than a task may block.
                let inner = Arc::clone(&self.0);
                let work = move || inner.build(skip_verify, alpn);
                let built = env
                    .spawn_blocking("check-tls", work)
                    .join()
                    .await
                    .map_err(|err| err.to_string())?;
                Arc::clone(cell.get_or_init(|| built))
            }
        };
        let own_name = self
            .0
            .files
            .as_ref()
            .map(|files| files.server_name.as_str())
            .filter(|name| !name.is_empty());
        let host = own_name.unwrap_or(host);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("x509: {host:?} is no host name"))?;
        match env
            .timeout(timeout, TlsConnector::from(config).connect(name, stream))
            .await
        {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(err)) => Err(tls_text(&err)),
            Err(_) => Err("net/http: TLS handshake timeout".to_owned()),
        }
    }
}

impl Inner {
    fn build(&self, skip_verify: bool, alpn: Alpn) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default versions");
        let builder = if skip_verify {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(TakeAny(provider)))
        } else {
            builder.with_root_certificates(self.roots())
        };
        let mut config = match self.client_certificate() {
            Some((chain, key)) => builder
                .clone()
                .with_client_auth_cert(chain, key)
                .unwrap_or_else(|err| {
                    warn!(%err, "the agent's certificate cannot be used for checks");
                    builder.with_no_client_auth()
                }),
            None => builder.with_no_client_auth(),
        };
        if alpn == Alpn::Http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        Arc::new(config)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        if let Some(files) = &self.files {
            let mut own: Vec<PathBuf> = files.ca_file.iter().cloned().collect();
            if let Some(folder) = &files.ca_path {
                own.extend(
                    self.disk
                        .list_dir(folder)
                        .unwrap_or_default()
                        .into_iter()
                        .map(|name| folder.join(name)),
                );
            }
            if !own.is_empty() {
                own.iter().for_each(|path| self.add_roots(path, &mut roots));
                return roots;
            }
        }
        if let Some(bundle) = SYSTEM_BUNDLES
            .iter()
            .map(Path::new)
            .find(|path| self.disk.exists(path))
        {
            self.add_roots(bundle, &mut roots);
        }
        roots
    }

    fn add_roots(&self, path: &Path, roots: &mut RootCertStore) {
        match self.disk.read(path) {
            Ok(bytes) => {
                let certs = CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok);
                roots.add_parsable_certificates(certs);
            }
            Err(err) => {
                warn!(file = %path.display(), %err, "certificate authorities cannot be read")
            }
        }
    }

    fn client_certificate(&self) -> Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let files = self.files.as_ref()?;
        let (cert, key) = (files.cert_file.as_ref()?, files.key_file.as_ref()?);
        let chain = CertificateDer::pem_slice_iter(&self.disk.read(cert).ok()?)
            .filter_map(Result::ok)
            .collect();
        let key = PrivateKeyDer::from_pem_slice(&self.disk.read(key).ok()?).ok()?;
        Some((chain, key))
    }
}

fn tls_text(err: &std::io::Error) -> String {
    match err
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(rustls::Error::InvalidMessage(_)) => {
            "tls: first record does not look like a TLS handshake".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            "x509: certificate signed by unknown authority".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(why)) => format!("x509: {why:?}"),
        Some(other) => format!("tls: {other}"),
        None => super::dial::os_text(err),
    }
}

/// Takes any certificate; signatures of the handshake are still checked.
#[derive(Debug)]
struct TakeAny(Arc<CryptoProvider>);

impl ServerCertVerifier for TakeAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
