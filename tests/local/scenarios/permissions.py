"""Each function works with the role that Terraform gives it; with one action less it is denied, says so, does no half work."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from local_aws import events, roles, running
from local_aws.findings import basic
from local_aws.images import Image
from local_aws.processes import wait_for
from local_aws.registry import ACCOUNT, REGION, SECOND_REGION, client
from region import EXTERNAL_ID
from scenarios.world import Observed, Scenario, World, observe
from stack import FUNCTIONS, TABLE, Guard
from work import work_item

OPENSSL = basic("CVE-2026-9300", "CRITICAL", "openssl")
POLICY = "permissions"
# The same, and images are blocked by a tag.
BY_TAG = "permissions-by-tag"
# Workloads are asked for, also those of another account.
OF_WORKLOADS = "permissions-of-workloads"
OTHER = "222222222222"
READER = f"arn:aws:iam::{OTHER}:role/ecr-guard-workload-reader"
LISTS = ["batch:DescribeJobDefinitions", "ecs:ListClusters", "ecs:ListTaskDefinitions", "eks:ListClusters", "lambda:ListFunctions"]
BACKFILL = {"pk": {"S": ACCOUNT}, "sk": {"S": f"backfill#{REGION}#{SECOND_REGION}"}}


@dataclass(frozen=True)
class Task:
    """Something for a function to do: with what it is invoked (made anew for each invocation), about which image, and where."""

    world: World
    image: Image
    payload: Callable[[], dict[str, Any]]
    digests: int = 0


@dataclass(frozen=True)
class Job:
    """An action of a function, the state when it is done, and the state when it may not take one of the actions for it.

    For some actions, the state after the permission returns differs from that of a role that always had it: ``afterwards``.
    """

    function: str
    task: Callable[[World, str], Task]
    stands: Callable[[Task], Any]
    done: Any
    denied: dict[str, Any]
    afterwards: dict[str, Any] = field(default_factory=dict)
    policy: str = POLICY
    # How often it is invoked, at most, until it stands as it should when the action is granted again.
    turns: int = 1


def guard(world: World, policy: str = POLICY) -> Guard:
    """The functions of the home region. Nothing takes from their queue but these scenarios."""
    if policy == BY_TAG:
        return world.guard("iam-by-tag", policy, ("on-scan",))
    if policy == OF_WORKLOADS:
        return world.guard("iam-workloads", policy, ("on-scan", "worker", "workloads"), mapped=False)
    return world.guard("iam", POLICY, tuple(name for name in FUNCTIONS if name != "on-replication"), mapped=False)


def deployed(job: Job, world: World) -> str:
    """The name of the function, in the region that it is invoked in."""
    if job.function == "on-replication":
        return world.guard("iam", POLICY, ("on-replication",)).functions[job.function]
    return guard(world, job.policy).functions[job.function]


def role(job: Job, world: World) -> list[roles.Statement]:
    """The statements of its role, as Terraform has them."""
    queue = "" if job.function == "on-replication" else guard(world, job.policy).queue
    return world.stack.role_policy(job.function, deployed(job, world), job.policy, queue)


def invoke(job: Job, task: Task) -> str:
    """Invokes the function; gives the code and the text of its error, or nothing if it has succeeded."""
    name = deployed(job, task.world)
    before = len(task.world.stack.log_of(name))
    answer = task.world.stack.lambdas.invoke(FunctionName=name, Payload=json.dumps(task.payload()).encode())
    body = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        return f"{body['errorType']}: {body['errorMessage']}"
    if isinstance(body, dict) and body.get("batchItemFailures"):
        # A worker gives its messages back, and says why in its log.
        return "\n".join(line for line in task.world.stack.log_of(name)[before:] if "ERROR" in line)
    return ""


def pushed(world: World, name: str) -> Task:
    """A push that nobody has reconciled yet."""
    image = world.push(world.repository(f"iam/rules-{name}"), tag="v1.0.0")
    return Task(world, image, lambda: events.delivered("aws.ecr", events.push(image)))


def pushed_with_key(world: World, name: str) -> Task:
    """A push into a repository with a key of its own, which is not rotated."""
    key = client("kms", world.stack.url).create_key(Description="of a repository")["KeyMetadata"]["Arn"]
    encryption = {"encryptionType": "KMS", "kmsKey": key}
    world.registry.ecr.create_repository(
        repositoryName=f"iam/keys-{name}",
        encryptionConfiguration=encryption,
        imageScanningConfiguration={"scanOnPush": True},
    )
    image = world.push(f"iam/keys-{name}")
    return Task(world, image, lambda: events.delivered("aws.ecr", events.push(image)))


def pushed_with_bad_tag(world: World, name: str) -> Task:
    """A push with a tag that the policy takes away, in addition to a good one."""
    repository = world.repository(f"iam/rules-{name}")
    for tag in ("v1.0.0", "latest"):
        image = world.pusher.image(repository, tag, f"two tags of {repository}")
    return Task(world, image, lambda: events.delivered("aws.ecr", events.push(image)))


def pushed_with_only_a_bad_tag(world: World, name: str) -> Task:
    """A push with a tag that the policy takes away, and no other: the image gets one of ours before."""
    image = world.push(world.repository(f"iam/rules-{name}"), tag="latest")
    return Task(world, image, lambda: events.delivered("aws.ecr", events.push(image)))


def pushed_into_open(world: World, name: str, *also: str) -> Task:
    """A push into a repository that nobody scans, and whose policy lets in the world."""
    repository = world.repository(f"iam/open-{name}", scan_on_push=False)
    statements = [
        {"Sid": sid, "Effect": "Allow", "Principal": principal, "Action": "ecr:BatchGetImage"}
        for sid, principal in (("world", "*"), *((sid, {"AWS": ACCOUNT}) for sid in also))
    ]
    text = json.dumps({"Version": "2012-10-17", "Statement": statements})
    world.registry.ecr.set_repository_policy(repositoryName=repository, policyText=text)
    image = world.push(repository)
    return Task(world, image, lambda: events.delivered("aws.ecr", events.push(image)))


def pushed_into_half_open(world: World, name: str) -> Task:
    """The same, where the policy lets in others as well, who may stay."""
    return pushed_into_open(world, name, "ours")


def scanned(world: World, name: str) -> Task:
    """A scan that has found something critical."""
    image = world.push(world.repository(f"iam/{name}"))
    ended = world.found(image, OPENSSL)
    return Task(world, image, lambda: events.delivered("aws.ecr", ended))


def swept(world: World, name: str) -> Task:
    """A sweep of the whole registry, with its digest."""
    task = scanned(world, name)
    return Task(world, task.image, lambda: {"digest": True}, digests(world))


def swept_by_schedule(world: World, name: str) -> Task:
    """The first sweep of a day, with its digest."""
    task = scanned(world, name)
    row = {"pk": {"S": ACCOUNT}, "sk": {"S": f"registry#{REGION}"}}

    def first_of_the_day() -> dict[str, Any]:
        if digests(world) == task_of_day.digests:
            world.stack.dynamodb.delete_item(TableName=TABLE, Key=row)
        return {}

    task_of_day = Task(world, task.image, first_of_the_day, digests(world))
    return task_of_day


def left_to_worker(world: World, name: str) -> Task:
    """An image that a sweep has left to a worker: that of this hour, and with each further invocation that of another hour."""
    task = scanned(world, name)
    hours = count()
    return Task(world, task.image, lambda: for_worker(task.image, hours=next(hours)))


def for_worker(image: Image, hours: int = 0, again: bool = False) -> dict[str, Any]:
    """The payload that Lambda hands to a worker for a sweep's item: a repository, in the sweep of some hours ago."""
    item = work_item(image.repository, hours, again)
    message = {
        "messageId": "1",
        "receiptHandle": "1",
        "body": json.dumps(item),
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": roles.arn("sqs", REGION, "ecr-guard-iam-work"),
        "awsRegion": REGION,
    }
    return {"Records": [message]}


def late(world: World, name: str) -> Task:
    """An image that was evaluated, and that has no copy; the policy wants a backfill then. None was begun so far."""
    world.stack.dynamodb.delete_item(TableName=TABLE, Key=BACKFILL)
    world.copy_to_second_region(None)
    image = world.push(world.repository(f"iam/late-{name}"))
    for function, entry in (("on-push", events.push(image)), ("on-scan", world.found(image))):
        world.invoke(guard(world).functions[function], events.delivered("aws.ecr", entry))
    world.registry.set_image(image.repository, image.digest, imagePushedAt=time.time() - 3600)
    world.copy_to_second_region("iam/late")
    return Task(world, image, lambda: for_worker(image, again=True))


def backfilled(world: World, name: str) -> Task:
    """The same, where a backfill was begun long ago, and has ended since."""
    task = late(world, name)
    if error := invoke(JOBS["role-of-worker-with-backfill"], task):
        raise AssertionError(error)
    second = world.second()
    wait_for("the backfill copies it", lambda: second.has(task.image))
    long_ago(world, BACKFILL, "looked_at")
    return task


def copied(world: World, name: str) -> Task:
    """A copy that has arrived without its tag, in the second region."""
    there, image = copying(world, name, loseTag=True)
    wait_for(f"the copy of {image.repository}", lambda: there.has(image))
    return Task(there, image, lambda: events.delivered("aws.ecr", events.replication(image), SECOND_REGION))


def not_copied(world: World, name: str) -> Task:
    """A copy that has failed; why, its source knows."""
    there, image = copying(world, name, failureCode="KmsError")
    return Task(there, image, lambda: events.delivered("aws.ecr", events.replication(image, "FAILED"), SECOND_REGION))


def copying(world: World, name: str, **behaviour: Any) -> tuple[World, Image]:
    """An image that is copied to the second region."""
    world.copy_to_second_region("iam/copies")
    repository = world.repository(f"iam/copies-{name}")
    world.registry.set_replication(repository, **behaviour)
    return world.second(), world.push(repository)


def runs(world: World, name: str) -> Image:
    """An image that one of each kind uses: a service, a task of its own, a task definition by a tag, and a function by an alias."""
    image = world.push(world.repository(f"iam/uses-{name}"), tag="v1.0.0")
    there = running.service("prod", f"service-{name}", image)
    job, thumbs = f"job-{name}", f"thumbs-{name}"
    definition = {"taskDefinitionArn": running.ecs(f"task-definition/{job}:7"), "containerDefinitions": [{"image": running.uri(image)}]}
    world.stack.running.set(
        {name: [] for name in ("deployments", "revisions", "jobDefinitions", "eks")}
        | there
        | {
            "tasks": [running.task("prod", f"task-{name}", image)],
            "definitions": [definition],
            "functions": [running.function(thumbs, version, image) for version in ("$LATEST", "3")],
            "aliases": [{"AliasArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{thumbs}:live", "Name": "live", "FunctionVersion": "3"}],
        }
    )
    world.stack.running.role(READER, EXTERNAL_ID, [{"Effect": "Allow", "Action": LISTS, "Resource": ["*"]}])
    return image


def listed(world: World, name: str) -> Task:
    """Workloads of each kind, and another account."""
    return Task(world, runs(world, name), dict)


def not_started(world: World, name: str) -> Task:
    """A task that could not pull an image that is blocked."""
    image = refused(world, name)
    task = running.failed_to_pull("prod", f"service-{name}", image)
    return Task(world, image, lambda: events.delivered("aws.ecs", events.task(task)))


def refused(world: World, name: str) -> Image:
    """An image that nobody uses, and that is blocked."""
    image = world.push(world.repository(f"iam/refused-{name}"), tag="v1.0.0")
    members = ("clusters", "tasks", "services", "deployments", "revisions", "definitions", "functions", "aliases", "jobDefinitions", "eks")
    world.stack.running.set({member: [] for member in members})
    world.stack.running.role(READER, EXTERNAL_ID, [{"Effect": "Allow", "Action": LISTS, "Resource": ["*"]}])
    functions = guard(world, OF_WORKLOADS).functions
    world.invoke(functions["workloads"], {})
    world.invoke(functions["on-scan"], events.delivered("aws.ecr", world.found(image, OPENSSL)))
    if world.state(image) != "Blocked":
        raise AssertionError(f"{image.repository} is {world.state(image)}")
    return image


def image_stands(task: Task) -> Any:
    """State, pull, and alerts."""
    return task.world.state(task.image), task.world.pull(task.image), task.world.alerts(task.image.repository)


def repository_stands(task: Task) -> Any:
    """State, the repository's settings, and alerts."""
    world, name = task.world, task.image.repository
    policy = world.lifecycle_policy(name)
    rules = len(policy["rules"]) if policy else 0
    return world.state(task.image), world.mutability(name), rules, sorted(world.alerts(name))


def key_stands(task: Task) -> Any:
    """The alerts about the key: whether it is rotated, or that this is not known."""
    alerts = task.world.alert_documents(task.image.repository)
    return [(alert["kind"], change["old"].partition(":")[0]) for alert in alerts for change in alert["changes"]]


def tags_stand(task: Task) -> Any:
    """The tags, of ours only the kind, and alerts."""
    tags = [tag.partition("-")[0] for tag in task.world.tags(task.image)]
    return tags, sorted(task.world.alerts(task.image.repository))


def access_stands(task: Task) -> Any:
    """The statements of the repository's policy, whether it is scanned on push, and alerts."""
    ecr, name = task.world.registry.ecr, task.image.repository
    try:
        policy = json.loads(ecr.get_repository_policy(repositoryName=name)["policyText"])
    except ecr.exceptions.RepositoryPolicyNotFoundException:
        policy = {"Statement": []}
    described = ecr.describe_repositories(repositoryNames=[name])["repositories"][0]
    alerts = sorted(task.world.alerts(name))
    return [one["Sid"] for one in policy["Statement"]], described["imageScanningConfiguration"]["scanOnPush"], alerts


def sweep_stands(task: Task) -> Any:
    """Whether the repository is left to a worker, and whether a digest was sent since the task was set."""
    stack, queue = task.world.stack, guard(task.world).queue
    left = False
    while messages := stack.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
        left = left or any(f'"{task.image.repository}"' in message["Body"] for message in messages)
        entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
        stack.sqs.delete_message_batch(QueueUrl=queue, Entries=entries)
    return left, digests(task.world) > task.digests


def digests(world: World) -> int:
    """The number of digests so far."""
    return sum(alert["kind"] == "digest" for alert in world.stack.received())


def copy_stands(task: Task) -> Any:
    """The state of the copy, and alerts."""
    key = f"replica#{task.image.digest}#{SECOND_REGION}"
    states = [row["row"]["state"] for row in task.world.stack.ledger() if row["sk"] == key]
    return states, task.world.alerts(task.image.repository)


def backfill_stands(task: Task) -> Any:
    """The state of the backfill, and alerts."""
    row = task.world.stack.dynamodb.get_item(TableName=TABLE, Key=BACKFILL).get("Item")
    status = json.loads(row["row"]["S"])["status"] if row else "none"
    return status, task.world.alerts(task.image.repository)


def index_stands(task: Task) -> Any:
    """The lists that are not complete, and the kinds of workloads that the index knows of the image."""
    rows = {row["sk"]: row["row"] for row in task.world.stack.ledger() if row["pk"] == f"uses#{ACCOUNT}" and "row" in row}
    listings = rows.get(f"index#{REGION}", {}).get("listings", [])
    lists = [(one["source"]["account"], one["source"]["kind"]) for one in listings if "trouble" in one]
    uses = rows.get(f"use#{REGION}#{task.image.repository}#{task.image.digest}", {}).get("workloads", [])
    return sorted(f"{account[:3]} {kind}" for account, kind in lists), sorted({one["kind"] for one in uses})


def claims_end(task: Task) -> None:
    """Lets the time pass for which nobody else goes on with what an invocation has claimed: 45 seconds, here an hour."""
    keys = f"{ACCOUNT}#{task.image.repository}", f"uses#{ACCOUNT}"
    found = [
        task.world.stack.dynamodb.query(
            TableName=TABLE,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": key}},
        )["Items"]
        for key in keys
    ]
    for row in (row for rows in found for row in rows if "row" in row):
        long_ago(task.world, {"pk": row["pk"], "sk": row["sk"]}, "claimed_at")


def long_ago(world: World, key: dict[str, Any], what: str) -> None:
    """Lets a row of the ledger say that something was an hour ago, if it speaks of it."""
    dynamodb = world.stack.dynamodb
    row = dynamodb.get_item(TableName=TABLE, Key=key)["Item"]
    text = row.get("row", {}).get("S", "")
    if f'"{what}"' in text:
        earlier = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        row["row"]["S"] = re.sub(rf'("{what}":\s*)"[^"]*"', rf'\1"{earlier}"', text)
        dynamodb.put_item(TableName=TABLE, Item=row)


def tried(job: Job, called: str, world: World, whole: list[roles.Statement], action: str) -> list[str]:
    """Lets the function do its job without one of its actions, and then with it; gives what is not as expected."""
    task = job.task(world, called)
    stack, name = task.world.stack, deployed(job, task.world)
    logged = len(stack.log_of(name))
    stack.permit(name, roles.without(whole, action))
    try:
        error = invoke(job, task)
        stands = job.stands(task)
    finally:
        stack.permit(name, whole)
    alerts = json.dumps(task.world.alert_documents(task.image.repository))
    said = "\n".join([error, alerts, *stack.log_of(name)[logged:]])
    claims_end(task)
    wanted = job.denied[action], job.afterwards.get(action, job.done)
    again, afterwards = "", None
    for _ in range(job.turns):
        again = again or invoke(job, task)
        afterwards = job.stands(task)
        if again or afterwards == wanted[1]:
            break
    wrong = [] if (stands, afterwards) == wanted else [f"{action}: {stands}, then {afterwards}"]
    if not re.search(rf"{action} failed with `(AccessDenied|AuthorizationError)", said):
        wrong.append(f"{action}: not said, but {error[:200] or 'nothing'}")
    if error and not re.search(r"\b(CallRefused|BlockRefused)\b", error):
        wrong.append(f"{action}: {error[:200]}")
    if again:
        wrong.append(f"{action}: {again[:200]} when it is granted again")
    return wrong


def calls(world: World, caller: str, since: float) -> list[str]:
    """The requests of a session to the registries of both regions since then, as actions."""
    made = [call for one in (world, world.second()) for call in one.registry.calls(caller=caller)]
    return [f"ecr:{call['operation']}" for call in made if call["time"] >= since]


def shown(name: str, job: Job) -> Callable[[World], Observed]:
    """The scenario of a job."""

    def run(world: World) -> Observed:
        task = job.task(world, f"{name}-whole")
        whole = role(job, task.world)
        caller = roles.access_key(deployed(job, task.world), task.world.stack.region)
        began = time.time()
        stands = invoke(job, task) or job.stands(task)
        called = calls(world, caller, began)
        known = {action for one in JOBS.values() if one.function == job.function for action in one.denied}
        wrong = [tried(job, f"{name}-{number}", world, whole, action) for number, action in enumerate(job.denied)]
        return observe(
            with_its_role=(stands, job.done),
            calls_that_are_not_tried=(sorted(set(called) - known), []),
            actions_taken_away=len(job.denied),
            otherwise=([each for one in wrong for each in one], []),
        )

    return run


NOBODY: list[str] = []
REPAIRED = ["lifecycle-repaired", "posture-repaired"]
PUSHED = ("Pending", "IMMUTABLE", 2, REPAIRED)
# The image and its repository are reconciled one after the other: a failure with one does not concern the other, unless the
# ledger or the image cannot be read.
NOT_PUSHED = ("none", "MUTABLE", 0, NOBODY)
NOT_REPAIRED = ("Pending", "MUTABLE", 0, NOBODY)
NOT_SCANNED = ("none", "IMMUTABLE", 2, REPAIRED)
NO_MUTABILITY = ("Pending", "MUTABLE", 2, ["lifecycle-repaired", "posture-drift"])
NO_LIFECYCLE = ("Pending", "IMMUTABLE", 0, ["lifecycle-held", "posture-repaired"])

KEY_NOT_KNOWN = [("posture-drift", "not known")]

BLOCKED = ("Blocked", "refused", ["image-blocked"])
NOT_SEEN = ("none", "works", NOBODY)
# It has a record, which says why nothing is known of it.
NOT_READ = ("Pending", "works", NOBODY)
# The decision is written, the block counted, the image blocked, and then the alert is sent. If the registry refuses, the block
# is deferred, and an alert says so.
NOT_COUNTED = ("Blocked", "works", NOBODY)
NOT_TOLD = ("Blocked", "refused", NOBODY)
DEFERRED = ("BlockDeferred", "works", ["block-deferred"])
BLOCKED_LATER = ("Blocked", "refused", ["block-deferred", "image-blocked"])

CLOSED: tuple[list[str], bool, list[str]] = ([], True, ["posture-repaired"])
HALF_CLOSED = (["ours"], True, ["posture-repaired"])

COPY = (["incomplete"], ["replica-incomplete"])

# A list is not complete if one of its calls is denied; the other lists count.
BY_SERVICE, BY_TASK, BY_DEFINITION, BY_FUNCTION = "ecs-service", "ecs-task", "ecs-task-definition", "lambda-function"
USED = [BY_SERVICE, BY_TASK, BY_DEFINITION, BY_FUNCTION]
ECS_MISSING = [f"{ACCOUNT[:3]} ecs"]
LAMBDA_MISSING = [f"{ACCOUNT[:3]} lambda"]

JOBS = {
    "role-of-on-push": Job(
        "on-push",
        pushed,
        repository_stands,
        PUSHED,
        {
            "dynamodb:GetItem": NOT_PUSHED,
            "dynamodb:PutItem": NOT_PUSHED,
            "ecr:DescribeImages": NOT_PUSHED,
            "ecr:BatchGetRepositoryScanningConfiguration": NOT_SCANNED,
            "ecr:DescribeImageScanFindings": PUSHED,
            "ecr:DescribeRepositories": NOT_REPAIRED,
            "ecr:GetLifecyclePolicy": NOT_REPAIRED,
            "ecr:GetLifecyclePolicyPreview": NOT_REPAIRED,
            "ecr:GetRepositoryPolicy": NOT_REPAIRED,
            "ecr:ListTagsForResource": NOT_REPAIRED,
            "ecr:StartLifecyclePolicyPreview": NOT_REPAIRED,
            "ecr:PutImageTagMutability": NO_MUTABILITY,
            "ecr:PutLifecyclePolicy": NO_LIFECYCLE,
            "sns:Publish": ("Pending", "IMMUTABLE", 2, []),
        },
        # A process does not reconcile a repository again for some minutes after an alert about it.
        {"ecr:PutImageTagMutability": NO_MUTABILITY, "ecr:PutLifecyclePolicy": NO_LIFECYCLE},
    ),
    "role-of-on-push-with-key": Job(
        "on-push",
        pushed_with_key,
        key_stands,
        [("posture-drift", "off")],
        {"kms:DescribeKey": KEY_NOT_KNOWN, "kms:GetKeyRotationStatus": KEY_NOT_KNOWN},
        {"kms:DescribeKey": KEY_NOT_KNOWN, "kms:GetKeyRotationStatus": KEY_NOT_KNOWN},
    ),
    "role-of-on-push-with-bad-tag": Job(
        "on-push",
        pushed_with_bad_tag,
        tags_stand,
        (["quarantine", "v1.0.0"], [*REPAIRED, "tag-violation"]),
        {"ecr:BatchDeleteImage": (["latest", "quarantine", "v1.0.0"], [*REPAIRED, "tag-violation"])},
    ),
    "role-of-on-push-with-only-a-bad-tag": Job(
        "on-push",
        pushed_with_only_a_bad_tag,
        tags_stand,
        (["quarantine"], [*REPAIRED, "tag-violation"]),
        {
            "ecr:BatchGetImage": (["latest"], [*REPAIRED, "tag-violation"]),
            "ecr:PutImage": (["latest"], [*REPAIRED, "tag-violation"]),
        },
    ),
    "role-of-on-push-into-open-repository": Job(
        "on-push",
        pushed_into_open,
        access_stands,
        CLOSED,
        {"ecr:DeleteRepositoryPolicy": (["world"], True, ["posture-drift", "posture-repaired"])},
        {"ecr:DeleteRepositoryPolicy": (["world"], True, ["posture-drift", "posture-repaired"])},
    ),
    "role-of-on-push-into-half-open-repository": Job(
        "on-push",
        pushed_into_half_open,
        access_stands,
        HALF_CLOSED,
        {
            "ecr:SetRepositoryPolicy": (["world", "ours"], True, ["posture-drift", "posture-repaired"]),
            "ecr:PutImageScanningConfiguration": (["ours"], False, ["posture-drift", "posture-repaired"]),
            "ecr:GetRegistryScanningConfiguration": (["world", "ours"], False, []),
            "ecr:StartImageScan": HALF_CLOSED,
        },
        {
            "ecr:SetRepositoryPolicy": (["world", "ours"], True, ["posture-drift", "posture-repaired"]),
            "ecr:PutImageScanningConfiguration": (["ours"], False, ["posture-drift", "posture-repaired"]),
        },
    ),
    "role-of-on-scan": Job(
        "on-scan",
        scanned,
        image_stands,
        BLOCKED,
        {
            "dynamodb:GetItem": NOT_SEEN,
            "dynamodb:PutItem": NOT_SEEN,
            "dynamodb:UpdateItem": NOT_COUNTED,
            "ecr:DescribeImages": NOT_SEEN,
            "ecr:DescribeImageScanFindings": NOT_READ,
            "ecr:UpdateImageStorageClass": DEFERRED,
            "sns:Publish": NOT_TOLD,
        },
        {"ecr:UpdateImageStorageClass": BLOCKED_LATER},
    ),
    "role-of-on-scan-with-tag": Job(
        "on-scan",
        scanned,
        image_stands,
        BLOCKED,
        {"ecr:BatchGetImage": DEFERRED, "ecr:PutImage": DEFERRED, "ecr:BatchDeleteImage": DEFERRED},
        dict.fromkeys(("ecr:BatchGetImage", "ecr:PutImage", "ecr:BatchDeleteImage"), BLOCKED_LATER),
        BY_TAG,
    ),
    "role-of-sweep": Job(
        "sweep",
        swept,
        sweep_stands,
        (True, True),
        {
            "dynamodb:GetItem": (True, True),
            "dynamodb:Query": (True, False),
            "ecr:DescribeRegistry": (True, False),
            "ecr:DescribeRepositories": (False, False),
            "ecr:GetRegistryScanningConfiguration": (True, False),
            "ecr:GetSigningConfiguration": (True, False),
            "sns:Publish": (True, False),
            "sqs:SendMessage": (False, True),
        },
    ),
    "role-of-sweep-by-schedule": Job(
        "sweep",
        swept_by_schedule,
        sweep_stands,
        (True, True),
        {"dynamodb:GetItem": (True, False), "dynamodb:PutItem": (True, False)},
    ),
    "role-of-worker": Job(
        "worker",
        left_to_worker,
        image_stands,
        BLOCKED,
        {
            "dynamodb:GetItem": NOT_SEEN,
            "dynamodb:PutItem": NOT_SEEN,
            "dynamodb:Query": NOT_SEEN,
            "dynamodb:UpdateItem": NOT_COUNTED,
            "ecr:DescribeImages": NOT_SEEN,
            "ecr:DescribeImageScanFindings": NOT_READ,
            "ecr:UpdateImageStorageClass": DEFERRED,
            "sns:Publish": NOT_TOLD,
            "sqs:SendMessage": NOT_SEEN,
        },
        {"ecr:UpdateImageStorageClass": BLOCKED_LATER},
        # Sweeps do not reconcile deferred blocks every hour: each has its turn in one of the hours of a day.
        turns=24,
    ),
    "role-of-worker-with-backfill": Job(
        "worker",
        late,
        backfill_stands,
        ("running", ["replication-late"]),
        {"ecr:StartReplicationBackfill": ("refused", ["replication-late"])},
        # It is not begun again within a day.
        {"ecr:StartReplicationBackfill": ("refused", ["replication-late"])},
    ),
    "role-of-worker-after-backfill": Job(
        "worker",
        backfilled,
        backfill_stands,
        ("complete", ["replication-late"]),
        {
            "ecr:ListReplicationBackfills": ("running", ["replication-late"]),
            "ecr:DescribeReplicationBackfillResults": ("running", ["replication-late"]),
            # How one image stands is not known then; what became of the backfill is.
            "ecr:DescribeImageReplicationStatus": ("complete", ["replication-late"]),
        },
    ),
    "role-of-workloads": Job(
        "workloads",
        listed,
        index_stands,
        ([], USED),
        {
            "batch:DescribeJobDefinitions": ([f"{ACCOUNT[:3]} batch"], USED),
            "dynamodb:PutItem": ([], []),
            "dynamodb:Query": ([], []),
            "ecr:DescribeImages": (ECS_MISSING, [BY_SERVICE, BY_TASK, BY_FUNCTION]),
            "ecs:DescribeServiceDeployments": (ECS_MISSING, USED),
            "ecs:DescribeServiceRevisions": (ECS_MISSING, [BY_TASK, BY_DEFINITION, BY_FUNCTION]),
            "ecs:DescribeServices": (ECS_MISSING, [BY_TASK, BY_DEFINITION, BY_FUNCTION]),
            "ecs:DescribeTaskDefinition": (ECS_MISSING, [BY_SERVICE, BY_TASK, BY_FUNCTION]),
            "ecs:DescribeTasks": (ECS_MISSING, [BY_SERVICE, BY_DEFINITION, BY_FUNCTION]),
            "ecs:ListClusters": (ECS_MISSING, [BY_DEFINITION, BY_FUNCTION]),
            "ecs:ListServices": (ECS_MISSING, [BY_TASK, BY_DEFINITION, BY_FUNCTION]),
            "ecs:ListTaskDefinitions": (ECS_MISSING, [BY_SERVICE, BY_TASK, BY_FUNCTION]),
            "ecs:ListTasks": (ECS_MISSING, [BY_SERVICE, BY_DEFINITION, BY_FUNCTION]),
            # Clusters report what they run. The list of clusters only serves to name those that do not.
            "eks:ListClusters": ([], USED),
            "lambda:GetFunction": (LAMBDA_MISSING, [BY_SERVICE, BY_TASK, BY_DEFINITION]),
            # All versions of a function count if its aliases are not known.
            "lambda:ListAliases": (LAMBDA_MISSING, USED),
            "lambda:ListFunctions": (LAMBDA_MISSING, [BY_SERVICE, BY_TASK, BY_DEFINITION]),
            "sts:AssumeRole": ([f"{OTHER[:3]} {kind}" for kind in ("batch", "ecs", "lambda")], USED),
        },
        policy=OF_WORKLOADS,
    ),
    "role-of-workloads-at-a-refused-pull": Job(
        "workloads",
        not_started,
        lambda task: sorted(task.world.alerts(task.image.repository)),
        ["image-blocked", "pull-refused"],
        {
            "dynamodb:GetItem": ["image-blocked"],
            "dynamodb:PutItem": ["image-blocked"],
            "sns:Publish": ["image-blocked"],
        },
        policy=OF_WORKLOADS,
    ),
    "role-of-on-replication": Job(
        "on-replication",
        copied,
        copy_stands,
        COPY,
        {
            # The row of the image and that of its source are read together; the row of the copy by itself.
            "dynamodb:BatchGetItem": COPY,
            "dynamodb:GetItem": ([], []),
            "dynamodb:PutItem": ([], []),
            "ecr:DescribeImages": ([], []),
            "ecr:BatchGetImage": COPY,
            "ecr:BatchGetRepositoryScanningConfiguration": COPY,
            "ecr:DescribeImageScanFindings": COPY,
            "ecr:StartImageScan": COPY,
            "sns:Publish": (["incomplete"], []),
        },
    ),
    "role-of-on-replication-in-source-region": Job(
        "on-replication",
        not_copied,
        copy_stands,
        (["failed"], ["replication-failed"]),
        {"ecr:DescribeImageReplicationStatus": (["failed"], ["replication-failed"])},
        # First that the source gives no answer, then why.
        {"ecr:DescribeImageReplicationStatus": (["failed"], ["replication-failed"] * 2)},
    ),
}

EXPECTED = "works with the role of Terraform; without any action of it: denied, says so, claims nothing it has not done"
SCENARIOS = [Scenario(name, EXPECTED, shown(name, job)) for name, job in JOBS.items()]
