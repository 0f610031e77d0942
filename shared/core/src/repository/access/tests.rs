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

fn told(document: &str, accounts: Option<&BTreeSet<AccountId>>) -> Vec<Exposure> {
    let known = KnownPrincipals {
        own: &own(),
        accounts,
        organizations: None,
    };
    exposures(document, &known).unwrap()
}

/// To whom one statement exposes: with a list of known accounts, and without one.
#[track_caller]
fn check(principal: &Value, more: &Value, with_list: &[&str], without_list: &[&str]) {
    let document = document(&[statement(principal, more)]);
    for (known, expected) in [(Some(&known()), with_list), (None, without_list)] {
        let found = told(&document, known);
        let to: Vec<String> = found.iter().flat_map(|e| &e.to).map(ToString::to_string).collect();
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
    let found = told(&document(&[inverted]), None);
    assert!(found[0].to.contains(&Reach::Everybody), "everybody but some");
}

#[test]
fn a_condition_narrows_or_it_does_not() {
    const ORG: &str = "organization o-1234567890";
    // With a list of known accounts, without one.
    for (condition, with_list, without_list) in [
        (json!(null), "everybody", "everybody"),
        (json!({}), "everybody", "everybody"),
        (json!({"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}}), ORG, ""),
        (
            json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": ["o-1234567890/*"]}}),
            ORG,
            "",
        ),
        (json!({"StringEquals": {"aws:VpceOrgID": "o-1234567890"}}), ORG, ""),
        (
            json!({"ForAnyValue:StringLike": {"aws:SourceOrgPaths": "o-1234567890/r-ab/*"}}),
            ORG,
            "",
        ),
        (
            json!({"StringEquals": {"aws:PrincipalOrgID": "${aws:ResourceOrgID}"}}),
            "organization ${aws:ResourceOrgID}",
            "",
        ),
        (
            json!({"StringEquals": {"aws:PrincipalAccount": "${aws:ResourceAccount}"}}),
            "",
            "",
        ),
        (
            json!({"StringLike": {"AWS:PrincipalArn": "arn:aws:iam::123456789012:role/*"}}),
            "",
            "",
        ),
        // The account, wherever it stands.
        (
            json!({"StringEquals": {"aws:PrincipalAccount": "333333333333"}}),
            "333333333333",
            "",
        ),
        (
            json!({"StringEquals": {"aws:PrincipalAccount": ["222222222222", "333333333333"]}}),
            "333333333333",
            "",
        ),
        (
            json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::333333333333:role/*"}}),
            "333333333333",
            "",
        ),
        (
            json!({"ArnLike": {"aws:PrincipalArn": "arn:*:iam::333333333333:role/x"}}),
            "333333333333",
            "",
        ),
        (
            json!({"StringEquals": {"aws:VpceAccount": "333333333333"}}),
            "333333333333",
            "",
        ),
        (
            json!({"ArnLike": {"aws:SourceVpcArn": "arn:aws:ec2:us-west-2:333333333333:vpc/*"}}),
            "333333333333",
            "",
        ),
        (
            json!({"StringLike": {"aws:sourceARN": "arn:aws:lambda:us-east-1:333333333333:function:*"}}),
            "333333333333",
            "",
        ),
        (
            json!({"StringLike": {"aws:userid": "AROA1234567890EXAMPLE:*"}}),
            "AROA1234567890EXAMPLE",
            "",
        ),
        // Networks.
        (
            json!({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}),
            "addresses 203.0.113.0/24",
            "",
        ),
        (
            json!({"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "0.0.0.0/0"]}}),
            "everybody",
            "everybody",
        ),
        (
            json!({"IpAddress": {"aws:SourceIp": ["0.0.0.0/1", "128.0.0.0/1"]}}),
            "everybody",
            "everybody",
        ),
        (
            json!({"IpAddress": {"aws:SourceIp": "::0/0"}}),
            "everybody",
            "everybody",
        ),
        (
            json!({"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}),
            "everybody",
            "everybody",
        ),
        (
            json!({"StringEquals": {"aws:SourceVpc": "vpc-0a1b2c3d"}}),
            "vpc-0a1b2c3d",
            "",
        ),
        (
            json!({"StringLike": {"aws:SourceVpc": "vpc-*"}}),
            "everybody",
            "everybody",
        ),
        (
            json!({"StringLike": {"aws:SourceVpce": "vpce-*"}}),
            "everybody",
            "everybody",
        ),
        // Services.
        (json!({"Bool": {"aws:PrincipalIsAWSService": "true"}}), "", ""),
        (json!({"BoolIfExists": {"aws:PrincipalIsAWSService": "true"}}), "", ""),
        (
            json!({"StringEquals": {"aws:PrincipalServiceName": "lambda.amazonaws.com"}}),
            "",
            "",
        ),
        // Conditions that anybody can meet.
        (
            json!({"StringLike": {"aws:PrincipalArn": "*"}}),
            "everybody",
            "everybody",
        ),
        (
            json!({"StringLike": {"aws:PrincipalArn": "*:role/x"}}),
            "everybody",
            "everybody",
        ),
        (
            json!({"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/x"}}),
            "everybody",
            "everybody",
        ),
        (
            json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/deploy"}}),
            "everybody",
            "everybody",
        ),
        (
            json!({"StringLike": {"aws:PrincipalAccount": "2*"}}),
            "everybody",
            "everybody",
        ),
        (
            json!({"StringLike": {"aws:PrincipalOrgID": "o-*"}}),
            "everybody",
            "everybody",
        ),
        (
            json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-*/*"}}),
            "everybody",
            "everybody",
        ),
        (json!({"ArnLike": {"aws:SourceArn": "arn:*"}}), "everybody", "everybody"),
        (
            json!({"StringNotEquals": {"aws:PrincipalOrgID": "o-1234567890"}}),
            "everybody",
            "everybody",
        ),
        (
            json!({"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1234567890"}}),
            "everybody",
            "everybody",
        ),
        (
            json!({"ForAllValues:StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}}),
            "everybody",
            "everybody",
        ),
        (
            json!({"ForAllValues:StringLike": {"aws:PrincipalOrgPaths": ["o-1234567890/r-1/ou-1/*"]}}),
            "everybody",
            "everybody",
        ),
        (
            json!({"Null": {"aws:PrincipalOrgID": "true"}}),
            "everybody",
            "everybody",
        ),
        (json!({"Bool": {"aws:SecureTransport": true}}), "everybody", "everybody"),
        // With `Null`, a condition that holds without the key narrows.
        (
            json!({"ForAllValues:StringLike": {"aws:PrincipalOrgPaths": "o-1234567890/*"}, "Null": {"aws:PrincipalOrgPaths": "false"}}),
            ORG,
            "",
        ),
        (
            json!({"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1234567890"}, "Null": {"aws:PrincipalOrgID": false}}),
            ORG,
            "",
        ),
        // Without a wildcard's operator, `*` is a character.
        (json!({"StringEquals": {"aws:PrincipalOrgID": "o-*"}}), "", ""),
    ] {
        let list = |to: &'static str| if to.is_empty() { Vec::new() } else { vec![to] };
        check(
            &json!("*"),
            &json!({"Condition": condition}),
            &list(with_list),
            &list(without_list),
        );
    }
}

/// An unknown result is alerted as unknown, with and without a list of known accounts, and never repaired.
#[test]
fn what_a_condition_means_may_not_be_known() {
    for (condition, key) in [
        (
            json!({"StringEquals": {"aws:PrincipalTag/team": "x"}}),
            "aws:PrincipalTag/team",
        ),
        (
            json!({"StringEquals": {"aws:PrincipalOrgID": []}}),
            "aws:PrincipalOrgID",
        ),
        (
            json!({"StringEquals": {"aws:PrincipalOrgID": "${aws:PrincipalTag/o}"}}),
            "aws:PrincipalOrgID",
        ),
        (
            json!({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}),
            "aws:CurrentTime",
        ),
        (json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}), "aws:SourceIp"),
        (json!({"IpAddress": {"aws:SourceIp": "not an address"}}), "aws:SourceIp"),
        // A path may have colons in it: this may be another account's role.
        (
            json!({"StringLike": {"aws:PrincipalArn": "arn:*:iam::222222222222:role/x"}}),
            "aws:PrincipalArn",
        ),
        // Ten accounts, of which a stranger has none.
        (
            json!({"StringLike": {"aws:PrincipalAccount": "22222222222?"}}),
            "aws:PrincipalAccount",
        ),
        (
            json!({"ForAnyValue:StringEqualsIfExists": {"aws:PrincipalOrgPaths": "o-1234567890/"}}),
            "aws:PrincipalOrgPaths",
        ),
        (json!({"NewOperator": {"new:Key": 7}}), "new:Key"),
    ] {
        let text = format!("nobody knows whom (by conditions on {key})");
        check(&json!("*"), &json!({"Condition": condition}), &[&text], &[&text]);
        let found = told(
            &document(&[statement(&json!("*"), &json!({"Condition": condition}))]),
            None,
        );
        assert!(!found[0].only, "{condition}");
    }
    let text = "nobody knows whom (arn:aws:iam::*:root)";
    check(&json!({"AWS": "arn:aws:iam::*:root"}), &json!({}), &[text], &[text]);
}

#[test]
fn a_service_acts_for_accounts() {
    let lambda = json!({"Service": "lambda.amazonaws.com"});
    let arn = |account: &str| json!({"Condition": {"StringLike": {"aws:sourceARN": format!("arn:aws:lambda:us-east-1:{account}:function:*")}}});
    check(&lambda, &arn("123456789012"), &[], &[]);
    check(&lambda, &arn("222222222222"), &[], &[]);
    check(&lambda, &arn("333333333333"), &["333333333333"], &[]);
    let organization = json!({"Condition": {"StringEquals": {"aws:SourceOrgID": "o-1234567890"}}});
    check(&lambda, &organization, &["organization o-1234567890"], &[]);
}

#[test]
fn what_is_denied_is_not_let_in() {
    let allow = statement(&json!("*"), &json!({"Sid": "all"}));
    let deny = |more: &Value| {
        let mut denial = statement(&json!("*"), &json!({"Effect": "Deny", "Action": "ecr:*"}));
        for (name, value) in more.as_object().unwrap() {
            denial[name] = value.clone();
        }
        denial
    };
    let of = |condition: Value| deny(&json!({"Condition": condition}));
    let mut others = deny(&json!({"NotPrincipal": {"AWS": "333333333333"}}));
    others.as_object_mut().unwrap().remove("Principal");
    for (denials, with_list) in [
        (
            vec![of(json!({"StringNotEquals": {"aws:PrincipalOrgID": "o-1234567890"}}))],
            "organization o-1234567890",
        ),
        (
            vec![of(
                json!({"StringNotEqualsIfExists": {"aws:PrincipalAccount": "123456789012"}}),
            )],
            "",
        ),
        (
            vec![of(
                json!({"StringNotEquals": {"aws:PrincipalAccount": ["123456789012", "333333333333"]}}),
            )],
            "333333333333",
        ),
        (
            vec![of(json!({"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}))],
            "addresses 203.0.113.0/24",
        ),
        (
            vec![of(
                json!({"ForAllValues:StringNotLike": {"aws:PrincipalOrgPaths": "o-1234567890/*"}}),
            )],
            "organization o-1234567890",
        ),
        // Without the key it does not hold, and denies nobody.
        (
            vec![of(
                json!({"ForAnyValue:StringNotLike": {"aws:PrincipalOrgPaths": "o-1234567890/*"}}),
            )],
            "everybody",
        ),
        (
            vec![
                of(json!({"ForAnyValue:StringNotLike": {"aws:PrincipalOrgPaths": "o-1234567890/*"}})),
                of(json!({"Null": {"aws:PrincipalOrgPaths": "true"}})),
            ],
            "organization o-1234567890",
        ),
        // Who is neither in the organization nor in the account is denied.
        (
            vec![of(
                json!({"StringNotEquals": {"aws:PrincipalOrgID": "o-1234567890", "aws:PrincipalAccount": "333333333333"}}),
            )],
            "333333333333, organization o-1234567890",
        ),
        (vec![others], "333333333333"),
        // Everything is denied.
        (vec![deny(&json!({}))], ""),
        // Another action, other people, the other side.
        (vec![deny(&json!({"Action": "ecr:PutImage"}))], "everybody"),
        (vec![deny(&json!({"Principal": {"AWS": "333333333333"}}))], "everybody"),
        (
            vec![of(json!({"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}}))],
            "everybody",
        ),
        // Nobody knows what it denies.
        (
            vec![of(json!({"StringNotEquals": {"aws:PrincipalTag/team": "x"}}))],
            "nobody knows whom (by conditions on aws:PrincipalTag/team)",
        ),
        (
            vec![deny(
                &json!({"Resource": "arn:aws:ecr:us-west-2:123456789012:repository/x", "Condition": {"Bool": {"aws:SecureTransport": "true"}}}),
            )],
            "nobody knows whom (by conditions on aws:SecureTransport)",
        ),
    ] {
        let document = document(&[std::slice::from_ref(&allow), denials.as_slice()].concat());
        let found = told(&document, Some(&known()));
        let to: Vec<String> = found.iter().flat_map(|e| &e.to).map(ToString::to_string).collect();
        assert_eq!(to.join(", "), with_list, "{document}");
        assert!(found.iter().all(|e| e.only == (with_list == "everybody")), "{document}");
    }
}

#[test]
fn a_statement_is_open_for_some_actions_only() {
    let allow = statement(
        &json!("*"),
        &json!({"Sid": "all", "Action": ["ecr:BatchGetImage", "ecr:PutImage"]}),
    );
    let deny = statement(
        &json!("*"),
        &json!({"Effect": "Deny", "Action": "ecr:Put*", "Condition": {"StringNotEquals": {"aws:PrincipalOrgID": "o-1234567890"}}}),
    );
    let found = told(&document(&[allow, deny]), None);
    assert_eq!(found[0].to, [Reach::Everybody].into());
    assert!(!found[0].only, "the organization may push by it");
}

/// Without a list of organizations, any may be let in as long as any account may.
#[test]
fn organizations_may_be_known() {
    let document = document(&[statement(
        &json!("*"),
        &json!({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}}}),
    )]);
    let accounts = known();
    let told = |accounts, organization: Option<&str>| {
        let organizations = organization.map(|id| BTreeSet::from([id.to_owned()]));
        let own = own();
        let known = KnownPrincipals {
            own: &own,
            accounts,
            organizations: organizations.as_ref(),
        };
        exposures(&document, &known).unwrap().len()
    };
    assert_eq!(told(None, None), 0);
    assert_eq!(told(Some(&accounts), None), 1);
    assert_eq!(told(Some(&accounts), Some("o-1234567890")), 0);
    assert_eq!(told(None, Some("o-0987654321")), 1);
}

/// Only a statement that is surely open to everybody, and names nobody else, may be taken out.
#[test]
fn a_statement_that_also_lets_in_whom_we_know_is_not_only_exposure() {
    let of = |principal: Value| statement(&principal, &json!({}));
    let document = document(&[
        of(json!({"AWS": ["222222222222", "333333333333"]})),
        of(json!({"AWS": "333333333333"})),
        of(json!({"AWS": ["*", "222222222222"]})),
        of(json!("*")),
    ]);
    let found = told(&document, Some(&known()));
    let shown: Vec<_> = found.iter().map(|e| (e.name.as_str(), e.only)).collect();
    assert_eq!(
        shown,
        [
            ("statement 0", false),
            ("statement 1", false),
            ("statement 2", false),
            ("statement 3", true)
        ]
    );
}

#[test]
fn what_cannot_be_read_is_not_taken_for_harmless() {
    let own = own();
    let known = KnownPrincipals {
        own: &own,
        accounts: None,
        organizations: None,
    };
    for text in ["", "{}", "[]", r#"{"Statement": 7}"#] {
        assert!(exposures(text, &known).is_err(), "{text}");
    }
    // One that cannot be read does not hide the others, and what it denies is not known.
    for odd in [
        "7",
        r#"{"Principal": "*"}"#,
        r#"{"Effect": "Allow"}"#,
        r#"{"Effect": "Forbid", "Principal": "*"}"#,
        r#"{"Effect": "Allow", "Principal": "*", "Condition": []}"#,
        r#"{"Effect": "Deny", "Principal": "*", "Condition": {"StringEquals": 7}}"#,
    ] {
        let text = format!(r#"{{"Statement": [{odd}, {{"Effect": "Allow", "Principal": "*"}}]}}"#);
        let found = told(&text, None);
        assert_eq!(found.len(), 2, "{text}");
        assert!(
            found
                .iter()
                .all(|e| !e.only && matches!(e.to.first(), Some(Reach::Unknown(_)))),
            "{text}"
        );
    }
    let single = r#"{"Statement": {"Effect": "Allow", "Principal": "*"}}"#;
    assert_eq!(told(single, None).len(), 1, "a statement without a list");
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
        let own = own();
        let _ = exposures(&text, &KnownPrincipals { own: &own, accounts: None, organizations: None });
        let _ = without(&text, &[0].into());
    }
}

#[test]
fn who_lets_lambda_pull() {
    let document = |statements: &str| format!(r#"{{"Statement": [{statements}]}}"#);
    let service = r#""Principal": {"Service": "lambda.amazonaws.com"}"#;
    let pull = r#""Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]"#;
    let allow = format!(r#"{{"Effect": "Allow", {service}, {pull}}}"#);
    for (statements, expected) in [
        (allow.clone(), LambdaAccess::Yes),
        (
            format!(r#"{{"Effect": "Allow", {service}, "Action": "ecr:*"}}"#),
            LambdaAccess::Yes,
        ),
        (
            format!(r#"{{"Effect": "Allow", {service}, "Action": "ecr:BatchGetImage"}}"#),
            LambdaAccess::Yes,
        ),
        (
            format!(r#"{{"Effect": "Allow", {service}, "NotAction": "ecr:PutImage"}}"#),
            LambdaAccess::Yes,
        ),
        // Which functions there are is not known.
        (
            format!(
                r#"{{"Effect": "Allow", {service}, {pull}, "Condition": {{"StringEquals": {{"aws:SourceAccount": "444455556666"}}}}}}"#
            ),
            LambdaAccess::Yes,
        ),
        (
            format!(r#"{{"Effect": "Allow", "Principal": "*", {pull}}}"#),
            LambdaAccess::Yes,
        ),
        (
            format!(r#"{{"Effect": "Allow", "NotPrincipal": {{"AWS": "444455556666"}}, {pull}}}"#),
            LambdaAccess::Yes,
        ),
        // A service is in no organization by its own.
        (
            format!(
                r#"{{"Effect": "Allow", "Principal": "*", {pull}, "Condition": {{"StringEquals": {{"aws:PrincipalOrgID": "o-ours000000"}}}}}}"#
            ),
            LambdaAccess::No,
        ),
        (
            format!(r#"{{"Effect": "Allow", {service}, "Action": "ecr:PutImage"}}"#),
            LambdaAccess::No,
        ),
        (
            format!(r#"{{"Effect": "Allow", "Principal": {{"AWS": "444455556666"}}, {pull}}}"#),
            LambdaAccess::No,
        ),
        (
            format!(r#"{{"Effect": "Allow", "Principal": {{"Service": "codebuild.amazonaws.com"}}, {pull}}}"#),
            LambdaAccess::No,
        ),
        (
            format!(r#"{allow}, {{"Effect": "Deny", {service}, "Action": "ecr:*"}}"#),
            LambdaAccess::No,
        ),
        // It need not hold.
        (
            format!(
                r#"{allow}, {{"Effect": "Deny", {service}, "Action": "ecr:*", "Condition": {{"StringEquals": {{"aws:SourceAccount": "444455556666"}}}}}}"#
            ),
            LambdaAccess::Yes,
        ),
        (String::new(), LambdaAccess::No),
    ] {
        assert_eq!(lambda_may_pull(Some(&document(&statements))), expected, "{statements}");
    }
    assert_eq!(lambda_may_pull(None), LambdaAccess::No);
    let odd = r#"{"Effect": "Perhaps"}"#;
    assert!(matches!(
        lambda_may_pull(Some(&document(odd))),
        LambdaAccess::Unknown(_)
    ));
    assert_eq!(
        lambda_may_pull(Some(&document(&format!("{odd}, {allow}")))),
        LambdaAccess::Yes
    );
    assert!(matches!(lambda_may_pull(Some("nothing")), LambdaAccess::Unknown(_)));
}

#[test]
fn how_bad_it_is_to_let_somebody_in() {
    for (reach, severity) in [
        (Reach::Everybody, Some(Severity::High)),
        (Reach::Unknown("x".to_owned()), Some(Severity::Medium)),
        (Reach::Account(own()), None),
        (Reach::Organization("o-1234567890".to_owned()), None),
        (Reach::Network("vpc-1".to_owned()), None),
        (Reach::Someone("x".to_owned()), None),
        (Reach::Service("lambda.amazonaws.com".to_owned()), None),
    ] {
        assert_eq!(reach.severity(), severity, "{reach}");
    }
}

#[test]
fn a_statement_for_some_resources_may_be_for_this_repository() {
    let unknown = ["nobody knows whom (by conditions on )"];
    let all = json!("*");
    for (members, to) in [
        (json!({"Resource": "*"}), ["everybody"]),
        (
            json!({"Resource": ["arn:aws:ecr:us-west-2:123456789012:repository/a", "*"]}),
            ["everybody"],
        ),
        (
            json!({"Resource": "arn:aws:ecr:us-west-2:123456789012:repository/a"}),
            unknown,
        ),
        (
            json!({"NotResource": "arn:aws:ecr:us-west-2:123456789012:repository/a"}),
            unknown,
        ),
    ] {
        check(&all, &members, &to, &to);
    }
    let allow = statement(&all, &json!({}));
    let to = |members: Value| {
        let mut denial = statement(&all, &json!({"Effect": "Deny"}));
        denial
            .as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        let told = told(&document(&[allow.clone(), denial]), None);
        told.iter()
            .flat_map(|exposure| &exposure.to)
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(to(json!({"Resource": "*"})), [""; 0]);
    assert_eq!(
        to(json!({"Resource": "arn:aws:ecr:us-west-2:123456789012:repository/a"})),
        unknown
    );
    assert_eq!(
        to(json!({"NotResource": "arn:aws:ecr:us-west-2:123456789012:repository/a"})),
        unknown
    );
}

#[test]
fn a_statement_is_named_by_its_sid_or_its_place() {
    for (more, name) in [
        (json!({}), "statement 0"),
        (json!({"Sid": ""}), "statement 0"),
        (json!({"Sid": "Pull"}), "Pull"),
    ] {
        assert_eq!(told(&document(&[statement(&json!("*"), &more)]), None)[0].name, name);
    }
}

#[test]
fn an_action_that_is_new_counts_and_one_that_is_left_out_does_not() {
    let everybody = ["everybody"];
    let all = json!("*");
    check(&all, &json!({"Action": "ecr:SomethingNew"}), &everybody, &everybody);
    let mut but = statement(&all, &json!({"NotAction": ["ecr:*", "new:action"]}));
    but.as_object_mut().unwrap().remove("Action");
    assert_eq!(told(&document(&[but]), None), []);
}

#[test]
fn who_is_named_by_a_text_that_is_no_account() {
    let none = json!({});
    for (who, to) in [
        ("AIDACKCEVSQ6C2EXAMPLE", "AIDACKCEVSQ6C2EXAMPLE"),
        ("AIDA-X", "nobody knows whom (AIDA-X)"),
        ("xyz", "nobody knows whom (xyz)"),
    ] {
        let without = (who != to).then_some(to);
        check(&json!({"AWS": who}), &none, &[to], without.as_slice());
    }
}

/// Each denial multiplies the ways not to be denied; 64 of them are followed.
#[test]
fn denials_are_followed_up_to_a_number_of_ways() {
    let reach = |ways: usize| {
        let tags: serde_json::Map<String, Value> = (0..ways)
            .map(|n| (format!("aws:PrincipalTag/k{n}"), json!("x")))
            .collect();
        let open = statement(
            &json!("*"),
            &json!({"Effect": "Deny", "Condition": {"StringEquals": tags}}),
        );
        let bound = statement(
            &json!("*"),
            &json!({"Effect": "Deny", "Condition": {
                "StringNotEquals": {"aws:PrincipalAccount": "333333333333"},
                "ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::333333333333:*"},
            }}),
        );
        let allow = statement(&json!("*"), &json!({}));
        let told = told(&document(&[allow, open, bound]), Some(&known()));
        told[0].to.clone()
    };
    let account: BTreeSet<Reach> = [Reach::Account("333333333333".parse().unwrap())].into();
    for (ways, bound) in [(1, true), (31, true), (32, true), (33, false), (40, false)] {
        assert_eq!(reach(ways) == account, bound, "{ways}: {:?}", reach(ways));
    }
}

/// With a list of known accounts, to whom statements expose together.
#[test]
fn strangers_are_let_in_past_what_is_denied() {
    let denied = |condition: Value| {
        let denial = statement(&json!("*"), &json!({"Effect": "Deny", "Condition": condition}));
        let told = told(&document(&[statement(&json!("*"), &json!({})), denial]), Some(&known()));
        let to: Vec<String> = told
            .iter()
            .flat_map(|exposure| &exposure.to)
            .map(ToString::to_string)
            .collect();
        to.join(" ")
    };
    for (condition, to) in [
        // Only services are not denied.
        (json!({"Bool": {"aws:PrincipalIsAWSService": "false"}}), ""),
        // Others than this account are not.
        (
            json!({"StringEqualsIfExists": {"aws:PrincipalAccount": "333333333333"}}),
            "everybody",
        ),
        // The accounts that strangers are tried with may be named.
        (
            json!({"StringEquals": {"aws:PrincipalAccount": "444455556666"}}),
            "everybody",
        ),
        (
            json!({"StringEquals": {"aws:PrincipalAccount": ["444455556666", "777788889999"]}}),
            "everybody",
        ),
    ] {
        assert_eq!(denied(condition.clone()), to, "{condition}");
    }
}

#[test]
fn strangers_choose_an_account_that_a_pattern_takes() {
    let open = ["everybody"];
    let unknown = ["nobody knows whom (by conditions on aws:PrincipalAccount)"];
    for (condition, to) in [
        (json!({"StringLike": {"aws:PrincipalAccount": "2222*"}}), open),
        (json!({"StringLike": {"aws:PrincipalAccount": "22222*"}}), unknown),
        (json!({"StringLike": {"aws:PrincipalAccount": "2???????????"}}), open),
        (
            json!({"StringLike": {"aws:PrincipalAccount": "2*?"}, "StringLikeIfExists": {"aws:PrincipalAccount": "????????????"}}),
            open,
        ),
        // Numbers are not compared, and need not be there.
        (
            json!({"StringEqualsIfExists": {"aws:PrincipalAccount": "333333333333"}, "NumericEquals": {"aws:PrincipalAccount": "333333333333"}}),
            unknown,
        ),
        (
            json!({"StringEquals": {"aws:PrincipalAccount": "${aws:ResourceOrgID}"}}),
            unknown,
        ),
    ] {
        check(&json!("*"), &json!({"Condition": condition}), &to, &to);
    }
}
