"""The check of reports finds what is wrong: SARIF that its schema refuses."""

from __future__ import annotations

import json
import unittest

from region import ROOT
from report_check import HOSTILE, ledger, sarif_problems

SNAPSHOT = ROOT / "cli" / "src" / "report" / "snapshots" / "ecr_guard_cli__report__tests__sarif.snap"


class ReportCheckTest(unittest.TestCase):
    def test_the_sarif_of_the_tests_is_valid_and_a_mistake_in_it_is_found(self) -> None:
        text = SNAPSHOT.read_text().split("\n---\n", 1)[1]
        self.assertEqual(sarif_problems(text), [])
        for member, value in (("level", "fatal"), ("no-such-member", 1), ("locations", {})):
            sarif = json.loads(text)
            sarif["runs"][0]["results"][0][member] = value
            self.assertNotEqual(sarif_problems(json.dumps(sarif)), [], member)
        self.assertNotEqual(sarif_problems('{"version": "2.1.0"}'), [])

    def test_the_ledger_of_the_check_has_a_hostile_text_wherever_one_can_stand(self) -> None:
        hostile = ledger()[1]["image"]
        self.assertEqual(hostile["reason"], HOSTILE)
        self.assertEqual({hostile["findings"][0][member] for member in ("id", "package", "fixed_in")}, {HOSTILE})


if __name__ == "__main__":
    unittest.main()
