//! One language: the pages use the words of `docs/glossary.md` and none of those that it rules out, and their sentences are short.

use std::{
    fs, iter,
    path::{Path, PathBuf},
};

use crate::support;

/// The pages that are read: `*` is any one name, `**` any number of folders. Further pages that must speak this language are
/// added here.
const PAGES: [&str; 10] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "docs/adr/*.md",
    "functions/*/README.md",
    "infra/README.md",
    "infra/modules/*/README.md",
    "infra/examples/*/README.md",
    "tests/*/README.md",
];

/// Sources whose comments have no word that is ruled out: their comments, and the docstrings of Python, are read.
const COMMENTS: [&str; 14] = [
    "shared/**/*.rs",
    "functions/**/*.rs",
    "cli/**/*.rs",
    "tests/**/*.rs",
    "tests/**/*.py",
    "infra/**/*.py",
    "infra/**/*.tf",
    "infra/**/*.hcl",
    "tools/*",
    "actions/**/*.yml",
    "actions/**/*.sh",
    ".github/**/*.yml",
    "docs/*.yaml",
    "Makefile",
];

/// Sources whose messages have no word that is ruled out: their strings of some words, outside of tests, are read.
const MESSAGES: [&str; 4] = ["cli/**/*.rs", "functions/**/*.rs", "infra/**/*.tf", "shared/**/*.rs"];

/// A string with fewer words is a name, a key or a value of the policy.
const MESSAGE: usize = 3;

/// Pages that speak their own language still; their links have a target all the same.
const LINKED: [&str; 2] = ["CHANGELOG.md", "infra/modules/*/tests/README.md"];

/// Words of a sentence, on average over a page.
const MOST_WORDS: usize = 20;

/// Words of a single sentence, at most.
const LONGEST: usize = 40;

/// A cell of a table with fewer words is a name or a number, and no sentence.
const CELL: usize = 6;

/// A sentence that begins like this has no subject; a question may.
const NO_SUBJECT: [&str; 3] = ["What", "Whoever", "Of"];

/// The section of the glossary with the words that are ruled out. It has to name them, so that it is not read itself.
const RULED_OUT: &str = "## Words that we do not use";

/// Folders of the repository that pages name.
const FOLDERS: [&str; 8] = [
    "actions",
    "cli",
    "docs",
    "functions",
    "infra",
    "shared",
    "tests",
    "tools",
];

/// Crates of `shared`, which pages name without it.
const SHORT: [&str; 8] = [
    "aws",
    "aws-workloads",
    "core",
    "engine",
    "events",
    "lambda",
    "ports",
    "testkit",
];

/// Files that a reader makes.
const MADE: [&str; 5] = [
    "infra/.terraform.lock.hcl",
    "infra/backend.tf",
    "infra/policy.json",
    "infra/terraform.tfstate",
    "infra/terraform.tfvars",
];

struct Page {
    path: String,
    text: String,
}

fn matching(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![support::root()];
    for part in pattern.split('/') {
        found = found
            .into_iter()
            .flat_map(|folder| match part.split_once('*') {
                None => vec![folder.join(part)],
                Some(("", "*")) => with_folders_below(folder),
                Some((begin, end)) => entries(&folder)
                    .filter(|path| {
                        let name = path.file_name().unwrap().to_string_lossy();
                        name.starts_with(begin) && name.ends_with(end)
                    })
                    .collect(),
            })
            .filter(|path| path.exists())
            .collect();
    }
    found.sort();
    assert!(!found.is_empty(), "no page is called {pattern}");
    found
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}

fn with_folders_below(folder: PathBuf) -> Vec<PathBuf> {
    // Folders of tools and builds are none of ours.
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.') && !["target", "__pycache__", "venv"].contains(&name.as_ref())
    };
    let below = entries(&folder).filter(|path| path.is_dir()).filter(is_ours);
    let below: Vec<PathBuf> = below.flat_map(with_folders_below).collect();
    iter::once(folder).chain(below).collect()
}

/// The comments of code, as a page; those of Python with its docstrings. `extension`: of the file; none: a script or a Makefile.
fn comments(code: &str, extension: &str) -> String {
    let marks = match extension {
        "rs" => "//",
        _ => "#",
    };
    // Whether a string of several lines is open, and is a docstring.
    let mut open: Option<bool> = None;
    let mut comment = |line: &str| {
        let line = line.trim_start();
        if extension == "py" && (open.is_some() || line.contains(QUOTES)) {
            let is_docstring = open.unwrap_or_else(|| line.starts_with(QUOTES));
            if line.matches(QUOTES).count() % 2 == 1 {
                open = if open.is_some() { None } else { Some(is_docstring) };
            }
            let text = line.replace(QUOTES, "");
            return if is_docstring {
                text.trim().to_owned()
            } else {
                String::new()
            };
        }
        let text = line.strip_prefix(marks).unwrap_or_default();
        text.trim_start_matches(['/', '!', '#']).trim_start().to_owned()
    };
    code.lines().map(&mut comment).collect::<Vec<_>>().join("\n")
}

const QUOTES: &str = "\"\"\"";

/// The messages in code: its strings, one a line, without tests. `mark`: what a comment begins with.
fn messages(code: &str, mark: &str) -> String {
    let mut rest = code.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut messages = Vec::new();
    while let Some(at) = rest.find(['"', '\'', '/', '#']) {
        let (before, from) = rest.split_at(at);
        let raw = before.ends_with('r') && from.starts_with(['"', '#']);
        let hashes = if raw {
            from.len() - from.trim_start_matches('#').len()
        } else {
            0
        };
        let (hash, quoted) = from.split_at(hashes);
        rest = if !raw && from.starts_with(mark) {
            from.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(rest) = ["'\"'", "'\\''", "'\\\\'"]
            .iter()
            .find_map(|letter| from.strip_prefix(letter))
        {
            rest
        } else if let Some(string) = quoted.strip_prefix('"') {
            let mut escaped = false;
            let ends = |letter: char| {
                let ends = letter == '"' && (raw || !escaped);
                escaped = letter == '\\' && !escaped;
                ends
            };
            let end = if raw {
                string.find(&format!("\"{hash}"))
            } else {
                string.find(ends)
            };
            let (text, after) = string.split_at(end.unwrap_or(string.len()));
            // A line that goes on has a backslash at its end. A text that assigns is an expression of DynamoDB.
            let joined = text.replace("\\\n", " ");
            if words(&joined) >= MESSAGE && !joined.contains(" = ") {
                messages.push(joined.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            after.strip_prefix('"').unwrap_or_default()
        } else {
            from.get(1..).unwrap_or_default()
        };
    }
    messages.join("\n\n")
}

/// The messages of a source, as a page.
fn messages_of(file: &Path) -> Page {
    let mark = if file.extension().is_some_and(|extension| extension == "rs") {
        "//"
    } else {
        "#"
    };
    Page {
        text: messages(&fs::read_to_string(file).unwrap(), mark),
        path: file.strip_prefix(support::root()).unwrap().display().to_string(),
    }
}

fn all_messages() -> impl Iterator<Item = Page> {
    let is_test = |file: &PathBuf| {
        let path = file.display().to_string();
        ["/tests", "/testing.rs", "/testkit/", "/benches/"]
            .iter()
            .any(|part| path.contains(part))
    };
    let files = MESSAGES.iter().flat_map(|pattern| matching(pattern));
    files.filter(move |file| !is_test(file)).map(|file| messages_of(&file))
}

fn pages() -> Vec<Page> {
    read(&PAGES)
}

fn read(patterns: &[&str]) -> Vec<Page> {
    let read = |file: PathBuf| {
        let extension = file.extension().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(&file).unwrap();
        Page {
            path: file.strip_prefix(support::root()).unwrap().display().to_string(),
            text: if extension == "md" {
                text
            } else {
                comments(&text, &extension)
            },
        }
    };
    let paths = patterns.iter().flat_map(|pattern| matching(pattern));
    paths.filter(|path| path.is_file()).map(read).collect()
}

/// A line without what is quoted: code is a single word, a link is its text.
fn plain(line: &str) -> String {
    let mut text = String::new();
    for (number, part) in line.split('`').enumerate() {
        text.push_str(if number % 2 == 0 { part } else { "`code`" });
    }
    let mut rest = text.as_str();
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once("](") {
        plain.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    plain.replace(['[', ']', '*'], "")
}

/// Paragraphs, entries of lists and cells of tables, in their order, without blocks of code and headings; and whether each is a
/// cell.
fn passages(text: &str) -> Vec<(String, bool)> {
    let mut passages = Vec::new();
    let mut paragraph = String::new();
    let (mut code, mut ruled_out) = (false, false);
    let lines = text.lines().chain([""]);
    for line in lines {
        let trimmed = line.trim();
        if trimmed.starts_with("## ") {
            ruled_out = trimmed == RULED_OUT;
        }
        let fence = trimmed.starts_with("```");
        let cell = trimmed.starts_with('|');
        let entry = trimmed.starts_with("- ")
            || trimmed
                .split_once(". ")
                .is_some_and(|(number, _)| number.parse::<u8>().is_ok());
        let apart = trimmed.is_empty() || trimmed.starts_with(['#', '<']);
        let indented = line.starts_with("    ") && paragraph.is_empty();
        if (fence || cell || entry || apart) && !paragraph.is_empty() {
            passages.push((plain(&std::mem::take(&mut paragraph)), false));
        }
        if fence {
            code = !code;
        }
        if fence || code || apart || indented || ruled_out {
            continue;
        }
        if cell {
            // A bar in code is no end of a cell.
            let cells = plain(trimmed).replace("\\|", "");
            passages.extend(cells.split('|').map(|cell| (cell.trim().to_owned(), true)));
        } else {
            let entry = trimmed.strip_prefix("- ").unwrap_or(trimmed);
            let entry = entry
                .split_once(". ")
                .filter(|(number, _)| number.parse::<u8>().is_ok())
                .map_or(entry, |(_, entry)| entry);
            paragraph.push_str(entry);
            paragraph.push(' ');
        }
    }
    passages.retain(|(passage, _)| !passage.is_empty());
    passages
}

/// The sentences of a passage.
fn sentences(passage: &str) -> Vec<String> {
    let mut sentences = vec![String::new()];
    let mut words = passage.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let sentence = sentences.last_mut().unwrap();
        sentence.push_str(word);
        sentence.push(' ');
        let ends = word.trim_end_matches(['"', ')', '`']).ends_with(['.', '?', '!']);
        let begins = words.peek().is_some_and(|next| {
            next.starts_with("ecr-guard") || !next.starts_with(|letter: char| letter.is_lowercase())
        });
        if ends && begins {
            sentences.push(String::new());
        }
    }
    sentences
}

fn words(sentence: &str) -> usize {
    let is_word = |word: &&str| word.contains(|letter: char| letter.is_alphanumeric());
    sentence.split_whitespace().filter(is_word).count()
}

/// The sentences of a page whose length counts.
fn counted(page: &Page) -> Vec<String> {
    let long = |(passage, cell): &(String, bool)| !cell || words(passage) >= CELL;
    let passages = passages(&page.text).into_iter().filter(long);
    passages.flat_map(|(passage, _)| sentences(&passage)).collect()
}

/// The words that are ruled out, and what to write in place of them.
fn ruled_out() -> Vec<(String, String)> {
    let glossary = fs::read_to_string(support::root().join("docs/glossary.md")).unwrap();
    let (_, section) = glossary.split_once(RULED_OUT).unwrap();
    let rows = section
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .map(|line| line.trim_matches(['|', ' ']).split_once(" | ").unwrap());
    let rows = rows.flat_map(|(words, instead)| {
        let words = words.split(", ").map(str::to_owned);
        words.map(move |word| (word, instead.to_owned()))
    });
    rows.collect()
}

/// Whether a text has these words, as words.
fn has(text: &str, words: &str) -> bool {
    let letter = |found: Option<char>| found.is_some_and(char::is_alphanumeric);
    let whole = |(at, _): (usize, &str)| {
        let (before, rest) = text.split_at(at);
        let after = rest.strip_prefix(words).unwrap_or_default();
        !letter(before.chars().next_back()) && !letter(after.chars().next())
    };
    text.match_indices(words).any(whole)
}

#[test]
fn pages_have_no_word_that_the_glossary_rules_out() {
    let ruled_out = ruled_out();
    assert!(ruled_out.len() > 20, "{ruled_out:?}");
    let mut found = Vec::new();
    for page in pages().into_iter().chain(read(&COMMENTS)).chain(all_messages()) {
        for (passage, _) in passages(&page.text) {
            let lower = passage.to_lowercase();
            for (word, instead) in &ruled_out {
                if has(&lower, word) {
                    found.push(format!("{}: `{word}` ({instead}): {passage}", page.path));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}\n{}", found.len(), found.join("\n"));
}

#[test]
fn sentences_begin_with_their_subject() {
    let mut found = Vec::new();
    // The descriptions of Terraform are often no sentences.
    let sentences_in_messages = all_messages().filter(|page| page.path.ends_with(".rs"));
    for page in pages().into_iter().chain(read(&COMMENTS)).chain(sentences_in_messages) {
        let passages = passages(&page.text).into_iter();
        for sentence in passages.flat_map(|(passage, _)| sentences(&passage)) {
            let first = sentence.split_whitespace().next().unwrap_or_default();
            if NO_SUBJECT.contains(&first) && !sentence.trim_end().ends_with('?') {
                found.push(format!("{}: {sentence}", page.path));
            }
        }
    }
    assert!(found.is_empty(), "{}\n{}", found.len(), found.join("\n"));
}

/// `make language` shows the table.
#[test]
#[expect(clippy::print_stdout, reason = "the figures are for the reader of the output")]
fn sentences_are_short() {
    println!("{:<42} sentences  words  average  longest", "page");
    let mut long = Vec::new();
    for page in pages() {
        let sentences = counted(&page);
        let lengths: Vec<usize> = sentences.iter().map(|sentence| words(sentence)).collect();
        let (number, sum) = (lengths.len().max(1), lengths.iter().sum::<usize>());
        let tenths = sum * 10 / number;
        println!(
            "{:<42} {number:>9} {sum:>6} {:>6}.{} {:>8}",
            page.path,
            tenths / 10,
            tenths % 10,
            lengths.iter().max().copied().unwrap_or_default()
        );
        if sum > MOST_WORDS * number {
            long.push(format!("{}: more than {MOST_WORDS} words on average", page.path));
        }
        let too_long = sentences.into_iter().filter(|sentence| words(sentence) > LONGEST);
        long.extend(too_long.map(|sentence| format!("{}: {sentence}", page.path)));
    }
    assert!(long.is_empty(), "{}\n{}", long.len(), long.join("\n"));
}

/// The headings of a page, as links name them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let kept = |letter: &char| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter);
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        text.chars().filter(kept).collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn links_have_a_target() {
    let mut missing = Vec::new();
    for page in pages().into_iter().chain(read(&LINKED)) {
        let folder = support::root().join(&page.path).parent().unwrap().to_owned();
        let links = page.text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        for (link, _) in links.filter(|(link, _)| !link.starts_with("http")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() {
                support::root().join(&page.path)
            } else {
                folder.join(file)
            };
            let found = if anchor.is_empty() {
                file.exists()
            } else {
                fs::read_to_string(&file).is_ok_and(|text| anchors(&text).iter().any(|known| known == anchor))
            };
            if !found {
                missing.push(format!("{}: {link}", page.path));
            }
        }
    }
    assert_eq!(missing, [] as [&str; 0]);
}

/// `a/{b,c}.rs` is two paths.
fn without_braces(path: &str) -> Vec<String> {
    let parts = path
        .split_once('{')
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    match parts {
        Some((before, (names, after))) => names.split(',').map(|name| format!("{before}{name}{after}")).collect(),
        None => vec![path.to_owned()],
    }
}

/// Pages name files as code, in which no link is checked: `shared/core/src/text.rs`, in short `core/text.rs`.
#[test]
fn paths_on_pages_exist() {
    let mut missing = Vec::new();
    let mut number = 0;
    for page in pages() {
        let code = page.text.split('`').skip(1).step_by(2);
        let is_path = |code: &&str| !code.contains(|letter: char| letter.is_whitespace() || "<>*…$".contains(letter));
        for path in code.filter(is_path).flat_map(without_braces) {
            let Some((first, rest)) = path.split_once('/') else {
                continue;
            };
            let short = [format!("{first}/src/{rest}"), format!("shared/{first}/src/{rest}")];
            let is_short = path.ends_with(".rs") && (SHORT.contains(&first) || first == "cli");
            if !FOLDERS.contains(&first) && !is_short || MADE.contains(&path.as_str()) {
                continue;
            }
            number += 1;
            // A page also names files of its own folder.
            let own = Path::new(&page.path).parent().unwrap().join(&path);
            let mut names = short.into_iter().filter(|_| is_short).chain([path.clone()]);
            if !names.any(|name| support::root().join(name).exists()) && !support::root().join(own).exists() {
                missing.push(format!("{}: {path}", page.path));
            }
        }
    }
    assert_eq!(missing, [] as [&str; 0]);
    assert!(number > 100, "{number} paths");
}

#[test]
fn a_page_is_taken_apart_as_it_reads() {
    let page = "# What is it?\n\nOne *two*. Is it `a | b. C` [three](four.md)?\nFive\n\n1. Six. Seven\n- eight\n\n```\nWhat else\n```\n\n| a | b c |\n|---|---|\n";
    let taken: Vec<(String, bool)> = passages(page);
    let texts: Vec<&str> = taken.iter().map(|(text, _)| text.trim()).collect();
    assert_eq!(
        texts,
        [
            "One two. Is it `code` three? Five",
            "Six. Seven",
            "eight",
            "a",
            "b c",
            "---",
            "---"
        ]
    );
    assert_eq!(sentences(&taken[0].0), ["One two. ", "Is it `code` three? ", "Five "]);
    let code = "//! One.\n\nfn two() {} // three\n    /// Four `five`.\n    // six\n";
    assert_eq!(comments(code, "rs"), "One.\n\n\nFour `five`.\nsix");
    let code = "#!/bin/sh\n# One.\ntwo # three\n";
    assert_eq!(comments(code, "sh"), "bin/sh\nOne.\n");
    let code = "x = \"\"\"\nWhat\n\"\"\"\n";
    assert_eq!(comments(code, "py"), "\n\n");
    let code = "\"\"\"One.\n\nTwo.\n\"\"\"\nthree = \"four\"\n    \"\"\"Five.\"\"\"\n# Six.\n";
    assert_eq!(comments(code, "py"), "One.\n\nTwo.\n\n\nFive.\nSix.");
    let code = "\"one two three\" // \"no\"\n'\"' \"four \\\"five\\\" \\\n   six\" r#\"seven \"eight\" nine\"# \"a = b c d\"\n#[cfg(test)]\nmod tests { \"not this one\" }";
    assert_eq!(
        messages(code, "//"),
        "one two three\n\nfour \\\"five\\\" six\n\nseven \"eight\" nine"
    );
    assert_eq!(messages("# \"a b c\"\nx = \"d e f\"\n", "#"), "d e f");
    assert!(all_messages().map(|page| page.text.lines().count()).sum::<usize>() > 1000);
    assert_eq!(words("It is `code`, 12 – times."), 5);
    assert!(has("was told.", "told") && !has("untold", "told") && has("led to", "led to"));
}
