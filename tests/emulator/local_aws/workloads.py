"""The workloads of the account, as ECS, Lambda, Batch and EKS list them, and the way into other accounts:
``python -m local_aws.workloads --port PORT``.

It answers the calls that read: nothing is started here. The driver gives the workloads, in the members that AWS answers with
(``PUT /workloads/of``). Pages are small, so that nobody takes the first one for all. The statements of roles decide who may
ask, as in ``ecr/permissions.py``; the keys of ``AssumeRole`` are for the account of their role.

- ``PUT /workloads/of``: ``{"account", "region", "clusters", "tasks", "services", "deployments", "revisions", "definitions", "functions",
  "aliases", "jobDefinitions", "eks"}``, all that there is from now on; what is left out stays as it is;
- ``PUT /workloads/permissions``: ``{"caller", "statements", "user"}``, as of ECR;
- ``PUT /workloads/roles``: ``{"arn", "externalId", "statements"}``, a role that may be taken with that external id; without statements,
  it is gone;
- ``GET|DELETE /workloads/calls``: the calls since the last reset.

Sources of the shapes: API references of ECS, Lambda, Batch, EKS and STS; the tests ask through botocore's models.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import signal
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from local_aws.ecr.permissions import SESSION, Permissions
from local_aws.registry import ACCOUNT

# Items of a page at most; AWS has 100 of most things and 50 functions.
PAGE = 2
JUDGED = ("batch:", "ecs:", "eks:", "lambda:", "sts:")
MEMBERS = (
    "clusters", "tasks", "services", "deployments", "revisions", "definitions", "functions", "aliases", "jobDefinitions", "eks",
)  # fmt: skip

Json = dict[str, Any]


class Refused(Exception):
    """An error that a call is answered with."""

    def __init__(self, code: str, message: str, status: int = 400):
        super().__init__(message)
        self.code, self.status = code, status


class Place:
    """The state of one account in one region."""

    def __init__(self) -> None:
        self.of: dict[str, list[Json]] = {name: [] for name in MEMBERS}

    def named(self, member: str, key: str, name: str) -> Json | None:
        """The item with this name; an ARN may be given by its last part."""
        return next((one for one in self.of[member] if name in (one[key], one[key].rpartition("/")[2])), None)


class Workloads:
    """All accounts and regions, and who may ask about them."""

    def __init__(self) -> None:
        self.places: dict[tuple[str, str], Place] = {}
        self.permissions = Permissions(JUDGED)
        self.roles: dict[str, Json] = {}
        self.sessions: dict[str, str] = {}
        self.calls: list[Json] = []

    def place(self, account: str, region: str) -> Place:
        """The workloads; none, as long as the driver gave none."""
        return self.places.setdefault((account, region), Place())

    def put(self, what: str, body: Json) -> None:
        """The state from the driver."""
        if what == "of":
            place = self.place(body.pop("account"), body.pop("region"))
            unknown = set(body) - set(MEMBERS)
            if unknown:
                raise ValueError(f"not understood: {sorted(unknown)}")
            place.of.update(body)
        elif what == "permissions":
            self.permissions.put(body["caller"], body["statements"], body.get("user"))
        elif what == "roles":
            self.roles[body["arn"]] = body
            if body["statements"] is None:
                del self.roles[body["arn"]]
        else:
            raise ValueError(f"not understood: {what}")

    def judge(self, caller: str | None, action: str, resource: str) -> None:
        """Refuses what the caller may not do. Source of the status: ECS and STS answer 400 and 403, services of REST 403."""
        refusal = self.permissions.refuses(caller, action, resource)
        if refusal is not None:
            service = action.partition(":")[0]
            code = "AccessDenied" if service == "sts" else "AccessDeniedException"
            raise Refused(code, refusal, 400 if service == "ecs" else 403)

    def assume(self, caller: str | None, form: dict[str, str]) -> Json:
        """``sts:AssumeRole``. A role that is not there, one that does not trust the caller and another external id are the same refusal."""
        arn = form["RoleArn"]
        self.judge(caller, "sts:AssumeRole", arn)
        role = self.roles.get(arn)
        if role is None or role.get("externalId") != form.get("ExternalId"):
            user = self.permissions._users.get(caller or "", caller)
            raise Refused("AccessDenied", f"User: {user} is not authorized to perform: sts:AssumeRole on resource: {arn}", 403)
        account, name = arn.split(":")[4], arn.rpartition("/")[2]
        key = SESSION + hashlib.sha256(arn.encode()).hexdigest()[:16].upper()
        session = f"arn:aws:sts::{account}:assumed-role/{name}/{form['RoleSessionName']}"
        self.permissions.put(key, role["statements"], session)
        self.sessions[key] = account
        return {"AccessKeyId": key, "SecretAccessKey": "not-a-secret", "SessionToken": "not-a-token", "Expiration": "2099-01-01T00:00:00Z"}


def page(items: list[Any], token: str | None, most: Any = None) -> tuple[list[Any], str | None]:
    """Items of a page, and the token of the next one."""
    first, size = int(token or 0), min(PAGE, int(most or PAGE))
    last = first + size
    return items[first:last], str(last) if last < len(items) else None


def tokens(answer: Json, name: str, token: str | None) -> Json:
    """An answer with the token of its next page, if there is one."""
    return answer | ({name: token} if token else {})


# ECS: a JSON request names the operation.


def _listed(member: str, key: str, answer: str) -> Callable[[Place, Json], Json]:
    def operation(place: Place, request: Json) -> Json:
        items = place.of[member]
        if member in ("tasks", "services"):
            cluster = request.get("cluster", "default").rpartition("/")[2]
            if not any(one["clusterArn"].endswith(f"/{cluster}") for one in place.of["clusters"]):
                raise Refused("ClusterNotFoundException", "Cluster not found.")
            items = [one for one in items if one["clusterArn"].endswith(f"/{cluster}")]
        if member == "definitions":
            wanted = request.get("status", "ACTIVE")
            items = [one for one in items if one.get("status", "ACTIVE") == wanted]
        found, token = page([one[key] for one in items], request.get("nextToken"), request.get("maxResults"))
        return tokens({answer: found}, "nextToken", token)

    return operation


def _described(member: str, key: str, asked: str, answer: str, most: int) -> Callable[[Place, Json], Json]:
    def operation(place: Place, request: Json) -> Json:
        names = request[asked]
        if len(names) > most:
            raise Refused("InvalidParameterException", f"{asked} can have at most {most} items.")
        found = {name: place.named(member, key, name) for name in names}
        missing = [{"arn": name, "reason": "MISSING"} for name, one in found.items() if one is None]
        return {answer: [one for one in found.values() if one is not None], "failures": missing}

    return operation


def _definition(place: Place, request: Json) -> Json:
    found = place.named("definitions", "taskDefinitionArn", request["taskDefinition"])
    if found is None:
        raise Refused("ClientException", "Unable to describe task definition.")
    return {"taskDefinition": found}


ECS: dict[str, Callable[[Place, Json], Json]] = {
    "ListClusters": _listed("clusters", "clusterArn", "clusterArns"),
    "ListTasks": _listed("tasks", "taskArn", "taskArns"),
    "DescribeTasks": _described("tasks", "taskArn", "tasks", "tasks", 100),
    "ListServices": _listed("services", "serviceArn", "serviceArns"),
    "DescribeServices": _described("services", "serviceArn", "services", "services", 10),
    "DescribeServiceDeployments": _described(
        "deployments", "serviceDeploymentArn", "serviceDeploymentArns", "serviceDeployments", 20
    ),
    "DescribeServiceRevisions": _described("revisions", "serviceRevisionArn", "serviceRevisionArns", "serviceRevisions", 20),
    "ListTaskDefinitions": _listed("definitions", "taskDefinitionArn", "taskDefinitionArns"),
    "DescribeTaskDefinition": _definition,
}


class Handler(BaseHTTPRequestHandler):
    """One request of a client or of the driver."""

    protocol_version = "HTTP/1.1"
    workloads = Workloads()
    error_type = ""
    lock = threading.RLock()

    def do_GET(self) -> None:
        """Reads."""
        self._handle(b"")

    def do_DELETE(self) -> None:
        """Empties the call log."""
        self._handle(b"")

    def do_PUT(self) -> None:
        """The driver says what there is."""
        self._handle(self._body())

    def do_POST(self) -> None:
        """ECS, Batch, STS."""
        self._handle(self._body())

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _handle(self, body: bytes) -> None:
        with self.lock:
            self.error_type = ""
            path = urlsplit(self.path).path
            if path.startswith("/workloads/"):
                self._driver(path.removeprefix("/workloads/"), body)
                return
            try:
                status, content, kind = 200, *self._call(path, body)
            except Refused as error:
                status, content, kind = error.status, *self._error(error)
            self._answer(status, content, kind)

    def _driver(self, what: str, body: bytes) -> None:
        calls = self.workloads.calls
        if what == "calls":
            answer = json.dumps(calls).encode()
            if self.command == "DELETE":
                calls.clear()
            self._answer(200, answer, "application/json")
            return
        try:
            self.workloads.put(what, json.loads(body))
            self._answer(204, b"", "text/plain")
        except (KeyError, TypeError, ValueError) as error:
            self._answer(400, repr(error).encode(), "text/plain")

    def _call(self, path: str, body: bytes) -> tuple[bytes, str]:
        """The answer of an operation, and its content type."""
        target = self.headers.get("X-Amz-Target", "")
        if target.startswith("AmazonEC2ContainerServiceV20141113."):
            operation = target.rpartition(".")[2]
            place = self._allowed(f"ecs:{operation}", "*")
            return json.dumps(ECS[operation](place, json.loads(body))).encode(), "application/x-amz-json-1.1"
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if path == "/v1/describejobdefinitions":
            request = json.loads(body or b"{}")
            place = self._allowed("batch:DescribeJobDefinitions", "*")
            wanted = request.get("status", "ACTIVE")
            items = [one for one in place.of["jobDefinitions"] if one.get("status", "ACTIVE") == wanted]
            found, token = page(items, request.get("nextToken"), request.get("maxResults"))
            return json.dumps(tokens({"jobDefinitions": found}, "nextToken", token)).encode(), "application/json"
        if path == "/clusters":
            found, token = page(self._allowed("eks:ListClusters", "*").of["eks"], query.get("nextToken"), query.get("maxResults"))
            return json.dumps(tokens({"clusters": found}, "nextToken", token)).encode(), "application/json"
        if path.startswith("/2015-03-31/functions"):
            return json.dumps(self._lambda(path, query)).encode(), "application/json"
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if form.get("Action") == "AssumeRole":
            self._log("sts:AssumeRole", self._caller())
            return _xml(self.workloads.assume(self._caller(), form)), "text/xml"
        raise Refused("UnknownOperationException", f"{self.command} {path} is not played here", 400)

    def _lambda(self, path: str, query: dict[str, str]) -> Json:
        match = re.fullmatch(r"/2015-03-31/functions/?(?P<name>[^/]*)(?P<aliases>/aliases)?", path)
        if match is None or self.command != "GET":
            raise Refused("UnknownOperationException", f"{self.command} {path} is not played here", 400)
        name = unquote(match["name"])
        if not name:
            place = self._allowed("lambda:ListFunctions", "*")
            all_versions = query.get("FunctionVersion") == "ALL"
            items = [one["Configuration"] for one in place.of["functions"]]
            items = [one for one in items if all_versions or one["Version"] == "$LATEST"]
            found, marker = page(items, query.get("Marker"), query.get("MaxItems"))
            return tokens({"Functions": found}, "NextMarker", marker)
        arn = f"arn:aws:lambda:{self._region()}:{self._account()}:function:{name}"
        if match["aliases"]:
            place = self._allowed("lambda:ListAliases", arn)
            self._version(place, name, "$LATEST")
            items = [one for one in place.of["aliases"] if one["AliasArn"].startswith(f"{arn}:")]
            found, marker = page(items, query.get("Marker"), query.get("MaxItems"))
            return tokens({"Aliases": found}, "NextMarker", marker)
        qualifier = query.get("Qualifier")
        # A call that names a version has another resource (Lambda developer guide, "Resources and conditions for Lambda
        # actions").
        place = self._allowed("lambda:GetFunction", f"{arn}:{qualifier}" if qualifier else arn)
        return self._version(place, name, qualifier or "$LATEST")

    def _version(self, place: Place, name: str, version: str) -> Json:
        for one in place.of["functions"]:
            if (one["Configuration"]["FunctionName"], one["Configuration"]["Version"]) == (name, version):
                return one
        raise Refused("ResourceNotFoundException", f"Function not found: {name}:{version}", 404)

    def _allowed(self, action: str, resource: str) -> Place:
        """The state of the caller's account in the region of the request, if it may read that."""
        self._log(action, self._caller())
        self.workloads.judge(self._caller(), action, resource)
        return self.workloads.place(self._account(), self._region())

    def _log(self, action: str, caller: str | None) -> None:
        self.workloads.calls.append({"action": action, "caller": caller, "account": self._account(), "region": self._region()})

    def _caller(self) -> str | None:
        return self._scope()[0]

    def _region(self) -> str:
        return self._scope()[1]

    def _account(self) -> str:
        return self.workloads.sessions.get(self._caller() or "", ACCOUNT)

    def _scope(self) -> tuple[str | None, str]:
        match = re.search(r"Credential=([^/,]+)/\d+/([^/]+)/", self.headers.get("Authorization", ""))
        return (match[1], match[2]) if match else (None, "")

    def _error(self, error: Refused) -> tuple[bytes, str]:
        if error.code == "AccessDenied":
            text = f"<ErrorResponse><Error><Type>Sender</Type><Code>{error.code}</Code><Message>{escape(str(error))}</Message></Error></ErrorResponse>"
            return text.encode(), "text/xml"
        self.error_type = error.code
        return json.dumps({"__type": error.code, "message": str(error)}).encode(), "application/json"

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        if self.error_type:
            self.send_header("X-Amzn-ErrorType", self.error_type)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Stays silent."""


def _xml(credentials: Json) -> bytes:
    members = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in credentials.items())
    return (
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
        f"{members}</Credentials></AssumeRoleResult></AssumeRoleResponse>"
    ).encode()


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(
        prog="local_aws.workloads", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True, help="loopback port to listen on")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
