//! The list `rules`: actions that depend on more than the severity.

use std::collections::BTreeSet;

use crate::{
    finding::{Finding, Fix, NOT_REMEMBERED, Severity, is_named},
    glob::Glob,
    ids::RepositoryName,
    policy::{
        consequence::{Consequence, Rule},
        document::{Action, FixCondition, RuleSection},
        reading::{PolicyError, Remark, glob, text_glob},
    },
    text,
};

/// The least EPSS that a rule may ask for: the rule of EventBridge that feeds `on-scan` lets no event about a lower one through
/// (`infra/modules/guard/event-patterns/on-scan.json`).
pub const LEAST_EPSS: f64 = 0.1;

/// The words of Inspector for kinds of packages. Source: API reference of Inspector, `VulnerablePackage` (`packageManager`).
const PACKAGE_TYPES: [&str; 18] = [
    "BUNDLER",
    "CARGO",
    "COMPOSER",
    "DOTNET_CORE",
    "GEMSPEC",
    "GOBINARY",
    "GOMOD",
    "JAR",
    "NODEPKG",
    "NPM",
    "NUGET",
    "OS",
    "PIP",
    "PIPENV",
    "POETRY",
    "POM",
    "PYTHONPKG",
    "YARN",
];

/// The conditions on a finding. A property without a condition may have any value; a property that is not known meets no
/// condition.
#[derive(Debug, Clone, PartialEq)]
struct Conditions {
    severities: Option<BTreeSet<Severity>>,
    fix: Option<FixCondition>,
    exploit: bool,
    min_score: Option<f64>,
    min_epss: Option<f64>,
    /// In capitals.
    package_types: Option<BTreeSet<String>>,
    packages: Option<Vec<Glob>>,
    vulnerabilities: Option<Vec<Glob>>,
    repositories: Option<Vec<Glob>>,
}

impl Conditions {
    fn hold(&self, finding: &Finding, repository: &RepositoryName) -> bool {
        let matches = |globs: &[Glob], text: &str| globs.iter().any(|glob| glob.matches(text));
        let any = |globs: &Option<Vec<Glob>>, text: Option<&str>| {
            globs
                .as_ref()
                .is_none_or(|globs| text.is_some_and(|text| matches(globs, text)))
        };
        let at_least = |least: Option<f64>, value: Option<f64>| {
            least.is_none_or(|least| value.is_some_and(|value| value >= least))
        };
        let has_fix = match finding.fix {
            Fix::Available | Fix::Unknown => FixCondition::Available,
            Fix::Unavailable => FixCondition::Unavailable,
        };
        self.severities
            .as_ref()
            .is_none_or(|those| those.contains(&finding.severity))
            && self.fix.is_none_or(|fix| fix == has_fix)
            && (!self.exploit || finding.exploit == Some(true))
            && at_least(self.min_score, finding.score)
            && at_least(self.min_epss, finding.epss)
            && self.package_types.as_ref().is_none_or(|those| {
                let word = finding.package_type.as_ref();
                word.is_some_and(|word| those.contains(&word.to_ascii_uppercase()))
            })
            && any(&self.packages, finding.package.as_deref())
            && self.vulnerabilities.as_ref().is_none_or(|globs| {
                finding
                    .ids()
                    .any(|id| globs.iter().any(|glob| glob.matches_in_any_case(id)))
            })
            && any(&self.repositories, Some(repository.as_str()))
    }

    /// Whether these could hold for a finding of which only the severity is remembered: the scanner has listed it, so that there is a package.
    /// Exploits and EPSS are known of few.
    fn may_hold(&self, finding: &Finding, repository: &RepositoryName) -> bool {
        let Self {
            severities,
            exploit,
            min_epss,
            repositories,
            ..
        } = self;
        let here = |glob: &Glob| glob.matches(repository.as_str());
        !exploit
            && min_epss.is_none()
            && severities
                .as_ref()
                .is_none_or(|those| those.contains(&finding.severity))
            && repositories.as_ref().is_none_or(|globs| globs.iter().any(here))
    }

    /// Whether nothing is asked for that is not known of a finding which the scanner counted and did not list.
    fn need_no_details(&self) -> bool {
        let Self {
            severities: _,
            fix,
            exploit,
            min_score,
            min_epss,
            package_types,
            packages,
            vulnerabilities,
            repositories: _,
        } = self;
        fix.is_none()
            && !exploit
            && min_score.is_none()
            && min_epss.is_none()
            && package_types.is_none()
            && packages.is_none()
            && vulnerabilities.is_none()
    }

    /// Whether these hold wherever those of `other` do. Globs are compared by their text: a glob that matches the text of another
    /// one matches all that the other one does.
    fn include(&self, other: &Self) -> bool {
        fn wider<T>(mine: Option<&T>, theirs: Option<&T>, includes: impl Fn(&T, &T) -> bool) -> bool {
            mine.is_none_or(|mine| theirs.is_some_and(|theirs| includes(mine, theirs)))
        }
        let globs = |mine: &Vec<Glob>, theirs: &Vec<Glob>| {
            theirs
                .iter()
                .all(|theirs| mine.iter().any(|mine| mine.matches(theirs.as_str())))
        };
        let ids = |mine: &Vec<Glob>, theirs: &Vec<Glob>| {
            let covered = |theirs: &Glob| mine.iter().any(|mine| mine.matches_in_any_case(theirs.as_str()));
            theirs.iter().all(covered)
        };
        let least = |mine: &f64, theirs: &f64| mine <= theirs;
        wider(
            self.severities.as_ref(),
            other.severities.as_ref(),
            BTreeSet::is_superset,
        ) && wider(self.fix.as_ref(), other.fix.as_ref(), FixCondition::eq)
            && (!self.exploit || other.exploit)
            && wider(self.min_score.as_ref(), other.min_score.as_ref(), least)
            && wider(self.min_epss.as_ref(), other.min_epss.as_ref(), least)
            && wider(
                self.package_types.as_ref(),
                other.package_types.as_ref(),
                BTreeSet::is_superset,
            )
            && wider(self.packages.as_ref(), other.packages.as_ref(), globs)
            && wider(self.vulnerabilities.as_ref(), other.vulnerabilities.as_ref(), ids)
            && wider(self.repositories.as_ref(), other.repositories.as_ref(), globs)
    }
}

/// An entry without `more_than`: the first whose conditions hold decides on a finding.
#[derive(Debug, Clone, PartialEq)]
struct First {
    conditions: Conditions,
    consequence: Consequence,
}

/// An entry with `more_than`: if more findings of an image than that meet its conditions, each of them has its action at least.
#[derive(Debug, Clone, PartialEq)]
pub struct Maximum {
    conditions: Conditions,
    /// How many are allowed.
    pub more_than: u64,
    /// The action for more of them.
    pub consequence: Consequence,
}

impl Maximum {
    /// Whether a finding is one of those that are counted.
    pub fn counts(&self, finding: &Finding, repository: &RepositoryName) -> bool {
        self.conditions.hold(finding, repository)
    }
}

/// The list `rules`, ready to be asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rules {
    firsts: Vec<First>,
    pub(super) maxima: Vec<Maximum>,
    remarks: Vec<Remark>,
}

impl Rules {
    pub(super) fn new(sections: &[RuleSection]) -> Result<Self, PolicyError> {
        let mut rules = Self::default();
        for (index, section) in sections.iter().enumerate() {
            rules.add(index, section)?;
        }
        Ok(rules)
    }

    fn add(&mut self, index: usize, section: &RuleSection) -> Result<(), PolicyError> {
        let path = |member: &str| format!("rules[{index}].{member}");
        let conditions = conditions(section, &path)?;
        let consequence = Consequence {
            action: section.action,
            rule: Rule::Listed(index),
        };
        let Some(more_than) = section.more_than else {
            if let Some(earlier) = self.firsts.iter().find(|first| first.conditions.include(&conditions)) {
                let problem = format!(
                    "it never decides: `{}` stands before it, and holds wherever it does",
                    earlier.consequence.rule
                );
                return Err(PolicyError::at(format!("rules[{index}]"), problem));
            }
            self.remark(index, &conditions);
            self.firsts.push(First {
                conditions,
                consequence,
            });
            return Ok(());
        };
        if section.action < Action::Review {
            let problem = "an entry with `more_than` only makes it worse: `review` or `block`";
            return Err(PolicyError::at(path("action"), problem));
        }
        if conditions.min_epss.is_some() {
            let problem = "EPSS is not known of all findings at once, so that they cannot be counted by it: leave out `more_than`";
            return Err(PolicyError::at(path("min_epss"), problem));
        }
        self.remark(index, &conditions);
        self.maxima.push(Maximum {
            conditions,
            more_than: more_than.into(),
            consequence,
        });
        Ok(())
    }

    /// Inspector gets new words without notice, so that an unknown one is no error.
    fn remark(&mut self, index: usize, conditions: &Conditions) {
        for word in conditions.package_types.iter().flatten() {
            if !PACKAGE_TYPES.contains(&word.as_str()) {
                let known = PACKAGE_TYPES.join(", ");
                let text = format!("`{word}` is not a word that Inspector is known to use ({known})");
                self.remarks
                    .push(Remark::at(format!("rules[{index}].package_types"), text));
            }
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.firsts.len() + self.maxima.len()
    }

    /// Remarks for the owner of the policy.
    pub(super) fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// The action of the first entry that holds; where none does, `otherwise`.
    ///
    /// For a finding that the scanner counted and did not list, or that is not remembered, only the severity is known. An entry
    /// that asks for more than that makes it worse if it holds, and never better.
    pub(super) fn consequence(
        &self,
        finding: &Finding,
        repository: &RepositoryName,
        otherwise: Consequence,
    ) -> Consequence {
        let mut least: Option<Consequence> = None;
        let mut decided = otherwise;
        for first in self.firsts.iter().filter(|first| {
            let conditions = &first.conditions;
            conditions.hold(finding, repository)
                || finding.id == NOT_REMEMBERED && conditions.may_hold(finding, repository)
        }) {
            if !is_named(&finding.id) && !first.conditions.need_no_details() {
                least = Some(least.map_or(first.consequence, |least| least.at_least(first.consequence)));
            } else {
                decided = first.consequence;
                break;
            }
        }
        least.map_or(decided, |least| decided.at_least(least))
    }
}

fn conditions(section: &RuleSection, path: &impl Fn(&str) -> String) -> Result<Conditions, PolicyError> {
    let list = |member: &'static str, texts: &Option<Vec<String>>| {
        let Some(texts) = texts else { return Ok(None) };
        not_empty(member, texts, path)?;
        let globs = texts.iter().enumerate();
        globs
            .map(|(n, text)| {
                let place = || path(&format!("{member}[{n}]"));
                if member == "packages" {
                    text_glob(text, place)
                } else {
                    glob(text, place)
                }
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Some)
    };
    if let Some(severities) = &section.severities {
        not_empty("severities", severities, path)?;
    }
    if section.exploit == Some(false) {
        let problem =
            "`false` is no condition, since no scanner knows that there is no exploit: say `true`, or leave it out";
        return Err(PolicyError::at(path("exploit"), problem));
    }
    let conditions = Conditions {
        severities: section.severities.as_ref().map(|those| those.iter().copied().collect()),
        fix: section.fix,
        exploit: section.exploit == Some(true),
        min_score: within("min_score", section.min_score, 0.0, 10.0, path)?,
        min_epss: within("min_epss", section.min_epss, LEAST_EPSS, 1.0, path)?,
        package_types: package_types(section, path)?,
        packages: list("packages", &section.packages)?,
        vulnerabilities: list("vulnerabilities", &section.vulnerabilities)?,
        repositories: list("repositories", &section.repositories)?,
    };
    let asks_for_nothing =
        conditions.need_no_details() && conditions.severities.is_none() && conditions.repositories.is_none();
    if asks_for_nothing {
        let here = path("");
        let problem = "it has no condition: what holds for every finding is what `severities` says";
        return Err(PolicyError::at(here.trim_end_matches('.'), problem));
    }
    Ok(conditions)
}

fn package_types(
    section: &RuleSection,
    path: &impl Fn(&str) -> String,
) -> Result<Option<BTreeSet<String>>, PolicyError> {
    let Some(words) = &section.package_types else {
        return Ok(None);
    };
    not_empty("package_types", words, path)?;
    for (n, word) in words.iter().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if word.is_empty() || !word.chars().all(plain) {
            let problem = format!("`{}` is not a word such as `OS` or `NPM`", text::line(word, 40));
            return Err(PolicyError::at(path(&format!("package_types[{n}]")), problem));
        }
    }
    Ok(Some(words.iter().map(|word| word.to_ascii_uppercase()).collect()))
}

fn not_empty<T>(member: &str, list: &[T], path: &impl Fn(&str) -> String) -> Result<(), PolicyError> {
    if list.is_empty() {
        return Err(PolicyError::at(
            path(member),
            "an empty list holds for nothing: leave it out",
        ));
    }
    Ok(())
}

fn within(
    member: &str,
    value: Option<f64>,
    least: f64,
    most: f64,
    path: &impl Fn(&str) -> String,
) -> Result<Option<f64>, PolicyError> {
    match value {
        Some(value) if !(least..=most).contains(&value) => {
            let why = match member {
                "min_epss" if value > 1.0 && value <= 100.0 => {
                    format!(". EPSS is a probability: {value} % is {}", value / 100.0)
                }
                "min_epss" if value < LEAST_EPSS => ". Inspector's events below 0.1 are not received".to_owned(),
                _ => String::new(),
            };
            let problem = format!("{value} is not between {least:.1} and {most:.1}{why}");
            Err(PolicyError::at(path(member), problem))
        }
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        evaluate::unlisted,
        policy::Policy,
        testing::{image_key, now, policy},
    };

    fn rules(entries: &str) -> Policy {
        policy(&format!(r#""rules": [{entries}]"#))
    }

    #[track_caller]
    fn refused(entries: &str) -> String {
        let json = format!(
            r#"{{"version": 1, "mode": "enforce", "routes": {{"default": "arn:aws:sns:us-west-2:123456789012:a"}}, "rules": [{entries}]}}"#
        );
        Policy::from_json(&json, now()).unwrap_err().to_string()
    }

    /// A finding of enhanced scanning of which everything is known.
    fn known() -> Finding {
        Finding {
            package: Some("lodash".to_owned()),
            package_type: Some("NPM".to_owned()),
            fix: Fix::Available,
            exploit: Some(true),
            score: Some(8.0),
            epss: Some(0.5),
            ..crate::testing::finding("CVE-2026-1", Severity::Medium)
        }
    }

    fn decided(policy: &Policy, finding: &Finding) -> String {
        let consequence = policy.consequence(finding, &image_key().repository);
        format!("{:?} by {}", consequence.action, consequence.rule).to_lowercase()
    }

    #[test]
    fn a_rule_for_a_vulnerability_is_for_whatever_goes_by_its_id() {
        let policy = rules(r#"{"vulnerabilities": ["CVE-2021-44228"], "action": "block"}"#);
        let advisory = |related: &[&str]| Finding {
            related: related.iter().map(|&id| id.to_owned()).collect(),
            ..crate::testing::finding("GHSA-jfh8-c2jp-5v3q", Severity::Low)
        };
        assert_eq!(decided(&policy, &advisory(&["CVE-2021-44228"])), "block by rules[0]");
        assert_eq!(decided(&policy, &advisory(&[])), "inform by severities.low");
    }

    #[test]
    fn each_condition_holds_for_what_it_asks_for_and_never_for_what_is_not_known() {
        type Change = fn(&mut Finding);
        let cases: [(&str, Change, Change); 10] = [
            (
                r#""severities": ["HIGH", "MEDIUM"]"#,
                |_| {},
                |f| f.severity = Severity::Low,
            ),
            (
                r#""fix": "available""#,
                |f| f.fix = Fix::Unknown,
                |f| f.fix = Fix::Unavailable,
            ),
            (
                r#""fix": "unavailable""#,
                |f| f.fix = Fix::Unavailable,
                |f| f.fix = Fix::Unknown,
            ),
            (r#""exploit": true"#, |_| {}, |f| f.exploit = None),
            (r#""min_score": 8.0"#, |_| {}, |f| f.score = None),
            (r#""min_epss": 0.5"#, |_| {}, |f| f.epss = None),
            (
                r#""package_types": ["os", "npm"]"#,
                |f| f.package_type = Some("Npm".to_owned()),
                |f| f.package_type = None,
            ),
            (r#""packages": ["lod*"]"#, |_| {}, |f| f.package = None),
            (
                r#""packages": ["Microsoft Visual *"]"#,
                |f| f.package = Some("Microsoft Visual C++".to_owned()),
                |f| f.package = Some("Microsoft".to_owned()),
            ),
            (
                r#""vulnerabilities": ["GHSA-*", "CVE-2026-*"]"#,
                |_| {},
                |f| f.id = "CVE-2025-1".to_owned(),
            ),
        ];
        for (condition, meets, fails) in cases {
            let policy = rules(&format!(r#"{{{condition}, "action": "block"}}"#));
            let mut finding = known();
            meets(&mut finding);
            assert_eq!(decided(&policy, &finding), "block by rules[0]", "{condition}");
            fails(&mut finding);
            assert!(!decided(&policy, &finding).ends_with("rules[0]"), "{condition}");
        }
        for (condition, below) in [
            (r#""min_score": 8.1"#, known()),
            (r#""min_epss": 0.51"#, known()),
            (
                r#""exploit": true"#,
                Finding {
                    exploit: Some(false),
                    ..known()
                },
            ),
            (r#""package_types": ["OS"]"#, known()),
            (r#""packages": ["Lodash"]"#, known()),
            (r#""repositories": ["dev-*"]"#, known()),
        ] {
            let policy = rules(&format!(r#"{{{condition}, "action": "block"}}"#));
            assert_eq!(decided(&policy, &below), "monitor by severities.medium", "{condition}");
        }
    }

    #[test]
    fn the_first_that_holds_decides_in_place_of_the_severity() {
        let policy = policy(
            r#""severities": {"HIGH": "block"}, "unfixable": {"HIGH": "review"}, "exploitable": "review", "rules": [
            {"vulnerabilities": ["CVE-2026-7"], "action": "block"},
            {"fix": "unavailable", "repositories": ["pipeops-*"], "action": "inform"},
            {"severities": ["HIGH"], "package_types": ["OS"], "action": "monitor"}]"#,
        );
        let high = |fix, package_type: &str, exploit| Finding {
            severity: Severity::High,
            fix,
            exploit,
            package_type: Some(package_type.to_owned()),
            ..known()
        };
        for (finding, expected) in [
            (high(Fix::Unavailable, "OS", None), "inform by rules[1]"),
            (high(Fix::Available, "OS", None), "monitor by rules[2]"),
            (high(Fix::Available, "OS", Some(true)), "review by exploitable"),
            (high(Fix::Available, "NPM", Some(true)), "block by severities.high"),
            (
                Finding {
                    id: "CVE-2026-7".to_owned(),
                    ..high(Fix::Unavailable, "OS", None)
                },
                "block by rules[0]",
            ),
        ] {
            assert_eq!(decided(&policy, &finding), expected, "{finding:?}");
        }
    }

    #[test]
    fn what_the_scanner_did_not_list_is_made_better_only_by_what_it_was_counted_by() {
        for (entries, expected) in [
            (
                r#"{"fix": "available", "action": "inform"}"#,
                "block by severities.critical",
            ),
            (
                r#"{"vulnerabilities": ["*"], "action": "inform"}"#,
                "block by severities.critical",
            ),
            (
                r#"{"packages": ["*"], "action": "inform"}"#,
                "block by severities.critical",
            ),
            (
                r#"{"severities": ["CRITICAL"], "action": "review"}"#,
                "review by rules[0]",
            ),
            (
                r#"{"fix": "available", "action": "review"}, {"repositories": ["*"], "action": "monitor"}"#,
                "review by rules[0]",
            ),
            (
                r#"{"fix": "available", "action": "monitor"}, {"vulnerabilities": ["*"], "action": "review"}, {"repositories": ["*"], "action": "inform"}"#,
                "review by rules[1]",
            ),
        ] {
            assert_eq!(
                decided(&rules(entries), &unlisted(Severity::Critical)),
                expected,
                "{entries}"
            );
        }
        let fixable = rules(r#"{"severities": ["HIGH"], "fix": "available", "action": "block"}"#);
        assert_eq!(decided(&fixable, &unlisted(Severity::High)), "block by rules[0]");
    }

    #[test]
    fn an_error_names_the_place() {
        insta::assert_snapshot!(refused(r#"{"action": "block"}"#), @"the policy is not valid at `rules[0]`: it has no condition: what holds for every finding is what `severities` says");
        insta::assert_snapshot!(refused(r#"{"more_than": 3, "action": "block"}"#), @"the policy is not valid at `rules[0]`: it has no condition: what holds for every finding is what `severities` says");
        insta::assert_snapshot!(refused(r#"{"exploit": true}"#), @"the policy is not valid at `rules[0]`: missing field `action` at line 1 column 124");
        insta::assert_snapshot!(refused(r#"{"exploit": true, "action": "block"}, {"min_score": 10.5, "action": "block"}"#), @"the policy is not valid at `rules[1].min_score`: 10.5 is not between 0.0 and 10.0");
        insta::assert_snapshot!(refused(r#"{"min_epss": 0.01, "action": "block"}"#), @"the policy is not valid at `rules[0].min_epss`: 0.01 is not between 0.1 and 1.0. Inspector's events below 0.1 are not received");
        insta::assert_snapshot!(refused(r#"{"exploit": false, "action": "block"}"#), @"the policy is not valid at `rules[0].exploit`: `false` is no condition, since no scanner knows that there is no exploit: say `true`, or leave it out");
        insta::assert_snapshot!(refused(r#"{"severities": ["SEVERE"], "action": "block"}"#), @"the policy is not valid at `rules[0].severities[0]`: unknown variant `SEVERE`, expected one of `INFORMATIONAL`, `LOW`, `MEDIUM`, `UNDEFINED`, `HIGH`, `CRITICAL` at line 1 column 131");
        insta::assert_snapshot!(refused(r#"{"severities": [], "action": "block"}"#), @"the policy is not valid at `rules[0].severities`: an empty list holds for nothing: leave it out");
        insta::assert_snapshot!(refused(r#"{"fix": "maybe", "action": "block"}"#), @"the policy is not valid at `rules[0].fix`: unknown variant `maybe`, expected `available` or `unavailable` at line 1 column 122");
        insta::assert_snapshot!(refused(r#"{"packages": ["a", ""], "action": "block"}"#), @"the policy is not valid at `rules[0].packages[1]`: an empty pattern matches nothing");
        insta::assert_snapshot!(refused(r#"{"package_types": ["OS", "a b"], "action": "block"}"#), @"the policy is not valid at `rules[0].package_types[1]`: `a b` is not a word such as `OS` or `NPM`");
        insta::assert_snapshot!(refused(r#"{"epss": 0.5, "action": "block"}"#), @"the policy is not valid at `rules[0].epss`: unknown field `epss`, expected one of `severities`, `fix`, `exploit`, `min_score`, `min_epss`, `package_types`, `packages`, `vulnerabilities`, `repositories`, `more_than`, `action` at line 1 column 114");
        insta::assert_snapshot!(refused(r#"{"exploit": true, "more_than": 3, "action": "monitor"}"#), @"the policy is not valid at `rules[0].action`: an entry with `more_than` only makes it worse: `review` or `block`");
        insta::assert_snapshot!(refused(r#"{"exploit": true, "more_than": -1, "action": "block"}"#), @"the policy is not valid at `rules[0].more_than`: invalid value: integer `-1`, expected u32 at line 1 column 140");
        insta::assert_snapshot!(refused(r#"{"min_epss": 0.5, "more_than": 3, "action": "block"}"#), @"the policy is not valid at `rules[0].min_epss`: EPSS is not known of all findings at once, so that they cannot be counted by it: leave out `more_than`");
    }

    #[test]
    fn an_entry_that_never_decides_is_refused() {
        insta::assert_snapshot!(refused(r#"{"exploit": true, "action": "block"}, {"min_score": 9, "action": "review"}, {"min_score": 9.5, "fix": "available", "action": "block"}"#), @"the policy is not valid at `rules[2]`: it never decides: `rules[1]` stands before it, and holds wherever it does");
        for (earlier, later, never) in [
            (r#""severities": ["HIGH", "LOW"]"#, r#""severities": ["LOW"]"#, true),
            (r#""severities": ["LOW"]"#, r#""severities": ["HIGH", "LOW"]"#, false),
            (
                r#""package_types": ["OS"]"#,
                r#""package_types": ["os"], "exploit": true"#,
                true,
            ),
            (r#""exploit": true"#, r#""package_types": ["OS"]"#, false),
            (r#""fix": "available""#, r#""fix": "unavailable""#, false),
            (
                r#""vulnerabilities": ["CVE-*"]"#,
                r#""vulnerabilities": ["CVE-1", "CVE-2*"]"#,
                true,
            ),
            (
                r#""vulnerabilities": ["CVE-*"]"#,
                r#""vulnerabilities": ["CVE-1", "GHSA-1"]"#,
                false,
            ),
            (
                r#""repositories": ["a-*"]"#,
                r#""repositories": ["a-b"], "min_epss": 0.5"#,
                true,
            ),
            (r#""min_epss": 0.5"#, r#""min_epss": 0.4"#, false),
            (r#""more_than": 3, "exploit": true"#, r#""exploit": true"#, false),
            (r#""exploit": true"#, r#""more_than": 3, "exploit": true"#, false),
        ] {
            let entries = format!(r#"{{{earlier}, "action": "block"}}, {{{later}, "action": "review"}}"#);
            if never {
                assert!(refused(&entries).contains("`rules[1]`: it never decides"), "{entries}");
            } else {
                rules(&entries);
            }
        }
    }

    #[test]
    fn a_word_for_packages_that_is_not_known_is_pointed_out() {
        let policy = rules(
            r#"{"package_types": ["os", "pypi"], "action": "block"}, {"package_types": ["DEB"], "more_than": 2, "action": "review"}"#,
        );
        let remarks: Vec<String> = policy.remarks(now()).iter().map(ToString::to_string).collect();
        assert_eq!(remarks.len(), 2);
        assert!(
            remarks[0].starts_with("`rules[0].package_types`: `PYPI` is not a word"),
            "{remarks:?}"
        );
        assert!(
            remarks[1].starts_with("`rules[1].package_types`: `DEB` is not a word"),
            "{remarks:?}"
        );
    }

    #[test]
    fn a_number_that_is_no_probability_says_why() {
        let told = |value: &str| refused(&format!(r#"{{"min_epss": {value}, "action": "review"}}"#));
        for (value, words) in [
            (
                "1.5",
                "1.5 is not between 0.1 and 1.0. EPSS is a probability: 1.5 % is 0.015",
            ),
            (
                "100",
                "100 is not between 0.1 and 1.0. EPSS is a probability: 100 % is 1",
            ),
            ("101", "101 is not between 0.1 and 1.0"),
            (
                "0.09",
                "0.09 is not between 0.1 and 1.0. Inspector's events below 0.1 are not received",
            ),
        ] {
            assert!(told(value).ends_with(words), "{}", told(value));
        }
        for value in ["0.1", "1.0"] {
            rules(&format!(r#"{{"min_epss": {value}, "action": "review"}}"#));
        }
        let score = refused(r#"{"min_score": 10.5, "action": "review"}"#);
        assert!(score.ends_with("10.5 is not between 0.0 and 10.0"), "{score}");
    }

    #[test]
    fn a_finding_of_which_only_the_severity_is_remembered_may_be_any_of_it() {
        let remembered = Finding {
            package: None,
            package_type: None,
            ..crate::testing::finding(NOT_REMEMBERED, Severity::Medium)
        };
        for (conditions, action, expected) in [
            (r#""packages": ["zlib"]"#, "block", "block by rules[0]"),
            (
                r#""packages": ["zlib"], "severities": ["MEDIUM"]"#,
                "block",
                "block by rules[0]",
            ),
            (
                r#""packages": ["zlib"], "severities": ["HIGH"]"#,
                "block",
                "monitor by severities.medium",
            ),
            (
                r#""packages": ["zlib"], "repositories": ["pipeops-*"]"#,
                "block",
                "block by rules[0]",
            ),
            (
                r#""packages": ["zlib"], "repositories": ["other"]"#,
                "block",
                "monitor by severities.medium",
            ),
            (
                r#""packages": ["zlib"], "exploit": true"#,
                "block",
                "monitor by severities.medium",
            ),
            (
                r#""packages": ["zlib"], "min_epss": 0.5"#,
                "block",
                "monitor by severities.medium",
            ),
            (r#""packages": ["zlib"]"#, "inform", "monitor by severities.medium"),
        ] {
            let policy = rules(&format!(r#"{{{conditions}, "action": "{action}"}}"#));
            assert_eq!(decided(&policy, &remembered), expected, "{conditions}");
        }
    }
}
