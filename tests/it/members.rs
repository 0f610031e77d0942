//! `docs/members.md` says of every member of ECR's answers what it is used for, or why it is not.

use std::{collections::BTreeMap, fmt::Debug, fs};

use aws_sdk_ecr::types::{
    AwsEcrContainerImageDetails, EnhancedImageScanFinding, ImageDetail, ImageScanFinding, ImageScanFindings,
    ImageScanStatus, PackageVulnerabilityDetails, VulnerablePackage,
};

use crate::support;

/// The members of a type, as its `Debug` names them: the types of the SDK cannot be taken apart otherwise.
fn members(value: &impl Debug) -> Vec<String> {
    let text = format!("{value:#?}");
    let fields = text.lines().filter_map(|line| line.strip_prefix("    "));
    let fields = fields
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_once(": "));
    // Words that Rust has taken.
    fields
        .map(|(name, _)| name.trim_start_matches("r#").to_owned())
        .collect()
}

/// The tables of the page: the members of each type, with what is said of them.
fn tables() -> BTreeMap<String, Vec<(String, String)>> {
    let text = fs::read_to_string(support::root().join("docs/members.md")).unwrap();
    let mut tables = BTreeMap::new();
    for section in text.split("\n## ").skip(1) {
        let (name, rest) = section.split_once('\n').unwrap();
        let rows = rest.lines().filter_map(|line| {
            let (member, what) = line.strip_prefix("| `")?.split_once("` | ")?;
            Some((member.to_owned(), what.trim_end_matches(" |").to_owned()))
        });
        tables.insert(name.to_owned(), rows.collect());
    }
    tables
}

#[test]
fn every_member_of_the_sdk_is_used_or_left_out_for_a_reason() {
    let mut tables = tables();
    for (name, sdk) in [
        ("ImageDetail", members(&ImageDetail::builder().build())),
        ("ImageScanStatus", members(&ImageScanStatus::builder().build())),
        ("ImageScanFindings", members(&ImageScanFindings::builder().build())),
        ("ImageScanFinding", members(&ImageScanFinding::builder().build())),
        (
            "EnhancedImageScanFinding",
            members(&EnhancedImageScanFinding::builder().build()),
        ),
        (
            "PackageVulnerabilityDetails",
            members(&PackageVulnerabilityDetails::builder().build()),
        ),
        ("VulnerablePackage", members(&VulnerablePackage::builder().build())),
        (
            "AwsEcrContainerImageDetails",
            members(&AwsEcrContainerImageDetails::builder().build()),
        ),
    ] {
        assert!(!sdk.is_empty(), "{name}: `Debug` shows no members");
        let table = tables
            .remove(name)
            .unwrap_or_else(|| panic!("docs/members.md has no table of {name}"));
        let said: Vec<&str> = table.iter().map(|(member, _)| member.as_str()).collect();
        assert_eq!(said, sdk, "{name}");
        for (member, what) in &table {
            assert!(
                !what.is_empty() && what != "not:",
                "{name}.{member}: what is it used for, or why not?"
            );
        }
    }
    assert_eq!(
        tables.into_keys().collect::<Vec<_>>(),
        [] as [&str; 0],
        "not types that are read"
    );
}
