//! What a policy does, in a few lines for whoever wrote it.

use jiff::Timestamp;

use crate::{
    finding::Severity,
    policy::{Action, Mode, Policy, default_action},
};

impl Policy {
    /// What it does, in at most a dozen lines without line ends: what each severity leads to, and how many rules, exceptions and entries
    /// of repositories there are.
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
        let exceptions = self
            .exceptions
            .iter()
            .enumerate()
            .filter(|(_, exception)| !exception.has_ended(now));
        let first = exceptions.clone().min_by_key(|(_, exception)| exception.ends);
        let mut exceptions = count(exceptions.count(), "exception", "exceptions");
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
}
