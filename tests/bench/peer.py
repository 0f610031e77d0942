"""The peer: a function in Python with boto3 that makes the same calls as `on-scan` for an image that nothing has to change for.

It is as good as such a function gets: clients are made at the start, connections stay open, answers are read and weighed, and Lambda's interface is
asked over one connection.
"""

from __future__ import annotations

import http.client
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config

SETTINGS = Config(retries={"mode": "standard", "max_attempts": 3}, connect_timeout=2, read_timeout=5)
ECR, LEDGER = boto3.client("ecr", config=SETTINGS), boto3.client("dynamodb", config=SETTINGS)
TABLE, POLICY = os.environ["ECR_GUARD_TABLE"], os.environ["ECR_GUARD_POLICY"].removeprefix("sha256:")
RULES = json.loads(
    LEDGER.get_item(TableName=TABLE, Key={"pk": {"S": f"policy#{POLICY}"}, "sk": {"S": "deployed"}}, ConsistentRead=True)["Item"]["document"]["S"]
)
SIDE_BY_SIDE = ThreadPoolExecutor(3)


def handle(event: dict[str, Any]) -> dict[str, Any]:
    """The facts of the image of an event, side by side, and whether a finding blocks it."""
    name, digest = event["detail"]["repository-name"], event["detail"]["image-digest"]
    account, image = event["account"], {"imageDigest": digest}
    key = {"pk": {"S": f"{account}#{name}"}, "sk": {"S": f"image#{digest}#{event['region']}"}}
    of = {"registryId": account, "repositoryName": name}
    row = {"ProjectionExpression": "#row", "ExpressionAttributeNames": {"#row": "row"}}
    asked = [
        SIDE_BY_SIDE.submit(ECR.describe_images, **of, imageIds=[image], filter={"imageStatus": "ANY"}),
        SIDE_BY_SIDE.submit(ECR.describe_image_scan_findings, **of, imageId=image, maxResults=1000),
        SIDE_BY_SIDE.submit(LEDGER.get_item, TableName=TABLE, Key=key, ConsistentRead=True, **row),
    ]
    described, scan, known = (future.result() for future in asked)
    worst = {finding["severity"] for finding in scan["imageScanFindings"]["findings"]}
    blocked = "CRITICAL" in worst and RULES["mode"] == "enforce"
    return {"image": described["imageDetails"][0]["imageDigest"], "blocked": blocked, "known": "Item" in known}


def main() -> None:
    """Answers events until Lambda ends it."""
    interface = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        interface.request("GET", "/2018-06-01/runtime/invocation/next")
        given = interface.getresponse()
        answer = json.dumps(handle(json.loads(given.read())))
        interface.request("POST", f"/2018-06-01/runtime/invocation/{given.headers['lambda-runtime-aws-request-id']}/response", answer)
        interface.getresponse().read()


if __name__ == "__main__":
    main()
