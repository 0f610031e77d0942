//! How a policy document is read: errors that name the place, and checks that many members share.

use std::fmt;

use crate::{
    glob::{Glob, InvalidGlob},
    text,
};

/// Characters of what is said about a place. The reader quotes what the document has there, which may be all of it.
const MAX_PROBLEM: usize = 1_000;

/// Characters of a place in a line for people. A member's name may be as long as the document.
const MAX_PLACE: usize = 200;

/// A policy that is not one: where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy is not valid at `{}`: {problem}", text::line(path, MAX_PLACE))]
pub struct PolicyError {
    /// Place in the document, such as `exceptions[0].expires`.
    pub path: String,
    /// The problem at that place.
    pub problem: String,
}

impl PolicyError {
    pub(super) fn at(path: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self {
            path: path.into(),
            problem: text::line(&problem.to_string(), MAX_PROBLEM),
        }
    }
}

/// A remark for the owner of a policy about a valid part of it: the place, and the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Place in the document, such as `exceptions[0]`.
    pub path: String,
    /// The remark.
    pub text: String,
}

impl Remark {
    pub(super) fn at(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text::line(&text.into(), MAX_PROBLEM),
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", text::line(&self.path, MAX_PLACE), self.text)
    }
}

/// How a document is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// All that is wrong is refused.
    Strict,
    /// A policy that is deployed already: mistakes that only this version refuses are accepted.
    Deployed,
}

pub(super) fn glob(text: &str, path: impl FnOnce() -> String) -> Result<Glob, PolicyError> {
    text.parse()
        .map_err(|error: InvalidGlob| PolicyError::at(path(), error))
}

/// A glob for names of packages: some have blanks and letters of any language.
pub(super) fn text_glob(text: &str, path: impl FnOnce() -> String) -> Result<Glob, PolicyError> {
    Glob::of_text(text).map_err(|error| PolicyError::at(path(), error))
}

pub(super) fn between(path: &str, value: u32, least: u32, most: u32) -> Result<u32, PolicyError> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(PolicyError::at(
            path,
            format!("{value} is not between {least} and {most}"),
        ))
    }
}
