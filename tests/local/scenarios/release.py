"""Releases by people: the function itself, asked as `ecr-guard release` asks it, with a role that AWS STS names."""

from __future__ import annotations

import hashlib
import json
import secrets
from contextlib import suppress
from typing import Any

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local_aws import events, running
from local_aws.findings import basic
from local_aws.images import Image
from local_aws.registry import ACCOUNT, client
from region import TABLE, Guard
from scenarios.world import Observed, Scenario, World, observe

OPENSSL = basic("CVE-2026-9301", "CRITICAL", "openssl")
FUNCTIONS = ("operate", "on-push", "on-scan", "sweep", "worker")
PAST = "2026-01-01T00:00:00Z"


def guard(world: World) -> Guard:
    """A deployment with releases."""
    return world.guard("release", "release", FUNCTIONS)


def caller(world: World, role: str) -> Credentials:
    """The session `alice` of a role of the account, which is made if it is not there."""
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    with suppress(world.stack.iam.exceptions.EntityAlreadyExistsException):
        world.stack.iam.create_role(RoleName=role, AssumeRolePolicyDocument=document)
    asked = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/{role}", "RoleSessionName": "alice"}
    got = client("sts", world.stack.url, world.stack.region).assume_role(**asked)["Credentials"]
    return Credentials(got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"])


def request(world: World, under: Guard, image: Image, role: str = "oncall", **members: Any) -> dict[str, Any]:
    """A request with the proof of who asks, as the command line makes it."""
    asked: dict[str, Any] = {"schema": "ecr-guard/operate/v1", "id": secrets.token_hex(16), "action": "release", "image": running.by_digest(image)}
    if members.get("action") != "end":
        asked |= {"hours": 4, "reason": "checkout is down", "ticket": "SEC-77"}
    asked |= members
    asked = {name: value for name, value in asked.items() if value is not None}
    text = json.dumps(asked, separators=(",", ":"), ensure_ascii=False)
    region = world.stack.region
    headers = {
        "x-ecr-guard-function": f"arn:aws:lambda:{region}:{ACCOUNT}:function:{under.functions['operate']}",
        "x-ecr-guard-request": hashlib.sha256(text.encode()).hexdigest(),
    }
    url = f"https://sts.{region}.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15"
    signed = AWSRequest(method="GET", url=url, headers=headers)
    SigV4QueryAuth(caller(world, role), "sts", region, expires=60).add_auth(signed)
    return asked | {"identity": {"url": signed.url, "headers": headers}}


def ask(world: World, under: Guard, asked: dict[str, Any]) -> dict[str, Any]:
    """The function's answer."""
    answer: dict[str, Any] = world.invoke(under.functions["operate"], asked)
    return answer


def said(answer: dict[str, Any]) -> tuple[str, str | None]:
    """The result, or the code of the refusal."""
    return answer["outcome"], answer.get("code")


def release_is_over(world: World, image: Image) -> None:
    """Turns the clock of a release: its end is in the past."""
    key = {"pk": {"S": f"{ACCOUNT}#{image.repository}"}, "sk": {"S": f"image#{image.digest}#{world.stack.region}"}}
    item = world.stack.dynamodb.get_item(TableName=TABLE, Key=key, ConsistentRead=True)["Item"]
    row = json.loads(item["row"]["S"])
    row["release"]["until"] = PAST
    world.stack.dynamodb.put_item(TableName=TABLE, Item=item | {"row": {"S": json.dumps(row)}})


def released(world: World) -> Observed:
    under = guard(world)
    image = world.push_and_scan("release/tonight", OPENSSL, guard=under)
    before = world.pull(image)
    answer = ask(world, under, request(world, under, image))
    world.send("on-push", events.storage_class(image, "STANDARD"), guard=under)
    alert = world.alert_documents(image.repository)[-1]
    return observe(
        blocked=(before, "refused"),
        answer=(said(answer), ("released", None)),
        by=((answer["by"]["name"], answer["by"]["session"]), ("role/oncall", "alice")),
        pull=(world.pull(image), "works"),
        state=(world.state(image), "BlockDeferred"),
        alerts=(world.alerts(image.repository), ["image-blocked", "image-released"]),
        told=((alert["release"]["ticket"], alert["release"]["by"]["name"]), ("SEC-77", "role/oncall")),
    )


def ended_by_itself(world: World) -> Observed:
    under = guard(world)
    image = world.push_and_scan("release/over", OPENSSL, guard=under)
    ask(world, under, request(world, under, image))
    world.send("on-push", events.storage_class(image, "STANDARD"), guard=under)
    during = world.pull(image)
    world.sweep(image.repository, guard=under)
    still = world.pull(image)
    release_is_over(world, image)
    world.sweep(image.repository, guard=under)
    reason = world.alert_documents(image.repository)[-1]["reason"]
    return observe(
        during=((during, still), ("works", "works")),
        afterwards=(world.pull(image), "refused"),
        state=(world.state(image), "Blocked"),
        alerts=(world.alerts(image.repository), ["image-blocked", "image-released", "image-blocked"]),
        says_so=("release by role/oncall" in reason and "has ended" in reason, True),
    )


def ended_by_a_person(world: World) -> Observed:
    under = guard(world)
    image = world.push_and_scan("release/ended", OPENSSL, guard=under)
    ask(world, under, request(world, under, image))
    world.send("on-push", events.storage_class(image, "STANDARD"), guard=under)
    during = world.pull(image)
    answer = ask(world, under, request(world, under, image, action="end"))
    return observe(
        during=(during, "works"),
        answer=(said(answer), ("ended", None)),
        afterwards=(world.pull(image), "refused"),
        alerts=(world.alerts(image.repository), ["image-blocked", "image-released", "image-blocked"]),
    )


def refused(world: World) -> Observed:
    under = guard(world)
    image = world.push_and_scan("release/refused", OPENSSL, guard=under)
    other = world.push_and_scan("team/not-released", OPENSSL, guard=under)
    clean = world.push_and_scan("release/clean", guard=under)
    stale = request(world, under, image)
    changed = stale | {"hours": 12}
    elsewhere = stale | {"identity": stale["identity"] | {"url": stale["identity"]["url"].replace(".amazonaws.com", ".example.org")}}
    twice = request(world, under, clean)

    def code(**members: Any) -> str | None:
        return said(ask(world, under, request(world, under, image, **members)))[1]

    return observe(
        another_role=(code(role="developer"), "not-allowed"),
        another_repository=(said(ask(world, under, request(world, under, other)))[1], "not-allowed"),
        too_long=(code(hours=13), "too-long"),
        no_ticket=(code(ticket=None), "no-ticket"),
        not_blocked=(said(ask(world, under, twice))[1], "not-blocked"),
        repeated=(said(ask(world, under, twice))[1], "replayed"),
        changed=(said(ask(world, under, changed))[1], "unidentified"),
        another_host=(said(ask(world, under, elsewhere))[1], "unidentified"),
        nothing_to_end=(code(action="end"), "not-released"),
        pull=(world.pull(image), "refused"),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
    )


SCENARIOS = [
    Scenario("release-given", "a person releases a blocked image: it can be pulled, and both routes are alerted", released),
    Scenario("release-ended", "after its time the next sweep blocks it again, although it was pulled", ended_by_itself),
    Scenario("release-ended-by-a-person", "`release --end` blocks it at once", ended_by_a_person),
    Scenario("release-refused", "another role, repository or host, too long, no ticket, changed, repeated: nothing is released", refused),
]
