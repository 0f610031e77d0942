//! Conditions of a statement: what they ask of a request, and to whom they bind a statement.
//!
//! Rules are those of the IAM user guide: "JSON policy elements: Condition operators", "Set operators for multivalued context keys",
//! "AWS global condition context keys".

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde_json::Value;

use crate::{ids::AccountId, text};

/// More addresses than this are nobody's network: one IPv4 block `/8` (2^24), one IPv6 block `/16` (2^112). No registry gives larger ones to
/// one owner nowadays.
const WIDEST_V4: u128 = 1 << 24;
const WIDEST_V6: u128 = 1 << 112;

/// Whom a condition binds a statement to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// An account, or a service that acts for it.
    Account(AccountId),
    /// The accounts of an organization, by its id.
    Organization(String),
    /// One principal or resource whose account is not said.
    Someone(String),
    /// Every caller from there.
    Network(String),
    /// AWS services, or one by its name.
    Service(String),
}

/// How closely a key names the caller: among several bounds, the first is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// The account of the principal.
    Principal,
    /// One principal.
    Someone,
    /// The organization of the principal.
    Organization,
    /// The account that a service acts for.
    Source,
    /// Its organization.
    SourceOrganization,
    /// The account or organization of the VPC endpoint that the call came through.
    Endpoint,
    /// The network.
    Network,
    /// A service.
    Service,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    One,
    ForAllValues,
    ForAnyValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Equals,
    EqualsIgnoreCase,
    Like,
    Arn,
    Address,
    Bool,
    Null,
    /// Numbers, dates, binary data, and operators that are new.
    Other,
}

/// One key under one operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Test {
    /// The key in lower case: keys are compared without regard to case.
    key: String,
    /// The key as it is written.
    written: String,
    quantifier: Quantifier,
    compare: Compare,
    negated: bool,
    if_exists: bool,
    /// `None`: they are not texts.
    values: Option<Vec<String>>,
}

/// The tests of a condition: all of them must hold.
pub(super) fn tests(condition: Option<&Value>) -> Result<Vec<Test>, &'static str> {
    let operators = match condition {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(operators)) => operators,
        Some(_) => return Err("its condition is no object"),
    };
    let mut found = Vec::new();
    for (operator, keys) in operators {
        let Value::Object(keys) = keys else {
            return Err("an operator of its condition holds no keys");
        };
        found.extend(keys.iter().map(|(key, values)| Test::new(operator, key, values)));
    }
    Ok(found)
}

impl Test {
    fn new(operator: &str, key: &str, values: &Value) -> Self {
        let operator = operator.to_ascii_lowercase();
        let (quantifier, operator) = match operator.split_once(':') {
            Some(("forallvalues", rest)) => (Quantifier::ForAllValues, rest),
            Some(("foranyvalue", rest)) => (Quantifier::ForAnyValue, rest),
            Some(_) | None => (Quantifier::One, operator.as_str()),
        };
        let (operator, if_exists) = match operator.strip_suffix("ifexists") {
            Some(rest) => (rest, true),
            None => (operator, false),
        };
        let (compare, negated) = match operator {
            "stringequals" => (Compare::Equals, false),
            "stringnotequals" => (Compare::Equals, true),
            "stringequalsignorecase" => (Compare::EqualsIgnoreCase, false),
            "stringnotequalsignorecase" => (Compare::EqualsIgnoreCase, true),
            "stringlike" => (Compare::Like, false),
            "stringnotlike" => (Compare::Like, true),
            // Both take wildcards.
            "arnequals" | "arnlike" => (Compare::Arn, false),
            "arnnotequals" | "arnnotlike" => (Compare::Arn, true),
            "ipaddress" => (Compare::Address, false),
            "notipaddress" => (Compare::Address, true),
            "bool" => (Compare::Bool, false),
            "null" => (Compare::Null, false),
            _ => (Compare::Other, false),
        };
        Self {
            key: key.to_ascii_lowercase(),
            written: text::line(key, 60),
            quantifier,
            compare,
            negated,
            if_exists,
            values: texts(values),
        }
    }

    /// The key as it is written.
    pub(super) fn written(&self) -> &str {
        &self.written
    }

    /// The texts that it compares with, if they are compared with this key.
    pub(super) fn values_of(&self, key: &str) -> impl Iterator<Item = &str> {
        let values = self.values.iter().filter(move |_| self.key == key);
        values.flatten().map(String::as_str)
    }

    /// Whether `Null` asks for the key to be absent; of another operator, that means nothing.
    fn null(&self) -> Option<bool> {
        match self.values.as_deref() {
            Some([value]) => word(value),
            _ => None,
        }
    }

    /// Whether it holds for a request; `None`: unknown.
    pub(super) fn holds(&self, request: &AccessRequest) -> Option<bool> {
        let known = request.get(&self.key)?;
        if self.compare == Compare::Null {
            return Some(known.is_empty() == self.null()?);
        }
        let wanted = self.values.as_ref().filter(|wanted| !wanted.is_empty())?;
        if known.is_empty() {
            return match (self.quantifier, self.if_exists) {
                (Quantifier::ForAllValues, _) => Some(true),
                (Quantifier::ForAnyValue, false) => Some(false),
                // Not documented.
                (Quantifier::ForAnyValue, true) => None,
                (Quantifier::One, true) => Some(true),
                (Quantifier::One, false) => Some(self.negated),
            };
        }
        let each = known
            .iter()
            .map(|value| self.matches(wanted, value).map(|matches| matches != self.negated));
        match self.quantifier {
            Quantifier::ForAnyValue => any(each),
            // A key that has one value, or all of several.
            Quantifier::One | Quantifier::ForAllValues => {
                any(each.map(|holds| holds.map(|holds| !holds))).map(|not| !not)
            }
        }
    }

    /// Whether one of the values that are wanted is this one.
    fn matches(&self, wanted: &[String], value: &str) -> Option<bool> {
        if self.compare == Compare::Address {
            let (four, six) = Addresses::of(wanted)?;
            let family = match value.parse().ok()? {
                IpAddr::V4(_) => four,
                IpAddr::V6(_) => six,
            };
            // Anybody's address is in all of them, and in none of none. In between, that depends on whose it is.
            return if family.is_all {
                Some(true)
            } else {
                (family.count == 0).then_some(false)
            };
        }
        any(wanted.iter().map(|wanted| {
            // A variable stands for what is not known here.
            if wanted.contains("${") {
                return None;
            }
            match self.compare {
                Compare::Equals => Some(wanted == value),
                Compare::EqualsIgnoreCase => Some(wanted.eq_ignore_ascii_case(value)),
                Compare::Bool => Some(word(wanted)? == word(value)?),
                Compare::Like => Some(like(wanted, value)),
                Compare::Arn => Some(arn_like(wanted, value)),
                Compare::Address | Compare::Null | Compare::Other => None,
            }
        }))
    }

    /// Whether the key must be in the request for it to hold; with `not`, for it not to hold.
    fn asks_for_presence(&self, not: bool) -> bool {
        match self.compare {
            Compare::Null => self.null() == Some(not),
            Compare::Other => false,
            _ if not => match self.quantifier {
                Quantifier::One => self.negated || self.if_exists,
                Quantifier::ForAllValues => true,
                Quantifier::ForAnyValue => false,
            },
            _ => match self.quantifier {
                Quantifier::One => !self.negated && !self.if_exists,
                Quantifier::ForAllValues => false,
                Quantifier::ForAnyValue => !self.if_exists,
            },
        }
    }

    /// Whom it binds a statement to: nobody else can meet it; with `not`, nobody else can fail to meet it. `None`: no bound is known.
    fn bound(&self, not: bool, present: bool, own: &AccountId) -> Option<(Side, BTreeSet<Who>)> {
        // `Bool` has no negation: what is not false is true.
        let flag = self.compare == Compare::Bool && not;
        if self.negated != not && !flag {
            return None;
        }
        // It is in every request that is signed (IAM user guide, "AWS global condition context keys"), and ECR takes no other.
        let present = present || self.key == IS_SERVICE;
        if !present && !self.asks_for_presence(not) {
            return None;
        }
        // A request with several values may have one that is wanted and another that is not.
        let some_value_is_enough = match (self.quantifier, not) {
            (Quantifier::One, _) | (Quantifier::ForAnyValue, false) | (Quantifier::ForAllValues, true) => true,
            // All values are among those wanted, and there is one.
            (Quantifier::ForAllValues, false) | (Quantifier::ForAnyValue, true) => present,
        };
        let wanted = self.values.as_ref().filter(|wanted| !wanted.is_empty())?;
        if !some_value_is_enough {
            return None;
        }
        let side = side(&self.key)?;
        if self.key == "aws:sourceip" {
            let (four, six) = Addresses::of(wanted).filter(|_| self.compare == Compare::Address)?;
            let narrow = four.count <= WIDEST_V4 && six.count <= WIDEST_V6;
            let name = Who::Network(format!("addresses {}", text::line(&wanted.join(", "), 120)));
            return narrow.then(|| (side, BTreeSet::from([name])));
        }
        if self.compare == Compare::Bool {
            let wanted = word(wanted.first().filter(|_| wanted.len() == 1)?)?;
            let service = self.key == IS_SERVICE && wanted != not;
            return service.then(|| (side, BTreeSet::from([Who::Service("AWS services".to_owned())])));
        }
        let mut to = BTreeSet::new();
        for value in wanted {
            to.extend(self.one(value, own)?);
        }
        Some((side, to))
    }

    /// Whom one value means: `Some(None)`: nobody, `None`: nobody knows.
    fn one(&self, value: &str, own: &AccountId) -> Option<Option<Who>> {
        let (prefix, wild) = match self.compare {
            Compare::Equals | Compare::EqualsIgnoreCase => (value, false),
            Compare::Like | Compare::Arn => {
                let prefix = value.split(['*', '?']).next().unwrap_or_default();
                (prefix, prefix.len() < value.len())
            }
            Compare::Address | Compare::Bool | Compare::Null | Compare::Other => return None,
        };
        let account = |text: &str| text.parse::<AccountId>().ok().map(Who::Account);
        if value.contains("${") {
            return match (self.key.as_str(), value) {
                (_, "${aws:ResourceAccount}") if self.key.ends_with("account") => Some(Some(Who::Account(own.clone()))),
                (_, "${aws:ResourceOrgID}") if self.key.ends_with("orgid") => {
                    Some(Some(Who::Organization(value.to_owned())))
                }
                _ => None,
            };
        }
        if !wild && value.contains(['*', '?']) {
            // Without a wildcard's operator, `*` is a character like any other, and none of these has it.
            return Some(None);
        }
        match self.key.as_str() {
            "aws:principalaccount" | "aws:sourceaccount" | "aws:vpceaccount" => {
                if wild {
                    None
                } else {
                    Some(account(value))
                }
            }
            "aws:principalarn" | "aws:sourcearn" | "aws:sourcevpcarn" => self.arn(value, prefix, wild),
            "aws:principalorgid" | "aws:sourceorgid" | "aws:vpceorgid" => {
                let id = value.to_ascii_lowercase();
                (!wild && id.starts_with("o-")).then_some(Some(Who::Organization(id)))
            }
            "aws:principalorgpaths" | "aws:sourceorgpaths" | "aws:vpceorgpaths" => {
                let (organization, _) = prefix.split_once('/')?;
                organization
                    .starts_with("o-")
                    .then(|| Some(Who::Organization(organization.to_owned())))
            }
            "aws:userid" => {
                // `AROA…:*`: the id of a role, and any session of it. The root user's is that of the account.
                let (id, rest) = value.split_once(':').unwrap_or((value, ""));
                if !id.contains(['*', '?']) && id.len() == 12 && rest.is_empty() {
                    return account(id).map(Some);
                }
                let is_id = id.len() >= 16 && id.starts_with('A') && id.bytes().all(|b| b.is_ascii_alphanumeric());
                is_id.then(|| Some(Who::Someone(text::line(id, 60))))
            }
            "aws:sourcevpc" => (!wild && value.starts_with("vpc-")).then(|| Some(Who::Network(text::line(value, 60)))),
            "aws:sourcevpce" => {
                (!wild && value.starts_with("vpce-")).then(|| Some(Who::Network(text::line(value, 60))))
            }
            "aws:principalservicename" | "aws:principalservicenameslist" => {
                (!wild).then(|| Some(Who::Service(text::line(value, 60))))
            }
            _ => None,
        }
    }

    /// The account in an ARN. `ArnLike` compares the six parts one by one; for `StringLike`, a `*` may stand for several of them, so that
    /// the account counts only if it stands before the first one.
    fn arn(&self, value: &str, prefix: &str, wild: bool) -> Option<Option<Who>> {
        let parts: Vec<&str> = value.splitn(6, ':').collect();
        let [_, _, _, _, account, _] = parts.as_slice() else {
            // No ARN is like it, if it is not a pattern that is shorter.
            return if wild { None } else { Some(None) };
        };
        if self.compare == Compare::Like && wild && prefix.splitn(6, ':').count() < 6 {
            return None;
        }
        match account.parse() {
            Ok(account) => Some(Some(Who::Account(account))),
            // The ARN of a bucket names no account.
            Err(_) if account.is_empty() && !wild => Some(Some(Who::Someone(text::line(value, 100)))),
            Err(_) => None,
        }
    }
}

const IS_SERVICE: &str = "aws:principalisawsservice";

fn side(key: &str) -> Option<Side> {
    Some(match key {
        "aws:principalaccount" | "aws:principalarn" => Side::Principal,
        "aws:userid" => Side::Someone,
        "aws:principalorgid" | "aws:principalorgpaths" => Side::Organization,
        "aws:sourceaccount" | "aws:sourcearn" => Side::Source,
        "aws:sourceorgid" | "aws:sourceorgpaths" => Side::SourceOrganization,
        "aws:vpceaccount" | "aws:vpceorgid" | "aws:vpceorgpaths" | "aws:sourcevpcarn" => Side::Endpoint,
        "aws:sourceip" | "aws:sourcevpc" | "aws:sourcevpce" => Side::Network,
        IS_SERVICE | "aws:principalservicename" | "aws:principalservicenameslist" => Side::Service,
        _ => return None,
    })
}

/// The conditions on a request, all together.
#[derive(Debug, Clone)]
pub(super) enum Constraint<'a> {
    /// A test holds.
    Holds(&'a Test),
    /// A test does not hold: that of a Deny.
    Fails(&'a Test),
    /// The principal is one of these: the others of a Deny.
    Among(BTreeSet<Who>),
}

/// To whom constraints bind a statement for `*`: nobody else can meet all of them. `None`: no bound is known.
pub(super) fn bound(constraints: &[Constraint<'_>], own: &AccountId) -> Option<BTreeSet<Who>> {
    let present: BTreeSet<&str> = constraints
        .iter()
        .filter_map(|constraint| match constraint {
            Constraint::Holds(test) => test.asks_for_presence(false).then_some(test.key.as_str()),
            Constraint::Fails(test) => test.asks_for_presence(true).then_some(test.key.as_str()),
            Constraint::Among(_) => None,
        })
        .collect();
    let mut bounds: BTreeMap<Side, BTreeSet<Who>> = BTreeMap::new();
    for constraint in constraints {
        let (test, not) = match constraint {
            Constraint::Holds(test) => (test, false),
            Constraint::Fails(test) => (test, true),
            Constraint::Among(who) => {
                let side = if who.iter().all(|who| matches!(who, Who::Account(_))) {
                    Side::Principal
                } else if who.iter().all(|who| matches!(who, Who::Service(_))) {
                    Side::Service
                } else {
                    Side::Someone
                };
                intersect(&mut bounds, side, who.clone());
                continue;
            }
        };
        if let Some((side, to)) = test.bound(not, present.contains(test.key.as_str()), own) {
            intersect(&mut bounds, side, to);
        }
    }
    if bounds.values().any(BTreeSet::is_empty) {
        return Some(BTreeSet::new());
    }
    bounds.into_values().next()
}

/// Only what says the same thing of the same caller is taken together: accounts with accounts.
fn intersect(bounds: &mut BTreeMap<Side, BTreeSet<Who>>, side: Side, to: BTreeSet<Who>) {
    match bounds.get_mut(&side) {
        None => {
            bounds.insert(side, to);
        }
        Some(known) => {
            let comparable = |who: &Who| matches!(who, Who::Account(_));
            if known.iter().chain(&to).all(comparable) {
                known.retain(|who| to.contains(who));
            } else if to.len() < known.len() {
                *known = to;
            }
        }
    }
}

/// A request, as far as it matters: the values of a key, none where the key is not in it.
#[derive(Debug, Clone, Default)]
pub(super) struct AccessRequest {
    values: BTreeMap<&'static str, Vec<String>>,
    /// Keys of which it is not known whether they are in it.
    unknown: BTreeSet<&'static str>,
}

/// The keys of which a [`AccessRequest`] knows whether they are in it.
const KEYS: [&str; 18] = [
    "aws:principalaccount",
    "aws:principalarn",
    IS_SERVICE,
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:resourceaccount",
    "aws:securetransport",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceip",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:userid",
    "aws:viaawsservice",
];

/// The values that strangers can choose so that tests hold.
struct Choices<'a> {
    tests: &'a [&'a Test],
    document: &'a str,
    own: &'a str,
}

impl<'a> Choices<'a> {
    fn is_unnamed(&self, account: &str) -> bool {
        !self.document.contains(account) && account != self.own
    }

    fn values(&self, keys: &'static [&'static str]) -> impl Iterator<Item = &'a str> {
        let tests = self.tests.iter();
        tests.flat_map(move |test| keys.iter().flat_map(|key| test.values_of(key)))
    }

    fn accounts(&self) -> BTreeSet<String> {
        let unnamed = |account: &String| self.is_unnamed(account);
        let any = STRANGERS.iter().map(|account| (*account).to_owned());
        let in_arns = self.values(&["aws:principalarn", "aws:sourcearn"]);
        let in_arns = in_arns.filter_map(|arn| arn.split(':').nth(4));
        let patterns = self.values(&["aws:principalaccount", "aws:sourceaccount"]);
        let fitting = patterns.chain(in_arns).filter_map(|pattern| filled(pattern, "", 12));
        let any = any.filter(unnamed).take(1);
        any.chain(fitting.filter(unnamed).take(MOST)).collect()
    }

    /// The part behind the account in the ARN of a principal.
    fn tails(&self) -> BTreeSet<String> {
        let last = |arn: &str| {
            let last = arn.rsplit(':').next().unwrap_or_default();
            last.replace('*', "stranger").replace('?', "s")
        };
        let is_name = |tail: &String| tail.starts_with("role/") || tail.starts_with("user/");
        let fitting = self.values(&["aws:principalarn"]).map(last).filter(is_name);
        let any = ["role/stranger", "user/stranger", "root"].map(str::to_owned);
        any.into_iter().chain(fitting.take(MOST)).collect()
    }

    /// `None`: in no organization.
    fn organizations(&self) -> BTreeSet<Option<String>> {
        let ids = self.values(&["aws:principalorgid", "aws:sourceorgid"]);
        let fitting = ids
            .filter_map(|id| filled(id, "o-", 12))
            .filter(|id| self.is_unnamed(id));
        let any = [None, Some("o-stranger00".to_owned())];
        any.into_iter().chain(fitting.map(Some).take(MOST)).collect()
    }
}

fn path_in(organization: &str) -> String {
    format!("{organization}/r-stra/ou-stra-00000000/")
}

impl AccessRequest {
    fn get(&self, key: &str) -> Option<&[String]> {
        let key = KEYS
            .iter()
            .find(|known| **known == key && !self.unknown.contains(*known))?;
        Some(self.values.get(key).map_or(&[], Vec::as_slice))
    }

    fn with(&self, values: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let mut request = self.clone();
        for (key, value) in values {
            request.values.insert(key, vec![value]);
        }
        request
    }

    /// Requests of strangers: accounts that the policy does not name, with names and in organizations and networks that
    /// strangers can choose so that these tests hold. An action that one of them may do, everybody may.
    pub(super) fn strangers(tests: &[&Test], document: &str, own: &AccountId) -> Vec<Self> {
        let choices = Choices {
            tests,
            document,
            own: own.as_str(),
        };
        let base = Self::default().with([
            ("aws:resourceaccount", own.to_string()),
            ("aws:securetransport", "true".to_owned()),
            ("aws:viaawsservice", "false".to_owned()),
        ]);
        let networks = [
            base.with([("aws:sourceip", "198.51.100.7".to_owned())]),
            base.with([("aws:sourceip", "2001:db8::7".to_owned())]),
            base.with([
                ("aws:sourcevpc", "vpc-0123456789abcdef0".to_owned()),
                ("aws:sourcevpce", "vpce-0123456789abcdef0".to_owned()),
            ]),
        ];
        let (organizations, tails) = (choices.organizations(), choices.tails());
        let mut found = Vec::new();
        for account in choices.accounts() {
            for organization in &organizations {
                let organization = organization.as_deref();
                let persons = networks.iter().flat_map(|n| tails.iter().map(move |tail| (n, tail)));
                found.extend(persons.map(|(network, tail)| network.of_person(&account, tail, organization)));
                found.push(base.of_service(&account, organization));
            }
        }
        found
    }

    fn of_person(&self, account: &str, tail: &str, organization: Option<&str>) -> Self {
        let person = self.with([
            (IS_SERVICE, "false".to_owned()),
            ("aws:principalaccount", account.to_owned()),
            ("aws:principalarn", format!("arn:aws:iam::{account}:{tail}")),
            ("aws:userid", "AROASTRANGERSTRANGER0:stranger".to_owned()),
        ]);
        match organization {
            Some(id) => person.with([
                ("aws:principalorgid", id.to_owned()),
                ("aws:principalorgpaths", path_in(id)),
            ]),
            None => person,
        }
    }

    /// A service that acts for somebody.
    fn of_service(&self, account: &str, organization: Option<&str>) -> Self {
        let mut service = self.with([
            (IS_SERVICE, "true".to_owned()),
            ("aws:principalservicename", SERVICE.to_owned()),
            ("aws:principalservicenameslist", SERVICE.to_owned()),
            ("aws:sourceaccount", account.to_owned()),
            (
                "aws:sourcearn",
                format!("arn:aws:lambda:us-west-2:{account}:function:stranger"),
            ),
        ]);
        service.unknown = ["aws:principalaccount", "aws:principalarn", "aws:userid"].into();
        match organization {
            Some(id) => service.with([("aws:sourceorgid", id.to_owned()), ("aws:sourceorgpaths", path_in(id))]),
            None => service,
        }
    }

    /// Lambda pulls an image for a function, of which nothing is known.
    pub(super) fn of_lambda() -> Self {
        let request = Self::default().with([
            (IS_SERVICE, "true".to_owned()),
            ("aws:principalservicename", SERVICE.to_owned()),
            ("aws:principalservicenameslist", SERVICE.to_owned()),
            ("aws:securetransport", "true".to_owned()),
        ]);
        Self {
            // The owner of the function, and the other keys of the request, are not known. Its organization is known: a service
            // has none.
            unknown: KEYS
                .into_iter()
                .filter(|key| !request.values.contains_key(key) && !key.starts_with("aws:principalorg"))
                .collect(),
            ..request
        }
    }

    /// The service that calls, if it is one.
    pub(super) fn service(&self) -> Option<&str> {
        let names = self.values.get("aws:principalservicename")?;
        names.first().map(String::as_str)
    }
}

/// The service that acts for strangers.
const SERVICE: &str = "lambda.amazonaws.com";

/// Accounts of strangers: the first one is taken that the policy does not name.
const STRANGERS: [&str; 3] = ["444455556666", "777788889999", "314159265358"];

/// How many patterns of a kind are tried.
const MOST: usize = 3;

/// A name of `length` characters that a pattern matches, with at most four characters that the pattern gives: strangers can get
/// such a one. With more, few people have one.
fn filled(pattern: &str, prefix: &str, length: usize) -> Option<String> {
    let rest = pattern.strip_prefix(prefix).unwrap_or(pattern);
    let given = rest.chars().filter(|c| !matches!(c, '*' | '?')).count();
    if given > 4
        || !rest.contains(['*', '?'])
        || !rest
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '*' | '?'))
    {
        return None;
    }
    let (before, after) = rest.split_once('*').unwrap_or((rest, ""));
    let (before, after) = (before.replace('?', "4"), after.replace('*', "").replace('?', "4"));
    let room = length.checked_sub(prefix.len() + before.len() + after.len())?;
    Some(format!("{prefix}{before}{}{after}", "4".repeat(room)))
}

/// The addresses of one family.
struct Addresses {
    /// How many there are, up to `u128::MAX`.
    count: u128,
    /// All that there can be.
    is_all: bool,
}

impl Addresses {
    /// The sum of blocks, by family: IPv4, IPv6. `None`: one of them is no block.
    fn of(blocks: &[String]) -> Option<(Self, Self)> {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for block in blocks {
            let (address, bits) = match block.split_once('/') {
                Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
                None => (block.as_str(), None),
            };
            match address.parse().ok()? {
                IpAddr::V4(address) => four.push(range(u32::from(address).into(), bits.unwrap_or(32), 32)?),
                IpAddr::V6(address) => six.push(range(address.into(), bits.unwrap_or(128), 128)?),
            }
        }
        Some((Self::sum(four, u32::MAX.into()), Self::sum(six, u128::MAX)))
    }

    fn sum(mut ranges: Vec<(u128, u128)>, last: u128) -> Self {
        ranges.sort_unstable();
        let (mut count, mut next, mut gap) = (0_u128, Some(0_u128), false);
        for (from, to) in ranges {
            // `None`: the last address is in already.
            let Some(at) = next else { break };
            gap |= from > at;
            if to >= at {
                let from = from.max(at);
                count = count.saturating_add((to - from).saturating_add(1));
                next = to.checked_add(1).filter(|next| *next <= last);
            }
        }
        Self {
            count,
            is_all: !gap && next.is_none(),
        }
    }
}

/// The first and the last address of a block.
fn range(address: u128, bits: u32, width: u32) -> Option<(u128, u128)> {
    let free = width.checked_sub(bits)?;
    // A single address: no shift by all bits has a result.
    let mask = u128::MAX.checked_shr(128 - free).unwrap_or(0);
    Some((address & !mask, address | mask))
}

fn word(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// One text, or a list of them. A number or a truth value may stand without quotes.
fn texts(value: &Value) -> Option<Vec<String>> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match value {
        Value::Array(many) => many.iter().map(one).collect(),
        value => one(value).map(|one| vec![one]),
    }
}

/// True if one is; false if all are; otherwise not known.
pub(super) fn any(each: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut found = Some(false);
    for one in each {
        match one {
            Some(true) => return Some(true),
            Some(false) => {}
            None => found = None,
        }
    }
    found
}

/// Whether a text is like a pattern, in which `*` stands for any characters and `?` for one.
pub(super) fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // The lengths of the beginnings of the text that the pattern so far matches.
    let mut ends: Vec<bool> = (0..=text.len()).map(|n| n == 0).collect();
    for wanted in pattern {
        let mut next = vec![false; ends.len()];
        let mut open = false;
        for (n, slot) in next.iter_mut().enumerate() {
            let before = n.checked_sub(1);
            open |= ends.get(n) == Some(&true);
            *slot = match wanted {
                '*' => open,
                '?' => before.is_some_and(|n| ends.get(n) == Some(&true)),
                c => before.is_some_and(|n| ends.get(n) == Some(&true) && text.get(n) == Some(&c)),
            };
        }
        ends = next;
    }
    ends.last() == Some(&true)
}

/// Whether an ARN is like a pattern: its six parts are compared one by one. A pattern of fewer parts that ends in `*` takes the rest.
fn arn_like(pattern: &str, arn: &str) -> bool {
    let parts: Vec<&str> = pattern.splitn(6, ':').collect();
    if parts.len() < 6 && pattern.ends_with('*') {
        return like(pattern, arn);
    }
    let of: Vec<&str> = arn.splitn(6, ':').collect();
    parts.len() == of.len() && parts.iter().zip(of).all(|(pattern, part)| like(pattern, part))
}

#[cfg(test)]
mod tests;
