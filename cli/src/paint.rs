//! Colours of states, decisions and severities, on a terminal only. The text below them is the same.

use std::io::{self, Write};

use anstyle::{AnsiColor, Color, Style};
use clap::ValueEnum;

use crate::World;

/// Whether text has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colors {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Colors {
    /// Whether there are colours in this world. `NO_COLOR`: <https://no-color.org>.
    pub(crate) fn are_on(self, world: &impl World) -> bool {
        let is_set = |name: &str| world.variable(name).is_some_and(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                world.shows_colors() && !is_set("NO_COLOR") && world.variable("TERM").as_deref() != Some("dumb")
            }
        }
    }
}

/// The color of a word: red is what keeps an image from being deployed, yellow is what is open, green is what may be deployed.
fn color_of(word: &str) -> Option<AnsiColor> {
    match word {
        "Blocked" | "CRITICAL" | "Refused" | "deny" => Some(AnsiColor::Red),
        "BlockDeferred" | "HIGH" => Some(AnsiColor::Magenta),
        "Review" | "Unscannable" | "Stale" | "UNDEFINED" | "unknown" | "warning" | "wait" | "unavailable" => {
            Some(AnsiColor::Yellow)
        }
        "Pending" | "MEDIUM" => Some(AnsiColor::Cyan),
        "Allowed" | "Released" | "allow" => Some(AnsiColor::Green),
        _ => None,
    }
}

/// Colours words of whole lines on their way.
#[derive(Debug)]
pub(crate) struct Painting<W: Write> {
    to: W,
    line: Vec<u8>,
}

impl<W: Write> Painting<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, line: Vec::new() }
    }

    /// Writes what has come, also where a line has no end.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn end(mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.line);
        self.to.write_all(painted(&String::from_utf8_lossy(&rest)).as_bytes())?;
        self.to.flush()
    }
}

impl<W: Write> Write for Painting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if let Some(last) = self.line.iter().rposition(|byte| *byte == b'\n') {
            let rest = self.line.split_off(last.saturating_add(1));
            let lines = std::mem::replace(&mut self.line, rest);
            self.to
                .write_all(painted(&String::from_utf8_lossy(&lines)).as_bytes())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The text with its words in their colours. A part of a longer word, a name or an address is none.
fn painted(text: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '/' | '.' | '@');
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        // A sentence may end behind it.
        let bare = word.trim_end_matches('.');
        match color_of(bare) {
            Some(color) => {
                let style = Style::new().bold().fg_color(Some(Color::Ansi(color)));
                out.push_str(&format!("{style}{bare}{style:#}"));
                out.push_str(word.strip_prefix(bare).unwrap_or_default());
            }
            None => out.push_str(word),
        }
        let next = after.find(is_word).unwrap_or(after.len());
        let (between, after) = after.split_at(next);
        out.push_str(between);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Desk, desk};

    /// The text as a terminal shows it.
    fn plain(text: &str) -> String {
        let mut out = String::new();
        let mut parts = text.split('\u{1b}');
        out.push_str(parts.next().unwrap());
        for part in parts {
            out.push_str(part.split_once('m').unwrap().1);
        }
        out
    }

    const COMMANDS: [&str; 5] = [
        "status --snapshot ledger.jsonl",
        "list --snapshot ledger.jsonl",
        "explain team/api:v1.2.3 --snapshot ledger.jsonl",
        "simulate stricter.json --snapshot ledger.jsonl",
        "plan --all --snapshot ledger.jsonl",
    ];

    #[test]
    fn colours_change_no_text() {
        for command in COMMANDS {
            let of = |color: &str| desk().run(&format!("ecr-guard --color {color} {command}")).1;
            let (always, never) = (of("always"), of("never"));
            assert!(always.contains('\u{1b}') && !never.contains('\u{1b}'), "{command}");
            assert_eq!(plain(&always), never, "{command}");
        }
        insta::assert_snapshot!(
            desk()
                .run("ecr-guard --color always list --snapshot ledger.jsonl")
                .1
                .replace('\u{1b}', "ESC")
        );
    }

    #[test]
    fn only_a_terminal_gets_them_and_no_color_is_heard() {
        let colored = |terminal: bool, variables: &[(&str, &str)]| {
            let desk = Desk {
                terminal,
                variables: variables
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                ..desk()
            };
            desk.run("ecr-guard list --snapshot ledger.jsonl").1.contains('\u{1b}')
        };
        assert!(colored(true, &[]));
        assert!(colored(true, &[("NO_COLOR", "")]));
        assert!(!colored(true, &[("NO_COLOR", "1")]));
        assert!(!colored(true, &[("TERM", "dumb")]));
        assert!(!colored(false, &[]));
    }

    #[test]
    fn what_machines_read_has_none() {
        for command in [
            "list --output json --snapshot ledger.jsonl",
            "simulate --markdown stricter.json --snapshot ledger.jsonl",
            "report --json - --snapshot ledger.jsonl",
            "snapshot -",
            "completions bash",
            "manual",
        ] {
            let (_, out, _) = desk().run(&format!("ecr-guard --color always {command}"));
            assert!(!out.is_empty() && !out.contains("\u{1b}["), "{command}");
        }
    }

    #[test]
    fn a_name_is_no_state() {
        let text = "Blocked: team/Blocked Blocked-1 (HIGH) Review.\nunknown";
        let mut bytes = Vec::new();
        let mut painting = Painting::new(&mut bytes);
        for byte in text.as_bytes() {
            painting.write_all(&[*byte]).unwrap();
        }
        painting.end().unwrap();
        let said = String::from_utf8(bytes).unwrap();
        assert_eq!(plain(&said), text);
        assert_eq!(said.matches("\u{1b}[0m").count(), 4, "{said:?}");
        assert!(said.contains(" team/Blocked Blocked-1 ("), "{said:?}");
    }
}
