"""`tools/gate` and the step of the action, with a gate that gives set answers."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "123456789012.dkr.ecr.us-west-2.amazonaws.com/pay/api:1.4.2"
# Stands in for the AWS CLI: the nth call has the nth answer, and the last one again and again.
AWS = """#!/usr/bin/env bash
if [ "$1" = --version ]; then cat "$STUB/version"; exit; fi
count=$(cat "$STUB/count" 2>/dev/null || echo 0); count=$((count + 1)); echo "$count" >"$STUB/count"
while [ ! -e "$STUB/$count.json" ]; do count=$((count - 1)); done
printf '%s\\n' "$@" >"$STUB/arguments"
if [ -e "$STUB/$count.fails" ]; then cat "$STUB/$count.json" >&2; exit 254; fi
cp "$STUB/$count.json" "${@: -1}"
cat "$STUB/$count.metadata"
"""


def answer(decision: str, code: int, **members: Any) -> dict[str, Any]:
    """An answer of the gate about one image."""
    image = {
        "image": IMAGE, "decision": decision, "state": "Blocked", "reason": "one\u2028line", "warnings": [], "next": [], "digest": "sha256:ab", "pinned": "p@sha256:ab",
    }
    return {"schema": "ecr-guard/gate-answer/v1", "decision": decision, "exit_code": code, "retry_after_seconds": None, "images": [image | members]}


class Gate(unittest.TestCase):
    """The view of a pipeline."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.stub = Path(folder.name)
        (self.stub / "aws").write_text(AWS)
        (self.stub / "aws").chmod(0o755)
        (self.stub / "version").write_text("aws-cli/2.31.0 Python/3.13.7 Linux/6.8.0 exe/x86_64.ubuntu.24\n")
        (self.stub / "sleep").write_text("#!/bin/sh\n")
        (self.stub / "sleep").chmod(0o755)
        self.environment = os.environ | {"STUB": str(self.stub), "PATH": f"{self.stub}:{os.environ['PATH']}"}

    def says(self, *answers: dict[str, Any] | str | None) -> None:
        """The answers, one after the other: a text is an error of the CLI, `None` one of the function."""
        for number, said in enumerate(answers, 1):
            document = said if isinstance(said, str) else json.dumps({"errorMessage": "it ended"} if said is None else said)
            (self.stub / f"{number}.json").write_text(document)
            (self.stub / f"{number}.metadata").write_text(json.dumps({"StatusCode": 200} | ({"FunctionError": "Unhandled"} if said is None else {})))
            if isinstance(said, str):
                (self.stub / f"{number}.fails").touch()

    def asks(self, *arguments: str, unavailable: str = "fail", wait: str = "0") -> subprocess.CompletedProcess[str]:
        """Runs the script."""
        options = ["--function", "gate", "--region", "us-west-2", "--on-unavailable", unavailable, "--wait-minutes", wait]
        command = [str(ROOT / "tools/gate"), *options, *(arguments or (IMAGE,))]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=60)

    def test_the_exit_code_is_that_of_the_answer(self) -> None:
        for decision, code in (("allow", 0), ("deny", 1), ("deny", 2), ("wait", 3), ("unavailable", 4)):
            with self.subTest(code=code):
                self.says(answer(decision, code))
                done = self.asks()
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertEqual(json.loads(done.stdout)["exit_code"], code)

    def test_it_asks_about_the_images_as_they_are(self) -> None:
        self.says(answer("allow", 0))
        self.asks("--", "-odd", IMAGE)
        payload = next(line for line in (self.stub / "arguments").read_text().splitlines() if line.startswith("file://"))
        self.assertTrue(payload.endswith("request.json"))
        self.assertIn("raw-in-base64-out", (self.stub / "arguments").read_text())

    def test_version_1_of_the_cli_is_not_told_what_it_does_not_know(self) -> None:
        (self.stub / "version").write_text("aws-cli/1.46.3 Python/3.11.2 Linux/6.1.0 botocore/1.44.3\n")
        self.says(answer("allow", 0))
        self.assertEqual(self.asks().returncode, 0)
        self.assertNotIn("--cli-binary-format", (self.stub / "arguments").read_text())

    def test_it_waits_for_a_result(self) -> None:
        self.says(answer("wait", 3), answer("wait", 3), answer("allow", 0))
        self.assertEqual(self.asks(wait="1").returncode, 0)
        self.assertEqual((self.stub / "count").read_text().strip(), "3")

    def test_trouble_is_tried_again_and_never_green_unless_it_is_asked_for(self) -> None:
        throttled = "An error occurred (TooManyRequestsException): Rate Exceeded"
        self.says(throttled, None, answer("deny", 1))
        self.assertEqual(self.asks(wait="1").returncode, 1)
        for said in (throttled, None, {"hello": "world"}):
            with self.subTest(said=said):
                for path in self.stub.glob("[0-9c]*"):
                    path.unlink()
                self.says(said)
                self.assertEqual(self.asks().returncode, 4)
                allowed = self.asks(unavailable="allow")
                self.assertEqual(allowed.returncode, 0)
                self.assertIn("goes on all the same", allowed.stderr)

    def test_a_gate_that_said_wait_has_not_allowed_anything(self) -> None:
        throttled = "An error occurred (TooManyRequestsException): Rate Exceeded"
        self.says(answer("wait", 3), throttled)
        (self.stub / "sleep").write_text("#!/bin/sh\nexec /bin/sleep 1\n")
        # The first answer is "wait"; the deadline ends while the gate is silent.
        script = (ROOT / "tools/gate").read_text().replace("wait_minutes * 60", "wait_minutes * 2")
        short = self.stub / "gate"
        short.write_text(script)
        short.chmod(0o755)
        command = [str(short), "--function", "gate", "--on-unavailable", "allow", "--wait-minutes", "1", IMAGE]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 3, done.stderr)

    def test_an_exit_code_that_is_none_of_a_gate_is_no_answer(self) -> None:
        for code in (5, -1, "0", None):
            with self.subTest(code=code):
                self.says(answer("deny", 0) | {"exit_code": code})
                self.assertEqual(self.asks().returncode, 4)

    def test_an_answer_of_an_earlier_run_does_not_stay(self) -> None:
        output = self.stub / "answer.json"
        output.write_text(json.dumps(answer("allow", 0)))
        self.says("An error occurred (TooManyRequestsException): Rate Exceeded")
        self.assertEqual(self.asks("--output", str(output), IMAGE, unavailable="allow").returncode, 0)
        self.assertEqual(output.read_text(), "")
        self.assertEqual(self.asks("--output", str(self.stub / "no/such/folder"), IMAGE).returncode, 2)

    def test_what_asking_again_cannot_change_is_not_asked_again(self) -> None:
        for error in ("An error occurred (AccessDeniedException) when calling the Invoke operation", "Unable to locate credentials. You can configure credentials"):
            with self.subTest(error=error):
                (self.stub / "count").unlink(missing_ok=True)
                self.says(error)
                self.assertEqual(self.asks(wait="15").returncode, 4)
                self.assertEqual((self.stub / "count").read_text().strip(), "1")

    def test_minutes_are_decimal(self) -> None:
        self.says(answer("wait", 3), answer("allow", 0))
        self.assertEqual(self.asks(wait="08").returncode, 0)

    def test_no_text_is_a_command_of_the_runner(self) -> None:
        self.says(answer("deny", 1, reason="##[stop-commands]x", warnings=["##[add-mask]a"]))
        done = self.asks()
        self.assertNotIn("##[", done.stderr)
        self.says("An error ##[add-mask]a")
        self.assertNotIn("##[", self.asks().stderr)

    def test_wrong_usage_is_named(self) -> None:
        self.says(answer("allow", 0))
        for options in (("--unknown",), ("--wait-minutes", "-1", IMAGE), ("--wait-minutes", "x", IMAGE), ("--on-unavailable", "open", IMAGE), (IMAGE,) * 51):
            self.assertEqual(self.asks(*options).returncode, 2, options)

    def test_the_action_leaves_outputs_a_summary_and_annotations(self) -> None:
        files = {name: self.stub / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        given = {
            "GATE_IMAGES": f"  {IMAGE}\n\n", "GATE_FUNCTION": "gate", "GATE_REGION": "us-west-2", "GATE_WAIT_MINUTES": "0", "GATE_ON_UNAVAILABLE": "fail", "RUNNER_TEMP": str(self.stub),
        }
        environment = self.environment | given | {name: str(path) for name, path in files.items()}
        self.says(answer("deny", 1, reason="bad | worse\n::error::planted"))
        done = subprocess.run([str(ROOT / "actions/gate/run.sh")], env=environment, capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("decision=deny\ndigest=sha256:ab\npinned=p@sha256:ab\n", files["GITHUB_OUTPUT"].read_text())
        self.assertEqual([line for line in done.stdout.splitlines() if line.startswith("::")], [f"::error title=ecr-guard::{IMAGE}: bad | worse%0A::error::planted"])
        row = files["GITHUB_STEP_SUMMARY"].read_text().splitlines()[-1]
        self.assertEqual(row.count("|"), 5, row)

    def test_a_gate_that_is_passed_by_leaves_a_warning_and_a_name_to_deploy(self) -> None:
        files = {name: self.stub / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        given = {
            "GATE_IMAGES": IMAGE, "GATE_FUNCTION": "gate", "GATE_REGION": "us-west-2", "GATE_WAIT_MINUTES": "0", "GATE_ON_UNAVAILABLE": "allow", "RUNNER_TEMP": str(self.stub),
        }
        environment = self.environment | given | {name: str(path) for name, path in files.items()}
        for said in ("An error occurred (AccessDeniedException)", answer("unavailable", 4, pinned=None), answer("allow", 0, pinned=None, warnings=["not guarded"])):
            with self.subTest(said=said):
                for path in [*self.stub.glob("[0-9c]*"), *files.values()]:
                    path.unlink(missing_ok=True)
                self.says(said)
                done = subprocess.run([str(ROOT / "actions/gate/run.sh")], env=environment, capture_output=True, text=True, check=False, timeout=60)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(f"\npinned={IMAGE}\n", files["GITHUB_OUTPUT"].read_text())
                self.assertRegex(done.stdout, "^::(warning|error) title=ecr-guard::")


if __name__ == "__main__":
    unittest.main()
