"""The parts of the modules' code that no plan shows: in which order resources are made. And that each mistake that the modules' tests plant can
be planted, without Terraform."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import unittest
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
GUARD = INFRA / "modules" / "guard"
sys.path.insert(0, str(INFRA / "modules"))

import plans  # noqa: E402  # after the path
import readme  # noqa: E402  # its folder is no package

# Who hands something over by a resource of this type, and what must be there first: else what comes in the meantime is lost, or, where the
# receiver moves with an upgrade, ends in a dead letter queue.
LETS_IN = {
    ("aws_cloudwatch_event_target", "this"): {
        "aws_lambda_permission.events", "aws_sqs_queue_policy.this", "aws_kms_key.this", "aws_lambda_event_source_mapping.work"
    },
    ("aws_cloudwatch_event_target", "forward"): {"aws_iam_role_policy.forward", "aws_sqs_queue_policy.this", "aws_kms_key.this"},
    ("aws_cloudwatch_event_target", "workloads"): {"aws_lambda_permission.workloads", "aws_sqs_queue_policy.this", "aws_kms_key.this"},
    ("aws_scheduler_schedule", "sweep"): {"aws_iam_role_policy.schedule"},
    ("aws_scheduler_schedule", "workloads"): {"aws_iam_role_policy.schedule"},
    ("aws_lambda_event_source_mapping", "work"): {"aws_sqs_queue_redrive_policy.work"},
    ("aws_sns_topic_subscription", "alerts"): {"aws_sqs_queue_policy.this"},
    ("aws_sns_topic_subscription", "alarms"): {"aws_sqs_queue_policy.this"},
}


def waits_for(kinds: set[str]) -> dict[tuple[str, str], set[str]]:
    """The resources that each one of these types in module `guard` waits for by `depends_on`."""
    found = {}
    for path in sorted(GUARD.glob("*.tf")):
        text = path.read_text(encoding="utf-8")
        for block in re.finditer(r'^resource "(\w+)" "(\w+)" {', text, re.MULTILINE):
            if block[1] in kinds:
                attributes = readme.attributes(text, block.end(), readme.closing(text, block.end() - 1) - 1)
                found[block[1], block[2]] = set(re.findall(r"[\w.]+", attributes.get("depends_on", "")))
    return found


def loaded(script: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(f"plants_of_{script.parents[1].name}", script)
    assert spec and spec.loader, script
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Modules(unittest.TestCase):
    def test_who_lets_in_is_there_before_who_comes(self) -> None:
        self.assertEqual(waits_for({kind for kind, _ in LETS_IN}), LETS_IN)

    def test_every_mistake_can_be_planted(self) -> None:
        for script in [INFRA / "tests" / "misconfigurations.py", *sorted(INFRA.glob("modules/*/tests/misconfigurations.py"))]:
            module, folder = loaded(script), script.parents[1]
            mistakes: tuple[Any, ...] = tuple(getattr(module, "MISTAKES", None) or module.PLANTED)
            self.assertGreater(len(mistakes), 10, script)
            for mistake in mistakes:
                with self.subTest(f"{folder.name}: {mistake.what}"):
                    text = (folder / mistake.file).read_text(encoding="utf-8")
                    if hasattr(module, "replaced"):
                        self.assertNotEqual(module.replaced(text, mistake), text)
                    else:
                        self.assertEqual(text.count(mistake.old), 1, mistake.old)
                        self.assertNotEqual(mistake.old, mistake.new)

    def test_the_tables_of_mistakes_are_those_that_are_planted(self) -> None:
        for table in sorted(INFRA.glob("modules/*/tests/README.md")):
            with self.subTest(table.parents[1].name):
                listed = subprocess.run(
                    [sys.executable, "-B", table.with_name("misconfigurations.py"), "--list"], capture_output=True, text=True, check=True
                ).stdout
                self.assertIn(listed.strip(), table.read_text(encoding="utf-8"))

    def test_costs_that_are_not_those_of_the_plan_are_found(self) -> None:
        text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
        metrics = [[plans.OUR_METRICS, "Metric", "Function", str(number)] for number in range(35)]
        dashboard = json.dumps({"widgets": [{"properties": {"metrics": metrics}}]})

        def plan(alarms: int) -> dict[str, Any]:
            found: list[dict[str, Any]] = [{"address": "module.guard.a", "type": "aws_cloudwatch_metric_alarm", "values": {}}] * alarms
            found.append({"address": "module.guard.d", "type": "aws_cloudwatch_dashboard", "values": {"dashboard_body": dashboard}})
            found += [{"address": f"module.{module}.k", "type": "aws_kms_key", "values": {}} for module in ("guard", "ecr")]
            return {"planned_values": {"root_module": {"resources": found}}}

        plans.hold_costs(plan(38), text)
        for alarms, said in ((39, text), (38, text.replace("**20.29**", "**20.19**")), (38, text.replace("is 15.70 and", "is 14.70 and"))):
            self.assertRaises(plans.Wrong, plans.hold_costs, plan(alarms), said)


if __name__ == "__main__":
    unittest.main()
