"""Which scenarios run, where, and what is left of a run that was cut off."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

import e2e
import runs
import scenarios
from local_aws.processes import wait_for
from names import Unknown, chosen
from progress import Status
from report import Report, alerts_of
from stack import FUNCTIONS

HERE = Path(__file__).parent
GROUPS = [*scenarios.GROUPS, scenarios.LAST]


class Names(unittest.TestCase):
    def test_no_name_is_all_of_them(self) -> None:
        self.assertEqual(chosen([], GROUPS), scenarios.ALL)

    def test_several_names_groups_and_patterns_give_each_scenario_once_in_their_order(self) -> None:
        found = [one.name for one in chosen(["role-of-s*", "verdicts", "high-to-review", "critical-blocked"], GROUPS)]
        self.assertEqual(found, [one.name for one in scenarios.ALL if one.name in found])
        self.assertLessEqual({"role-of-sweep", "clean-image-allowed", "critical-blocked"}, set(found))
        self.assertEqual(len(set(found)), len(found))

    def test_a_typo_is_refused_with_what_was_probably_meant(self) -> None:
        for typo, meant in (("critical-bloked", "critical-blocked"), ("critical-block", "critical-blocked"), ("verdict", "verdicts")):
            with self.assertRaisesRegex(Unknown, f"No scenario `{typo}`. Did you mean `{meant}`"):
                chosen([typo, "high-to-review"], GROUPS)

    def test_names_are_those_of_one_scenario_or_group_each(self) -> None:
        names = [one.name for one in scenarios.ALL] + [group.name for group in GROUPS]
        self.assertEqual(len(set(names)), len(names))


class Sharing(unittest.TestCase):
    def test_all_groups_are_shared_out_as_a_whole_and_the_last_runs_everywhere(self) -> None:
        shares = e2e.share(GROUPS, scenarios.ALL, 2)
        last = [one.name for one in scenarios.LAST.scenarios]
        self.assertEqual([share[-len(last) :] for share in shares], [last, last])
        self.assertEqual(sorted(name for share in shares for name in share), sorted([one.name for one in scenarios.ALL] + last))
        for group in scenarios.GROUPS:
            self.assertEqual(sum(group.scenarios[0].name in share for share in shares), 1)
            self.assertTrue(any({one.name for one in group.scenarios} <= set(share) for share in shares), group.name)

    def test_no_lane_has_much_more_to_do_than_the_other(self) -> None:
        seconds = {one.name: group.seconds / len(group.scenarios) for group in GROUPS for one in group.scenarios}
        longer, shorter = sorted((sum(seconds[name] for name in share) for share in e2e.share(GROUPS, scenarios.ALL, 2)), reverse=True)
        self.assertLess(longer, shorter * 1.3)

    def test_a_few_scenarios_need_one_account(self) -> None:
        self.assertEqual(e2e.share(GROUPS, chosen(["critical-blocked", "high-to-review"], GROUPS), 2), [["high-to-review", "critical-blocked"]])
        self.assertEqual(e2e.share(GROUPS, scenarios.LAST.scenarios, 2), [[one.name for one in scenarios.LAST.scenarios]])


class Command(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def run_script(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-B", str(HERE / script), "--directory", str(self.directory), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def test_a_typo_ends_with_2_before_anything_is_started_or_ended(self) -> None:
        with runs.Run(self.directory, "make e2e KEEP=1"):
            written = (self.directory / "running.json").read_text()
            for script in ("e2e.py", "demo.py"):
                ended = self.run_script(script, "--only", "critical-bloked")
                self.assertEqual((ended.returncode, "`critical-blocked`" in ended.stderr), (2, True), ended.stderr)
            self.assertEqual((self.directory / "running.json").read_text(), written)

    def test_a_second_run_ends_with_2_and_a_sentence(self) -> None:
        with runs.Run(self.directory, "make demo"):
            for script in ("e2e.py", "demo.py"):
                ended = self.run_script(script, "--check")
                self.assertEqual((ended.returncode, ended.stderr.count("\n"), "`make demo` runs here" in ended.stderr), (2, 1, True), ended.stderr)
        self.assertEqual(self.run_script("e2e.py", "--check").returncode, 0)

    def test_functions_that_are_not_built_are_named_with_what_builds_them(self) -> None:
        for script in ("e2e.py", "demo.py"):
            ended = self.run_script(script, "--lambda-directory", str(self.directory))
            self.assertEqual((ended.returncode, "Not built: gate, on-push" in ended.stderr, "make package-host" in ended.stderr), (2, True, True))
        self.assertFalse((self.directory / "running.json").exists())

    def test_an_interrupted_run_marks_its_report_and_leaves_nothing(self) -> None:
        for function in FUNCTIONS:
            (self.directory / "built" / function).mkdir(parents=True)
            (self.directory / "built" / function / "bootstrap.zip").write_bytes(b"not started in this test")
        arguments = ["--directory", str(self.directory), "--lambda-directory", str(self.directory / "built")]
        command = [sys.executable, "-B", str(HERE / "e2e.py"), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        running = self.directory / "running.json"
        wait_for("it has started something", lambda: running.is_file() and json.loads(running.read_text())["processes"], 30)
        started = [one["pid"] for one in json.loads(running.read_text())["processes"]]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        report = json.loads((self.directory / "report.json").read_text())
        self.assertEqual((process.returncode, report["complete"], running.exists()), (130, False, False), said)
        self.assertIn("marked as not complete", said)
        self.assertEqual([pid for pid in started if Path(f"/proc/{pid}").exists()], [])
        self.assertTrue(runs.is_free(self.directory))


class Board(unittest.TestCase):
    def shown(self, **changes: Any) -> list[str]:
        board = e2e.Board(GROUPS, chosen(["alerts"], GROUPS), 1, False)
        result = {"name": "alerts-reach-every-subscriber", "expected": "e", "observed": "o", "ok": True, "took_ms": 1200} | changes
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            board.status = Status(output)
            board.add(result)
        return output.getvalue().splitlines()

    def test_a_group_that_is_as_expected_is_one_line(self) -> None:
        self.assertEqual(self.shown(), ["ok      alerts          1 of 1      1.2 s  what subscribers received"])

    def test_what_is_not_as_expected_is_shown_in_full(self) -> None:
        said = self.shown(ok=False)
        self.assertEqual(said[0], "[ 1/1] NOT OK alerts-reach-every-subscriber  (1200 ms)")
        self.assertEqual(said[-1], "NOT OK  alerts          0 of 1      1.2 s  what subscribers received")

    def test_what_could_not_be_checked_is_said(self) -> None:
        said = self.shown(observed="NOT CHECKED: act cannot be had here")
        self.assertEqual(said[0], "NOT CHECKED: act cannot be had here: alerts-reach-every-subscriber")


class Reports(unittest.TestCase):
    def test_a_report_says_when_on_which_commit_and_that_it_is_not_complete_yet(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "report.json"
            report = Report(path, "make demo")
            begun = json.loads(path.read_text())
            report.end(True, images=[])
            ended = json.loads(path.read_text())
        self.assertEqual((begun["complete"], begun["ended"], begun["what"]), (False, None, "make demo"))
        self.assertEqual((ended["complete"], ended["started"], ended["images"]), (True, begun["started"], []))
        self.assertRegex(begun["started"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        if os.path.isdir(HERE.parents[1] / ".git") or (HERE.parents[1] / ".git").is_file():
            self.assertRegex(begun["commit"], "^[0-9a-f]{40}(-dirty)?$")

    def test_an_alert_has_all_four_forms(self) -> None:
        bodies = {"default": '{"kind": "image-blocked"}', "https": '{"version": "1.0"}', "sms": "short", "email": "long"}
        topic = "arn:aws:sns:us-west-2:123456789012:ecr-guard-pay"
        (alert,) = alerts_of([{"topic": topic, "subject": "[ecr-guard] BLOCKED", "email": "long", "bodies": bodies}])
        self.assertEqual((alert["topic"], alert["region"]), ("ecr-guard-pay", "us-west-2"))
        self.assertEqual((alert["document"], alert["email"], alert["chat"], alert["sms"]), ({"kind": "image-blocked"}, "long", {"version": "1.0"}, "short"))


if __name__ == "__main__":
    unittest.main()
