//! The pure core: how many events it decides in a second on one core. Nothing waits here, so this is what our own code costs.
//!
//! `make bench` runs it; the README quotes what it printed.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unreachable,
    reason = "a bench that is wrong in itself should stop at once, and prints what it measured"
)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use guard_core::{
    decide::{Facts, Plan, Replaced, Survey, Turns, decide},
    finding::{Finding, Scan, Severity},
    ids::{ImageKey, RepositoryKey},
    image::ListedImage,
    ledger::Row,
    summary::SummaryBuilder,
};
use shared::{
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
                Some((event, step.alert.map(|alert| alert.message(&policy.contact))))
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn key_of(number: u64) -> ImageKey {
    ImageKey {
        digest: format!("sha256:{number:064x}").parse().expect("a digest"),
        ..image_key()
    }
}

/// An image and its row, as a page of a list has them: every hundredth has all the findings that a row holds.
fn listed(number: u64) -> (ListedImage, Row) {
    let key = key_of(number);
    let facts = Facts {
        image: Some(image(&key)),
        replaced: Replaced::Nothing,
        scan: Scan::Complete(scan(findings(if number.is_multiple_of(100) { 30_000 } else { 20 }))),
        ..Facts::about(key.clone(), "bench")
    };
    let Plan::Apply(step) = decide(&policy(""), &facts, now()) else {
        unreachable!("nothing is remembered of it")
    };
    let listed = ListedImage {
        image: image(&key),
        bytes: 100_000_000,
        scan_status: Some("ACTIVE".to_owned()),
        scanned_at: Some(now()),
    };
    (listed, step.completed(Some(&image(&key)), None, now()))
}

/// Memory that this process has resident, in KiB; `None` where the system does not say.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The memory of a worker for a repository while it compares list and ledger: pages of a thousand are read and dropped.
fn survey(criterion: &mut Criterion) {
    const PAGE: u64 = 1000;
    let policy = policy("");
    let key = RepositoryKey {
        account: image_key().account,
        region: image_key().region,
        repository: image_key().repository,
    };
    let page: Vec<(ListedImage, Row)> = (0..PAGE).map(listed).collect();
    let mut group = criterion.benchmark_group("survey");
    for images in [1_000_u64, 10_000, 100_000] {
        let run = || {
            let mut survey = Survey::new(&policy, &image_key().repository, Turns::new(None, now()), now());
            let mut figures = SummaryBuilder::new(&policy, &key, now());
            for number in 0..images {
                let (listed, row) = &page[usize::try_from(number % PAGE).expect("a small number")];
                let (mut listed, mut row) = (listed.clone(), row.clone());
                row.image.digest = key_of(number).digest;
                listed.image.digest = row.image.digest.clone();
                survey.remember(&row);
                figures.row(&row);
                survey.see(&listed);
                figures.image(&listed);
            }
            (survey, figures)
        };
        let before = resident();
        let kept = run();
        if let (Some(before), Some(after)) = (before, resident()) {
            println!(
                "{images} images: a worker keeps {} KiB of them",
                after.saturating_sub(before)
            );
        }
        drop(kept);
        group.throughput(Throughput::Elements(images));
        group.sample_size(10);
        group.bench_function(format!("compare list and ledger of {images} images"), |bencher| {
            bencher.iter_batched(|| (), |()| run().0.finish(true), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, core, survey);
criterion_main!(benches);
