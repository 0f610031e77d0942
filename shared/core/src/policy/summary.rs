//! The effect of a policy, in a few lines for its author.

use jiff::Timestamp;

use crate::{
    finding::Severity,
    policy::{Action, Mode, Policy, default_action},
};

impl Policy {
    /// The effect of the policy, in at most a dozen lines without line ends: the action for each severity, and the numbers of
    /// rules, exceptions and entries of repositories.
    pub fn describe(&self, now: Timestamp) -> Vec<String> {
        let mut lines = vec![format!("{}: {}.", self.mode_words(), self.severity_words())];
        let other = self
            .repositories
            .iter()
            .filter(|rules| rules.mode.is_some_and(|mode| mode != self.mode));
        let other: Vec<_> = other.map(|rules| format!("`{}`", rules.matches.as_str())).collect();
        if !other.is_empty() {
            let verb = match self.mode {
                Mode::Enforce => "It only reports in",
                Mode::Report => "It enforces in",
            };
            lines.push(format!("{verb} {}.", other.join(", ")));
        }
        lines.push(self.counted(now).join(" · "));
        if let Some(release) = self.release() {
            let hours = release.max_hours();
            let ticket = if release.require_ticket { ", with a ticket" } else { "" };
            lines.push(format!(
                "The people of `release` may release a blocked image for up to {hours} hours{ticket}."
            ));
        }
        lines
    }

    fn mode_words(&self) -> &'static str {
        match self.mode {
            Mode::Enforce => "It enforces",
            Mode::Report => "It reports and changes nothing",
        }
    }

    fn severity_words(&self) -> String {
        let of = |severity: Severity| {
            let action = self
                .severities
                .get(&severity)
                .copied()
                .unwrap_or(default_action(severity));
            let without_fix = self.unfixable.get(&severity).filter(|unfixable| **unfixable != action);
            let without_fix = without_fix.map(|action| format!(" ({} without a fix)", words(*action)));
            format!("{severity} {}{}", words(action), without_fix.unwrap_or_default())
        };
        let known = self
            .exploitable
            .map(|action| format!("a known exploit {}", words(action)));
        let all = Severity::ALL.map(of).into_iter().chain(known);
        all.collect::<Vec<_>>().join(", ")
    }

    fn counted(&self, now: Timestamp) -> Vec<String> {
        let count = |number: usize, one: &str, many: &str| match number {
            1 => format!("1 {one}"),
            _ => format!("{number} {many}"),
        };
        let in_force = self
            .exceptions
            .iter()
            .enumerate()
            .filter(|(_, exception)| !exception.has_ended(now));
        let first = in_force.clone().min_by_key(|(_, exception)| exception.ends);
        let ended = self.exceptions.len().saturating_sub(in_force.count());
        let mut exceptions = count(self.exceptions.len(), "exception", "exceptions");
        if ended > 0 {
            exceptions.push_str(&format!(", {ended} ended"));
        }
        if let Some((index, exception)) = first {
            let (day, owner) = (exception.last_day(), &exception.owner);
            exceptions.push_str(&format!(", the first ends on {day} (exceptions[{index}], {owner})"));
        }
        vec![
            count(self.rules.len(), "rule", "rules"),
            exceptions,
            count(
                self.repositories.len(),
                "entry of repositories",
                "entries of repositories",
            ),
            count(self.routes.len(), "route", "routes"),
        ]
    }
}

fn words(action: Action) -> &'static str {
    match action {
        Action::Inform => "is only counted",
        Action::Monitor => "is monitored",
        Action::Review => "is reviewed",
        Action::Block => "blocks",
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{now, policy};

    #[test]
    fn a_policy_says_what_it_does() {
        let policy = policy(
            r#""severities": {"HIGH": "block"}, "unfixable": {"CRITICAL": "review"}, "exploitable": "block",
            "rules": [{"min_score": 9.0, "action": "block"}], "repositories": [{"match": "pay-*", "mode": "report"}],
            "exceptions": [{"vulnerability": "CVE-1", "repositories": ["a"], "owner": "pay@example.com", "reason": "r", "expires": "2027-01-01"}]"#,
        );
        insta::assert_snapshot!(policy.describe(now()).join("\n"));
    }

    #[test]
    fn exceptions_that_have_ended_are_counted_as_such() {
        let counted = |days: &[&str]| {
            let exception = |day: &&str| {
                format!(
                    r#"{{"vulnerability": "CVE-1", "repositories": ["a"], "owner": "pay@example.com", "reason": "r", "expires": "{day}"}}"#
                )
            };
            let exceptions: Vec<String> = days.iter().map(exception).collect();
            let policy = policy(&format!(r#""exceptions": [{}]"#, exceptions.join(",")));
            policy.describe(now()).pop().unwrap()
        };
        let ending = "the first ends on 2027-01-01";
        for (days, expected) in [
            (&[][..], " 0 exceptions ".to_owned()),
            (&["2026-11-01"], " 1 exception, 1 ended ".to_owned()),
            (&["2026-11-01", "2026-11-02"], " 2 exceptions, 2 ended ".to_owned()),
            (
                &["2026-11-01", "2027-01-01"],
                format!(" 2 exceptions, 1 ended, {ending} (exceptions[1], pay@example.com) "),
            ),
            (
                &["2027-01-01"],
                format!(" 1 exception, {ending} (exceptions[0], pay@example.com) "),
            ),
        ] {
            let line = counted(days);
            assert!(line.contains(&expected), "{days:?}: {line}");
        }
    }
}
