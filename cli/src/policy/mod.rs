//! The checks of a policy without AWS.

pub mod check;
pub mod diff;
mod form;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use self::check::{Checked, Said};

/// The result of a check, for people: a line for each mistake, as compilers write them.
pub fn checked_text(file: &str, checked: &Checked) -> String {
    let mut text = String::new();
    let line = |text: &mut String, said: &Said, kind: &str| {
        let Said {
            line,
            column,
            path,
            text: words,
        } = said;
        let place = if path.is_empty() {
            String::new()
        } else {
            format!("{path}: ")
        };
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{file}:{line}:{column}: {kind}{place}{words}");
    };
    for problem in &checked.problems {
        line(&mut text, problem, "");
    }
    match (checked.valid, checked.problems.len()) {
        (false, 1) => text.push_str("1 problem\n"),
        (false, number) => text.push_str(&format!("{number} problems\n")),
        (true, _) => {
            let mut summary = checked.summary.iter();
            let _ = writeln!(text, "{file}: valid. {}", summary.next().map_or("", String::as_str));
            for more in summary {
                let _ = writeln!(text, "  {more}");
            }
        }
    }
    for warning in &checked.warnings {
        line(&mut text, warning, "warning: ");
    }
    text
}
