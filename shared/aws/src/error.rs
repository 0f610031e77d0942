//! The only place where a failure of the SDK becomes a [`PortError`].

use std::error::Error;

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId as _;

use guard_ports::{PortError, Retry};

/// The longest message that is passed on, in characters.
const MAX_MESSAGE: usize = 512;

/// The longest error code, in characters. Those of AWS are shorter; an answer of something else may not be.
const MAX_CODE: usize = 128;

/// Error codes that a later call may not meet again, whatever status they come with.
///
/// Sources: the modelled errors of the operations that we call, "Common errors" in the API references of ECR, DynamoDB, SNS
/// and SQS, and the SDK's list of throttling codes without `LimitExceededException`, which in ECR is a quota and not a rate.
const LATER: [&str; 30] = [
    // Rates.
    "BandwidthLimitExceeded",
    "KMS.ThrottlingException",
    "KMSThrottling",
    "KmsThrottled",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttled",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    // The service's own trouble. A key of KMS may be out of service for a moment, or throttled, or for good: ECR says the same
    // of all three.
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "InternalServiceError",
    "KmsException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServerException",
    "ServiceUnavailable",
    // Two writers at the same item.
    "ReplicatedWriteConflictException",
    "TransactionConflictException",
    // Another execution environment has fresh credentials and perhaps a better clock.
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "RequestTimeTooSkewed",
];

/// The result of a call of `operation`, or its error.
///
/// Only the error's code, its message and the request id are taken over. The SDK's errors hold the whole response, and print it
/// with `{:?}`; nothing here does.
pub fn port_error<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> PortError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let (retry, code, message) = match error {
        SdkError::TimeoutError(_) => (Retry::Later, "Timeout".to_owned(), chain(error)),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            (Retry::Later, "Timeout".to_owned(), chain(error))
        }
        SdkError::DispatchFailure(_) => (Retry::Later, "Dispatch".to_owned(), chain(error)),
        SdkError::ResponseError(_) => (Retry::Later, MALFORMED.to_owned(), UNREADABLE.to_owned()),
        SdkError::ServiceError(failure) => service_error(failure.err(), failure.raw()),
        SdkError::ConstructionFailure(_) => (Retry::Never, "Construction".to_owned(), chain(error)),
        // The SDK may add kinds.
        _ => (Retry::Never, "Unknown".to_owned(), chain(error)),
    };
    PortError {
        retry,
        operation,
        code: plain(&code, MAX_CODE),
        message: plain(&message, MAX_MESSAGE),
        request_id: error.request_id().map(|id| plain(id, MAX_CODE)),
    }
}

/// The answer of a call; `None`: its error says that there is no such thing.
///
/// # Errors
/// The call failed in any other way, also in one that the service does not name: access denied, throttling.
pub fn found<T, E>(
    operation: &'static str,
    result: Result<T, SdkError<E, HttpResponse>>,
    is_absent: impl FnOnce(&E) -> bool,
) -> Result<Option<T>, PortError>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match result {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.as_service_error().is_some_and(is_absent) => Ok(None),
        Err(error) => Err(port_error(operation, &error)),
    }
}

fn service_error<E: ProvideErrorMetadata>(error: &E, response: &HttpResponse) -> (Retry, String, String) {
    let status = response.status();
    match error.code() {
        // An answer that says 200 and cannot be read comes as an error without a code.
        None if status.is_success() => (Retry::Later, MALFORMED.to_owned(), UNREADABLE.to_owned()),
        code => {
            let later = status.is_server_error() || matches!(status.as_u16(), 408 | 429) || code.is_some_and(passes);
            (
                if later { Retry::Later } else { Retry::Never },
                code.map_or_else(|| format!("Http{}", status.as_u16()), str::to_owned),
                error.message().unwrap_or_default().to_owned(),
            )
        }
    }
}

/// Whether an error with this code may pass by itself.
pub(super) fn passes(code: &str) -> bool {
    LATER.contains(&code)
}

const MALFORMED: &str = "MalformedResponse";
const UNREADABLE: &str = "the answer could not be read";

/// An answer that says 200 but not what it has to say.
pub fn malformed(operation: &'static str, message: &str) -> PortError {
    refusal(operation, Retry::Later, MALFORMED, message)
}

/// A required part of an answer: `what` names it, such as `the list`. An empty list says that there is nothing. No list says
/// nothing.
///
/// # Errors
/// It is not there.
pub(crate) fn present<T>(operation: &'static str, value: Option<T>, what: &str) -> Result<T, PortError> {
    value.ok_or_else(|| malformed(operation, &format!("the answer does not hold {what}")))
}

/// A failure inside of an answer (`failures[]`), or one that we find before we call.
pub fn refusal(operation: &'static str, retry: Retry, code: &str, message: &str) -> PortError {
    PortError {
        retry,
        operation,
        code: plain(code, MAX_CODE),
        message: plain(message, MAX_MESSAGE),
        request_id: None,
    }
}

/// The texts of an error and its causes, from the outside in, each once.
fn chain(error: &dyn Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

/// The text on one line and not longer than `max` characters.
pub(super) fn plain(text: &str, max: usize) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(max)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::{
        client::result::ConnectorError,
        http::{Response, StatusCode},
    };
    use aws_smithy_types::{body::SdkBody, error::ErrorMetadata};

    use super::*;

    type SdkFailure = SdkError<ErrorMetadata, HttpResponse>;

    fn response(status: u16) -> HttpResponse {
        let mut response = Response::new(StatusCode::try_from(status).unwrap(), SdkBody::from("secret body"));
        response.headers_mut().insert("x-amzn-requestid", "id-1");
        response.headers_mut().insert("x-secret", "secret header");
        response
    }

    fn service(status: u16, code: Option<&str>) -> SdkFailure {
        let mut error = ErrorMetadata::builder().message("it did not work");
        if let Some(code) = code {
            error = error.code(code);
        }
        SdkError::service_error(error.build(), response(status))
    }

    #[track_caller]
    fn check(error: &SdkFailure, retry: Retry, code: &str) -> PortError {
        let error = port_error("ecr:DescribeImages", error);
        assert_eq!((error.retry, error.code.as_str()), (retry, code));
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        error
    }

    #[test]
    fn a_rate_or_the_services_own_trouble_passes() {
        for code in LATER {
            check(&service(400, Some(code)), Retry::Later, code);
        }
        for status in [500, 502, 503, 504, 429, 408] {
            check(&service(status, Some("NewException")), Retry::Later, "NewException");
            check(&service(status, None), Retry::Later, &format!("Http{status}"));
        }
    }

    #[test]
    fn an_error_that_says_that_there_is_no_such_thing_is_an_answer() {
        let is_absent = |error: &ErrorMetadata| error.code() == Some("ImageNotFoundException");
        let asked = |result: Result<u8, SdkFailure>| found("ecr:DescribeImages", result, is_absent);
        assert_eq!(asked(Ok(7)), Ok(Some(7)));
        assert_eq!(asked(Err(service(400, Some("ImageNotFoundException")))), Ok(None));
        for error in [
            service(400, Some("AccessDeniedException")),
            SdkError::timeout_error("no answer"),
        ] {
            let expected = port_error("ecr:DescribeImages", &error);
            assert_eq!(asked(Err(error)), Err(expected));
        }
    }

    #[test]
    fn what_is_refused_stays_refused() {
        for code in [
            "AccessDeniedException",
            "InvalidParameterException",
            "LimitExceededException",
            "ValidationException",
            "UnrecognizedClientException",
            "ResourceNotFoundException",
        ] {
            check(&service(400, Some(code)), Retry::Never, code);
        }
        check(&service(403, None), Retry::Never, "Http403");
        check(&SdkError::construction_failure("no"), Retry::Never, "Construction");
    }

    #[test]
    fn without_an_answer_it_may_work_later() {
        check(&SdkError::timeout_error("late"), Retry::Later, "Timeout");
        check(
            &SdkError::dispatch_failure(ConnectorError::timeout("late".into())),
            Retry::Later,
            "Timeout",
        );
        let error = check(
            &SdkError::dispatch_failure(ConnectorError::io("connection refused".into())),
            Retry::Later,
            "Dispatch",
        );
        assert_eq!(error.message, "dispatch failure: io error: connection refused");
        check(
            &SdkError::response_error("odd", response(200)),
            Retry::Later,
            "MalformedResponse",
        );
        check(&service(200, None), Retry::Later, "MalformedResponse");
    }

    #[test]
    fn the_message_is_one_short_line() {
        let error = ErrorMetadata::builder()
            .code("No\nSuch")
            .message(format!("a\u{1b}[31m\r\nb{}", "x".repeat(2000)))
            .build();
        let error = port_error("ecr:PutImage", &SdkFailure::service_error(error, response(400)));
        assert_eq!(error.code, "No Such");
        assert!(error.message.starts_with("a [31m  bxxx"));
        assert_eq!(error.message.chars().count(), MAX_MESSAGE);
        assert_eq!(error.request_id.as_deref(), Some("id-1"));
    }
}
