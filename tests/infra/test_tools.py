"""Tests of the tools in this folder that need neither Terraform nor AWS."""

from __future__ import annotations

import json
import unittest
from pathlib import Path
from typing import Any

import plan_policies
import smoke

ROOT = Path(__file__).resolve().parents[2]


class Account:
    """An account that handles events as a deployment would: EventBridge, CloudWatch Logs and SQS in one."""

    def __init__(self, outcome: str = smoke.EXPECTED, deaf: tuple[str, ...] = (), waiting: int = 0):
        self.outcome, self.deaf, self.waiting = outcome, deaf, waiting
        self.lines: dict[str, list[str]] = {}

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        put = []
        for function, entry in zip(smoke.EVENTS, Entries, strict=True):
            event_id = f"id-of-{function}"
            put.append({"EventId": event_id})
            if function not in self.deaf:
                line = {"event_id": event_id, "Outcome": self.outcome, "error": "why"}
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
    return smoke.smoke({"events": account, "logs": account, "sqs": account}, "guard", "team/app", timeout=0)


class Smoke(unittest.TestCase):
    def test_a_deployment_that_works(self) -> None:
        report = run(Account())
        self.assertEqual([line.split()[0] for line in report], ["ok"] * 5, report)

    def test_messages_that_wait_are_shown(self) -> None:
        self.assertIn("LOOK   failed-events: 3 waiting", run(Account(waiting=3)))

    def test_another_outcome_is_broken_and_says_why(self) -> None:
        with self.assertRaisesRegex(smoke.Broken, "on-push: CallRefused instead of no-such-image: why"):
            run(Account(outcome="CallRefused"))

    def test_a_function_that_hears_nothing_is_broken(self) -> None:
        with self.assertRaisesRegex(smoke.Broken, "id-of-on-scan.*event_sources"):
            run(Account(deaf=("on-scan",)))

    def test_every_function_gets_an_event_that_its_rule_lets_through(self) -> None:
        self.assertEqual(set(smoke.EVENTS), {path.name for path in (ROOT / "functions").iterdir()})
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


class PlanPolicies(unittest.TestCase):
    def test_documents_by_region(self) -> None:
        plan = {"planned_values": {"outputs": {"policies": {"value": {"us-west-2": "{}"}}}}}
        self.assertEqual(plan_policies.policies(plan), {"us-west-2": "{}"})

    def test_a_plan_that_does_not_say_is_refused(self) -> None:
        for plan in ({}, {"planned_values": {"outputs": {"policies": {}}}}):
            with self.assertRaises(SystemExit):
                plan_policies.policies(plan)


if __name__ == "__main__":
    unittest.main()
