"""The JSON Schema of the policy says what a schema can: of the files that people tried, it refuses what the check refuses.

`cli/src/policy/tests.rs` holds what the check says of each.
"""

from __future__ import annotations

import json
import unittest
from pathlib import Path

import jsonschema

ROOT = Path(__file__).resolve().parents[2]
TRIED = ROOT / "tests/fixtures/policies/tried"
ANSWERS = ROOT / "cli/src/policy/snapshots/ecr_guard_cli__policy__tests__every_tried_file_gets_its_answer.snap"

# Values that depend on today, on another member, or on a key that a reader of JSON has lost.
BEYOND_A_SCHEMA = {
    "07-date-too-late.json",
    "31-match-star-first.json",
    "39-allowed-and-forbidden.json",
    "41-route-that-is-none.json",
    "56-rule-that-never-decides.json",
    "60-same-match-twice.json",
    "61-key-twice.json",
    "62-route-twice.json",
}


class Schema(unittest.TestCase):
    def test_schema_refuses_what_the_check_refuses(self) -> None:
        schema = json.loads((ROOT / "docs/policy.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
        answers = ANSWERS.read_text()
        passes = set()
        for path in sorted(TRIED.iterdir()):
            try:
                accepted = validator.is_valid(json.loads(path.read_text(encoding="utf-8-sig")))
            except ValueError:
                accepted = False
            if f"{path.name}: valid" in answers:
                self.assertTrue(accepted, path.name)
            elif accepted:
                passes.add(path.name)
        self.assertEqual(passes, BEYOND_A_SCHEMA)


if __name__ == "__main__":
    unittest.main()
