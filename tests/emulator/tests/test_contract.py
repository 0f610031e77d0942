"""The contract suite against the local ECR: every case in every reading that it can play. ``make aws-contract`` asks AWS the same."""

from __future__ import annotations

import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

import boto3

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "contract"))

from aws import ask, clean, skipped, table  # noqa: E402
from contract import Play, Target, ask_registry, expected, load, readings  # noqa: E402
from local_aws.registry import REGION, Registry  # noqa: E402

# A session of a role that may read findings, and nothing of Inspector.
SESSION = "ASIACONTRACTWITHOUTIN"


class Contract(unittest.TestCase):
    """One server for all cases; a repository of its own for each."""

    directory: tempfile.TemporaryDirectory[str]
    registry: Registry
    target: Target

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = tempfile.TemporaryDirectory()
        cls.registry = registry = Registry(Path(cls.directory.name) / "registry.log")
        registry.start()
        cls.target = Target(
            ecr=registry.ecr,
            behave=registry.behave,
            scanner_says=lambda repository, digest, result: registry.set_scan(repository, digest, **result),
            runtime=lambda repository, reference, accept: ask_registry(
                f"{registry.url}/v2/{repository}/manifests/{reference}?region={registry.region}", "", accept
            ),
            without_inspector=boto3.client(
                "ecr",
                endpoint_url=registry.url,
                region_name=REGION,
                aws_access_key_id=SESSION,
                aws_secret_access_key="not-a-secret",
            ),
        )
        allowed = {"Effect": "Allow", "Action": ["ecr:DescribeImageScanFindings"], "Resource": ["*"]}
        registry.permit(SESSION, [allowed])

    @classmethod
    def tearDownClass(cls) -> None:
        cls.registry.stop()
        cls.directory.cleanup()

    def test_the_local_ecr_answers_as_the_cases_say(self) -> None:
        played = 0
        usual = {"digestAndTag": "tag", "pulls": "runtime", "pulledOf": "both", "restoreSeconds": 0}
        usual |= {"artifactTypeFirst": False, "enhancedSummaries": True, "otherScans": "kept"}
        for case in load():
            for reading, settings in readings(case).items():
                with self.subTest(case["name"], reading=reading, order=self.registry.order):
                    self.registry.behave(**usual | settings)
                    scanning = case.get("needs", {}).get("scanning", "BASIC")
                    rules = [{"scanFrequency": "CONTINUOUS_SCAN", "repositoryFilters": [everything()]}]
                    rules = rules if scanning == "ENHANCED" else []
                    self.registry.ecr.put_registry_scanning_configuration(scanType=scanning, rules=rules)
                    with Play(self.target, case) as play:
                        for step, answer in zip(case["steps"], play.run(), strict=True):
                            self.assertEqual(answer, expected(step, reading), step)
                    played += 1
        self.registry.behave(**usual)
        self.registry.ecr.put_registry_scanning_configuration(scanType="BASIC", rules=[])
        self.assertGreaterEqual(played, len(load()))
        print(f"contract: {len(load())} cases, {played} with all readings, order {self.registry.order}", file=sys.stderr)

    def test_the_script_for_aws_asks_prints_and_cleans_up(self) -> None:
        cases = load()
        skip = skipped(cases, "BASIC", covered=False, switch=False)
        rows = ask(self.target, cases, skip, time.monotonic() + 300)
        self.assertEqual([row.case for row in rows if row.same is False], [])
        for row in rows:
            self.assertEqual(row.same is None, row.case in skip, row)
        printed = table(rows)
        self.assertIn("0 differ", printed)
        # A difference is shown, and a case that is not asked says why.
        rows[0].same, rows[0].reading, rows[0].aws = False, None, ["another answer"] * len(rows[0].aws)
        self.assertIn('AWS says          "another answer"', table(rows))
        self.assertIn("not asked: the registry scans BASIC", printed)
        self.registry.ecr.create_repository(repositoryName="contract/left-over")
        self.registry.ecr.create_repository(repositoryName="contract-of-others")
        self.addCleanup(self.registry.ecr.delete_repository, repositoryName="contract-of-others", force=True)
        self.assertEqual(clean(self.registry.ecr, "contract"), [])
        names = [each["repositoryName"] for each in self.registry.ecr.describe_repositories()["repositories"]]
        self.assertEqual(names, ["contract-of-others"])

    def test_a_case_with_two_answers_has_one_for_each_reading(self) -> None:
        for case in load():
            for step in case["steps"]:
                answer = step.get("expect")
                if isinstance(answer, dict) and "either" in answer:
                    self.assertEqual(set(answer["either"]), set(readings(case)), case["name"])


def everything() -> dict[str, Any]:
    """A filter for all repositories."""
    return {"filter": "*", "filterType": "WILDCARD"}
