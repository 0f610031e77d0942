//! Missing permissions of the functions: which role lacks which permission, as AWS says it, and the number of images that wait
//! for it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ids::RegistryKey;
use crate::ids::{RepositoryName, repository_arn};

/// Why a call is refused, as far as AWS says it. Source: IAM user guide, "Troubleshoot access denied error messages".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// No policy of the role allows it, or AWS does not say.
    Role,
    /// The role's permissions boundary does not allow it.
    Boundary,
    /// A policy of the organization (a service or resource control policy) does not allow it.
    Organization,
    /// A policy of the role or resource denies it.
    Denied,
}

/// A missing permission in one region: findings that may not be read, blocks that may not be undone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RefusedAccess {
    /// The call that was refused, as IAM names it.
    pub operation: String,
    /// The action that is missing: that of the call, or of what AWS does for it in the caller's name.
    pub missing: String,
    /// Who lacks it, if AWS says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Why.
    pub because: Because,
    /// The last sweep that met it.
    pub sweep: Timestamp,
    /// How many images have waited in that sweep.
    pub images: u64,
    /// The first of them, at most [`MAX_NAMED`].
    pub first: Vec<String>,
}

/// How many images are named.
pub const MAX_NAMED: usize = 10;

/// The time after which a problem that no sweep has met again has ended, or concerns no image any more: a day. A sweep may run
/// for hours before it meets a missing permission, and the alert is sent when the next one begins.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// The most causes that are remembered. There is one, or one for each role.
pub const MAX_CAUSES: usize = 10;

impl RefusedAccess {
    /// From an error of AWS, as the adapter gives it: `User: ARN is not authorized to perform: ACTION on resource: ARN because …`.
    pub fn read(operation: &str, message: &str, sweep: Timestamp) -> Self {
        let word_after = |marker: &str| {
            let (_, rest) = message.split_once(marker)?;
            let word = rest.split_whitespace().next()?.trim_end_matches(['.', ',']);
            let harmless = |c: char| c.is_ascii_alphanumeric() || ":/+=,.@_-".contains(c);
            (!word.is_empty() && word.len() <= 200 && word.chars().all(harmless)).then(|| word.to_owned())
        };
        let role = word_after("User: ").map(|arn| match arn.split_once(":assumed-role/") {
            Some((_, role)) => role.split('/').next().unwrap_or(role).to_owned(),
            None => arn,
        });
        let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
        let because = if says(&["permissions boundary"]) {
            Because::Boundary
        } else if says(&["service control policy", "resource control policy"]) {
            Because::Organization
        } else if says(&["explicit deny"]) {
            Because::Denied
        } else {
            Because::Role
        };
        Self {
            operation: operation.to_owned(),
            missing: word_after("not authorized to perform: ").unwrap_or_else(|| operation.to_owned()),
            role,
            because,
            sweep,
            images: 0,
            first: Vec::new(),
        }
    }

    /// The message of AWS, as far as it is remembered: [`RefusedAccess::read`] reads the same cause from it.
    pub fn message(&self) -> String {
        let because = match self.because {
            Because::Role => "",
            Because::Boundary => " because no permissions boundary allows it",
            Because::Organization => " with an explicit deny in a service control policy",
            Because::Denied => " with an explicit deny",
        };
        let role = self.role.as_ref().map(|role| format!("User: {role} is "));
        format!(
            "{}not authorized to perform: {}{because}",
            role.unwrap_or_default(),
            self.missing
        )
    }

    /// Whether findings may not be read; if not, blocks may not be undone.
    pub fn is_of_findings(&self) -> bool {
        !matches!(
            self.operation.as_str(),
            "ecr:BatchDeleteImage" | "ecr:BatchGetImage" | "ecr:PutImage" | "ecr:UpdateImageStorageClass"
        )
    }

    /// The method of blocking that it takes to undo.
    fn method(&self) -> &'static str {
        if self.operation == "ecr:UpdateImageStorageClass" {
            "archive"
        } else {
            "quarantine-tag"
        }
    }

    /// Whether both have the same cause.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.operation, &self.missing, &self.role, self.because)
            == (&other.operation, &other.missing, &other.role, other.because)
    }

    /// Adds images that wait, in the sweep that `other` is of; those of an earlier one are counted no more.
    pub fn add(&mut self, other: Self) {
        if self.sweep < other.sweep {
            *self = other;
            return;
        }
        self.images = self.images.saturating_add(other.images);
        for image in other.first {
            if self.first.len() < MAX_NAMED && !self.first.contains(&image) {
                self.first.push(image);
            }
        }
    }

    /// Whether it may hold for the images of one repository only, and says nothing of others: the policy of a repository can deny, and the
    /// actions of ECR can be allowed for some repositories and not for others. Those of Inspector go by no repository.
    pub fn is_of_one_repository(&self) -> bool {
        self.because == Because::Denied || self.missing.starts_with("ecr:")
    }

    /// Whether all images that are named are of this repository.
    pub fn is_about(&self, repository: &RepositoryName) -> bool {
        let of = |image: &String| {
            image
                .split_once('@')
                .is_some_and(|(name, _)| name == repository.as_str())
        };
        self.first.iter().all(of)
    }

    /// Whether it still lasts, as far as known.
    pub fn lasts(&self, now: Timestamp) -> bool {
        now.duration_since(self.sweep) < FORGOTTEN_AFTER
    }

    /// The steps for the reader, in order. `registry` is the place.
    pub fn next_steps(&self, registry: &RegistryKey) -> Vec<String> {
        let role = self.role.as_deref().unwrap_or("the functions");
        let actions = if self.missing.starts_with("inspector2:") {
            // ECR asks for both in the caller's name; only the first that is missing is named.
            r#""inspector2:ListCoverage", "inspector2:ListFindings""#.to_owned()
        } else {
            format!(r#""{}""#, self.missing)
        };
        let resource = if self.is_of_findings() {
            "*".to_owned()
        } else {
            repository_arn(&registry.account, &registry.region, "*")
        };
        let statement = format!(r#"{{"Effect": "Allow", "Action": [{actions}], "Resource": "{resource}"}}"#);
        let first = match self.because {
            Because::Role if !self.is_of_findings() => format!(
                "Name `{}` in `block.keep_release_of` of the policy, and apply the Terraform module guard again; or add this statement to the \
                 policy of {role}: {statement}",
                self.method()
            ),
            Because::Role => format!(
                "Add this statement to the policy of {role}, or apply the Terraform module guard again: {statement}"
            ),
            Because::Boundary => {
                format!("Ask the owner of the permissions boundary of {role} to allow it: {statement}")
            }
            Because::Organization => format!(
                "Ask the owner of the policies of the organization (SCPs, RCPs) to let {role} call {}",
                self.missing
            ),
            Because::Denied => format!(
                "Find the policy that denies {} to {role}, and take the denial out.",
                self.missing
            ),
        };
        let then = if self.is_of_findings() {
            "Nothing else is to be done: the next sweep reads the findings of all images that wait."
        } else {
            "Nothing else is to be done: the next sweep undoes what waits."
        };
        vec![first, then.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> RegistryKey {
        RegistryKey {
            account: "123456789012".parse().unwrap(),
            region: "us-west-2".parse().unwrap(),
        }
    }

    const ROLE: &str = "User: arn:aws:sts::123456789012:assumed-role/ecr-guard-worker-us-west-2/ecr-guard-worker is not authorized to \
                        perform: inspector2:ListFindings on resource: arn:aws:inspector2:us-west-2:123456789012:/findings/list";

    #[test]
    fn the_words_of_aws_say_who_lacks_what_and_why() {
        for (more, because, step) in [
            (
                "",
                Because::Role,
                "Add this statement to the policy of ecr-guard-worker-us-west-2",
            ),
            (
                " because no identity-based policy allows the inspector2:ListFindings action",
                Because::Role,
                r#"{"Effect": "Allow", "Action": ["inspector2:ListCoverage", "inspector2:ListFindings"], "Resource": "*"}"#,
            ),
            (
                " because no permissions boundary allows the inspector2:ListFindings action",
                Because::Boundary,
                "Ask the owner of the permissions boundary of ecr-guard-worker-us-west-2",
            ),
            (
                " with an explicit deny in a service control policy",
                Because::Organization,
                "SCPs",
            ),
            (
                " with an explicit deny in an identity-based policy",
                Because::Denied,
                "take the denial out",
            ),
        ] {
            let refused = RefusedAccess::read(
                "ecr:DescribeImageScanFindings",
                &format!("{ROLE}{more}"),
                Timestamp::UNIX_EPOCH,
            );
            assert_eq!(refused.missing, "inspector2:ListFindings");
            assert_eq!(refused.role.as_deref(), Some("ecr-guard-worker-us-west-2"));
            assert_eq!(refused.because, because, "{more}");
            let again = RefusedAccess::read(&refused.operation, &refused.message(), refused.sweep);
            assert!(again.is_same(&refused), "{again:?}");
            assert!(
                refused.next_steps(&registry())[0].contains(step),
                "{:?}",
                refused.next_steps(&registry())
            );
        }
        let odd = RefusedAccess::read(
            "ecr:DescribeImageScanFindings",
            "User: \u{202e} is not authorized to perform: <b>",
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(
            (odd.missing.as_str(), odd.role),
            ("ecr:DescribeImageScanFindings", None)
        );
    }

    #[test]
    fn images_are_counted_by_sweep_and_ten_are_named() {
        let of = |sweep: i64, images: std::ops::Range<u64>| RefusedAccess {
            images: images.end - images.start,
            first: images.map(|n| n.to_string()).take(MAX_NAMED).collect(),
            ..RefusedAccess::read(
                "ecr:DescribeImageScanFindings",
                ROLE,
                Timestamp::from_second(sweep).unwrap(),
            )
        };
        let mut refused = of(1, 0..8);
        refused.add(of(1, 8..40));
        assert_eq!((refused.images, refused.first.len()), (40, 10));
        refused.add(of(2, 0..3));
        assert_eq!((refused.images, refused.first.len()), (3, 3));
        // A sweep that has run for hours is followed by one that alerts its problems.
        assert!(refused.lasts(refused.sweep + SignedDuration::from_hours(23)));
        assert!(!refused.lasts(refused.sweep + SignedDuration::from_hours(24)));
    }

    fn refused(operation: &str, more: &str) -> RefusedAccess {
        RefusedAccess::read(operation, &format!("{ROLE}{more}"), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_a_block_takes_to_undo_is_not_about_findings() {
        for (operation, method) in [
            ("ecr:UpdateImageStorageClass", "archive"),
            ("ecr:BatchDeleteImage", "quarantine-tag"),
            ("ecr:BatchGetImage", "quarantine-tag"),
            ("ecr:PutImage", "quarantine-tag"),
        ] {
            let message = format!("User: arn:aws:iam::123456789012:role/r is not authorized to perform: {operation}");
            let undo = RefusedAccess::read(operation, &message, Timestamp::UNIX_EPOCH);
            assert!(!undo.is_of_findings(), "{operation}");
            let steps = undo.next_steps(&registry());
            assert!(
                steps[0].starts_with(&format!("Name `{method}` in `block.keep_release_of`")),
                "{steps:?}"
            );
            let statement = format!(
                r#"{{"Effect": "Allow", "Action": ["{operation}"], "Resource": "arn:aws:ecr:us-west-2:123456789012:repository/*"}}"#
            );
            assert!(steps[0].ends_with(&statement), "{steps:?}");
            assert_eq!(
                steps[1],
                "Nothing else is to be done: the next sweep undoes what waits."
            );
        }
        let findings = refused("ecr:DescribeImageScanFindings", "");
        assert!(findings.is_of_findings());
        assert_eq!(
            findings.next_steps(&registry())[1],
            "Nothing else is to be done: the next sweep reads the findings of all images that wait."
        );
    }

    #[test]
    fn a_cause_is_the_same_in_all_that_it_is_of() {
        let one = refused("ecr:DescribeImageScanFindings", "");
        let later = RefusedAccess {
            sweep: one.sweep + SignedDuration::from_hours(1),
            images: 7,
            ..one.clone()
        };
        assert!(one.is_same(&later));
        for other in [
            RefusedAccess {
                operation: "ecr:PutImage".to_owned(),
                ..one.clone()
            },
            RefusedAccess {
                missing: "ecr:PutImage".to_owned(),
                ..one.clone()
            },
            RefusedAccess {
                role: None,
                ..one.clone()
            },
            RefusedAccess {
                because: Because::Denied,
                ..one.clone()
            },
        ] {
            assert!(!one.is_same(&other), "{other:?}");
        }
    }

    #[test]
    fn a_denial_and_an_action_of_ecr_may_hold_for_one_repository_only() {
        for (because, missing, of_one) in [
            (Because::Role, "inspector2:ListFindings", false),
            (Because::Boundary, "inspector2:ListFindings", false),
            (Because::Denied, "inspector2:ListFindings", true),
            (Because::Role, "ecr:PutImage", true),
            (Because::Denied, "ecr:PutImage", true),
        ] {
            let refused = RefusedAccess {
                because,
                missing: missing.to_owned(),
                ..refused("ecr:DescribeImageScanFindings", "")
            };
            assert_eq!(refused.is_of_one_repository(), of_one, "{because:?} {missing}");
        }
    }

    #[test]
    fn it_is_about_a_repository_if_all_images_are_of_it() {
        for (first, about) in [
            (&[][..], true),
            (&["api@sha256:1"], true),
            (&["api@sha256:1", "api@sha256:2"], true),
            (&["web@sha256:1"], false),
            (&["api@sha256:1", "web@sha256:1"], false),
            (&["api"], false),
        ] {
            let refused = RefusedAccess {
                first: first.iter().map(|image| (*image).to_owned()).collect(),
                ..refused("ecr:DescribeImageScanFindings", "")
            };
            assert_eq!(refused.is_about(&"api".parse().unwrap()), about, "{first:?}");
        }
    }

    #[test]
    fn a_name_that_is_empty_long_or_odd_is_not_taken() {
        for (name, taken) in [
            ("a".repeat(200), true),
            ("a".repeat(201), false),
            (".".to_owned(), false),
            ("a<b".to_owned(), false),
        ] {
            let message = format!("User: {name} is not authorized to perform: ecr:PutImage");
            let role = RefusedAccess::read("ecr:PutImage", &message, Timestamp::UNIX_EPOCH).role;
            assert_eq!(role, taken.then(|| name.clone()), "{name}");
        }
    }
}
