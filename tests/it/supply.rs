//! The crates that are in each function, and their features: a new one must be seen in a review, and not only in the lock file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    process::Command,
};

use crate::support;

/// The targets that are deployed: `make package`.
const TARGETS: [&str; 2] = ["aarch64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"];

/// The crates that a function is built of, build scripts and macros included, each with its features. Versions are in the lock file.
fn crates(function: &str) -> BTreeSet<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.current_dir(support::root())
        .args(["tree", "--locked", "--offline", "--package", function])
        .args([
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{lib} {p}|{f}",
        ]);
    for target in TARGETS {
        tree.args(["--target", target]);
    }
    let output = tree.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut features: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (package, its) = line.trim_end_matches(" (*)").split_once('|').unwrap();
        let name = package.split_once(' ').unwrap().1.split(' ').next().unwrap();
        if name != function {
            let known = features.entry(name.to_owned()).or_default();
            known.extend(its.split(',').filter(|feature| !feature.is_empty()).map(str::to_owned));
        }
    }
    let shown = features.into_iter().map(|(name, features)| {
        let features: Vec<String> = features.into_iter().collect();
        format!("{name}: {}", features.join(", "))
            .trim_end_matches(": ")
            .to_owned()
    });
    shown.collect()
}

#[test]
fn the_crates_and_features_of_each_function() {
    let mut of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in std::fs::read_dir(support::root().join("functions")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        of.insert(name.clone(), crates(&name));
    }
    let mut sets = of.values();
    let first = sets.next().unwrap().clone();
    let all: BTreeSet<String> = sets.fold(first, |all, these| &all & these);
    assert!(all.iter().any(|line| line.starts_with("aws-sdk-ecr")), "{all:?}");
    let mut page = format!("all functions: {} crates\n", all.len());
    for line in &all {
        writeln!(page, "  {line}").unwrap();
    }
    for (function, these) in &of {
        let more: Vec<&String> = these.difference(&all).collect();
        if !more.is_empty() {
            writeln!(page, "{function} as well:").unwrap();
            more.iter().for_each(|line| writeln!(page, "  {line}").unwrap());
        }
    }
    insta::assert_snapshot!(page);
}
