"""The emulated account: registry, event buses, functions, topics, queues and ledger, all on loopback, all gone when it stops.

The stack is its home region; the second region is made when it is first asked for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from processes import free_port, start, stop_group, wait_for, wait_until_it_answers
from region import EVENT_FUNCTIONS, FUNCTIONS, PATTERNS, ROOT, SWEEPING, TABLE, Guard, Region
from registry import ACCOUNT, DRIVER_KEY, DRIVER_SECRET, HERE, REGION, SECOND_REGION, Registry

__all__ = ["EVENT_FUNCTIONS", "FUNCTIONS", "PATTERNS", "ROOT", "SWEEPING", "TABLE", "Guard", "Region", "Stack"]


class Stack(Region):
    """Starts and stops everything."""

    def __init__(self, directory: Path, lambda_directory: Path):
        self.port, self.mailbox_port = free_port(), free_port()
        registry = Registry(directory / "logs" / "registry.log")
        url, mailbox_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.mailbox_port}"
        super().__init__(REGION, url, mailbox_url, registry, directory, lambda_directory)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._second: Region | None = None

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
            # Roles may do what their policies say; the driver is the account's root.
            "AUTH": "true",
            "AWS_ACCESS_KEY_ID": DRIVER_KEY,
            "AWS_SECRET_ACCESS_KEY": DRIVER_SECRET,
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
        """Ledger, topics, queues."""
        self.dynamodb.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        self.dynamodb.update_time_to_live(
            TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
        )
        self.create_topics()

    def second(self) -> Region:
        """The second region: topics and queues of its own, and a replica of the ledger. Made when it is first asked for."""
        if self._second is None:
            registry = self.registry.in_region(SECOND_REGION)
            second = Region(SECOND_REGION, self.url, self.mailbox_url, registry, self.directory, self.lambda_directory)
            self.dynamodb.update_table(TableName=TABLE, ReplicaUpdates=[{"Create": {"RegionName": SECOND_REGION}}])
            wait_for(
                f"the ledger is in {SECOND_REGION}",
                lambda: second.dynamodb.describe_table(TableName=TABLE)["Table"]["TableStatus"] == "ACTIVE",
            )
            second.create_topics()
            self._second = second
        return self._second

    def regions(self) -> list[Region]:
        """The regions there are so far."""
        return [self] if self._second is None else [self, self._second]

    def save_function_logs(self) -> None:
        """Writes down what all functions have written, since it goes with the emulator."""
        text = "".join(region.function_logs() for region in self.regions())
        (self.directory / "logs" / "functions.log").write_text(text)
