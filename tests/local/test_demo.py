"""The output of the demo, and its suggestions: widths, words, names, variables."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import demo
import page
import policies
import teams
import trying
from local_aws.registry import REGION
from region import ROOT
from story import Story

FINDING = {"id": "CVE-2022-2274", "severity": "CRITICAL", "package": "openssl", "installed": "3.0.4", "fixed_in": "3.0.5", "action": "block"}


def image(state: str, reason: str = "1 finding blocks deployment.", **more: Any) -> dict[str, Any]:
    return {"region": REGION, "repository": "pay/ledger", "tag": "3.1.0", "digest": "sha256:" + "a" * 64, "state": state, "reason": reason, "findings": [FINDING]} | more


def alert(word: str, repository: str = "pay/api", **more: Any) -> dict[str, Any]:
    content = {"title": "BLOCKED pay/api:2.0.0", "description": "It cannot be pulled. " * 12, "nextSteps": ["Update the package. " * 8]}
    return {
        "topic": "ecr-guard-pay",
        "region": REGION,
        "subject": f"[ecr-guard] {word} {repository}:2.0.0 - CVE-2022-22965 CRITICAL, fix in 5.3.18 ({REGION})",
        "document": {"kind": word, "repository": repository, "digest": "sha256:" + "a" * 64},
        "email": "It cannot be pulled.\n\nWHY\n  " + "word " * 40,
        "chat": {"content": content},
        "sms": "ecr-guard " * 14,
    } | more


def printed(function: Any, *arguments: Any) -> list[str]:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        function(*arguments)
    return output.getvalue().splitlines()


class Shown(unittest.TestCase):
    def test_no_line_is_wider_than_a_terminal(self) -> None:
        alerts = [alert("BLOCKED"), alert("RELEASED"), alert("BLOCK DEFERRED", "pay/ledger"), alert("digest", ""), alert("REVIEW", "shop/" + "web" * 40)]
        long = image("Blocked", repository="pay/ledger", findings=[FINDING | {"package": "a-long-name-of-a-package" * 3}] * 2)
        lines = printed(demo.print_alerts, alerts) + printed(demo.print_images, [image("BlockDeferred"), long])
        self.assertEqual([line for line in lines if len(line) > demo.WIDTH and "openssl" not in line], [])

    def test_each_of_the_three_alerts_is_shown_in_a_form_of_its_own_and_the_others_by_subject(self) -> None:
        lines = printed(demo.print_alerts, [alert("BLOCKED"), alert("RELEASED"), alert("BLOCK DEFERRED", "pay/ledger"), alert("REVIEW", "shop/web")])
        self.assertEqual([line for line in lines if "ALERT to" in line], [" ALERT to pay, as e-mail", " ALERT to pay, as chat message", " ALERT to pay, as SMS"])
        others = lines[lines.index(" THE OTHER ALERTS, by subject") + 1 :]
        self.assertEqual(others, [" pay      REVIEW shop/web:2.0.0 - CVE-2022-22965 CRITICAL, fix in 5.3.18"])

    def test_a_row_says_why_and_until_when(self) -> None:
        self.assertEqual(demo.why_of(image("Blocked")), "CVE-2022-2274 openssl, fix 3.0.5")
        self.assertEqual(demo.why_of(image("Blocked", findings=[FINDING, FINDING])), "CVE-2022-2274 openssl, fix 3.0.5, 1 more")
        self.assertEqual(demo.why_of(image("Blocked", findings=[FINDING | {"fixed_in": None}])), "CVE-2022-2274 openssl")
        hold = {"cause": "in-use", "until": "2027-02-27T00:00:00Z"}
        self.assertEqual(demo.why_of(image("BlockDeferred", hold=hold)), "in use until 2027-02-27: CVE-2022-2274 openssl, fix 3.0.5")
        excepted = "Findings: 1 CRITICAL. None needs review, 1 is excepted by the policy (exceptions[0] SEC-12 of security@example.com, until 2026-12-30)."
        self.assertEqual(demo.why_of(image("Allowed", excepted, findings=[])), "excepted until 2026-12-30: SEC-12 of security@example.com")
        self.assertEqual(demo.why_of(image("Allowed", "No findings. None needs review.", findings=[])), "no finding at or above review")
        self.assertEqual(demo.why_of(image("Unscannable", "The scan failed, so nothing is known.", findings=[])), "The scan failed")

    def test_colours_are_for_terminals(self) -> None:
        self.assertEqual(printed(lambda: print(demo.painted("BLOCKED, alert to pay"))), ["BLOCKED, alert to pay"])


class Page(unittest.TestCase):
    def made(self, script: str | None) -> tuple[str | None, str]:
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "ecr-guard"
            if script is not None:
                program.write_text(f"#!/bin/sh\n{script}\n")
                program.chmod(0o755)
            path, why = page.made(Path(folder), {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, (program,))
            return (None if path is None else path.read_text().strip()), why

    def test_where_the_build_has_no_such_command_there_is_neither_a_page_nor_a_word(self) -> None:
        self.assertEqual(self.made(None), (None, ""))
        self.assertEqual(self.made("echo 'unrecognized subcommand' >&2; exit 2"), (None, ""))

    def test_the_page_is_made_of_the_account_of_the_demo(self) -> None:
        self.assertEqual(self.made('[ "$2" = --help ] || echo "$AWS_ENDPOINT_URL" > "$3"'), ("http://127.0.0.1:1", ""))

    def test_a_command_that_fails_is_quoted(self) -> None:
        self.assertEqual(self.made('[ "$2" = --help ] || { echo "no such table" >&2; exit 2; }'), (None, "no such table"))


class Acts(unittest.TestCase):
    def test_the_readme_shows_the_acts_as_they_are(self) -> None:
        acts = Story.acts(mock.MagicMock(spec=Story))
        lines = [f" {act.who:<5} {act.what:<40} {act.expected}" for act in acts]
        self.assertEqual([line for line in lines if len(line) > demo.WIDTH], [])
        shown = (ROOT / "README.md").read_text()
        self.assertIn("\n".join(lines), shown)


class Data(unittest.TestCase):
    def test_every_vulnerability_is_real_with_a_score_that_fits_its_severity_and_a_fix(self) -> None:
        ranges = {"LOW": (0.1, 3.9), "MEDIUM": (4.0, 6.9), "HIGH": (7.0, 8.9), "CRITICAL": (9.0, 10.0)}
        for name, finding in teams.ALL.items():
            low, high = ranges[finding["severity"]]
            (package,) = finding["packageVulnerabilityDetails"]["vulnerablePackages"]
            self.assertRegex(name, r"^CVE-20\d\d-\d{4,5}$")
            self.assertTrue(low <= finding["score"] <= high, name)
            self.assertNotEqual(package["version"], package["fixedInVersion"], name)
            self.assertNotIn("A flaw in", finding["description"], name)

    def test_the_policy_sends_each_team_its_alerts(self) -> None:
        policy = policies.load("story", {route: f"arn:{name}" for route, name in teams.TOPICS.items()})
        self.assertEqual(set(policy["routes"]), set(teams.TOPICS))
        self.assertEqual({one["route"] for one in policy["repositories"]}, set(teams.TOPICS) - {"default"})


class Trying(unittest.TestCase):
    def test_an_image_is_a_repository_and_a_tag(self) -> None:
        host = "123456789012.dkr.ecr.us-west-2.amazonaws.com"
        for name, parts in (("my/app:1.0", ("my/app", "1.0")), ("app", ("app", "latest")), (f"{host}/pay/api:2.0.0", ("pay/api", "2.0.0"))):
            self.assertEqual(trying.parsed(name), parts)
        for name in ("My App", "", "a", "my/app:", "my//app:1", "my/app:1 0", "other.example/my/App:1"):
            if name == "my/app:":
                self.assertEqual(trying.parsed(name), ("my/app", "latest"))
                continue
            with self.assertRaisesRegex(trying.Refused, "is no image: write a repository and a tag"):
                trying.parsed(name)

    def test_a_finding_is_a_severity_a_name_or_none(self) -> None:
        self.assertEqual(teams.finding("critical"), [teams.SPRING])
        self.assertEqual(teams.finding("cve-2024-3094"), [teams.XZ])
        self.assertEqual(teams.finding("NONE"), [])
        self.assertIsNone(teams.finding("CVE-1"))

    def test_a_shell_reads_the_variables_for_both_versions_of_the_aws_cli_and_drops_those_of_a_real_account(self) -> None:
        environment = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "us-west-2", "AWS_SECRET_ACCESS_KEY": "a b'c"}
        script = f'{trying.variables(environment)}\nexec "$0" -c "import json, os; print(json.dumps(dict(os.environ)))"'
        before = {"PATH": "/usr/bin:/bin", "AWS_PROFILE": "real", "AWS_SESSION_TOKEN": "real"}
        shell = subprocess.run(["sh", "-c", script, "python3"], env=before, capture_output=True, text=True, check=True)
        found = {name: value for name, value in json.loads(shell.stdout).items() if name.startswith("AWS_")}
        self.assertEqual(found, environment)


if __name__ == "__main__":
    unittest.main()
