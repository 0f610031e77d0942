//! Events that cannot be read.

/// Characters of an offending value that a message shows.
const MAX_EXCERPT: usize = 80;

/// The longest free text kept of an event.
pub(super) const MAX_TEXT: usize = 128;

/// An event that will never be readable: where, and why.
///
/// Safe to log: the path is made of our own names and of indices, and all that the message shows of the event is at most 80
/// characters of printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event is not readable at `{path}`: {reason}")]
pub struct Poison {
    /// Place in the event, such as `$.detail.repository-name`; `$` is the event as a whole.
    pub path: String,
    /// The problem.
    pub reason: Reason,
}

impl Poison {
    pub(super) fn at(path: impl Into<String>, reason: Reason) -> Self {
        Self {
            path: path.into(),
            reason,
        }
    }

    /// Whether readers would differ in what they read, or too much is there: that is never passed over.
    pub(super) fn is_ambiguous(&self) -> bool {
        !matches!(self.reason, Reason::Missing { .. } | Reason::Invalid { .. })
    }

    /// Nothing, if something else may say it.
    pub(super) fn unless_ambiguous<T>(self) -> Result<Option<T>, Self> {
        if self.is_ambiguous() { Err(self) } else { Ok(None) }
    }
}

/// Why an event is not readable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Larger than [`super::MAX_BYTES`].
    #[error("{bytes} bytes are too many")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Nested deeper than [`super::MAX_DEPTH`].
    #[error("it is nested too deeply")]
    TooDeep,
    /// An object or list of more than [`super::MAX_ENTRIES`].
    #[error("{entries} entries are too many")]
    TooMany {
        /// How many it has.
        entries: usize,
    },
    /// Not JSON.
    #[error("not JSON at line {line}, column {column}")]
    NotJson {
        /// Line, from 1, in the value at the path.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A member that is there twice: readers differ in which one they believe.
    #[error("`{member}` is there twice")]
    Duplicate {
        /// Excerpt of its name.
        member: String,
    },
    /// A member that every event of this kind has is absent or null.
    #[error("{expected} is missing")]
    Missing {
        /// The expected form.
        expected: &'static str,
    },
    /// A value that is of another type, or not valid.
    #[error("`{found}` is not {expected}")]
    Invalid {
        /// The expected form.
        expected: &'static str,
        /// Excerpt of what is there.
        found: String,
    },
}

impl Reason {
    pub(super) fn invalid(expected: &'static str, found: &str) -> Self {
        Self::Invalid {
            expected,
            found: printable(found, MAX_EXCERPT),
        }
    }

    pub(super) fn duplicate(member: &str) -> Self {
        Self::Duplicate {
            member: printable(member, MAX_EXCERPT),
        }
    }
}

/// The text in printable ASCII, all else escaped, in `max` characters at most.
///
/// Names, tags and words of AWS are ASCII. Whatever is not may reorder, hide or break a line of a log or a message.
pub(super) fn printable(text: &str, max: usize) -> String {
    const CUT: &str = "...";
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        // Where the cut goes if the text does not fit after all.
        let before = out.len();
        match c {
            '`' => out.push('\''),
            ' '..='~' => out.push(c),
            _ => out.extend(c.escape_unicode()),
        }
        if out.len() > max {
            out.truncate(before.min(max.saturating_sub(CUT.len())));
            out.push_str(CUT);
            break;
        }
    }
    out
}
