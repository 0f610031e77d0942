"""Tests of the tools in this folder that need neither Terraform nor AWS."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tempfile
import unittest
import zipfile
from pathlib import Path
from typing import Any

import packages
import plan_policies
import redrive
import smoke

ROOT = Path(__file__).resolve().parents[2]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Account:
    """An account that handles events as a deployment would: EventBridge, Lambda, CloudWatch Logs and SQS in one."""

    def __init__(self, outcome: str | None = None, deaf: tuple[str, ...] = (), waiting: int = 0, swept: Any = None):
        self.outcome, self.deaf, self.waiting = outcome, deaf, waiting
        self.swept = swept or {"repositories": 1}
        self.lines: dict[str, list[str]] = {}
        self.exceptions = self
        self.index: Any = {}
        self.operate: dict[str, Any] | None = {"outcome": "refused", "code": "invalid"}
        self.gate: dict[str, Any] | None = {"decision": "allow", "images": [{"state": "NotGuarded"}]}
        self.document: str | None = '{"mode":"report","version":1}'
        self.told = {function: f"sha256:{sha256(self.document)}" for function in (*smoke.EVENTS, "sweep", "worker")}

    def get_function_configuration(self, FunctionName: str, Qualifier: str) -> dict[str, Any]:
        assert Qualifier == "live"
        variables = {"ECR_GUARD_TABLE": "guard-ledger", "ECR_GUARD_POLICY": self.told[FunctionName.removeprefix("guard-")]}
        return {"Environment": {"Variables": variables}}

    def get_item(self, TableName: str, Key: dict[str, Any], ConsistentRead: bool) -> dict[str, Any]:
        assert (TableName, ConsistentRead, Key["sk"]) == ("guard-ledger", True, {"S": "deployed"})
        assert Key["pk"]["S"].startswith("policy#"), Key
        return {} if self.document is None else {"Item": {"document": {"S": self.document}}}

    class ResourceNotFoundException(Exception):
        """As boto3 raises it for a function that is not there."""

    def invoke(self, FunctionName: str, Qualifier: str, Payload: bytes) -> dict[str, Any]:
        if FunctionName == "guard-workloads":
            assert Qualifier == "live" and "detail-type" in json.loads(Payload), Payload
            if self.index is None:
                raise self.ResourceNotFoundException
            failed = {"FunctionError": "Unhandled"} if "errorMessage" in self.index else {}
            return {"Payload": io.BytesIO(json.dumps(self.index).encode()), **failed}
        if FunctionName == "guard-operate":
            if self.operate is None:
                raise self.exceptions.ResourceNotFoundException
            return {"Payload": io.BytesIO(json.dumps(self.operate).encode())}
        if FunctionName == "guard-gate":
            assert Qualifier == "live" and json.loads(Payload)["schema"] == "ecr-guard/gate/v1", Payload
            if self.gate is None:
                raise self.ResourceNotFoundException
            return {"Payload": io.BytesIO(json.dumps(self.gate).encode())}
        assert (FunctionName, Qualifier) == ("guard-sweep", "live") and json.loads(Payload) == {"repositories": ["team/app"]}, Payload
        if "worker" not in self.deaf:
            self.lines["/aws/lambda/guard-worker"] = [json.dumps({"outcome": smoke.WORKED})]
        return {"Payload": io.BytesIO(json.dumps(self.swept).encode())}

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        put = []
        assert len(Entries) == len(smoke.EVENTS), Entries
        for function in smoke.EVENTS:
            event_id = f"id-of-{function}"
            put.append({"EventId": event_id})
            if function not in self.deaf:
                expected = smoke.EXPECTED_OF.get(function, smoke.EXPECTED)
                line = {"event_id": event_id, "outcome": self.outcome or expected, "error": "why"}
                self.lines[f"/aws/lambda/guard-{function}"] = ["START", "{}", json.dumps(line)]
        return {"FailedEntryCount": 0, "Entries": put}

    def get_paginator(self, _: str) -> Account:
        return self

    def paginate(self, logGroupName: str, **_: Any) -> list[dict[str, Any]]:
        return [{"events": [{"message": message} for message in self.lines.get(logGroupName, [])]}]

    def get_queue_url(self, QueueName: str) -> dict[str, str]:
        return {"QueueUrl": QueueName}

    def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        return {"Attributes": {"ApproximateNumberOfMessages": str(self.waiting)}}


def run(account: Account) -> list[str]:
    return smoke.smoke({"dynamodb": account, "events": account, "lambda": account, "logs": account, "sqs": account}, "guard", "team/app", timeout=0)


class Smoke(unittest.TestCase):
    def test_a_deployment_that_works(self) -> None:
        report = run(Account())
        self.assertEqual([line.split()[0] for line in report], ["ok"] * 13, report)

    def test_a_policy_that_no_function_can_start_with_is_broken(self) -> None:
        account = Account()
        account.document = None
        with self.assertRaisesRegex(smoke.Broken, "guard-ledger has no item policy#"):
            run(account)
        account.document = '{"mode":"enforce","version":1}'
        with self.assertRaisesRegex(smoke.Broken, "somebody has changed the item"):
            run(account)
        account = Account()
        account.told["worker"] = "sha256:00"
        with self.assertRaisesRegex(smoke.Broken, "different ones.*worker"):
            run(account)

    def test_messages_that_wait_are_shown(self) -> None:
        self.assertIn("LOOK   failed-events: 3 waiting", run(Account(waiting=3)))

    def test_another_outcome_is_broken_and_says_why(self) -> None:
        with self.assertRaisesRegex(smoke.Broken, "on-push: CallRefused instead of no-such-image: why"):
            run(Account(outcome="CallRefused"))

    def test_a_function_that_hears_nothing_is_broken(self) -> None:
        with self.assertRaisesRegex(smoke.Broken, "id-of-on-scan.*event_sources"):
            run(Account(deaf=("on-scan",)))

    def test_a_sweep_that_fails_is_broken_and_says_why(self) -> None:
        with self.assertRaisesRegex(smoke.Broken, "sweep: no such queue"):
            run(Account(swept={"errorMessage": "no such queue"}))

    def test_an_index_that_does_not_start_is_broken_and_one_that_is_not_deployed_is_not(self) -> None:
        account = Account()
        account.index = {"errorMessage": "no policy"}
        with self.assertRaisesRegex(smoke.Broken, "workloads: no policy"):
            run(account)
        account = Account()
        account.index = None
        self.assertIn("ok     workloads: not deployed (`workloads = null`)", run(account))

    def test_a_gate_that_cannot_answer_is_broken_and_one_that_is_not_deployed_is_not(self) -> None:
        account = Account()
        self.assertIn("ok     gate: answers, as expected", run(account))
        account.gate = {"decision": "unavailable", "images": [{"state": "Unavailable"}]}
        with self.assertRaisesRegex(smoke.Broken, "gate: .*unavailable"):
            run(account)
        account.gate = None
        self.assertIn("ok     gate: not deployed (`gate = null`)", run(account))

    def test_a_function_for_releases_that_does_not_refuse_what_is_no_request_is_broken(self) -> None:
        account = Account()
        self.assertIn("ok     operate: answers, as expected", run(account))
        account.operate = {"outcome": "released"}
        with self.assertRaisesRegex(smoke.Broken, "operate: .*released"):
            run(account)
        account.operate = None
        self.assertIn("ok     operate: not deployed (`operate = null`)", run(account))

    def test_work_that_nobody_does_is_broken(self) -> None:
        with self.assertRaisesRegex(smoke.Broken, "worker: nothing was done.*guard-worker"):
            run(Account(deaf=("worker",)))

    def test_every_function_gets_an_event_that_its_rule_lets_through(self) -> None:
        # The sweep is invoked, and gives the worker something to do; so is the index of workloads.
        self.assertEqual({*smoke.EVENTS, "sweep", "worker", "workloads", "gate", "operate"}, {path.name for path in (ROOT / "functions").iterdir()})
        for function, (detail_type, detail) in smoke.EVENTS.items():
            pattern = json.loads((ROOT / f"infra/modules/guard/event-patterns/{function}.json").read_text())
            branches = pattern.get("$or", [pattern])
            fitting = [branch for branch in branches if detail_type in branch["detail-type"]]
            self.assertTrue(fitting, function)
            conditions = fitting[0]["detail"]
            for condition in (conditions, *conditions.get("$or", [])[:1]):
                for key, allowed in condition.items():
                    if key != "$or":
                        self.assertIn(detail.get(key), allowed, f"{function}: {key}")


class Refused(Exception):
    """AWS said no."""


class Unknown(Exception):
    """AWS did not answer."""


class Deployment:
    """SQS and Lambda, as far as a redrive sees them. `trouble`: what goes wrong with a message, by its id."""

    def __init__(self, queues: dict[str, list[dict[str, Any]]], trouble: dict[str, Exception] | None = None, twice: bool = False):
        self.queues = {f"guard-{queue}": messages for queue, messages in queues.items()}
        self.queues.setdefault("guard-work", [])
        self.queues.setdefault("guard-findings", [])
        self.trouble = trouble or {}
        self.twice = twice
        self.hidden: set[str] = set()
        self.invoked: list[tuple[str, Any]] = []
        self.tasks: list[dict[str, Any]] = []
        self.after: list[str] = ["RUNNING", "COMPLETED"]

    def get_queue_url(self, QueueName: str) -> dict[str, str]:
        return {"QueueUrl": QueueName}

    def receive_message(self, QueueUrl: str, MaxNumberOfMessages: int, **_: Any) -> dict[str, Any]:
        visible = [message for message in self.queues[QueueUrl] if message["MessageId"] not in self.hidden][:MaxNumberOfMessages]
        if not self.twice:
            self.hidden |= {message["MessageId"] for message in visible}
        return {"Messages": [message | {"ReceiptHandle": message["MessageId"]} for message in visible]} if visible else {}

    def delete_message(self, QueueUrl: str, ReceiptHandle: str) -> None:
        if f"delete {ReceiptHandle}" in self.trouble:
            self.twice = False
            raise self.trouble.pop(f"delete {ReceiptHandle}")
        self.queues[QueueUrl] = [message for message in self.queues[QueueUrl] if message["MessageId"] != ReceiptHandle]

    def change_message_visibility(self, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> None:
        assert VisibilityTimeout == 0
        self.hidden.discard(ReceiptHandle)

    def send_message(self, QueueUrl: str, MessageBody: str) -> None:
        self.queues[QueueUrl].append({"MessageId": f"new-{len(self.queues[QueueUrl])}", "Body": MessageBody})

    def invoke(self, FunctionName: str, Qualifier: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:
        assert Qualifier == "live"
        assert InvocationType == "Event", "an event is handed over as EventBridge does it"
        payload = json.loads(Payload)
        if error := self.trouble.get(f"invoke {payload['id']}"):
            raise error
        self.invoked.append((FunctionName, payload["id"]))
        return {"StatusCode": 202}

    def get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:
        number = len([message for message in self.queues[QueueUrl] if message["MessageId"] not in self.hidden])
        return {"Attributes": {"ApproximateNumberOfMessages": str(number), "QueueArn": f"arn:aws:sqs:us-west-2:123456789012:{QueueUrl}"}}

    def start_message_move_task(self, SourceArn: str) -> None:
        source = SourceArn.rsplit(":", 1)[-1]
        moved = self.queues[source]
        self.queues["guard-work"] += moved
        self.queues[source] = []
        self.tasks.append({"ApproximateNumberOfMessagesMoved": len(moved), "ApproximateNumberOfMessagesToMove": len(moved)})

    def list_message_move_tasks(self, SourceArn: str, MaxResults: int) -> dict[str, Any]:
        status = self.after.pop(0) if len(self.after) > 1 else self.after[0]
        return {"Results": [self.tasks[-1] | {"Status": status}]}

    def ids(self, queue: str) -> list[str]:
        """The visible messages of a queue."""
        return [message["MessageId"] for message in self.queues[f"guard-{queue}"] if message["MessageId"] not in self.hidden]


def arn(target: str) -> str:
    return f"arn:aws:lambda:us-west-2:123456789012:function:guard-{target}"


def record(number: int, function: str = "on-scan", qualifier: str = "live") -> dict[str, Any]:
    """The message of Lambda's failure destination (developer guide, "Capturing records of Lambda asynchronous invocations")."""
    body = {
        "version": "1.0",
        "requestContext": {"functionArn": f"{arn(function)}:{qualifier}", "condition": "RetriesExhausted", "approximateInvokeCount": 3},
        "requestPayload": {"id": f"e{number}", "detail-type": "ECR Image Scan", "detail": {"repository-name": "team/app"}},
        "responsePayload": {"errorMessage": "AccessDenied\u001b[31m", "errorType": "CallRefused"},
    }
    return {"MessageId": f"m{number}", "Body": json.dumps(body)}


def undelivered(number: int, target: str) -> dict[str, Any]:
    """The message that EventBridge writes into a dead letter queue (user guide, "Using dead-letter queues")."""
    attributes = {"TARGET_ARN": {"StringValue": target}, "ERROR_CODE": {"StringValue": "NO_PERMISSIONS"}}
    return {"MessageId": f"u{number}", "Body": json.dumps({"id": f"e{number}"}), "MessageAttributes": attributes}


def redriven(deployment: Deployment, function: str, queue: str | None = None, dry_run: bool = False) -> list[redrive.Entry]:
    return redrive.Redrive(deployment, deployment, "guard", dry_run, (Refused, Unknown)).all(function, queue, wait=0)


class RedriveTest(unittest.TestCase):
    def test_failed_events_are_handed_to_their_function_and_no_other(self) -> None:
        deployment = Deployment({"failed-events": [record(1), record(2, "on-push"), record(3, qualifier="$LATEST")], "undelivered-events": []})
        entries = redriven(deployment, "on-scan")
        self.assertEqual(deployment.invoked, [("guard-on-scan", "e1"), ("guard-on-scan", "e3")])
        self.assertEqual(deployment.ids("failed-events"), ["m2"], "what is another function's stays, and can be seen")
        self.assertTrue(all(entry.is_well for entry in entries), entries)
        self.assertIn("1 left: for other functions", redrive.table(entries))

    def test_undelivered_events_and_sweeps(self) -> None:
        deployment = Deployment({"failed-events": [], "undelivered-events": [undelivered(1, arn("on-push")), undelivered(2, f"{arn('sweep')}:live")]})
        redriven(deployment, "sweep")
        self.assertEqual(deployment.invoked, [("guard-sweep", "e2")])
        redriven(deployment, "on-push")
        self.assertEqual((deployment.invoked[1:], deployment.ids("undelivered-events")), ([("guard-on-push", "e1")], []))

    def test_an_event_for_the_workers_goes_to_their_queue(self) -> None:
        queue = "arn:aws:sqs:us-west-2:123456789012:guard-findings"
        deployment = Deployment({"undelivered-events": [undelivered(1, queue)], "failed-work": []})
        redriven(deployment, "worker")
        self.assertEqual([message["Body"] for message in deployment.queues["guard-findings"]], ['{"id": "e1"}'])
        self.assertEqual((deployment.ids("undelivered-events"), deployment.invoked), ([], []))

    def test_a_dry_run_changes_nothing(self) -> None:
        deployment = Deployment({"failed-events": [record(1)], "undelivered-events": [undelivered(2, arn("on-scan"))]})
        entries = redriven(deployment, "on-scan", dry_run=True)
        self.assertEqual([entry.done for entry in entries], ["would be put back"] * 2)
        self.assertEqual((deployment.invoked, deployment.ids("failed-events"), deployment.ids("undelivered-events")), ([], ["m1"], ["u2"]))
        deployment = Deployment({"failed-work": [record(1)], "undelivered-events": []})
        redriven(deployment, "worker", dry_run=True)
        self.assertEqual((deployment.tasks, deployment.ids("failed-work")), ([], ["m1"]))

    def test_what_is_not_accepted_stays(self) -> None:
        for error, said in ((Refused("denied"), "left: denied"), (Unknown("timeout"), "left, but may have been put back: timeout")):
            deployment = Deployment({"failed-events": [record(1), record(2)]}, {"invoke e1": error})
            entries = redriven(deployment, "on-scan", "failed-events")
            self.assertEqual((deployment.invoked, deployment.ids("failed-events")), ([("guard-on-scan", "e2")], ["m1"]))
            self.assertEqual([(entry.done, entry.is_well) for entry in entries], [(said, False), ("invoked", True)])

    def test_what_cannot_be_read_stays_and_is_named(self) -> None:
        for body in ("", "[]", "{}", '{"requestContext": {"functionArn": 7}, "requestPayload": {}}'):
            deployment = Deployment({"failed-events": [{"MessageId": "m1", "Body": body}]})
            (entry,) = redriven(deployment, "on-scan", "failed-events")
            self.assertEqual((entry.message, entry.is_well, deployment.ids("failed-events")), ("m1", False, ["m1"]), body)
        nameless = {"MessageId": "u1", "Body": "{}"}
        deployment = Deployment({"undelivered-events": [nameless]})
        (entry,) = redriven(deployment, "on-scan", "undelivered-events")
        self.assertFalse(entry.is_well)

    def test_a_message_that_cannot_be_deleted_is_named(self) -> None:
        deployment = Deployment({"failed-events": [record(1)]}, {"delete m1": Refused("denied")})
        (entry,) = redriven(deployment, "on-scan", "failed-events")
        self.assertEqual((entry.done, entry.is_well), ("invoked; NOT DELETED: it may be put back twice", False))

    def test_a_message_that_comes_twice_is_put_back_once(self) -> None:
        deployment = Deployment({"failed-events": [record(1)]}, {"delete m1": Unknown("timeout")}, twice=True)
        redriven(deployment, "on-scan", "failed-events")
        self.assertEqual((deployment.invoked, deployment.ids("failed-events")), ([("guard-on-scan", "e1")], []))

    def test_messages_that_are_left_and_come_again_are_the_end(self) -> None:
        deployment = Deployment({"failed-events": [record(1, "on-push")]}, twice=True)
        self.assertEqual(len(redriven(deployment, "on-scan", "failed-events")), 1)

    def test_failed_work_is_moved_by_sqs_and_followed_to_the_end(self) -> None:
        for end, is_well in (("COMPLETED", True), ("FAILED", False), ("CANCELLED", False)):
            deployment = Deployment({"failed-work": [record(1), record(2)], "undelivered-events": []})
            deployment.after = ["RUNNING", "RUNNING", end]
            (entry,) = redriven(deployment, "worker")
            self.assertEqual((entry.what, entry.done, entry.is_well), ("2 of 2 messages", f"moved: {end}", is_well))
            self.assertEqual((deployment.ids("work"), deployment.after), (["m1", "m2"], [end]))

    def test_a_queue_that_has_nothing_for_a_function_is_refused(self) -> None:
        for function, queue in (("worker", "failed-events"), ("on-scan", "failed-work")):
            with self.assertRaisesRegex(redrive.Broken, f"{queue} has nothing for {function}"):
                redriven(Deployment({}), function, queue)

    def test_the_table_is_text_and_nothing_else(self) -> None:
        deployment = Deployment({"failed-events": [record(1)]})
        shown = redrive.table(redriven(deployment, "on-scan", "failed-events"))
        self.assertNotIn("\x1b", shown)
        self.assertIn("ECR Image Scan team/app", shown)
        self.assertIn("1 done, 0 left for a person", shown)

    def test_the_queues_are_those_of_the_module(self) -> None:
        locals_tf = (ROOT / "infra/modules/guard/locals.tf").read_text()
        for queue in {*redrive.EVENT_QUEUES, *redrive.WORKER_QUEUES, *smoke.QUEUES}:
            self.assertIn(f'"${{var.name}}-{queue}"', locals_tf)


def guard(text: str, told: str | None = None, key: str | None = None, address: str = "module.guard") -> dict[str, Any]:
    """A guard in a plan, as `terraform show -json` has it."""
    item = {"pk": {"S": f"policy#{key or sha256(text)}"}, "sk": {"S": "deployed"}, "document": {"S": text}}
    variables = {"ECR_GUARD_POLICY": told or f"sha256:{sha256(text)}"}
    return {
        "address": address,
        "resources": [
            {"type": "aws_dynamodb_table_item", "address": f"{address}.item", "values": {"item": json.dumps(item)}},
            {"type": "aws_lambda_function", "address": f"{address}.function", "values": {"environment": [{"variables": variables}]}},
        ],
    }


def plan(*guards: dict[str, Any]) -> dict[str, Any]:
    return {"planned_values": {"root_module": {"child_modules": [{"address": "module.all", "child_modules": list(guards)}]}}}


class PlanPolicies(unittest.TestCase):
    def test_the_document_of_every_guard(self) -> None:
        found = plan_policies.policies(plan(guard('{"a":1}', address="module.one"), guard('{"a":2}', address='module.two["us-east-1"]')))
        self.assertEqual(found, {"module.one": '{"a":1}', 'module.two["us-east-1"]': '{"a":2}'})

    def test_a_plan_that_does_not_say_is_refused(self) -> None:
        unknown = guard("{}")
        unknown["resources"][0]["values"] = {}
        for said, planned in (("no guard", {}), ("no guard", plan()), ("known only when it is applied", plan(unknown))):
            with self.assertRaisesRegex(SystemExit, said):
                plan_policies.policies(planned)

    def test_a_function_that_would_not_find_its_policy_is_refused(self) -> None:
        with self.assertRaisesRegex(SystemExit, "has the policy"):
            plan_policies.policies(plan(guard("{}", told="sha256:00")))
        with self.assertRaisesRegex(SystemExit, "would stand under"):
            plan_policies.policies(plan(guard("{}", key="00")))


def program(machine: int, kind: bytes = b"\x7fELF\x02\x01") -> bytes:
    """The beginning of a program."""
    return kind.ljust(18, b"\0") + machine.to_bytes(2, "little") + b"\0" * 44


class Packages(unittest.TestCase):
    def note(self, content: bytes, name: str = "bootstrap") -> dict[str, str]:
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder) / "bootstrap.zip"
            with zipfile.ZipFile(package, "w") as archive:
                archive.writestr(name, content)
            found = packages.note(package)
            self.assertEqual(found["sha256"], hashlib.sha256(package.read_bytes()).hexdigest())
            return found

    def test_a_package_says_for_which_processor_it_is(self) -> None:
        self.assertEqual(self.note(program(0xB7))["architecture"], "arm64")
        self.assertEqual(self.note(program(0x3E))["architecture"], "x86_64")

    def test_what_lambda_cannot_run_is_no_package(self) -> None:
        for content, why in ((b"#!/bin/sh", "64-bit Linux"), (program(0x3E, b"\x7fELF\x01\x01"), "64-bit Linux"), (program(0xF3), "0xf3")):
            with self.assertRaisesRegex(packages.NoPackage, why):
                self.note(content)
        with self.assertRaisesRegex(packages.NoPackage, "no zip with a `bootstrap`"):
            self.note(program(0x3E), "main")

    def test_what_runs_on_this_machine_lies_where_no_deployment_looks(self) -> None:
        for path in ("tests/local/e2e.py", "tests/local/size.py", "tests/local/doctor.py"):
            text = (ROOT / path).read_text(encoding="utf-8")
            self.assertEqual(set(re.findall(r'"target" / "lambda"( / "host")?', text)), {' / "host"'}, path)


class Usage(unittest.TestCase):
    def test_the_example_is_the_block_of_the_readme_word_for_word(self) -> None:
        def block(path: str) -> str:
            text = (ROOT / path).read_text(encoding="utf-8")
            start = text.index('module "ecr" {')
            return re.sub(r'source = ".*"', "source", text[start : text.index("\n}\n", start)])

        shown = block("infra/modules/ecr/README.md")
        self.assertIn("eks_node_role_arn            = module.eks.node_role_arn\n", shown)
        self.assertNotIn("attach_eks_node_pull_policy", shown)
        self.assertEqual(shown, block("infra/examples/ecr-only/main.tf"))


DENY = next(iter((ROOT / "target" / "tools").glob("cargo-deny-*/bin/cargo-deny")), None)
ADVISORY = """```toml
[advisory]
id = "RUSTSEC-2026-9999"
package = "serde"
date = "2026-11-01"

[versions]
patched = [">= {patched}"]
```

# A planted advisory
"""


@unittest.skipIf(DENY is None, "cargo-deny is not installed (make deny)")
class Advisories(unittest.TestCase):
    """`make advisories` with a copy of the database that has one advisory about a crate of ours."""

    def checked(self, patched: str) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "crates", "serde", "RUSTSEC-2026-9999.md")
            path.parent.mkdir(parents=True)
            path.write_text(ADVISORY.format(patched=patched), encoding="utf-8")
            git = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@example.com"]
            for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "an advisory"]):
                subprocess.run([*git, *command], check=True)
            return subprocess.run(["make", "-C", str(ROOT), "advisories", f"DB={folder}"], capture_output=True, text=True, check=False)

    def test_a_known_vulnerability_is_found(self) -> None:
        found = self.checked("99.0.0")
        self.assertNotEqual(found.returncode, 0)
        self.assertIn("RUSTSEC-2026-9999", found.stderr + found.stdout)

    def test_a_version_with_the_fix_is_not(self) -> None:
        found = self.checked("0.9.0")
        self.assertEqual(found.returncode, 0, found.stderr)
        self.assertRegex(found.stdout, r"checked against the database of \d{4}-\d\d-\d\d")


if __name__ == "__main__":
    unittest.main()
