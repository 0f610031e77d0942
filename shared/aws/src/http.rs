//! The one HTTPS connector that all clients share.

mod trust;

use std::{
    sync::{Arc, LazyLock, OnceLock},
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector as TcpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;

/// For how long a connection may take to come about. A connection inside a region takes milliseconds.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The client that sends requests over TLS, built on first use, the same for every service.
///
/// Why not the SDK's own: its client builds a TLS connector, and parses some 150 root certificates for it, for every service
/// client as a check of its configuration, throws that away, and builds another one on the first request. A function with
/// three clients starts six times slower for it. A client made of a function has no such check, and returns one connector,
/// with one pool of connections, to everybody.
///
/// It speaks HTTP/1.1, which is all that AWS's APIs need, and plain HTTP where an endpoint (of an emulator) says `http://`. Authorities are Amazon's,
/// which are part of the program, and then the platform's; where `SSL_CERT_FILE` or `SSL_CERT_DIR` is set, only those that it names.
/// Proxies are not supported.
pub fn https_client() -> SharedHttpClient {
    static CLIENT: LazyLock<SharedHttpClient> = LazyLock::new(|| shared_client(https_connector));
    CLIENT.clone()
}

/// Gets a document of at most `limit` bytes, with the status of the answer. A redirect is an answer, and is not followed.
///
/// # Errors
/// There is no answer, or a longer one, or it is no text.
pub async fn fetch(uri: &str, headers: &[(&'static str, &str)], limit: usize) -> Result<(u16, String), String> {
    static CONNECTOR: LazyLock<SharedHttpConnector> = LazyLock::new(https_connector);
    let mut request = HttpRequest::new(SdkBody::empty());
    request.set_method("GET").map_err(|error| error.to_string())?;
    request.set_uri(uri).map_err(|error| error.to_string())?;
    for (name, value) in headers {
        request
            .headers_mut()
            .try_insert(*name, (*value).to_owned())
            .map_err(|error| error.to_string())?;
    }
    let response = CONNECTOR.call(request).await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let mut body = ByteStream::new(response.into_body());
    let mut bytes = Vec::new();
    while let Some(chunk) = body.try_next().await.map_err(|error| error.to_string())? {
        if bytes.len() + chunk.len() > limit {
            return Err(format!("the answer has more than {limit} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
    Ok((status, text))
}

/// A client that calls `build` on its first request and gives that connector to every later one, of whatever service.
///
/// The settings that a service client would like (its connect timeout) are not asked for: all our clients have the same.
pub fn shared_client(build: impl Fn() -> SharedHttpConnector + Send + Sync + 'static) -> SharedHttpClient {
    let connector = OnceLock::new();
    http_client_fn(move |_, _| connector.get_or_init(&build).clone())
}

fn https_connector() -> SharedHttpConnector {
    let mut tcp = TcpConnector::new();
    // The address decides between TLS and plain text, not this layer.
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_nodelay(true);
    let https = match tls() {
        Ok(tls) => HttpsConnectorBuilder::new().with_tls_config(tls),
        // Every request then fails, and says why: a function without certificates cannot reach AWS.
        Err(error) => return SharedHttpConnector::new(NoCertificates(error)),
    };
    let https = https.https_or_http().enable_http1().wrap_connector(tcp);
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build(https);
    SharedHttpConnector::new(Connector(client))
}

fn tls() -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = trust::verifier(&provider)?;
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| error.to_string())?;
    // A check that is not its own is dangerous in the words of rustls: ours asks its own, twice at most.
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    Ok(builder.with_no_client_auth())
}

/// A machine without certificates of authorities.
#[derive(Debug)]
struct NoCertificates(String);

impl HttpConnector for NoCertificates {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Err(ConnectorError::user(self.0.clone().into())))
    }
}

/// hyper's client, for the SDK.
#[derive(Debug)]
struct Connector(Client<HttpsConnector<TcpConnector>, SdkBody>);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let asked = tracing::enabled!(tracing::Level::DEBUG).then(|| what(&request));
            let request = request
                .try_into_http1x()
                .map_err(|error| ConnectorError::user(error.into()))?;
            let response = client.request(request).await.map_err(connector_error);
            if let Some(asked) = asked {
                match &response {
                    Ok(response) => {
                        tracing::debug!(call = asked, status = response.status().as_u16(), "AWS has answered")
                    }
                    Err(error) => tracing::debug!(call = asked, error = %error, "AWS has not answered"),
                }
            }
            let response = response?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// A request in a line of the log: host and operation. It names no subject and no credentials.
fn what(request: &HttpRequest) -> String {
    let host = request.uri().split("://").nth(1).unwrap_or_default();
    let host = host.split(['/', '?']).next().unwrap_or_default();
    // Services with JSON say the operation in a header; SNS says it in the body.
    let operation = request.headers().get("x-amz-target").unwrap_or_default();
    format!("{host} {operation}").trim_end().to_owned()
}

/// The failure in the SDK's words, by which it decides whether to try again. (The SDK's own timeouts notice that nothing comes
/// in time.)
fn connector_error(error: Error) -> ConnectorError {
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::TimedOut
        {
            return ConnectorError::timeout(error.into());
        }
        source = cause.source();
    }
    // Connections that break, close too early or are not to be had: all of these may work the next time.
    ConnectorError::io(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_says_what_was_asked_for_and_not_by_whom() {
        let mut request = HttpRequest::new(SdkBody::from("secret"));
        request
            .set_uri("https://dynamodb.us-west-2.amazonaws.com/path?token=secret")
            .unwrap();
        assert_eq!(what(&request), "dynamodb.us-west-2.amazonaws.com");
        request
            .headers_mut()
            .insert("x-amz-target", "DynamoDB_20120810.GetItem");
        request.headers_mut().insert("authorization", "secret");
        assert_eq!(
            what(&request),
            "dynamodb.us-west-2.amazonaws.com DynamoDB_20120810.GetItem"
        );
    }
}
