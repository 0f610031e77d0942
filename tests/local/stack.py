"""The emulated account: registry, event buses, functions, topics, queues and ledger, all on loopback, all gone when it stops.

The stack is its home region; the second region is made when it is first asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from local_aws.account import Account
from local_aws.processes import wait_for
from local_aws.registry import REGION, SECOND_REGION
from region import EVENT_FUNCTIONS, FUNCTIONS, PATTERNS, ROOT, SWEEPING, TABLE, TOPICS, Guard, Region

__all__ = ["EVENT_FUNCTIONS", "FUNCTIONS", "PATTERNS", "ROOT", "SWEEPING", "TABLE", "Guard", "Region", "Stack"]


class Stack(Region):
    """Starts and stops everything."""

    def __init__(self, directory: Path, lambda_directory: Path, topics: dict[str, str] = TOPICS, ports: dict[str, int] | None = None):
        self.account = Account(directory, ports)
        account = self.account
        super().__init__(REGION, account.url, account.mailbox_url, account.registry, account.running, directory, lambda_directory)
        self.names_of_topics = topics
        self._second: Region | None = None

    # The facts that another process needs to go on with it

    def states(self) -> dict[str, Any]:
        """The processes and resources, in all regions."""
        return {"ports": self.account.ports, "regions": {region.region: region.state() for region in self.regions()}}

    @classmethod
    def attached(cls, directory: Path, lambda_directory: Path, states: dict[str, Any]) -> Stack:
        """The stack that another process has started, and has left up."""
        stack = cls(directory, lambda_directory, ports=states["ports"])
        for name, state in states["regions"].items():
            region = stack if name == REGION else stack._in_second_region()
            region.attach(state)
            if region is not stack:
                stack._second = region
        return stack

    # Start and stop

    def start(self) -> None:
        """Starts the emulators, side by side."""
        self.account.start()

    def stop(self) -> None:
        """Ends every process that was started here, the functions' runtimes included."""
        self.account.stop()

    def process_ids(self) -> list[int]:
        """The leaders of the process groups that are running."""
        return self.account.process_ids()

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
            second = self._in_second_region()
            self.dynamodb.update_table(TableName=TABLE, ReplicaUpdates=[{"Create": {"RegionName": SECOND_REGION}}])
            wait_for(
                f"the ledger is in {SECOND_REGION}",
                lambda: second.dynamodb.describe_table(TableName=TABLE)["Table"]["TableStatus"] == "ACTIVE",
            )
            second.create_topics()
            self._second = second
        return self._second

    def _in_second_region(self) -> Region:
        registry = self.registry.in_region(SECOND_REGION)
        second = Region(SECOND_REGION, self.url, self.mailbox_url, registry, self.running, self.directory, self.lambda_directory)
        second.names_of_topics = self.names_of_topics
        return second

    def regions(self) -> list[Region]:
        """The regions there are so far."""
        return [self] if self._second is None else [self, self._second]

    def save_function_logs(self) -> None:
        """Writes down what all functions have written, since it goes with the emulator."""
        text = "".join(region.function_logs() for region in self.regions())
        (self.directory / "logs" / "functions.log").write_text(text)
