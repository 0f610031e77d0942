"""An SNS front door that also delivers e-mail: ``python -m local_aws.mailbox --port PORT --upstream URL``.

ministack accepts e-mail subscriptions but delivers nothing to them. The functions publish to this address instead; every
request is passed on to ministack unchanged, and each accepted ``Publish`` is also kept as an e-mail subscriber would get it:
the subject, and of a ``MessageStructure=json`` message the ``email`` text (or ``default``, where there is none).

``GET /mailbox/messages`` lists what arrived, in order.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

_lock = threading.Lock()
_messages: list[dict[str, Any]] = []


def message_from(form: dict[str, list[str]]) -> dict[str, Any]:
    """The forms of a publish request that subscribers of each protocol receive."""
    body, subject = form.get("Message", [""])[0], form.get("Subject", [""])[0]
    bodies = {"default": body}
    if form.get("MessageStructure") == ["json"]:
        bodies = json.loads(body)
    return {
        "time": time.time(),
        "topic": form.get("TopicArn", form.get("TargetArn", [""]))[0],
        "subject": subject,
        "email": bodies.get("email", bodies["default"]),
        "bodies": bodies,
    }


class Handler(BaseHTTPRequestHandler):
    """Passes requests on, and keeps what was published."""

    protocol_version = "HTTP/1.1"
    upstream = ""

    def do_GET(self) -> None:
        """The messages."""
        with _lock:
            self._answer(200, json.dumps(_messages).encode(), "application/json")

    def do_POST(self) -> None:
        """One SNS request."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        # The host stays as it was: it is signed.
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        request = urllib.request.Request(self.upstream + self.path, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                status, content, kind = response.status, response.read(), response.headers.get("Content-Type", "")
        except urllib.error.HTTPError as error:
            status, content, kind = error.code, error.read(), error.headers.get("Content-Type", "")
        form = parse_qs(body.decode(errors="replace"), keep_blank_values=True)
        if status == 200 and form.get("Action") == ["Publish"]:
            with _lock:
                _messages.append(message_from(form))
        self._answer(status, content, kind)

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Stays silent."""


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(prog="local_aws.mailbox", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, required=True, help="loopback port to listen on")
    parser.add_argument("--upstream", required=True, help="address of the SNS emulator")
    options = parser.parse_args()
    Handler.upstream = options.upstream.rstrip("/")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
