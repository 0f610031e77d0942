"""`make doctor` and `make help`: what is missing is said with where to get it, and the first things come first."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import doctor
from region import ROOT


def need(found: bool, **more: object) -> doctor.Need:
    return doctor.Need("a tool", lambda: (found, "1.2" if found else "not in PATH"), "https://example.com", **more)  # type: ignore[arg-type]


class Doctor(unittest.TestCase):
    def test_what_is_there_is_shown_with_its_version_unless_it_should_be_quiet(self) -> None:
        self.assertEqual(doctor.lines("make demo", [need(True)], False, False), (["make demo:", "  ok       a tool (1.2)"], True))
        self.assertEqual(doctor.lines("make demo", [need(True)], True, False), ([], True))

    def test_what_is_missing_is_shown_with_where_to_get_it(self) -> None:
        said = ["make demo:", "  MISSING  a tool: not in PATH\n           → https://example.com"]
        for quiet in (False, True):
            self.assertEqual(doctor.lines("make demo", [need(False)], quiet, False), (said, False))

    def test_what_can_be_done_without_stops_nothing(self) -> None:
        said, able = doctor.lines("make test", [need(False, without="a scenario says NOT CHECKED")], False, False)
        self.assertTrue(able)
        self.assertIn("Without it, a scenario says NOT CHECKED.", said[-1])

    def test_what_builds_is_not_needed_for_what_is_built(self) -> None:
        self.assertEqual(doctor.lines("make demo", [need(False, to_build=True)], False, True), ([], True))

    def test_each_thing_says_where_to_get_it(self) -> None:
        for commands, wanted in doctor.needs().items():
            for one in wanted:
                self.assertTrue(one.get, f"{commands}: {one.what}")

    def test_a_machine_without_cargo_and_a_compiler_is_told_so_in_words_of_ours(self) -> None:
        with tempfile.TemporaryDirectory() as empty:
            command = [sys.executable, "-B", str(Path(doctor.__file__)), "--demo"]
            ended = subprocess.run(command, env=os.environ | {"PATH": empty}, capture_output=True, text=True, check=False)
            built = subprocess.run([*command, "--built"], env=os.environ | {"PATH": empty}, capture_output=True, text=True, check=False)
        self.assertEqual((ended.returncode, ended.stdout), (2, ""))
        for part in ("MISSING  cargo: not in PATH", "https://rustup.rs", "MISSING  C compiler (cc)", "`make demo` cannot run yet"):
            self.assertIn(part, ended.stderr)
        # `cargo lambda deploy` asks cargo, too.
        self.assertIn("MISSING  cargo", built.stderr)
        self.assertNotIn("compiler", built.stderr)


class Help(unittest.TestCase):
    def test_it_is_grouped_by_the_headings_of_the_makefile_and_begins_with_the_demo(self) -> None:
        said = subprocess.run(["make", "--no-print-directory", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True).stdout.splitlines()
        makefile = (ROOT / "Makefile").read_text()
        headings = re.findall(r"^##@ (.+)$", makefile, re.MULTILINE)
        self.assertEqual([line for line in said if line in headings], headings)
        first = said[said.index(headings[0]) + 1]
        self.assertTrue(first.startswith("  make demo "), first)
        described = re.findall(r"^([a-z][a-z0-9-]*):.*## ", makefile, re.MULTILINE)
        self.assertEqual([line.split()[1] for line in said if line.startswith("  make ")], described)

    def test_what_make_test_runs_has_the_scenarios_and_the_story(self) -> None:
        order = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("STEPS ")).partition(":=")[2].split()
        expected = "fmt-check lint deny unit mutants-check doc test-local e2e load-check demo-check report-check size counts infra arm64-check"
        self.assertEqual(order, expected.split())

    def test_make_test_says_the_time_of_each_step_and_ends_with_the_first_that_fails(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(ROOT / "Makefile", folder)
            command = ["make", "--no-print-directory", "-C", folder, "test"]
            good = subprocess.run([*command, "STEPS=help help"], capture_output=True, text=True, check=False)
            bad = subprocess.run([*command, "STEPS=help no-such-step help"], capture_output=True, text=True, check=False)
        self.assertEqual(good.returncode, 0, good)
        self.assertRegex(good.stdout, r"\nstep +time +target/\nhelp +\d+ s +\d+ MiB\nhelp +\d+ s +\d+ MiB\n$")
        self.assertNotEqual(bad.returncode, 0)
        self.assertRegex(bad.stdout, r"\nhelp +\d+ s +\d+ MiB\nno-such-step +\d+ s +\d+ MiB\nno-such-step failed\n$")


if __name__ == "__main__":
    unittest.main()
