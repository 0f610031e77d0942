"""AWS and Lambda for one function: what `make bench` measures functions against.

Services speak TLS with a certificate of their own authority, one port each, so that connections are not shared between services. Each keeps its
connections open, and counts connections and requests. The answers are those of a registry with one image whose scan has ended with 20 findings
that block nothing, and of a ledger that has the policy, and the rows that were written to it.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import json
import queue
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

ACCOUNT, REGION, REPOSITORY = "123456789012", "us-east-1", "team/api"
DIGEST = "sha256:" + "ab" * 32
FINDINGS = 20
POLICY = json.dumps({"version": 1, "mode": "enforce", "routes": {"default": f"arn:aws:sns:{REGION}:{ACCOUNT}:alerts"}})
POLICY_SHA256 = hashlib.sha256(POLICY.encode()).hexdigest()


def certificates(folder: Path) -> tuple[Path, Path]:
    """An authority, one between it and the server, and the server's: RSA of 2048 bits, a chain as long as AWS's. Gives the files of the authority and of
    the server."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    chain: list[tuple[x509.Certificate, rsa.RSAPrivateKey]] = []
    for name in ("bench root", "bench intermediate", "localhost"):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, signer = (chain[-1][0].subject, chain[-1][1]) if chain else (subject, key)
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=30))
        builder = builder.add_extension(x509.BasicConstraints(ca=name != "localhost", path_length=None), critical=True)
        if name == "localhost":
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        chain.append((builder.sign(signer, hashes.SHA256()), key))
    authority, server = folder / "authority.pem", folder / "server.pem"
    pem = [certificate.public_bytes(serialization.Encoding.PEM) for certificate, _ in chain]
    authority.write_bytes(pem[0])
    private = chain[-1][1].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    server.write_bytes(private + pem[2] + pem[1])
    return authority, server


@dataclass
class Counts:
    """The connections of a service, and its requests: the operation, and what it is asked."""

    connections: int = 0
    asked: list[str] = field(default_factory=list)


class Service:
    """A service of AWS, or Lambda's runtime interface without TLS."""

    def __init__(self, answer: Any, server: Path | None):
        counts = self.counts = Counts()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def setup(self) -> None:
                counts.connections += 1
                super().setup()

            def respond(self) -> None:
                """Reads a request, and writes the answer."""
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                status, headers, answered = answer(self, body)
                self.send_response_only(status)
                for name, value in {**headers, "content-length": str(len(answered))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answered)
                self.wfile.flush()

            do_GET = do_POST = respond

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def finish_request(self, request: Any, client_address: Any) -> None:
                # The handshake belongs to the connection's own thread: others may be asked at the same time.
                try:
                    if server is not None:
                        request = context.wrap_socket(request, server_side=True)
                    Handler(request, client_address, self)
                except (OSError, ssl.SSLError):
                    pass

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Says nothing: a function that ends closes its connections."""

        if server is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(server)
        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self.server.shutdown()
        self.server.server_close()


def findings() -> dict[str, Any]:
    """The answer of DescribeImageScanFindings, as basic scanning gives it: about 8 KB."""
    found = [
        {
            "name": f"CVE-2026-{number:05}",
            "description": "A crafted document reads beyond a buffer.",
            "uri": f"https://security-tracker.debian.org/tracker/CVE-2026-{number:05}",
            "severity": "LOW",
            "attributes": [
                {"key": "package_version", "value": "1.2.3-4+deb12u1"},
                {"key": "package_name", "value": f"package{number}"},
                {"key": "CVSS2_VECTOR", "value": "AV:N/AC:L/Au:N/C:P/I:P/A:P"},
                {"key": "CVSS2_SCORE", "value": "3.1"},
            ],
        }
        for number in range(FINDINGS)
    ]
    return {
        "registryId": ACCOUNT,
        "repositoryName": REPOSITORY,
        "imageId": {"imageDigest": DIGEST},
        "imageScanStatus": {"status": "COMPLETE", "description": "The scan was completed successfully."},
        "imageScanFindings": {
            "imageScanCompletedAt": 1790000000,
            "vulnerabilitySourceUpdatedAt": 1790000000,
            "findingSeverityCounts": {"LOW": FINDINGS},
            "findings": found,
        },
    }


def images() -> dict[str, Any]:
    """The answer of DescribeImages."""
    return {
        "imageDetails": [
            {
                "registryId": ACCOUNT,
                "repositoryName": REPOSITORY,
                "imageDigest": DIGEST,
                "imageTags": ["v1.2.3"],
                "imageStatus": "ACTIVE",
                "imageSizeInBytes": 123456789,
                "imagePushedAt": 1789990000,
                "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactMediaType": "application/vnd.oci.image.config.v1+json",
            }
        ]
    }


class Aws:
    """The services that a function of this project, its peer and the bare program ask."""

    def __init__(self, server: Path, rows: dict[str, Any]):
        self.rows = rows
        self.ecr = Service(self._ecr, server)
        self.dynamodb = Service(self._dynamodb, server)
        self.images, self.findings = json.dumps(images()).encode(), json.dumps(findings()).encode()
        self.nothing = json.dumps({"__type": "ImageNotFoundException", "message": "no such image"}).encode()

    @property
    def services(self) -> dict[str, Service]:
        """By name."""
        return {"ecr": self.ecr, "dynamodb": self.dynamodb}

    def variables(self) -> dict[str, str]:
        """The environment of a program that asks it."""
        return {f"AWS_ENDPOINT_URL_{name.upper()}": f"https://localhost:{service.port}" for name, service in self.services.items()}

    def close(self) -> None:
        """Ends it."""
        for service in self.services.values():
            service.close()

    @staticmethod
    def _count(service: Service, operation: str, body: bytes) -> None:
        service.counts.asked.append(f"{operation} {json.dumps(json.loads(body), sort_keys=True)}")

    def _ecr(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        operation = request.headers["x-amz-target"].rsplit(".", 1)[-1]
        self._count(self.ecr, operation, body)
        headers = {"content-type": "application/x-amz-json-1.1"}
        if DIGEST.encode() not in body:
            return 400, headers, self.nothing
        answers: dict[str, bytes] = {"DescribeImages": self.images, "DescribeImageScanFindings": self.findings}
        return 200, headers, answers[operation]

    def _dynamodb(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        operation = request.headers["x-amz-target"].rsplit(".", 1)[-1]
        self._count(self.dynamodb, operation, body)
        asked: dict[str, Any] = json.loads(body)
        answer: dict[str, Any] = {}
        if operation == "GetItem" and asked["Key"]["pk"]["S"] == f"policy#{POLICY_SHA256}":
            answer = {"Item": {"document": {"S": POLICY}}}
        elif operation == "GetItem" and (row := self.rows.get(json.dumps(asked["Key"], sort_keys=True))):
            answer = {"Item": {"row": row}}
        elif operation == "PutItem":
            key = {name: asked["Item"][name] for name in ("pk", "sk")}
            self.rows[json.dumps(key, sort_keys=True)] = asked["Item"]["row"]
        elif operation == "BatchGetItem":
            answer = {"Responses": {table: [] for table in asked["RequestItems"]}, "UnprocessedKeys": {}}
        return 200, {"content-type": "application/x-amz-json-1.0"}, json.dumps(answer).encode()


EVENT = {
    "version": "0",
    "id": "85fc3613-e913-7fc4-a80c-a3753e4aa9ae",
    "detail-type": "ECR Image Scan",
    "source": "aws.ecr",
    "account": ACCOUNT,
    "time": "2026-09-21T14:00:00Z",
    "region": REGION,
    "resources": [f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{REPOSITORY}"],
    "detail": {
        "scan-status": "COMPLETE",
        "repository-name": REPOSITORY,
        "finding-severity-counts": {"LOW": FINDINGS},
        "image-digest": DIGEST,
        "image-tags": ["v1.2.3"],
    },
}


class Lambda:
    """Lambda's runtime interface: gives the function a number of events, one after the other, and then none."""

    def __init__(self, events: int):
        self.left: queue.Queue[int] = queue.Queue()
        for number in range(events):
            self.left.put(number)
        self.idle = threading.Event()
        self.answers: list[tuple[str, bytes]] = []
        self.service = Service(self._answer, None)

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if request.command == "POST":
            self.answers.append((request.path.rsplit("/", 1)[-1], body))
            return 202, {"content-type": "application/json"}, b'{"status":"OK"}'
        try:
            number = self.left.get_nowait()
        except queue.Empty:
            self.idle.set()
            threading.Event().wait()
        deadline = int(datetime.datetime.now(datetime.UTC).timestamp() * 1000) + 300_000
        headers = {
            "content-type": "application/json",
            "lambda-runtime-aws-request-id": f"8476a536-e9f4-11e8-9739-{number:012x}",
            "lambda-runtime-deadline-ms": str(deadline),
            "lambda-runtime-invoked-function-arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:bench",
            "lambda-runtime-trace-id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
        }
        return 200, headers, json.dumps(EVENT).encode()
