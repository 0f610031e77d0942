//! Who somebody is, by a request to AWS STS that they have signed.
//!
//! Not by the SDK: that would sign with the function's own credentials.

use std::time::Duration;

use guard_core::release::identity::StsRequest;
use guard_ports::{Callers, PortError, Retry, StsAnswer};

use crate::http::fetch;

const OPERATION: &str = "sts:GetCallerIdentity";

/// For how long an answer is waited for. A person waits too.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer, in bytes. A real one has about 500.
const MAX_BODY: usize = 64 * 1024;

/// The way to AWS STS.
#[derive(Debug, Clone)]
pub struct StsCallers {
    /// Where requests go instead of the host that they name: an emulator. The environment of the function says so, and no request can.
    endpoint: Option<String>,
}

impl StsCallers {
    /// From the environment.
    pub fn from_env(lookup: &impl Fn(&str) -> Option<String>) -> Self {
        let endpoint = |name| lookup(name).filter(|value| !value.trim().is_empty());
        Self {
            endpoint: endpoint("AWS_ENDPOINT_URL_STS").or_else(|| endpoint("AWS_ENDPOINT_URL")),
        }
    }
}

impl Callers for StsCallers {
    async fn caller(&self, request: &StsRequest) -> Result<StsAnswer, PortError> {
        let host = || format!("https://{}", request.host);
        let at = self.endpoint.clone().unwrap_or_else(host);
        let uri = format!("{}/?{}", at.trim_end_matches('/'), request.query);
        let headers = request.headers.iter().map(|(name, value)| (*name, value.as_str()));
        // The host is signed, also where the request goes to an emulator.
        let headers: Vec<(&'static str, &str)> = headers.chain([("host", request.host.as_str())]).collect();
        let fetched = tokio::time::timeout(TIMEOUT, fetch(&uri, &headers, MAX_BODY)).await;
        let failed = |code: &str, message: String| PortError {
            retry: Retry::Later,
            operation: OPERATION,
            code: code.to_owned(),
            message,
            request_id: None,
        };
        match fetched {
            Ok(Ok((status, body))) => Ok(StsAnswer { status, body }),
            Ok(Err(error)) => Err(failed("Dispatch", error)),
            Err(_) => Err(failed("Timeout", "AWS STS has not answered in time".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    fn request() -> StsRequest {
        StsRequest {
            host: "sts.us-west-2.amazonaws.com".to_owned(),
            query: "Action=GetCallerIdentity&X-Amz-Signature=ab".to_owned(),
            headers: [
                ("x-ecr-guard-function", "f".to_owned()),
                ("x-ecr-guard-request", "r".to_owned()),
            ],
        }
    }

    /// The request to a server on loopback that gives this answer, and the result.
    async fn asked(answer: &'static str, filler: usize) -> (String, Result<StsAnswer, PortError>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Some(format!("http://{}/", listener.local_addr().unwrap()));
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 4096];
            let read = stream.read(&mut buffer).await.unwrap();
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.write_all(&vec![b'x'; filler]).await;
            drop(stream);
            // A second connection would be one to wherever a redirect points.
            let second = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
            assert!(second.is_err());
            String::from_utf8_lossy(&buffer[..read]).to_ascii_lowercase()
        };
        let callers = StsCallers { endpoint };
        let request = request();
        tokio::join!(server, callers.caller(&request))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_signed_request_is_sent_as_it_is() {
        let (sent, answer) = asked("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok", 0).await;
        assert_eq!(
            answer.unwrap(),
            StsAnswer {
                status: 200,
                body: "ok".to_owned()
            }
        );
        assert!(
            sent.starts_with("get /?action=getcalleridentity&x-amz-signature=ab http/1.1"),
            "{sent}"
        );
        for header in ["x-ecr-guard-function: f\r\n", "x-ecr-guard-request: r\r\n"] {
            assert!(sent.contains(header), "{sent}");
        }
        assert!(!sent.contains("authorization"), "{sent}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_redirect_is_not_followed() {
        let redirect =
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let (_, answer) = asked(redirect, 0).await;
        assert_eq!(answer.unwrap().status, 302);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_answer_without_end_is_refused() {
        let (_, answer) = asked("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", MAX_BODY + 1).await;
        assert_eq!(answer.unwrap_err().code, "Dispatch");
    }
}
