//! Every input that comes from outside, each with the code that reads it.
//!
//! [`TARGETS`] has two users. `tests/it/fuzz.rs` runs each target on its seeds, on the inputs in `tests/fuzz/corpus`, and on some
//! thousands of seeded changes of them, in every test run. `make fuzz` runs the same table under libFuzzer.
//!
//! A target panics if what it reads makes something that it must not: a panic of the code, an output over its limit, an effect of
//! an input that could not be read.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a target reports what is wrong by a panic"
)]

mod answers;
mod documents;
pub mod mutate;
mod payloads;
mod seeds;

use std::{panic::catch_unwind, path::PathBuf, time::Duration};

/// An input from outside.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in `tests/fuzz/corpus`.
    pub name: &'static str,
    /// The most bytes that a sender can send.
    pub max_bytes: usize,
    /// Reads it. Text that is not UTF-8 never reaches our code: the runtime and the SDK refuse it before.
    pub run: fn(&str),
    /// Good inputs to begin with.
    pub seeds: fn() -> Vec<String>,
}

/// EventBridge's limit of an event, and of an asynchronous invocation of Lambda ("Lambda quotas").
const EVENT: usize = 1024 * 1024;

/// The limit of a synchronous invocation is 6 MB; what is longer than this has nothing that a request has.
const REQUEST: usize = 256 * 1024;

/// All of them.
pub const TARGETS: [Target; 18] = [
    Target {
        name: "event",
        max_bytes: EVENT,
        run: payloads::event,
        seeds: seeds::events,
    },
    Target {
        name: "workload-event",
        max_bytes: EVENT,
        run: payloads::workload_event,
        seeds: seeds::workload_events,
    },
    Target {
        name: "worker-batch",
        max_bytes: EVENT,
        run: payloads::batch,
        seeds: seeds::work_items,
    },
    Target {
        name: "sweep-request",
        max_bytes: EVENT,
        run: payloads::sweep,
        seeds: seeds::sweep_requests,
    },
    Target {
        name: "gate-request",
        max_bytes: REQUEST,
        run: payloads::gate,
        seeds: seeds::gate_requests,
    },
    Target {
        name: "operate-request",
        max_bytes: REQUEST,
        run: payloads::operate,
        seeds: seeds::operate_requests,
    },
    Target {
        name: "sts-answer",
        max_bytes: 64 * 1024,
        run: payloads::sts,
        seeds: seeds::sts_answers,
    },
    Target {
        name: "policy",
        // An item of DynamoDB.
        max_bytes: 400 * 1024,
        run: documents::policy,
        seeds: seeds::policies,
    },
    Target {
        name: "policy-check",
        // A file on the machine of a person. It is read again after each mistake.
        max_bytes: 64 * 1024,
        run: documents::policy_check,
        seeds: seeds::policies,
    },
    Target {
        name: "lifecycle",
        // API reference of ECR, `PutLifecyclePolicy`.
        max_bytes: 30_720,
        run: documents::lifecycle,
        seeds: seeds::lifecycles,
    },
    Target {
        name: "repository-policy",
        // "Amazon ECR service quotas": repository policies have at most 10,240 characters.
        max_bytes: 10_240,
        run: documents::repository_policy,
        seeds: seeds::repository_policies,
    },
    Target {
        name: "manifest",
        // The OCI distribution specification asks registries to take manifests of 4 MiB.
        max_bytes: 4 * 1024 * 1024,
        run: documents::manifest,
        seeds: seeds::manifests,
    },
    Target {
        name: "names",
        max_bytes: 4096,
        run: documents::names,
        seeds: seeds::names,
    },
    Target {
        name: "refused-access",
        max_bytes: 16 * 1024,
        run: documents::refused_access,
        seeds: seeds::refusals,
    },
    Target {
        name: "snapshot",
        max_bytes: EVENT,
        run: documents::snapshot,
        seeds: seeds::snapshots,
    },
    Target {
        name: "findings",
        max_bytes: EVENT,
        run: answers::findings,
        seeds: seeds::findings,
    },
    Target {
        name: "aws-answer",
        // Each input is the answer to 26 calls.
        max_bytes: 64 * 1024,
        run: answers::any,
        seeds: seeds::answers,
    },
    Target {
        name: "aws-error",
        // An error is a code and a message. Each is the answer to 26 calls, and some of them are made three times.
        max_bytes: 16 * 1024,
        run: answers::error,
        seeds: seeds::errors,
    },
];

/// The time on a processor that an input may take. The deployed code has 50 ms. A build with overflow checks and without optimization, or with
/// a sanitizer, takes 10 to 20 times as long.
const MOST_TIME: Duration = Duration::from_millis(1_000);

/// Runs a target, three times if it is slow: what was slow once may have waited for a page of memory.
///
/// # Errors
/// It found something, or takes too long.
pub fn attempt(target: &Target, input: &str) -> Result<(), String> {
    let mut least = Duration::MAX;
    for _ in 0..3 {
        let before = processor_time();
        catch_unwind(|| (target.run)(input)).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            text.unwrap_or_default()
        })?;
        let took = before.and_then(|before| processor_time()?.checked_sub(before));
        match took {
            Some(took) if took >= MOST_TIME => least = least.min(took),
            _ => return Ok(()),
        }
    }
    Err(format!("it takes {least:?}"))
}

/// The time that this thread has spent on a processor, which does not depend on what else the machine does. Linux only.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

/// The inputs of a target to begin with: its seeds, and the files in its folder of the corpus.
///
/// # Panics
/// A file cannot be read, or is not UTF-8.
pub fn corpus(target: &Target) -> Vec<String> {
    let mut all = (target.seeds)();
    let folder = root().join("tests/fuzz/corpus").join(target.name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    all.extend(files.iter().map(|file| std::fs::read_to_string(file).unwrap()));
    all
}

/// The folder of the project.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}
