//! Identifiers of ECR, each valid by construction.
//!
//! The constructor is the only check: a value of one of these types can be put into a key, a message or a request as it is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a string is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {what}: {rule}")]
pub struct InvalidId {
    what: &'static str,
    rule: &'static str,
    /// The offending text, cut to 80 characters and without control characters.
    value: String,
}

impl InvalidId {
    fn new(what: &'static str, rule: &'static str, value: &str) -> Self {
        let value = crate::text::line(value, 80);
        Self { what, rule, value }
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text, as ECR writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(value: String) -> Result<Self, InvalidId> {
                if $valid(&value) { Ok(Self(value)) } else { Err(InvalidId::new($what, $rule, &value)) }
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(value: &str) -> Result<Self, InvalidId> {
                Self::try_from(value.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// An AWS account id: 12 digits. In ECR it is also the registry id.
    ///
    /// Source: API reference of ECR, `registryId`, pattern `[0-9]{12}`.
    AccountId, "an AWS account id", "it has 12 digits", valid_account
);
id!(
    /// An AWS region such as `us-west-2` or `us-gov-east-1`.
    ///
    /// The list of regions grows, so only the form is checked: lower-case words and a number, at most 32 characters.
    Region, "an AWS region", "it looks like `us-west-2`", valid_region
);
id!(
    /// The name of a repository, namespaces included: `team/api`.
    ///
    /// Source: API reference of ECR, `repositoryName`: 2 to 256 characters,
    /// `(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*`. The Docker grammar that ECR follows also allows
    /// `__` and runs of `-` between words, and so does this type.
    RepositoryName, "a repository name", "2 to 256 characters of `a-z 0-9 . _ - /`, each part beginning and ending with a letter or digit",
    valid_repository
);
id!(
    /// The digest of an image manifest: `sha256:…`.
    ///
    /// Grammar and limit are those of the OCI image specification (descriptor, "Digests"), not the 64 hexadecimal digits of
    /// a real SHA-256: AWS's own sample events carry digests of 54 to 61 characters. Whether an image has that digest is for
    /// the registry to say.
    Digest, "an image digest", "it looks like `sha256:` and hexadecimal digits, 135 characters at most", valid_digest
);
id!(
    /// An image tag.
    ///
    /// Source: OCI distribution specification, `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`. (ECR's API model allows 300 characters, its
    /// registry protocol does not.)
    Tag, "an image tag", "1 to 128 characters of `A-Z a-z 0-9 _ . -`, not beginning with `.` or `-`", valid_tag
);

fn valid_account(value: &str) -> bool {
    value.len() == 12 && value.bytes().all(|b| b.is_ascii_digit())
}

fn valid_region(value: &str) -> bool {
    let mut words = value.split('-');
    let number = words.next_back().unwrap_or_default();
    value.len() <= 32
        && value.contains('-')
        && (1..=2).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
        && words.all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
}

fn valid_repository(value: &str) -> bool {
    fn alphanumeric(c: char) -> bool {
        c.is_ascii_lowercase() || c.is_ascii_digit()
    }
    (2..=256).contains(&value.len())
        && value.split('/').all(|part| {
            part.starts_with(alphanumeric)
                && part.ends_with(alphanumeric)
                && part.chars().all(|c| alphanumeric(c) || matches!(c, '.' | '_' | '-'))
                && !part.contains("..")
        })
}

fn valid_digest(value: &str) -> bool {
    let Some((algorithm, encoded)) = value.split_once(':') else {
        return false;
    };
    value.len() <= 135
        && !encoded.is_empty()
        && encoded
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
        && algorithm
            .split(['+', '.', '_', '-'])
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

fn valid_tag(value: &str) -> bool {
    value.len() <= 128
        && value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

impl Digest {
    /// The first 12 characters after the algorithm: what people recognise an image by.
    pub fn short(&self) -> &str {
        let encoded = self.0.split_once(':').map_or(self.0.as_str(), |(_, encoded)| encoded);
        encoded.get(..12).unwrap_or(encoded)
    }
}

/// One image in one registry: what every decision, effect and message is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageKey {
    /// The registry.
    pub account: AccountId,
    /// The region that this copy of the image is in.
    pub region: Region,
    /// The repository.
    pub repository: RepositoryName,
    /// The manifest's digest.
    pub digest: Digest,
}

impl fmt::Display for ImageKey {
    /// `repository@sha256:…`, as one writes it on a command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

/// One repository in one registry and region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RepositoryKey {
    /// The registry.
    pub account: AccountId,
    /// The region.
    pub region: Region,
    /// The repository.
    pub repository: RepositoryName,
}

impl fmt::Display for RepositoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)
    }
}

impl RepositoryKey {
    /// The repository of an image.
    pub fn of(image: &ImageKey) -> Self {
        Self {
            account: image.account.clone(),
            region: image.region.clone(),
            repository: image.repository.clone(),
        }
    }

    /// One of its images.
    pub fn image(&self, digest: &Digest) -> ImageKey {
        ImageKey {
            account: self.account.clone(),
            region: self.region.clone(),
            repository: self.repository.clone(),
            digest: digest.clone(),
        }
    }

    /// The partition key of all its rows: `<account>#<repository>`.
    pub fn partition_key(&self) -> String {
        format!("{}#{}", self.account, self.repository)
    }

    /// Its ARN.
    pub fn arn(&self) -> String {
        repository_arn(&self.account, &self.region, &self.repository)
    }

    /// The sort key of its own row: `repository#<region>`.
    pub fn sort_key(&self) -> String {
        format!("repository#{}", self.region)
    }

    /// The sort key of a tag's row: `tag#<tag>#<region>`.
    pub fn tag_sort_key(&self, tag: &Tag) -> String {
        format!("tag#{tag}#{}", self.region)
    }
}

/// A registry in one region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RegistryKey {
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: Region,
}

impl RegistryKey {
    /// The partition key of its row, and of what is known of its repositories: the account.
    pub fn partition_key(&self) -> String {
        self.account.to_string()
    }

    /// The sort key of its row: `registry#<region>`.
    pub fn sort_key(&self) -> String {
        format!("registry#{}", self.region)
    }

    /// The prefix of the sort keys of its repositories' summaries: `summary#<region>#`.
    pub fn summaries_prefix(&self) -> String {
        format!("summary#{}#", self.region)
    }
}

impl fmt::Display for RegistryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.account, self.region)
    }
}

/// The ARN of a repository; the partition is that of the region.
pub fn repository_arn(account: &AccountId, region: &Region, repository: impl fmt::Display) -> String {
    let partition = partition(region);
    format!("arn:{partition}:ecr:{region}:{account}:repository/{repository}")
}

/// The ARN of a function of Lambda; the partition is that of the region.
pub fn function_arn(account: &AccountId, region: &Region, function: &str) -> String {
    let partition = partition(region);
    format!("arn:{partition}:lambda:{region}:{account}:function:{function}")
}

/// The partition that a region is in. Source: AWS reference guide to ARNs, "Partitions".
pub fn partition(region: &Region) -> &'static str {
    let partition = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    partition
        .iter()
        .find(|(prefix, _)| region.as_str().starts_with(prefix))
        .map_or("aws", |(_, name)| name)
}

/// The name of a registry, as container runtimes know it: `123456789012.dkr.ecr.us-west-2.amazonaws.com`.
pub fn registry_host(account: &AccountId, region: &Region) -> String {
    format!("{account}.dkr.ecr.{region}.{}", registry_suffix(region))
}

/// The suffix of the name of a registry in this region, and of the addresses of all services there.
pub fn registry_suffix(region: &Region) -> &'static str {
    let suffix = [
        ("cn-", "amazonaws.com.cn"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eusc-", "amazonaws.eu"),
    ];
    suffix
        .iter()
        .find(|(prefix, _)| region.as_str().starts_with(prefix))
        .map_or("amazonaws.com", |(_, name)| name)
}

/// ARN of an SNS standard topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicArn(String);

/// Why a string is not the ARN of a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopicArn {
    /// Not an ARN of SNS.
    #[error("a topic's ARN looks like `arn:aws:sns:us-west-2:123456789012:alerts`")]
    Form,
    /// FIFO topics deliver to SQS only, so that nobody would read the alerts.
    #[error("a FIFO topic delivers neither e-mail nor chat: use a standard topic")]
    Fifo,
}

impl TopicArn {
    /// The ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TopicArn {
    type Err = InvalidTopicArn;

    fn from_str(arn: &str) -> Result<Self, InvalidTopicArn> {
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, "sns", region, account, name] = parts.as_slice() else {
            return Err(InvalidTopicArn::Form);
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.ends_with(".fifo") {
            return Err(InvalidTopicArn::Fifo);
        }
        if !partition.starts_with("aws")
            || [region, name]
                .iter()
                .any(|part| part.is_empty() || !part.chars().all(plain))
            || account.len() != 12
            || !account.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(InvalidTopicArn::Form);
        }
        Ok(Self(arn.to_owned()))
    }
}

impl TryFrom<String> for TopicArn {
    type Error = InvalidTopicArn;

    fn try_from(arn: String) -> Result<Self, InvalidTopicArn> {
        arn.parse()
    }
}

impl From<TopicArn> for String {
    fn from(arn: TopicArn) -> Self {
        arn.0
    }
}

impl fmt::Display for TopicArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How an event names an image: by digest where it has one, otherwise by a tag that the registry resolves, once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageRef {
    /// By digest.
    Digest(Digest),
    /// By tag.
    Tag(Tag),
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => write!(f, "@{digest}"),
            Self::Tag(tag) => write!(f, ":{tag}"),
        }
    }
}

/// The repository of an ARN `arn:PARTITION:ecr:REGION:ACCOUNT:repository/NAME`, or of a plain name.
///
/// Inspector's events put the ARN where ECR's put the name. An image's ARN (`…/sha256:…` appended) is cut before the digest.
///
/// # Errors
/// The name is not a valid repository name.
pub fn repository_from_arn_or_name(value: &str) -> Result<RepositoryName, InvalidId> {
    let name = match value.strip_prefix("arn:") {
        Some(arn) => arn.split_once(":repository/").map_or(value, |(_, name)| name),
        None => value,
    };
    name.split_once("/sha256:").map_or(name, |(name, _)| name).parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: FromStr>(valid: &[&str], invalid: &[&str]) {
        for value in valid {
            assert!(value.parse::<T>().is_ok(), "`{value}` should be accepted");
        }
        for value in invalid {
            assert!(value.parse::<T>().is_err(), "`{value}` should be refused");
        }
    }

    #[test]
    fn accounts() {
        check::<AccountId>(
            &["123456789012", "000000000000"],
            &["", "12345678901", "1234567890123", "12345678901a"],
        );
    }

    #[test]
    fn regions() {
        check::<Region>(
            &["us-west-2", "us-gov-east-1", "ap-southeast-12", "us-iso-west-1"],
            &[
                "",
                "us",
                "us-west-",
                "US-WEST-2",
                "us-west-2a",
                "us west 2",
                "us--2",
                "-2",
            ],
        );
    }

    #[test]
    fn repositories() {
        let longest = "a".repeat(256);
        let too_long = "a".repeat(257);
        check::<RepositoryName>(
            &["ubuntu", "team/api", "a0", "a.b_c-d/e", "a--b", "a__b", &longest],
            &[
                "",
                "a",
                "Team/api",
                "team//api",
                "/api",
                "api/",
                "-api",
                "api-",
                "a..b",
                "a b",
                "a\u{202e}b",
                &too_long,
            ],
        );
    }

    #[test]
    fn digests_of_aws_samples_are_accepted() {
        check::<Digest>(
            &[
                "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234",
                "sha256:8g6c3751gf7gc5g47603ege4511d5a80ead5g90f5893543f1489bde2345",
                "sha512:aa",
            ],
            &[
                "",
                "sha256",
                "sha256:",
                ":aa",
                "SHA256:aa",
                "sha256:a a",
                "sha256:a\n",
                "sha256:a:b",
                "latest",
            ],
        );
    }

    #[test]
    fn tags() {
        let longest = "a".repeat(128);
        let too_long = "a".repeat(129);
        check::<Tag>(
            &["latest", "v1.2.3", "_x", &longest],
            &["", ".a", "-a", "a b", "a/b", "é", "a\u{1b}[31m", &too_long],
        );
    }

    #[test]
    fn a_short_digest_is_twelve_characters_at_most() {
        assert_eq!(
            "sha256:0123456789abcdef".parse::<Digest>().unwrap().short(),
            "0123456789ab"
        );
        assert_eq!("sha256:0123".parse::<Digest>().unwrap().short(), "0123");
    }

    #[test]
    fn a_repository_comes_out_of_a_name_an_arn_and_an_image_arn() {
        for value in [
            "team/api",
            "arn:aws:ecr:us-east-1:111122223333:repository/team/api",
            "arn:aws-cn:ecr:cn-north-1:111122223333:repository/team/api/sha256:84f5",
        ] {
            assert_eq!(repository_from_arn_or_name(value).unwrap().as_str(), "team/api");
        }
        assert!(repository_from_arn_or_name("arn:aws:s3:::bucket").is_err());
    }

    #[test]
    fn an_error_names_the_value_and_the_rule() {
        let error = "Not A Repository\u{7}".parse::<RepositoryName>().unwrap_err();
        insta::assert_snapshot!(error, @"`Not A Repository` is not a repository name: 2 to 256 characters of `a-z 0-9 . _ - /`, each part beginning and ending with a letter or digit");
    }
}
