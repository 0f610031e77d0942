//! Who a repository's policy lets in.
//!
//! The policy is somebody else's document. It is evaluated for exposure only, and where a statement is taken out, everything else of it
//! stays byte for byte.
//!
//! Two questions are asked of a statement that allows something, and both answers are safe. To whom does it bind itself, by its
//! principals and by conditions that nobody else can meet? Where nothing binds it: is there a stranger, not named in the
//! policy, whom it surely lets in? Then it is open to everybody. If neither is so, nobody knows whom it lets in. Both answers
//! take the denials into account. Source: IAM user guide, "Policy evaluation logic".

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use self::condition::{AccessRequest, Constraint, Test, Who, any, bound, like};
use crate::{finding::Severity, ids::AccountId, text};

mod condition;

/// Whom a statement lets in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Every AWS principal whose own account lets it.
    Everybody,
    /// Unknown; why.
    Unknown(String),
    /// An account.
    Account(AccountId),
    /// The accounts of an organization, by its id.
    Organization(String),
    /// Every caller from a network: addresses, a VPC, an endpoint of one.
    Network(String),
    /// One principal whose account is not said: a federation, a canonical user, the id of somebody who was deleted.
    Someone(String),
    /// An AWS service. Without a condition on what it acts for, Lambda writes such a statement itself for functions of the own account (AWS
    /// Knowledge Center, "lambda-ecr-image").
    Service(String),
}

impl Reach {
    /// How bad it is, where it is more than an account that is not known.
    pub fn severity(&self) -> Option<Severity> {
        match self {
            Self::Everybody => Some(Severity::High),
            Self::Unknown(_) => Some(Severity::Medium),
            Self::Account(_) | Self::Organization(_) | Self::Network(_) | Self::Someone(_) | Self::Service(_) => None,
        }
    }
}

impl std::fmt::Display for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Everybody => f.write_str("everybody"),
            Self::Unknown(why) => write!(f, "nobody knows whom ({why})"),
            Self::Account(account) => account.fmt(f),
            Self::Organization(id) => write!(f, "organization {id}"),
            Self::Network(text) | Self::Someone(text) | Self::Service(text) => f.write_str(text),
        }
    }
}

/// A statement that lets in somebody who is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// Its place in the document, from 0.
    pub index: usize,
    /// Its `Sid`, or its place.
    pub name: String,
    /// Whom it lets in, but those who are known.
    pub to: BTreeSet<Reach>,
    /// It is surely open to everybody and names nobody else, so that nothing known is lost with it.
    pub only: bool,
}

/// Who may be let in.
#[derive(Debug, Clone, Copy)]
pub struct KnownPrincipals<'a> {
    /// The repository's own account, which always may.
    pub own: &'a AccountId,
    /// Other accounts; `None`: any, but not the world.
    pub accounts: Option<&'a BTreeSet<AccountId>>,
    /// Organizations, by id; `None`: any, as long as any account may.
    pub organizations: Option<&'a BTreeSet<String>>,
}

impl KnownPrincipals<'_> {
    fn has(&self, reach: &Reach) -> bool {
        match reach {
            Reach::Everybody | Reach::Unknown(_) => false,
            Reach::Account(account) => account == self.own || self.accounts.is_none_or(|known| known.contains(account)),
            Reach::Organization(id) => match self.organizations {
                Some(known) => known.contains(id),
                None => self.accounts.is_none(),
            },
            Reach::Network(_) | Reach::Someone(_) => self.accounts.is_none(),
            Reach::Service(_) => true,
        }
    }
}

/// Whether AWS Lambda may pull images for functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LambdaAccess {
    /// It may not.
    No,
    /// It may, as far as the policy says: whether there is a function is not known.
    Yes,
    /// Unknown; why.
    Unknown(String),
}

/// The actions that Lambda needs to pull an image: both. Somebody who may do one of them counts as let in. Source: Lambda
/// developer guide, "Create a Lambda function using a container image" ("Amazon ECR permissions").
const PULL: [&str; 2] = ["ecr:batchgetimage", "ecr:getdownloadurlforlayer"];

/// Whether a repository's policy lets Lambda pull. Conditions of which nobody knows whether a function meets them are taken to be met, and a Deny
/// counts only if it surely holds. Without a policy, Lambda may not: for functions of the same account as well it needs a statement, which it
/// writes itself where it may (AWS Knowledge Center, "lambda-ecr-image").
pub fn lambda_may_pull(document: Option<&str>) -> LambdaAccess {
    let Some(document) = document else {
        return LambdaAccess::No;
    };
    let raw = match statements(document) {
        Ok((_, raw)) => raw,
        Err(error) => return LambdaAccess::Unknown(error.to_string()),
    };
    let lambda = AccessRequest::of_lambda();
    let mut unreadable = None;
    let mut all = Vec::new();
    for statement in raw {
        match Statement::read(statement) {
            Ok(statement) => all.push(statement),
            Err(problem) => {
                unreadable = Some(format!(
                    "a statement of the repository policy cannot be read: {problem}"
                ))
            }
        }
    }
    let is_let_in = PULL.iter().any(|action| {
        let about: Vec<&Statement> = all.iter().filter(|statement| statement.actions.has(action)).collect();
        let may = |statement: &&Statement| !statement.denies && statement.applies(&lambda) != Some(false);
        let denied = |statement: &&Statement| statement.denies && statement.applies(&lambda) == Some(true);
        about.iter().any(may) && !about.iter().any(denied)
    });
    match unreadable {
        _ if is_let_in => LambdaAccess::Yes,
        Some(problem) => LambdaAccess::Unknown(problem),
        None => LambdaAccess::No,
    }
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
struct Parts {
    #[serde(default, rename = "Sid")]
    sid: Option<String>,
    #[serde(rename = "Effect")]
    effect: String,
    #[serde(default, rename = "Principal")]
    principal: Option<Value>,
    #[serde(default, rename = "NotPrincipal")]
    not_principal: Option<Value>,
    #[serde(default, rename = "Action")]
    action: Option<Value>,
    #[serde(default, rename = "NotAction")]
    not_action: Option<Value>,
    #[serde(default, rename = "Resource")]
    resource: Option<Value>,
    #[serde(default, rename = "NotResource")]
    not_resource: Option<Value>,
    #[serde(default, rename = "Condition")]
    condition: Option<Value>,
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

/// The statements that let in the world, or of which nobody knows whom they let in, or, where accounts are given, somebody who is not
/// among those. The repository's own account and AWS services are always known.
///
/// # Errors
/// The document is not one that we can read. One statement that cannot be read is an exposure, and does not spoil the others.
pub fn exposures(document: &str, known: &KnownPrincipals<'_>) -> Result<Vec<Exposure>, UnreadablePolicy> {
    let mut found = Vec::new();
    for (index, name, reach) in reaches(document, known.own)? {
        let only = reach.len() == 1 && reach.contains(&Reach::Everybody);
        let to: BTreeSet<Reach> = reach.into_iter().filter(|reach| !known.has(reach)).collect();
        if !to.is_empty() {
            found.push(Exposure { index, name, to, only });
        }
    }
    Ok(found)
}

/// Whom each statement lets in: its place, its name, and those.
fn reaches(document: &str, own: &AccountId) -> Result<Vec<(usize, String, BTreeSet<Reach>)>, UnreadablePolicy> {
    let all: Vec<Result<Statement, String>> = statements(document)?.1.into_iter().map(Statement::read).collect();
    let policy = Evaluated {
        document,
        own,
        denials: all.iter().flatten().filter(|statement| statement.denies).collect(),
        is_read: all.iter().all(Result::is_ok),
    };
    let mut found = Vec::new();
    for (index, statement) in all.iter().enumerate() {
        let place = format!("statement {index}");
        found.push(match statement {
            Ok(statement) if statement.denies => continue,
            Ok(statement) => {
                let name = statement.sid.clone().unwrap_or(place);
                (index, name, policy.reach(statement))
            }
            Err(problem) => {
                let unknown = Reach::Unknown(format!("it cannot be read: {problem}"));
                (index, place, [unknown].into())
            }
        });
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
    // `list` is a part of `document`: the address gives its offset.
    let start = list.as_ptr() as usize - document.as_ptr() as usize;
    match (document.get(..start), document.get(start + list.len()..)) {
        (Some(before), Some(after)) => Ok(Some(format!("{before}[{}]{after}", kept.join(",")))),
        _ => Err(UnreadablePolicy(
            "its statements are not where they should be".to_owned(),
        )),
    }
}

/// A statement, as far as it matters.
struct Statement {
    sid: Option<String>,
    denies: bool,
    principals: Vec<Principal>,
    /// The principals are all but these.
    inverted: bool,
    actions: Actions,
    tests: Vec<Test>,
    /// It has a `Resource` that may not be the repository: whether it applies is not known.
    has_resource: bool,
}

/// Whom a statement names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Principal {
    Everybody,
    One(Who),
    /// Not a form that we know, or one that AWS does not document (a wildcard in an ARN).
    Unknown(String),
}

struct Actions {
    /// Patterns, in lower case: actions are compared without regard to case.
    patterns: Vec<String>,
    /// The actions are all but these.
    inverted: bool,
}

impl Actions {
    fn has(&self, action: &str) -> bool {
        self.patterns.iter().any(|pattern| like(pattern, action)) != self.inverted
    }
}

/// The actions that are allowed on a repository. Source: service authorization reference, "Actions, resources, and condition keys for Amazon
/// Elastic Container Registry".
const ACTIONS: [&str; 37] = [
    "ecr:batchchecklayeravailability",
    "ecr:batchdeleteimage",
    "ecr:batchgetimage",
    "ecr:batchgetrepositoryscanningconfiguration",
    "ecr:batchimportupstreamimage",
    "ecr:completelayerupload",
    "ecr:createrepository",
    "ecr:deletelifecyclepolicy",
    "ecr:deleterepository",
    "ecr:deleterepositorypolicy",
    "ecr:describeimagereplicationstatus",
    "ecr:describeimages",
    "ecr:describeimagescanfindings",
    "ecr:describeimagesigningstatus",
    "ecr:describerepositories",
    "ecr:getdownloadurlforlayer",
    "ecr:getlifecyclepolicy",
    "ecr:getlifecyclepolicypreview",
    "ecr:getrepositorypolicy",
    "ecr:initiatelayerupload",
    "ecr:listimagereferrers",
    "ecr:listimages",
    "ecr:listtagsforresource",
    "ecr:putimage",
    "ecr:putimagescanningconfiguration",
    "ecr:putimagetagmutability",
    "ecr:putlifecyclepolicy",
    "ecr:replicateimage",
    "ecr:setrepositorypolicy",
    "ecr:startimagescan",
    "ecr:startlifecyclepolicypreview",
    "ecr:startreplicationbackfill",
    "ecr:stopreplicationbackfill",
    "ecr:tagresource",
    "ecr:untagresource",
    "ecr:updateimagestorageclass",
    "ecr:uploadlayerpart",
];

/// The most ways past the denials of a policy that are checked one by one. Further denials count as none, which reports too
/// much rather than too little.
const MOST_WAYS: usize = 64;

impl Statement {
    fn read(raw: &str) -> Result<Self, String> {
        let parts: Parts = serde_json::from_str(raw).map_err(|error| text::line(&error.to_string(), 160))?;
        let denies = match parts.effect.as_str() {
            "Allow" => false,
            "Deny" => true,
            other => return Err(format!("its effect is `{}`", text::line(other, 40))),
        };
        let (principals, inverted) = match (&parts.principal, &parts.not_principal) {
            (Some(some), None) => (principals(some), false),
            (None, Some(others)) => (principals(others), true),
            (Some(_), Some(_)) | (None, None) => {
                return Err("it has one of `Principal` and `NotPrincipal`".to_owned());
            }
        };
        let patterns = |value: &Value| {
            strings(value)
                .iter()
                .map(|action| action.to_ascii_lowercase())
                .collect()
        };
        let actions = match (&parts.action, &parts.not_action) {
            (Some(some), None) => Actions {
                patterns: patterns(some),
                inverted: false,
            },
            (None, Some(others)) => Actions {
                patterns: patterns(others),
                inverted: true,
            },
            // ECR takes no such statement. If it ever did, it would be about all actions.
            (Some(_), Some(_)) | (None, None) => Actions {
                patterns: Vec::new(),
                inverted: true,
            },
        };
        let everything = |resource: &Value| strings(resource).iter().any(|resource| resource == "*");
        Ok(Self {
            sid: parts.sid.filter(|sid| !sid.is_empty()).map(|sid| text::line(&sid, 60)),
            denies,
            principals,
            inverted,
            actions,
            tests: condition::tests(parts.condition.as_ref())?,
            has_resource: parts.not_resource.is_some() || parts.resource.is_some_and(|resource| !everything(&resource)),
        })
    }

    /// Whether it applies to a request of a stranger; `None`: unknown.
    fn applies(&self, request: &AccessRequest) -> Option<bool> {
        let named = any(self.principals.iter().map(|principal| match principal {
            Principal::Everybody => Some(true),
            Principal::One(Who::Service(name)) => Some(request.service() == Some(name)),
            // A stranger is not named.
            Principal::One(_) => Some(false),
            Principal::Unknown(_) => None,
        }));
        let named = named.map(|named| named != self.inverted);
        let resource = if self.has_resource { None } else { Some(true) };
        let tests = self.tests.iter().map(|test| test.holds(request));
        let fails = any([named, resource]
            .into_iter()
            .chain(tests)
            .map(|holds| holds.map(|holds| !holds)));
        fails.map(|fails| !fails)
    }

    fn is_for_everybody(&self) -> bool {
        self.principals.contains(&Principal::Everybody) && !self.inverted
    }

    /// The ways not to be denied by it; `None`: it may not deny anybody.
    fn ways(&self) -> Option<Vec<Constraint<'_>>> {
        if self.has_resource {
            return None;
        }
        let mut ways: Vec<Constraint<'_>> = self.tests.iter().map(Constraint::Fails).collect();
        if self.inverted {
            let mut others = BTreeSet::new();
            for principal in &self.principals {
                match principal {
                    Principal::One(who) => others.insert(who.clone()),
                    Principal::Everybody | Principal::Unknown(_) => return None,
                };
            }
            ways.push(Constraint::Among(others));
            return Some(ways);
        }
        self.is_for_everybody().then_some(ways)
    }
}

/// A policy, to evaluate its statements.
struct Evaluated<'a> {
    document: &'a str,
    own: &'a AccountId,
    denials: Vec<&'a Statement>,
    /// All of its statements could be read.
    is_read: bool,
}

impl Evaluated<'_> {
    /// Whom a statement lets in, for one of its actions or another.
    fn reach(&self, statement: &Statement) -> BTreeSet<Reach> {
        let known = ACTIONS
            .iter()
            .map(|action| (*action).to_owned())
            .filter(|action| statement.actions.has(action));
        let new = statement
            .actions
            .patterns
            .iter()
            .filter(|_| !statement.actions.inverted)
            .cloned();
        let new = new.filter(|pattern| !ACTIONS.iter().any(|action| like(pattern, action)));
        // Actions that the same statements deny are all the same.
        let denials =
            |action: String| -> Vec<bool> { self.denials.iter().map(|denial| denial.actions.has(&action)).collect() };
        let kinds: BTreeSet<Vec<bool>> = known.chain(new).map(denials).collect();
        let mut reach = BTreeSet::new();
        for kind in kinds {
            let denials: Vec<&Statement> = self
                .denials
                .iter()
                .zip(kind)
                .filter(|(_, denies)| *denies)
                .map(|(denial, _)| *denial)
                .collect();
            let principals: &[Principal] = if statement.inverted {
                &[Principal::Everybody]
            } else {
                &statement.principals
            };
            for principal in principals {
                reach.extend(self.reach_of(statement, principal, &denials));
            }
        }
        reach
    }

    /// The callers that a statement lets in by one of its principals, after the statements that deny the same.
    fn reach_of(&self, statement: &Statement, principal: &Principal, denials: &[&Statement]) -> BTreeSet<Reach> {
        let mut base: Vec<Constraint<'_>> = statement.tests.iter().map(Constraint::Holds).collect();
        match principal {
            Principal::Everybody | Principal::Unknown(_) => {}
            Principal::One(who) => base.push(Constraint::Among([who.clone()].into())),
        }
        let mut ways = vec![base];
        for more in denials.iter().filter_map(|denial| denial.ways()) {
            if ways.len() * more.len() > MOST_WAYS {
                continue;
            }
            let mut longer = Vec::new();
            for way in &ways {
                longer.extend(
                    more.iter()
                        .map(|one| [way.as_slice(), std::slice::from_ref(one)].concat()),
                );
            }
            ways = longer;
        }
        let mut reach = BTreeSet::new();
        let mut is_open = false;
        for way in ways {
            match bound(&way, self.own) {
                Some(to) => reach.extend(to.into_iter().map(|who| match who {
                    Who::Account(account) => Reach::Account(account),
                    Who::Organization(id) => Reach::Organization(id),
                    Who::Someone(who) => Reach::Someone(who),
                    Who::Network(network) => Reach::Network(network),
                    Who::Service(name) => Reach::Service(name),
                })),
                None => is_open = true,
            }
        }
        if is_open {
            reach.insert(match principal {
                Principal::Unknown(who) => Reach::Unknown(who.clone()),
                Principal::Everybody | Principal::One(_) => self.open(statement, denials),
            });
        }
        reach
    }

    /// A statement without a bound: open to everybody, if a stranger is surely let in.
    fn open(&self, statement: &Statement, denials: &[&Statement]) -> Reach {
        let tests: Vec<&Test> = [statement]
            .iter()
            .chain(denials)
            .flat_map(|statement| &statement.tests)
            .collect();
        let strangers = AccessRequest::strangers(&tests, self.document, self.own);
        let is_let_in = |request: &AccessRequest| {
            statement.applies(request) == Some(true)
                && any(denials.iter().map(|denial| denial.applies(request))) == Some(false)
        };
        if !self.is_read {
            return Reach::Unknown("another statement cannot be read".to_owned());
        }
        if strangers.iter().any(is_let_in) {
            return Reach::Everybody;
        }
        let keys: BTreeSet<&str> = tests.iter().map(|test| test.written()).collect();
        let keys: Vec<&str> = keys.into_iter().collect();
        let keys = text::line(&keys.join(", "), 160);
        Reach::Unknown(format!("by conditions on {keys}"))
    }
}

fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) => many
            .iter()
            .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
            .collect(),
        other => vec![other.to_string()],
    }
}

fn principals(principal: &Value) -> Vec<Principal> {
    match principal {
        Value::Object(kinds) => kinds
            .iter()
            .flat_map(|(kind, value)| strings(value).into_iter().map(move |who| named(kind, &who)))
            .collect(),
        value => strings(value).iter().map(|who| named("AWS", who)).collect(),
    }
}

fn named(kind: &str, who: &str) -> Principal {
    let account = match who.strip_prefix("arn:") {
        Some(arn) => arn.split(':').nth(3).unwrap_or_default(),
        None => who,
    };
    let name = text::line(who, 100);
    match (kind, account.parse()) {
        ("Service", _) => Principal::One(Who::Service(name)),
        ("AWS", _) if who == "*" => Principal::Everybody,
        ("AWS", Ok(account)) => Principal::One(Who::Account(account)),
        // The id of somebody who was deleted: IAM replaces the ARN by it.
        ("AWS", _) if who.starts_with('A') && who.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            Principal::One(Who::Someone(name))
        }
        ("Federated" | "CanonicalUser", _) => Principal::One(Who::Someone(name)),
        _ => Principal::Unknown(name),
    }
}

#[cfg(test)]
mod evaluator;
#[cfg(test)]
mod tests;
