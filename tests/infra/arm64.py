"""Builds functions for arm64, the processor of a deployment, and has each answer an event on that processor, or on an emulator of it.

    tests/infra/arm64.py [--install] [--keep] FUNCTION...

The build is a quick one, without the optimizations of a release, but linked as a release is: it shows that all crates compile for arm64, and that the
program starts, reads its policy, speaks to AWS (here: to a server of this script) and answers. It is made by the compiler of rust-toolchain.toml if that has the library for
arm64, otherwise by Debian's (`rustc-web`), which is for this check only. `--install` lets apt-get fetch what is missing; so does CI=true. Both need root.
A check that cannot be made here is said, with NOT CHECKED, and is no failure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import smoke

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "target" / "arm64-check"
TARGET = "aarch64-unknown-linux-gnu"
QEMU = "qemu-aarch64-static"
# The system libraries for arm64, on Debian and Ubuntu.
SYSTEM = Path("/usr/aarch64-linux-gnu")
DEBIAN_COMPILER = "/usr/bin/rustc"
COMPILER_PACKAGES = ["rustc-web", "libstd-rust-web-dev:arm64"]
RUNNER_PACKAGES = ["qemu-user-static", "libc6-arm64-cross"]
# Seconds that a function may take from its start to its answer. An emulated one takes about one.
PATIENCE = 120
ACCOUNT, REGION = "123456789012", "us-west-2"
REQUEST = "11111111-2222-3333-4444-555555555555"
INVOCATION = "/2018-06-01/runtime/invocation/"


class NotChecked(Exception):
    """The reason why this cannot be checked on this machine."""


class Wrong(Exception):
    """The problem of a function."""


# The questions, and their answers


def event(function: str) -> Any:
    """An event for a function: about an image that does not exist, or for nothing."""
    if function in smoke.EVENTS:
        detail_type, detail = smoke.EVENTS[function]
        return {
            "version": "0",
            "id": REQUEST,
            "detail-type": detail_type,
            "source": "aws.ecr",
            "account": ACCOUNT,
            "time": "2026-11-30T12:00:00Z",
            "region": REGION,
            "resources": [],
            "detail": detail | {"repository-name": "ecr-guard-smoke", "image-digest": smoke.DIGEST},
        }
    return {
        "sweep": {"repositories": ["ecr-guard-smoke"]},
        "worker": {"Records": []},
        "workloads": {"detail-type": "ecr-guard smoke"},
        "gate": {"schema": "ecr-guard/gate/v1", "images": ["example.org/ecr-guard/smoke:1"], "context": {"caller": "smoke"}},
        "operate": {"schema": "ecr-guard/operate/v1"},
    }[function]


# The part of each answer that shows that the function has done its work.
EXPECTED: dict[str, dict[str, Any]] = {
    "on-push": {"outcome": "no-such-image"},
    "on-replication": {"why": "an image of this region: another function handles it"},
    "on-scan": {"outcome": "no-such-image"},
    "sweep": {"repositories": 1, "continued": False},
    "worker": {"batchItemFailures": []},
    "workloads": {"asked": "nothing"},
    "gate": {"decision": "allow"},
    "operate": {"outcome": "refused", "code": "invalid"},
}


def as_expected(function: str, answer: Any) -> bool:
    """Whether a function answers as it should."""
    wanted = EXPECTED[function]
    return isinstance(answer, dict) and {name: answer.get(name) for name in wanted} == wanted


def aws(service: str, operation: str) -> tuple[int, dict[str, Any]]:
    """AWS, as far as these events go: nothing is there."""
    if service.startswith("AmazonEC2ContainerRegistry"):
        return 400, {"__type": "RepositoryNotFoundException", "message": "there is no such repository"}
    if operation == "SendMessageBatch":
        return 200, {"Successful": [{"Id": "0", "MessageId": REQUEST, "MD5OfMessageBody": ""}], "Failed": []}
    return 200, {}


class Service(ThreadingHTTPServer):
    """Lambda's Runtime API for one event, and AWS, on loopback."""

    daemon_threads = True

    def __init__(self, payload: Any):
        super().__init__(("127.0.0.1", 0), Handler)
        self.payload = payload
        self.asked = False
        self.said: tuple[str, Any] | None = None
        self.answered = threading.Event()

    def answer(self, kind: str, content: Any) -> None:
        """Keeps the answer of the function."""
        self.said = (kind, content)
        self.answered.set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a function that is ended leaves its connections."""


class Handler(BaseHTTPRequestHandler):
    """A connection of the function."""

    server: Service
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The next event; there is one only."""
        if self.path != f"{INVOCATION}next":
            self.reply(404, {})
        elif self.server.asked:
            self.server.answered.wait()
            self.close_connection = True
        else:
            self.server.asked = True
            headers = {
                "Lambda-Runtime-Aws-Request-Id": REQUEST,
                "Lambda-Runtime-Deadline-Ms": str(int((time.time() + PATIENCE) * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:ecr-guard:live",
            }
            self.reply(200, self.server.payload, headers)

    def do_POST(self) -> None:
        """An answer of the function, or its call to AWS."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/2018-06-01/"):
            self.reply(202, {})
            self.server.answer(self.path.rpartition("/")[2], json.loads(body or b"null"))
            return
        service, _, operation = (self.headers.get("X-Amz-Target") or "").rpartition(".")
        status, content = aws(service, operation)
        self.reply(status, content)

    def reply(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        """Sends an answer."""
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/x-amz-json-1.0", "Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the functions' own words are kept."""


def environment(port: int, policy: Path) -> dict[str, str]:
    """The variables of a function."""
    here = f"http://127.0.0.1:{port}"
    return {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
        "AWS_LAMBDA_FUNCTION_NAME": "ecr-guard",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/ecr-guard",
        "AWS_LAMBDA_LOG_STREAM_NAME": "arm64",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL": here,
        "ECR_GUARD_POLICY": str(policy),
        "ECR_GUARD_TABLE": "ledger",
        "ECR_GUARD_QUEUE_URL": f"{here}/{ACCOUNT}/work",
        "ECR_GUARD_FINDINGS_QUEUE_URL": f"{here}/{ACCOUNT}/findings",
    }


def ask(function: str, command: list[str], patience: float = PATIENCE) -> tuple[Any, float]:
    """Starts a function, gives it an event, and ends it; gives its answer, and the seconds that it took."""
    service = Service(event(function))
    threading.Thread(target=service.serve_forever, args=(0.02,), daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        policy, log = Path(folder) / "policy.json", Path(folder) / "log"
        topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:alerts"
        policy.write_text(json.dumps({"version": 1, "mode": "report", "routes": {"default": topic}}), encoding="utf-8")
        began = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=environment(service.server_port, policy), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            while not service.answered.wait(0.05):
                if process.poll() is not None or time.monotonic() - began > patience:
                    ended = f"ended with {process.returncode}" if process.returncode is not None else f"said nothing in {patience:g} s"
                    raise Wrong(f"{function}: {ended}\n{log.read_text(errors='replace')[-2000:]}")
        finally:
            process.kill()
            process.wait()
            service.answered.set()
            service.shutdown()
            service.server_close()
        assert service.said is not None
        kind, answer = service.said
        if kind != "response" or not as_expected(function, answer):
            raise Wrong(f"{function}: {kind} {json.dumps(answer)}\n{log.read_text(errors='replace')[-2000:]}")
        return answer, time.monotonic() - began


# The tools


class Tools(NamedTuple):
    """The compiler for arm64, and the command that runs its programs here."""

    # The compiler, if it is not the one of rust-toolchain.toml.
    compiler: str | None
    # The command that runs a program for arm64.
    runner: list[str]


def output(*command: str) -> str:
    """The output of a command; nothing if it cannot be run."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def version(said: str) -> tuple[int, ...]:
    """The version that `rustc --version` prints."""
    found = re.match(r"rustc (\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else ()


def builds(compiler: str) -> bool:
    """Whether a compiler has the library for arm64."""
    sysroot = output(compiler, "--print", "sysroot")
    return sysroot != "" and any(Path(sysroot, "lib", "rustlib", TARGET, "lib").glob("libstd-*.rlib"))


def find(wanted: tuple[int, ...]) -> tuple[Tools | None, list[str]]:
    """The tools of this machine; or the packages of Debian that are missing. `wanted`: the least version of the compiler."""
    missing = []
    if (own := builds("rustc")) or (builds(DEBIAN_COMPILER) and version(output(DEBIAN_COMPILER, "--version")) >= wanted):
        compiler = None if own else DEBIAN_COMPILER
    else:
        compiler, missing = None, list(COMPILER_PACKAGES)
    runner: list[str] = []
    if platform.machine() != "aarch64":
        runner = [QEMU, "-L", str(SYSTEM)]
        if shutil.which(QEMU) is None or not (SYSTEM / "lib" / "ld-linux-aarch64.so.1").exists():
            missing += RUNNER_PACKAGES
    return (None if missing else Tools(compiler, runner)), missing


def install(packages: list[str]) -> None:
    """Has apt-get fetch packages; says why not, if it cannot."""
    commands = [
        ["dpkg", "--add-architecture", "arm64"],
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
    ]
    for command in commands:
        try:
            done = subprocess.run(
                command,
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotChecked(f"{' '.join(command)}: {error}") from error
        if done.returncode != 0:
            last = (done.stdout.strip().splitlines() or [""])[-1]
            raise NotChecked(f"{' '.join(command)}: {last}")


def tools(may_install: bool, wanted: tuple[int, ...], getting: Callable[[list[str]], None] = install) -> Tools:
    """The tools, installed if that may be and is needed."""
    found, missing = find(wanted)
    if found is None and may_install and os.geteuid() == 0:
        print(f"Fetching {', '.join(missing)}.", flush=True)
        getting(missing)
        found, missing = find(wanted)
    if found is None:
        root = "" if os.geteuid() == 0 else " as root"
        raise NotChecked(f"{', '.join(missing)} cannot be had here or may not be installed: `make arm64-check INSTALL=1`{root} on Debian does that")
    return found


def build(functions: list[str], compiler: str | None, config: list[str]) -> None:
    """Builds functions, without optimizations. `config`: settings for cargo."""
    # cargo-lambda would have rustup download the library of the compiler's target: that is for who runs this to do.
    command = ["cargo", "lambda", "build", "--locked", "--arm64", "--skip-target-check", "--lambda-dir", str(BUILT / "lambda")]
    for setting in config:
        command += ["--config", setting]
    for function in functions:
        command += ["--bin", function]
    profile = {"DEBUG": "0", "STRIP": "symbols", "PANIC": "abort"}
    variables = {"CARGO_TARGET_DIR": str(BUILT), "CARGO_INCREMENTAL": "0"} | {f"CARGO_PROFILE_DEV_{name}": value for name, value in profile.items()}
    if compiler is not None:
        variables["RUSTC"] = compiler
    done = subprocess.run(command, cwd=ROOT, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise Wrong(f"{' '.join(command)}\n{done.stdout[-6000:]}")


def check(functions: list[str], found: Tools, config: list[str]) -> None:
    """Builds functions and asks each."""
    began = time.monotonic()
    build(functions, found.compiler, config)
    size = sum(path.stat().st_size for path in BUILT.rglob("*") if path.is_file() and not path.is_symlink()) / 2**30
    compiler = output(found.compiler or "rustc", "--version")
    print(f"Built {len(functions)} functions for arm64 with {compiler} in {time.monotonic() - began:.0f} s, {size:.1f} GiB.", flush=True)
    for function in functions:
        answer, seconds = ask(function, [*found.runner, str(BUILT / "lambda" / function / "bootstrap")])
        shown = {name: answer[name] for name in EXPECTED[function]}
        print(f"ok     {function}: {json.dumps(shown)} in {seconds:.1f} s", flush=True)


def main() -> int:
    """Checks them; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="have apt-get install what is missing; needs root")
    parser.add_argument("--keep", action="store_true", help="leave what was built")
    parser.add_argument("--config", action="append", default=[], help="a setting for cargo")
    parser.add_argument("functions", nargs="+", choices=[*sorted(EXPECTED), "all"], metavar="FUNCTION", help=f"{', '.join(sorted(EXPECTED))}, or all")
    options = parser.parse_args()
    wanted = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"]["rust-version"]
    try:
        functions = sorted(EXPECTED) if "all" in options.functions else options.functions
        check(functions, tools(options.install or os.environ.get("CI") == "true", version(f"rustc {wanted}")), options.config)
    except NotChecked as why:
        print(f"NOT CHECKED: the functions on arm64, since {why}")
    except Wrong as wrong:
        print(f"FAILED {wrong}", file=sys.stderr)
        return 1
    finally:
        if not options.keep:
            shutil.rmtree(BUILT, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
