"""Runs cargo-mutants on the pure core, by the tests of the core alone, and compares what survives with `tests/proof/survivors.txt`.

The results are kept in `target/mutants`, one line for each mutant, so that a run that was ended goes on where it was.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "target/mutants"
SURVIVORS = Path(__file__).parent / "survivors.txt"

# The rules: what decides about images, settings and tags, and what a sweep plans.
FILES = (
    "shared/core/src/decide.rs",
    "shared/core/src/decide/**",
    "shared/core/src/evaluate.rs",
    "shared/core/src/policy/**",
    "shared/core/src/repository/tags.rs",
    "shared/core/src/repository/tag.rs",
    "shared/core/src/repository/tag_checks/**",
    "shared/core/src/repository/access.rs",
    "shared/core/src/repository/access/**",
    "shared/core/src/repository/lifecycle.rs",
    "shared/core/src/repository/lifecycle/**",
)

# Tests of how alerts read, of digests and of summaries take most of the time, and say nothing about these files.
SKIPPED = ("alert::", "summary::", "digest::", "snapshot::", "uses::")

WORDS = {"CaughtMutant": "killed", "MissedMutant": "survived", "Timeout": "killed", "Unviable": "unviable"}


def environment() -> dict[str, str]:
    """Incremental builds without debug information: seconds for each mutant."""
    return dict(os.environ, CARGO_INCREMENTAL="1", CARGO_PROFILE_DEV_DEBUG="0", PROPTEST_CASES="48", CARGO_TERM_COLOR="never")


def selection(files: list[str], diff: Path | None) -> list[str]:
    chosen = [argument for file in files for argument in ("--file", file)]
    return chosen + (["--in-diff", str(diff)] if diff else [])


def listed(program: Path, files: list[str], diff: Path | None) -> list[str]:
    """The names of all mutants of these files."""
    command = [str(program), "mutants", "--list", "--package", "guard-core", *selection(files, diff)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode:
        sys.exit(answer.stderr)
    return [line for line in answer.stdout.splitlines() if line.strip()]


def known() -> dict[str, str]:
    """The results of the last runs at this commit, by the name of the mutant."""
    file = FOLDER / "results.txt"
    if not file.is_file():
        return {}
    pairs = (line.split("\t", 1) for line in file.read_text().splitlines())
    return {mutant: word for word, mutant in pairs}


def commit() -> str:
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def run(program: Path, mutants: list[str], diff: Path | None) -> None:
    """Runs these mutants, and adds what becomes of them to the results."""
    # cargo-mutants takes expressions: each name as it is.
    names = [argument for mutant in mutants for argument in ("--re", f"^{re.escape(mutant)}$")]
    command = [str(program), "mutants", "--package", "guard-core", "--baseline=skip", "--timeout=60", "-j1", "--colors=never", "--no-shuffle"]
    command += ["--output", str(FOLDER), *names, *(["--in-diff", str(diff)] if diff else [])]
    command += ["--", "--lib", "--", *(argument for name in SKIPPED for argument in ("--skip", name))]
    subprocess.run(command, cwd=ROOT, env=environment(), check=False)
    outcomes = json.loads((FOLDER / "mutants.out/outcomes.json").read_text())["outcomes"]
    with (FOLDER / "results.txt").open("a") as results:
        for outcome in outcomes:
            scenario = outcome["scenario"]
            if isinstance(scenario, dict):
                print(WORDS.get(outcome["summary"], outcome["summary"]), scenario["Mutant"]["name"], sep="\t", file=results)


def nameless(mutant: str) -> str:
    """A mutant without its line and column, which change with every edit of the file above it."""
    file, _, _, words = mutant.split(":", 3)
    return f"{file}:{words}"


def survivors() -> dict[str, str]:
    """The mutants that are known to survive, and why."""
    found = {}
    for line in SURVIVORS.read_text().splitlines():
        if line and not line.startswith("#"):
            mutant, _, why = line.partition(" -- ")
            found[mutant.strip()] = why.strip()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cargo-mutants", type=Path, required=True, help="the program")
    parser.add_argument("--files", nargs="*", default=list(FILES), help="only these files of the core")
    parser.add_argument("--shard", default="0/1", help="part k of n: `1/8`")
    parser.add_argument("--sample", type=int, help="only so many, chosen by `--seed`")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--in-diff", type=Path, help="only mutants of the lines that this diff changes")
    parser.add_argument("--batch", type=int, default=40, help="results are kept after so many")
    arguments = parser.parse_args()
    if not arguments.cargo_mutants.is_file():
        print("NOT CHECKED: mutants, since cargo-mutants could not be installed")
        return 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    at, now = FOLDER / "commit", commit()
    if not at.is_file() or at.read_text() != now:
        (FOLDER / "results.txt").unlink(missing_ok=True)
        at.write_text(now)
    mutants = listed(arguments.cargo_mutants, arguments.files, arguments.in_diff)
    number, of = (int(part) for part in arguments.shard.split("/"))
    mutants = mutants[number::of]
    if arguments.sample is not None:
        mutants = random.Random(arguments.seed).sample(mutants, min(arguments.sample, len(mutants)))
    waiting = [mutant for mutant in mutants if mutant not in known()]
    print(f"{len(mutants)} mutants at {now}, {len(waiting)} of them are to be run", flush=True)
    for start in range(0, len(waiting), arguments.batch):
        run(arguments.cargo_mutants, waiting[start : start + arguments.batch], arguments.in_diff)
    results = known()
    words = [results.get(mutant, "not run") for mutant in mutants]
    viable = words.count("killed") + words.count("survived")
    left = sorted(mutant for mutant in mutants if results.get(mutant) == "survived")
    explained = survivors()
    unknown = [mutant for mutant in left if nameless(mutant) not in explained]
    rate = 100 * words.count("killed") / viable if viable else 100.0
    print(f"at {now}: {viable} viable mutants, {words.count('killed')} killed ({rate:.1f} %), {len(left)} survive")
    for mutant in unknown:
        print(f"survives: {mutant}")
    if unknown:
        print(f"{len(unknown)} survivors are not in {SURVIVORS.relative_to(ROOT)}: write a test, or why there can be none.")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
