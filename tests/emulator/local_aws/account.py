"""The emulated account: every service on loopback, each as a process of ours, all gone when it stops."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from local_aws.processes import free_port, start, stop_group, wait_until_it_answers
from local_aws.registry import ACCOUNT, DRIVER_KEY, DRIVER_SECRET, PACKAGES, REGION, Registry
from local_aws.running import Running


class Account:
    """An AWS account on free ports of loopback, with all its regions. It keeps its logs, and nothing else, in ``directory``.

    With the ``ports`` of one that was started elsewhere, it is that one: it can be asked, and is not ended from here.
    """

    def __init__(self, directory: Path, ports: dict[str, int] | None = None):
        self.directory = directory
        self.ports = ports or {name: free_port() for name in ("account", "mailbox", "workloads", "registry")}
        self.port, self.mailbox_port, self.workloads_port = (self.ports[name] for name in ("account", "mailbox", "workloads"))
        # All services but ECR; SNS as functions should publish to it; ECR.
        self.url = f"http://127.0.0.1:{self.port}"
        self.mailbox_url = f"http://127.0.0.1:{self.mailbox_port}"
        # The services that list workloads: ECS, Lambda, Batch, EKS, and STS.
        self.running = Running(f"http://127.0.0.1:{self.workloads_port}")
        self.registry = Registry(directory / "logs" / "registry.log", port=self.ports["registry"])
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Account:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the emulators, side by side, and waits until all of them answer."""
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
            "PYTHONPATH": str(PACKAGES),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        (self.directory / "tmp").mkdir(parents=True, exist_ok=True)
        ministack = [str(Path(sys.executable).with_name("ministack"))]
        mailbox = [sys.executable, "-m", "local_aws.mailbox", "--port", str(self.mailbox_port), "--upstream", self.url]
        workloads = [sys.executable, "-m", "local_aws.workloads", "--port", str(self.workloads_port)]
        self.processes["workloads"] = start(workloads, environment, logs / "workloads.log", self.directory)
        self.processes["ministack"] = start(ministack, environment, logs / "ministack.log", self.directory)
        self.processes["mailbox"] = start(mailbox, environment, logs / "mailbox.log", self.directory)
        self.registry.start()
        for name, url in (
            ("ministack", f"{self.url}/_ministack/health"),
            ("mailbox", f"{self.mailbox_url}/mailbox/messages"),
            ("workloads", f"{self.running.url}/workloads/calls"),
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

    def gone(self) -> list[str]:
        """The emulators that were started and have ended by themselves."""
        started = self.processes | ({"registry": self.registry.process} if self.registry.process else {})
        return [name for name, process in started.items() if process.poll() is not None]

    def environment(self) -> dict[str, str]:
        """The variables with which an AWS SDK, or the AWS CLI, asks this account."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ENDPOINT_URL_ECR": self.registry.url,
            "AWS_ENDPOINT_URL_SNS": self.mailbox_url,
            "AWS_ACCESS_KEY_ID": DRIVER_KEY,
            "AWS_SECRET_ACCESS_KEY": DRIVER_SECRET,
            "AWS_REGION": REGION,
            # boto3 knows only this one.
            "AWS_DEFAULT_REGION": REGION,
        }
