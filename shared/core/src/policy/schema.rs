//! The JSON Schema of the policy document: what a schema can say of it, for editors and for the check.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// The pattern of a glob of repositories.
pub(super) const REPOSITORY_GLOB: &str = "^[a-z0-9._/*-]{1,256}$";

/// The pattern of a glob of ids of vulnerabilities.
pub(super) const VULNERABILITY_GLOB: &str = "^[A-Za-z0-9._:/+@*-]{1,256}$";

/// A role or a user, the name a glob.
pub(super) const RELEASE_PRINCIPAL: &str = "^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_*-]{1,64}$";

/// Topics by name, `default` among them. Source of the form: SNS, and `TopicArn`, which refuses FIFO topics.
pub(super) fn routes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["default"],
        "additionalProperties": {
            "type": "string",
            "pattern": "^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$",
        },
    })
}

/// How many are kept, and of which tags: one is nothing without the other.
pub(super) fn keep_count(schema: &mut Schema) {
    let tags = json!({"anyOf": [{"required": ["tag_prefixes"]}, {"required": ["tag_patterns"]}]});
    schema.insert("dependentSchemas".to_owned(), json!({"keep_count": tags}));
    let count = json!(["keep_count"]);
    schema.insert(
        "dependentRequired".to_owned(),
        json!({"tag_prefixes": count, "tag_patterns": count}),
    );
}

/// Makes of each choice of words one `enum`, whose message an editor can show, and of each optional member its type alone.
pub(super) fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(members) => {
            choice(members);
            optional(members);
            members.values_mut().for_each(tidy);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn choice(members: &mut Map<String, Value>) {
    let Some(options) = members.get("oneOf").and_then(Value::as_array) else {
        return;
    };
    let word = |option: &Value| option.get("const").cloned();
    let Some(words) = options.iter().map(word).collect::<Option<Vec<_>>>() else {
        return;
    };
    let described = |option: &Value| option.get("description").cloned().unwrap_or(json!(""));
    let descriptions: Vec<_> = options.iter().map(described).collect();
    members.remove("oneOf");
    members.insert("type".to_owned(), json!("string"));
    members.insert("enum".to_owned(), Value::Array(words));
    members.insert("markdownEnumDescriptions".to_owned(), Value::Array(descriptions));
}

fn optional(members: &mut Map<String, Value>) {
    let null = json!({"type": "null"});
    if let Some(Value::Array(options)) = members.get_mut("anyOf") {
        options.retain(|option| *option != null);
        if let [Value::Object(only)] = options.as_slice() {
            let only = only.clone();
            members.remove("anyOf");
            for (key, value) in only {
                members.entry(key).or_insert(value);
            }
        }
    }
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|of| of != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            members.insert("type".to_owned(), only);
        }
    }
    if members.get("default") == Some(&Value::Null) {
        members.remove("default");
    }
}
