//! Makes strings from outside harmless.
//!
//! Tags, package names, CVE texts and addresses come from the pusher of an image or the author of an advisory. Each function
//! here is for one kind of reader, is total, and leaves ordinary text as it is.

/// The longest address that is shown. Those of the trackers below are shorter than 100.
pub const MAX_URL: usize = 300;

/// Hosts whose pages describe vulnerabilities, and what the path must begin with.
///
/// A path is given where other pages of the host are written by anybody.
const TRUSTED: [(&str, &str); 25] = [
    ("access.redhat.com", "/"),
    ("alas.aws.amazon.com", "/"),
    ("aws.amazon.com", "/"),
    ("cve.mitre.org", "/"),
    ("cve.org", "/"),
    ("docs.aws.amazon.com", "/"),
    ("health.aws.amazon.com", "/"),
    ("errata.almalinux.org", "/"),
    ("errata.rockylinux.org", "/"),
    ("explore.alas.aws.amazon.com", "/"),
    ("github.com", "/advisories/"),
    ("linux.oracle.com", "/"),
    ("nvd.nist.gov", "/"),
    ("osv.dev", "/"),
    ("people.canonical.com", "/~ubuntu-security/"),
    ("people.ubuntu.com", "/~ubuntu-security/"),
    ("pkg.go.dev", "/vuln/"),
    ("rustsec.org", "/"),
    ("security-tracker.debian.org", "/"),
    ("security.alpinelinux.org", "/"),
    ("ubuntu.com", "/"),
    ("usn.ubuntu.com", "/"),
    ("www.cve.org", "/"),
    ("www.debian.org", "/security/"),
    ("www.suse.com", "/security/"),
];

/// At most `limit` characters of one line, for JSON and as the first step for everything else.
///
/// Gone are terminal escapes, control characters and whatever has no width or reorders text (bidi). White space, line breaks
/// included, becomes one space, and none at the ends. `…` marks a cut, and counts.
pub fn line(text: &str, limit: usize) -> String {
    let mut rest = clean(text);
    let mut line: String = rest.by_ref().take(limit).collect();
    if rest.next().is_some() && line.pop().is_some() {
        line.push('…');
    }
    line
}

/// Like [`line()`], in ASCII: `?` for any other character, `...` for a cut.
pub fn ascii(text: &str, limit: usize) -> String {
    const CUT: usize = 3;
    let mut rest = clean(text).map(|c| if c.is_ascii() { c } else { '?' });
    let mut line: String = rest.by_ref().take(limit).collect();
    if rest.next().is_some() {
        line = line.chars().take(limit.saturating_sub(CUT)).collect();
        line.extend(std::iter::repeat_n('.', limit.min(CUT)));
    }
    line
}

/// Like [`line()`], for plain text that a mail program shows: an address that [`url`] would not show, and the name of a host without one, are
/// made such that they cannot be clicked (`https[:]//evil[.]example`). The brackets come on top of the limit.
///
/// Texts of ours pass through here too. So the names that we know stay as they are: a registry, a package of Java or Go, a file.
pub fn plain(text: &str, limit: usize) -> String {
    let line = line(text, limit);
    let words = line.split(' ').map(|word| {
        let (before, core, after) = peel(word);
        if url(core).is_some() || is_known_name(core) {
            word.to_owned()
        } else {
            format!("{before}{}{after}", without_hosts(core))
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A word in which no program finds an address: the last dot of each name that may be a host's is in brackets.
fn without_hosts(word: &str) -> String {
    let word = word.replace("://", "[:]//").replace("www.", "www[.]");
    let is_part = |c: char| c.is_alphanumeric() || "-._".contains(c);
    let mut safe = String::with_capacity(word.len());
    let mut rest = word.as_str();
    while let Some(start) = rest.find(is_part) {
        let (between, from) = rest.split_at(start);
        let (name, after) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
        safe.push_str(between);
        safe.push_str(&without_host(name, after));
        rest = after;
    }
    safe.push_str(rest);
    safe
}

/// `name`: letters, digits, dots and the like; `after`: the rest of the word.
fn without_host(name: &str, after: &str) -> String {
    let host = name.trim_end_matches('.');
    let dots = name.strip_prefix(host).unwrap_or_default();
    match host.rsplit_once('.') {
        Some((before, top)) if !before.is_empty() && is_top_level(top) && !is_maven_group(host, top, after) => {
            format!("{before}[.]{top}{dots}")
        }
        _ => name.to_owned(),
    }
}

/// The texts allowed after the last dot of a host: letters alone, or the form that stands for letters of other scripts.
///
/// Source: RFC 3696, section 2 (a top-level domain is not all-numeric); RFC 5890 (`xn--`).
fn is_top_level(label: &str) -> bool {
    let label = label.to_lowercase();
    let is_word = label.chars().count() >= 2 && label.chars().all(char::is_alphabetic);
    label.starts_with("xn--") || (is_word && !NO_TOP_LEVEL.contains(&label.as_str()))
}

/// Ends of the names of files and of versions that are no top-level domains.
///
/// Source: IANA, "List of Top-Level Domains".
const NO_TOP_LEVEL: [&str; 15] = [
    "alpha", "beta", "dll", "exe", "final", "gz", "jar", "js", "json", "release", "snapshot", "tar", "ts", "war",
    "yaml",
];

/// Whether a name is the group of a Maven package, `org.springframework:spring-beans`: the name of a host backwards.
fn is_maven_group(name: &str, last: &str, after: &str) -> bool {
    const FIRST: [&str; 6] = ["com", "dev", "edu", "io", "net", "org"];
    let first = name.split('.').next().unwrap_or_default();
    let artifact = after.strip_prefix(':').unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    FIRST.contains(&first)
        && last.len() > 3
        && last != "info"
        && artifact.starts_with(|c: char| c.is_ascii_alphabetic())
        && artifact.chars().all(is_plain)
        && !artifact.contains('.')
}

/// Names with dots that are AWS's and that people copy: registries, and services in a policy.
fn is_known_name(word: &str) -> bool {
    let word = word.trim_matches('`');
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    let host = word.split('/').next().unwrap_or_default();
    let is_aws = [".amazonaws.com", ".amazonaws.com.cn"]
        .iter()
        .any(|end| host.ends_with(end));
    let path = word.strip_prefix(host).unwrap_or_default();
    is_aws && word.chars().all(plain) && !host.contains(['@', ':']) && without_hosts(path) == path || is_place(word)
}

/// A place in the policy, such as `severities.CRITICAL`. The sections with one word behind the dot are listed: none is a host.
fn is_place(word: &str) -> bool {
    const SECTIONS: [&str; 12] = [
        "block.",
        "contact.",
        "digest.",
        "lifecycle.",
        "posture.",
        "registry.",
        "replication.",
        "routes.",
        "scan.",
        "severities.",
        "summary.",
        "tags.",
    ];
    // The statement of a repository's policy stands behind these: no domain has a `_` in the part before its last dot.
    const OF_A_STATEMENT: [&str; 2] = ["posture.allowed_accounts.", "posture.allowed_organizations."];
    let end = |section: &str| word.strip_prefix(section);
    let known = SECTIONS.into_iter().find_map(end);
    let statement = OF_A_STATEMENT.into_iter().find_map(end);
    known.is_some_and(|rest| KNOWN_PLACES.contains(&rest))
        || statement.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// Members of the policy's sections that are one word of letters.
const KNOWN_PLACES: [&str; 18] = [
    "CRITICAL",
    "HIGH",
    "INFORMATIONAL",
    "LOW",
    "MEDIUM",
    "UNDEFINED",
    "allowed",
    "backfill",
    "encryption",
    "forbidden",
    "guide",
    "help",
    "method",
    "mode",
    "moving",
    "policy",
    "scanning",
    "workloads",
];

/// Text for a chat, on one line: no mention, link, emoji or format can form.
///
/// Amazon Q passes `client-markdown` on to Slack or Microsoft Teams, whose markups differ: Slack knows no backslash. Both show
/// code as it is, and it can be copied; so every word that could mean something to either becomes code. Other words, and
/// addresses that [`url`] shows, stay as they are.
///
/// Source: Amazon Q Developer in chat applications, "Custom notifications" (`textType`); Slack, "Formatting message text" (`&`, `<`
/// and `>` are entities, everywhere).
pub fn markdown(text: &str) -> String {
    let text: String = clean(text).collect();
    let words = text.split(' ').enumerate().map(|(index, word)| {
        let (before, core, after) = peel(word);
        if url(core).is_some() || (means_nothing(word) && !(index == 0 && opens_block(word))) {
            entities(word)
        } else {
            format!("{before}{}{after}", code(core))
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A value for a chat, as code: for identifiers, which are to be copied. Must stand between spaces or punctuation.
pub fn code(text: &str) -> String {
    let text: String = clean(text).map(|c| if c == '`' { '\'' } else { c }).collect();
    if text.is_empty() {
        "`-`".to_owned()
    } else {
        format!("`{}`", entities(&text))
    }
}

/// An identifier for a machine: ASCII letters, digits and `-`, nothing else.
pub fn token(text: &str, limit: usize) -> String {
    text.chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(limit)
        .collect()
}

/// The address, if it is that of a page on vulnerabilities that we know: HTTPS, a host of the list, and nothing that could make
/// it another address (user, port, escapes, `..`, another address inside). Otherwise `None`; there is no address then.
pub fn url(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("https://")?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/?#=&+,:;".contains(&b);
    let harmless = text.len() <= MAX_URL && text.bytes().all(plain) && !rest.contains("//") && !rest.contains("..");
    let known = |(host, path): (&str, &str)| rest.strip_prefix(host).is_some_and(|rest| rest.starts_with(path));
    (harmless && TRUSTED.into_iter().any(known)).then_some(text)
}

/// The visible characters of a text, with single spaces between words.
fn clean(text: &str) -> impl Iterator<Item = char> {
    let mut chars = text.chars().peekable();
    let mut begun = false;
    let mut after_space = None;
    std::iter::from_fn(move || {
        if let Some(c) = after_space.take() {
            return Some(c);
        }
        let mut space = false;
        loop {
            let c = chars.next()?;
            if matches!(c, '\u{1b}' | '\u{9b}') {
                skip_escape(c, &mut chars);
            } else if c.is_whitespace() {
                space = begun;
            } else if !is_invisible(c) {
                begun = true;
                if space {
                    after_space = Some(c);
                    return Some(' ');
                }
                return Some(c);
            }
        }
    })
}

/// Skips what follows the first character of a terminal escape (ECMA-48): `[31m` for a colour, `(B` for a character set.
///
/// The text in an operating system command (`ESC ] 0 ; …`) stays, since its end may never come.
fn skip_escape(first: char, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    if first == '\u{9b}' || chars.next_if_eq(&'[').is_some() {
        while chars.next_if(|c| ('0'..='?').contains(c)).is_some() {}
    }
    while chars.next_if(|c| ('!'..='/').contains(c)).is_some() {}
    chars.next_if(|c| ('0'..='~').contains(c));
}

/// Characters that cannot be seen, or that change how others are seen.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'                        // soft hyphen
            | '\u{34f}'                     // combining grapheme joiner
            | '\u{61c}'                     // Arabic letter mark
            | '\u{115f}' | '\u{1160}'       // Hangul fillers
            | '\u{17b4}' | '\u{17b5}'       // Khmer inherent vowels
            | '\u{180b}'..='\u{180f}'       // Mongolian selectors and vowel separator
            | '\u{200b}'..='\u{200f}'       // zero width space and joiners, left-to-right and right-to-left marks
            | '\u{202a}'..='\u{202e}'       // embeddings and overrides
            | '\u{2060}'..='\u{206f}'       // word joiner, invisible operators, isolates, deprecated controls
            | '\u{2800}'                    // blank Braille pattern
            | '\u{3164}' | '\u{ffa0}'       // Hangul fillers
            | '\u{fe00}'..='\u{fe0f}'       // variation selectors
            | '\u{feff}'                    // zero width no-break space
            | '\u{fff0}'..='\u{fffb}'       // interlinear annotation
            | '\u{1d173}'..='\u{1d17a}'     // musical format controls
            | '\u{e0000}'..='\u{e0fff}'     // language tags, more variation selectors
        )
}

fn entities(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A word without the punctuation of the sentence around it: what opens before it, the word, what closes after it.
fn peel(word: &str) -> (&str, &str, &str) {
    let count = |text: &str, c| text.matches(c).count();
    let (mut core, mut before, mut after) = (word, 0, 0);
    loop {
        let unopened = count(core, ')') > count(core, '(');
        let unclosed = count(core, '(') > count(core, ')');
        if let Some(rest) = core.strip_suffix(['.', ',', ';', ':', '!', '?']) {
            (core, after) = (rest, after + 1);
        } else if let Some(rest) = core.strip_suffix(')').filter(|_| unopened) {
            (core, after) = (rest, after + 1);
        } else if let Some(rest) = core.strip_prefix('(').filter(|_| unclosed) {
            (core, before) = (rest, before + 1);
        } else {
            break;
        }
    }
    // All that was peeled off is ASCII.
    let end = word.len() - after;
    (
        word.get(..before).unwrap_or_default(),
        core,
        word.get(end..).unwrap_or_default(),
    )
}

/// Whether a word has no meaning in either markup. A word that is not known to have none, has one.
fn means_nothing(word: &str) -> bool {
    let known = |c: char| c.is_alphanumeric() || ".,:;!?'\"()/-+%=&_…→".contains(c);
    word.chars().all(known)
        && !word.contains("//")
        // `:smile:`
        && word.matches(':').count() < 2
        && !has_outer_underscore(word)
        && !has_domain(word)
}

/// `_` between letters or digits does not make anything italic; elsewhere it does.
fn has_outer_underscore(word: &str) -> bool {
    let inner = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let chars: Vec<char> = word.chars().collect();
    (0..chars.len()).any(|i| {
        chars.get(i) == Some(&'_') && !(inner(i.checked_sub(1).and_then(|i| chars.get(i))) && inner(chars.get(i + 1)))
    })
}

/// Slack makes links of bare domains: a dot between a letter or digit and two letters.
fn has_domain(word: &str) -> bool {
    let letters = |label: &str| label.chars().take_while(|c| c.is_alphabetic()).count();
    let labels = word.split('.');
    labels
        .clone()
        .zip(labels.skip(1))
        .any(|(a, b)| a.ends_with(char::is_alphanumeric) && letters(b) >= 2)
}

/// At the beginning of a line, these open a list, a rule or a heading.
fn opens_block(word: &str) -> bool {
    let number = word.trim_start_matches(|c: char| c.is_ascii_digit());
    word.starts_with(['-', '+', '=']) || (number.len() < word.len() && matches!(number, "." | ")"))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Bytes for people, in powers of a thousand.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (mut tenths, mut units) = (bytes / 100, UNITS.iter());
    let mut unit = units.next();
    while tenths >= 10_000 {
        let Some(next) = units.next() else { break };
        (tenths, unit) = (tenths / 1000, Some(next));
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, unit.unwrap_or(&"kB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_and_its_statement_are_no_host() {
        for (setting, text) in [
            ("posture.allowed_accounts.Theirs", "posture.allowed_accounts.Theirs"),
            ("posture.allowed_organizations.com", "posture.allowed_organizations.com"),
            (
                "posture.allowed_accounts.evil.com",
                "posture.allowed_accounts.evil[.]com",
            ),
            ("posture.evil.com", "posture.evil[.]com"),
        ] {
            assert_eq!(plain(setting, 100), text);
        }
    }

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_250_000, "1.2 MB"),
            (999_999, "999.9 kB"),
            (7_340_000_000, "7.3 GB"),
            (u64::MAX, "18446.7 PB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
