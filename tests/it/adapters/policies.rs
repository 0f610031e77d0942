//! The policy of a function: read from the ledger, kept there, or read from a file.

use serde_json::{Value, json};
use shared::{
    core::policy::Policy,
    lambda::config::{Config, ConfigError, POLICY_VARIABLE},
    ports::PolicyLedger as _,
    testing,
};

use crate::canned::{FakeAws, Reply};

const GET: &str = "dynamodb:GetItem";
const PUT: &str = "dynamodb:PutItem";
const TABLE: &str = "ecr-guard-ledger";
/// As Terraform writes it: members in alphabetical order, no white space, nothing escaped that JSON lets stand.
const DOCUMENT: &str = r#"{"exceptions":[{"expires":"2026-12-31","owner":"a&b","reason":"\"x\" < y\\u003c","repositories":["*"],"vulnerability":"CVE-2026-1"}],"mode":"enforce","routes":{"default":"arn:aws:sns:us-west-2:123456789012:alerts"},"version":1}"#;

/// SHA-256 of the text; of a text in this form, it is that of the policy.
fn sha256() -> String {
    Policy::from_json(DOCUMENT, testing::now()).unwrap().sha256
}

fn get(sk: &str) -> Value {
    json!({
        "TableName": TABLE,
        "Key": {"pk": {"S": format!("policy#{}", sha256())}, "sk": {"S": sk}},
        "ConsistentRead": true,
        "ProjectionExpression": "#document",
        "ExpressionAttributeNames": {"#document": "document"},
    })
}

fn item(document: &str) -> Reply {
    Reply::Ok(json!({"Item": {"document": {"S": document}}}))
}

/// Starts a function whose variable has this value, with these answers to reads of the ledger.
fn start(variable: Option<&str>, replies: &[Reply]) -> (FakeAws, Result<Config, ConfigError>) {
    let world = FakeAws::scripted(replies.iter().map(|reply| (GET, reply.clone())));
    let ledger = world.aws().dynamo_ledger(TABLE);
    let lookup = |name: &str| variable.filter(|_| name == POLICY_VARIABLE).map(str::to_owned);
    let result = world.run(Config::load(lookup, &ledger, testing::now()));
    (world, result)
}

fn start_from_ledger(replies: &[Reply]) -> (FakeAws, Result<Config, ConfigError>) {
    start(Some(&format!("sha256:{}", sha256())), replies)
}

#[test]
fn a_function_reads_its_policy_from_the_ledger_by_one_call() {
    let (world, config) = start_from_ledger(&[item(DOCUMENT)]);
    let config = config.unwrap();
    assert_eq!(config.policy, Policy::from_json(DOCUMENT, testing::now()).unwrap());
    assert_eq!(world.operations(), [GET]);
    assert_eq!(world.only_body(GET), get("deployed"));
}

#[test]
fn what_rows_say_of_their_policy_is_the_key_under_which_it_is_kept() {
    let (_, config) = start_from_ledger(&[item(DOCUMENT)]);
    let config = config.unwrap();
    assert_eq!(config.item.unwrap().sha256, config.policy.sha256);
}

#[test]
fn a_version_from_before_finds_the_policy_that_a_sweep_has_kept() {
    let (world, config) = start_from_ledger(&[Reply::Ok(json!({})), item(DOCUMENT)]);
    assert_eq!(config.unwrap().policy.sha256, sha256());
    let bodies: Vec<Value> = world.calls().into_iter().map(|call| call.request.body).collect();
    assert_eq!(bodies, [get("deployed"), get("kept")]);
}

#[test]
fn a_policy_that_the_ledger_does_not_have_is_named() {
    let (_, config) = start_from_ledger(&[Reply::Ok(json!({})), Reply::Ok(json!({}))]);
    let error = config.unwrap_err().to_string();
    let expected = format!("the ledger has no policy `sha256:{}`: neither the one", sha256());
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn a_policy_that_somebody_has_changed_is_refused() {
    let changed = DOCUMENT.replace("enforce", "report");
    let (_, config) = start_from_ledger(&[item(&changed)]);
    let error = config.unwrap_err().to_string();
    let expected = format!(
        "the ledger's item for the policy `sha256:{}` holds another text: somebody has changed it",
        sha256()
    );
    assert_eq!(error, expected);
}

#[test]
fn an_item_without_a_document_is_refused() {
    for reply in [json!({"Item": {}}), json!({"Item": {"document": {"N": "1"}}})] {
        let (_, config) = start_from_ledger(&[Reply::Ok(reply)]);
        let error = config.unwrap_err().to_string();
        assert!(error.contains("it has no string `document`"), "{error}");
    }
}

#[test]
fn a_ledger_that_refuses_is_named_with_the_call() {
    let (_, config) = start_from_ledger(&[Reply::error("AccessDeniedException")]);
    let error = config.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("cannot read the policy `sha256:{}` from the ledger", sha256()))
            && error.contains(GET),
        "{error}"
    );
}

#[test]
fn a_document_that_is_no_policy_is_refused_with_the_place() {
    // SHA-256 of `{"version":2}`.
    let sha256 = "732322c128ed67841ef5aa42c7cd04ffcd74a61b2d17d710cd502b713d62930d";
    let (_, config) = start(Some(&format!("sha256:{sha256}")), &[item(r#"{"version":2}"#)]);
    let error = config.unwrap_err().to_string();
    assert!(error.contains(&format!("policy `sha256:{sha256}`: ")), "{error}");
}

#[test]
fn a_path_is_read_without_the_ledger() {
    let path = std::env::temp_dir().join(format!("ecr-guard-policy-{}.json", std::process::id()));
    std::fs::write(&path, DOCUMENT).unwrap();
    let (world, config) = start(path.to_str(), &[]);
    std::fs::remove_file(&path).unwrap();
    let config = config.unwrap();
    assert_eq!(
        (config.policy.sha256.as_str(), &config.item),
        (sha256().as_str(), &None)
    );
    let ledger = world.aws().dynamo_ledger(TABLE);
    world.run(config.keep(&ledger, testing::now()));
    assert_eq!(world.operations(), [""; 0], "a file is nobody's to keep");
}

#[test]
fn without_a_policy_a_function_does_not_start() {
    for variable in [None, Some(" ")] {
        let error = start(variable, &[]).1.unwrap_err().to_string();
        assert_eq!(error, "the environment variable `ECR_GUARD_POLICY` is not set");
    }
    let error = start(Some("/nowhere/policy.json"), &[]).1.unwrap_err().to_string();
    assert!(
        error.starts_with("cannot read the policy `/nowhere/policy.json`"),
        "{error}"
    );
}

#[test]
fn a_sweep_keeps_its_policy_for_90_days() {
    let world = FakeAws::scripted([(GET, item(DOCUMENT)), (PUT, Reply::Ok(json!({})))]);
    let ledger = world.aws().dynamo_ledger(TABLE);
    let lookup = |name: &str| (name == POLICY_VARIABLE).then(|| format!("sha256:{}", sha256()));
    world.run(async {
        let config = Config::load(lookup, &ledger, testing::now()).await.unwrap();
        config.keep(&ledger, testing::now()).await;
    });
    let until = testing::now().as_second() + 90 * 86_400;
    assert_eq!(
        world.only_body(PUT),
        json!({
            "TableName": TABLE,
            "Item": {
                "pk": {"S": format!("policy#{}", sha256())},
                "sk": {"S": "kept"},
                "document": {"S": DOCUMENT},
                "expires_at": {"N": until.to_string()},
            },
        })
    );
}

#[test]
fn a_policy_that_cannot_be_kept_does_not_end_the_sweep() {
    let refused = Reply::error("AccessDeniedException");
    let world = FakeAws::scripted([(GET, item(DOCUMENT)), (PUT, refused.clone()), (PUT, refused)]);
    let ledger = world.aws().dynamo_ledger(TABLE);
    let lookup = |name: &str| (name == POLICY_VARIABLE).then(|| format!("sha256:{}", sha256()));
    let result = world.run(async {
        let config = Config::load(lookup, &ledger, testing::now()).await.unwrap();
        config.keep(&ledger, testing::now()).await;
        ledger.keep_policy_document("a", "b", testing::now()).await
    });
    assert_eq!(result.unwrap_err().operation, PUT, "and whoever asks for it is told");
}
