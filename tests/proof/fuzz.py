"""Runs the targets of `tests/fuzz` under libFuzzer, and prints a table."""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FUZZER = ROOT / "tests/fuzz/libfuzzer"
BUILD = ROOT / "target/fuzz"

# Longer inputs are for the plain test, which makes them on purpose. A fuzzer that works on them tries few.
MAX_BYTES = 65_536


def nightly() -> str | None:
    """The name of a nightly toolchain, if one is installed."""
    try:
        listed = subprocess.run(["rustup", "toolchain", "list"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    names = [line.split()[0] for line in listed.splitlines() if line.startswith("nightly")]
    return names[0] if names else None


def targets() -> list[str]:
    """The names in the table of targets."""
    return re.findall(r'^ {8}name: "([a-z-]+)"', (ROOT / "tests/fuzz/src/lib.rs").read_text(), re.MULTILINE)


def build(cargo_fuzz: Path, toolchain: str) -> Path:
    """Builds the program of all targets, and says where it is."""
    # The versions that are tested are those of the project.
    shutil.copy(ROOT / "Cargo.lock", FUZZER / "Cargo.lock")
    environment = dict(os.environ, RUSTUP_TOOLCHAIN=toolchain)
    # No sanitizer: that of addresses finds wrong uses of memory, and our code has no unsafe line (`unsafe_code = "forbid"`). With it, a program runs at half
    # the speed (clang's documentation, "AddressSanitizer").
    command = [str(cargo_fuzz), "fuzz", "build", "--sanitizer", "none", "--fuzz-dir", str(FUZZER), "--target-dir", str(BUILD), "fuzz"]
    subprocess.run(command, check=True, env=environment, cwd=ROOT)
    return next(BUILD.glob("*/release/fuzz"))


def run(program: Path, target: str, seconds: int) -> tuple[str, str, int]:
    """Runs one target: how many inputs, how much of the program they reached, and how many findings."""
    folder = BUILD / "inputs" / target
    seeds, found, wrong = folder / "seeds", folder / "found", folder / "wrong"
    shutil.rmtree(wrong, ignore_errors=True)
    for each in (seeds, found, wrong):
        each.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ, ECR_GUARD_FUZZ_TARGET=target, ECR_GUARD_FUZZ_SEEDS=str(seeds))
    command = [str(program), f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", "-timeout=10", "-rss_limit_mb=2048"]
    command += ["-print_final_stats=1", f"-artifact_prefix={wrong}/", str(found), str(seeds)]
    log = folder / "log"
    with log.open("wb") as output:
        subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=environment, check=False)
    text = log.read_text(errors="replace")
    runs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", text) or re.findall(r"^#(\d+)", text, re.MULTILINE)
    coverage = re.findall(r"\bcov: (\d+)", text)
    return (runs or ["0"])[-1], (coverage or ["0"])[-1], len(list(wrong.iterdir()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cargo-fuzz", type=Path, required=True, help="the program")
    parser.add_argument("--seconds", type=int, default=60, help="time for each target")
    parser.add_argument("--target", action="append", choices=targets(), help="only this one; may be given again")
    arguments = parser.parse_args()
    toolchain = nightly()
    if toolchain is None:
        print("NOT CHECKED: inputs by a fuzzer, since no nightly toolchain is installed (rustup toolchain install nightly)")
        return 0
    if not arguments.cargo_fuzz.is_file():
        print("NOT CHECKED: inputs by a fuzzer, since cargo-fuzz could not be installed")
        return 0
    program = build(arguments.cargo_fuzz, toolchain)
    print(f"| {'target':<18} | {'runs':>9} | {'coverage':>8} | findings |")
    print(f"|{'-' * 20}|{'-' * 10}:|{'-' * 9}:|{'-' * 9}:|", flush=True)
    total = 0
    for target in arguments.target or targets():
        runs, coverage, wrong = run(program, target, arguments.seconds)
        total += wrong
        print(f"| {target:<18} | {int(runs):>9,} | {int(coverage):>8,} | {wrong:>8} |", flush=True)
    if total:
        print(f"{total} findings: their inputs are in {BUILD.relative_to(ROOT)}/inputs/*/wrong. Put them into tests/fuzz/corpus.")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
