"""Sends an event and a sweep through a real deployment, and checks that every function handled them.

    tests/infra/smoke.py --region us-west-2 --name ecr-guard [--repository NAME]

It needs AWS credentials that may put events (`events:PutEvents`), invoke the functions `sweep`, `workloads`, `gate` and
`operate` (`lambda:InvokeFunction`), read the functions' logs (`logs:FilterLogEvents`), read the queues (`sqs:GetQueueUrl`,
`sqs:GetQueueAttributes`) and read the policy (`lambda:GetFunctionConfiguration`, `dynamodb:GetItem` and `kms:Decrypt` with the
deployment's key), and a deployment whose `event_sources` has `ecr-guard.smoke`. It changes nothing: the events name an image
that does not exist, so that a function searches the registry, the scanner and the ledger for it, and says `no-such-image` (but
for `on-replication`); the sweep is of that image's repository alone. That shows: rule, target, permission, start of the
function, policy, role, ledger, work queue and key. It does not show that an alert is delivered; docs/deployment.md says how to
see one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from typing import Any

SOURCE = "ecr-guard.smoke"
# The alias that rules and schedule invoke.
ALIAS = "live"
DIGEST = "sha256:" + "0" * 64
# An event for each function that passes its rule. The one for on-replication is about an image of its own region, which it
# leaves to others: it would alert a copy that is said to have arrived, and is not there.
EVENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "on-push": ("ECR Image Action", {"action-type": "PUSH", "result": "SUCCESS", "image-tag": "smoke"}),
    "on-replication": ("ECR Image Action", {"action-type": "DELETE", "result": "SUCCESS"}),
    "on-scan": ("ECR Image Scan", {"scan-status": "FAILED", "image-tags": ["smoke"]}),
}
# The outcome of each of them, unless it is something else.
EXPECTED = "no-such-image"
EXPECTED_OF = {"on-replication": "ignored"}
# The outcome of a worker for a batch without a failure.
WORKED = "worked"
QUEUES = ("undelivered-events", "failed-events", "failed-work", "undelivered-alerts")


class Broken(Exception):
    """The problem of the deployment, in a sentence."""


def entries(repository: str) -> list[dict[str, Any]]:
    """The events to put, in the order of `EVENTS`."""
    return [
        {
            "Source": SOURCE,
            "DetailType": detail_type,
            "Detail": json.dumps(detail | {"repository-name": repository, "image-digest": DIGEST}),
        }
        for detail_type, detail in EVENTS.values()
    ]


def put(events: Any, repository: str) -> dict[str, str]:
    """Puts the events; gives their ids by function."""
    answer = events.put_events(Entries=entries(repository))
    if answer["FailedEntryCount"]:
        raise Broken(f"EventBridge refused an event: {answer['Entries']}")
    return {function: entry["EventId"] for function, entry in zip(EVENTS, answer["Entries"], strict=True)}


def line(logs: Any, group: str, event_id: str, since: int) -> dict[str, Any] | None:
    """The line that a function wrote for an event, if it did."""
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since, filterPattern=f'"{event_id}"')
    for page in pages:
        for event in page["events"]:
            try:
                found = json.loads(event["message"])
            except ValueError:
                continue
            if found.get("event_id") == event_id:
                return found
    return None


def wait_for_line(logs: Any, group: str, event_id: str, since: int, timeout: float) -> dict[str, Any]:
    """The same, once it is there."""
    deadline = time.monotonic() + timeout
    while True:
        found = line(logs, group, event_id, since)
        if found is not None:
            return found
        if time.monotonic() >= deadline:
            raise Broken(
                f"no line about event {event_id} in {group} after {timeout:.0f} s: is {SOURCE} among the `event_sources`, and the "
                "repository among those that are guarded?"
            )
        time.sleep(min(2.0, timeout))


def sweep(functions: Any, name: str, repository: str) -> str:
    """Has one repository swept; gives what to print."""
    payload = json.dumps({"repositories": [repository]})
    answer = functions.invoke(FunctionName=f"{name}-sweep", Qualifier=ALIAS, Payload=payload.encode())
    said = json.loads(answer["Payload"].read())
    if answer.get("FunctionError") or said.get("repositories") != 1:
        raise Broken(f"sweep: {said.get('errorMessage') or said}")
    return "ok     sweep: left 1 repository to the workers, as expected"


def index(functions: Any, name: str) -> str:
    """Has the function `workloads` start, with an event that asks for nothing; gives what to print."""
    payload = json.dumps({"detail-type": "ecr-guard smoke"})
    try:
        answer = functions.invoke(FunctionName=f"{name}-workloads", Qualifier=ALIAS, Payload=payload.encode())
    except functions.exceptions.ResourceNotFoundException:
        return "ok     workloads: not deployed (`workloads = null`)"
    said = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise Broken(f"workloads: {said.get('errorMessage') or said}")
    return "ok     workloads: answers, as expected"


def gate(functions: Any, name: str) -> str:
    """Asks the gate about an image that it does not guard; gives what to print."""
    payload = json.dumps({"schema": "ecr-guard/gate/v1", "images": ["example.org/ecr-guard/smoke:1"], "context": {"caller": "smoke"}})
    try:
        answer = functions.invoke(FunctionName=f"{name}-gate", Qualifier=ALIAS, Payload=payload.encode())
    except functions.exceptions.ResourceNotFoundException:
        return "ok     gate: not deployed (`gate = null`)"
    said = json.loads(answer["Payload"].read())
    state = next((image.get("state") for image in said.get("images", [])), None)
    if answer.get("FunctionError") or state != "NotGuarded":
        raise Broken(f"gate: {said.get('errorMessage') or said}")
    return "ok     gate: answers, as expected"


def operate(functions: Any, name: str) -> str:
    """Has the function `operate` refuse a request that is none; gives what to print."""
    try:
        answer = functions.invoke(FunctionName=f"{name}-operate", Qualifier=ALIAS, Payload=b'{"schema": "ecr-guard/operate/v1"}')
    except functions.exceptions.ResourceNotFoundException:
        return "ok     operate: not deployed (`operate = null`)"
    said = json.loads(answer["Payload"].read())
    if answer.get("FunctionError") or said.get("code") != "invalid":
        raise Broken(f"operate: {said.get('errorMessage') or said}")
    return "ok     operate: answers, as expected"


def wait_for_work(logs: Any, group: str, since: int, timeout: float) -> None:
    """Waits until a worker has handled a batch. Its line does not say which one: any that it had since then."""
    deadline = time.monotonic() + timeout
    while True:
        pattern = f'{{ $.outcome = "{WORKED}" }}'
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since, filterPattern=pattern)
        if any(page["events"] for page in pages):
            return
        if time.monotonic() >= deadline:
            raise Broken(f"worker: nothing was done in {timeout:.0f} s: see {group} and the queue `work`")
        time.sleep(min(2.0, timeout))


def depth(sqs: Any, queue: str) -> int:
    """How many messages wait in a queue."""
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"])


def policy(functions: Any, ledger: Any, name: str) -> str:
    """Reads the item that every function reads its policy from; gives what to print."""
    told: dict[tuple[str, str], list[str]] = {}
    for function in (*EVENTS, "sweep", "worker"):
        variables = functions.get_function_configuration(FunctionName=f"{name}-{function}", Qualifier=ALIAS)["Environment"].get("Variables", {})
        found = (variables.get("ECR_GUARD_TABLE", ""), variables.get("ECR_GUARD_POLICY", ""))
        told.setdefault(found, []).append(function)
    if len(told) != 1:
        raise Broken(f"policy: the functions have different ones: {told}")
    ((table, variable),) = told
    sha256 = variable.removeprefix("sha256:")
    key = {"pk": {"S": f"policy#{sha256}"}, "sk": {"S": "deployed"}}
    item = ledger.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
    if item is None:
        raise Broken(f"policy: {table} has no item {key['pk']['S']}: no function can start")
    text = item["document"]["S"]
    if hashlib.sha256(text.encode()).hexdigest() != sha256:
        raise Broken(f"policy: somebody has changed the item {key['pk']['S']} of {table}: no function can start")
    return f"ok     policy: {sha256[:12]}, mode {json.loads(text).get('mode')}, in {table}"


def smoke(clients: dict[str, Any], name: str, repository: str, timeout: float) -> list[str]:
    """Sends the events and waits for what came of them; gives what to print, or says what is broken."""
    since = int(time.time() * 1000) - 60_000
    report = [policy(clients["lambda"], clients["dynamodb"], name)]
    for function, event_id in put(clients["events"], repository).items():
        found = wait_for_line(clients["logs"], f"/aws/lambda/{name}-{function}", event_id, since, timeout)
        expected = EXPECTED_OF.get(function, EXPECTED)
        if found.get("outcome") != expected:
            raise Broken(f"{function}: {found.get('outcome')} instead of {expected}: {found.get('error') or found.get('reason')}")
        report.append(f"ok     {function}: {expected}, as expected")
    report.append(sweep(clients["lambda"], name, repository))
    wait_for_work(clients["logs"], f"/aws/lambda/{name}-worker", since, timeout)
    report.append(f"ok     worker: {WORKED}, as expected")
    report.append(index(clients["lambda"], name))
    report.append(gate(clients["lambda"], name))
    report.append(operate(clients["lambda"], name))
    for queue in QUEUES:
        waiting = depth(clients["sqs"], f"{name}-{queue}")
        report.append(f"{'ok    ' if waiting == 0 else 'LOOK  '} {queue}: {waiting} waiting")
    return report


def main() -> int:
    """Runs it on AWS; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--region", required=True, help="region of the deployment")
    parser.add_argument("--name", default="ecr-guard", help="name of the deployment (default: %(default)s)")
    parser.add_argument(
        "--repository", default="ecr-guard-smoke", help="a name among the guarded repositories; need not exist (default: %(default)s)"
    )
    parser.add_argument("--timeout", type=float, default=60, help="seconds to wait for a function (default: %(default)s)")
    arguments = parser.parse_args()

    import boto3  # here, so that --help and the tests need nothing
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        clients = {service: boto3.client(service, region_name=arguments.region) for service in ("dynamodb", "events", "lambda", "logs", "sqs")}
        print("\n".join(smoke(clients, arguments.name, arguments.repository, arguments.timeout)))
    except Broken as broken:
        print(f"BROKEN {broken}")
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"BROKEN AWS said no: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
