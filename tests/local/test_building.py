"""A build says how far it is, and shows what cargo said only if it fails."""

from __future__ import annotations

import contextlib
import io
import sys
import unittest

import building
from progress import Status, about

BAR = "print('\\r    Building [===>      ] {}/412: serde, tokio\\r', end='', file=sys.stderr, flush=True); "


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Building(unittest.TestCase):
    def run_it(self, code: str, output: io.StringIO) -> tuple[int, str]:
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            ended = building.build([sys.executable, "-c", f"import sys; {code}"], 7, output)
        return ended, errors.getvalue()

    def test_a_good_build_shows_its_progress_and_nothing_else(self) -> None:
        output = Terminal()
        ended, errors = self.run_it("".join(BAR.format(number) for number in (100, 150, 411)) + "print('   Compiling serde v1', file=sys.stderr)", output)
        self.assertEqual((ended, errors), (0, ""))
        self.assertIn("Building 7 functions: 411 of 412 crates", output.getvalue())
        self.assertTrue(output.getvalue().endswith("\r\033[K"), output.getvalue())
        self.assertNotIn("Compiling", output.getvalue())

    def test_what_cargo_said_is_shown_if_it_fails_and_so_is_its_code(self) -> None:
        ended, errors = self.run_it(BAR.format(3) + "print('error: cannot find value `x`', file=sys.stderr); sys.exit(101)", io.StringIO())
        self.assertEqual((ended, errors.strip()), (101, "error: cannot find value `x`"))

    def test_a_build_that_waits_for_another_says_so(self) -> None:
        output = io.StringIO()
        self.run_it("print('    Blocking waiting for file lock on build directory', file=sys.stderr)", output)
        self.assertEqual(output.getvalue(), "Another build of this checkout runs: waiting for it.\n")

    def test_the_time_that_is_left_is_told_when_it_can_be_known(self) -> None:
        progress = building.Progress(7, io.StringIO())
        for done in (200, 205):
            progress.see(f"Building [==> ] {done}/400: x".encode())
        self.assertEqual(progress.text(progress.began + 10), "Building 7 functions: 205 of 400 crates")
        progress.see(b"Building [==> ] 300/400: x")
        # 100 crates in 100 seconds, 100 left; the last ones take longer.
        self.assertEqual(progress.text(progress.began + 100), "Building 7 functions: 300 of 400 crates, about 2 min more")

    def test_where_nobody_watches_no_line_is_replaced(self) -> None:
        output = io.StringIO()
        status = Status(output)
        status.say("something")
        status.clear()
        self.assertEqual(output.getvalue(), "")

    def test_times_are_round(self) -> None:
        self.assertEqual([about(seconds) for seconds in (1, 12, 61, 89, 130, 601)], ["5 s", "10 s", "60 s", "90 s", "2 min", "10 min"])


if __name__ == "__main__":
    unittest.main()
