//! A Lambda function, invoked in the caller's name.

use aws_sdk_lambda::{Client, primitives::Blob, types::InvocationType};
use aws_types::SdkConfig;
use guard_aws::error::port_error;
use guard_core::text;
use guard_ports::PortError;

/// The alias that Terraform gives the invoked version.
pub(super) const ALIAS: &str = "live";

/// The code of Lambda for a function or an alias that is not there.
pub(super) const MISSING: &str = "ResourceNotFoundException";

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Lambda did not run the function.
    Call(PortError),
    /// The function failed; the text is what it left.
    Failed(String),
}

/// The answer of a function, as text.
///
/// `qualifier`: the alias; `None`: the name or the ARN has it.
pub(super) async fn invoke(
    config: &SdkConfig,
    function: &str,
    qualifier: Option<&str>,
    payload: String,
) -> Result<String, NoAnswer> {
    let client = Client::new(config);
    let answer = client
        .invoke()
        .function_name(function)
        .set_qualifier(qualifier.map(str::to_owned))
        .invocation_type(InvocationType::RequestResponse)
        .payload(Blob::new(payload))
        .send()
        .await;
    let answer = answer.map_err(|error| NoAnswer::Call(port_error("lambda:Invoke", &error)))?;
    let body = answer.payload.map(Blob::into_inner).unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    // A function that fails is still an invocation that succeeds.
    if answer.function_error.is_some() {
        return Err(NoAnswer::Failed(excerpt(&body)));
    }
    Ok(body)
}

/// The beginning of an answer, for people.
pub(super) fn excerpt(body: &str) -> String {
    text::line(body, 300)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
    };

    use aws_config::{BehaviorVersion, Region, retry::RetryConfig};
    use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
    use guard_aws::http::https_client;

    use super::*;

    /// Invokes a function of a Lambda that answers this, and gives the request as well.
    fn with(response: &'static str, qualifier: Option<&str>) -> (Result<String, NoAnswer>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let lambda = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            // The payload of these tests ends with the only bracket of the request.
            while !request.ends_with(b"}") {
                let read = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..read]);
            }
            stream.write_all(response.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-west-2"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::for_tests()))
            .endpoint_url(endpoint)
            .http_client(https_client())
            .retry_config(RetryConfig::disabled())
            .build();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let answer = runtime.block_on(invoke(&config, "ecr-guard-gate", qualifier, "{}".to_owned()));
        (answer, lambda.join().unwrap())
    }

    const ANSWERED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\n{\"a\":1}";
    const FAILED: &str = "HTTP/1.1 200 OK\r\nx-amz-function-error: Unhandled\r\ncontent-length: 20\r\nconnection: close\r\n\r\n{\"errorMessage\":\"x\"}";
    const NO_FUNCTION: &str = "HTTP/1.1 404 Not Found\r\nx-amzn-errortype: ResourceNotFoundException\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    const DENIED: &str = "HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: AccessDeniedException\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";

    #[test]
    fn the_alias_is_asked_and_the_answer_is_the_payload() {
        let (answer, request) = with(ANSWERED, Some(ALIAS));
        assert_eq!(answer.unwrap(), "{\"a\":1}");
        let path = "POST /2015-03-31/functions/ecr-guard-gate/invocations?Qualifier=live HTTP/1.1";
        assert!(request.starts_with(path), "{request}");
        let (_, request) = with(ANSWERED, None);
        assert!(
            request.starts_with("POST /2015-03-31/functions/ecr-guard-gate/invocations HTTP/1.1"),
            "{request}"
        );
    }

    #[test]
    fn a_function_that_fails_has_not_answered() {
        let (answer, _) = with(FAILED, None);
        assert!(matches!(answer, Err(NoAnswer::Failed(why)) if why.contains("errorMessage")));
    }

    #[test]
    fn a_refusal_of_lambda_keeps_its_code() {
        for (response, code) in [(NO_FUNCTION, MISSING), (DENIED, "AccessDeniedException")] {
            let (answer, _) = with(response, None);
            assert!(
                matches!(&answer, Err(NoAnswer::Call(error)) if error.code == code),
                "{answer:?}"
            );
        }
    }
}
