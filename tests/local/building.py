"""Builds the functions for this machine, and says how far that is: the first build takes minutes.

The output of cargo is shown as it is if the build fails.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import TextIO

from progress import Status, about

# cargo's bar, ``Building [====>   ] 213/412: serde``: how many of the crates are compiled.
BAR = re.compile(rb"Building \[[=> ]*\] (\d+)/(\d+)")
WAITING = b"Blocking waiting for file lock"
# Without a terminal, a line after this number of seconds.
EVERY = 30.0
KEPT_LINES = 400


class Progress:
    """How far a build is."""

    def __init__(self, functions: int, output: TextIO | None = None):
        self.functions = functions
        self.status = Status(output)
        self.output = output or sys.stdout
        self.began = self.said = time.monotonic()
        self.done = self.total = self.first = 0
        self.waiting = False

    def see(self, chunk: bytes) -> None:
        """Reads what cargo says."""
        for done, total in BAR.findall(chunk):
            # A unit that was built before is counted at once.
            self.first = self.first if self.total else int(done)
            self.done, self.total = int(done), int(total)
        if WAITING in chunk and not self.waiting:
            self.waiting = True
            print("Another build of this checkout runs: waiting for it.", file=self.output, flush=True)
        now = time.monotonic()
        if self.total and self.done < self.total:
            if self.status.watched:
                self.status.say(self.text(now))
            elif now - self.said >= EVERY:
                self.said = now
                print(self.text(now), file=self.output, flush=True)

    def text(self, now: float) -> str:
        """The line."""
        compiled, left = self.done - self.first, self.total - self.done
        passed = now - self.began
        # The last crates are the functions themselves, which take longer than the others: what is said is a round number.
        more = f", about {about(passed / compiled * left * 1.5)} more" if compiled >= 20 else ""
        return f"Building {self.functions} functions: {self.done} of {self.total} crates{more}"


def build(command: list[str], functions: int, output: TextIO | None = None) -> int:
    """Runs cargo; gives its exit code, and shows what it said if that is not 0."""
    watched = os.environ | {"CARGO_TERM_PROGRESS_WHEN": "always", "CARGO_TERM_PROGRESS_WIDTH": "100", "CARGO_TERM_COLOR": "never"}
    progress = Progress(functions, output)
    tail: deque[str] = deque(maxlen=KEPT_LINES)
    process = subprocess.Popen(command, env=watched, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    rest = b""
    try:
        while chunk := os.read(process.stdout.fileno(), 65536):
            progress.see(rest + chunk)
            *whole, rest = re.split(rb"[\r\n]", rest + chunk)
            tail += [line.decode(errors="replace") for line in whole if line.strip() and not BAR.search(line)]
        code = process.wait()
    except KeyboardInterrupt:
        # Ctrl-C reaches cargo, too.
        process.wait()
        progress.status.clear()
        return 130
    progress.status.clear()
    if code != 0:
        print("\n".join([*tail, rest.decode(errors="replace")]), file=sys.stderr)
        return code
    took = time.monotonic() - progress.began
    if took > 5:
        print(f"Built {functions} functions in {about(took)}.", file=output or sys.stdout, flush=True)
    return 0


def main() -> int:
    """Builds."""
    parser = argparse.ArgumentParser(prog="building", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lambda-directory", type=Path, required=True, help="where the zips go")
    parser.add_argument("--config", action="append", default=[], help="a setting for cargo")
    parser.add_argument("functions", nargs="+", help="their names")
    options = parser.parse_args()
    command = ["cargo", "lambda", "build", "--release", "--locked", "--output-format", "zip", "--lambda-dir", str(options.lambda_directory)]
    for setting in options.config:
        command += ["--config", setting]
    for function in options.functions:
        command += ["--bin", function]
    if not (options.lambda_directory / options.functions[0] / "bootstrap.zip").is_file():
        print("The first build takes about ten minutes. Later ones build what has changed.", flush=True)
    try:
        return build(command, len(options.functions))
    except FileNotFoundError:
        print("cargo is not in PATH: `make doctor` says what is missing.", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main())
