"""The check of arm64 finds a function that does not start or answers wrong, and says when it cannot check."""

from __future__ import annotations

import contextlib
import io
import sys
import textwrap
import unittest
from unittest import mock

import arm64

# A function in Python: asks for its event, and answers with what stands in place of ANSWER.
FUNCTION = """
import json, os, sys, urllib.request

def call(path, body=None, **headers):
    request = urllib.request.Request(f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}{path}", body, headers)
    return urllib.request.urlopen(request, timeout=20)

event = json.load(call("/2018-06-01/runtime/invocation/next"))
name = "11111111-2222-3333-4444-555555555555"
ANSWER
"""


def function(answer: str) -> list[str]:
    return [sys.executable, "-c", FUNCTION.replace("ANSWER", textwrap.dedent(answer))]


def answers(text: str, kind: str = "response") -> str:
    return f'call(f"/2018-06-01/runtime/invocation/{{name}}/{kind}", json.dumps({text}).encode())'


class Asking(unittest.TestCase):
    def test_an_answer_as_it_should_be_is_given_back(self) -> None:
        answer, seconds = arm64.ask("worker", function(answers('{"batchItemFailures": event["Records"]}')))
        self.assertEqual(answer, {"batchItemFailures": []})
        self.assertGreater(seconds, 0)

    def wrong(self, command: list[str], why: str, patience: float = 20) -> None:
        with self.assertRaisesRegex(arm64.Wrong, why):
            arm64.ask("worker", command, patience)

    def test_another_answer_is_wrong(self) -> None:
        self.wrong(function(answers('{"batchItemFailures": [1]}')), r'worker: response \{"batchItemFailures": \[1\]\}')
        self.wrong(function(answers("None")), "worker: response null")

    def test_an_error_is_wrong_also_if_it_has_the_words_of_an_answer(self) -> None:
        self.wrong(function(answers('{"batchItemFailures": []}', "error")), "worker: error")

    def test_a_function_that_ends_is_wrong_and_its_words_are_shown(self) -> None:
        self.wrong(function('sys.exit("no policy")'), "worker: ended with 1\nno policy")

    def test_a_function_that_says_nothing_is_wrong(self) -> None:
        self.wrong(function('call("/2018-06-01/runtime/invocation/next")'), "worker: said nothing in 0.5 s", patience=0.5)

    def test_nothing_is_there_in_the_aws_that_a_function_asks(self) -> None:
        asks = """
        try:
            call("/", b"{}", **{"X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.DescribeImages"})
        except urllib.error.HTTPError as error:
            code = json.load(error)["__type"]
        call("/", b"{}", **{"X-Amz-Target": "DynamoDB_20120810.GetItem"})
        assert code == "RepositoryNotFoundException", code
        """
        answer, _ = arm64.ask("worker", function(textwrap.dedent(asks) + answers('{"batchItemFailures": []}')))
        self.assertEqual(answer, {"batchItemFailures": []})

    def test_every_function_has_an_event_and_an_answer(self) -> None:
        functions = {path.name for path in (arm64.ROOT / "functions").iterdir() if path.is_dir()}
        self.assertEqual(set(arm64.EXPECTED), functions)
        for name in functions:
            self.assertTrue(arm64.event(name) and arm64.EXPECTED[name], name)


class Tools(unittest.TestCase):
    here = arm64.Tools("/usr/bin/rustc", ["qemu"])

    def tools(self, found: list[tuple[arm64.Tools | None, list[str]]], may_install: bool, user: int) -> tuple[arm64.Tools, list[list[str]]]:
        got: list[list[str]] = []
        with mock.patch.object(arm64, "find", side_effect=found), mock.patch("os.geteuid", return_value=user), contextlib.redirect_stdout(io.StringIO()):
            return arm64.tools(may_install, (1, 95), got.append), got

    def test_what_is_there_is_taken_and_nothing_installed(self) -> None:
        self.assertEqual(self.tools([(self.here, [])], may_install=True, user=0), (self.here, []))

    def test_root_gets_what_is_missing_if_that_was_asked_for(self) -> None:
        missing: list[tuple[arm64.Tools | None, list[str]]] = [(None, ["qemu-user-static"]), (self.here, [])]
        self.assertEqual(self.tools(missing, may_install=True, user=0), (self.here, [["qemu-user-static"]]))

    def test_nothing_is_installed_unasked_or_by_another_user(self) -> None:
        for may_install, user in ((False, 0), (True, 1000)):
            with self.assertRaisesRegex(arm64.NotChecked, "qemu-user-static cannot be had here or may not be installed"):
                self.tools([(None, ["qemu-user-static"])], may_install, user)

    def test_what_is_still_missing_after_that_is_said(self) -> None:
        with self.assertRaisesRegex(arm64.NotChecked, "rustc-web cannot be had here"):
            self.tools([(None, ["rustc-web"]), (None, ["rustc-web"])], may_install=True, user=0)

    def test_a_failed_installation_is_no_failure_of_the_functions(self) -> None:
        with mock.patch("subprocess.run", return_value=mock.Mock(returncode=100, stdout="Err: 404\nE: Unable to fetch\n")), self.assertRaisesRegex(
            arm64.NotChecked, "E: Unable to fetch"
        ):
            arm64.install(["qemu-user-static"])

    def test_a_compiler_that_is_too_old_is_none(self) -> None:
        said = {"/usr/bin/rustc": "rustc 1.85.0 (built from a source tarball)"}
        with (
            mock.patch.object(arm64, "builds", side_effect=lambda compiler: compiler in said),
            mock.patch.object(arm64, "output", side_effect=lambda compiler, _: said[compiler]),
            mock.patch("platform.machine", return_value="aarch64"),
        ):
            self.assertEqual(arm64.find((1, 95)), (None, arm64.COMPILER_PACKAGES))
            self.assertEqual(arm64.find((1, 85)), (arm64.Tools("/usr/bin/rustc", []), []))


if __name__ == "__main__":
    unittest.main()
