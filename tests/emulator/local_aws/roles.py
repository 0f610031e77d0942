"""Roles of functions: the permissions of a session. ministack enforces them for its services, our ECR for its own: moto checks
nothing."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from local_aws.registry import ACCOUNT, Registry
from local_aws.running import Running

TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}

# ministack asks for an action that AWS does not have: sending many messages is sending a message.
MINISTACK = {"sqs:SendMessage": "sqs:SendMessageBatch"}

Statement = dict[str, Any]


def without(statements: list[Statement], action: str) -> list[Statement]:
    """The same, and one action less; raises if it is not there to be taken away."""
    if not any(action in statement["Action"] for statement in statements):
        raise ValueError(f"{action} is not granted")
    fewer = [
        statement | {"Action": [each for each in statement["Action"] if each != action]} for statement in statements
    ]
    return [statement for statement in fewer if statement["Action"]]


def arn(service: str, region: str, resource: str) -> str:
    """The ARN of something in our account."""
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{resource}"


def role_arn(deployed: str, region: str) -> str:
    """The ARN of a function's role. Roles are the account's: their names say for which region they are."""
    return f"arn:aws:iam::{ACCOUNT}:role/{deployed}-{region}"


def create_role(iam: Any, deployed: str, region: str) -> str:
    """Makes the role of a function, which may do nothing yet; gives its ARN."""
    document = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
    iam.create_role(RoleName=f"{deployed}-{region}", AssumeRolePolicyDocument=document)
    return role_arn(deployed, region)


def permit(
    iam: Any, registry: Registry, running: Running, deployed: str, region: str, statements: list[Statement]
) -> None:
    """Gives a role these statements and no others, in ministack, in our registry and in what lists workloads."""
    asked_for = [
        one | {"Action": one["Action"] + [MINISTACK[action] for action in one["Action"] if action in MINISTACK]}
        for one in statements
    ]
    iam.put_role_policy(
        RoleName=f"{deployed}-{region}",
        PolicyName="function",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": asked_for}),
    )
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/{deployed}-{region}/{deployed}"
    # ministack has a session of its own for each way to name the function.
    for key in (access_key(deployed, region), access_key(deployed, region, ":$LATEST")):
        registry.permit(key, statements, session)
        running.permit(key, statements, session)


def access_key(deployed: str, region: str, qualifier: str = "") -> str:
    """The access key of the session that a function runs in: ministack derives it from the ARNs of function and role."""
    function = arn("lambda", region, f"function:{deployed}{qualifier}")
    return f"ASIA{hashlib.sha256(f'{function}:{role_arn(deployed, region)}'.encode()).hexdigest()[:16].upper()}"
