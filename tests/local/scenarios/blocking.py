"""Blocked images, and what comes after."""

from __future__ import annotations

import time

from local_aws import events
from local_aws.findings import basic
from local_aws.processes import wait_for
from scenarios.world import Observed, Scenario, World, observe

DAY = 86_400
RELEASED = basic("CVE-2026-7007", "CRITICAL", "libxml2")
OPENSSL = basic("CVE-2026-1234", "CRITICAL", "openssl")


def critical(world: World) -> Observed:
    image = world.push_and_scan("team/critical", OPENSSL, basic("CVE-2026-1235", "MEDIUM", "zlib"))
    return observe(
        state=(world.state(image), "Blocked"),
        because_of=(world.deciding(image), ["CVE-2026-1234"]),
        pull_by_tag=(world.pull(image), "refused"),
        pull_by_digest=(world.pull(image, by="digest"), "refused"),
        tags_kept=(world.tags(image), ["v1.0.0"]),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
    )


def came_back(world: World) -> Observed:
    image = world.push_and_scan("team/came-back", OPENSSL)
    before = world.pull(image)
    world.pusher.again(image)
    between = world.pull(image)
    world.send("on-push", events.push(image))
    return observe(
        blocked=(before, "refused"),
        after_the_push=(between, "works"),
        after_its_event=(world.pull(image), "refused"),
        state=(world.state(image), "Blocked"),
        alerts=(world.alerts(image.repository), ["image-blocked", "image-bypass"]),
    )


def restored_by_hand(world: World) -> Observed:
    image = world.push_and_scan("team/restored", OPENSSL)
    world.registry.ecr.update_image_storage_class(
        repositoryName=image.repository, imageId={"imageDigest": image.digest}, targetStorageClass="STANDARD"
    )
    between = world.pull(image)
    world.send("on-push", events.storage_class(image, "STANDARD"))
    return observe(
        after_the_restore=(between, "works"),
        after_its_event=(world.pull(image), "refused"),
        state=(world.state(image), "Blocked"),
        alerts=(world.alerts(image.repository), ["image-blocked", "image-bypass"]),
    )


def in_use(world: World) -> Observed:
    image = world.push(world.repository("team/in-use"))
    world.send("on-push", events.push(image))
    world.registry.set_image(image.repository, image.digest, lastRecordedPullTime=time.time() - DAY)
    world.send("on-scan", world.found(image, OPENSSL))
    return observe(
        state=(world.state(image), "BlockDeferred"),
        pull=(world.pull(image), "works"),
        alerts=(world.alerts(image.repository), ["block-deferred"]),
        changes=(world.mutations(image.repository), []),
    )


def no_worse(world: World) -> Observed:
    repository = world.repository("team/no-worse")
    known, another = basic("CVE-2026-5001", "CRITICAL", "zlib"), basic("CVE-2026-5002", "CRITICAL", "curl")
    running = world.push(repository, "v1.0.0")
    day = time.time() - DAY
    world.registry.set_image(repository, running.digest, imagePushedAt=day - 9 * DAY, lastRecordedPullTime=day)
    world.send("on-scan", world.found(running, known))
    same, worse = world.push(repository, "v1.0.1"), world.push(repository, "v1.0.2")
    for image, found in ((same, [known]), (worse, [known, another])):
        world.send("on-push", events.push(image))
        world.send("on-scan", world.found(image, *found))
    return observe(
        what_runs=(world.state(running), "BlockDeferred"),
        its_equal=(world.state(same), "BlockDeferred"),
        pull_of_its_equal=(world.pull(same), "works"),
        one_finding_more=(world.state(worse), "Blocked"),
        pull_of_that=(world.pull(worse), "refused"),
        alerts=(world.alerts(repository), ["block-deferred", "block-deferred", "image-blocked"]),
    )


def exception_lives(world: World) -> Observed:
    guard = world.guard("exception", "exception")
    image = world.push_and_scan("team/release-lives", RELEASED, guard=guard)
    held_off, pull = world.state(image), world.pull(image)
    for deployed in guard.functions.values():
        world.stack.change_policy(deployed, "exception-ended")
    world.send("on-scan", events.scan(image, "COMPLETE", {"CRITICAL": 1}), guard=guard)
    return observe(
        while_it_holds=(held_off, "Allowed"),
        pull=(pull, "works"),
        when_it_has_ended=(world.state(image), "Blocked"),
        pull_then=(world.pull(image), "refused"),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
    )


def multi_arch(world: World) -> Observed:
    repository = world.repository("team/multi-arch")
    amd64, arm64 = (world.pusher.image(repository, None, f"{repository} for {name}") for name in ("amd64", "arm64"))
    index = world.pusher.index(repository, "v1.0.0", [amd64, arm64])
    world.send("on-push", *[events.push(image) for image in (amd64, arm64, index)])
    pushed = world.state(index)
    world.send("on-scan", world.found(amd64, basic("CVE-2026-5003", "MEDIUM", "zlib")))
    world.send("on-scan", world.found(arm64, OPENSSL))
    alerts = world.alert_documents(repository)
    blocked = [world.pull(index), world.pull(index, by="digest"), world.pull(arm64, by="digest")]
    # Somebody gives the index another tag, which brings it back.
    again = world.pusher.index(repository, "v1.0.0-hotfix", [amd64, arm64])
    between = world.pull(again)
    world.send("on-push", events.push(again))
    return observe(
        pushed=(pushed, "Pending"),
        index=(world.state(index), "Blocked"),
        pulls_of_tag_index_and_image=(blocked, ["refused"] * 3),
        the_clean_image=(world.state(amd64), "Allowed"),
        one_alert_for_all=([(alert["kind"], alert["digest"]) for alert in alerts], [("image-blocked", index.digest)]),
        after_another_tag=(between, "works"),
        after_its_event=(world.pull(again), "refused"),
        told=(world.alerts(repository)[1:], ["image-bypass"]),
    )


def index_after_its_images(world: World) -> Observed:
    repository = world.repository("team/index-later")
    # `docker manifest create`: its images may have tags of their own.
    amd64 = world.push(repository, "v1.0.0-amd64")
    arm64 = world.pusher.image(repository, None, f"{repository} for arm64")
    index = world.pusher.index(repository, "v1.0.0", [amd64, arm64])
    world.registry.set_image(repository, index.digest, lastRecordedPullTime=time.time() - DAY)
    for image in (amd64, arm64):
        world.send("on-push", events.push(image))
        world.send("on-scan", world.found(image, OPENSSL))
    first = [world.pull(image, by="digest") for image in (amd64, arm64)]
    world.send("on-push", events.push(index))
    # That the image came back is an event of its own, which is ours.
    world.send("on-push", events.storage_class(amd64, "STANDARD"))
    ended = [[world.state(image) for image in (index, amd64, arm64)]]
    world.sweep(repository)
    ended.append([world.state(image) for image in (index, amd64, arm64)])
    return observe(
        before_its_event=(first, ["refused", "works"]),
        index_and_images=(ended[0], ["BlockDeferred"] * 3),
        after_a_sweep=(ended[1], ["BlockDeferred"] * 3),
        pulls=([world.pull(image, by="digest") for image in (index, amd64, arm64)], ["works"] * 3),
        alerts=(world.alerts(repository), ["image-blocked", "block-deferred", "image-released"]),
    )


def excepted_by_index(world: World) -> Observed:
    guard = world.guard("by-tag", "exception-by-tag")
    repository = world.repository("team/excepted-index")
    image = world.pusher.image(repository, None, f"{repository} for amd64")
    index = world.pusher.index(repository, "release-1", [image])
    world.send("on-push", events.push(image), guard=guard)
    world.send("on-scan", world.found(image, RELEASED), guard=guard)
    before = world.state(image)
    world.send("on-push", events.push(index), guard=guard)
    # The same finding, and an index with another tag.
    other = world.pusher.image(repository, None, f"{repository} for arm64")
    others = world.pusher.index(repository, "nightly", [other])
    world.send("on-push", events.push(other), events.push(others), guard=guard)
    world.send("on-scan", world.found(other, RELEASED), guard=guard)
    return observe(
        before_the_index_is_known=(before, "BlockDeferred"),
        index_and_image=([world.state(index), world.state(image)], ["Allowed"] * 2),
        pull=(world.pull(index), "works"),
        under_another_tag=([world.state(others), world.state(other)], ["Blocked"] * 2),
        alerts=([(alert["kind"], alert["tags"]) for alert in world.alert_documents(repository)], [("image-blocked", ["nightly"])]),
    )


def released_and_pullable(world: World) -> Observed:
    guard = world.guard("restore")
    image = world.push_and_scan("team/release-slowly", RELEASED, guard=guard)
    for deployed in guard.functions.values():
        world.stack.change_policy(deployed, "exception")
    world.registry.set_restore_seconds(3)
    try:
        world.send("on-scan", events.scan(image, "COMPLETE", {"CRITICAL": 1}), guard=guard)
        during, told = world.pull(image), world.alerts(image.repository)
        state = world.state(image)
        wait_for("the restore", lambda: world.pull(image) == "works")
    finally:
        world.registry.set_restore_seconds(0)
    world.send("on-push", events.storage_class(image, "STANDARD"), guard=guard)
    return observe(
        state_during_the_restore=(state, "Allowed"),
        pull=(during, "refused"),
        told=(told, ["image-blocked"]),
        pull_afterwards=(world.pull(image), "works"),
        told_afterwards=(world.alerts(image.repository), ["image-blocked", "image-released"]),
    )


def released(world: World) -> Observed:
    guard = world.guard("released")
    finding = RELEASED
    image = world.push_and_scan("team/release", finding, guard=guard)
    before = world.pull(image)
    for deployed in guard.functions.values():
        world.stack.change_policy(deployed, "exception")
    world.send("on-scan", events.scan(image, "COMPLETE", {"CRITICAL": 1}), guard=guard)
    after = world.pull(image)
    # The restore is an event of its own, and lets the image be scanned anew.
    world.send("on-push", events.storage_class(image, "STANDARD"), guard=guard)
    world.send("on-scan", world.found(image, finding), guard=guard)
    return observe(
        blocked=(before, "refused"),
        after_the_exception=(after, "works"),
        in_the_end=(world.pull(image), "works"),
        state=(world.state(image), "Allowed"),
        alerts=(world.alerts(image.repository), ["image-blocked", "image-released"]),
    )


def referrer(world: World) -> Observed:
    image = world.push_and_scan("team/signed")
    signature = world.pusher.attestation(image)
    world.send("on-push", events.push(signature))
    provenance = world.pusher.provenance(image)
    world.send("on-push", events.push(provenance))
    world.send("on-scan", events.scan(provenance, "FAILED"))
    return observe(
        image=(world.state(image), "Allowed"),
        signature=(world.state(signature), "NotAnImage"),
        provenance=(world.state(provenance), "NotAnImage"),
        alerts=(world.alerts(image.repository), []),
        changes=(world.mutations(image.repository), []),
    )


SCENARIOS = [
    Scenario("critical-blocked", "Blocked, one alert, no pull by tag or digest, tags kept", critical),
    Scenario("blocked-image-pushed-again", "the push restores it, its event blocks it again: image-bypass", came_back),
    Scenario("restored-by-hand", "somebody restores it: blocked again, image-bypass", restored_by_hand),
    Scenario("block-deferred-in-use", "pulled yesterday: the block is deferred, with an alert", in_use),
    Scenario("no-worse-than-what-runs", "the same finding as in what runs: block deferred; one more: Blocked", no_worse),
    Scenario("exception-holds-and-ends", "Allowed as long as the exception holds, Blocked when it has ended", exception_lives),
    Scenario(
        "multi-arch", "one platform CRITICAL: tag, index and image blocked, one alert; another tag: blocked again", multi_arch
    ),
    Scenario(
        "index-judged-after-its-images", "the index is in use: its images come back, or are never blocked", index_after_its_images
    ),
    Scenario("exception-by-index-tag", "it holds for the image before the first block; not under another tag", excepted_by_index),
    Scenario(
        "released-and-pullable", "alerted when the restore is done, and not before", released_and_pullable
    ),
    Scenario("exception-releases", "with an exception in the policy the next event releases our block", released),
    Scenario("referrer-ignored", "a signature, and an attestation that looks like an image: no alert, no change", referrer),
]
