//! The pure core: how many events it decides in a second on one core. Nothing waits here, so this is what our own code costs.
//!
//! `make bench` runs it; the README quotes what it printed.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use shared::{
    domain::{
        decide::{Facts, Plan, decide},
        finding::{Finding, Scan, Severity},
    },
    events,
    testing::{finding, image, image_key, now, policy, scan},
};

const EVENT: &str = include_str!("../../tests/fixtures/events/ecr/image-scan-complete.json");

const EXCEPTIONS: &str = r#""exceptions": [
    {"vulnerability": "CVE-2026-1", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"},
    {"vulnerability": "CVE-2025-*", "package": "zlib*", "repositories": ["team-*", "pipeops-*"], "owner": "o", "reason": "r", "expires": "2026-12-31"}]"#;

/// As many findings as asked for, of every severity: one in a hundred is CRITICAL, as many are HIGH.
fn findings(count: usize) -> Vec<Finding> {
    (0..count)
        .map(|n| {
            let severity = match n % 100 {
                0 => Severity::Critical,
                1 => Severity::High,
                2..40 => Severity::Medium,
                _ => Severity::Low,
            };
            finding(&format!("CVE-2026-{n}"), severity)
        })
        .collect()
}

fn facts(count: usize) -> Facts {
    Facts {
        image: Some(image(&image_key())),
        scan: Scan::Complete(scan(findings(count))),
        ..Facts::about(image_key(), "bench")
    }
}

fn core(criterion: &mut Criterion) {
    let policy = policy(EXCEPTIONS);
    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::Elements(1));

    group.bench_function("parse a scan event", |bencher| {
        bencher.iter(|| events::parse(black_box(EVENT)))
    });
    for count in [0, 20, 10_000] {
        let facts = facts(count);
        group.bench_function(format!("decide on an image with {count} findings"), |bencher| {
            bencher.iter(|| decide(&policy, black_box(&facts), now()));
        });
    }
    group.bench_function("from event to alert, 20 findings", |bencher| {
        bencher.iter_batched(
            || facts(20),
            |facts| {
                let event = events::parse(black_box(EVENT));
                let Plan::Apply(step) = decide(&policy, &facts, now()) else {
                    return None;
                };
                Some((event, step.alert.map(|alert| alert.message())))
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, core);
criterion_main!(benches);
