"""The events that the rules of the functions pass, evaluated by the emulator, on events as AWS sends them."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path
from typing import Any

from local_aws import events, running
from local_aws.images import OCI_CONFIG, OCI_MANIFEST, Image
from stack import PATTERNS, Stack

IMAGE = Image("team/app", "sha256:" + "a" * 64, "v1", OCI_MANIFEST, OCI_CONFIG, "{}")
ECR, INSPECTOR = "aws.ecr", "aws.inspector2"


class EventPatterns(unittest.TestCase):
    """Each event goes to the functions that are named, and to no other. ``forward``: to the buses of other regions."""

    directory: tempfile.TemporaryDirectory[str]
    stack: Stack

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = tempfile.TemporaryDirectory()
        cls.stack = Stack(Path(cls.directory.name), Path(cls.directory.name))
        cls.stack.start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.stack.stop()
        cls.directory.cleanup()

    def goes_to(self, source: str, entry: events.Entry, *functions: str, **changes: Any) -> None:
        event = events.delivered(source, entry)
        event["detail"] |= changes
        for pattern in PATTERNS.glob("*.json"):
            answer = self.stack.events.test_event_pattern(EventPattern=pattern.read_text(), Event=json.dumps(event))
            self.assertEqual(answer["Result"], pattern.stem in functions, f"{pattern.stem}: {event}")

    def test_pushes_and_deletes(self) -> None:
        for entry, functions in (
            (events.push(IMAGE), ["on-push"]),
            (events.delete(IMAGE), ["on-push", "on-replication", "forward"]),
        ):
            self.goes_to(ECR, entry, *functions)
            self.goes_to(ECR, entry, result="FAILURE")
            self.goes_to("com.example", entry)

    def test_restores_and_our_own_archiving_for_copies_only(self) -> None:
        self.goes_to(ECR, events.storage_class(IMAGE, "STANDARD"), "on-push", "on-replication", "forward")
        self.goes_to(ECR, events.storage_class(IMAGE, "ARCHIVE"), "on-replication", "forward")
        restored = events.storage_class(IMAGE, "STANDARD") | {"DetailType": "ECR Referrer Action"}
        self.goes_to(ECR, restored, "on-push")

    def test_what_a_pull_through_cache_has_fetched(self) -> None:
        fetched = events.pulled_through(IMAGE)
        self.goes_to(ECR, fetched, "on-push")
        self.goes_to(ECR, fetched, **{"sync-status": "FAILED"})

    def test_copies(self) -> None:
        for result in ("SUCCESS", "FAILED"):
            self.goes_to(ECR, events.replication(IMAGE, result), "on-replication")
            self.goes_to("com.example", events.replication(IMAGE, result))

    def test_scans(self) -> None:
        self.goes_to(ECR, events.scan(IMAGE, "COMPLETE", {"HIGH": 1}), "on-scan")
        self.goes_to(ECR, events.scan(IMAGE, "FAILED"), "on-scan")
        self.goes_to(ECR, events.scan(IMAGE, "IN_PROGRESS"))
        self.goes_to(INSPECTOR, events.inspector_scan(IMAGE, {}), "on-scan")
        self.goes_to(INSPECTOR, events.inspector_scan(IMAGE, {}), **{"repository-name": "i-087d63509b8c97098"})

    def test_findings_of_images_whatever_their_score(self) -> None:
        for status, goes in (("ACTIVE", ("worker",)), ("CLOSED", ("worker",)), ("SUPPRESSED", ("worker",))):
            for epss in (0.0, 0.5, None):
                self.goes_to(INSPECTOR, events.inspector_finding(IMAGE, "CVE-2026-1", epss, status), *goes)
        finding = events.inspector_finding(IMAGE, "CVE-2026-1", 0.5)
        self.goes_to("com.example", finding)
        self.goes_to(INSPECTOR, finding, resources=[{"id": "i-087d63509b8c97098", "type": "AWS_EC2_INSTANCE"}])

    def test_tasks_that_run_and_tasks_that_could_not_be_started(self) -> None:
        ecs = "aws.ecs"
        self.goes_to(ecs, events.task(running.task("prod", "api", IMAGE)), "workloads")
        self.goes_to(ecs, events.task(running.task("prod", "api", IMAGE, status="PENDING")))
        failed = events.task(running.failed_to_pull("prod", "api", IMAGE))
        self.goes_to(ecs, failed, "workloads")
        self.goes_to(ecs, failed, stopCode="EssentialContainerExited")
        self.goes_to(ecs, failed, lastStatus="DEPROVISIONING")
        self.goes_to("com.example", failed)

    def test_others(self) -> None:
        self.goes_to(INSPECTOR, events.entry("Inspector2 Finding", [], {"status": "ACTIVE"}))
        self.goes_to(ECR, events.entry("ECR Scan Resource Change", [], {"action-type": "SCAN_FREQUENCY_CHANGE"}))


if __name__ == "__main__":
    unittest.main()
