"""One region of the emulated account: topics, queues, event buses, the deployed functions, and what they did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import iam
import policies
from local_aws import roles
from local_aws.events import LOCAL_SOURCE
from local_aws.processes import wait_for
from local_aws.registry import ACCOUNT, DRIVER_KEY, DRIVER_SECRET, Registry, client
from local_aws.running import Running

ROOT = Path(__file__).resolve().parents[2]
PATTERNS = ROOT / "infra" / "modules" / "guard" / "event-patterns"
TABLE = "ecr-guard-ledger"
FUNCTIONS = tuple(sorted(path.name for path in (ROOT / "functions").iterdir() if path.is_dir()))
# Those that events are handed to, and those that share the work queue.
EVENT_FUNCTIONS = tuple(name for name in FUNCTIONS if name.startswith("on-") or name == "workloads")
SWEEPING = ("sweep", "worker")
TOPICS = {"default": "ecr-guard-alerts", "platform": "ecr-guard-platform"}

# The queues of the workers, as Terraform has them, but for the time that a message is hidden for, which is half an hour there.
MAX_RECEIVES = 20
HIDDEN_SECONDS = 20
# Messages in a batch, and the seconds for which they are gathered: of the work queue, and of that of findings.
WORK, FINDINGS, WORKERS = (20, 2), (1000, 20), 2
# Lambda cuts a chain from queue to function to queue after about this number of invocations, unless it is configured not to.
MAX_HOPS = 16
# The id that the roles of other accounts ask for.
EXTERNAL_ID = "ecr-guard-of-the-demo"


@dataclass(frozen=True)
class Guard:
    """One deployment of the functions: a policy, an event bus that feeds it, the functions' names, and its queues."""

    bus: str
    functions: dict[str, str] = field(default_factory=dict)
    queue: str = ""
    findings: str = ""


class Region:
    """Deploys functions into a region, invokes them, and reads back what they did."""

    def __init__(self, name: str, url: str, mailbox_url: str, registry: Registry, running: Running, directory: Path, zips: Path):
        self.region = name
        self.url, self.mailbox_url = url, mailbox_url
        self.registry = registry
        self.running = running
        self.directory, self.lambda_directory = directory, zips
        # The topics by route, and what they are called.
        self.topics: dict[str, str] = {}
        self.names_of_topics = TOPICS
        self.queues: dict[str, str] = {}
        self.inbox: list[dict[str, Any]] = []
        # The function that is deployed under a name, and its queue: its role depends on the policy.
        self._deployed: dict[str, tuple[str, str]] = {}
        self.dynamodb = client("dynamodb", url, name)
        self.events = client("events", url, name)
        self.iam = client("iam", url, name)
        self.lambdas = client("lambda", url, name)
        self.logs = client("logs", url, name)
        self.sns = client("sns", url, name)
        self.sqs = client("sqs", url, name)

    # The facts that another process needs to go on with it

    def state(self) -> dict[str, Any]:
        """The resources that were made here."""
        return {"topics": self.topics, "queues": self.queues, "deployed": self._deployed}

    def attach(self, state: dict[str, Any]) -> None:
        """Takes over what another process has made."""
        self.topics, self.queues = state["topics"], state["queues"]
        self._deployed = {name: (function, queue) for name, (function, queue) in state["deployed"].items()}

    # Resources

    def create_topics(self) -> None:
        """Topics, the subscribers' queue, and the queue for what failed."""
        self.queues = {name: self._queue(f"ecr-guard-{name}") for name in ("inbox", "dead-letters")}
        self._let_in("inbox", "sns", "ecr-guard-*")
        self._let_in("dead-letters", "events", "rule/*")
        for route, name in self.names_of_topics.items():
            topic = self.sns.create_topic(Name=name)["TopicArn"]
            self.topics[route] = topic
            self.sns.subscribe(
                TopicArn=topic,
                Protocol="sqs",
                Endpoint=self.queue_arn("inbox"),
                Attributes={"RawMessageDelivery": "true"},
            )
            self.sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=f"{route}@example.com")

    def deploy(self, name: str, policy: policies.Policy, functions: tuple[str, ...] = FUNCTIONS, mapped: bool = True) -> Guard:
        """Deploys functions under a policy, behind an event bus of their own (``default`` for the guard named ``main``).

        If ``worker`` is among them, there are the queues of work and of findings as well; without ``mapped`` nothing takes
        messages out of them.
        """
        prefix = "ecr-guard" if name == "main" else f"ecr-guard-{name}"
        bus = "default" if name == "main" else prefix
        if bus != "default":
            self.events.create_event_bus(Name=bus)
        queue = self.work_queue(f"{prefix}-work") if "worker" in functions else ""
        findings = self.work_queue(f"{prefix}-findings") if "worker" in functions else ""
        deployed = {function: f"{prefix}-{function}" for function in functions}
        for function in functions:
            self.deploy_function(function, deployed[function], policy, queue)
            if function in EVENT_FUNCTIONS:
                self._route_to_function(bus, function, deployed[function])
        if queue:
            self._route_to_queue(bus, "worker", deployed["worker"], findings)
            if mapped:
                self._map(queue, deployed["worker"], WORK)
                self._map(findings, deployed["worker"], FINDINGS)
        return Guard(bus, deployed, queue, findings)

    def deploy_function(self, function: str, deployed: str, policy: policies.Policy, queue: str = "") -> None:
        """Uploads one function with ``cargo lambda deploy``, and sends what it fails on to the dead-letter queue.

        It has a role of its own, with the policy that Terraform gives it.
        """
        role = roles.create_role(self.iam, deployed, self.region)
        self._deployed[deployed] = (function, queue)
        self.permit(deployed, self.role_policy(function, deployed, policy, queue))
        variables = self.environment(self.write_policy(policy), queue, function)
        command = [
            str(Path(sys.executable).with_name("cargo-lambda")),
            "lambda",
            "deploy",
            deployed,
            "--endpoint-url",
            self.url,
            "--region",
            self.region,
            "--iam-role",
            role,
            "--timeout",
            # They begin nothing new in the last minute.
            "300" if function in (*SWEEPING, "workloads") else "30",
            "--lambda-dir",
            str(self.lambda_directory),
            "--binary-name",
            function,
            "--color",
            "never",
        ]
        for variable, value in variables.items():
            command += ["--env-var", f"{variable}={value}"]
        credentials = {"AWS_ACCESS_KEY_ID": DRIVER_KEY, "AWS_SECRET_ACCESS_KEY": DRIVER_SECRET}
        result = subprocess.run(
            command, cwd=ROOT, env=os.environ | credentials, capture_output=True, text=True, timeout=120, check=False
        )
        if result.returncode != 0:
            raise RuntimeError(f"cargo lambda deploy {deployed} failed:\n{result.stdout}{result.stderr}")
        self.lambdas.put_function_event_invoke_config(
            FunctionName=deployed,
            MaximumRetryAttempts=1,
            DestinationConfig={"OnFailure": {"Destination": self.queue_arn("dead-letters")}},
        )

    def role_policy(self, function: str, deployed: str, policy: policies.Policy, queue: str = "") -> list[roles.Statement]:
        """The statements of a function's role, when it is deployed under a policy."""
        document = policies.load(policy, self.topics)
        topics = list(self.topics.values())
        return iam.role_policy(function, deployed, document, self.region, TABLE, topics, queue.rpartition("/")[2])

    def permit(self, deployed: str, statements: list[roles.Statement]) -> None:
        """Lets a function do what these statements say, and nothing else, from its next call on."""
        roles.permit(self.iam, self.registry, self.running, deployed, self.region, statements)

    def change_policy(self, deployed: str, policy: policies.Policy) -> None:
        """Points a function at another policy, with the role that goes with it; its next invocation is a cold start."""
        function, queue = self._deployed[deployed]
        self.permit(deployed, self.role_policy(function, deployed, policy, queue))
        variables = self.lambdas.get_function_configuration(FunctionName=deployed)["Environment"]["Variables"]
        variables["ECR_GUARD_POLICY"] = str(self.write_policy(policy))
        self.lambdas.update_function_configuration(FunctionName=deployed, Environment={"Variables": variables})
        wait_for(f"{deployed} is updated", partial(self._is_updated, deployed))

    def install(self, directory: Path) -> None:
        """Gives all functions the code that lies in a directory, also those that are deployed later. Their next invocations are cold starts."""
        self.lambda_directory = directory
        for deployed, (function, _) in self._deployed.items():
            code = (directory / function / "bootstrap.zip").read_bytes()
            self.lambdas.update_function_code(FunctionName=deployed, ZipFile=code)
        for deployed in self._deployed:
            wait_for(f"{deployed} is updated", partial(self._is_updated, deployed))

    # Events, invocations

    def emit(self, guard: Guard, *entries: dict[str, Any]) -> None:
        """Puts events on the bus of a guard, ten at a time."""
        on_its_bus = [entry | {"EventBusName": guard.bus} for entry in entries]
        for start in range(0, len(on_its_bus), 10):
            answer = self.events.put_events(Entries=on_its_bus[start : start + 10])
            if answer["FailedEntryCount"]:
                raise RuntimeError(f"PutEvents refused: {answer['Entries']}")

    def invoke(self, deployed: str, payload: Any) -> Any:
        """Invokes a function and gives its answer; raises if it fails."""
        answer = self.lambdas.invoke(FunctionName=deployed, Payload=json.dumps(payload).encode())
        body = json.loads(answer["Payload"].read() or b"null")
        if "FunctionError" in answer:
            raise RuntimeError(f"{deployed} failed: {body}")
        return body

    def invocations(self, deployed: str) -> int:
        """How many invocations of a function have ended."""
        ended = 0
        try:
            pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{deployed}")
            for page in pages:
                ended += sum(event["message"].startswith("REPORT RequestId") for event in page["events"])
        except self.logs.exceptions.ResourceNotFoundException:
            return 0
        return ended

    def log_of(self, deployed: str) -> list[str]:
        """The log of a function, without the lines of the platform."""
        try:
            pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{deployed}")
            lines = [event["message"] for page in pages for event in page["events"]]
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        return [line for line in lines if not line.startswith(("START RequestId", "END RequestId", "REPORT RequestId"))]

    def function_logs(self) -> str:
        """The logs of all functions."""
        groups = self.logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]
        text = ""
        for group in groups:
            deployed = group["logGroupName"].rpartition("/")[2]
            text += f"== {deployed} ({self.region})\n" + "".join(f"{line}\n" for line in self.log_of(deployed))
        return text

    # The work queue

    def waiting(self, queue: str) -> int:
        """How many messages are in a queue and due, those that are being worked on included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def drain(self, guard: Guard, seconds: float = 60.0) -> None:
        """Waits until the worker has finished all work that is due. (An item is taken out after those that come of it are in.)"""
        wait_for(
            f"{guard.functions['worker']} has no work",
            lambda: all(self.waiting(queue) == 0 for queue in (guard.queue, guard.findings) if queue),
            seconds,
        )

    def change_queue(self, queue: str, hidden_seconds: int = HIDDEN_SECONDS, receives: int = MAX_RECEIVES) -> None:
        """For how long a message is hidden that is being worked on, and how often it is delivered before it is given up."""
        redrive = {"deadLetterTargetArn": self._arn_of(f"{queue}-dead"), "maxReceiveCount": receives}
        attributes = {"VisibilityTimeout": str(hidden_seconds), "RedrivePolicy": json.dumps(redrive)}
        self.sqs.set_queue_attributes(QueueUrl=queue, Attributes=attributes)

    def given_up(self, guard: Guard) -> list[str]:
        """The bodies of the messages that the worker failed on too often, taken out."""
        queues = [queue for queue in (guard.queue, guard.findings) if queue]
        return [message["Body"] for queue in queues for message in self._take(f"{queue}-dead")]

    def deliver(self, guard: Guard, number: int, queue: str = "") -> dict[str, Any]:
        """Hands over messages as Lambda's event source mapping does on AWS: in one batch.

        Messages that the answer does not name are deleted; one that was handed over too often is not handed over again, and
        ends in the dead-letter queue. (ministack's own mapping hands over ten at most, and cuts no chains.) Without ``queue``,
        from the work queue.
        """
        source = queue or guard.queue
        taken: dict[str, dict[str, Any]] = {}

        def gathered() -> bool:
            answer = self.sqs.receive_message(QueueUrl=source, MaxNumberOfMessages=10, VisibilityTimeout=120)
            taken.update({message["MessageId"]: message for message in answer.get("Messages", [])})
            return len(taken) >= number

        wait_for(f"{number} messages are in {source}", gathered, 60, every=0)
        for name in [name for name, message in taken.items() if hops(message["Body"]) > MAX_HOPS]:
            dropped = taken.pop(name)
            self.sqs.send_message(QueueUrl=f"{source}-dead", MessageBody=dropped["Body"])
            self.sqs.delete_message(QueueUrl=source, ReceiptHandle=dropped["ReceiptHandle"])
        records = [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": self._arn_of(source),
                "awsRegion": self.region,
            }
            for message in taken.values()
        ]
        if not records:
            return {"batchItemFailures": []}
        answer = self.invoke(guard.functions["worker"], {"Records": records})
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        for name, message in taken.items():
            if name not in failed:
                self.sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
        return answer

    # The events

    def row(self, repository: str, digest: str) -> dict[str, Any] | None:
        """The ledger's row of an image in this region: its attributes, with ``row`` parsed."""
        key = {"pk": {"S": f"{ACCOUNT}#{repository}"}, "sk": {"S": f"image#{digest}#{self.region}"}}
        item = self.dynamodb.get_item(TableName=TABLE, Key=key, ConsistentRead=True).get("Item")
        return None if item is None else _plain(item)

    def ledger(self) -> list[dict[str, Any]]:
        """All rows of the ledger, of all kinds and regions."""
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=TABLE)
        return [_plain(item) for page in pages for item in page["Items"]]

    def rows(self) -> list[dict[str, Any]]:
        """All image rows of this region."""
        rows = [row for row in self.ledger() if row["sk"].startswith("image#")]
        return [row for row in rows if row["sk"].endswith(f"#{self.region}")]

    def received(self) -> list[dict[str, Any]]:
        """The alerts that the SQS subscriber has received so far, parsed."""
        while messages := self._take(self.queues["inbox"]):
            self.inbox += [json.loads(message["Body"]) for message in messages]
        return self.inbox

    def mails(self) -> list[dict[str, Any]]:
        """The alerts as e-mail subscribers get them, in order: ``topic``, ``subject``, ``email``, and all ``bodies``."""
        with urllib.request.urlopen(f"{self.mailbox_url}/mailbox/messages", timeout=5) as answer:
            messages = json.loads(answer.read())
        return [message for message in messages if message["topic"].split(":")[3] == self.region]

    def dead_letters(self) -> list[dict[str, Any]]:
        """The messages in the dead-letter queue now, parsed and taken out."""
        return [json.loads(message["Body"]) for message in self._take(self.queues["dead-letters"])]

    def queue_arn(self, name: str) -> str:
        """The ARN of one of our queues."""
        return f"arn:aws:sqs:{self.region}:{ACCOUNT}:ecr-guard-{name}"

    # Steps

    def _arn_of(self, queue: str) -> str:
        return f"arn:aws:sqs:{self.region}:{ACCOUNT}:{queue.rpartition('/')[2]}"

    def _take(self, queue: str) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        for message in messages:
            self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return messages

    def _queue(self, name: str) -> str:
        return self.sqs.create_queue(QueueName=name)["QueueUrl"]

    def work_queue(self, name: str) -> str:
        """A queue of the workers, and the one for what they have given up, by the name that the first shall have."""
        self._queue(f"{name}-dead")
        queue = self._queue(name)
        self._let_in(name.removeprefix("ecr-guard-"), "events", "rule/*")
        self.change_queue(queue)
        return queue

    def _let_in(self, name: str, service: str, sources: str) -> None:
        """Lets a service send to a queue in the name of what is in our account, as the queues' policies in Terraform do."""
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": f"{service}.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": self.queue_arn(name),
            "Condition": {"ArnLike": {"aws:SourceArn": roles.arn(service, self.region, sources)}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.sqs.set_queue_attributes(QueueUrl=self._queue(f"ecr-guard-{name}"), Attributes={"Policy": policy})

    def _map(self, queue: str, deployed: str, batch: tuple[int, int]) -> None:
        self.lambdas.create_event_source_mapping(
            EventSourceArn=self._arn_of(queue),
            FunctionName=deployed,
            BatchSize=batch[0],
            MaximumBatchingWindowInSeconds=batch[1],
            FunctionResponseTypes=["ReportBatchItemFailures"],
            ScalingConfig={"MaximumConcurrency": WORKERS},
        )

    def write_policy(self, policy: policies.Policy) -> Path:
        """Completes a policy, and writes it where the functions of this region read it."""
        path = self.directory / "policies" / self.region / f"{policies.name_of(policy)}.json"
        return policies.write(policies.load(policy, self.topics), path)

    def _is_updated(self, deployed: str) -> bool:
        return self.lambdas.get_function_configuration(FunctionName=deployed)["LastUpdateStatus"] == "Successful"

    def environment(self, policy: Path, queue: str, function: str) -> dict[str, str]:
        """The variables that a function is deployed with."""
        variables = {
            "ECR_GUARD_POLICY": str(policy),
            "ECR_GUARD_TABLE": TABLE,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ENDPOINT_URL_ECR": self.registry.url,
            "AWS_ENDPOINT_URL_SNS": self.mailbox_url,
        }
        if function in ("gate", "workloads"):
            # ministack has none of what they list; the deployed functions are not workloads of ours.
            variables |= self.running.environment() | {"ECR_GUARD_EXTERNAL_ID": EXTERNAL_ID}
        if not queue:
            return variables
        # Only the worker puts findings back; to know the queue does the sweep no harm.
        findings = f"{queue.removesuffix('-work')}-findings"
        return variables | {"ECR_GUARD_QUEUE_URL": queue, "ECR_GUARD_FINDINGS_QUEUE_URL": findings}

    def _route_to_function(self, bus: str, function: str, deployed: str) -> None:
        arn = f"arn:aws:lambda:{self.region}:{ACCOUNT}:function:{deployed}"
        rule = self._route(bus, function, deployed, arn)
        self.lambdas.add_permission(
            FunctionName=deployed,
            StatementId="events",
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
            SourceArn=rule,
        )

    def _route_to_queue(self, bus: str, function: str, name: str, queue: str) -> None:
        self._route(bus, function, name, self._arn_of(queue))

    def _route(self, bus: str, function: str, name: str, target: str) -> str:
        """The rule of a function, from Terraform's pattern. Only the source differs: ``PutEvents`` refuses ``aws.*``."""
        pattern = json.loads((PATTERNS / f"{function}.json").read_text())
        pattern["source"] = [LOCAL_SOURCE]
        rule = self.events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps(pattern))["RuleArn"]
        targets = [{"Id": "target", "Arn": target, "DeadLetterConfig": {"Arn": self.queue_arn("dead-letters")}}]
        failed = self.events.put_targets(Rule=name, EventBusName=bus, Targets=targets)["FailedEntries"]
        if failed:
            raise RuntimeError(f"PutTargets refused: {failed}")
        return str(rule)


def hops(body: str) -> int:
    """The number of invocations before a message, by the item's own count: one that put it in, each time that it was put in."""
    try:
        item = json.loads(body)
    except ValueError:
        return 0
    return int(item.get("hops", 0)) if isinstance(item, dict) else 0


# The ledger keeps the word of version 0.1 for the state BlockDeferred.
STORED_DEFERRED = "Held"


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    """A DynamoDB item without its type tags; the ``row`` document is parsed, and the state has the word that people read."""
    plain = {name: next(iter(value.values())) for name, value in item.items()}
    if isinstance(plain.get("row"), str):
        plain["row"] = json.loads(plain["row"])
    for document in (plain, plain.get("row")):
        if isinstance(document, dict) and document.get("state") == STORED_DEFERRED:
            document["state"] = "BlockDeferred"
    return plain
