"""A headless Chromium, asked by its own protocol over pipes (https://chromedevtools.github.io/devtools-protocol/), and where it is.

Only what `report_check.py` needs: no other part of the project asks a browser.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
# MIT; its binary is in the package itself. Taken where npm is there and no browser is installed.
PACKAGE = "@sparticuz/chromium@153.0.0"
UNPACK = 'import("@sparticuz/chromium").then(async (it) => console.log(await it.default.executablePath()))'
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--no-zygote",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-pipe",
)
# For each answer. A machine that does other things takes seconds to start a browser.
SECONDS = 60.0
FETCH_SECONDS = 120


def found(folder: Path) -> tuple[str, str]:
    """The browser, or why there is none. One that is not installed is unpacked into `folder`, once."""
    for name in (os.environ.get("CHROME", ""), *NAMES):
        if path := shutil.which(name) if name else None:
            return path, ""
    unpacked = folder / "chromium"
    if unpacked.is_file():
        return str(unpacked), ""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        return "", "there is no Chromium, and no npm to take one"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}')
    try:
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=FETCH_SECONDS)
        environment = os.environ | {"TMPDIR": str(folder)}
        ended = subprocess.run([node, "-e", UNPACK], cwd=folder, env=environment, check=True, capture_output=True, text=True, timeout=FETCH_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        return "", f"there is no Chromium, and npm cannot take one ({type(error).__name__})"
    return ended.stdout.strip(), ""


class NoBrowserError(Exception):
    """The browser does not start: it is for another processor, or misses a library."""


class Browser:
    """A browser with one tab. Errors of the page, and what its policy refuses, are in ``errors``."""

    def __init__(self, program: str) -> None:
        self.errors: list[str] = []
        self._number = 0
        self._loaded = 0
        self._session = ""
        self._rest = b""
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        ours, theirs = os.pipe(), os.pipe()
        # Above the numbers that the browser has for them; of shells, bash alone takes numbers of two digits.
        read, write = (fcntl.fcntl(number, fcntl.F_DUPFD, 20) for number in (ours[0], theirs[1]))
        command = ["bash", "-c", f'exec "$0" "$@" 3<&{read} 4>&{write}', program, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = subprocess.Popen(command, pass_fds=(read, write), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for number in (read, write, ours[0], theirs[1]):
            os.close(number)
        self._to, self._from = ours[1], theirs[0]
        os.set_blocking(self._from, False)

    def __enter__(self) -> Browser:
        try:
            tab = self._call("Target.createTarget", url="about:blank")["targetId"]
        except (AssertionError, OSError) as error:
            self.__exit__()
            raise NoBrowserError(str(error)) from error
        self._session = self._call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._profile.cleanup()

    def open(self, address: str) -> None:
        """Opens a page, and waits until it is complete."""
        before, deadline = self._loaded, time.monotonic() + SECONDS
        self._call("Page.navigate", url=address)
        while self._loaded == before:
            self._note(self._next(deadline))

    def ask(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if problem := answer.get("exceptionDetails"):
            raise AssertionError(f"{script}: {problem}")
        return answer["result"].get("value")

    def printed(self) -> int:
        """The size of the page as PDF."""
        return len(self._call("Page.printToPDF", preferCSSPageSize=True)["data"])

    def without_script(self, address: str) -> str:
        """The elements of a page whose scripts do not run."""
        self._call("Emulation.setScriptExecutionDisabled", value=True)
        before, deadline = self._loaded, time.monotonic() + SECONDS
        self._call("Page.navigate", url=address)
        while self._loaded == before:
            self._note(self._next(deadline))
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        html: str = self._call("DOM.getOuterHTML", nodeId=root)["outerHTML"]
        return html

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + SECONDS
        while True:
            answer = self._next(deadline)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer.get('error')}"
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            try:
                part = os.read(self._from, 1 << 20)
            except BlockingIOError:
                assert time.monotonic() < deadline, "the browser does not answer"
                time.sleep(0.01)
                continue
            assert part, "the browser has ended"
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(message)
        return answer

    def _note(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded += 1
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert", "warning"):
            self.errors.append(json.dumps(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.errors.append(parameters["entry"]["text"])
