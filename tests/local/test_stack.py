"""The stack's needs of its emulators: regions that are apart, a ledger that is not, queues that give up."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path

from local_aws import events
from local_aws.images import OCI_CONFIG, OCI_MANIFEST, Image
from local_aws.processes import wait_for
from local_aws.registry import ACCOUNT, SECOND_REGION, client
from region import TABLE, Guard, Region
from stack import Stack

IMAGE = Image("team/app", "sha256:" + "a" * 64, "v1", OCI_MANIFEST, OCI_CONFIG, "{}")


class StackTest(unittest.TestCase):
    """One stack for all."""

    directory: tempfile.TemporaryDirectory[str]
    stack: Stack

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = tempfile.TemporaryDirectory()
        cls.stack = Stack(Path(cls.directory.name), Path(cls.directory.name))
        cls.stack.start()
        cls.addClassCleanup(cls.directory.cleanup)
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.create_resources()

    def write(self, region: Region, name: str) -> None:
        region.dynamodb.put_item(TableName=TABLE, Item={"pk": {"S": ACCOUNT}, "sk": {"S": name}})

    def queue(self, region: Region, name: str) -> Guard:
        """A work queue with the rule of the worker, and without a worker."""
        queue = region.work_queue(f"ecr-guard-{name}")
        region.events.create_event_bus(Name=name)
        region._route_to_queue(name, "worker", name, queue)
        return Guard(name, {}, queue)

    def test_a_row_is_there_in_both_regions(self) -> None:
        self.write(self.stack, "written before")
        second = self.stack.second()
        self.write(self.stack, "written at home")
        self.write(second, "written there")
        for region in self.stack.regions():
            names = {row["sk"] for row in region.ledger()}
            self.assertLessEqual({"written before", "written at home", "written there"}, names, region.region)

    def test_another_process_can_go_on_with_what_was_left_up(self) -> None:
        self.stack.second()
        self.write(self.stack, "written before")
        other = Stack.attached(self.stack.directory, self.stack.lambda_directory, json.loads(json.dumps(self.stack.states())))
        self.assertEqual([region.region for region in other.regions()], [region.region for region in self.stack.regions()])
        self.assertEqual([region.topics for region in other.regions()], [region.topics for region in self.stack.regions()])
        self.assertIn("written before", {row["sk"] for row in other.second().ledger()})
        # It does not end processes that it has not started.
        other.stop()
        self.assertEqual((other.process_ids(), self.stack.account.gone()), ([], []))

    def test_alerts_stay_in_their_region(self) -> None:
        second = self.stack.second()
        for region in (self.stack, second):
            sender = client("sns", region.mailbox_url, region.region)
            sender.publish(TopicArn=region.topics["default"], Message=f'{{"from": "{region.region}"}}', Subject="alert")
        for region in (self.stack, second):
            wait_for("the alert", region.received)
            self.assertEqual(region.received(), [{"from": region.region}])
            self.assertEqual([mail["topic"] for mail in region.mails()], [region.topics["default"]])
        self.assertIn(SECOND_REGION, second.topics["default"])

    def test_a_finding_comes_into_the_queue_of_its_region(self) -> None:
        guards = {region.region: self.queue(region, "findings") for region in (self.stack, self.stack.second())}
        self.stack.second().emit(guards[SECOND_REGION], events.inspector_finding(IMAGE, "CVE-2026-1", 0.5))
        wait_for("the finding", lambda: self.stack.second().waiting(guards[SECOND_REGION].queue) == 1)
        self.assertEqual(self.stack.waiting(guards[self.stack.region].queue), 0)

    def test_a_message_is_given_up_after_so_many_receives(self) -> None:
        guard = self.queue(self.stack, "given-up")
        self.stack.change_queue(guard.queue, hidden_seconds=0, receives=2)
        self.stack.sqs.send_message(QueueUrl=guard.queue, MessageBody="poison")
        received = [self.stack.sqs.receive_message(QueueUrl=guard.queue).get("Messages", []) for _ in range(3)]
        self.assertEqual([len(messages) for messages in received], [1, 1, 0])
        self.assertEqual((self.stack.given_up(guard), self.stack.waiting(guard.queue)), (["poison"], 0))

    def test_a_message_that_is_worked_on_is_waited_for(self) -> None:
        guard = self.queue(self.stack, "worked-on")
        self.stack.sqs.send_message(QueueUrl=guard.queue, MessageBody="work")
        self.stack.sqs.send_message(QueueUrl=guard.queue, MessageBody="for later", DelaySeconds=600)
        message = self.stack.sqs.receive_message(QueueUrl=guard.queue)["Messages"][0]
        self.assertEqual(self.stack.waiting(guard.queue), 1)
        self.stack.sqs.delete_message(QueueUrl=guard.queue, ReceiptHandle=message["ReceiptHandle"])
        self.assertEqual(self.stack.waiting(guard.queue), 0)


if __name__ == "__main__":
    unittest.main()
