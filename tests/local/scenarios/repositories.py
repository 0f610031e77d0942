"""What the policy asks of repositories and tags."""

from __future__ import annotations

import re
import time

import events
from registry import client
from scenarios.world import Observed, Scenario, World, observe
from stack import Guard

DAY = 86_400


def ruled(world: World) -> Guard:
    """The functions under a policy with rules for repositories."""
    return world.guard("rules", "repositories")


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


def report_mode(world: World) -> Observed:
    repository = world.repository("rules/watched")
    image = world.push(repository)
    world.send("on-push", events.push(image), guard=world.guard("rules-report", "repositories-report"))
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
    Scenario("bad-tag-flagged", "a tag outside the rules is told, and stays", flagged),
    Scenario("last-tag-kept", "the tag is removed; the image stays, under a tag of ours", untagged),
    Scenario("bad-tag-blocks", "a forbidden tag blocks its image before any scan", blocked),
    Scenario("repository-repaired", "mutable tags and no lifecycle policy: both repaired, once", repaired),
    Scenario("lifecycle-held", "a lifecycle policy that would delete what is in use is not set", lifecycle_held),
    Scenario("disabled-key-alarm", "the repository's key is disabled: told, CRITICAL", disabled_key),
    Scenario("repository-in-report-mode", "told; not one changing call to the registry", report_mode),
    Scenario("repository-opted-out", "ecr-guard=ignore with a reason: left as it is, its images are judged", opted_out),
]
