"""The teams of the demo, and the vulnerabilities that their images have: real ones, with the scores of NVD, and the first version with the fix."""

from __future__ import annotations

from typing import Any

from local_aws.findings import enhanced

TOPICS = {"default": "ecr-guard-platform", "shop": "ecr-guard-shop", "pay": "ecr-guard-pay", "data": "ecr-guard-data"}

SPRING = enhanced(
    "CVE-2022-22965",
    "CRITICAL",
    "spring-beans",
    "5.3.17",
    "5.3.18",
    score=9.8,
    manager="JAR",
    exploit=True,
    text="Spring4Shell: data binding in Spring MVC or WebFlux on JDK 9+ lets remote code be executed.",
)
SPRING_EXPRESSION = enhanced(
    "CVE-2023-20861",
    "MEDIUM",
    "spring-expression",
    "5.3.17",
    "5.3.26",
    score=6.5,
    manager="JAR",
    text="A long expression stops the service.",
)
OPENSSL = enhanced(
    "CVE-2022-2274", "CRITICAL", "openssl", "3.0.4", "3.0.5", score=9.8, text="RSA with 2048-bit keys on AVX512IFMA processors corrupts memory."
)
ZLIB = enhanced(
    "CVE-2022-37434", "CRITICAL", "zlib", "1.2.12", "1.2.13", score=9.8, text="A large extra field in a gzip header overflows a buffer of inflate."
)
CURL = enhanced("CVE-2023-27533", "HIGH", "curl", "7.88.1", "8.0.0", score=8.8, text="TELNET options are passed on to the server unchecked.")
CURL_WILDCARD = enhanced(
    "CVE-2023-28321", "MEDIUM", "curl", "7.88.1", "8.1.0", score=5.9, text="Wildcards of a certificate match names that they should not."
)
CURL_COOKIES = enhanced("CVE-2023-38546", "LOW", "curl", "7.88.1", "8.4.0", score=3.7, text="Cookies can be put into a running program.")
GLIBC = enhanced("CVE-2022-23218", "CRITICAL", "glibc", "2.34", "2.35", score=9.8, text="A long path in svcunix_create overflows a buffer on the stack.")
XZ = enhanced(
    "CVE-2024-3094", "CRITICAL", "xz-utils", "5.6.1", "5.6.2", score=10.0, exploit=True, text="The release has a backdoor that reaches sshd."
)

ALL = {finding["packageVulnerabilityDetails"]["vulnerabilityId"]: finding for finding in (SPRING, OPENSSL, ZLIB, GLIBC, XZ, CURL, SPRING_EXPRESSION, CURL_WILDCARD, CURL_COOKIES)}

# The values of `make try-push FINDING=` in addition to the names above: the first finding of that severity.
BY_SEVERITY = {severity: next(one for one in ALL.values() if one["severity"] == severity) for severity in ("CRITICAL", "HIGH", "MEDIUM", "LOW")}


def finding(word: str) -> list[dict[str, Any]] | None:
    """The findings that a word stands for: a severity, the name of a vulnerability, or NONE; None if it is none of these."""
    name = word.upper()
    if name == "NONE":
        return []
    known = BY_SEVERITY.get(name) or ALL.get(name)
    return None if known is None else [known]
