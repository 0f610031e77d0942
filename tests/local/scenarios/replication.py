"""Copies in a second region: proved, without their tag, failed, late; blocked and released with their sources; protected as at home."""

from __future__ import annotations

import json
import time
from typing import Any

from local_aws import events
from local_aws.findings import basic
from local_aws.images import Image
from local_aws.processes import wait_for
from local_aws.registry import ACCOUNT, REGION, SECOND_REGION
from scenarios.world import Observed, Scenario, World, observe
from stack import Guard
from work import work_item

NAME = "copies"
AT_HOME = ("on-push", "on-scan", "sweep", "worker")
THERE = ("on-push", "on-replication", "sweep", "worker")
OPENSSL = basic("CVE-2026-9100", "CRITICAL", "openssl")


def home(world: World) -> Guard:
    """The functions at home; everything in ``dr/`` is copied to the second region."""
    world.copy_to_second_region("dr/")
    return world.guard(NAME, NAME, AT_HOME)


def there(world: World) -> Guard:
    """The functions in the second region."""
    return world.second().guard(NAME, NAME, THERE)


def pushed(world: World, repository: str, **behaviour: Any) -> Image:
    """An image that was pushed at home, with its event. Its copy goes as ``behaviour`` says."""
    guard = home(world)
    world.repository(repository)
    world.registry.set_replication(repository, **behaviour)
    image = world.push(repository)
    world.send("on-push", events.push(image), guard=guard)
    return image


def arrived(world: World, image: Image, result: str = "SUCCESS") -> None:
    """ECR reports that a copy has arrived, or has not."""
    guard = there(world)
    if result == "SUCCESS":
        wait_for(f"the copy of {image.repository}", lambda: world.second().has(image))
    world.second().send("on-replication", events.replication(image, result), guard=guard)


def copied(world: World, repository: str, **behaviour: Any) -> Image:
    """Pushed at home, and arrived."""
    image = pushed(world, repository, **behaviour)
    arrived(world, image)
    return image


def copy_state(world: World, image: Image) -> str:
    """How the copy stands, by the ledger."""
    key = (f"{ACCOUNT}#{image.repository}", f"replica#{image.digest}#{SECOND_REGION}")
    rows = [row for row in world.stack.ledger() if (row["pk"], row["sk"]) == key]
    return str(rows[0]["row"]["state"]) if rows else "none"


def looked_at_again(world: World, image: Image) -> None:
    """The second reconcile of a repository, which a worker leaves to itself for ten minutes after images were due: figures and
    copies."""
    guard = home(world)
    item = work_item(image.repository, again=True)
    world.stack.sqs.send_message(QueueUrl=guard.queue, MessageBody=json.dumps(item))
    world.stack.drain(guard)


def told(world: World, image: Image) -> list[str]:
    """The kinds of alerts about the repository, at home and in the second region."""
    return world.alerts(image.repository) + [f"{kind} (there)" for kind in world.second().alerts(image.repository)]


def proved(world: World) -> Observed:
    image = copied(world, "dr/proved")
    guard = there(world)
    log = [line for line in world.second().stack.log_of(guard.functions["on-replication"]) if image.digest in line]
    return observe(
        copy=(copy_state(world, image), "complete"),
        pull_there=(world.second().pull(image), "works"),
        lag_is_measured=(any("ReplicationLag" in line for line in log), True),
        alerts=(told(world, image), []),
    )


def tag_dropped(world: World) -> Observed:
    there(world)
    second = world.second()
    taken = "dr/tag-dropped"
    second.registry.ecr.create_repository(repositoryName=taken, imageTagMutability="IMMUTABLE")
    second.pusher.image(taken, "v1.0.0", "another image that has the tag", False)
    image = copied(world, taken)
    alerts = second.alert_documents(taken)
    return observe(
        copy=(copy_state(world, image), "incomplete"),
        by_digest=(world.second().has(image), True),
        alerts=(told(world, image), ["replica-incomplete (there)"]),
        missing=([change["setting"] for alert in alerts for change in alert["changes"]], ["tag v1.0.0"]),
    )


def failed(world: World) -> Observed:
    image = pushed(world, "dr/failed", failureCode="KmsError")
    there(world)
    arrived(world, image, "FAILED")
    arrived(world, image, "FAILED")
    reasons = [alert["reason"] for alert in world.second().alert_documents(image.repository)]
    return observe(
        copy=(copy_state(world, image), "failed"),
        alerts_for_two_events=(told(world, image), ["replication-failed (there)"]),
        names_the_code=(all("KmsError" in reason for reason in reasons), True),
    )


def late(world: World) -> Observed:
    image = pushed(world, "dr/late", delaySeconds=3600)
    there(world)
    world.send("on-scan", world.found(image), guard=home(world))
    world.registry.set_image(image.repository, image.digest, imagePushedAt=time.time() - 3600)
    for _ in range(3):
        looked_at_again(world, image)
    # A backfill does not have to wait for it.
    world.registry.set_replication(image.repository)
    return observe(
        there=(world.second().has(image), False),
        alerts_for_three_looks=(told(world, image), ["replication-late"]),
    )


def backfilled(world: World) -> Observed:
    guard = home(world)
    there(world)
    world.copy_to_second_region(None)
    image = world.push(world.repository("dr/backfilled"))
    world.send("on-push", events.push(image), guard=guard)
    world.send("on-scan", world.found(image), guard=guard)
    world.registry.set_image(image.repository, image.digest, imagePushedAt=time.time() - 3600)
    home(world)
    before = world.second().has(image)
    looked_at_again(world, image)
    wait_for("the backfill copies it", lambda: world.second().has(image))
    return observe(
        before=(before, False),
        there=(world.second().has(image), True),
        alerts=(told(world, image), ["replication-late"]),
    )


def out_of_reach(world: World) -> Observed:
    gone, archived = copied(world, "dr/gone"), copied(world, "dr/archived")
    second, guard = world.second(), there(world)
    ecr = second.registry.ecr
    ecr.batch_delete_image(repositoryName=gone.repository, imageIds=[{"imageDigest": gone.digest}])
    ecr.update_image_storage_class(
        repositoryName=archived.repository, imageId={"imageDigest": archived.digest}, targetStorageClass="ARCHIVE"
    )
    for image in (gone, archived):
        item = work_item(image.repository, again=True, region=SECOND_REGION)
        second.stack.sqs.send_message(QueueUrl=guard.queue, MessageBody=json.dumps(item))
    second.stack.drain(guard)
    for image in (gone, archived):
        world.send("on-scan", world.found(image), guard=home(world))
        looked_at_again(world, image)
    # Our two repositories are named, so that no other is left to the workers of this policy.
    world.sweep(gone.repository, archived.repository, guard=home(world), digest=True)
    digests = [alert["figures"] for alert in world.stack.received() if alert["kind"] == "digest"]
    not_ready = {one["repository"]: one for one in digests[-1]["replication_not_ready"]["worst"]}
    figures = [not_ready.get(image.repository, {}) for image in (gone, archived)]
    return observe(
        pulls_there=([second.pull(image) for image in (gone, archived)], ["refused"] * 2),
        alerts=([told(world, image) for image in (gone, archived)], [["replica-incomplete (there)"]] * 2),
        not_ready=([(one.get("missing", 0), one.get("archived", 0)) for one in figures], [(1, 0), (0, 1)]),
        present=([one.get("present") for one in figures], [0, 0]),
    )


def blocked_follows(world: World) -> Observed:
    image = copied(world, "dr/blocked")
    second, guard = world.second(), there(world)
    before = second.pull(image)
    world.send("on-scan", world.found(image, OPENSSL), guard=home(world))
    at_home = world.pull(image)
    # The rules of the home region forward this event to the second region.
    forwarded = events.delivered("aws.ecr", events.storage_class(image, "ARCHIVE"), REGION)
    second.invoke_later(guard.functions["on-replication"], forwarded, 1)
    return observe(
        before=(before, "works"),
        at_home=(at_home, "refused"),
        there=(second.state(image), "Blocked"),
        pull_there=(second.pull(image), "refused"),
        alerts=(told(world, image), ["image-blocked"]),
    )


def blocked_on_arrival(world: World) -> Observed:
    image = pushed(world, "dr/on-arrival")
    world.send("on-scan", world.found(image, OPENSSL), guard=home(world))
    arrived(world, image)
    return observe(
        at_home=(world.state(image), "Blocked"),
        there=(world.second().state(image), "Blocked"),
        pull_there=(world.second().pull(image), "refused"),
        alerts=(told(world, image), ["image-blocked"]),
    )


def released_follows(world: World) -> Observed:
    image = copied(world, "dr/released")
    second, guards = world.second(), {world: home(world), world.second(): there(world)}
    world.send("on-scan", world.found(image, OPENSSL), guard=home(world))
    second.sweep(image.repository, guard=there(world))
    blocked = (world.pull(image), second.pull(image))
    for region, guard in guards.items():
        region.stack.change_policy(guard.functions["worker"], "copies-excepted")
    try:

        def sweeps_release() -> bool:
            for region, guard in guards.items():
                region.sweep(image.repository, guard=guard)
            return (world.pull(image), second.pull(image)) == ("works", "works")

        wait_for("both can be pulled", sweeps_release)
    finally:
        for region, guard in guards.items():
            region.stack.change_policy(guard.functions["worker"], NAME)
    return observe(
        blocked=(blocked, ("refused", "refused")),
        at_home=(world.state(image), "Allowed"),
        there=(second.state(image), "Allowed"),
        there_told=([kind for kind in told(world, image) if "there" in kind], []),
    )


def unprotected(world: World) -> Observed:
    image = copied(world, "dr/protected")
    ecr = world.second().registry.ecr
    repository = ecr.describe_repositories(repositoryNames=[image.repository])["repositories"][0]
    lifecycle = ecr.get_lifecycle_policy(repositoryName=image.repository)["lifecyclePolicyText"]
    return observe(
        tags_there=(repository["imageTagMutability"], "IMMUTABLE"),
        lifecycle_there=('"v"' in lifecycle, True),
        alerts_there=(sorted(world.second().alerts(image.repository)), ["lifecycle-repaired", "posture-repaired"]),
    )


SCENARIOS = [
    Scenario("copy-proved", "a copy is there with its tag: noted in silence, its lag is measured", proved),
    Scenario("copy-without-its-tag", "an immutable destination keeps its tag: the alert names what is missing", tag_dropped),
    Scenario("copy-failed", "alerted once, with the code that the source knows", failed),
    Scenario("copy-late", "the sweep at home alerts once about what has not arrived", late),
    Scenario("copy-by-backfill", "with the policy's consent, a backfill copies what is late", backfilled),
    Scenario("copy-out-of-reach", "a deleted and an archived copy: alerted, and the region is not ready", out_of_reach),
    Scenario("copy-blocked-with-its-source", "blocked at home: blocked there by the forwarded event", blocked_follows),
    Scenario("copy-blocked-on-arrival", "it arrives after its source was blocked: blocked", blocked_on_arrival),
    Scenario("copy-released-with-its-source", "released at home: the sweep there releases it too", released_follows),
    Scenario("copy-protected", "ECR's defaults in the new repository are repaired", unprotected),
]
