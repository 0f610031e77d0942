"""The emulated account: registry, event bus, functions, topics, queues and ledger, all on loopback, all gone when it stops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import policies
from processes import free_port, start, stop_group, wait_for, wait_until_it_answers
from registry import ACCOUNT, DRIVER_KEY, HERE, REGION, Registry, client

ROOT = HERE.parents[1]
PATTERNS = ROOT / "infra" / "modules" / "guard" / "event-patterns"
LOCAL_SOURCE = "ecr-guard.local"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ecr-guard-local"
TABLE = "ecr-guard-ledger"
FUNCTIONS = ("on-push", "on-scan")
TOPICS = {"default": "ecr-guard-alerts", "platform": "ecr-guard-platform"}


@dataclass(frozen=True)
class Guard:
    """One deployment of the functions: a policy, an event bus that feeds it, and the functions' names."""

    bus: str
    functions: dict[str, str] = field(default_factory=dict)


class Stack:
    """Starts and stops everything, deploys functions, and reads back what they did."""

    def __init__(self, directory: Path, lambda_directory: Path):
        self.directory = directory
        self.lambda_directory = lambda_directory
        self.registry = Registry(directory / "logs" / "registry.log")
        self.port, self.mailbox_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.mailbox_url = f"http://127.0.0.1:{self.mailbox_port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.topics: dict[str, str] = {}
        self.queues: dict[str, str] = {}
        self.inbox: list[dict[str, Any]] = []
        self.dynamodb = client("dynamodb", self.url)
        self.events = client("events", self.url)
        self.iam = client("iam", self.url)
        self.lambdas = client("lambda", self.url)
        self.logs = client("logs", self.url)
        self.sns = client("sns", self.url)
        self.sqs = client("sqs", self.url)

    # Start and stop

    def start(self) -> None:
        """Starts the emulators, side by side."""
        logs = self.directory / "logs"
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.directory),
            "TMPDIR": str(self.directory / "tmp"),
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.1",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        (self.directory / "tmp").mkdir(parents=True, exist_ok=True)
        ministack = str(Path(sys.executable).with_name("ministack"))
        mailbox = [sys.executable, str(HERE / "mailbox.py"), "--port", str(self.mailbox_port), "--upstream", self.url]
        self.processes["ministack"] = start([ministack], environment, logs / "ministack.log", self.directory)
        self.processes["mailbox"] = start(mailbox, environment, logs / "mailbox.log", self.directory)
        self.registry.start()
        for name, url in (
            ("ministack", f"{self.url}/_ministack/health"),
            ("mailbox", f"{self.mailbox_url}/mailbox/messages"),
        ):
            wait_until_it_answers(name, url, self.processes[name], logs / f"{name}.log")

    def stop(self) -> None:
        """Ends every process that was started here, the Lambda runtimes of ministack included."""
        with ExitStack() as steps:
            steps.callback(self.registry.stop)
            for process in self.processes.values():
                steps.callback(stop_group, process.pid, process)
            self.processes = {}

    def process_ids(self) -> list[int]:
        """The leaders of the process groups that are running."""
        registry = [self.registry.process.pid] if self.registry.process else []
        return [process.pid for process in self.processes.values()] + registry

    # Resources

    def create_resources(self) -> None:
        """Ledger, topics, the subscribers' queue, the queue for what failed, and the role."""
        self.dynamodb.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        self.dynamodb.update_time_to_live(
            TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
        )
        self.queues = {name: self._queue(f"ecr-guard-{name}") for name in ("inbox", "dead-letters")}
        for route, name in TOPICS.items():
            topic = self.sns.create_topic(Name=name)["TopicArn"]
            self.topics[route] = topic
            self.sns.subscribe(
                TopicArn=topic,
                Protocol="sqs",
                Endpoint=self.queue_arn("inbox"),
                Attributes={"RawMessageDelivery": "true"},
            )
            self.sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=f"{route}@example.com")
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        self.iam.create_role(
            RoleName=ROLE.rpartition("/")[2],
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )

    def deploy(self, name: str, policy: str) -> Guard:
        """Deploys the functions under a policy, behind an event bus of their own (``default`` for the guard named ``main``)."""
        main = name == "main"
        guard = Guard("default" if main else f"ecr-guard-{name}")
        if not main:
            self.events.create_event_bus(Name=guard.bus)
        for function in FUNCTIONS:
            deployed = f"ecr-guard-{function}" if main else f"ecr-guard-{name}-{function}"
            guard.functions[function] = deployed
            self.deploy_function(function, deployed, policy)
            self._route_events(guard.bus, function, deployed)
        return guard

    def deploy_function(self, function: str, deployed: str, policy: str) -> None:
        """Uploads one function with ``cargo lambda deploy``, and sends what it fails on to the dead-letter queue."""
        variables = self._environment(self._write_policy(policy))
        command = [
            str(Path(sys.executable).with_name("cargo-lambda")),
            "lambda",
            "deploy",
            deployed,
            "--endpoint-url",
            self.url,
            "--region",
            REGION,
            "--iam-role",
            ROLE,
            "--timeout",
            "30",
            "--lambda-dir",
            str(self.lambda_directory),
            "--binary-name",
            function,
            "--color",
            "never",
        ]
        for variable, value in variables.items():
            command += ["--env-var", f"{variable}={value}"]
        credentials = {"AWS_ACCESS_KEY_ID": DRIVER_KEY, "AWS_SECRET_ACCESS_KEY": "not-a-secret"}
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

    def change_policy(self, deployed: str, policy: str) -> None:
        """Points a function at another policy; its next invocation is a cold start."""
        variables = self._environment(self._write_policy(policy))
        self.lambdas.update_function_configuration(FunctionName=deployed, Environment={"Variables": variables})
        wait_for(f"{deployed} is updated", lambda: self._update_status(deployed) == "Successful")

    # Events, invocations

    def emit(self, guard: Guard, *entries: dict[str, Any]) -> None:
        """Puts events on the bus of a guard."""
        answer = self.events.put_events(Entries=[entry | {"EventBusName": guard.bus} for entry in entries])
        if answer["FailedEntryCount"]:
            raise RuntimeError(f"PutEvents refused: {answer['Entries']}")

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
        """What a function has written, without the lines of the platform."""
        try:
            pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{deployed}")
            lines = [event["message"] for page in pages for event in page["events"]]
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        return [line for line in lines if not line.startswith(("START RequestId", "END RequestId", "REPORT RequestId"))]

    def save_function_logs(self) -> None:
        """Writes down what all functions have written, since it goes with the emulator."""
        groups = self.logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]
        text = ""
        for group in groups:
            deployed = group["logGroupName"].rpartition("/")[2]
            text += f"== {deployed}\n" + "".join(f"{line}\n" for line in self.log_of(deployed))
        (self.directory / "logs" / "functions.log").write_text(text)

    # What happened

    def row(self, repository: str, digest: str) -> dict[str, Any] | None:
        """The ledger's row of an image: its attributes, with ``row`` parsed."""
        key = {"pk": {"S": f"{ACCOUNT}#{repository}"}, "sk": {"S": f"image#{digest}#{REGION}"}}
        item = self.dynamodb.get_item(TableName=TABLE, Key=key, ConsistentRead=True).get("Item")
        return None if item is None else _plain(item)

    def rows(self) -> list[dict[str, Any]]:
        """All image rows of the ledger."""
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=TABLE)
        rows = [_plain(item) for page in pages for item in page["Items"]]
        return [row for row in rows if row["sk"].startswith("image#")]

    def received(self) -> list[dict[str, Any]]:
        """The alerts that the SQS subscriber has received so far, parsed."""
        while True:
            messages = self.sqs.receive_message(
                QueueUrl=self.queues["inbox"], MaxNumberOfMessages=10, WaitTimeSeconds=0
            ).get("Messages", [])
            for message in messages:
                self.inbox.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.queues["inbox"], ReceiptHandle=message["ReceiptHandle"])
            if not messages:
                return self.inbox

    def mails(self) -> list[dict[str, Any]]:
        """The alerts as e-mail subscribers get them, in order: ``topic``, ``subject``, ``email``, and all ``bodies``."""
        with urllib.request.urlopen(f"{self.mailbox_url}/mailbox/messages", timeout=5) as answer:
            return json.loads(answer.read())

    def dead_letters(self) -> list[dict[str, Any]]:
        """What lies in the dead-letter queue now, parsed and taken out."""
        messages = self.sqs.receive_message(
            QueueUrl=self.queues["dead-letters"], MaxNumberOfMessages=10, WaitTimeSeconds=0
        ).get("Messages", [])
        for message in messages:
            self.sqs.delete_message(QueueUrl=self.queues["dead-letters"], ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in messages]

    def queue_arn(self, name: str) -> str:
        """The ARN of one of our queues."""
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:ecr-guard-{name}"

    # Steps

    def _queue(self, name: str) -> str:
        return self.sqs.create_queue(QueueName=name)["QueueUrl"]

    def _write_policy(self, policy: str) -> Path:
        return policies.write(policies.load(policy, self.topics), self.directory / "policies" / f"{policy}.json")

    def _update_status(self, deployed: str) -> str:
        return self.lambdas.get_function_configuration(FunctionName=deployed)["LastUpdateStatus"]

    def _environment(self, policy: Path) -> dict[str, str]:
        return {
            "ECR_GUARD_POLICY": str(policy),
            "ECR_GUARD_TABLE": TABLE,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ENDPOINT_URL_ECR": self.registry.url,
            "AWS_ENDPOINT_URL_SNS": self.mailbox_url,
        }

    def _route_events(self, bus: str, function: str, deployed: str) -> None:
        """The rule of a function, from Terraform's pattern. Only the source differs: ``PutEvents`` refuses ``aws.*``."""
        pattern = json.loads((PATTERNS / f"{function}.json").read_text())
        pattern["source"] = [LOCAL_SOURCE]
        rule = self.events.put_rule(Name=deployed, EventBusName=bus, EventPattern=json.dumps(pattern))["RuleArn"]
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{deployed}"
        target = {"Id": "function", "Arn": arn, "DeadLetterConfig": {"Arn": self.queue_arn("dead-letters")}}
        failed = self.events.put_targets(Rule=deployed, EventBusName=bus, Targets=[target])["FailedEntries"]
        if failed:
            raise RuntimeError(f"PutTargets refused: {failed}")
        self.lambdas.add_permission(
            FunctionName=deployed,
            StatementId="events",
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
            SourceArn=rule,
        )


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    """A DynamoDB item without its type tags; the ``row`` document is parsed."""
    plain = {name: next(iter(value.values())) for name, value in item.items()}
    if isinstance(plain.get("row"), str):
        plain["row"] = json.loads(plain["row"])
    return plain
