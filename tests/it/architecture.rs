//! The dependencies that are allowed. Cargo holds the arrows between crates; these tests hold the manifests to the
//! architecture, and the core to being pure.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::support;

/// Our crates, and what of ours each may depend on. `ARCHITECTURE.md` draws this.
const ARROWS: [(&str, &[&str]); 9] = [
    ("shared/core", &[]),
    ("shared/events", &["guard-core"]),
    ("shared/ports", &["guard-core"]),
    ("shared/engine", &["guard-core", "guard-ports"]),
    ("shared/aws", &["guard-core", "guard-ports"]),
    ("shared/aws-workloads", &["guard-aws", "guard-core", "guard-ports"]),
    (
        "shared/lambda",
        &["guard-core", "guard-engine", "guard-events", "guard-ports"],
    ),
    ("shared/testkit", &["guard-core", "guard-ports"]),
    (
        "shared",
        &[
            "guard-aws",
            "guard-core",
            "guard-engine",
            "guard-events",
            "guard-lambda",
            "guard-ports",
        ],
    ),
];

fn manifest(folder: &str) -> toml::Table {
    let path = support::root().join(folder).join("Cargo.toml");
    fs::read_to_string(path).unwrap().parse().unwrap()
}

/// Names of the dependencies that are always built: the test kit is an optional one of its users. Those of a target and of a build script
/// count; a name that is a crate's alias does not hide the crate.
fn dependencies(manifest: &toml::Table) -> BTreeSet<&str> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let targets = targets
        .into_iter()
        .flatten()
        .filter_map(|(_, target)| target.as_table());
    let tables = [manifest].into_iter().chain(targets).flat_map(|table| {
        let sections = ["dependencies", "build-dependencies"];
        sections.map(|section| table.get(section).and_then(toml::Value::as_table))
    });
    let always = tables
        .flatten()
        .flatten()
        .filter(|(_, value)| value.get("optional").and_then(toml::Value::as_bool) != Some(true));
    always
        .map(|(name, value)| value.get("package").and_then(toml::Value::as_str).unwrap_or(name))
        .collect()
}

fn functions() -> impl Iterator<Item = String> {
    let entries = fs::read_dir(support::root().join("functions")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap())
}

/// The crates of ours and of AWS that the command line depends on.
const OF_THE_COMMAND_LINE: [&str; 12] = [
    "aws-config",
    "aws-credential-types",
    "aws-sdk-dynamodb",
    "aws-sdk-lambda",
    "aws-sdk-sts",
    "aws-sigv4",
    "aws-smithy-runtime-api",
    "aws-smithy-types",
    "aws-types",
    "guard-aws",
    "guard-core",
    "guard-ports",
];

/// The dependencies that the architecture forbids a crate: all but its arrows, and an SDK or the Lambda runtime in a crate that
/// is not about that.
fn forbidden(folder: &str, manifest: &toml::Table) -> Vec<String> {
    let function = folder.strip_prefix("functions/");
    let arrows: &[&str] = match (ARROWS.into_iter().find(|(of, _)| *of == folder), function) {
        (Some((_, arrows)), _) => arrows,
        // Its clients are in no other functions.
        (None, Some("gate" | "workloads")) => &["guard-aws-workloads", "shared"],
        (None, Some(_)) => &["shared"],
        (None, None) if folder == "cli" => &OF_THE_COMMAND_LINE,
        (None, None) => panic!("{folder}"),
    };
    let is_adapter = |name: &str| ["shared/aws", "shared/aws-workloads"].contains(&folder) || arrows.contains(&name);
    let is_wiring = ["shared", "shared/lambda"].contains(&folder);
    let is_forbidden = |name: &str| {
        let is_ours = name.starts_with("guard-") || name == "shared";
        let is_sdk = name.starts_with("aws-") || name.starts_with("hyper") || name == "rustls";
        let is_runtime = name == "lambda_runtime" || name == "aws_lambda_events" && folder != "shared/events";
        let is_of_no_function = function.is_some() && !is_ours && name != "tokio";
        is_ours && !arrows.contains(&name)
            || is_sdk && !is_adapter(name)
            || is_runtime && !is_wiring
            || is_of_no_function
            || folder == "shared/core" && !is_ours && !PURE.contains(&name)
    };
    let names = dependencies(manifest).into_iter();
    names.filter(|name| is_forbidden(name)).map(str::to_owned).collect()
}

#[test]
fn each_crate_depends_on_what_the_architecture_gives_it() {
    for (folder, expected) in ARROWS {
        let manifest = manifest(folder);
        let ours = dependencies(&manifest)
            .into_iter()
            .filter(|name| name.starts_with("guard-"));
        // An arrow that is drawn and not there misleads as well.
        assert_eq!(ours.collect::<Vec<_>>(), expected, "{folder}");
        assert_eq!(forbidden(folder, &manifest), [""; 0], "{folder}");
    }
    for function in functions() {
        let folder = format!("functions/{function}");
        let manifest = manifest(&folder);
        assert_eq!(forbidden(&folder, &manifest), [""; 0], "{folder}");
        assert!(dependencies(&manifest).contains("shared"), "{folder}");
    }
    assert_eq!(forbidden("cli", &manifest("cli")), [""; 0]);
    let members = manifest(".");
    let members = members["workspace"]["members"].as_array().unwrap().iter();
    let crates: BTreeSet<_> = members
        .map(|member| member.as_str().unwrap())
        .filter(|member| member.starts_with("shared"))
        .collect();
    assert_eq!(crates, ARROWS.into_iter().map(|(folder, _)| folder).collect());
}

/// Each is what somebody may do for convenience, and is caught.
#[test]
fn a_dependency_against_the_architecture_is_found() {
    let planted = [
        ("shared/core", "guard-ports = { workspace = true }"),
        ("shared/core", "tokio = { workspace = true }"),
        ("shared/core", "aws-sdk-ecr = { workspace = true }"),
        ("shared/events", "lambda_runtime = { workspace = true }"),
        ("shared/engine", "aws_lambda_events = { workspace = true }"),
        ("shared/events", "guard-engine = { workspace = true }"),
        ("shared/ports", "aws-sdk-dynamodb = { workspace = true }"),
        ("shared/engine", "guard-aws.workspace = true"),
        ("shared/engine", "guard-lambda = { path = \"../lambda\" }"),
        ("shared/engine", "lambda_runtime = { workspace = true }"),
        ("shared/aws", "guard-engine.workspace = true"),
        ("shared/lambda", "guard-aws = { workspace = true, features = [\"x\"] }"),
        ("shared/lambda", "hyper-rustls.workspace = true"),
        ("shared/testkit", "guard-engine.workspace = true"),
        ("functions/on-push", "guard-aws-workloads.workspace = true"),
        ("functions/on-scan", "aws-sdk-sns.workspace = true"),
        ("functions/gate", "guard-engine.workspace = true"),
        ("cli", "guard-engine.workspace = true"),
        ("cli", "shared.workspace = true"),
        ("cli", "aws-sdk-ecr.workspace = true"),
    ];
    for (folder, line) in planted {
        let with = |header: &str| {
            let text = fs::read_to_string(support::root().join(folder).join("Cargo.toml")).unwrap();
            let text = if text.contains(header) {
                text.replace(header, &format!("{header}\n{line}"))
            } else {
                format!("{text}\n{header}\n{line}\n")
            };
            text.parse::<toml::Table>().unwrap()
        };
        let name = line.split([' ', '.']).next().unwrap();
        assert_eq!(forbidden(folder, &with("[dependencies]")), [name], "{folder}");
        // A target of its own does not hide it; tests may use it.
        let of_a_target = with("[target.'cfg(unix)'.dependencies]");
        assert_eq!(forbidden(folder, &of_a_target), [name], "{folder}");
    }
    let renamed = "[dependencies]\necr = { package = \"aws-sdk-ecr\", version = \"1\" }"
        .parse()
        .unwrap();
    assert_eq!(forbidden("shared/core", &renamed), ["aws-sdk-ecr"]);
    let built = "[build-dependencies]\naws-sdk-ecr = \"1\"".parse().unwrap();
    assert_eq!(forbidden("shared/core", &built), ["aws-sdk-ecr"]);
    let of_tests = "[dev-dependencies]\ninsta = \"1\"".parse().unwrap();
    assert_eq!(forbidden("shared/core", &of_tests), [""; 0]);
}

/// The crates that the core may use.
const PURE: [&str; 8] = [
    "jiff",
    "regex-lite",
    "semver",
    "serde",
    "serde_json",
    "sha2",
    "strum",
    "thiserror",
];

/// Impure parts: a clock, the environment, files, sockets, threads, randomness, logs, waiting.
const IMPURE: [&str; 12] = [
    "std::env",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::thread",
    "Timestamp::now",
    "SystemTime",
    "Instant",
    "async fn",
    "tracing::",
    "rand::",
];

/// The words of [`IMPURE`] in a source text, comments and the unit tests at its end left out. `use std::{env, fs}` counts as well.
fn impure(text: &str) -> Vec<&'static str> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    let flat = |word: &str| word.replace(' ', "");
    let named = IMPURE.into_iter().filter(|word| code.contains(&flat(word)));
    let grouped = IMPURE.into_iter().filter(|word| {
        let Some(name) = word.strip_prefix("std::") else {
            return false;
        };
        code.match_indices("usestd::{").any(|(at, _)| {
            let group = code.split_at(at).1.split(';').next().unwrap_or_default();
            let mut names = group.split(['{', ',', '}']);
            names.any(|part| part == name || part.starts_with(&format!("{name}::")))
        })
    });
    named.chain(grouped).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // `tests.rs`, and what is below it, may use anything.
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_core_is_pure() {
    let mut found = Vec::new();
    sources(&support::root().join("shared/core/src"), &mut found);
    assert!(found.len() > 40, "{} sources", found.len());
    for path in found {
        assert_eq!(
            impure(&fs::read_to_string(&path).unwrap()),
            [""; 0],
            "{}",
            path.display()
        );
    }
}

#[test]
fn what_is_not_pure_is_found_however_it_is_written() {
    for planted in [
        "fn f() { std::env::var(\"X\"); }",
        "use std::{collections::BTreeMap, env};",
        "use std::{\n    env::var,\n    fmt,\n};",
        "use std::{fs, path::Path};",
        "use std::net::TcpStream;",
        "let now = jiff::Timestamp::now();",
        "let now = std::time::SystemTime::now();",
        "async fn wait() {}",
        "tracing::info!(\"x\");",
        "std::thread::sleep(time);",
    ] {
        assert_ne!(impure(planted), [""; 0], "{planted}");
    }
    for pure in [
        "use std::{collections::BTreeMap, fmt};",
        "// std::env is read elsewhere",
        "use std::net::IpAddr;",
        "fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }",
    ] {
        assert_eq!(impure(pure), [""; 0], "{pure}");
    }
}

#[test]
fn a_function_is_a_folder_a_crate_and_a_binary_of_one_name() {
    for name in functions() {
        let folder = format!("functions/{name}");
        assert_eq!(manifest(&folder)["package"]["name"].as_str(), Some(name.as_str()));
        let readme = support::root().join(&folder).join("README.md");
        assert!(readme.is_file(), "{name} has no README.md");
        if ["gate", "operate", "sweep"].contains(&name.as_str()) {
            // A schedule or a caller invokes it.
            continue;
        }
        let pattern = format!("infra/modules/guard/event-patterns/{name}.json");
        assert!(support::root().join(pattern).is_file(), "{name} has no event pattern");
    }
}

/// The type of what the gate could change a registry with has no values, and its source names no other; its role has no action that writes.
#[test]
fn the_gate_has_nothing_that_could_write() {
    type Writer<'a> = <shared::function::GateServices<'a> as shared::ports::Services>::Writer;
    let nothing: fn(Writer<'_>) -> u8 = |writer| match writer {};
    assert_eq!(std::mem::size_of::<Option<Writer<'_>>>(), 0, "{nothing:p}");
    let permissions = support::root().join("infra/modules/guard/permissions/gate.json");
    let permissions = fs::read_to_string(permissions).unwrap();
    let reads = ["BatchGet", "Describe", "Get", "List", "Query"];
    for action in permissions
        .split('"')
        .filter(|word| word.contains(':') && word.len() > 4 && !word.starts_with(':'))
    {
        let (_, name) = action.split_once(':').unwrap();
        let reads = reads.iter().any(|read| name.starts_with(read));
        assert!(reads || action == "sns:Publish", "{action}");
    }
    // It calls no port of the ledger that writes.
    for file in ["gate.rs", "reconcile/image/preview.rs"] {
        let text = fs::read_to_string(support::root().join("shared/engine/src").join(file)).unwrap();
        for word in ["write", "execute(", ".one(", "writer(", "tell_now", "claim"] {
            let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            assert!(!code.any(|line| line.contains(word)), "{file} has `{word}`");
        }
    }
}

#[test]
fn every_dependency_is_listed_once_and_without_its_default_features() {
    let workspace = manifest(".");
    for (name, dependency) in workspace["workspace"]["dependencies"].as_table().unwrap() {
        // Crates without features of their own can be given by version alone.
        if let Some(table) = dependency.as_table() {
            let default = table.get("default-features").and_then(toml::Value::as_bool);
            assert_eq!(default, Some(false), "{name}");
        }
    }
    let folders = ARROWS.into_iter().map(|(folder, _)| folder.to_owned());
    let functions = functions().map(|name| format!("functions/{name}"));
    for folder in folders.chain(functions).chain(["cli".to_owned(), "tests".to_owned()]) {
        let manifest = manifest(&folder);
        for section in ["dependencies", "dev-dependencies"] {
            let table = manifest.get(section).and_then(toml::Value::as_table);
            for (name, dependency) in table.into_iter().flatten() {
                let inherited = dependency.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(inherited, "{folder}: `{name}` must come from the workspace");
            }
        }
    }
}

/// The command line reads. Among the crates that could write it links only the one with the adapters of ECR, and uses those
/// that read; and its own calls of AWS are these.
#[test]
fn the_command_line_links_no_writer() {
    let manifest = manifest("cli");
    let ours: Vec<_> = dependencies(&manifest)
        .into_iter()
        .filter(|name| name.starts_with("guard-") || name.starts_with("aws-") || *name == "shared")
        .collect();
    assert_eq!(ours, OF_THE_COMMAND_LINE);
    let mut files = Vec::new();
    sources(&support::root().join("cli/src"), &mut files);
    let mut calls = BTreeSet::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()))
            .collect();
        // The parts of the crate with the adapters that could write.
        for word in [
            "dynamo_ledger",
            "DynamoLedger",
            "ecr_writer",
            "EcrWriter",
            "ecr_backfills",
            "sns_",
            "sqs_",
        ] {
            assert!(!code.contains(word), "{} has `{word}`", path.display());
        }
        // A call of the SDK: `client.OPERATION()`, or `.OPERATION().table_name(`.
        for call in code.split("client.").skip(1) {
            calls.insert(call.split('(').next().unwrap().to_owned());
        }
        let uses_clients = code.contains("aws_sdk_");
        assert_eq!(
            uses_clients,
            path.parent().unwrap().ends_with("cli/src/aws") && uses_clients,
            "{}",
            path.display()
        );
    }
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    // `invoke` asks the function `gate`, which changes nothing, and the function `operate`, which asks the policy.
    assert_eq!(calls, ["get_caller_identity", "invoke", "query", "scan"]);
}

/// The policy that the module gives operators permits what the command line calls, and nothing else: both ways.
#[test]
fn the_policy_for_operators_is_what_the_command_line_calls() {
    let policy = fs::read_to_string(support::root().join("infra/modules/guard/readers.tf")).unwrap();
    let permitted: BTreeSet<&str> = policy
        .split('"')
        .filter(|word| {
            ["dynamodb:", "ecr:", "kms:"]
                .iter()
                .any(|service| word.starts_with(service))
                && !word.ends_with("ViaService")
        })
        .collect();
    // The permissions of each call. `sts:GetCallerIdentity` needs none; the table is encrypted with a key.
    let needed = [
        ("client.query", "ledger.rs", "dynamodb:Query"),
        ("client.scan", "ledger.rs", "dynamodb:Scan"),
        ("client.scan", "ledger.rs", "kms:Decrypt"),
        ("registry.images(", "registry.rs", "ecr:DescribeImages"),
        ("registry.repository_policy(", "registry.rs", "ecr:GetRepositoryPolicy"),
    ];
    for (call, file, permission) in needed {
        let text = fs::read_to_string(support::root().join("cli/src/aws").join(file)).unwrap();
        let code: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        assert!(code.contains(call), "{file} does not call {call} any more");
        assert!(permitted.contains(permission), "{permission}");
    }
    assert_eq!(permitted, needed.map(|(_, _, permission)| permission).into());
    // The port of the registry has other calls too. None of them is made.
    let registry = fs::read_to_string(support::root().join("cli/src/aws/registry.rs")).unwrap();
    let calls: BTreeSet<&str> = registry
        .split("registry.")
        .skip(1)
        .filter_map(|rest| rest.split_once('(').map(|(name, _)| name))
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect();
    assert_eq!(calls, ["images", "repository_policy"].into());
}
