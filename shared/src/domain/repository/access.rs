//! Who a repository's policy lets in.
//!
//! The policy is somebody else's document. It is read for exposure only, and where a statement is taken out, everything else of it
//! stays byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::super::{alert::text, ids::AccountId};

/// Condition keys that narrow down who calls. Source: IAM user guide, "AWS global condition context keys".
const NARROWING: [&str; 10] = [
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceip",
    "aws:sourceorgid",
    "aws:sourcevpc",
    "aws:sourcevpce",
];

/// A statement that lets in somebody who is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// Its place in the document, from 0.
    pub index: usize,
    /// Its `Sid`, or its place.
    pub name: String,
    /// Who it lets in: `everybody`, accounts, or what cannot be told.
    pub to: BTreeSet<String>,
    /// It lets in nobody else, so that nothing that is known is lost with it.
    pub only: bool,
}

/// The document cannot be read, so that nobody knows whom it lets in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the repository policy cannot be read: {0}")]
pub struct UnreadablePolicy(String);

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow, rename = "Statement")]
    statement: &'a RawValue,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(default, rename = "Sid")]
    sid: Option<String>,
    #[serde(rename = "Effect")]
    effect: String,
    #[serde(default, rename = "Principal")]
    principal: Option<Value>,
    #[serde(default, rename = "Condition")]
    condition: BTreeMap<String, BTreeMap<String, Value>>,
}

/// The statements of a document, each as it is written, and where the list of them is.
fn statements(document: &str) -> Result<(&str, Vec<&str>), UnreadablePolicy> {
    let unreadable = |error: serde_json::Error| UnreadablePolicy(text::line(&error.to_string(), 200));
    let list = serde_json::from_str::<Document<'_>>(document)
        .map_err(unreadable)?
        .statement
        .get();
    // One statement may stand without a list.
    if list.starts_with('{') {
        return Ok((list, vec![list]));
    }
    let each: Vec<&RawValue> = serde_json::from_str(list).map_err(unreadable)?;
    Ok((list, each.into_iter().map(RawValue::get).collect()))
}

/// The statements that let in the world or, where accounts are given, an account that is not among them. The repository's own
/// account and AWS services are always known.
///
/// # Errors
/// The document is not one that we can read.
pub fn exposures(
    document: &str,
    own: &AccountId,
    known: Option<&BTreeSet<AccountId>>,
) -> Result<Vec<Exposure>, UnreadablePolicy> {
    let mut found = Vec::new();
    for (index, raw) in statements(document)?.1.into_iter().enumerate() {
        let statement: Statement = serde_json::from_str(raw)
            .map_err(|error| UnreadablePolicy(text::line(&format!("statement {index}: {error}"), 200)))?;
        if statement.effect != "Allow" {
            continue;
        }
        let (mut to, mut others) = (BTreeSet::new(), false);
        for principal in principals(statement.principal.as_ref()) {
            match principal {
                Principal::Everybody if is_narrowed(&statement.condition) => others = true,
                Principal::Everybody => {
                    to.insert("everybody".to_owned());
                }
                Principal::Service => others = true,
                Principal::Account(account) => {
                    if &account == own || known.is_none_or(|known| known.contains(&account)) {
                        others = true;
                    } else {
                        to.insert(account.to_string());
                    }
                }
                Principal::Unknown(who) if known.is_some() => {
                    to.insert(who);
                }
                Principal::Unknown(_) => others = true,
            }
        }
        if !to.is_empty() {
            let name = statement.sid.filter(|sid| !sid.is_empty());
            found.push(Exposure {
                index,
                name: name.map_or_else(|| format!("statement {index}"), |sid| text::line(&sid, 60)),
                to,
                only: !others,
            });
        }
    }
    Ok(found)
}

/// The document without some statements, all else byte for byte; `None`: no statement is left.
///
/// # Errors
/// The document is not one that we can read.
pub fn without(document: &str, indexes: &BTreeSet<usize>) -> Result<Option<String>, UnreadablePolicy> {
    let (list, each) = statements(document)?;
    let kept: Vec<&str> = each
        .into_iter()
        .enumerate()
        .filter(|(index, _)| !indexes.contains(index))
        .map(|(_, statement)| statement)
        .collect();
    if kept.is_empty() {
        return Ok(None);
    }
    // `list` is a part of `document`: how far into it, its address tells.
    let start = list.as_ptr() as usize - document.as_ptr() as usize;
    match (document.get(..start), document.get(start + list.len()..)) {
        (Some(before), Some(after)) => Ok(Some(format!("{before}[{}]{after}", kept.join(",")))),
        _ => Err(UnreadablePolicy(
            "its statements are not where they should be".to_owned(),
        )),
    }
}

enum Principal {
    Everybody,
    Service,
    Account(AccountId),
    /// Whose account cannot be told: a federation, a canonical user, the id of somebody who was deleted.
    Unknown(String),
}

fn principals(principal: Option<&Value>) -> Vec<Principal> {
    let strings = |value: &Value| -> Vec<String> {
        match value {
            Value::String(one) => vec![one.clone()],
            Value::Array(many) => many
                .iter()
                .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
                .collect(),
            other => vec![other.to_string()],
        }
    };
    match principal {
        // Without `Principal` there is `NotPrincipal`: everybody but some.
        None => vec![Principal::Everybody],
        Some(Value::Object(kinds)) => kinds
            .iter()
            .flat_map(|(kind, value)| strings(value).into_iter().map(move |who| named(kind, &who)))
            .collect(),
        Some(value) => strings(value).iter().map(|who| named("AWS", who)).collect(),
    }
}

fn named(kind: &str, who: &str) -> Principal {
    let account = match who.strip_prefix("arn:") {
        Some(arn) => arn.split(':').nth(3).unwrap_or_default(),
        None => who,
    };
    match (kind, account.parse()) {
        ("Service", _) => Principal::Service,
        ("AWS", _) if who == "*" => Principal::Everybody,
        ("AWS", Ok(account)) => Principal::Account(account),
        _ => Principal::Unknown(text::line(who, 100)),
    }
}

/// Whether a condition lets in only some callers, by a test that holds for them and not for others.
fn is_narrowed(condition: &BTreeMap<String, BTreeMap<String, Value>>) -> bool {
    let concrete = |value: &Value| {
        let text = |value: &Value| {
            value
                .as_str()
                .is_some_and(|text| text.chars().any(|c| !matches!(c, '*' | '?')))
        };
        let anywhere = |value: &Value| value.as_str().is_some_and(|text| matches!(text, "0.0.0.0/0" | "::/0"));
        match value {
            Value::Array(values) => !values.is_empty() && values.iter().all(|v| text(v) && !anywhere(v)),
            value => text(value) && !anywhere(value),
        }
    };
    condition.iter().any(|(operator, tests)| {
        let operator = operator.to_ascii_lowercase();
        let operator = operator.rsplit(':').next().unwrap_or_default();
        let positive = matches!(
            operator,
            "stringequals" | "stringequalsignorecase" | "stringlike" | "arnequals" | "arnlike" | "ipaddress"
        );
        positive
            && tests
                .iter()
                .any(|(key, value)| NARROWING.contains(&key.to_ascii_lowercase().as_str()) && concrete(value))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn own() -> AccountId {
        "123456789012".parse().unwrap()
    }

    fn known() -> BTreeSet<AccountId> {
        ["222222222222".parse().unwrap()].into()
    }

    fn statement(principal: &Value, more: &Value) -> Value {
        let mut statement = json!({"Effect": "Allow", "Principal": principal, "Action": "ecr:BatchGetImage"});
        for (name, value) in more.as_object().unwrap() {
            statement[name] = value.clone();
        }
        statement
    }

    fn document(statements: &[Value]) -> String {
        json!({"Version": "2012-10-17", "Statement": statements}).to_string()
    }

    /// To whom one statement exposes: with a list of known accounts, and without one.
    #[track_caller]
    fn check(principal: &Value, more: &Value, with_list: &[&str], without_list: &[&str]) {
        let document = document(&[statement(principal, more)]);
        for (known, expected) in [(Some(&known()), with_list), (None, without_list)] {
            let found = exposures(&document, &own(), known).unwrap();
            let to: Vec<&str> = found.iter().flat_map(|e| &e.to).map(String::as_str).collect();
            assert_eq!(to, expected, "{document}");
        }
    }

    #[test]
    fn who_is_let_in() {
        let none = json!({});
        let everybody = ["everybody"];
        for principal in [
            json!("*"),
            json!({"AWS": "*"}),
            json!({"AWS": ["arn:aws:iam::123456789012:root", "*"]}),
        ] {
            check(&principal, &none, &everybody, &everybody);
        }
        for account in ["123456789012", "222222222222"] {
            check(&json!({"AWS": account}), &none, &[], &[]);
            check(&json!({"AWS": format!("arn:aws:iam::{account}:root")}), &none, &[], &[]);
            check(
                &json!({"AWS": format!("arn:aws-cn:iam::{account}:role/a:b")}),
                &none,
                &[],
                &[],
            );
        }
        check(
            &json!({"AWS": "arn:aws:iam::333333333333:role/x"}),
            &none,
            &["333333333333"],
            &[],
        );
        check(
            &json!({"AWS": "AIDACKCEVSQ6C2EXAMPLE"}),
            &none,
            &["AIDACKCEVSQ6C2EXAMPLE"],
            &[],
        );
        check(
            &json!({"Federated": "cognito-identity.amazonaws.com"}),
            &none,
            &["cognito-identity.amazonaws.com"],
            &[],
        );
        check(&json!({"Service": "lambda.amazonaws.com"}), &none, &[], &[]);
        check(&json!("*"), &json!({"Effect": "Deny"}), &[], &[]);
        let mut inverted = statement(
            &json!(null),
            &json!({"NotPrincipal": {"AWS": "arn:aws:iam::123456789012:root"}}),
        );
        inverted.as_object_mut().unwrap().remove("Principal");
        let found = exposures(&document(&[inverted]), &own(), None).unwrap();
        assert!(found[0].to.contains("everybody"), "everybody but some");
    }

    #[test]
    fn a_condition_narrows_or_it_does_not() {
        let everybody = ["everybody"];
        for (condition, narrows) in [
            (json!({"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}}), true),
            (
                json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": ["o-1/*"]}}),
                true,
            ),
            (
                json!({"StringLike": {"AWS:PrincipalArn": "arn:aws:iam::123456789012:role/*"}}),
                true,
            ),
            (json!({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}), true),
            (
                json!({"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "0.0.0.0/0"]}}),
                false,
            ),
            (json!({"StringLike": {"aws:PrincipalArn": "*"}}), false),
            (
                json!({"StringNotEquals": {"aws:PrincipalOrgID": "o-1234567890"}}),
                false,
            ),
            (
                json!({"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1234567890"}}),
                false,
            ),
            (json!({"Bool": {"aws:SecureTransport": "true"}}), false),
            (json!({"StringEquals": {"aws:PrincipalOrgID": []}}), false),
        ] {
            let expected: &[&str] = if narrows { &[] } else { &everybody };
            check(&json!("*"), &json!({"Condition": condition}), expected, expected);
        }
    }

    #[test]
    fn a_statement_that_also_lets_in_whom_we_know_is_not_only_exposure() {
        let mixed = statement(
            &json!({"AWS": ["222222222222", "333333333333"]}),
            &json!({"Sid": "pull"}),
        );
        let alone = statement(&json!({"AWS": "333333333333"}), &json!({}));
        let found = exposures(&document(&[mixed, alone]), &own(), Some(&known())).unwrap();
        let shown: Vec<_> = found.iter().map(|e| (e.name.as_str(), e.only)).collect();
        assert_eq!(shown, [("pull", false), ("statement 1", true)]);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_harmless() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"Statement": 7}"#,
            r#"{"Statement": [7]}"#,
            r#"{"Statement": [{"Principal": "*"}]}"#,
            r#"{"Statement": [{"Effect": "Allow", "Condition": []}]}"#,
        ] {
            assert!(exposures(text, &own(), None).is_err(), "{text}");
        }
        let single = r#"{"Statement": {"Effect": "Allow", "Principal": "*"}}"#;
        assert_eq!(
            exposures(single, &own(), None).unwrap().len(),
            1,
            "a statement without a list"
        );
    }

    #[test]
    fn what_is_not_taken_out_stays_byte_for_byte() {
        let text = "{\n  \"Statement\" : [ {\"Sid\":\"a\", \"Effect\":\"Allow\"},\n {\"Sid\" : \"b\"} , {\"Sid\":\"c\"} ],\n \"Version\": \"2008-10-17\"}\n";
        assert_eq!(
            without(text, &[1].into()).unwrap().unwrap(),
            "{\n  \"Statement\" : [{\"Sid\":\"a\", \"Effect\":\"Allow\"},{\"Sid\":\"c\"}],\n \"Version\": \"2008-10-17\"}\n"
        );
        assert_eq!(without(text, &[0, 1, 2].into()).unwrap(), None);
        assert_eq!(without(r#"{"Statement": {"Sid": "a"}}"#, &[0].into()).unwrap(), None);
    }

    proptest! {
        #[test]
        fn foreign_statements_survive(
            sids in prop::collection::vec("\\PC{0,8}", 1..6),
            space in "[ \n\t]{0,3}",
            taken in prop::collection::btree_set(0_usize..6, 0..4),
        ) {
            let each: Vec<String> = sids
                .iter()
                .map(|sid| format!("{{\"Sid\":{space}{},\"Effect\":\"Deny\"}}", json!(sid)))
                .collect();
            let text = format!("{space}{{\"Statement\":{space}[{}],\"Version\":{space}\"2012-10-17\",\"Id\":\"é\"}}", each.join(&format!("{space},")));
            let left: Vec<&String> = each.iter().enumerate().filter(|(n, _)| !taken.contains(n)).map(|(_, s)| s).collect();
            match without(&text, &taken).unwrap() {
                None => prop_assert!(left.is_empty()),
                Some(rewritten) => {
                    for statement in left {
                        prop_assert!(rewritten.contains(statement));
                    }
                    prop_assert!(serde_json::from_str::<Value>(&rewritten).is_ok());
                    prop_assert_eq!(without(&rewritten, &BTreeSet::new()).unwrap(), Some(rewritten.clone()), "a second time changes nothing");
                    let tail = format!(",\"Version\":{space}\"2012-10-17\",\"Id\":\"é\"}}");
                    prop_assert!(rewritten.ends_with(&tail));
                }
            }
        }

        #[test]
        fn no_document_makes_us_fail(text in "\\PC{0,80}") {
            let _ = exposures(&text, &own(), None);
            let _ = without(&text, &[0].into());
        }
    }
}
