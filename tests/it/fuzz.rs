//! Each input from outside, without a fuzzer: the seeds, the corpus, and seeded changes of both, with the code that `make fuzz` runs.

use std::sync::atomic::{AtomicUsize, Ordering};

use fuzz_targets::{
    TARGETS, Target, attempt, corpus,
    mutate::{Random, grown, mutated},
};

/// Changes of the inputs of each target. Answers of AWS go through the SDK, which takes its time without optimization.
fn changes(target: &Target) -> u64 {
    if target.name.starts_with("aws-") { 80 } else { 1_000 }
}

/// Inputs of each target that are as long as it takes.
const GROWN: u64 = 6;

fn inputs(target: &Target) -> Vec<String> {
    let seeds = corpus(target);
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    let number = |number: u64| usize::try_from(number).unwrap();
    let seed = |n: u64| &seeds[number(n) % seeds.len()];
    let changed = (0..changes(target)).map(|n| mutated(seed(n), target.max_bytes, &mut Random::new(n)));
    let grown = (0..GROWN).map(|n| grown(seed(n), target.max_bytes, &mut Random::new(n)));
    seeds.iter().cloned().chain(changed).chain(grown).collect()
}

#[test]
fn no_input_from_outside_breaks_anything() {
    let next = AtomicUsize::new(0);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut wrong = Vec::new();
            while let Some(target) = TARGETS.get(next.fetch_add(1, Ordering::Relaxed)) {
                for input in inputs(target) {
                    if let Err(what) = attempt(target, &input) {
                        let shown: String = input.chars().take(600).collect();
                        wrong.push(format!("{}: {what}\n    {} bytes: {shown}", target.name, input.len()));
                    }
                }
            }
            wrong
        };
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{} findings\n{}", wrong.len(), wrong.join("\n"));
}
