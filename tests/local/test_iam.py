"""The roles are those of the Terraform module. (That the emulators enforce them is a test of theirs.)"""

from __future__ import annotations

import json
import re
import unittest
from typing import Any

import iam
from local_aws import roles
from local_aws.ecr import permissions
from local_aws.registry import REGION
from region import FUNCTIONS

TOPIC = roles.arn("sns", REGION, "ecr-guard-alerts")


# Documents, and what each has the functions change: those that hold the module and the code to it as well.
DOCUMENTS = json.loads((iam.MODULE / "tests" / "changes.json").read_text())
REPORT = DOCUMENTS[0]["document"]
# The document that has everything done.
ENFORCE = DOCUMENTS[-1]["document"]


def role(function: str, policy: dict[str, Any] = ENFORCE) -> list[roles.Statement]:
    """The statements of a function's role."""
    queue = "ecr-guard-work" if function in ("sweep", "worker", "workloads") else ""
    return iam.role_policy(function, f"ecr-guard-{function}", policy, REGION, "ecr-guard-ledger", [TOPIC], queue)


class RoleTest(unittest.TestCase):
    """The document."""

    def test_the_statements_are_those_of_the_module(self) -> None:
        """By name, with the actions, and the keys of conditions, that ``functions.tf`` spells out."""
        text = (iam.MODULE / "functions.tf").read_text()
        text = text[text.index("role_policies = {") : text.index("] : statement if length(statement.Action) > 0]")]
        blocks = re.split(r"\bSid +=", text)[1:]
        theirs = {block.split('"')[1]: set(re.findall(r'"((?:kms|sqs|logs|xray):\w+)"', block)) for block in blocks}
        # Only where the functions run in a network of their own, which this machine has none of.
        self.assertIn("Network", theirs)
        del theirs["Network"]
        # A condition's key is no action.
        theirs = {sid: {action for action in found if action != "kms:ViaService"} for sid, found in theirs.items()}
        ours: dict[str, set[str]] = {}
        granted: dict[str, set[str]] = {}
        for function in FUNCTIONS:
            given = {action for actions in iam.granted(function, ENFORCE).values() for action in actions}
            for statement in role(function):
                ours.setdefault(statement["Sid"], set()).update(statement["Action"])
                granted.setdefault(statement["Sid"], set()).update(given)
        self.assertEqual(set(theirs), set(ours))
        for sid, actions in theirs.items():
            self.assertLessEqual(actions, ours[sid], sid)
            self.assertLessEqual(ours[sid] - actions, granted[sid], sid)
        self.assertIn("kms:ViaService", text)
        self.assertIn("kms:EncryptionContext:aws:lambda:FunctionArn", text)

    def test_every_action_of_the_data_is_granted(self) -> None:
        for function in FUNCTIONS:
            for policy in (row["document"] for row in DOCUMENTS):
                given = sorted(action for actions in iam.granted(function, policy).values() for action in actions)
                own = ("Work", "FailedEvents", "Keys", "Environment", "Logs", "Traces")
                found = [action for one in role(function, policy) if one["Sid"] not in own for action in one["Action"]]
                work = [action for one in role(function, policy) if one["Sid"] == "Work" for action in one["Action"]]
                taking = ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
                found += [action for action in work if function not in iam.BY_QUEUE or action not in taking]
                self.assertEqual(given, sorted(found), f"{function} under {policy}")

    def test_a_role_has_what_its_policy_has_done(self) -> None:
        for row in DOCUMENTS:
            self.assertEqual(row["changes"], iam.changes(row["document"]), row["says"])

    def test_in_report_mode_nothing_of_the_registry_may_be_changed(self) -> None:
        reading = ("Describe", "Get", "List", "BatchGet")
        for function in FUNCTIONS:
            actions = [action for statement in role(function, REPORT) for action in statement["Action"]]
            changing = [one for one in actions if one.startswith("ecr:") and not one[4:].startswith(reading)]
            self.assertEqual(changing, [], function)

    def test_an_action_is_taken_away_and_nothing_else(self) -> None:
        whole = role("sweep")
        fewer = roles.without(whole, "dynamodb:Query")
        before = [action for statement in whole for action in statement["Action"]]
        after = [action for statement in fewer for action in statement["Action"]]
        self.assertEqual([action for action in before if action != "dynamodb:Query"], after)
        self.assertNotIn(
            "Traces",
            [
                one["Sid"]
                for one in roles.without(roles.without(whole, "xray:PutTelemetryRecords"), "xray:PutTraceSegments")
            ],
        )
        with self.assertRaises(ValueError):
            roles.without(whole, "ecr:PutImage")

    def test_the_emulator_asks_inspector_for_what_the_module_grants_for_it(self) -> None:
        for row in json.loads((iam.MODULE / "further-actions.json").read_text()):
            for action in row["actions"]:
                of_inspector = [one for one in row["further"] if one.startswith("inspector2:")]
                self.assertEqual(permissions.OF_INSPECTOR.get(action, []), of_inspector, action)


if __name__ == "__main__":
    unittest.main()
