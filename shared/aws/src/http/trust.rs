//! The authorities that a server's certificate is checked with.
//!
//! Those of Amazon are part of the program: to parse the bundle of a platform, which has some 145, took as many instructions as all the
//! rest of a function's first event. The platform's are asked for a server whose certificate none of Amazon's has signed: that of an
//! emulator, of a proxy, or of a partition with authorities of its own. So nothing is refused that the platform trusts.

use std::sync::{Arc, OnceLock};

use rustls::{
    DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// The authorities of Amazon Trust Services, all five that its repository names for a store of one's own.
///
/// Source: <https://www.amazontrust.com/repository>.
const AMAZON: [&[u8]; 5] = [
    include_bytes!("roots/amazon-root-ca-1.der"),
    include_bytes!("roots/amazon-root-ca-2.der"),
    include_bytes!("roots/amazon-root-ca-3.der"),
    include_bytes!("roots/amazon-root-ca-4.der"),
    include_bytes!("roots/starfield-services-root-g2.der"),
];

/// Variables that name certificates of authorities. Where one is set, its authorities are the only ones.
const NAMED: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The check of servers' certificates.
///
/// # Errors
/// A variable names certificates, and none of them can be read.
pub(super) fn verifier(provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the reader of these variables is a library; here it only counts whether they are set"
    )]
    let named = NAMED.iter().any(|name| std::env::var_os(name).is_some());
    if named {
        return Ok(platform(provider)?);
    }
    let fallback = Arc::clone(provider);
    Ok(Arc::new(InTurn {
        first: check(AMAZON.map(CertificateDer::from).to_vec(), provider)?,
        then: OnceLock::new(),
        build: Box::new(move || platform(&fallback).ok()),
    }))
}

/// The check with the platform's authorities, or with those that a variable names.
fn platform(provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, String> {
    let found = rustls_native_certs::load_native_certs();
    check(found.certs, provider).map_err(|error| {
        let why = found.errors.first().map(ToString::to_string);
        format!("no certificate of an authority: {}", why.unwrap_or(error))
    })
}

/// The check with some authorities. One that cannot be read is left out.
fn check(
    authorities: Vec<CertificateDer<'_>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(authorities);
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
        .build()
        .map_err(|error| error.to_string())
}

/// Two checks: the second is built and asked when the first refuses.
struct InTurn {
    first: Arc<WebPkiServerVerifier>,
    then: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
    build: Box<dyn Fn() -> Option<Arc<WebPkiServerVerifier>> + Send + Sync>,
}

impl std::fmt::Debug for InTurn {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("InTurn").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for InTurn {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        status: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refused = match self.first.verify_server_cert(server, intermediates, name, status, now) {
            Ok(verified) => return Ok(verified),
            Err(refused) => refused,
        };
        match self.then.get_or_init(|| (self.build)()) {
            Some(then) => then.verify_server_cert(server, intermediates, name, status, now),
            None => Err(refused),
        }
    }

    // A signature depends on no authority.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        server: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.first.verify_tls12_signature(message, server, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        server: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.first.verify_tls13_signature(message, server, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.first.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, time::Duration};

    use rustls::CertificateError;
    use sha2::{Digest as _, Sha256};

    use super::*;

    const ONE: &[u8] = include_bytes!("testing/authority-one.der");
    const OTHER: &[u8] = include_bytes!("testing/authority-other.der");
    /// The certificate of `ecr.test`, signed by the first.
    const SERVER: &[u8] = include_bytes!("testing/server.der");

    fn provider() -> Arc<CryptoProvider> {
        Arc::new(rustls::crypto::ring::default_provider())
    }

    fn authority(certificate: &'static [u8]) -> Arc<WebPkiServerVerifier> {
        check(vec![CertificateDer::from(certificate)], &provider()).unwrap()
    }

    fn ask(check: &dyn ServerCertVerifier, name: &'static str) -> Result<(), Error> {
        let now = UnixTime::since_unix_epoch(Duration::from_hours(24 * 365 * 60));
        let name = ServerName::try_from(name).unwrap();
        check
            .verify_server_cert(&CertificateDer::from(SERVER), &[], &name, &[], now)
            .map(drop)
    }

    /// Whether `ecr.test` is believed with these authorities, and how often the second was built.
    fn in_turn(first: &'static [u8], then: Option<&'static [u8]>, name: &'static str) -> (Result<(), Error>, usize) {
        let built = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&built);
        let check = InTurn {
            first: authority(first),
            then: OnceLock::new(),
            build: Box::new(move || {
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                then.map(authority)
            }),
        };
        let answers = [ask(&check, name), ask(&check, name)];
        assert_eq!(answers[0], answers[1]);
        let [answer, _] = answers;
        (answer, built.load(std::sync::atomic::Ordering::Relaxed))
    }

    #[test]
    fn the_authorities_are_those_that_amazon_publishes() {
        let prints = AMAZON.map(|certificate| {
            let digest = Sha256::digest(certificate);
            digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        });
        assert_eq!(
            prints,
            [
                "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
                "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
                "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
                "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
                "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
            ]
        );
        let mut store = RootCertStore::empty();
        assert_eq!(
            store.add_parsable_certificates(AMAZON.map(CertificateDer::from)),
            (AMAZON.len(), 0)
        );
    }

    #[test]
    fn the_platform_is_not_read_for_a_server_that_the_first_authorities_know() {
        assert_eq!(in_turn(ONE, None, "ecr.test"), (Ok(()), 0));
    }

    #[test]
    fn the_platform_is_read_once_for_a_server_that_they_do_not_know() {
        assert_eq!(in_turn(OTHER, Some(ONE), "ecr.test"), (Ok(()), 1));
    }

    #[test]
    fn a_server_that_nobody_knows_is_refused() {
        let unknown = Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert_eq!(in_turn(OTHER, Some(OTHER), "ecr.test"), (unknown.clone(), 1));
        assert_eq!(in_turn(OTHER, None, "ecr.test"), (unknown, 1));
        let other_name = in_turn(ONE, Some(ONE), "sns.test").0.unwrap_err();
        assert!(matches!(
            other_name,
            Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })
        ));
    }
}
