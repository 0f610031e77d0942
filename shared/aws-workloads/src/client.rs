//! One client for all services that know of workloads.
//!
//! Two or three reading operations of each service are called. Their SDKs would be a quarter of the function's zip, so the
//! calls are written here. The SDK's own runtime signs, tries again and keeps time, set up as the SDK's clients set it up.

use std::fmt;

use aws_runtime::{
    auth::{SigV4OperationSigningConfig, sigv4},
    invocation_id::InvocationIdInterceptor,
    recursion_detection::RecursionDetectionInterceptor,
    request_info::RequestInfoInterceptor,
    retries::classifiers::AwsErrorCodeClassifier,
    service_clock_skew::{ServiceClockSkewClassifier, ServiceClockSkewInterceptor},
    user_agent::{ApiMetadata, UserAgentInterceptor},
};
use aws_smithy_http::{label, query};
use aws_smithy_runtime::client::{
    orchestrator::operation::Operation,
    retries::{
        RetryPartition,
        classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier},
    },
};
use aws_smithy_runtime_api::client::{
    auth::{
        AuthSchemeOptionResolverParams, SharedAuthScheme, SharedAuthSchemeOptionResolver,
        static_resolver::StaticAuthSchemeOptionResolver,
    },
    orchestrator::{HttpRequest, HttpResponse, OrchestratorError},
    runtime_components::RuntimeComponentsBuilder,
    runtime_plugin::StaticRuntimePlugin,
};
use aws_smithy_types::{
    body::SdkBody, config_bag::Layer, error::ErrorMetadata, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_smithy_xml::decode::{Document, ScopedDecoder, try_data};
use aws_types::{SdkConfig, SigningName, region::SigningRegion, service_config::ServiceConfigKey};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use guard_aws::{
    error::{malformed, port_error, refusal},
    http::https_client,
};
use guard_core::ids::{Region, registry_suffix};
use guard_ports::{PortError, Retry};

/// A service that is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Batch,
    Ecs,
    Eks,
    Lambda,
    Sts,
}

impl Service {
    /// As it stands in addresses, in signatures, and (in capitals) in the names of variables.
    fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Ecs => "ecs",
            Self::Eks => "eks",
            Self::Lambda => "lambda",
            Self::Sts => "sts",
        }
    }

    /// Where it is: what the environment says, or its address in the region.
    fn endpoint(self, config: &SdkConfig, region: &Region) -> String {
        let key = ServiceConfigKey::builder()
            .service_id(self.name())
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build();
        let own = key.ok().and_then(|key| config.service_config()?.load_config(key));
        own.or_else(|| config.endpoint_url().map(str::to_owned))
            .unwrap_or_else(|| {
                let (fips, dual) = (config.use_fips(), config.use_dual_stack());
                self.address(region, fips.unwrap_or_default(), dual.unwrap_or_default())
            })
    }

    /// Source: the endpoint rules in the models of the services.
    fn address(self, region: &Region, fips: bool, dual_stack: bool) -> String {
        let name = self.name();
        let suffix = match registry_suffix(region) {
            "amazonaws.com" if dual_stack => "api.aws",
            "amazonaws.com.cn" if dual_stack => "api.amazonwebservices.com.cn",
            "amazonaws.eu" if dual_stack => "api.amazonwebservices.eu",
            suffix => suffix,
        };
        let is_gov = region.as_str().starts_with("us-gov-");
        let host = match self {
            _ if !fips => name.to_owned(),
            // All addresses of these are such there.
            Self::Batch | Self::Eks | Self::Sts if is_gov && !dual_stack => name.to_owned(),
            Self::Batch | Self::Eks if suffix == "amazonaws.com" => format!("fips.{name}"),
            _ => format!("{name}-fips"),
        };
        format!("https://{host}.{region}.{suffix}")
    }
}

/// A list that may be missing, or `null`.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// The answer of a service. It may hold secrets: credentials, the address of code.
pub(crate) struct RawAnswer(Vec<u8>);

impl fmt::Debug for RawAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({} bytes)", self.0.len())
    }
}

impl RawAnswer {
    fn read<A: DeserializeOwned>(&self, operation: &'static str) -> Result<A, PortError> {
        serde_json::from_slice(&self.0).map_err(|_| malformed(operation, "the answer could not be read"))
    }

    /// The texts of elements of XML, wherever they stand.
    pub(crate) fn texts<const N: usize>(&self, names: [&str; N]) -> [Option<String>; N] {
        texts(&self.0, names)
    }
}

fn texts<const N: usize>(body: &[u8], names: [&str; N]) -> [Option<String>; N] {
    fn read(of: &mut ScopedDecoder<'_, '_>, names: &[&str], found: &mut [Option<String>]) {
        while let Some(mut tag) = of.next_tag() {
            let name = tag.start_el().local();
            match names.iter().position(|wanted| *wanted == name) {
                Some(n) => {
                    if let (Some(place), Ok(text)) = (found.get_mut(n), try_data(&mut tag)) {
                        *place = Some(text.into_owned());
                    }
                }
                None => read(&mut tag, names, found),
            }
        }
    }
    let mut found = [const { None }; N];
    if let Ok(mut document) = Document::try_from(body)
        && let Ok(mut root) = document.root_element()
    {
        read(&mut root, &names, &mut found);
    }
    found
}

/// Calls one service, in the region and with the credentials of a configuration.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// `None`: the configuration names no region.
    operation: Option<Operation<HttpRequest, RawAnswer, ErrorMetadata>>,
}

impl Client {
    pub(crate) fn new(config: &SdkConfig, service: Service) -> Self {
        let region: Option<Region> = config.region().and_then(|region| region.as_ref().parse().ok());
        Self {
            operation: region.map(|region| operation(config, service, &region)),
        }
    }

    /// A call of a service whose operations are named in a header (`awsJson1_1`): ECS. Members that are `null` are left out.
    pub(crate) async fn json<A: DeserializeOwned>(
        &self,
        operation: &'static str,
        input: Value,
    ) -> Result<A, PortError> {
        let target = format!("AmazonEC2ContainerServiceV20141113.{}", name_of(operation));
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", &target),
        ];
        let answer = self.send(operation, "POST", "/", &headers, without_nulls(input)).await;
        answer?.read(operation)
    }

    /// A call of a service whose operations are paths (`restJson1`), with members in the query; those that are `None` are left out.
    pub(crate) async fn get<A: DeserializeOwned>(
        &self,
        operation: &'static str,
        path: &str,
        members: &[(&str, Option<&str>)],
    ) -> Result<A, PortError> {
        let members = members.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        let members = pairs(members);
        let uri = if members.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{members}")
        };
        let answer = self.send(operation, "GET", &uri, &[], String::new()).await;
        answer?.read(operation)
    }

    /// The same with members in the body.
    pub(crate) async fn post<A: DeserializeOwned>(
        &self,
        operation: &'static str,
        path: &str,
        input: Value,
    ) -> Result<A, PortError> {
        let headers = [("content-type", "application/json")];
        let answer = self.send(operation, "POST", path, &headers, without_nulls(input)).await;
        answer?.read(operation)
    }

    /// A call of a service that is asked by a form and answers in XML (`awsQuery`): STS.
    pub(crate) async fn form(&self, operation: &'static str, fields: &[(&str, &str)]) -> Result<RawAnswer, PortError> {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let body = pairs(fields.iter().copied());
        self.send(operation, "POST", "/", &headers, body).await
    }

    async fn send(
        &self,
        operation: &'static str,
        method: &str,
        uri: &str,
        headers: &[(&'static str, &str)],
        body: String,
    ) -> Result<RawAnswer, PortError> {
        let wrong = |what: &str| refusal(operation, Retry::Never, "Construction", what);
        let Some(client) = &self.operation else {
            return Err(wrong("there is no region to call"));
        };
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method(method).map_err(|error| wrong(&error.to_string()))?;
        request.set_uri(uri).map_err(|error| wrong(&error.to_string()))?;
        for (name, value) in headers {
            let set = request.headers_mut().try_insert(*name, (*value).to_owned());
            set.map_err(|error| wrong(&error.to_string()))?;
        }
        client
            .invoke(request)
            .await
            .map_err(|error| port_error(operation, &error))
    }
}

fn without_nulls(mut input: Value) -> String {
    if let Some(members) = input.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    input.to_string()
}

/// `ListTasks` of `ecs:ListTasks`.
fn name_of(operation: &'static str) -> &'static str {
    operation.split_once(':').map_or(operation, |(_, name)| name)
}

fn pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{name}={}", query::fmt_string(value)))
        .collect();
    pairs.join("&")
}

/// A name as a part of a path.
pub(crate) fn segment(name: &str) -> String {
    label::fmt_string(name, label::EncodingStrategy::Default)
}

/// Sends requests to a service, as the clients of the SDK do.
fn operation(
    config: &SdkConfig,
    service: Service,
    region: &Region,
) -> Operation<HttpRequest, RawAnswer, ErrorMetadata> {
    let name = service.name();
    let mut layer = Layer::new("workloads");
    layer.store_put(SigningName::from_static(name));
    layer.store_put(SigningRegion::from(aws_types::region::Region::new(
        region.as_str().to_owned(),
    )));
    layer.store_put(SigV4OperationSigningConfig::default());
    layer.store_put(AuthSchemeOptionResolverParams::new(()));
    layer.store_put(ApiMetadata::new(name, env!("CARGO_PKG_VERSION")));
    // A rate and a budget of its own: trouble with one account does not cost the calls to another.
    layer.store_put(RetryPartition::custom("client").build());
    layer.store_or_unset(config.app_name().cloned());
    let identity = config.credentials_provider();
    let mut components = RuntimeComponentsBuilder::new("workloads")
        .with_auth_scheme(SharedAuthScheme::new(sigv4::SigV4AuthScheme::new()))
        .with_auth_scheme_option_resolver(Some(SharedAuthSchemeOptionResolver::new(
            StaticAuthSchemeOptionResolver::new(vec![sigv4::SCHEME_ID]),
        )))
        .with_interceptor(ServiceClockSkewInterceptor::new())
        .with_interceptor(RequestInfoInterceptor::new())
        .with_interceptor(UserAgentInterceptor::new())
        .with_interceptor(InvocationIdInterceptor::new())
        .with_interceptor(RecursionDetectionInterceptor::new())
        .with_retry_classifier(TransientErrorClassifier::<ErrorMetadata>::new())
        .with_retry_classifier(AwsErrorCodeClassifier::<ErrorMetadata>::new())
        .with_retry_classifier(ServiceClockSkewClassifier::<ErrorMetadata>::new())
        .with_retry_classifier(HttpStatusCodeClassifier::default())
        .with_sleep_impl(config.sleep_impl())
        .with_time_source(config.time_source());
    if let Some(identity) = identity {
        components = components.with_identity_resolver(sigv4::SCHEME_ID, identity);
    }
    let retries = config.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
    let timeouts = config.timeout_config().cloned();
    Operation::builder()
        .service_name(name)
        .operation_name("workloads")
        .endpoint_url(&service.endpoint(config, region))
        .http_client(config.http_client().unwrap_or_else(https_client))
        .standard_retry(&retries)
        .timeout_config(timeouts.unwrap_or_else(TimeoutConfig::disabled))
        .runtime_plugin(
            StaticRuntimePlugin::new()
                .with_config(layer.freeze())
                .with_runtime_components(components),
        )
        .serializer(Ok)
        .deserializer(move |response: &HttpResponse| {
            let body = response.body().bytes().unwrap_or_default();
            if response.status().is_success() {
                return Ok(RawAnswer(body.to_vec()));
            }
            Err(OrchestratorError::operation(error_of(service, response, body)))
        })
        .build()
}

/// The refusal of a service. Sources: Smithy, "Operation error serialization" of `awsJson1_1` and `restJson1`, and of
/// `awsQuery`.
fn error_of(service: Service, response: &HttpResponse, body: &[u8]) -> ErrorMetadata {
    let (code, message) = if service == Service::Sts {
        let [code, message] = texts(body, ["Code", "Message"]);
        (code, message)
    } else {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |names: &[&str]| names.iter().find_map(|name| Some(body.get(name)?.as_str()?.to_owned()));
        let header = response.headers().get("x-amzn-errortype").map(str::to_owned);
        let code = header.or_else(|| text(&["__type", "code"]));
        (
            code.as_deref().map(short),
            text(&["message", "Message", "errorMessage"]),
        )
    };
    let mut error = ErrorMetadata::builder();
    if let Some(code) = code.filter(|code| !code.is_empty()) {
        error = error.code(code);
    }
    if let Some(message) = message {
        error = error.message(message);
    }
    error.build()
}

/// `NotFound` of `com.amazonaws.ecs#NotFound:http://internal.amazon.com/coral/`.
fn short(code: &str) -> String {
    let code = code.split(':').next().unwrap_or_default();
    code.rsplit('#').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::http::{Response, StatusCode};

    use super::*;

    #[test]
    fn addresses_are_those_of_the_services_models() {
        let cases = [
            (
                Service::Ecs,
                "us-west-2",
                false,
                false,
                "https://ecs.us-west-2.amazonaws.com",
            ),
            (
                Service::Sts,
                "us-east-1",
                false,
                false,
                "https://sts.us-east-1.amazonaws.com",
            ),
            (
                Service::Lambda,
                "cn-north-1",
                false,
                false,
                "https://lambda.cn-north-1.amazonaws.com.cn",
            ),
            (
                Service::Lambda,
                "cn-north-1",
                false,
                true,
                "https://lambda.cn-north-1.api.amazonwebservices.com.cn",
            ),
            (
                Service::Eks,
                "us-iso-east-1",
                false,
                false,
                "https://eks.us-iso-east-1.c2s.ic.gov",
            ),
            (
                Service::Batch,
                "us-east-1",
                false,
                true,
                "https://batch.us-east-1.api.aws",
            ),
            (
                Service::Batch,
                "us-east-1",
                true,
                false,
                "https://fips.batch.us-east-1.amazonaws.com",
            ),
            (
                Service::Eks,
                "us-west-2",
                true,
                false,
                "https://fips.eks.us-west-2.amazonaws.com",
            ),
            (
                Service::Eks,
                "us-gov-west-1",
                true,
                false,
                "https://eks.us-gov-west-1.amazonaws.com",
            ),
            (
                Service::Batch,
                "us-gov-east-1",
                true,
                true,
                "https://batch-fips.us-gov-east-1.api.aws",
            ),
            (
                Service::Batch,
                "us-isob-east-1",
                true,
                false,
                "https://batch-fips.us-isob-east-1.sc2s.sgov.gov",
            ),
            (
                Service::Sts,
                "us-gov-west-1",
                true,
                false,
                "https://sts.us-gov-west-1.amazonaws.com",
            ),
            (
                Service::Sts,
                "us-west-2",
                true,
                false,
                "https://sts-fips.us-west-2.amazonaws.com",
            ),
            (
                Service::Ecs,
                "us-gov-west-1",
                true,
                false,
                "https://ecs-fips.us-gov-west-1.amazonaws.com",
            ),
        ];
        for (service, region, fips, dual_stack, address) in cases {
            assert_eq!(service.address(&region.parse().unwrap(), fips, dual_stack), address);
        }
    }

    #[test]
    fn errors_are_read_wherever_they_are_said() {
        let json = |header: Option<&'static str>, body: &'static str| {
            let mut response = Response::new(StatusCode::try_from(400).unwrap(), SdkBody::empty());
            if let Some(header) = header {
                response.headers_mut().insert("x-amzn-errortype", header);
            }
            error_of(Service::Ecs, &response, body.as_bytes())
        };
        let uri = "ThrottlingException:http://internal.amazon.com/coral/com.amazon.coral.availability/";
        for (header, body, code, message) in [
            (
                None,
                r#"{"__type": "com.amazonaws.ecs#ClusterNotFoundException", "message": "m"}"#,
                "ClusterNotFoundException",
                Some("m"),
            ),
            (
                Some(uri),
                r#"{"Message": "Rate exceeded"}"#,
                "ThrottlingException",
                Some("Rate exceeded"),
            ),
            (Some("AccessDeniedException"), "", "AccessDeniedException", None),
            (
                None,
                r#"{"code": "ClientException", "__type": 7, "errorMessage": "m"}"#,
                "ClientException",
                Some("m"),
            ),
        ] {
            let error = json(header, body);
            assert_eq!((error.code(), error.message()), (Some(code), message), "{body}");
        }
        for body in ["", "<html>", "[]", r#"{"__type": ""}"#] {
            assert_eq!(json(None, body).code(), None, "{body}");
        }
        let body = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>a &lt; b</Message></Error></ErrorResponse>";
        let response = Response::new(StatusCode::try_from(403).unwrap(), SdkBody::empty());
        let error = error_of(Service::Sts, &response, body.as_bytes());
        assert_eq!((error.code(), error.message()), (Some("AccessDenied"), Some("a < b")));
        let broken = error_of(Service::Sts, &response, b"<ErrorResponse><Error><Code>");
        assert_eq!(broken.code(), None);
    }
}
