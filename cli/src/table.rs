//! Tables of text, and words for times: what several commands write.

use jiff::{SignedDuration, Timestamp};

/// Columns as wide as what stands in them. Columns of numbers are to the right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |text: &str| text.chars().count();
    let column = |n: usize| rows.iter().filter_map(move |row| row.get(n));
    let widths: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(n, name)| {
            column(n)
                .map(|text| width(text))
                .chain([width(name)])
                .max()
                .unwrap_or(0)
        })
        .collect();
    // An account has twelve digits, and is a name.
    let is_number = |n: usize| {
        !rows.is_empty() && column(n).all(|text| text.len() < 12 && text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let line = |cells: &[String]| {
        let mut line = String::new();
        for (n, (cell, wide)) in cells.iter().zip(&widths).enumerate() {
            let space = " ".repeat(wide.saturating_sub(width(cell)));
            let separator = if n == 0 { "" } else { "  " };
            let (before, after) = if is_number(n) {
                (space.as_str(), "")
            } else {
                ("", space.as_str())
            };
            line.push_str(&format!("{separator}{before}{cell}{after}"));
        }
        format!("{}\n", line.trim_end())
    };
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    std::iter::once(&head).chain(rows).map(|cells| line(cells)).collect()
}

/// The same as a table of Markdown.
pub(crate) fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    // Text from outside makes no columns, links or HTML.
    let cell = |text: &str| {
        let mut cell = String::new();
        for c in text.chars() {
            match c {
                '<' => cell.push_str("&lt;"),
                '&' => cell.push_str("&amp;"),
                '|' | '*' | '_' | '[' | ']' | '\\' | '`' | '~' => {
                    cell.push('\\');
                    cell.push(c);
                }
                _ => cell.push(c),
            }
        }
        cell
    };
    let line = |cells: &mut dyn Iterator<Item = String>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
    let mut text = line(&mut head.iter().map(|name| (*name).to_owned()));
    text.push_str(&line(&mut head.iter().map(|_| "---".to_owned())));
    for row in rows {
        text.push_str(&line(&mut row.iter().map(|text| cell(text))));
    }
    text
}

/// A time, for people.
pub(crate) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// How long ago something was.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    let since = now.duration_since(at);
    if since < SignedDuration::from_mins(1) {
        return "just now".to_owned();
    }
    format!("{} ago", span(since))
}

/// A time span in its largest unit, from minutes to days.
pub(crate) fn span(span: SignedDuration) -> String {
    let minutes = span.as_mins();
    let of = |number: i64, unit: &str| match number {
        1 => format!("1 {unit}"),
        number => format!("{number} {unit}s"),
    };
    match minutes {
        0..=119 => of(minutes, "minute"),
        120..=2879 => of(minutes / 60, "hour"),
        _ => of(minutes / (24 * 60), "day"),
    }
}

/// `1 image`, `2 images`.
pub(crate) fn count(number: u64, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{number} {one}s"),
    }
}

/// A name of an image that people know: its first tag, or the beginning of its digest.
pub(crate) fn name(repository: &str, tags: &[guard_core::ids::Tag], digest: &guard_core::ids::Digest) -> String {
    match tags.first() {
        Some(tag) => format!("{repository}:{tag}"),
        None => format!("{repository}@{}", digest.short()),
    }
}
