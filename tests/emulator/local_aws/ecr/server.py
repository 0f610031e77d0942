"""Puts the operations into moto's server, and adds a call log, injection and the registry's own pull route.

In addition to the ECR API on ``/``:

- ``GET /ecr-guard/calls[?operation=…&repository=…&caller=…]`` and ``DELETE /ecr-guard/calls``: the calls since the last reset;
- ``PUT /ecr-guard/scans``: ``{"repository", "digest", "status", "description", "findings", "enhancedFindings"}``, and further
  ``counts`` (what the scanner counts), ``without`` and ``nulls`` (members of ``imageScanFindings`` that are not there, or ``null``),
  ``later``: a list of the same members with ``afterSeconds``, what is shown from then on;
- ``PUT /ecr-guard/images``: ``{"repository", "digest", "lastRecordedPullTime", "imagePushedAt"}`` (seconds);
- ``PUT /ecr-guard/replication``: ``{"repository", "delaySeconds", "failureCode", "loseTag"}``, how copies of what is pushed into a
  repository from now on go; without a repository: of all that nothing was said of. All members are optional;
- ``PUT /ecr-guard/settings``: the members of ``readings.py`` in camel case, how the registry behaves from now on;
- ``PUT /ecr-guard/failures``: ``{"operation", "number", "code", "spared"}``, the next calls of an operation fail with a code,
  except those of an access key;
- ``PUT /ecr-guard/races``: ``{"operation", "repository", "tag", "digest"}``: right before the next call of an operation by a function,
  somebody gives the tag to that image;
- ``PUT /ecr-guard/permissions``: ``{"caller", "statements", "user"}``, what the session of a role with this access key may do
  (``permissions.py``), and its ARN, which refusals name; a session of which nothing was said may do nothing;
- ``GET /v2/<repository>/manifests/<tag or digest>``: what a container runtime asks; 404 for what cannot be pulled. It counts as a pull;
  with ``?look``, the driver only looks whether it could be pulled.

All of them are about the server's own region, unless they name another one: ``"region"`` in the body, ``?region=`` in a query.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

import moto.ecr.urls as ecr_urls
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.ecr.models import ECRBackend, Repository, ecr_backends
from moto.ecr.responses import ECRResponse
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple
from werkzeug.wrappers import Request as HttpRequest
from werkzeug.wrappers import Response as HttpResponse

from local_aws.ecr.errors import EcrError
from local_aws.ecr.model import ACTIVE, Scan, StoredImage
from local_aws.ecr.operations import ImageOperations
from local_aws.ecr.permissions import SESSION, Permissions
from local_aws.ecr.readings import Readings
from local_aws.ecr.replication import BACKFILL_OPERATIONS, Behaviour, finish_all_copies

# The requests that are no operation of ECR.
OURS = ("pulled", "nulls", "move_tag", "first_readings")
OPERATIONS = tuple(name for name in vars(ImageOperations) if not name.startswith("_") and name not in OURS)

_lock = threading.RLock()
_calls: list[dict[str, Any]] = []
_failures: list[dict[str, Any]] = []
_races: list[dict[str, Any]] = []
_permissions = Permissions()

# The requests to ``/ecr-guard/``.
ROUTES = ("scans", "images", "replication", "settings", "failures", "races", "permissions")

# The errors of ECR that are the server's fault; all others are answered with 400.
SERVER_ERRORS = ("ServerException", "ServiceUnavailable", "InternalFailure")


class GuardBackend(ECRBackend):
    """moto's backend, with our operations on images."""

    def __init__(self, region_name: str, account_id: str):
        super().__init__(region_name, account_id)
        self.operations = ImageOperations(self)

    @property
    def _url_module(self) -> Any:
        return ecr_urls

    def delete_repository(
        self, repository_name: str, registry_id: str | None = None, force: bool = False
    ) -> Repository:
        """Forgets a repository, and its lifecycle preview with it."""
        self.operations.previews.pop(repository_name, None)
        return super().delete_repository(repository_name, registry_id, force)


class GuardResponse(ECRResponse):
    """moto's dispatcher: one operation at a time, each one logged."""

    def call_action(self) -> Any:
        """Runs the operation that the request names, and remembers it."""
        parameters = json.loads(self.body) if self.body else {}
        call: dict[str, Any] = {
            "time": time.time(),
            "operation": self._get_action(),
            "repository": parameters.get("repositoryName"),
            "region": self.region,
            "caller": access_key(self.headers.get("Authorization", "")),
            "image": parameters.get("imageId"),
            "target": parameters.get("targetStorageClass"),
        }
        if (call["caller"] or "").startswith(SESSION):
            # Others are answered meanwhile.
            time.sleep(self.ecr_backend.operations.readings.slow_seconds)  # type: ignore[attr-defined]
        with _lock:
            finish_all_copies(time.time())
            self._overtakes(call)
            status, headers, body = (
                self._refuses(call, parameters)
                or self._fails(call)
                or self._backfills(call, parameters)
                or self._with_nulls(call, parameters, super().call_action())
            )
            _calls.append({name: value for name, value in call.items() if value is not None} | {"status": status})
        return status, headers, body

    def _refuses(self, call: dict[str, Any], parameters: dict[str, Any]) -> Any:
        """The answer of a call that the caller may not make."""
        enhanced = self.ecr_backend.operations._enhanced()  # type: ignore[attr-defined]
        message = _permissions.refusal(
            call["caller"], call["operation"], parameters, self.region, self.current_account, enhanced
        )
        return None if message is None else self._error("AccessDeniedException", message)

    def _fails(self, call: dict[str, Any]) -> Any:
        """The answer of a call that is to fail, and one failure less to come."""
        for failure in _failures:
            meant = failure["operation"] == call["operation"] and failure["region"] == call["region"]
            if meant and call["caller"] != failure.get("spared"):
                failure["number"] -= 1
                if failure["number"] <= 0:
                    _failures.remove(failure)
                return self._error(failure["code"], "Rate exceeded")
        return None

    def _overtakes(self, call: dict[str, Any]) -> None:
        """Lets somebody be quicker than a function: a tag moves right before its call."""
        for race in _races:
            same = all(race[name] == call[name] for name in ("operation", "repository", "region"))
            if same and (call["caller"] or "").startswith(SESSION):
                _races.remove(race)
                operations = self.ecr_backend.operations  # type: ignore[attr-defined]
                operations.move_tag(race["repository"], race["tag"], race["digest"])
                return

    def _backfills(self, call: dict[str, Any], parameters: dict[str, Any]) -> Any:
        """The answer of an operation that botocore's service model does not have."""
        if call["operation"] not in BACKFILL_OPERATIONS:
            return None
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", call["operation"]).lower()
        replication = self.ecr_backend.operations.replication  # type: ignore[attr-defined]
        replication.finish_copies(time.time())
        try:
            answer = getattr(replication, name)(parameters)
        except EcrError as error:
            return self._error(str(error.code), str(error.message))
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer)

    def _with_nulls(self, call: dict[str, Any], parameters: dict[str, Any], answer: Any) -> Any:
        """The answer with members that are ``null``, as ECR has been seen to give them."""
        status, headers, body = answer
        if call["operation"] != "DescribeImageScanFindings" or status != 200:
            return answer
        nulls = self.ecr_backend.operations.nulls(parameters)  # type: ignore[attr-defined]
        if nulls:
            document = json.loads(body)
            document.setdefault("imageScanFindings", {}).update(dict.fromkeys(nulls))
            body = json.dumps(document)
        return status, headers, body

    def _error(self, code: str, message: str) -> Any:
        headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": code}
        body = json.dumps({"__type": code, "message": message})
        return 500 if code in SERVER_ERRORS else 400, headers, body


def access_key(authorization: str) -> str | None:
    """Who signed a request. (moto's own reading knows only keys that look like AWS's; those of local functions do not.)"""
    match = re.search(r"Credential=([^/,]+)/", authorization)
    return match[1] if match else None


def _delegate(name: str) -> Any:
    def operation(self: GuardResponse) -> ActionResult:
        parameters = json.loads(self.body) if self.body else {}
        return ActionResult(getattr(self.ecr_backend.operations, name)(parameters))  # type: ignore[attr-defined]

    operation.__name__ = name
    return operation


for _name in OPERATIONS:
    setattr(GuardResponse, _name, _delegate(_name))


class Application:
    """The WSGI application: our own routes first, then moto."""

    def __init__(self, account: str, region: str):
        self.account, self.region = account, region
        self.moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith(("/ecr-guard/", "/v2/")):
            with _lock:
                finish_all_copies(time.time())
                response = self.route(HttpRequest(environ), path)
            return response(environ, start_response)
        return self.moto(environ, start_response)

    def route(self, request: HttpRequest, path: str) -> HttpResponse:
        """Answers our own routes."""
        try:
            if path.startswith("/v2/"):
                where = {"region": request.args.get("region", self.region)}
                return self.pull(path, where, recorded="look" not in request.args)
            name = path.removeprefix("/ecr-guard/")
            if name == "calls":
                return self.calls(request)
            if request.method == "PUT" and name in ROUTES:
                body = json.loads(request.get_data())
                getattr(self, f"set_{name}")(body)
                return HttpResponse(status=204)
        except ServiceException as error:
            return answer({"error": str(error)}, 404)
        except (KeyError, ValueError, TypeError) as error:
            return answer({"error": repr(error)}, 400)
        return answer({"error": f"no route for {request.method} {path}"}, 404)

    def calls(self, request: HttpRequest) -> HttpResponse:
        """The call log, or its reset."""
        if request.method == "DELETE":
            _calls.clear()
            return HttpResponse(status=204)
        wanted = {name: values[0] for name, values in parse_qs(request.query_string.decode()).items()}
        return answer([call for call in _calls if all(call.get(name) == value for name, value in wanted.items())])

    def set_settings(self, body: dict[str, Any]) -> None:
        """How the registry behaves."""
        operations = self.operations(body)
        operations.readings = operations.readings.changed(body)

    def set_failures(self, body: dict[str, Any]) -> None:
        """Calls that fail."""
        failure = {"operation": body["operation"], "number": int(body["number"]), "code": str(body["code"])}
        failure |= {"region": body.get("region", self.region), "spared": body.get("spared")}
        if failure["number"] > 0:
            _failures.append(failure)

    def set_races(self, body: dict[str, Any]) -> None:
        """Who is quicker than a function."""
        race = {name: str(body[name]) for name in ("operation", "repository", "tag", "digest")}
        _races.append(race | {"region": body.get("region", self.region)})

    def set_permissions(self, body: dict[str, Any]) -> None:
        """The permissions of a session."""
        _permissions.put(str(body["caller"]), body["statements"], body.get("user"))

    def set_scans(self, body: dict[str, Any]) -> None:
        """The result of an image's scan."""
        image = self.image(body)
        now = time.time()
        later = [(now + float(stage["afterSeconds"]), scan_of(stage, now)) for stage in body.get("later", [])]
        image.scan = scan_of(body, now)
        image.scan.later = tuple(sorted(later, key=lambda stage: stage[0]))
        image.scan_started_at = image.scan_started_at or now

    def set_images(self, body: dict[str, Any]) -> None:
        """When an image was pushed and last pulled."""
        image = self.image(body)
        image.last_pulled_at = body.get("lastRecordedPullTime", image.last_pulled_at)
        image.pushed_at = body.get("imagePushedAt", image.pushed_at)

    def set_replication(self, body: dict[str, Any]) -> None:
        """How copying goes."""
        self.operations(body).replication.behaviours[body.get("repository")] = Behaviour(
            delay_seconds=float(body.get("delaySeconds", 0)),
            failure_code=body.get("failureCode"),
            lose_tag=bool(body.get("loseTag", False)),
        )

    def pull(self, path: str, where: dict[str, Any], recorded: bool) -> HttpResponse:
        """The manifest, as a container runtime gets it."""
        match = re.fullmatch(r"/v2/(?P<repository>.+)/manifests/(?P<reference>[^/]+)", path)
        if match is None:
            return answer({"errors": [{"code": "UNSUPPORTED"}]}, 404)
        operations = self.operations(where)
        repository = operations._repository({"repositoryName": match["repository"]})
        reference = match["reference"]
        key = "digest" if reference.startswith("sha256:") else "tag"
        image = operations._find(repository, **{key: reference})
        if image is None or image.status != ACTIVE:
            return answer({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "Requested image not found"}]}, 404)
        if recorded and operations.readings.pulls != "none":
            operations.pulled(repository, image)
        headers = {"Docker-Content-Digest": image.digest}
        return HttpResponse(image.manifest, content_type=image.media_type, headers=headers)

    def operations(self, body: dict[str, Any]) -> ImageOperations:
        """The operations of the registry in the region that is meant."""
        return ecr_backends[self.account][body.get("region", self.region)].operations  # type: ignore[attr-defined]

    def image(self, body: dict[str, Any]) -> StoredImage:
        """The image that is meant by repository and digest."""
        operations = self.operations(body)
        repository = operations._repository({"repositoryName": body["repository"]})
        return operations._require(repository, {"imageDigest": body["digest"]})


def scan_of(body: dict[str, Any], now: float) -> Scan:
    """The result of a scan, from a request."""
    done = body["status"] in ("COMPLETE", "ACTIVE")
    return Scan(
        status=body["status"],
        description=body.get("description", ""),
        findings=body.get("findings"),
        enhanced_findings=body.get("enhancedFindings"),
        completed_at=now if done else None,
        counts=body.get("counts"),
        without=tuple(body.get("without", ())),
        nulls=tuple(body.get("nulls", ())),
    )


def answer(body: Any, status: int = 200) -> HttpResponse:
    """A JSON response."""
    return HttpResponse(json.dumps(body), status=status, content_type="application/json")


def main(arguments: list[str] | None = None) -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(
        prog="local_aws.ecr", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True, help="loopback port to listen on")
    parser.add_argument("--account", default="123456789012", help="account id of the registry")
    parser.add_argument("--region", default="us-west-2", help="region of the injection routes when they name none")
    parser.add_argument("--order", type=int, help="number that gives the order of all lists; without it: that of the pushes")
    options = parser.parse_args(arguments)
    ImageOperations.first_readings = Readings(order=options.order)
    os.environ["MOTO_ACCOUNT_ID"] = options.account
    ecr_backends.backend = GuardBackend
    ecr_urls.url_paths = {"{0}/$": GuardResponse.dispatch}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    application = Application(options.account, options.region)
    run_simple("127.0.0.1", options.port, application, threaded=True, request_handler=MotoRequestHandler)
