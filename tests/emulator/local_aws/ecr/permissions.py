"""The permissions for calls: statements of IAM policies, evaluated by action and resource. moto's own ECR lets everybody do
everything.

Only what the roles of the functions need is understood: ``Allow``, actions in full, resources with wildcards. A statement with
anything else is refused, so that it is not taken for granted.
"""

from __future__ import annotations

import re
from typing import Any

# The access keys of sessions of roles begin like this, here as on AWS. All others are those of the account's root.
SESSION = "ASIA"
# Operations that need the action of another one (service authorization reference of Amazon ECR).
ACTIONS = {"ListImageReferrers": "BatchGetImage"}
UNDERSTOOD = {"Sid", "Effect", "Action", "Resource"}
# The permissions for Inspector that ECR asks for in the caller's name when scanning is enhanced, by action (ECR user guide,
# "IAM permissions required for enhanced scanning").
OF_INSPECTOR = {"ecr:DescribeImageScanFindings": ["inspector2:ListCoverage", "inspector2:ListFindings"]}


class Permissions:
    """The permissions of each session."""

    def __init__(self, judged: tuple[str, ...] = ("ecr:", "inspector2:")) -> None:
        """The parameter gives the prefixes of the actions that are evaluated here."""
        self._judged = judged
        self._statements: dict[str, list[dict[str, Any]]] = {}
        self._users: dict[str, str] = {}

    def put(self, caller: str, statements: list[dict[str, Any]], user: str | None = None) -> None:
        """From now on, the session with this key may do what these statements allow. Those of other services are left out.

        ``user`` is the ARN of the session, which refusals name (recorded: alexjurkiewicz/ecr-scan-image#19).
        """
        ours = [one for one in statements if any(action.startswith(self._judged) for action in one["Action"])]
        for statement in ours:
            if set(statement) - UNDERSTOOD or statement["Effect"] != "Allow" or "*" in "".join(statement["Action"]):
                raise ValueError(f"not understood: {statement}")
        self._statements[caller] = ours
        self._users[caller] = user or caller

    def refusal(
        self,
        caller: str | None,
        operation: str,
        parameters: dict[str, Any],
        region: str,
        account: str,
        enhanced: bool = False,
    ) -> str | None:
        """Why a call is refused, if it is, in the words of AWS. Under enhanced scanning Inspector must not refuse either."""
        if caller is None or not caller.startswith(SESSION):
            return None
        user = self._users.get(caller, caller)
        action = f"ecr:{ACTIONS.get(operation, operation)}"
        for resource in resources(parameters, f"arn:aws:ecr:{region}:{account}:repository/"):
            refusal = self.refuses(caller, action, resource)
            if refusal is not None:
                return refusal
        for further in OF_INSPECTOR.get(action, []) if enhanced else []:
            if not any(allows(statement, further, "*") for statement in self._statements.get(caller, [])):
                # "ListFindings" is about ".../findings/list".
                path = further.removeprefix("inspector2:List").lower() + "/list"
                return (
                    f"User: {user} is not authorized to perform: {further} "
                    f"on resource: arn:aws:inspector2:{region}:{account}:/{path}"
                )
        return None

    def refuses(self, caller: str | None, action: str, resource: str) -> str | None:
        """Why a session may not do something with a resource, in the words of AWS; ``None``: it may."""
        if caller is None or not caller.startswith(SESSION):
            return None
        if any(allows(statement, action, resource) for statement in self._statements.get(caller, [])):
            return None
        return (
            f"User: {self._users.get(caller, caller)} is not authorized to perform: {action} on resource: {resource} "
            f"because no identity-based policy allows the {action} action"
        )


def resources(parameters: dict[str, Any], prefix: str) -> list[str]:
    """The ARNs of the repositories that a request names; ``*`` if it names none."""
    if "resourceArn" in parameters:
        return [str(parameters["resourceArn"])]
    names = [parameters["repositoryName"]] if "repositoryName" in parameters else parameters.get("repositoryNames")
    return [prefix + name for name in names] if names else ["*"]


def allows(statement: dict[str, Any], action: str, resource: str) -> bool:
    """Whether a statement allows an action on a resource."""
    return action in statement["Action"] and any(
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), resource)
        for pattern in statement["Resource"]
    )
