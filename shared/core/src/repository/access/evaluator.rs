//! The rules against an evaluator that does not use them: it takes a request and says whether the policy allows it, as the IAM
//! user guide describes it in "Policy evaluation logic", "Condition operators" and "Set operators for multivalued context
//! keys".

use std::{collections::BTreeMap, io::Write as _};

use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};

use super::*;

const OWN: &str = "123456789012";
/// Accounts that no policy here names.
const STRANGERS: [&str; 2] = ["246813579135", "975318642097"];

/// One action for each way in which the statements below can distinguish them.
const ACTIONS: [&str; 4] = [
    "ecr:BatchGetImage",
    "ecr:PutImage",
    "ecr:BatchGetRepositoryScanningConfiguration",
    "ecr:ListImages",
];

#[derive(Debug, Clone)]
struct Asked {
    account: Option<&'static str>,
    service: Option<&'static str>,
    action: &'static str,
    context: BTreeMap<String, Vec<String>>,
}

fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(many) => many.iter().map(|one| one.as_str().unwrap().to_owned()).collect(),
        Value::Bool(one) => vec![one.to_string()],
        one => vec![one.as_str().unwrap().to_owned()],
    }
}

fn is_like(pattern: &str, text: &str) -> bool {
    fn rest(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => rest(&pattern[1..], text) || (!text.is_empty() && rest(pattern, &text[1..])),
            (Some(b'?'), Some(_)) => rest(&pattern[1..], &text[1..]),
            (Some(one), Some(other)) if one == other => rest(&pattern[1..], &text[1..]),
            _ => false,
        }
    }
    rest(pattern.as_bytes(), text.as_bytes())
}

fn is_in(block: &str, address: &str) -> bool {
    let (network, bits) = block.split_once('/').unwrap();
    let binary = |address: &str| match address.parse::<std::net::IpAddr>().unwrap() {
        std::net::IpAddr::V4(v4) => format!("{:032b}", u32::from(v4)),
        std::net::IpAddr::V6(v6) => format!("{:0128b}", u128::from(v6)),
    };
    let (network, address, bits) = (binary(network), binary(address), bits.parse::<usize>().unwrap());
    network.len() == address.len() && network.chars().take(bits).eq(address.chars().take(bits))
}

impl Asked {
    fn is_named(&self, principal: &Value) -> bool {
        let Value::Object(kinds) = principal else {
            return principal == "*";
        };
        kinds.iter().any(|(kind, names)| {
            list(names).iter().any(|name| match kind.as_str() {
                "AWS" => name == "*" || self.account.is_some_and(|account| name.contains(account)),
                "Service" => self.service == Some(name),
                other => panic!("{other}"),
            })
        })
    }

    fn meets(&self, operator: &str, key: &str, wanted: &[String]) -> bool {
        let none = Vec::new();
        let has = self.context.get(&key.to_lowercase()).unwrap_or(&none);
        if operator == "Null" {
            return has.is_empty() == (wanted == ["true"]);
        }
        let one = |operator: &str, value: &String| {
            let (is_not, operator) = match operator.replacen("Not", "", 1) {
                positive if positive == operator => (false, positive),
                positive => (true, positive),
            };
            let matches = |wanted: &String| match operator.as_str() {
                "StringEquals" | "Bool" => wanted == value,
                "StringLike" => is_like(wanted, value),
                "ArnLike" | "ArnEquals" => {
                    let parts = |arn: &str| arn.splitn(6, ':').map(str::to_owned).collect::<Vec<_>>();
                    parts(wanted)
                        .iter()
                        .zip(parts(value))
                        .all(|(pattern, part)| is_like(pattern, &part))
                }
                "IpAddress" => is_in(wanted, value),
                other => panic!("{other}"),
            };
            wanted.iter().any(matches) != is_not
        };
        // "IfExists: if the condition key is not present, evaluate as true."
        let (operator, if_exists) = match operator.strip_suffix("IfExists") {
            Some(operator) => (operator, true),
            None => (operator, false),
        };
        if let Some(operator) = operator.strip_prefix("ForAllValues:") {
            return has.iter().all(|value| one(operator, value));
        }
        if let Some(operator) = operator.strip_prefix("ForAnyValue:") {
            return has.iter().any(|value| one(operator, value));
        }
        match has.first() {
            Some(value) => one(operator, value),
            // "If the key is not present, the values do not match": a negated operator is true then.
            None => if_exists || operator.contains("Not"),
        }
    }

    fn is_met_by(&self, statement: &Value) -> bool {
        let action = list(&statement["Action"])
            .iter()
            .any(|pattern| is_like(pattern, self.action));
        let principal = match (statement.get("Principal"), statement.get("NotPrincipal")) {
            (Some(principal), None) => self.is_named(principal),
            (None, Some(others)) => !self.is_named(others),
            other => panic!("{other:?}"),
        };
        let none = serde_json::Map::new();
        let condition = statement.get("Condition").and_then(Value::as_object).unwrap_or(&none);
        action
            && principal
            && condition.iter().all(|(operator, keys)| {
                keys.as_object()
                    .unwrap()
                    .iter()
                    .all(|(key, values)| self.meets(operator, key, &list(values)))
            })
    }

    /// The statements that allow it, if none denies it.
    fn allowed_by(&self, statements: &[Value]) -> Vec<usize> {
        let applies = |effect: &str| {
            let each = statements.iter().enumerate();
            each.filter(|(_, s)| s["Effect"] == effect && self.is_met_by(s))
                .map(|(n, _)| n)
                .collect::<Vec<_>>()
        };
        if applies("Deny").is_empty() {
            applies("Allow")
        } else {
            Vec::new()
        }
    }

    fn values(&self, key: &str) -> &[String] {
        self.context.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether somebody who may be let in is this one.
    fn is(&self, reach: &Reach) -> bool {
        let has = |keys: &[&str], text: &str| keys.iter().flat_map(|key| self.values(key)).any(|value| value == text);
        match reach {
            Reach::Everybody | Reach::Unknown(_) => true,
            Reach::Account(account) => has(
                &["aws:principalaccount", "aws:sourceaccount", "aws:vpceaccount"],
                account.as_str(),
            ),
            Reach::Organization(id) => has(&["aws:principalorgid", "aws:sourceorgid", "aws:vpceorgid"], id),
            Reach::Network(text) => match text.strip_prefix("addresses ") {
                Some(blocks) => self
                    .values("aws:sourceip")
                    .iter()
                    .any(|ip| blocks.split(", ").any(|block| is_in(block, ip))),
                None => has(&["aws:sourcevpc", "aws:sourcevpce"], text),
            },
            Reach::Someone(id) => self
                .values("aws:userid")
                .iter()
                .any(|user| user.starts_with(id.as_str())),
            Reach::Service(name) => self
                .service
                .is_some_and(|service| name == "AWS services" || name == service),
        }
    }

    fn is_stranger(&self) -> bool {
        let account = ["aws:principalaccount", "aws:sourceaccount"]
            .iter()
            .flat_map(|key| self.values(key))
            .next();
        account.is_some_and(|account| STRANGERS.contains(&account.as_str()))
    }
}

/// Everybody who may ask: people of four kinds of accounts, in organizations and outside, under some names, from some networks, and a service
/// that acts for them.
fn asked() -> Vec<Asked> {
    let of = |pairs: &[(&str, &str)]| -> BTreeMap<String, Vec<String>> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()]))
            .collect()
    };
    let accounts = [OWN, "222222222222", "333333333333", STRANGERS[0], STRANGERS[1]];
    let organizations: [&[Option<&str>]; 5] = [
        &[Some("o-ours000000")],
        &[Some("o-ours000000"), None],
        &[Some("o-theirs0000"), None],
        &[None, Some("o-elsewhere0")],
        &[None, Some("o-faraway000")],
    ];
    let networks = |account: &str| {
        let short: String = account.chars().take(8).collect();
        [
            of(&[("aws:sourceip", "203.0.113.9")]),
            of(&[("aws:sourceip", "198.51.100.7")]),
            of(&[("aws:sourceip", "2001:db8::7")]),
            of(&[
                ("aws:sourcevpc", &format!("vpc-{short}")),
                ("aws:sourcevpce", &format!("vpce-{short}")),
                ("aws:vpceaccount", account),
            ]),
        ]
    };
    let mut found = Vec::new();
    for (account, organizations) in accounts.into_iter().zip(organizations) {
        for organization in organizations {
            let mut callers = Vec::new();
            for network in networks(account) {
                for name in ["role/deploy", "role/x", "user/z"] {
                    let mut context = network.clone();
                    context.extend(of(&[
                        ("aws:principalaccount", account),
                        ("aws:principalarn", &format!("arn:aws:iam::{account}:{name}")),
                        ("aws:principalisawsservice", "false"),
                        ("aws:userid", &format!("AROA{account}ABCDE:session")),
                    ]));
                    if let Some(id) = organization {
                        context.extend(of(&[
                            ("aws:principalorgid", id),
                            ("aws:principalorgpaths", &format!("{id}/r-ab/ou-ab-1/")),
                        ]));
                    }
                    callers.push((Some(account), None, context));
                }
            }
            let mut context = of(&[
                ("aws:principalisawsservice", "true"),
                ("aws:principalservicename", "lambda.amazonaws.com"),
                ("aws:sourceaccount", account),
                (
                    "aws:sourcearn",
                    &format!("arn:aws:lambda:us-west-2:{account}:function:f"),
                ),
            ]);
            if let Some(id) = organization {
                context.extend(of(&[("aws:sourceorgid", id)]));
            }
            callers.push((None, Some("lambda.amazonaws.com"), context));
            for (account, service, mut context) in callers {
                context.extend(of(&[("aws:securetransport", "true"), ("aws:resourceaccount", OWN)]));
                for (action, team) in ACTIONS
                    .map(|action| (action, None))
                    .into_iter()
                    .chain([(ACTIONS[0], Some("x"))])
                {
                    let mut context = context.clone();
                    context.extend(team.map(|team| ("aws:principaltag/team".to_owned(), vec![team.to_owned()])));
                    found.push(Asked {
                        account,
                        service,
                        action,
                        context,
                    });
                }
            }
        }
    }
    found
}

fn condition() -> impl Strategy<Value = Value> {
    let texts: Vec<(&str, Vec<&str>)> = vec![
        ("aws:PrincipalOrgID", vec!["o-ours000000", "o-theirs0000", "o-*"]),
        (
            "aws:PrincipalOrgPaths",
            vec!["o-ours000000/*", "o-theirs0000/r-ab/*", "o-*/r-*/*"],
        ),
        (
            "aws:PrincipalAccount",
            vec![OWN, "222222222222", "333333333333", "2*", "33333333333?"],
        ),
        ("aws:SourceAccount", vec![OWN, "333333333333", "*"]),
        ("aws:SourceVpc", vec!["vpc-22222222", "vpc-*"]),
        ("aws:SourceVpce", vec!["vpce-33333333", "vpce-*"]),
        ("aws:VpceAccount", vec!["333333333333", OWN]),
        ("aws:SourceOrgID", vec!["o-ours000000", "*"]),
        ("aws:userid", vec!["AROA333333333333ABCDE:*", "*"]),
        ("aws:PrincipalTag/team", vec!["x"]),
        ("aws:PrincipalServiceName", vec!["lambda.amazonaws.com", "lambda.*"]),
    ];
    let arns: Vec<(&str, Vec<&str>)> = vec![
        (
            "aws:PrincipalArn",
            vec![
                "arn:aws:iam::333333333333:role/*",
                "arn:*:iam::222222222222:role/x",
                "arn:aws:iam::*:role/x",
                "arn:aws:iam::2*:*",
                "*:role/x",
            ],
        ),
        (
            "aws:SourceArn",
            vec![
                "arn:aws:lambda:*:333333333333:function:*",
                "arn:aws:lambda:us-west-2:*:function:*",
                "arn:*",
            ],
        ),
    ];
    let pick = |table: Vec<(&'static str, Vec<&'static str>)>| {
        prop::sample::select(table).prop_flat_map(|(key, values)| {
            let count = 1..=values.len().min(2);
            (Just(key), prop::sample::subsequence(values, count))
        })
    };
    let quantifier = prop::sample::select(vec!["", "", "ForAllValues:", "ForAnyValue:"]);
    let plain = prop::sample::select(vec![
        "StringEquals",
        "StringLike",
        "StringLike",
        "StringNotEquals",
        "StringNotLike",
    ]);
    let arn = prop::sample::select(vec![
        "ArnLike",
        "ArnEquals",
        "StringLike",
        "ArnNotLike",
        "StringNotLike",
    ]);
    let exists = prop::sample::select(vec!["", "", "", "IfExists"]);
    let blocks = prop::sample::select(vec![
        vec!["203.0.113.0/24"],
        vec!["0.0.0.0/1", "128.0.0.0/1"],
        vec!["0.0.0.0/1"],
        vec!["::/0"],
        vec!["203.0.113.0/24", "2001:db8::/32"],
    ]);
    let with = |operator: String, key: &str, values: Vec<&str>| json!({operator: {key: values}});
    prop_oneof![
        4 => (quantifier.clone(), plain, exists.clone(), pick(texts.clone()))
            .prop_map(move |(q, o, e, (key, values))| with(format!("{q}{o}{e}"), key, values)),
        3 => (quantifier, arn, exists.clone(), pick(arns))
            .prop_map(move |(q, o, e, (key, values))| with(format!("{q}{o}{e}"), key, values)),
        2 => (prop::sample::select(vec!["IpAddress", "NotIpAddress"]), exists, blocks)
            .prop_map(move |(o, e, blocks)| with(format!("{o}{e}"), "aws:SourceIp", blocks)),
        2 => (prop::sample::select(vec!["true", "false"]), pick(texts))
            .prop_map(|(is, (key, _))| json!({"Null": {key: is}})),
        1 => (prop::sample::select(vec!["true", "false"]), prop::sample::select(vec!["aws:PrincipalIsAWSService", "aws:SecureTransport"]))
            .prop_map(|(is, key)| json!({"Bool": {key: is}})),
    ]
}

fn policy() -> impl Strategy<Value = Vec<Value>> {
    let conditions = prop::collection::vec(condition(), 0..=3).prop_map(|conditions| {
        let mut merged = serde_json::Map::new();
        for condition in conditions {
            for (operator, keys) in condition.as_object().unwrap() {
                let slot = merged.entry(operator.clone()).or_insert_with(|| json!({}));
                slot.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
            }
        }
        Value::Object(merged)
    });
    let principal = prop::sample::select(vec![
        json!({"Principal": "*"}),
        json!({"Principal": "*"}),
        json!({"Principal": {"AWS": "*"}}),
        json!({"Principal": {"AWS": ["333333333333", "arn:aws:iam::222222222222:root"]}}),
        json!({"Principal": {"AWS": ["*", "arn:aws:iam::123456789012:root"]}}),
        json!({"Principal": {"Service": "lambda.amazonaws.com"}}),
        json!({"NotPrincipal": {"AWS": ["333333333333"]}}),
        json!({"NotPrincipal": {"AWS": ["arn:aws:iam::123456789012:root"], "Service": "lambda.amazonaws.com"}}),
    ]);
    let action = prop::sample::select(vec![
        json!("ecr:*"),
        json!("ecr:BatchGetImage"),
        json!(["ecr:PutImage", "ecr:BatchGet*"]),
    ]);
    let effect = prop::sample::select(vec!["Allow", "Allow", "Deny"]);
    let statement = (effect, principal, action, conditions).prop_map(|(effect, mut statement, action, condition)| {
        statement["Effect"] = json!(effect);
        statement["Action"] = action;
        if condition.as_object().is_some_and(|condition| !condition.is_empty()) {
            statement["Condition"] = condition;
        }
        statement
    });
    prop::collection::vec(statement, 1..=3)
}

#[derive(Debug, Default)]
struct Figures {
    policies: u64,
    statements: u64,
    requests: u64,
    allowed: u64,
    open: u64,
    unknown: u64,
    bound: u64,
    silent: u64,
}

/// Nobody is let in of whom we do not say so; and what is said to be open to everybody lets in a stranger, so that the repair takes out nothing
/// else.
#[test]
fn what_is_said_of_a_policy_is_what_it_does() {
    let requests = asked();
    let own: AccountId = OWN.parse().unwrap();
    let mut figures = Figures::default();
    // With the usual 256 of a property: 1,000.
    let cases = (ProptestConfig::default().cases * 4).min(1000);
    let mut runner = TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let shared = std::cell::RefCell::new(&mut figures);
    let outcome = runner.run(&policy(), |statements| {
        let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        let reaches = reaches(&document, &own).unwrap();
        let allowed: Vec<Vec<usize>> = requests.iter().map(|request| request.allowed_by(&statements)).collect();
        let mut figures = shared.borrow_mut();
        figures.policies += 1;
        figures.requests += requests.len() as u64;
        figures.allowed += allowed.iter().filter(|by| !by.is_empty()).count() as u64;
        for (index, _, reach) in &reaches {
            figures.statements += 1;
            match reach {
                reach if reach.contains(&Reach::Everybody) => figures.open += 1,
                reach if reach.iter().any(|reach| matches!(reach, Reach::Unknown(_))) => figures.unknown += 1,
                reach if reach.is_empty() => figures.silent += 1,
                _ => figures.bound += 1,
            }
            let let_in: Vec<&Asked> = requests
                .iter()
                .zip(&allowed)
                .filter(|(_, by)| by.contains(index))
                .map(|(request, _)| request)
                .collect();
            for request in &let_in {
                prop_assert!(
                    reach.iter().any(|reach| request.is(reach)),
                    "statement {} lets in {:?}, and we say {:?}: {}",
                    index,
                    request,
                    reach,
                    document
                );
            }
            if reach.contains(&Reach::Everybody) {
                prop_assert!(
                    let_in.iter().any(|request| request.is_stranger()),
                    "statement {} lets in no stranger, and we say everybody: {}",
                    index,
                    document
                );
            }
            if reach.len() == 1 && reach.contains(&Reach::Everybody) {
                // An action that anybody may do, strangers may.
                for action in ACTIONS {
                    let mut doing = let_in.iter().filter(|request| request.action == action).peekable();
                    prop_assert!(
                        doing.peek().is_none() || doing.any(|request| request.is_stranger()),
                        "statement {} is not open to strangers for {}, and would be taken out: {}",
                        index,
                        action,
                        document
                    );
                }
            }
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let Figures {
        policies,
        statements,
        requests,
        allowed,
        open,
        unknown,
        bound,
        silent,
    } = figures;
    // Not by `println!`, which the test harness keeps to itself.
    let _ = writeln!(
        std::io::stderr(),
        "policy evaluator: {policies} policies, {requests} requests ({allowed} allowed); of {statements} statements that allow: {open} open to \
         everybody, {unknown} unknown, {bound} bound, {silent} for nobody"
    );
    let least = u64::from(cases) / 20;
    assert!(open > least && unknown > least && bound > least, "each answer is tried");
}
