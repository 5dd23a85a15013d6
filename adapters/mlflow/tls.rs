//! TLS by rustls with ring, chosen here: no provider of the whole process is asked for or set.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use super::{COMPONENT, MlflowBuilder};
use crate::{Error, ErrorKind};

fn invalid(context: String) -> Error {
    Error::new(ErrorKind::InvalidInput, COMPONENT, context)
}

/// What the options say; nobody is trusted where no `https` is spoken.
pub(super) fn configuration(options: &MlflowBuilder, https: bool) -> Result<ClientConfig, Error> {
    let failed = |e: rustls::Error| invalid("TLS cannot be set up".to_owned()).with_source(e);
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?;
    let builder = match &options.server_certificates {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(failed)?;
            }
            builder.with_root_certificates(roots)
        }
        None if https => builder.with_platform_verifier().map_err(failed)?,
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    match &options.client_certificate {
        None => Ok(builder.with_no_client_auth()),
        Some(path) => {
            let key = PrivateKeyDer::from_pem_file(path).map_err(|e| unreadable(path, e))?;
            builder.with_client_auth_cert(certificates(path)?, key).map_err(failed)
        }
    }
}

/// Whether one side will not do for the other: a certificate, a version of TLS, no TLS at all. The
/// next attempt would meet the same.
pub(super) fn is_refusal(error: &rustls::Error) -> bool {
    use rustls::{AlertDescription as A, Error as E};
    match error {
        // A fault of the moment: a proxy that reads its files again, bytes that were damaged.
        E::AlertReceived(A::InternalError | A::BadRecordMac | A::UserCanceled) => false,
        E::AlertReceived(_)
        | E::InvalidCertificate(_)
        | E::InvalidMessage(_)
        | E::PeerIncompatible(_) => true,
        _ => false,
    }
}

fn unreadable(path: &Path, error: rustls::pki_types::pem::Error) -> Error {
    let context = format!("{} cannot be read as certificates in PEM", path.display());
    // Its text says what is wrong, and nothing of what is in the file.
    invalid(context).with_source(error.to_string())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).map_err(|e| unreadable(path, e))?;
    let all = read.collect::<Result<Vec<_>, _>>().map_err(|e| unreadable(path, e))?;
    if all.is_empty() {
        return Err(invalid(format!("{} holds no certificate", path.display())));
    }
    Ok(all)
}
