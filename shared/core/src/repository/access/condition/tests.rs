use serde_json::json;

use super::*;

fn own() -> AccountId {
    "123456789012".parse().unwrap()
}

fn account(id: &str) -> Who {
    Who::Account(id.parse().unwrap())
}

fn someone(id: &str) -> Who {
    Who::Someone(id.to_owned())
}

fn network(id: &str) -> Who {
    Who::Network(id.to_owned())
}

fn organization(id: &str) -> Who {
    Who::Organization(id.to_owned())
}

/// `None`: nobody knows whom it means.
#[test]
fn whom_one_value_means() {
    let nobody_knows = None;
    let nobody = Some(None);
    let is = |who: Who| Some(Some(who));
    for (operator, key, value, expected) in [
        (
            "StringEquals",
            "aws:PrincipalAccount",
            "333333333333",
            is(account("333333333333")),
        ),
        (
            "StringLike",
            "aws:PrincipalAccount",
            "333333333333",
            is(account("333333333333")),
        ),
        (
            "StringLike",
            "aws:PrincipalAccount",
            "33333333333*",
            nobody_knows.clone(),
        ),
        ("StringEquals", "aws:PrincipalAccount", "33333333333*", nobody.clone()),
        (
            "StringEquals",
            "aws:PrincipalAccount",
            "${aws:ResourceAccount}",
            is(account("123456789012")),
        ),
        (
            "StringEquals",
            "aws:PrincipalOrgID",
            "${aws:ResourceAccount}",
            nobody_knows.clone(),
        ),
        (
            "StringEquals",
            "aws:PrincipalOrgID",
            "${aws:ResourceOrgID}",
            is(organization("${aws:ResourceOrgID}")),
        ),
        (
            "StringEquals",
            "aws:PrincipalAccount",
            "${aws:ResourceOrgID}",
            nobody_knows.clone(),
        ),
        (
            "StringEquals",
            "aws:PrincipalAccount",
            "${aws:username}",
            nobody_knows.clone(),
        ),
        // The root user's id is its account.
        (
            "StringEquals",
            "aws:userid",
            "333333333333",
            is(account("333333333333")),
        ),
        ("StringLike", "aws:userid", "33333333333?", nobody_knows.clone()),
        ("StringEquals", "aws:userid", "333333333333:x", nobody_knows.clone()),
        (
            "StringEquals",
            "aws:userid",
            "AIDACKCEVSQ6C2EXAMPLE",
            is(someone("AIDACKCEVSQ6C2EXAMPLE")),
        ),
        (
            "StringLike",
            "aws:userid",
            "AROA1234567890EXAMPLE:*",
            is(someone("AROA1234567890EXAMPLE")),
        ),
        ("StringLike", "aws:userid", "AROA56789012345:*", nobody_knows.clone()),
        (
            "StringLike",
            "aws:userid",
            "AROA567890123456:*",
            is(someone("AROA567890123456")),
        ),
        ("StringLike", "aws:userid", "XROA567890123456:*", nobody_knows.clone()),
        ("StringLike", "aws:userid", "AROA56789012345-:*", nobody_knows.clone()),
        ("StringLike", "aws:userid", "abc:*", nobody_knows.clone()),
        ("StringEquals", "aws:SourceVpc", "vpc-0a1b", is(network("vpc-0a1b"))),
        ("StringEquals", "aws:SourceVpce", "vpce-0a1b", is(network("vpce-0a1b"))),
        ("StringEquals", "aws:SourceVpce", "0a1b", nobody_knows.clone()),
        ("StringLike", "aws:SourceVpce", "vpce-0a*", nobody_knows.clone()),
        // The ARN of a bucket has no account.
        (
            "ArnEquals",
            "aws:SourceArn",
            "arn:aws:s3:::bucket",
            is(someone("arn:aws:s3:::bucket")),
        ),
        ("ArnLike", "aws:SourceArn", "arn:aws:s3:::bucket*", nobody_knows.clone()),
        (
            "ArnEquals",
            "aws:SourceArn",
            "arn:aws:iam::abc:role/x",
            nobody_knows.clone(),
        ),
        (
            "ArnEquals",
            "aws:SourceArn",
            "arn:aws:iam::333333333333:role/x",
            is(account("333333333333")),
        ),
        (
            "StringLike",
            "aws:SourceArn",
            "arn:aws:iam::333333333333:role/*",
            is(account("333333333333")),
        ),
        (
            "StringLike",
            "aws:SourceArn",
            "arn:aws:*:us-west-2:333333333333:x",
            nobody_knows.clone(),
        ),
        (
            "ArnLike",
            "aws:SourceArn",
            "arn:aws:*:us-west-2:333333333333:x",
            is(account("333333333333")),
        ),
        ("StringEquals", "aws:SourceArn", "bucket", nobody),
        ("StringLike", "aws:SourceArn", "buck*", nobody_knows.clone()),
        ("IpAddress", "aws:SourceIp", "203.0.113.0/24", nobody_knows.clone()),
        ("StringEquals", "aws:PrincipalTag/team", "a", nobody_knows),
    ] {
        let test = Test::new(operator, key, &json!(value));
        assert_eq!(test.one(value, &own()), expected, "{operator} {key} {value}");
    }
}

/// For an Allow, whose test holds, and for a Deny, whose test does not; with the key in the request for sure, and without that.
#[test]
fn whom_a_test_binds_a_statement_to() {
    let bound = |operator: &str, key: &str, value: &str| {
        let test = Test::new(operator, key, &json!(value));
        [(false, false), (false, true), (true, false), (true, true)]
            .map(|(not, present)| test.bound(not, present, &own()).is_some())
    };
    for (operator, key, value, expected) in [
        (
            "StringEquals",
            "aws:PrincipalAccount",
            "333333333333",
            [true, true, false, false],
        ),
        (
            "StringEqualsIfExists",
            "aws:PrincipalAccount",
            "333333333333",
            [false, true, false, false],
        ),
        (
            "StringNotEquals",
            "aws:PrincipalAccount",
            "333333333333",
            [false, false, true, true],
        ),
        (
            "ForAnyValue:StringEquals",
            "aws:PrincipalAccount",
            "333333333333",
            [true, true, false, false],
        ),
        (
            "ForAllValues:StringEquals",
            "aws:PrincipalAccount",
            "333333333333",
            [false, true, false, false],
        ),
        (
            "ForAnyValue:StringNotEquals",
            "aws:PrincipalAccount",
            "333333333333",
            [false, false, false, true],
        ),
        ("Bool", "aws:PrincipalIsAWSService", "true", [true, true, false, false]),
        ("Bool", "aws:PrincipalIsAWSService", "false", [false, false, true, true]),
        // Each request has it.
        (
            "BoolIfExists",
            "aws:PrincipalIsAWSService",
            "true",
            [true, true, false, false],
        ),
        (
            "BoolIfExists",
            "aws:PrincipalIsAWSService",
            "false",
            [false, false, true, true],
        ),
        (
            "ForAllValues:Bool",
            "aws:PrincipalIsAWSService",
            "true",
            [true, true, false, false],
        ),
        ("Bool", "aws:SecureTransport", "false", [false, false, false, false]),
        (
            "NumericEquals",
            "aws:PrincipalAccount",
            "333333333333",
            [false, false, false, false],
        ),
    ] {
        assert_eq!(bound(operator, key, value), expected, "{operator} {key} {value}");
    }
}

/// Whether the key is in each request for which a test holds, and in each for which it does not.
#[test]
fn which_tests_ask_for_their_key() {
    for (operator, value, expected) in [
        ("StringEquals", "x", [true, false]),
        ("StringNotEquals", "x", [false, true]),
        ("StringEqualsIfExists", "x", [false, true]),
        ("ForAllValues:StringEquals", "x", [false, true]),
        ("ForAnyValue:StringEquals", "x", [true, false]),
        ("ForAnyValue:StringEqualsIfExists", "x", [false, false]),
        ("Null", "false", [true, false]),
        ("Null", "true", [false, true]),
        ("Null", "perhaps", [false, false]),
        ("NumericEquals", "1", [false, false]),
        ("NumericEqualsIfExists", "1", [false, false]),
    ] {
        let test = Test::new(operator, "aws:PrincipalAccount", &json!(value));
        assert_eq!(
            [false, true].map(|not| test.asks_for_presence(not)),
            expected,
            "{operator} {value}"
        );
    }
}

#[test]
fn whether_an_address_is_in_blocks() {
    let both = ["203.0.113.0/24", "2001:db8::/32"];
    for (blocks, address, expected) in [
        (&["0.0.0.0/0"][..], "198.51.100.7", Some(true)),
        (&["0.0.0.0/0"], "2001:db8::7", Some(false)),
        (&["::/0"], "2001:db8::7", Some(true)),
        (&["::/0"], "198.51.100.7", Some(false)),
        (&both, "198.51.100.7", None),
        (&both, "2001:db8::7", None),
        (&["0.0.0.0/0", "x"], "198.51.100.7", None),
    ] {
        let test = Test::new("IpAddress", "aws:SourceIp", &json!(blocks));
        let wanted: Vec<String> = blocks.iter().map(|block| (*block).to_owned()).collect();
        assert_eq!(test.matches(&wanted, address), expected, "{blocks:?} {address}");
    }
}

#[test]
fn how_many_addresses_blocks_have() {
    let of = |blocks: &[&str]| {
        let blocks: Vec<String> = blocks.iter().map(|block| (*block).to_owned()).collect();
        Addresses::of(&blocks).map(|(four, six)| [(four.count, four.is_all), (six.count, six.is_all)])
    };
    let none = (0, false);
    for (blocks, expected) in [
        (&[][..], Some([none, none])),
        (&["203.0.113.7"], Some([(1, false), none])),
        (&["203.0.113.7/32"], Some([(1, false), none])),
        (&["203.0.113.0/24"], Some([(256, false), none])),
        (&["203.0.113.7/24"], Some([(256, false), none])),
        (&["203.0.113.0/24", "203.0.113.128/25"], Some([(256, false), none])),
        (&["203.0.113.0/24", "203.0.112.0/23"], Some([(512, false), none])),
        (&["1.2.3.4/0"], Some([(1 << 32, true), none])),
        (&["0.0.0.0/1"], Some([(1 << 31, false), none])),
        (&["128.0.0.0/1"], Some([(1 << 31, false), none])),
        (&["64.0.0.0/2", "128.0.0.0/1"], Some([(3 << 30, false), none])),
        (&["0.0.0.0/2", "128.0.0.0/1"], Some([(3 << 30, false), none])),
        (&["0.0.0.0/1", "128.0.0.0/1"], Some([(1 << 32, true), none])),
        (&["2001:db8::1"], Some([none, (1, false)])),
        (&["2001:db8::/112"], Some([none, (1 << 16, false)])),
        (&["::/0"], Some([none, (u128::MAX, true)])),
        (&["::/1", "8000::/1"], Some([none, (u128::MAX, true)])),
        (&["203.0.113.0/33"], None),
        (&["2001:db8::/129"], None),
        (&["203.0.113.0/x"], None),
        (&["203.0.113"], None),
    ] {
        assert_eq!(of(blocks), expected, "{blocks:?}");
    }
}

#[test]
fn a_name_that_a_pattern_takes() {
    for (pattern, prefix, length, expected) in [
        ("2*", "", 4, Some("2444")),
        ("2*?", "", 4, Some("2444")),
        ("*9", "", 4, Some("4449")),
        ("2?9", "", 3, Some("249")),
        ("o-a*b", "o-", 6, Some("o-a44b")),
        ("a*b", "o-", 6, Some("o-a44b")),
        ("o-ab*cd", "o-", 6, Some("o-abcd")),
        ("o-ab*cd", "o-", 5, None),
        ("1234*", "", 6, Some("123444")),
        ("12345*", "", 6, None),
        ("1234", "", 4, None),
        ("a-*", "", 4, None),
    ] {
        let filled = filled(pattern, prefix, length);
        assert_eq!(filled.as_deref(), expected, "{pattern} {prefix} {length}");
    }
}

/// The fewer of two that cannot be compared, and what both have of accounts.
#[test]
fn what_two_bounds_of_one_side_leave() {
    let [a, b, c] = ["o-1111111111", "o-2222222222", "o-3333333333"].map(organization);
    let [x, y, z] = ["111111111111", "222222222222", "333333333333"].map(account);
    for (first, second, left) in [
        (vec![&a, &b], vec![&c], vec![&c]),
        (vec![&c], vec![&a, &b], vec![&c]),
        (vec![&a], vec![&b], vec![&a]),
        (vec![&a, &b], vec![&b, &c], vec![&a, &b]),
        (vec![&x, &y], vec![&y, &z], vec![&y]),
        (vec![&x], vec![&y], vec![]),
        (vec![&x, &a], vec![&y], vec![&y]),
    ] {
        let set = |who: Vec<&Who>| -> BTreeSet<Who> { who.into_iter().cloned().collect() };
        let (first, second, left) = (set(first), set(second), set(left));
        let mut bounds = BTreeMap::new();
        intersect(&mut bounds, Side::Organization, first.clone());
        intersect(&mut bounds, Side::Organization, second.clone());
        assert_eq!(bounds[&Side::Organization], left, "{first:?} {second:?}");
    }
}

#[test]
fn an_arn_is_compared_part_by_part() {
    let function = "arn:aws:lambda:us-east-1:444455556666:function:x";
    let role = "arn:aws:iam::444455556666:role/x";
    for (pattern, arn, expected) in [
        ("arn:aws:lambda:*:*:function:*", function, true),
        // Its fifth part is the account.
        ("arn:aws:lambda:*:function:*", function, false),
        ("arn:aws:lambda:us-east-1:444455556666:*", function, true),
        ("arn:aws:lambda:*", function, true),
        ("arn:aws:lambda:us-east-1", function, false),
        ("arn:aws:iam::444455556666:role/x", role, true),
        ("arn:aws:iam::444455556666:role/y", role, false),
        ("arn:aws", role, false),
        ("arn:aws:iam::444455556666:role/x", "arn:aws", false),
    ] {
        assert_eq!(arn_like(pattern, arn), expected, "{pattern} {arn}");
    }
}

#[test]
fn an_account_is_a_strangers_if_the_policy_does_not_name_it() {
    let own = own();
    let choices = Choices {
        tests: &[],
        document: "{\"AWS\": \"444455556666\"}",
        own: own.as_str(),
    };
    for (account, unnamed) in [("444455556666", false), ("123456789012", false), ("777788889999", true)] {
        assert_eq!(choices.is_unnamed(account), unnamed, "{account}");
    }
    assert_eq!(choices.accounts(), ["777788889999".to_owned()].into());
}
