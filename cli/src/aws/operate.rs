//! The function `operate`, with the proof of who asks: a presigned `sts:GetCallerIdentity`, which is not sent from here.

use std::time::{Duration, SystemTime};

use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity as SigningIdentity;
use aws_types::SdkConfig;
use guard_core::{
    ids::{AccountId, ImageRef, Region, RepositoryName, function_arn},
    image::Image,
    release::{
        answer::ReleaseAnswer,
        identity::{ACTION, FUNCTION_HEADER, MAX_EXPIRES, REQUEST_HEADER, VERSION, function_and_alias, sts_host},
        request::{AskedRelease, ReleaseRequest, SignedIdentity},
    },
};
use guard_ports::Registry as _;
use jiff::Timestamp;
use tokio::runtime::Runtime;

use super::{
    identity::Identity,
    invoke::{ALIAS, MISSING, NoAnswer, excerpt, invoke},
};
use crate::{
    ledgers::{NotRead, Place},
    release::Operator,
};

/// The function and its registry, in the caller's name.
pub(super) struct AwsOperator {
    runtime: Runtime,
    identity: Identity,
}

impl AwsOperator {
    pub(super) fn new(place: &Place) -> Result<Self, NotRead> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let identity = runtime.block_on(Identity::load(place))?;
        Ok(Self { runtime, identity })
    }
}

impl Operator for AwsOperator {
    fn registry(&self) -> Result<(AccountId, Region), NotRead> {
        let account = self.runtime.block_on(self.identity.account())?;
        Ok((account, self.identity.region.clone()))
    }

    fn image(
        &self,
        account: &AccountId,
        repository: &RepositoryName,
        image: &ImageRef,
    ) -> Result<Option<Image>, NotRead> {
        let region = &self.identity.region;
        let registry = self.identity.registries(region).ecr_registry(account.clone());
        let found = self.runtime.block_on(registry.image(repository, image));
        found.map_err(|error| self.identity.failed(&error))
    }

    fn ask(
        &self,
        account: &AccountId,
        function: &str,
        asked: &AskedRelease,
        now: Timestamp,
    ) -> Result<ReleaseAnswer, NotRead> {
        self.runtime.block_on(async {
            let region = &self.identity.region;
            let (named, alias) = function_and_alias(function);
            let arn = arn_of(named, account, region);
            let signed = signed(&self.identity.config, region, &arn, asked, now).await?;
            let payload = ReleaseRequest::json(asked, &signed).to_string();
            let answer = invoke(
                &self.identity.config,
                &arn,
                Some(alias.unwrap_or(ALIAS)),
                payload,
            )
            .await;
            let not_understood = |body: &str| NotRead::new(format!("`{function}` did not answer: {body}"));
            let body = answer.map_err(|why| match why {
                NoAnswer::Call(error) if error.code == MISSING => NotRead::new(format!(
                    "There is no function `{function}` in {region}: releases are not deployed there (`operate = {{}}`), or give --function."
                )),
                NoAnswer::Call(error) => self.identity.failed(&error),
                NoAnswer::Failed(body) => not_understood(&body),
            })?;
            serde_json::from_str(&body).map_err(|_| not_understood(&excerpt(&body)))
        })
    }

    fn pause(&self, time: Duration) {
        self.runtime.block_on(tokio::time::sleep(time));
    }
}

/// The ARN of a function that has no alias, which the proof is for: the function knows itself by it. Lambda takes a name, a name with its
/// account, and an ARN.
fn arn_of(function: &str, account: &AccountId, region: &Region) -> String {
    if function.starts_with("arn:") {
        return function.to_owned();
    }
    match function.split_once(":function:") {
        Some((other, name)) => {
            let other = other.parse::<AccountId>();
            function_arn(other.as_ref().unwrap_or(account), region, name)
        }
        None => function_arn(account, region, function),
    }
}

/// Signs the proof with the caller's credentials.
async fn signed(
    config: &SdkConfig,
    region: &Region,
    function: &str,
    asked: &AskedRelease,
    now: Timestamp,
) -> Result<SignedIdentity, NotRead> {
    use aws_credential_types::provider::ProvideCredentials as _;
    let provider = config.credentials_provider();
    let provider = provider.ok_or_else(|| NotRead::new("No credentials were found: log in, or give --profile."))?;
    let credentials = provider.provide_credentials().await;
    let credentials = credentials.map_err(|error| {
        let help = "Log in (`aws sso login`), or give --profile.";
        NotRead::new(format!("No credentials were found ({error}). {help}"))
    })?;
    let identity: SigningIdentity = credentials.into();
    sign_proof(&identity, region, function, asked, now)
        .map_err(|error| NotRead::new(format!("The proof of who asks cannot be signed: {error}")))
}

fn sign_proof(
    identity: &SigningIdentity,
    region: &Region,
    function: &str,
    asked: &AskedRelease,
    now: Timestamp,
) -> Result<SignedIdentity, Box<dyn std::error::Error + Send + Sync>> {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(MAX_EXPIRES.unsigned_abs()));
    let signing = v4::SigningParams::builder()
        .identity(identity)
        .region(region.as_str())
        .name("sts")
        .time(SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_second().unsigned_abs()))
        .settings(settings)
        .build()?
        .into();
    let hash = asked.hash();
    let headers = [(FUNCTION_HEADER, function), (REQUEST_HEADER, hash.as_str())];
    let url = format!("https://{}/?Action={ACTION}&Version={VERSION}", sts_host(region));
    let request = SignableRequest::new("GET", url.as_str(), headers.into_iter(), SignableBody::Bytes(&[]))?;
    let (signing, _) = sign(request, &signing)?.into_parts();
    let parameters = signing.params().iter();
    let parameters = parameters.map(|(name, value)| format!("&{name}={}", encoded(value)));
    Ok(SignedIdentity {
        url: url + &parameters.collect::<String>(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    })
}

/// As `SigV4` writes values in a query: all but letters, digits and `-._~` as `%XX`.
fn encoded(value: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    value.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use guard_core::{
        release::{
            identity::{ExpectedCall, check},
            request::{REQUEST_SCHEMA, Verb},
        },
        testing::now,
    };

    use super::*;

    #[test]
    fn the_proof_is_for_the_function_without_its_alias_however_it_is_named() {
        let (account, region) = ("123456789012".parse().unwrap(), "us-west-2".parse().unwrap());
        let own = "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-operate";
        let other = "arn:aws:lambda:us-west-2:210987654321:function:ecr-guard-operate";
        for (function, arn) in [
            ("ecr-guard-operate", own),
            ("ecr-guard-operate:other", own),
            (own, own),
            (
                "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-operate:7",
                own,
            ),
            ("210987654321:function:ecr-guard-operate", other),
            ("210987654321:function:ecr-guard-operate:live", other),
        ] {
            let (named, _) = function_and_alias(function);
            assert_eq!(arn_of(named, &account, &region), arn, "{function}");
        }
    }

    /// The function takes the request that is signed here.
    #[test]
    fn the_proof_is_one_that_the_function_takes() {
        let asked = AskedRelease {
            schema: REQUEST_SCHEMA.to_owned(),
            id: "0".repeat(32),
            action: Verb::End,
            image: "image".to_owned(),
            hours: None,
            reason: None,
            ticket: None,
        };
        let region: Region = "us-west-2".parse().unwrap();
        let function = "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-operate";
        for token in [None, Some("IQoJb3JpZ2luX2VjE/+x==".to_owned())] {
            let credentials = Credentials::new("AKIDEXAMPLE", "secret", token.clone(), None, "test");
            let signed = sign_proof(&credentials.into(), &region, function, &asked, now()).unwrap();
            let hash = asked.hash();
            let expected = ExpectedCall {
                region: &region,
                function,
                request: &hash,
            };
            let sent = check(&signed, expected, now()).unwrap_or_else(|error| panic!("{error}: {}", signed.url));
            assert_eq!(sent.query.contains("X-Amz-Security-Token"), token.is_some());
            assert!(!signed.url.contains("secret"));
        }
    }
}
