"""Reports of scanners, for injection into the registry."""

from __future__ import annotations

from typing import Any

from local_aws.registry import ACCOUNT, REGION


def basic(name: str, severity: str, package: str, installed: str = "1.0.2") -> dict[str, Any]:
    """A finding of basic scanning."""
    return {
        "name": name,
        "description": f"A flaw in {package} {installed}.",
        "uri": f"https://www.cve.org/CVERecord?id={name}",
        "severity": severity,
        "attributes": [
            {"key": "package_version", "value": installed},
            {"key": "package_name", "value": package},
            {"key": "CVSS2_VECTOR", "value": "AV:N/AC:L/Au:N/C:P/I:P/A:P"},
            {"key": "CVSS2_SCORE", "value": "7.5"},
        ],
    }


def enhanced(
    name: str,
    severity: str,
    package: str,
    installed: str = "1.0.2",
    fixed: str | None = "1.0.3",
    *,
    score: float = 9.8,
    manager: str = "OS",
    exploit: bool = False,
    text: str | None = None,
) -> dict[str, Any]:
    """A finding of enhanced scanning."""
    vulnerable = {"name": package, "version": installed, "arch": "X86_64", "packageManager": manager}
    return {
        "awsAccountId": ACCOUNT,
        "description": text or f"A flaw in {package} {installed}.",
        "findingArn": f"arn:aws:inspector2:{REGION}:{ACCOUNT}:finding/{name.lower()}",
        "firstObservedAt": "2026-11-20T10:00:00Z",
        "lastObservedAt": "2026-11-23T10:00:00Z",
        "updatedAt": "2026-11-23T10:00:00Z",
        "severity": severity,
        "status": "ACTIVE",
        "title": f"{name} - {package}",
        "type": "PACKAGE_VULNERABILITY",
        "fixAvailable": "YES" if fixed else "NO",
        "exploitAvailable": "YES" if exploit else "NO",
        "score": score,
        "packageVulnerabilityDetails": {
            "vulnerabilityId": name,
            "source": "NVD",
            "sourceUrl": f"https://nvd.nist.gov/vuln/detail/{name}",
            "vendorSeverity": severity.lower(),
            "vulnerablePackages": [vulnerable | ({"fixedInVersion": fixed} if fixed else {})],
        },
        "remediation": {"recommendation": {"text": "None Provided"}},
    }


def counts(found: list[dict[str, Any]]) -> dict[str, int]:
    """How many there are of each severity that occurs, as scan events say it."""
    result: dict[str, int] = {}
    for finding in found:
        result[finding["severity"]] = result.get(finding["severity"], 0) + 1
    return result
