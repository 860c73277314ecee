//! TLS settings of the client from files.
//!
//! Without a CA file or folder the machine's own bundle is used, found where Linux distributions keep it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, ServerName, UnixTime,
    pem::{self, PemObject as _},
};

use super::{
    config::TlsFiles,
    error::{Error, FileProblem},
};

/// Bundles of the machine, first found wins; `SSL_CERT_FILE` goes before them.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Says early that a file cannot be read, also where the address is clear text.
pub(super) fn check_files(files: &TlsFiles) -> Result<(), Error> {
    if let Some(path) = &files.ca_file {
        certificates("CA File", path)?;
    }
    Ok(())
}

/// Builds the settings.
pub(super) fn client_config(files: &TlsFiles) -> Result<Arc<rustls::ClientConfig>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| content("TLS settings", Path::new("tls"), e.to_string()))?;
    let builder = if files.skip_verify {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
    } else {
        builder.with_root_certificates(roots(files)?)
    };
    let config = match (&files.client_cert, &files.client_key) {
        (Some(cert), Some(key)) => {
            let chain = certificates("client cert file", cert)?;
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|e| pem_problem("client key file", key, e))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|e| content("client cert", cert, e.to_string()))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(Error::HalfClientCert),
    };
    Ok(Arc::new(config))
}

fn roots(files: &TlsFiles) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    if let Some(path) = &files.ca_file {
        store.add_parsable_certificates(certificates("CA File", path)?);
    } else if let Some(dir) = &files.ca_path {
        let entries = std::fs::read_dir(dir).map_err(|source| Error::File {
            what: "CA Path",
            problem: FileProblem::Open {
                path: dir.clone(),
                source,
            },
        })?;
        for path in entries.flatten().map(|e| e.path()).filter(|p| p.is_file()) {
            store.add_parsable_certificates(certificates("CA File", &path)?);
        }
    } else {
        let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let known = SYSTEM_BUNDLES.iter().map(PathBuf::from);
        if let Some(path) = named.into_iter().chain(known).find(|p| p.is_file()) {
            store.add_parsable_certificates(certificates("CA File", &path)?);
        }
    }
    Ok(store)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect());
    match found {
        Ok(list) if list.is_empty() => Err(content(what, path, "no certificate in it".to_owned())),
        Ok(list) => Ok(list),
        Err(e) => Err(pem_problem(what, path, e)),
    }
}

fn pem_problem(what: &'static str, path: &Path, error: pem::Error) -> Error {
    let problem = match error {
        pem::Error::Io(source) => FileProblem::Open {
            path: path.to_owned(),
            source,
        },
        other => FileProblem::Content {
            path: path.to_owned(),
            problem: other.to_string(),
        },
    };
    Error::File { what, problem }
}

fn content(what: &'static str, path: &Path, problem: String) -> Error {
    Error::File {
        what,
        problem: FileProblem::Content {
            path: path.to_owned(),
            problem,
        },
    }
}

/// Accepts every certificate, for `CONSUL_HTTP_SSL_VERIFY=false`. Signatures are still checked, so that the peer
/// holds the key of what it shows.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
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
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
