//! All targets in one program, which is built and linked once. `ECR_GUARD_FUZZ_TARGET` says which one runs.
#![no_main]

use std::{path::PathBuf, sync::LazyLock};

use fuzz_targets::{TARGETS, Target, attempt, corpus};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("ECR_GUARD_FUZZ_TARGET").expect("ECR_GUARD_FUZZ_TARGET");
    let found = TARGETS.iter().find(|target| target.name == name);
    found.expect("the name of a target")
});

/// Writes the inputs to begin with into the folder that libFuzzer reads next.
fn write_seeds() {
    let Some(folder) = std::env::var_os("ECR_GUARD_FUZZ_SEEDS").map(PathBuf::from) else {
        return;
    };
    std::fs::create_dir_all(&folder).expect("a folder");
    for (number, seed) in corpus(&TARGET).iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed).expect("a file");
    }
}

fuzz_target!(
    init: write_seeds(),
    |input: &[u8]| {
        if let Ok(text) = std::str::from_utf8(input) {
            attempt(&TARGET, text).expect("nothing is wrong");
        }
    }
);
