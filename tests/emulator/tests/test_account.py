"""The account as a command and as a mailbox: it answers while it runs, and leaves nothing running."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path

from local_aws.account import Account
from local_aws.processes import group_members, wait_for
from local_aws.registry import PACKAGES, client

# The calls of somebody who has nothing but the variables.
ASK = """
import boto3
repository = boto3.client("ecr").create_repository(repositoryName="team/app")["repository"]
queue = boto3.client("sqs").create_queue(QueueName="queue")
topic = boto3.client("sns").create_topic(Name="topic")
print(repository["repositoryName"], queue["QueueUrl"].rpartition("/")[2], topic["TopicArn"].rpartition(":")[2])
"""


class Command(unittest.TestCase):
    """``local-aws`` from start to end."""

    def test_it_says_how_to_ask_it_and_ends_all_that_it_started(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            said = Path(directory) / "said"
            with said.open("wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-B", "-m", "local_aws", "--directory", directory],
                    env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGES), "PYTHONDONTWRITEBYTECODE": "1"},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            self.addCleanup(process.kill)
            wait_for("it is ready", lambda: "# ready" in said.read_text() or process.poll() is not None, 60)
            variables = dict(re.findall(r"^export (\w+)=(\S+)$", said.read_text(), re.MULTILINE))
            self.assertEqual(set(variables), set(Account(Path(directory)).environment()), said.read_text())
            asked = subprocess.run(
                [sys.executable, "-c", ASK], env={"PATH": os.environ["PATH"]} | variables, capture_output=True, text=True, timeout=60, check=False
            )
            self.assertEqual((asked.stdout.strip(), asked.stderr), ("team/app queue topic", ""))
            children = [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
            self.assertEqual(len(children), 4)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(30), 0)
            self.assertEqual([group for group in children if group_members(group)], [])


class Mailbox(unittest.TestCase):
    """The mails to subscribers."""

    def test_an_accepted_publish_is_kept_with_the_text_for_mail_and_a_refused_one_is_not(self) -> None:
        with tempfile.TemporaryDirectory() as directory, Account(Path(directory)) as account:
            sns = client("sns", account.mailbox_url)
            topic = sns.create_topic(Name="alerts")["TopicArn"]
            bodies = {"default": "{}", "email": "Something happened."}
            sns.publish(TopicArn=topic, Subject="News", Message=json.dumps(bodies), MessageStructure="json")
            with self.assertRaises(sns.exceptions.NotFoundException):
                sns.publish(TopicArn=f"{topic}-of-others", Message="lost")
            with urllib.request.urlopen(f"{account.mailbox_url}/mailbox/messages", timeout=5) as answer:
                kept = json.loads(answer.read())
            self.assertEqual(
                [(mail["topic"], mail["subject"], mail["email"]) for mail in kept], [(topic, "News", "Something happened.")]
            )


if __name__ == "__main__":
    unittest.main()
