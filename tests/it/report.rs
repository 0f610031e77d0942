//! The report of the command line: the form that is documented.

use crate::support;

#[test]
fn the_checked_in_schema_of_the_report_is_that_of_the_code() {
    let schema = schemars::schema_for!(ecr_guard_cli::report::model::Report);
    support::assert_file_is(
        "docs/report.schema.json",
        &(serde_json::to_string_pretty(&schema).unwrap() + "\n"),
    );
}
