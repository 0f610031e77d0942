//! Good inputs: those of `tests/fixtures` where there are some, and one of each kind where there are none.

use std::{fs, path::Path};

use serde_json::{Value, json};
use shared::{
    core::release::request::{AskedRelease, REQUEST_SCHEMA, ReleaseRequest, Verb},
    testing,
};

use crate::root;

/// The texts of all files under these folders of `tests/fixtures`.
fn fixtures(folders: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for folder in folders {
        files(&root().join("tests/fixtures").join(folder), &mut found);
    }
    found.sort();
    found
}

fn files(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            // Some fixtures are not UTF-8 on purpose.
            found.extend(fs::read_to_string(&path).ok());
        }
    }
}

/// Documents of a list, each as a text.
fn each(list: Value) -> Vec<String> {
    match list {
        Value::Array(list) => list.iter().map(Value::to_string).collect(),
        other => vec![other.to_string()],
    }
}

fn stored() -> Vec<String> {
    let lists = fixtures(&["stored"]);
    lists
        .iter()
        .flat_map(|list| each(serde_json::from_str(list).unwrap()))
        .collect()
}

fn digest() -> String {
    testing::image_key().digest.to_string()
}

pub(crate) fn events() -> Vec<String> {
    fixtures(&["events/ecr", "events/inspector2"])
}

pub(crate) fn workload_events() -> Vec<String> {
    let mut all = fixtures(&["events/ecs"]);
    let image = format!("123456789012.dkr.ecr.us-west-2.amazonaws.com/shop/api:v1@{}", digest());
    let entry = json!({"kind": "Pod", "namespace": "shop", "name": "api", "image": image, "image_id": image});
    all.push(
        json!({"schema": "ecr-guard/workloads/v1", "source": "kubernetes", "cluster": "prod", "account": "123456789012",
            "sent_at": testing::now(), "images": [entry]})
        .to_string(),
    );
    all
}

pub(crate) fn work_items() -> Vec<String> {
    let mut all = fixtures(&["events/inspector2"]);
    let lists = fs::read_to_string(root().join("tests/fixtures/stored/0.1/work-item.json")).unwrap();
    all.extend(each(serde_json::from_str(&lists).unwrap()));
    all
}

pub(crate) fn sweep_requests() -> Vec<String> {
    each(json!([
        {},
        {"time": "2026-11-24T12:00:00Z", "digest": true},
        {"repositories": ["pipeops-prod-api"]},
        {"test_alert": true}
    ]))
}

pub(crate) fn gate_requests() -> Vec<String> {
    let key = testing::image_key();
    let image = |end: &str| format!("123456789012.dkr.ecr.us-west-2.amazonaws.com/{}{end}", key.repository);
    let arn = |what: &str| format!("arn:aws:ecs:us-west-2:123456789012:{what}");
    let hook = |stage: &str, details: Value| {
        json!({"executionId": "0f3a", "lifecycleStage": stage, "resourceArn": arn("service-deployment/prod/api/1"),
            "executionDetails": {"serviceArn": arn("service/prod/api"), "targetServiceRevisionArn": arn("service-revision/prod/api/1")},
            "hookDetails": details})
    };
    each(json!([
        {"schema": "ecr-guard/gate/v1", "images": [image(":v1.2.3"), image(&format!("@{}", digest()))], "context": {"caller": "test"}},
        {"schema": "ecr-guard/gate/v1", "images": ["nginx", "public.ecr.aws/docker/library/redis:7"]},
        hook("PRE_SCALE_UP", json!({})),
        hook("POST_SCALE_UP", json!({"on_unavailable": "deny", "since": "2026-11-24T11:59:00Z"})),
        hook("TEST_TRAFFIC_SHIFT", json!("{\"on_unavailable\": \"allow\"}"))
    ]))
}

pub(crate) fn operate_requests() -> Vec<String> {
    let key = testing::image_key();
    let request = |action, hours, reason: Option<&str>| {
        let asked = AskedRelease {
            schema: REQUEST_SCHEMA.to_owned(),
            id: "0123456789abcdef".repeat(2),
            action,
            image: format!(
                "123456789012.dkr.ecr.us-west-2.amazonaws.com/{}@{}",
                key.repository, key.digest
            ),
            hours,
            reason: reason.map(str::to_owned),
            ticket: None,
        };
        let function = "arn:aws:lambda:us-west-2:123456789012:function:guard-operate";
        let identity = testing::signed_identity(&asked, function, testing::now());
        ReleaseRequest::json(&asked, &identity).to_string()
    };
    vec![
        request(Verb::Release, Some(4), Some("checkout is down")),
        request(Verb::End, None, None),
    ]
}

pub(crate) fn sts_answers() -> Vec<String> {
    let caller = |arn: &str| {
        format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult><Arn>{arn}</Arn>\
             <UserId>AROA:alice</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
        )
    };
    vec![
        caller("arn:aws:sts::123456789012:assumed-role/oncall/alice"),
        caller("arn:aws:iam::123456789012:user/people/alice"),
        caller("arn:aws:iam::123456789012:root"),
        "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>expired</Message></Error></ErrorResponse>".to_owned(),
    ]
}

pub(crate) fn policies() -> Vec<String> {
    let mut all = fixtures(&["policies"]);
    all.push(fs::read_to_string(root().join("docs/policy.example.json")).unwrap());
    all
}

pub(crate) fn lifecycles() -> Vec<String> {
    let rule = |priority: u32, selection: Value, action: Value| json!({"rulePriority": priority, "description": "a rule", "selection": selection, "action": action});
    let (expire, archive) = (
        json!({"type": "expire"}),
        json!({"type": "transition", "targetStorageClass": "archive"}),
    );
    let keep =
        json!({"tagStatus": "tagged", "tagPrefixList": ["v"], "countType": "imageCountMoreThan", "countNumber": 30});
    let old = json!({"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 7});
    let pulled = json!({"tagStatus": "any", "countType": "sinceImagePulled", "countUnit": "days", "countNumber": 90});
    let patterns = json!({"tagStatus": "tagged", "tagPatternList": ["*-dev", "pr*"], "countType": "sinceImagePushed",
        "countUnit": "days", "countNumber": 3});
    each(json!([
        {"rules": [rule(1, keep, expire.clone()), rule(2, old, expire.clone())]},
        {"rules": [rule(1, patterns, expire), rule(2, pulled, archive)]}
    ]))
}

pub(crate) fn repository_policies() -> Vec<String> {
    let pull = json!(["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]);
    each(json!([
        {"Version": "2012-10-17", "Statement": [
            {"Sid": "world", "Effect": "Allow", "Principal": "*", "Action": "ecr:*"},
            {"Sid": "lambda", "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": pull,
                "Condition": {"StringLike": {"aws:sourceArn": "arn:aws:lambda:us-west-2:123456789012:function:*"}}},
            {"Sid": "other", "Effect": "Allow", "Principal": {"AWS": ["111111111111", "arn:aws:iam::222222222222:root"]}, "Action": pull}
        ]},
        {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "*"}, "NotAction": "ecr:PutImage",
            "Condition": {"StringEquals": {"aws:PrincipalOrgID": ["o-abcdefghij"]}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"},
                "Bool": {"aws:SecureTransport": "true"}, "ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": ["o-a/*"]}}}},
        {"Version": "2008-10-17", "Statement": [{"Effect": "Deny", "NotPrincipal": {"AWS": "111111111111"}, "Action": "*",
            "Condition": {"DateLessThan": {"aws:CurrentTime": "2026-12-01T00:00:00Z"}, "Null": {"aws:PrincipalArn": "true"}}}]}
    ]))
}

pub(crate) fn manifests() -> Vec<String> {
    let config = |media_type: &str| json!({"mediaType": media_type, "digest": digest(), "size": 7});
    let image = "application/vnd.oci.image.config.v1+json";
    let layer = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(), "size": 7});
    let statement = json!({"mediaType": "application/vnd.in-toto+json", "digest": digest(), "size": 7});
    let entry = |digest: String, os: &str| {
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 7,
            "platform": {"os": os, "architecture": "arm64", "variant": "v8"}})
    };
    let mut attestation = entry(format!("sha256:{}", "cd".repeat(32)), "unknown");
    if let Some(members) = attestation.as_object_mut() {
        members.insert(
            "platform".to_owned(),
            json!({"os": "unknown", "architecture": "unknown"}),
        );
        members.insert(
            "annotations".to_owned(),
            json!({"vnd.docker.reference.type": "attestation-manifest"}),
        );
    }
    each(json!([
        {"schemaVersion": 2, "config": config(image), "layers": [layer]},
        {"schemaVersion": 2, "config": config(image), "layers": [statement]},
        {"schemaVersion": 2, "artifactType": "application/spdx+json", "config": config("application/vnd.oci.empty.v1+json"), "layers": []},
        {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry(digest(), "linux"), entry(format!("sha256:{}", "ef".repeat(32)), "windows"), attestation]}
    ]))
}

pub(crate) fn names() -> Vec<String> {
    let texts = [
        "123456789012.dkr.ecr.us-west-2.amazonaws.com/shop/api:v1",
        "arn:aws:sns:us-west-2:123456789012:alerts",
        "arn:aws:kms:us-west-2:123456789012:key/0f3a",
        "prod/*-api prod/shop-api",
        "https://nvd.nist.gov/vuln/detail/CVE-2026-1",
        "<!channel> *bold* `code` https://evil.example/x",
    ];
    let digest = format!("123456789012.dkr.ecr.us-west-2.amazonaws.com/shop/api@{}", digest());
    texts.into_iter().map(str::to_owned).chain([digest]).collect()
}

pub(crate) fn refusals() -> Vec<String> {
    let says = "User: arn:aws:sts::123456789012:assumed-role/guard-on-scan/x is not authorized to perform: \
                inspector2:ListFindings on resource: arn:aws:inspector2:us-west-2:123456789012:/findings/list because";
    vec![
        format!("{says} no identity-based policy allows the inspector2:ListFindings action"),
        format!("{says} no permissions boundary allows the action"),
        format!("{says} of an explicit deny in a service control policy"),
    ]
}

pub(crate) fn snapshots() -> Vec<String> {
    let header =
        json!({"snapshot": {"schema": "ecr-guard/snapshot/v1", "made_at": "2026-11-24T12:00:00Z", "table": "guard"}});
    let mut all = vec![header.to_string()];
    for row in stored() {
        all.push(format!("{{\"image\":{row}}}"));
        all.push(row);
    }
    all
}

pub(crate) fn findings() -> Vec<String> {
    let status = |word: &str| json!({"status": word, "description": "The scan was completed successfully."});
    let image = json!({"registryId": "123456789012", "repositoryName": "pipeops-prod-api", "imageId": {"imageDigest": digest()}});
    let with = |parts: Value| {
        let mut all = image.clone();
        if let (Some(all), Some(parts)) = (all.as_object_mut(), parts.as_object()) {
            all.extend(parts.clone());
        }
        all
    };
    let attribute = |key: &str, value: &str| json!({"key": key, "value": value});
    let basic = json!({"name": "CVE-2026-1", "severity": "CRITICAL", "uri": "https://security-tracker.debian.org/CVE-2026-1",
        "attributes": [attribute("package_name", "openssl"), attribute("package_version", "3.0.1"), attribute("CVSS3_SCORE", "9.8"),
            attribute("patched_version", "3.0.2")]});
    let package = json!({"name": "openssl", "version": "3.0.1", "fixedInVersion": "3.0.2", "packageManager": "OS", "release": "1"});
    let enhanced = json!({"findingArn": "arn:aws:inspector2:us-west-2:123456789012:finding/1", "severity": "HIGH", "status": "ACTIVE",
        "title": "CVE-2026-2 - openssl", "score": 9.1, "fixAvailable": "YES", "exploitAvailable": "NO",
        "packageVulnerabilityDetails": {"vulnerabilityId": "CVE-2026-2", "relatedVulnerabilities": ["GHSA-jfh8-c2jp-5v3q"],
            "sourceUrl": "https://nvd.nist.gov/vuln/detail/CVE-2026-2", "vulnerablePackages": [package]},
        "resources": [{"type": "AWS_ECR_CONTAINER_IMAGE", "details": {"awsEcrContainerImage": {"inUseCount": 2, "lastInUseAt": 1795467600}}}]});
    each(json!([
        with(
            json!({"imageScanStatus": status("COMPLETE"), "imageScanFindings": {"imageScanCompletedAt": 1795467600,
            "findingSeverityCounts": {"CRITICAL": 1}, "findings": [basic]}})
        ),
        with(
            json!({"imageScanStatus": status("ACTIVE"), "imageScanFindings": {"imageScanCompletedAt": 1795467600,
            "findingSeverityCounts": {"HIGH": 1, "TOTAL": 1}, "enhancedFindings": [enhanced]}})
        ),
        with(
            json!({"imageScanStatus": status("COMPLETE"), "imageScanFindings": {"findings": [], "findingSeverityCounts": {}}})
        ),
        with(json!({"imageScanStatus": status("FAILED")})),
        with(json!({"imageScanStatus": status("IN_PROGRESS")}))
    ]))
}

pub(crate) fn answers() -> Vec<String> {
    let repository = json!({"repositoryArn": "arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-api",
        "registryId": "123456789012", "repositoryName": "pipeops-prod-api", "createdAt": 1795467600, "imageTagMutability": "MUTABLE",
        "imageScanningConfiguration": {"scanOnPush": true}, "encryptionConfiguration": {"encryptionType": "KMS", "kmsKey": "arn:aws:kms:us-west-2:123456789012:key/0f3a"}});
    let image = json!({"imageDigest": digest(), "imageTags": ["v1"], "imagePushedAt": 1795467600, "imageSizeInBytes": 7,
        "imageStatus": "ACTIVE", "lastRecordedPullTime": 1795467600, "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json"});
    let row = stored().into_iter().next().unwrap_or_default();
    let item = json!({"pk": {"S": "a"}, "sk": {"S": "image"}, "row": {"S": row}, "version": {"N": "3"}});
    each(json!([
        {"imageDetails": [image], "nextToken": null},
        {"images": [{"imageId": {"imageDigest": digest()}, "imageManifest": "{\"schemaVersion\": 2}"}], "failures": []},
        {"repositories": [repository]},
        {"policyText": "{}", "lifecyclePolicyText": "{}"},
        {"scanningConfigurations": [{"repositoryName": "pipeops-prod-api", "scanFrequency": "SCAN_ON_PUSH"}]},
        {"scanningConfiguration": {"scanType": "ENHANCED", "rules": []}},
        {"replicationConfiguration": {"rules": [{"destinations": [{"region": "us-east-1", "registryId": "123456789012"}]}]}},
        {"replicationStatuses": [{"region": "us-east-1", "registryId": "123456789012", "status": "COMPLETE"}], "backfills": []},
        {"imageIds": [{"imageDigest": digest(), "imageTag": "v1"}], "failures": [{"imageId": {"imageTag": "v1"}, "failureCode": "ImageNotFound"}]},
        {"imageStatus": "ARCHIVED", "imageScanStatus": {"status": "IN_PROGRESS"}},
        {"tags": [{"Key": "team", "Value": "shop"}]},
        {"Item": item},
        {"Items": [item], "LastEvaluatedKey": null},
        {"Responses": {"table": [item]}, "UnprocessedKeys": {}},
        {"Attributes": {"ApproximateNumberOfMessages": "1", "ApproximateNumberOfMessagesDelayed": "2"}},
        {"KeyMetadata": {"KeyId": "0f3a", "KeyState": "Enabled", "Enabled": true, "Arn": "arn:aws:kms:us-west-2:123456789012:key/0f3a"}}
    ]))
}

pub(crate) fn errors() -> Vec<String> {
    let refusal = refusals().remove(0);
    each(json!([
        {"__type": "com.amazonaws.ecr#ThrottlingException", "message": "Rate exceeded"},
        {"__type": "AccessDeniedException", "message": refusal},
        {"__type": "RepositoryNotFoundException", "message": "no repository"},
        {"__type": "ImageNotFoundException", "message": "no image"},
        {"__type": "LimitExceededException", "message": "too many"},
        {"__type": "ConditionalCheckFailedException", "message": "The conditional request failed", "Item": {}},
        {"message": "Internal server error"}
    ]))
}
