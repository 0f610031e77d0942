"""Puts back what nobody took, once the cause is gone: events and sweeps to their function, work to the queue that it was in.

    tests/infra/redrive.py --region us-west-2 --name ecr-guard --function on-scan [--queue failed-events] [--dry-run]

| queue | holds | is put back by |
|---|---|---|
| failed-work | messages of the workers' queues that failed twenty times | SQS itself (StartMessageMoveTask), followed to its end |
| failed-events | Lambda's records of what a function failed on | invoking the function with the payload of the record |
| undelivered-events | events, and sweeps, that could not be handed over | invoking the function, or sending to the queue of findings |

A message is deleted when, and only when, it was put back. A message of another function, or one that cannot be read, stays. A
message that was put back and could not be deleted is named: it may be put back twice, which does no harm, since an event may be
handled any number of times. With --dry-run nothing is put back. Needs AWS credentials: `sqs:*` on these queues,
`lambda:InvokeFunction`, and the use of their key.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FUNCTIONS = tuple(sorted(folder.name for folder in (Path(__file__).resolve().parents[2] / "functions").iterdir()))
# The queues by function, in the order in which they are read.
EVENT_QUEUES = ("failed-events", "undelivered-events")
WORKER_QUEUES = ("failed-work", "undelivered-events")
# So long is a message ours alone: many times what a page of ten takes.
HIDDEN_SECONDS = 600
# The invoked alias: not always the version that was published last (`function_versions`).
ALIAS = "live"
WIDTH = 60


class Broken(Exception):
    """Why nothing could be put back, in a sentence."""


class Entry(NamedTuple):
    """The result for a message: a line of the table."""

    queue: str
    message: str
    what: str
    why: str
    done: str
    is_well: bool


class Asked(NamedTuple):
    """The request of a message: its function or queue (the last part of the ARN), its payload, and why it lies here."""

    target: str
    payload: str
    what: str
    why: str


def text(value: Any) -> str:
    """Something from outside, in one short line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(value or "")).split())
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def what(payload: str) -> str:
    """The subject of an event, a work item or a sweep."""
    try:
        event = json.loads(payload)
    except ValueError:
        return ""
    if not isinstance(event, dict):
        return ""
    detail = event.get("detail")
    if not isinstance(detail, dict):
        detail = {}
    return text(f"{event.get('detail-type', '')} {detail.get('repository-name', '')} {event.get('time', '')}")


def unqualified(arn: str) -> str:
    """The ARN of a function without `:live`, or what else came after its name; another ARN as it is."""
    return ":".join(arn.split(":")[:7]) if ":function:" in arn else arn


def read(queue: str, message: dict[str, Any]) -> Asked | None:
    """The request of a message of `failed-events` or `undelivered-events`, if it names one."""
    attributes = {key: value.get("StringValue", "") for key, value in message.get("MessageAttributes", {}).items()}
    try:
        if queue == "failed-events":
            record = json.loads(message["Body"])
            target = unqualified(record["requestContext"]["functionArn"])
            payload = json.dumps(record["requestPayload"], ensure_ascii=False)
            answer = record.get("responsePayload")
            why = answer.get("errorMessage") if isinstance(answer, dict) else record["requestContext"].get("condition")
        else:
            target, payload = unqualified(attributes["TARGET_ARN"]), message["Body"]
            json.loads(payload)
            why = attributes.get("ERROR_MESSAGE") or attributes.get("ERROR_CODE")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return Asked(target.rsplit(":", 1)[-1], payload, what(payload), text(why))


def received(sqs: Any, url: str) -> Iterator[dict[str, Any]]:
    """The messages of a queue, until there are no more that nobody has."""
    while True:
        # A wait asks all of the servers that a queue is spread over, and not some of them.
        answer = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=2,
            VisibilityTimeout=HIDDEN_SECONDS,
            MessageAttributeNames=["All"],
        )
        messages = answer.get("Messages", [])
        if not messages:
            return
        yield from messages


def url_of(sqs: Any, name: str) -> str:
    """The address of a queue."""
    return sqs.get_queue_url(QueueName=name)["QueueUrl"]


def counted(sqs: Any, url: str) -> int:
    """About how many messages a queue has."""
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


class Redrive:
    """A deployment, and what of it is put back. `errors`: what the clients raise when AWS says no, and when it cannot be understood."""

    def __init__(self, sqs: Any, functions: Any, name: str, dry_run: bool, errors: tuple[type[Exception], type[Exception]]):
        self.sqs, self.functions, self.name, self.dry_run = sqs, functions, name, dry_run
        self.refusal, self.failure = errors

    def events(self, function: str, queue: str) -> list[Entry]:
        """Puts back what is for a function in `failed-events` or `undelivered-events`."""
        url = url_of(self.sqs, f"{self.name}-{queue}")
        wanted = f"{self.name}-findings" if function == "worker" else f"{self.name}-{function}"
        entries: list[Entry] = []
        kept: list[dict[str, Any]] = []
        put_back: set[str] = set()
        others = 0
        try:
            for message in received(self.sqs, url):
                asked = read(queue, message)
                if any(message["MessageId"] == other["MessageId"] for other in kept):
                    # A message that was left comes again: the end of the queue, or more than there is time for.
                    kept.append(message)
                    break
                if message["MessageId"] in put_back:
                    # SQS delivers at least once.
                    self.delete(url, message)
                elif asked is None:
                    kept.append(message)
                    entries.append(Entry(queue, message["MessageId"], "", "", "left: it does not say what it is for", False))
                elif asked.target != wanted:
                    kept.append(message)
                    others += 1
                elif self.dry_run:
                    kept.append(message)
                    entries.append(Entry(queue, message["MessageId"], asked.what, asked.why, "would be put back", True))
                else:
                    done, is_back = self.put_back(function, asked)
                    if is_back:
                        put_back.add(message["MessageId"])
                        if not self.delete(url, message):
                            done, is_back = f"{done}; NOT DELETED: it may be put back twice", False
                    else:
                        kept.append(message)
                    entries.append(Entry(queue, message["MessageId"], asked.what, asked.why, done, is_back))
        finally:
            self.release(url, kept)
        if others:
            entries.append(Entry(queue, "-", "", "", f"{others} left: for other functions", True))
        return entries

    def put_back(self, function: str, asked: Asked) -> tuple[str, bool]:
        """Puts one back; gives the result, and whether it was accepted."""
        try:
            if function == "worker":
                self.sqs.send_message(QueueUrl=url_of(self.sqs, f"{self.name}-findings"), MessageBody=asked.payload)
                return "sent", True
            answer = self.functions.invoke(
                FunctionName=f"{self.name}-{function}", Qualifier=ALIAS, InvocationType="Event", Payload=asked.payload.encode()
            )
            if answer["StatusCode"] == 202:
                return "invoked", True
            return f"left: Lambda answered {answer['StatusCode']}", False
        except self.refusal as error:
            return f"left: {text(error)}", False
        except self.failure as error:
            return f"left, but may have been put back: {text(error)}", False

    def delete(self, url: str, message: dict[str, Any]) -> bool:
        """Deletes a message; says whether it is gone."""
        try:
            self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        except (self.refusal, self.failure):
            return False
        return True

    def release(self, url: str, messages: list[dict[str, Any]]) -> None:
        """Shows messages to others again at once. Where that fails, time does it."""
        for message in messages:
            try:
                self.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
            except (self.refusal, self.failure):
                continue

    def work(self, wait: float) -> list[Entry]:
        """Has SQS move `failed-work` to the queues that it came from, and waits until it has. `wait`: seconds between two looks."""
        url = url_of(self.sqs, f"{self.name}-failed-work")
        number = counted(self.sqs, url)
        queue = "failed-work"
        if self.dry_run or number == 0:
            done = "would be moved to the queues that it came from" if number else "nothing is there"
            return [Entry(queue, "-", f"about {number} messages", "", done, True)]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.sqs.start_message_move_task(SourceArn=arn)
        while True:
            tasks = self.sqs.list_message_move_tasks(SourceArn=arn, MaxResults=1)["Results"]
            task = tasks[0] if tasks else {"Status": "RUNNING"}
            if task["Status"] not in ("RUNNING", "CANCELLING"):
                break
            time.sleep(wait)
        moved, of = task.get("ApproximateNumberOfMessagesMoved", 0), task.get("ApproximateNumberOfMessagesToMove", number)
        is_well = task["Status"] == "COMPLETED"
        return [Entry(queue, "-", f"{moved} of {of} messages", text(task.get("FailureReason")), f"moved: {task['Status']}", is_well)]

    def all(self, function: str, queue: str | None, wait: float = 2) -> list[Entry]:
        """Puts back what is for a function, in one queue or in all that can have something."""
        possible = WORKER_QUEUES if function == "worker" else EVENT_QUEUES
        if queue is not None and queue not in possible:
            raise Broken(f"{queue} has nothing for {function}: one of {', '.join(possible)}")
        entries = []
        for one in (queue,) if queue else possible:
            entries += self.work(wait) if one == "failed-work" else self.events(function, one)
        return entries


def table(entries: list[Entry]) -> str:
    """The results for the messages."""
    rows = [("QUEUE", "MESSAGE", "WHAT", "WHY", "DONE")] + [entry[:5] for entry in entries]
    widths = [max(len(row[n]) for row in rows) for n in range(4)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)), row[4]]) for row in rows]
    well = sum(entry.is_well for entry in entries)
    return "\n".join([*lines, f"{well} done, {len(entries) - well} left for a person" if entries else "Nothing is there."])


def main() -> int:
    """Runs it on AWS; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--region", required=True, help="region of the deployment")
    parser.add_argument("--name", default="ecr-guard", help="name of the deployment (default: %(default)s)")
    parser.add_argument("--function", required=True, choices=FUNCTIONS, help="whose it is")
    parser.add_argument("--queue", choices=sorted({*EVENT_QUEUES, *WORKER_QUEUES}), help="only this queue (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="show what is there, and put nothing back")
    arguments = parser.parse_args()

    import boto3  # here, so that --help and the tests need nothing
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    # An invocation is tried once: whether one that failed was accepted, the SDK does not know either.
    once = Config(retries={"total_max_attempts": 1})
    try:
        sqs = boto3.client("sqs", region_name=arguments.region)
        functions = boto3.client("lambda", region_name=arguments.region, config=once)
        redrive = Redrive(sqs, functions, arguments.name, arguments.dry_run, (ClientError, BotoCoreError))
        entries = redrive.all(arguments.function, arguments.queue)
    except Broken as broken:
        print(f"BROKEN {broken}")
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"BROKEN AWS said no: {error}")
        return 1
    print(table(entries))
    return 0 if all(entry.is_well for entry in entries) else 1


if __name__ == "__main__":
    sys.exit(main())
