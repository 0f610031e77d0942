"""Runs do not harm each other: a lock, a keeper, and processes that are ended only by those who started them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

import runs
from local_aws.processes import began, group_members, stop_group, wait_for

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


class RunsTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def sleeper(self) -> subprocess.Popen[bytes]:
        """A process in a group of its own, which somebody has to end."""
        process = subprocess.Popen(SLEEP, start_new_session=True)
        self.addCleanup(stop_group, process.pid, process)
        return process

    def test_a_second_run_is_refused_with_the_process_of_the_first_and_changes_nothing(self) -> None:
        with runs.Run(self.directory, "make demo"):
            written = (self.directory / "running.json").read_text()
            with self.assertRaisesRegex(runs.InUse, rf"`make demo` runs here since \d\d:\d\d \(process {os.getpid()}\)"), runs.Run(self.directory, "make e2e"):
                self.fail("it began")
            self.assertEqual((self.directory / "running.json").read_text(), written)
        self.assertFalse((self.directory / "running.json").exists())
        with runs.Run(self.directory, "make e2e"):
            pass

    def test_the_lock_of_a_killed_run_is_free_and_what_it_left_is_ended(self) -> None:
        child = self.sleeper()
        code = f"""
            import os, pathlib, runs, signal
            with runs.Run(pathlib.Path({str(self.directory)!r}), "make demo") as run:
                run.started([{child.pid}])
                os.kill(os.getpid(), signal.SIGKILL)
        """
        killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=Path(__file__).parent, env=self.environment(), check=False)
        self.assertEqual(killed.returncode, -9)
        self.assertTrue(group_members(child.pid))
        with runs.Run(self.directory, "make demo"):
            self.assertEqual(group_members(child.pid), [])

    def test_a_process_that_has_the_id_of_one_of_ours_by_now_is_left_alone(self) -> None:
        other = self.sleeper()
        for written in ((began(other.pid) or 0) + 1, None):
            runs.write(self.directory / "running.json", {"processes": [{"pid": other.pid, "began": written}]})
            self.assertEqual(runs.end_left_over(self.directory), [])
            self.assertTrue(group_members(other.pid))

    def test_a_kept_run_is_ended_when_it_is_asked_to(self) -> None:
        child = self.sleeper()
        with runs.Run(self.directory, "make demo KEEP=1") as run:
            run.started([child.pid])
            run.keep()
        self.assertTrue(group_members(child.pid))
        self.assertTrue(runs.kept(self.directory))
        with self.assertRaisesRegex(runs.InUse, "left a run here.*make demo-stop"), runs.Run(self.directory, "make demo"):
            self.fail("it began")
        self.assertRegex("".join(runs.stop(self.directory)), "^Ended `make demo KEEP=1`")
        self.assertEqual((group_members(child.pid), runs.kept(self.directory)), ([], {}))

    def test_a_kept_run_ends_by_itself(self) -> None:
        child = self.sleeper()
        with runs.Run(self.directory, "make demo KEEP=1") as run:
            run.started([child.pid])
            run.keep(0.1)
        wait_for("the keeper ends it", lambda: runs.is_free(self.directory))
        self.assertEqual(group_members(child.pid), [])

    def test_nothing_is_ended_where_nothing_runs(self) -> None:
        self.assertEqual(runs.stop(self.directory), [])

    def test_nobody_is_ended_for_what_an_old_file_says(self) -> None:
        other = self.sleeper()
        handle = runs.lock(self.directory)
        assert handle is not None
        self.addCleanup(os.close, handle)
        runs.write(self.directory / "running.json", {"pid": other.pid, "began": (began(other.pid) or 0) + 1, "what": "make demo"})
        self.assertRegex("".join(runs.stop(self.directory)), "does not say who it is")
        self.assertTrue(group_members(other.pid))

    @staticmethod
    def environment() -> dict[str, str]:
        return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONDONTWRITEBYTECODE": "1"}


if __name__ == "__main__":
    unittest.main()
