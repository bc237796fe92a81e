//! TLS of the S3 listener: rustls on AWS-LC, HTTP/1.1 only.
//!
//! HTTP/2 is not offered: its header tables would keep customer keys for the life of a
//! connection.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::{ConfigError, Tls};
use crate::process::read_secret_file;

/// Reads certificate and key and prepares the acceptor.
pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, ConfigError> {
    let chain = certificates(&tls.certificate)?;
    let key = private_key(&tls.key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| {
            let what = format!("certificate and key cannot be used together: {error}");
            ConfigError::about(&tls.certificate, what)
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Session state would outlive the connection; tickets keep it with the client.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let fault = |what: String| ConfigError::about(file, what);
    let chain: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| fault(format!("cannot read the certificate: {error}")))?;
    if chain.is_empty() {
        return Err(fault("no PEM certificate in it".into()));
    }
    Ok(chain)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let text = read_secret_file(file)?;
    PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|_| ConfigError::about(file, "no PEM private key in it"))
}
