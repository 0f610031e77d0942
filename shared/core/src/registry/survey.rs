//! Whether a registry's settings are what the policy needs, and which exceptions of the policy end.
//!
//! Keys are not checked here: a repository keeps the key that it was made with. Each reconcile of a repository asks for the
//! health of its key, and alerts the topic of the repository (`key-unhealthy`). A key that only the policy names encrypts
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    glob::Glob,
    ids::{Region, RegistryKey, RepositoryName, TopicArn},
    notice::Change,
    policy::Policy,
    registry::{
        RegistrySettings,
        checks::{Failed, REGISTRY_CHECKS, RegistryCase},
    },
    repository::route::RouteTag,
};

/// A setting that is not what the policy needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The subject: the same for as long as the condition lasts, whichever repositories there are.
    pub about: String,
    /// The observed and the desired value.
    pub change: Change,
}

/// The result of a survey.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Settings that are not what the policy needs.
    pub problems: Vec<Problem>,
    /// For each exception of the policy, in its order: the topics of the repositories that it is for; the default topic if there are
    /// none.
    pub exceptions: Vec<BTreeSet<TopicArn>>,
    /// ECR signs images on push.
    pub signing: bool,
}

/// The repositories of one entry that a setting fails.
#[derive(Debug, Default)]
struct Tally {
    number: u64,
    first: Vec<RepositoryName>,
}

/// How many repositories are named of those that a setting fails.
const NAMED: usize = 5;

/// Checks a registry's settings for one repository after the other. The policy bounds its memory.
#[derive(Debug)]
pub struct RegistrySurvey<'a> {
    policy: &'a Policy,
    key: &'a RegistryKey,
    settings: &'a RegistrySettings,
    /// By the place of the check in the list, the entry of the policy, and the region that it is about.
    failed: BTreeMap<(usize, &'a str, Option<&'a Region>), Tally>,
    exceptions: Vec<BTreeSet<TopicArn>>,
}

impl<'a> RegistrySurvey<'a> {
    /// No repository has been checked yet.
    pub fn new(policy: &'a Policy, key: &'a RegistryKey, settings: &'a RegistrySettings) -> Self {
        Self {
            policy,
            key,
            settings,
            failed: BTreeMap::new(),
            exceptions: vec![BTreeSet::new(); policy.exceptions.len()],
        }
    }

    /// Checks one repository. `route`: the value of the tag that names the route of its alerts, as far as known.
    pub fn repository(&mut self, name: &RepositoryName, route: Option<&RouteTag>) {
        let topic = self.policy.topic(name, route);
        for (exception, topics) in self.policy.exceptions.iter().zip(&mut self.exceptions) {
            if !topics.contains(topic) && exception.is_for(name) {
                topics.insert(topic.clone());
            }
        }
        let Some(rules) = self.policy.repository(name) else {
            return;
        };
        let entry = rules.matches.as_str();
        let case = RegistryCase {
            key: self.key,
            settings: self.settings,
            rules,
        };
        for (place, check) in REGISTRY_CHECKS.iter().enumerate() {
            for region in (check.fails)(&case, name) {
                self.failed.entry((place, entry, region)).or_default().add(name);
            }
        }
    }

    /// The result.
    pub fn finish(self) -> Found {
        let problem = |(&(place, entry, region), tally): (&(usize, &str, Option<&Region>), &Tally)| {
            let check = REGISTRY_CHECKS.get(place)?;
            let (old, new) = (check.words)(&Failed {
                repositories: tally.words(entry),
                region,
            });
            let where_to = region.map_or_else(String::new, |region| format!(" {region}"));
            Some(Problem {
                about: format!("{} {entry}{where_to}", check.setting),
                change: Change {
                    setting: check.setting.to_owned(),
                    old,
                    new,
                },
            })
        };
        let problems = self.failed.iter().filter_map(problem).collect();
        let default = self.policy.default_topic();
        Found {
            problems,
            exceptions: self
                .exceptions
                .into_iter()
                .map(|topics| {
                    if topics.is_empty() {
                        [default.clone()].into()
                    } else {
                        topics
                    }
                })
                .collect(),
            signing: self.settings.signing_rules > 0,
        }
    }
}

impl Tally {
    fn add(&mut self, name: &RepositoryName) {
        self.number += 1;
        if self.first.len() < NAMED {
            self.first.push(name.clone());
        }
    }

    fn words(&self, entry: &str) -> String {
        let names = self
            .first
            .iter()
            .map(RepositoryName::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        let more = match self.number.saturating_sub(NAMED as u64) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let repositories = if self.number == 1 { "repository" } else { "repositories" };
        format!("{} {repositories} that `{entry}` matches: {names}{more}", self.number)
    }
}

impl RegistrySettings {
    /// Whether a rule has images of a repository scanned without anybody asking.
    ///
    /// Source: user guide of ECR, "Filters to choose which repositories are scanned": a filter without `*` matches every name that
    /// contains it. A frequency that is new counts as none.
    pub fn scans(&self, name: &RepositoryName) -> bool {
        let matches = |filter: &String| {
            if filter.contains('*') {
                filter.parse::<Glob>().is_ok_and(|glob| glob.matches(name.as_str()))
            } else {
                name.as_str().contains(filter.as_str())
            }
        };
        self.scan_rules.iter().any(|rule| {
            matches!(rule.frequency.as_str(), "SCAN_ON_PUSH" | "CONTINUOUS_SCAN") && rule.filters.iter().any(matches)
        })
    }

    /// Whether a rule copies a repository to this region of the same account.
    pub(super) fn copies(&self, name: &RepositoryName, from: &RegistryKey, to: &Region) -> bool {
        self.replication.iter().any(|rule| {
            let there = |place: &RegistryKey| place.account == from.account && place.region == *to;
            let selected = |prefix: &String| name.as_str().starts_with(prefix.as_str());
            rule.destinations.iter().any(there) && (rule.prefixes.is_empty() || rule.prefixes.iter().any(selected))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ReplicationRule, ScanRule};
    use super::*;
    use crate::finding::ScanMode;
    use crate::testing::{policy, registry_key};

    fn settings(scanning: ScanMode, rules: &[(&str, &str)], copies: &[(&str, &str, &str)]) -> RegistrySettings {
        RegistrySettings {
            scanning,
            scan_rules: rules
                .iter()
                .map(|(frequency, filter)| ScanRule {
                    frequency: (*frequency).to_owned(),
                    filters: vec![(*filter).to_owned()],
                })
                .collect(),
            replication: copies
                .iter()
                .map(|(account, region, prefix)| ReplicationRule {
                    destinations: vec![RegistryKey {
                        account: account.parse().unwrap(),
                        region: region.parse().unwrap(),
                    }],
                    prefixes: (!prefix.is_empty()).then(|| (*prefix).to_owned()).into_iter().collect(),
                })
                .collect(),
            signing_rules: 0,
        }
    }

    fn found(members: &str, settings: &RegistrySettings, names: &[&str]) -> Found {
        let (policy, key) = (policy(members), registry_key());
        let mut survey = RegistrySurvey::new(&policy, &key, settings);
        names
            .iter()
            .for_each(|name| survey.repository(&name.parse().unwrap(), None));
        survey.finish()
    }

    #[test]
    fn scanning_must_cover_what_is_to_be_scanned_on_push() {
        let members = r#""repositories": [{"match": "prod*", "posture": {"scan_on_push": true}}, {"match": "*"}]"#;
        for (mode, rules, failed, why) in [
            (ScanMode::Enhanced, &[][..], "prod-api, prod-web", "nothing is scanned"),
            (
                ScanMode::Basic,
                &[],
                "",
                "the repository's own flag is enough, and looked at elsewhere",
            ),
            (ScanMode::Enhanced, &[("SCAN_ON_PUSH", "*")], "", "all are"),
            (
                ScanMode::Enhanced,
                &[("CONTINUOUS_SCAN", "prod-*")],
                "",
                "all that must",
            ),
            (
                ScanMode::Enhanced,
                &[("MANUAL", "*")],
                "prod-api, prod-web",
                "only when asked",
            ),
            (
                ScanMode::Enhanced,
                &[("NIGHTLY", "*")],
                "prod-api, prod-web",
                "a word that nobody knows",
            ),
            (
                ScanMode::Enhanced,
                &[("SCAN_ON_PUSH", "od-a")],
                "prod-web",
                "without `*`, what contains it",
            ),
            (
                ScanMode::Enhanced,
                &[("SCAN_ON_PUSH", "od-a*")],
                "prod-api, prod-web",
                "with `*`, the whole name",
            ),
        ] {
            let found = found(members, &settings(mode, rules, &[]), &["prod-api", "prod-web", "dev"]);
            let named = found.problems.iter().map(|problem| {
                assert_eq!(problem.about, "registry.scanning prod*");
                problem.change.old.rsplit_once(": ").unwrap().1
            });
            assert_eq!(named.collect::<Vec<_>>().join("; "), failed, "{why}");
        }
    }

    #[test]
    fn what_it_is_about_stays_the_same_when_there_are_more_repositories() {
        let members = r#""repositories": [{"match": "prod*", "posture": {"scan_on_push": true}}]"#;
        let settings = settings(ScanMode::Enhanced, &[], &[]);
        let names: Vec<String> = (0..8).map(|n| format!("prod-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let [one, all] = [&names[..1], &names].map(|names| found(members, &settings, names).problems);
        assert_eq!(one[0].about, all[0].about);
        insta::assert_snapshot!(one[0].change.old, @"enhanced scanning, and no rule of it scans 1 repository that `prod*` matches: prod-0");
        insta::assert_snapshot!(all[0].change.old, @"enhanced scanning, and no rule of it scans 8 repositories that `prod*` matches: prod-0, prod-1, prod-2, prod-3, prod-4 and 3 more");
    }

    #[test]
    fn replication_must_have_a_rule_for_each_region() {
        let members = r#""repositories": [{"match": "prod*",
            "replication": {"regions": ["us-west-2", "us-east-1", "eu-west-1"], "max_lag_minutes": 30}}]"#;
        let account = "123456789012";
        for (copies, failed, why) in [
            (&[][..], &["eu-west-1", "us-east-1"][..], "not to where they are"),
            (&[(account, "us-east-1", "")], &["eu-west-1"], "a rule for all"),
            (&[(account, "us-east-1", "prod")], &["eu-west-1"], "a rule for these"),
            (
                &[(account, "us-east-1", "dev")],
                &["eu-west-1", "us-east-1"],
                "a rule for others",
            ),
            (
                &[("999999999999", "us-east-1", "")],
                &["eu-west-1", "us-east-1"],
                "another account",
            ),
            (&[(account, "us-east-1", ""), (account, "eu-west-1", "")], &[], "both"),
        ] {
            let found = found(members, &settings(ScanMode::Basic, &[], copies), &["prod-api", "dev"]);
            let regions = found
                .problems
                .iter()
                .map(|problem| problem.about.rsplit_once(' ').unwrap().1);
            assert_eq!(regions.collect::<Vec<_>>(), failed, "{why}");
        }
    }

    #[test]
    fn an_exception_concerns_those_whose_repositories_it_is_for() {
        let exception = |glob: &str| {
            format!(
                r#"{{"vulnerability": "CVE-1", "repositories": ["{glob}"], "owner": "o", "reason": "r", "expires": "2026-11-28"}}"#
            )
        };
        let json = format!(
            r#"{{"version": 1, "mode": "enforce",
            "routes": {{"default": "arn:aws:sns:us-west-2:123456789012:d", "team": "arn:aws:sns:us-west-2:123456789012:t"}},
            "repositories": [{{"match": "team-*", "route": "team"}}],
            "exceptions": [{}, {}, {}]}}"#,
            exception("team-a"),
            exception("*"),
            exception("nothing")
        );
        let policy = Policy::from_json(&json, crate::testing::now()).unwrap();
        let (key, settings) = (registry_key(), settings(ScanMode::Basic, &[], &[]));
        let mut survey = RegistrySurvey::new(&policy, &key, &settings);
        for name in ["team-a", "other"] {
            survey.repository(&name.parse().unwrap(), None);
        }
        let topics = survey.finish().exceptions.into_iter().map(|topics| {
            let names = topics
                .iter()
                .map(|topic| topic.as_str().rsplit(':').next().unwrap().to_owned());
            names.collect::<Vec<_>>().join(" ")
        });
        assert_eq!(topics.collect::<Vec<_>>(), ["t", "d t", "d"]);
    }

    #[test]
    fn the_words_of_a_missing_copy_name_the_region_and_images_may_be_signed() {
        let members =
            r#""repositories": [{"match": "prod*", "replication": {"regions": ["us-east-1"], "max_lag_minutes": 30}}]"#;
        let mut settings = settings(ScanMode::Basic, &[], &[]);
        let problems = found(members, &settings, &["prod-api"]).problems;
        assert_eq!(
            (problems[0].change.old.as_str(), problems[0].change.new.as_str()),
            (
                "no rule copies 1 repository that `prod*` matches: prod-api to us-east-1",
                "a replication rule for them to us-east-1, in the same account"
            )
        );
        for (rules, signing) in [(0, false), (1, true), (2, true)] {
            settings.signing_rules = rules;
            assert_eq!(found(members, &settings, &[]).signing, signing, "{rules}");
        }
    }
}
