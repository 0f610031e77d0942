//! What may use what. A wish that no test holds is not an architecture.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support;

/// Source files below a folder, tests left out.
fn sources(folder: &str) -> Vec<PathBuf> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // `tests.rs`, and what is below it.
            if path.file_stem().is_some_and(|stem| stem == "tests") {
                continue;
            }
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let path = support::root().join(folder);
    let mut found = Vec::new();
    if path.is_dir() {
        collect(&path, &mut found);
    }
    let file = path.with_extension("rs");
    if file.is_file() {
        found.push(file);
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

/// The code of a file: without comments, and without its unit tests, which may use anything.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[track_caller]
fn assert_absent(folder: &str, forbidden: &[&str]) {
    for path in sources(folder) {
        let code = code(&path);
        for word in forbidden {
            assert!(!code.contains(word), "{} must not use `{word}`", path.display());
        }
    }
}

/// Ways to name a module of `shared` from inside it, in a `use` with or without braces.
const EVENTS: &str = "events::";
const ADAPTERS: &str = "adapters::";
const RUNTIME: &str = "runtime::";
const RECONCILE: &str = "reconcile::";
const TESTING: &str = "testing::";
const AWS: &str = "aws_";
const LAMBDA: &str = "lambda_runtime";

#[test]
fn the_domain_is_pure() {
    let modules = [
        "crate::ports",
        "crate::events",
        "crate::adapters",
        "crate::runtime",
        "crate::reconcile",
    ];
    assert_absent("shared/src/domain", &modules);
    assert_absent(
        "shared/src/domain",
        &[
            AWS,
            LAMBDA,
            "tokio",
            "tracing",
            "std::env",
            "std::fs",
            "std::net::Tcp",
            "std::net::Udp",
            "async fn",
        ],
    );
    assert_absent("shared/src/domain", &["Timestamp::now", "SystemTime", "rand::"]);
}

#[test]
fn wire_formats_know_only_the_domain() {
    let modules = ["crate::ports", "crate::adapters", "crate::runtime", "crate::reconcile"];
    assert_absent("shared/src/events", &modules);
    assert_absent("shared/src/events", &[AWS, LAMBDA, "tokio"]);
}

#[test]
fn ports_are_words_of_the_domain() {
    assert_absent(
        "shared/src/ports",
        &[EVENTS, ADAPTERS, RUNTIME, RECONCILE, TESTING, AWS, LAMBDA],
    );
}

#[test]
fn reconciling_knows_neither_aws_nor_lambda() {
    for module in [
        "shared/src/reconcile",
        "shared/src/reconcile_repository",
        "shared/src/reconcile_registry",
        "shared/src/reconcile_replication",
        "shared/src/sweep",
    ] {
        assert_absent(module, &[EVENTS, ADAPTERS, RUNTIME, TESTING, AWS, LAMBDA, "std::env"]);
    }
}

#[test]
fn adapters_know_neither_lambda_nor_events() {
    assert_absent(
        "shared/src/adapters",
        &["crate::events", "crate::runtime", "crate::reconcile", LAMBDA],
    );
}

#[test]
fn the_runtime_knows_no_sdk() {
    assert_absent(
        "shared/src/runtime",
        &[
            "crate::adapters",
            "crate::testing",
            "aws_sdk",
            "aws_config",
            "aws_smithy",
        ],
    );
}

#[test]
fn functions_speak_to_aws_through_adapters_and_only_main_builds_them() {
    for function in fs::read_dir(support::root().join("functions")).unwrap() {
        let name = function.unwrap().file_name().into_string().unwrap();
        let folder = format!("functions/{name}/src");
        assert_absent(&folder, &["aws_sdk", "aws_config", "aws_smithy", "std::env"]);
        for path in sources(&folder) {
            if path.file_stem().is_some_and(|stem| stem != "main") {
                assert!(
                    !code(&path).contains(ADAPTERS),
                    "{} must not use adapters",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn a_function_is_a_folder_a_crate_and_a_binary_of_one_name() {
    for function in fs::read_dir(support::root().join("functions")).unwrap() {
        let function = function.unwrap();
        let name = function.file_name().into_string().unwrap();
        let manifest: toml::Table = fs::read_to_string(function.path().join("Cargo.toml"))
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(manifest["package"]["name"].as_str(), Some(name.as_str()));
        assert!(function.path().join("README.md").is_file(), "{name} has no README.md");
        if name == "sweep" {
            // A schedule invokes it.
            continue;
        }
        assert!(
            support::root()
                .join(format!("infra/modules/guard/event-patterns/{name}.json"))
                .is_file(),
            "{name} has no event pattern"
        );
    }
}

#[test]
fn the_core_is_built_without_aws_and_without_lambda() {
    let manifest: toml::Table = fs::read_to_string(support::root().join("shared/Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(manifest["features"]["default"].as_array().map(Vec::len), Some(0));
    for (name, dependency) in manifest["dependencies"].as_table().unwrap() {
        if name.starts_with("aws") || name.starts_with("lambda") {
            let optional = dependency.get("optional").and_then(toml::Value::as_bool);
            assert_eq!(optional, Some(true), "{name} must be optional");
        }
    }
    for name in manifest["dev-dependencies"].as_table().unwrap().keys() {
        assert!(
            !name.starts_with("aws") && !name.starts_with("lambda"),
            "{name} would be built with every test"
        );
    }
}

#[test]
fn every_dependency_is_listed_once_and_without_its_default_features() {
    let manifest: toml::Table = fs::read_to_string(support::root().join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    for (name, dependency) in manifest["workspace"]["dependencies"].as_table().unwrap() {
        // Crates without features of their own can be given by version alone.
        if let Some(table) = dependency.as_table() {
            assert_eq!(
                table.get("default-features").and_then(toml::Value::as_bool),
                Some(false),
                "{name}"
            );
        }
    }
    let functions = fs::read_dir(support::root().join("functions")).unwrap();
    let functions = functions.map(|entry| format!("functions/{}", entry.unwrap().file_name().into_string().unwrap()));
    for path in functions.chain(["shared".to_owned(), "tests".to_owned()]) {
        let manifest: toml::Table = fs::read_to_string(support::root().join(&path).join("Cargo.toml"))
            .unwrap()
            .parse()
            .unwrap();
        for section in ["dependencies", "dev-dependencies"] {
            for (name, dependency) in manifest
                .get(section)
                .and_then(toml::Value::as_table)
                .into_iter()
                .flatten()
            {
                let inherited = dependency.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(inherited, "{path}: `{name}` must come from the workspace");
            }
        }
    }
}
