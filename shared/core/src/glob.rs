//! Globs: `*` stands for any characters, also none; everything else for itself.

use std::str::FromStr;

use crate::text;

/// The longest glob that is accepted. Repository names have at most 256 characters (ECR), and nothing that is matched is longer.
const MAX_LENGTH: usize = 256;

/// A compiled glob, matched against the whole text, case-sensitively.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
}

/// Why a string is not a glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGlob {
    /// Nothing would ever match.
    #[error("an empty pattern matches nothing")]
    Empty,
    /// Longer than anything that it could match.
    #[error("a pattern has at most {MAX_LENGTH} characters")]
    TooLong,
    /// Contains something that no name contains.
    #[error("`{0}` has characters that no name contains")]
    Characters(String),
}

impl FromStr for Glob {
    type Err = InvalidGlob;

    fn from_str(text: &str) -> Result<Self, InvalidGlob> {
        if text.is_empty() {
            return Err(InvalidGlob::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(InvalidGlob::TooLong);
        }
        if !text.chars().all(|c| c.is_ascii_graphic()) {
            return Err(InvalidGlob::Characters(text::line(text, 80)));
        }
        Ok(Self { text: text.to_owned() })
    }
}

/// Characters that are not seen, or change how others are read (Unicode, "Bidirectional Algorithm").
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl Glob {
    /// A glob for texts that people write, such as the name of a package: with blanks and letters of any language.
    ///
    /// # Errors
    /// It is empty, too long, or has characters that are not seen.
    pub fn of_text(text: &str) -> Result<Self, InvalidGlob> {
        if text.is_empty() {
            return Err(InvalidGlob::Empty);
        }
        Self::of_tag_value(text)
    }

    /// A glob for the value of a tag of AWS, which has at most 256 characters and may be empty (ECR API reference, `Tag`). The empty glob
    /// matches the empty value.
    ///
    /// # Errors
    /// It is too long, or has characters that are not seen.
    pub fn of_tag_value(text: &str) -> Result<Self, InvalidGlob> {
        if text.chars().count() > MAX_LENGTH {
            return Err(InvalidGlob::TooLong);
        }
        if text.chars().any(is_hidden) {
            return Err(InvalidGlob::Characters(text::line(text, 80)));
        }
        Ok(Self { text: text.to_owned() })
    }

    /// The glob as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches the whole of `value`.
    ///
    /// Takes the first place where each literal part fits, from left to right, which decides rightly because `*` is the only
    /// wildcard; no pattern can make it slow.
    pub fn matches(&self, value: &str) -> bool {
        let Some((first, rest)) = self.text.split_once('*') else {
            return self.text == value;
        };
        let Some(mut remaining) = value.strip_prefix(first) else {
            return false;
        };
        let Some((middle, last)) = rest.rsplit_once('*') else {
            return remaining.ends_with(rest);
        };
        for part in middle.split('*') {
            match remaining.split_once(part) {
                Some((_, after)) => remaining = after,
                None => return false,
            }
        }
        remaining.ends_with(last)
    }

    /// The same, where capital and small letters of ASCII do not differ: for ids of vulnerabilities, which people write in both.
    pub fn matches_in_any_case(&self, value: &str) -> bool {
        let (glob, value) = (self.text.as_bytes(), value.as_bytes());
        let (mut at, mut seen) = (0, 0);
        // Where the last `*` stands, and how much of the value it has taken up to now.
        let mut star: Option<(usize, usize)> = None;
        while let Some(byte) = value.get(seen) {
            match (glob.get(at), star) {
                (Some(b'*'), _) => {
                    star = Some((at, seen));
                    at += 1;
                }
                (Some(own), _) if own.eq_ignore_ascii_case(byte) => {
                    at += 1;
                    seen += 1;
                }
                (_, Some((place, taken))) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    seen = taken + 1;
                }
                (_, None) => return false,
            }
        }
        glob.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn globs() {
        for (glob, matching, other) in [
            ("*", vec!["", "a", "a/b"], vec![]),
            ("a", vec!["a"], vec!["", "aa", "A"]),
            (
                "prod-*",
                vec!["prod-", "prod-api", "prod-a/b"],
                vec!["prod", "x-prod-api"],
            ),
            ("*-api", vec!["-api", "x-api"], vec!["api", "x-api-2"]),
            ("a*b*c", vec!["abc", "axbxc", "abbcc"], vec!["ab", "acb", "abcd"]),
            ("a*a", vec!["aa", "axa"], vec!["a"]),
            ("*a*", vec!["a", "xax"], vec!["", "x"]),
            ("a.b", vec!["a.b"], vec!["axb"]),
            ("**", vec!["", "a"], vec![]),
        ] {
            let glob: Glob = glob.parse().unwrap();
            for value in matching {
                assert!(glob.matches(value), "`{}` should match `{value}`", glob.as_str());
            }
            for value in other {
                assert!(!glob.matches(value), "`{}` should not match `{value}`", glob.as_str());
            }
        }
    }

    #[test]
    fn what_is_not_a_glob() {
        assert_eq!("".parse::<Glob>(), Err(InvalidGlob::Empty));
        assert_eq!("a".repeat(257).parse::<Glob>(), Err(InvalidGlob::TooLong));
        assert!("a b".parse::<Glob>().is_err());
        assert!("a\u{202e}".parse::<Glob>().is_err());
    }

    proptest! {
        #[test]
        fn agrees_with_the_regular_expression(glob in "[ab*]{1,8}", value in "[ab]{0,10}") {
            let expression = format!("^{}$", glob.replace('*', ".*"));
            let expected = regex_lite::Regex::new(&expression).unwrap().is_match(&value);
            let parsed: Glob = glob.parse().unwrap();
            prop_assert_eq!(parsed.matches(&value), expected);
            prop_assert_eq!(parsed.matches_in_any_case(&value.to_ascii_uppercase()), expected);
        }
    }
}
