//! The action for a finding, and the rule of the policy that says so.

use std::fmt;

use crate::{finding::Severity, policy::document::Action};

/// The action for one finding, and the place in the policy that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consequence {
    /// The action.
    pub action: Action,
    /// Which rule said so.
    pub rule: Rule,
}

impl Consequence {
    /// This, unless `other` is worse.
    pub fn at_least(self, other: Self) -> Self {
        if other.action > self.action { other } else { self }
    }
}

/// The rules for findings, by their place in the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// `severities.<SEVERITY>`.
    Severity(Severity),
    /// `unfixable.<SEVERITY>`.
    Unfixable(Severity),
    /// `exploitable`.
    Exploitable,
    /// `rules[<number>]`.
    Listed(usize),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Severity(severity) => write!(f, "severities.{severity}"),
            Self::Unfixable(severity) => write!(f, "unfixable.{severity}"),
            Self::Exploitable => f.write_str("exploitable"),
            Self::Listed(index) => write!(f, "rules[{index}]"),
        }
    }
}
