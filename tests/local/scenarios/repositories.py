"""The policy's rules for repositories and tags."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from typing import Any

from local_aws import events
from local_aws.registry import ACCOUNT, REGION, client
from scenarios.world import Observed, Scenario, World, observe
from stack import Guard

DAY = 86_400


def ruled(world: World) -> Guard:
    """The functions under a policy with rules for repositories."""
    return world.guard("rules", "repositories")


def reporting(world: World) -> Guard:
    """The same in report mode."""
    return world.guard("rules-report", "repositories-report")


def flagged(world: World) -> Observed:
    good, bad = (world.push(world.repository(f"rules/flag-{n}"), tag) for n, tag in ((1, "v1.2.3"), (2, "nightly")))
    world.send("on-push", events.push(good), events.push(bad), guard=ruled(world))
    return observe(
        semver=(world.alerts(good.repository), []),
        another=(world.alerts(bad.repository), ["tag-violation"]),
        tags=(world.tags(bad), ["nightly"]),
        changes=(world.mutations(bad.repository), []),
    )


def untagged(world: World) -> Observed:
    image = world.push(world.repository("rules/untag-last"), "nightly")
    world.send("on-push", events.push(image), guard=ruled(world))
    tags = world.tags(image)
    marked = len(tags) == 1 and re.fullmatch(r"quarantine-[0-9a-f]{12}", tags[0]) is not None
    return observe(
        the_image_is_there=(world.pull(image, by="digest"), "works"),
        only_our_tag=(marked, True),
        pull_by_the_old_tag=(world.pull(image), "refused"),
        alerts=(world.alerts(image.repository), ["tag-violation"]),
    )


def two_at_once(world: World) -> Observed:
    repository = world.repository("rules/untag-two")
    tags = ("nightly", "dev")
    image = [world.pusher.image(repository, tag, f"two tags of {repository}") for tag in tags][-1]
    world.send("on-push", *[events.push(replace(image, tag=tag)) for tag in tags], guard=ruled(world))
    left = world.tags(image) if world.has(image) else []
    return observe(
        the_image_is_there=(world.pull(image, by="digest"), "works"),
        only_our_tag=([re.sub("[0-9a-f]{12}$", "…", tag) for tag in left], ["quarantine-…"]),
        alerts=(world.alerts(repository), ["tag-violation"] * 2),
    )


def blocked(world: World) -> Observed:
    image = world.push(world.repository("rules/block-latest"), "latest")
    world.send("on-push", events.push(image), guard=ruled(world))
    alerts = world.alert_documents(image.repository)
    return observe(
        state=(world.state(image), "Blocked"),
        pull=(world.pull(image), "refused"),
        alerts=([alert["kind"] for alert in alerts], ["image-blocked"]),
        names_the_tag=(["`latest`" in alert["reason"] for alert in alerts], [True]),
    )


def repaired(world: World) -> Observed:
    repository = world.repository("rules/drifted")
    before = world.mutability(repository)
    image = world.push(repository)
    world.send("on-push", events.push(image), guard=ruled(world))
    policy = world.lifecycle_policy(repository)
    kinds, changes = world.alerts(repository), world.mutations(repository)
    world.send("on-push", events.push(image), guard=ruled(world))
    return observe(
        mutability=(f"{before} to {world.mutability(repository)}", "MUTABLE to IMMUTABLE"),
        lifecycle_rules=(len(policy["rules"]) if policy else 0, 2),
        alerts=(sorted(kinds), ["lifecycle-repaired", "posture-repaired"]),
        changes_by_the_same_again=(world.mutations(repository)[len(changes) :], []),
    )


def lifecycle_held(world: World) -> Observed:
    repository = world.repository("rules/keep-one")
    old = world.push(repository, "v1.0.0")
    day = time.time() - DAY
    world.registry.set_image(repository, old.digest, imagePushedAt=day - 9 * DAY, lastRecordedPullTime=day)
    new = world.push(repository, "v1.0.1")
    world.send("on-push", events.push(new), guard=ruled(world))
    return observe(
        lifecycle_policy=(world.lifecycle_policy(repository), None),
        what_runs=(world.pull(old), "works"),
        alerts=(world.alerts(repository), ["lifecycle-held"]),
    )


def disabled_key(world: World) -> Observed:
    kms = client("kms", world.stack.url)
    key = kms.create_key(Description="of a repository")["KeyMetadata"]["Arn"]
    kms.disable_key(KeyId=key)
    repository = "rules/locked"
    world.registry.ecr.create_repository(
        repositoryName=repository,
        imageTagMutability="IMMUTABLE",
        encryptionConfiguration={"encryptionType": "KMS", "kmsKey": key},
    )
    world.send("on-push", events.push(world.push(repository)), guard=ruled(world))
    alerts = [alert for alert in world.alert_documents(repository) if alert["kind"] == "key-unhealthy"]
    return observe(severities=([alert["severity"] for alert in alerts], ["CRITICAL"]))


def deleted_key(world: World) -> Observed:
    # KMS says the same of a key whose waiting period is over and of one that never was: NotFoundException.
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/5c0c0d3f-0000-4000-8000-000000000000"
    repository = "rules/lost"
    world.registry.ecr.create_repository(
        repositoryName=repository,
        imageTagMutability="IMMUTABLE",
        encryptionConfiguration={"encryptionType": "KMS", "kmsKey": key},
    )
    image = world.push(repository)
    world.registry.behave(deletedKeys=[key])
    try:
        world.send("on-push", events.push(image), guard=ruled(world))
    finally:
        world.registry.behave(deletedKeys=[])
    alerts = [alert for alert in world.alert_documents(repository) if alert["kind"] == "key-unhealthy"]
    return observe(
        severities=([alert["severity"] for alert in alerts], ["CRITICAL"]),
        says=([change["old"] for alert in alerts for change in alert["changes"]], [f"{key}: it does not exist"]),
    )


OURS = {"Sid": "Ours", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}


def policed(world: World, name: str, condition: dict[str, Any], *guards: Guard) -> tuple[str, str, list[tuple[str, str]]]:
    """A repository with a policy that lets in callers that meet a condition, and us: its policy before and after these guards
    have reconciled a push, and their alerts about it."""
    repository = world.repository(f"rules/{name}")
    allow = {"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]}
    statements = [allow | {"Sid": "Theirs", "Principal": "*", "Condition": condition}, allow | OURS]
    text = json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)
    world.registry.ecr.set_repository_policy(repositoryName=repository, policyText=text)
    image = world.push(repository)
    for guard in guards:
        world.send("on-push", events.push(image), guard=guard)
    told = [
        (" ".join(filter(None, [alert["kind"], alert["severity"]])), change["old"])
        for alert in world.alert_documents(repository)
        for change in alert["changes"]
        if change["setting"].startswith("posture.allowed_accounts")
    ]
    return text, world.registry.ecr.get_repository_policy(repositoryName=repository)["policyText"], told


def open_policy(world: World) -> Observed:
    # It also holds for requests that have no such key: those of every account (IAM user guide, multivalued context keys).
    condition = {"ForAllValues:StringEquals": {"aws:PrincipalOrgID": "o-exampleorgid"}}
    _, now, told = policed(world, "open", condition, reporting(world), ruled(world))
    everybody = "lets in everybody"
    return observe(
        told=(told, [("posture-drift HIGH", everybody), ("posture-repaired", everybody)]),
        left=([statement["Sid"] for statement in json.loads(now)["Statement"]], ["Ours"]),
    )


def unknown_policy(world: World) -> Observed:
    condition = {"StringEquals": {"aws:KeyOfTomorrow": "ours"}}
    text, now, told = policed(world, "unknown", condition, ruled(world))
    return observe(
        told=([kind for kind, _ in told], ["posture-drift MEDIUM"]),
        says=([says.startswith("lets in nobody knows whom") for _, says in told], [True]),
        policy_is_as_it_was=(now == text, True),
        changes_of_it=([change for change in world.mutations("rules/unknown") if "RepositoryPolicy" in change], []),
    )


def slow_preview(world: World) -> Observed:
    guard = world.guard("slow-preview", "repositories", ("sweep", "worker"))
    repository = world.repository("rules/slow-preview")
    world.push(repository)
    # One sweep looks five times, and leaves it; the next one reads what the first one has begun.
    world.registry.behave(previewLooks=6)
    try:
        world.sweep(repository, guard=guard)
        not_yet, told = world.lifecycle_policy(repository), world.alerts(repository)
        world.sweep(repository, guard=guard)
    finally:
        world.registry.behave(previewLooks=0)
    errors = [line for line in world.stack.log_of(guard.functions["worker"]) if "ERROR" in line]
    policy = world.lifecycle_policy(repository)
    return observe(
        not_ready=(not_yet, None),
        told_then=(told, ["posture-repaired"]),
        lifecycle_rules=(len(policy["rules"]) if policy else 0, 2),
        alerts=(world.alerts(repository), ["posture-repaired", "lifecycle-repaired"]),
        previews_begun=(world.calls(repository, "StartLifecyclePolicyPreview"), 1),
        failures=(errors + world.stack.given_up(guard), []),
    )


def report_mode(world: World) -> Observed:
    repository = world.repository("rules/watched")
    image = world.push(repository)
    world.send("on-push", events.push(image), guard=reporting(world))
    return observe(
        mutability=(world.mutability(repository), "MUTABLE"),
        lifecycle_policy=(world.lifecycle_policy(repository), None),
        told=(len(world.alerts(repository)) > 0, True),
        alerts=", ".join(world.alerts(repository)),
        changes=(world.mutations(repository), []),
    )


def opted_out(world: World) -> Observed:
    repository = "rules/theirs"
    tags = {"ecr-guard": "ignore", "ecr-guard-reason": "kept by the team of the data platform"}
    world.registry.ecr.create_repository(
        repositoryName=repository,
        imageScanningConfiguration={"scanOnPush": True},
        tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )
    image = world.push(repository)
    world.send("on-push", events.push(image), guard=ruled(world))
    return observe(
        mutability=(world.mutability(repository), "MUTABLE"),
        alerts=(world.alerts(repository), []),
        changes=(world.mutations(repository), []),
        the_image_is_judged_all_the_same=(world.state(image), "Pending"),
    )


SCENARIOS = [
    Scenario("bad-tag-flagged", "a tag outside the rules is alerted, and stays", flagged),
    Scenario("last-tag-kept", "the tag is removed; the image stays, under a tag of ours", untagged),
    Scenario("two-bad-tags-at-once", "two functions at one image: both tags go, the image stays", two_at_once),
    Scenario("bad-tag-blocks", "a forbidden tag blocks its image before any scan", blocked),
    Scenario("repository-repaired", "mutable tags and no lifecycle policy: both repaired, once", repaired),
    Scenario("lifecycle-held", "a lifecycle policy that would delete what is in use is not set", lifecycle_held),
    Scenario("disabled-key-alarm", "the repository's key is disabled: alerted, CRITICAL", disabled_key),
    Scenario("deleted-key-alarm", "the key does not exist any more: alerted, CRITICAL", deleted_key),
    Scenario("open-policy-told", "ForAllValues lets in everybody: alerted as open; with repair taken out, the rest stays", open_policy),
    Scenario("unknown-condition-left", "a condition that nobody knows: alerted, and left byte for byte", unknown_policy),
    Scenario("slow-lifecycle-preview", "not ready for a sweep: no failure, no alert; set by the next", slow_preview),
    Scenario("repository-in-report-mode", "alerted; not one changing call to the registry", report_mode),
    Scenario("repository-opted-out", "ecr-guard=ignore with a reason: left as it is, its images are evaluated", opted_out),
]
