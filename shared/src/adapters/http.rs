//! The one HTTPS connector that all clients share.

use std::{
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};

/// For how long a connection may take to come about. A connection inside a region takes milliseconds.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The client that sends requests over TLS, built on first use, the same for every service.
///
/// Why not the SDK's own: its client builds a TLS connector, and parses some 150 root certificates for it, for every service
/// client as a check of its configuration, throws that away, and builds another one on the first request. A function with
/// three clients starts six times slower for it. A client made of a function has no such check, and returns one connector,
/// with one pool of connections, to everybody.
///
/// It takes HTTP/1.1 and HTTP/2, and plain HTTP where an endpoint (of an emulator) says `http://`. Certificates are those of
/// the platform, or of `SSL_CERT_FILE`; proxies are not supported.
pub fn https_client() -> SharedHttpClient {
    static CLIENT: LazyLock<SharedHttpClient> = LazyLock::new(|| shared_client(https_connector));
    CLIENT.clone()
}

/// A client that calls `build` on its first request and gives that connector to every later one, of whatever service.
///
/// The settings that a service client would like (its connect timeout) are not asked for: all our clients have the same.
pub fn shared_client(build: impl Fn() -> SharedHttpConnector + Send + Sync + 'static) -> SharedHttpClient {
    let connector = OnceLock::new();
    http_client_fn(move |_, _| connector.get_or_init(&build).clone())
}

fn https_connector() -> SharedHttpConnector {
    let settings = HttpConnectorSettings::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .build();
    SharedHttpConnector::new(
        Connector::builder()
            .connector_settings(settings)
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build(),
    )
}
