"""The beginning of an upgrade: a commit that this clone has, or a word why not."""

from __future__ import annotations

import subprocess
import tempfile
import unittest
from pathlib import Path

from versions import ROOT, NotThere, commit_of, functions_of, is_ancestor


def git(*arguments: str) -> str:
    author = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.com"]
    return subprocess.run(["git", *author, *arguments], capture_output=True, text=True, check=True).stdout.strip()


class Commits(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.whole, self.shallow = Path(directory.name) / "whole", Path(directory.name) / "shallow"
        git("init", "--quiet", str(self.whole))
        for message in ("first", "second"):
            git("-C", str(self.whole), "commit", "--quiet", "--allow-empty", "--message", message)
        git("clone", "--quiet", "--depth", "1", self.whole.as_uri(), str(self.shallow))
        self.first = git("-C", str(self.whole), "rev-parse", "HEAD~1")

    def test_a_commit_is_found_by_its_hash_and_by_a_short_one(self) -> None:
        for name in (self.first, self.first[:10]):
            self.assertEqual(commit_of(name, self.whole), self.first)

    def test_a_commit_has_those_before_it_in_its_history(self) -> None:
        self.assertTrue(is_ancestor(self.first, "HEAD", self.whole))
        self.assertFalse(is_ancestor("HEAD", self.first, self.whole))

    def test_a_shallow_clone_says_what_is_missing_and_how_to_get_it(self) -> None:
        with self.assertRaisesRegex(NotThere, "shallow.*git fetch --unshallow"):
            commit_of(self.first, self.shallow)

    def test_a_commit_of_another_repository_is_not_there(self) -> None:
        with self.assertRaisesRegex(NotThere, "not in this clone"):
            commit_of("0" * 40, self.whole)

    def test_the_functions_are_those_of_the_source(self) -> None:
        functions = functions_of(ROOT)
        self.assertLessEqual({"on-push", "on-replication", "on-scan", "sweep", "worker"}, set(functions))
        self.assertEqual([name for name in functions if not (ROOT / "functions" / name / "Cargo.toml").is_file()], [])


if __name__ == "__main__":
    unittest.main()
