//! Nothing that an answer leaves open is relied on: the order of lists and of members, how pages are cut, what is left out. Here of the
//! scanner's answer.

mod lists;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::{
    core::{
        evaluate::{Names, Verdict, evaluate},
        finding::{Findings, Scan},
    },
    ports::Scanner as _,
};

use super::*;
use crate::canned::{FakeAws, Reply};

const SEEDS: u64 = 300;

/// Numbers that are the same for the same seed (Steele et al., "Fast splittable pseudorandom number generators": `SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }

    /// All lists below, in another order.
    fn shuffle_all(&mut self, value: &mut Value) {
        match value {
            Value::Array(list) => {
                self.shuffle(list);
                list.iter_mut().for_each(|item| self.shuffle_all(item));
            }
            Value::Object(members) => members.values_mut().for_each(|member| self.shuffle_all(member)),
            _ => {}
        }
    }

    /// Leaves out one member in `one_in`, or gives null for it; all or nothing of counted ones.
    fn thin_out(&mut self, value: &mut Value, one_in: usize) {
        match value {
            Value::Array(list) => list.iter_mut().for_each(|item| self.thin_out(item, one_in)),
            Value::Object(members) => {
                let names: Vec<String> = members.keys().cloned().collect();
                for name in names {
                    match self.below(2 * one_in) {
                        0 => drop(members.remove(&name)),
                        1 => members[&name] = Value::Null,
                        _ if name == "findingSeverityCounts" => {}
                        _ => self.thin_out(&mut members[&name], one_in),
                    }
                }
            }
            _ => {}
        }
    }
}

fn ecr(id: &str, severity: &str) -> Value {
    json!({"name": id, "severity": severity, "uri": "https://example.com", "description": "words", "attributes": [
        {"key": "package_name", "value": "openssl"}, {"key": "package_version", "value": "3.0.1"},
        {"key": "CVSS3_SCORE", "value": "9.8"}]})
}

fn inspector(id: &str, severity: &str) -> Value {
    let package = |name: &str| json!({"name": name, "version": "1", "packageManager": "OS", "fixedInVersion": "2"});
    json!({"severity": severity, "status": "ACTIVE", "type": "PACKAGE_VULNERABILITY", "title": id, "score": 9.8, "fixAvailable": "YES",
        "exploitAvailable": "NO", "packageVulnerabilityDetails": {"vulnerabilityId": id, "sourceUrl": "https://example.com",
        "relatedVulnerabilities": ["GHSA-1", "GHSA-2"], "vulnerablePackages": [package("zlib"), package("curl")]},
        "resources": [{"details": {"awsEcrContainerImage": {"inUseCount": 0}}}]})
}

/// Pages of an answer that has a critical finding in both lists.
fn pages(numbers: &mut Numbers, shuffled: bool) -> Vec<Value> {
    let mut ours = vec![ecr("CVE-1", "CRITICAL"), ecr("CVE-2", "LOW"), ecr("CVE-3", "HIGH")];
    let mut theirs = vec![
        inspector("CVE-4", "CRITICAL"),
        inspector("CVE-5", "MEDIUM"),
        inspector("CVE-1", "CRITICAL"),
    ];
    let mut number = 1;
    if shuffled {
        numbers.shuffle(&mut ours);
        numbers.shuffle(&mut theirs);
        number = numbers.below(4) + 1;
    }
    let mut cut = vec![(Vec::new(), Vec::new()); number];
    for finding in ours {
        cut[numbers.below(number)].0.push(finding);
    }
    for finding in theirs {
        cut[numbers.below(number)].1.push(finding);
    }
    cut.into_iter()
        .map(|(ours, theirs)| {
            let mut page = json!({"imageScanStatus": {"status": "ACTIVE"}, "imageScanFindings": {
                "imageScanCompletedAt": 1_764_000_000, "findings": ours, "enhancedFindings": theirs,
                "findingSeverityCounts": {"CRITICAL": 3, "HIGH": 1, "MEDIUM": 1, "LOW": 1}}});
            if shuffled {
                numbers.shuffle_all(&mut page);
            }
            page
        })
        .collect()
}

fn scan(mut pages: Vec<Value>) -> Result<Scan, PortError> {
    let last = pages.len() - 1;
    for (number, page) in pages.iter_mut().enumerate().take(last) {
        page["nextToken"] = json!(format!("page-{number}"));
    }
    let replies = pages
        .into_iter()
        .map(|page| ("ecr:DescribeImageScanFindings", Reply::Ok(page)));
    let world = FakeAws::scripted(replies);
    world.run(world.aws().ecr_registry(account()).scan(&key()))
}

fn verdict(findings: &Findings) -> Verdict {
    let policy = shared::testing::policy("");
    evaluate(&policy, &Names::of(&key(), &[]), findings, shared::testing::now()).verdict
}

/// The parts that do not depend on any order, if the adapter is right.
fn said(scan: &Scan) -> (Verdict, BTreeMap<String, u64>, Vec<String>) {
    let Scan::Complete(findings) = scan else {
        panic!("{scan:?}")
    };
    assert!(findings.has_result);
    let mut each: Vec<String> = findings.findings.iter().map(|finding| format!("{finding:?}")).collect();
    each.sort();
    let counts = findings
        .counts
        .iter()
        .map(|(severity, count)| (severity.to_string(), *count));
    (verdict(findings), counts.collect(), each)
}

#[test]
fn the_order_of_lists_and_the_cut_of_pages_change_nothing() {
    let expected = said(&scan(pages(&mut Numbers(0), false)).unwrap());
    assert_eq!(expected.0, Verdict::Block);
    for seed in 1..=SEEDS {
        let scan = scan(pages(&mut Numbers(seed), true)).unwrap();
        assert_eq!(said(&scan), expected, "seed {seed}");
    }
}

#[test]
fn what_is_left_out_makes_no_answer_clean() {
    let mut kept = 0;
    for seed in 1..=SEEDS {
        let mut numbers = Numbers(seed);
        let mut pages = pages(&mut numbers, true);
        let one_in = [40, 12, 4][numbers.below(3)];
        pages.iter_mut().for_each(|page| numbers.thin_out(page, one_in));
        let said = format!("seed {seed}: {pages:?}");
        if let Ok(Scan::Complete(findings)) = scan(pages)
            && findings.has_result
        {
            kept += 1;
            assert_ne!(verdict(&findings), Verdict::Pass, "{said}");
        }
    }
    assert!(kept > SEEDS / 4, "{kept} answers still had a result");
}
