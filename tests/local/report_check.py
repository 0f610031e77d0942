"""Checks the files of `ecr-guard report` with parts of others: the page in a headless Chromium, SARIF by its schema.

    tests/local/report_check.py [--browser FOLDER]    the folder for a browser that is not installed

The ledger has texts that want to be something else. A browser that cannot be had is said, with NOT CHECKED, and is no failure.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jsonschema

from browser import Browser, NoBrowserError, found
from page import built, run
from region import ROOT

FIXTURES = ROOT / "tests" / "fixtures"
HOSTILE = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\"'</style>--><!--"
IMAGES = 400
BLOCKED = 40
TOO_WIDE = "document.documentElement.scrollWidth > window.innerWidth + 1"


def digest(number: int) -> str:
    """The digest of an image, without its prefix."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def ledger() -> list[dict[str, Any]]:
    """A snapshot: images of two repositories, some of them blocked, with hostile texts in one of them."""
    example = json.loads((FIXTURES / "stored" / "0.1" / "row.json").read_text())[0]
    lines: list[dict[str, Any]] = [
        {"snapshot": {"schema": "ecr-guard/snapshot/v1", "taken_at": "2026-11-24T12:00:00Z", "version": "0.1.0", "table": "ledger", "region": "us-west-2"}}
    ]
    for number in range(IMAGES):
        row = copy.deepcopy(example)
        row["image"] |= {"digest": f"sha256:{digest(number)}", "repository": f"team/service-{number % 2}"}
        row["tags"] = [f"v1.{number}"]
        row["findings"] = row["findings"] if number < BLOCKED else []
        row["state"] = "Blocked" if number < BLOCKED else "Allowed"
        row["reason"] = f"Reason {number % 7}."
        lines.append({"image": row})
    odd = lines[1]["image"]
    odd["reason"] = HOSTILE
    odd["findings"][0] |= {"id": HOSTILE, "package": HOSTILE, "fixed_in": HOSTILE, "fix": "available", "url": "javascript:window.hacked = 1"}
    return [*lines, {"end": {"records": IMAGES}}]


def sarif_problems(text: str) -> list[str]:
    """The problems of a SARIF file: against the schema of SARIF 2.1.0."""
    schema = json.loads((FIXTURES / "sarif" / "sarif-schema-2.1.0.json").read_text())
    checks = jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())
    return [f"SARIF: {'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in checks.iter_errors(json.loads(text))]


def page_problems(page: Path, program: str) -> list[str]:
    """The problems that a browser shows of the page."""
    problems: list[str] = []

    def expect(what: str, got: Any, right: Any) -> None:
        if got != right:
            problems.append(f"the page: {what}: {got!r}, not {right!r}")

    address = page.as_uri()
    with Browser(program) as browser:
        browser.open(address)
        rows = "document.querySelectorAll('#image-table tbody tr').length"
        shown = "document.getElementById('shown').textContent"

        def filtered(name: str, value: str, right: int) -> None:
            """Sets a filter, and waits until the page has applied it."""
            browser.ask(f"(() => {{ const it = document.getElementById('filter-{name}'); it.value = {json.dumps(value)};"
                        " it.dispatchEvent(new Event('input', { bubbles: true })); })()")
            deadline = time.monotonic() + 10
            while browser.ask(rows) != right and time.monotonic() < deadline:
                time.sleep(0.05)
            expect(f"rows with {name} {value!r}", browser.ask(rows), right)

        expect("rows at first: all but those that are allowed", browser.ask(rows), BLOCKED)
        filtered("state", "", IMAGES)
        expect("the number", browser.ask(shown), f"{IMAGES} shown.")
        filtered("state", "BLOCKED", BLOCKED)
        filtered("severity", "CRITICAL", 0)
        filtered("severity", "HIGH", BLOCKED)
        filtered("search", "v1.39", 1)
        filtered("search", "CVE-2026-2", BLOCKED - 1)
        filtered("search", "", BLOCKED)
        # The heads sort: by name, up and down.
        name = "document.querySelector('#image-table tbody tr .name').firstChild.textContent"
        click = "document.querySelectorAll('#image-table thead button')[1].click()"
        browser.ask(click)
        expect("the first name", browser.ask(name), "team/service-0:v1.0")
        browser.ask(click)
        expect("the last name", browser.ask(name), "team/service-1:v1.9")
        expect("the direction", browser.ask("document.querySelectorAll('#image-table th')[1].getAttribute('aria-sort')"), "descending")
        # The details open, and hostile texts are texts.
        browser.ask("document.querySelectorAll('#image-table details').forEach((it) => { it.open = true; })")
        deadline = time.monotonic() + 10
        while browser.ask("document.querySelectorAll('#image-table dl').length") != BLOCKED and time.monotonic() < deadline:
            time.sleep(0.05)
        expect("the details", browser.ask("document.querySelectorAll('#image-table dl').length"), BLOCKED)
        expect("a hostile reason", browser.ask(f"document.body.innerText.includes({json.dumps(HOSTILE)})"), True)
        expect("elements of hostile texts", browser.ask("document.querySelectorAll('main script, img').length"), 0)
        expect("links that run code", browser.ask("document.querySelectorAll('a[href^=\"javascript\"]').length"), 0)
        expect("hostile code", browser.ask("String(window.hacked)"), "undefined")
        expect("a page that is wider than the window", browser.ask(TOO_WIDE), False)
        expect("a printed page", browser.printed() > 10_000, True)
        expect("errors", browser.errors, [])
        # The policy of the page holds: code that somebody put into it does not run, and nothing is sent.
        browser.ask("(() => { const it = document.createElement('script'); it.textContent = 'window.hacked = 1'; document.body.append(it); })()")
        expect("a script that was put into it", browser.ask("String(window.hacked)"), "undefined")
        expect("a request", browser.ask("fetch('http://127.0.0.1:9/').then(() => 'sent', (it) => it.name)"), "TypeError")
        expect("a refusal by the policy", any("Content Security Policy" in error for error in browser.errors), True)
        # A page that is opened at an image shows it.
        browser.open("about:blank")
        anchor = f"i-123456789012-us-west-2-team/service-1@{digest(IMAGES - 1)[:12]}"
        browser.open(f"{address}#{anchor}")
        expect("the row of an address", browser.ask(f"document.getElementById({json.dumps(anchor)}) !== null"), True)
        # A link to an image shows it, whatever the filters are.
        filtered("search", "nothing has this name", 0)
        link = "document.querySelector('#alerts ~ .wide a[href^=\"#i-\"]')"
        browser.ask(f"{link}.click()")
        deadline = time.monotonic() + 10
        while browser.ask(rows) != IMAGES and time.monotonic() < deadline:
            time.sleep(0.05)
        expect("the row of an alert", browser.ask(f"document.getElementById({link}.getAttribute('href').slice(1)) !== null"), True)
        browser.open("about:blank")
        browser.open(f"{address}#%zz")
        expect("rows of an address that is none", browser.ask(rows), BLOCKED)
        plain = browser.without_script(address)
        table = plain.partition('id="image-table"')[2].partition("</table>")[0]
        expect("blocked images without the script", table.count(">BLOCKED<"), BLOCKED)
    return problems


def main() -> int:
    """Makes the reports and checks them; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", type=Path, default=ROOT / "target" / "browser")
    arguments = parser.parse_args()
    program = built()
    if program is None:
        print("the command line is not built: cargo build --locked -p ecr-guard-cli")
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        snapshot, page, sarif = (folder / name for name in ("ledger.jsonl", "report.html", "report.sarif"))
        snapshot.write_text("".join(json.dumps(line) + "\n" for line in ledger()))
        ended = run(program, "report", "--snapshot", str(snapshot), "--html", str(page), "--sarif", str(sarif), environment={})
        if ended.returncode != 0:
            print(ended.stderr)
            return 1
        problems = sarif_problems(sarif.read_text())
        browser, why = found(arguments.browser)
        try:
            if browser:
                problems += page_problems(page, browser)
        except NoBrowserError as error:
            why = f"{browser} does not start ({error})"
        if why:
            print(f"NOT CHECKED: the page of the report in a browser, since {why}")
    for problem in problems:
        print(problem)
    if not problems:
        print("SARIF is as its schema says." if why else "The page and SARIF are as they should be.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
