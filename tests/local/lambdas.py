"""Lambda, played with kills: processes of the real functions, each ended by SIGKILL at one of its calls to AWS.

An asynchronous invocation is tried three times, as the deployed functions have it, and then given up. A batch of a queue whose process was killed comes
back to the queue. Both happen when a minute has passed, which the clock of the functions says, and nobody waits for. Only processes that were started here are
ended.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

from local_aws.registry import ACCOUNT
from region import Region

CLOCK = Path(__file__).with_name("clock.c")
# Terraform's `maximum_retry_attempts` is 2.
ATTEMPTS = 3
# A process is ended at one of this number of calls. An event takes about five.
CALLS_OF_A_PROCESS = 400
# Calls within which an event that no process survives ends it.
CALLS_OF_A_FATAL_EVENT = 3


@dataclass(frozen=True)
class Outcome:
    """The end of an invocation."""

    ok: bool
    killed: bool
    answer: Any


@dataclass
class Connection:
    """A connection of a process to an emulator. The first bytes after an answer begin a call."""

    idle: bool = True
    last: bool = False


class Environment:
    """A process of a function. It reaches AWS through relays that count its calls, and is killed at call ``dies_at``: before AWS has it, or when it is done
    and not answered (``after``)."""

    def __init__(self, function: Function, dies_at: int, after: bool):
        self.function, self.dies_at, self.after = function, dies_at, after
        self.calls = 0
        self.killed = False
        self.process: asyncio.subprocess.Process | None = None
        self._ended: asyncio.Task[int] | None = None
        self._servers: list[asyncio.Server] = []
        self._events: asyncio.Queue[Any] = asyncio.Queue()
        self._outcome: asyncio.Future[Outcome] | None = None

    async def start(self) -> None:
        """Starts it."""
        function = self.function
        variables = dict(function.variables)
        for name, url in function.upstreams.items():
            variables[name] = f"http://127.0.0.1:{await self._listen(self._relay(url))}"
        variables["AWS_LAMBDA_RUNTIME_API"] = f"127.0.0.1:{await self._listen(self._hand_over)}"
        variables |= {"LD_PRELOAD": str(function.clock), "ECR_GUARD_CLOCK_AHEAD": str(function.ahead)}
        with function.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                str(function.program), env=variables, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=asyncio.subprocess.STDOUT
            )
        self._ended = asyncio.create_task(self.process.wait())

    async def invoke(self, event: Any) -> Outcome:
        """Hands over an event, and waits until it is done, or the process has ended."""
        assert self._ended is not None, "it is not started"
        self._outcome = asyncio.get_running_loop().create_future()
        self._events.put_nowait(event)
        either: set[asyncio.Future[Any]] = {self._outcome, self._ended}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED, timeout=self.function.seconds)
        if self._outcome.done():
            return self._outcome.result()
        if not self._ended.done():
            self._kill()
            await self._ended
            return Outcome(False, False, f"timed out after {self.function.seconds} s")
        return Outcome(False, self.killed, f"ended with {self._ended.result()}")

    async def stop(self) -> None:
        """Ends the process, if it has not ended, and what serves it."""
        if self.process is not None and self.process.returncode is None:
            self._kill()
            await self.process.wait()
        # It waits for the next event.
        self._events.put_nowait(None)
        for server in self._servers:
            server.close()

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._ended is not None and not self._ended.done()

    def _kill(self) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.kill()

    def _die(self) -> None:
        self.killed = True
        self.function.kills += 1
        self._kill()

    # The way to AWS

    def _relay(self, url: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        where = urlsplit(url)

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            upward, up = await asyncio.open_connection(where.hostname, where.port)
            connection = Connection()
            try:
                await asyncio.gather(self._outward(connection, reader, up), self._inward(connection, upward, writer))
            except OSError:
                pass
            finally:
                writer.close()
                up.close()

        return relay

    async def _outward(self, connection: Connection, reader: asyncio.StreamReader, up: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if connection.idle:
                connection.idle = False
                self.calls += 1
                self.function.calls += 1
                connection.last = self.calls == self.dies_at
                if connection.last and not self.after:
                    self._die()
                    break
            up.write(data)
            await up.drain()
        up.close()

    async def _inward(self, connection: Connection, upward: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await upward.read(65_536):
            if connection.last:
                self._die()
                break
            connection.idle = True
            writer.write(data)
            await writer.drain()
        writer.close()

    # The runtime interface of Lambda

    async def _listen(self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> int:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _hand_over(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                method, path, _ = line.decode().split(" ", 2)
                headers: dict[str, str] = {}
                while header := (await reader.readline()).decode().strip():
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                body = await _body(reader, headers)
                if method == "GET":
                    event = await self._events.get()
                    if event is None:
                        break
                    await self._give(event, writer)
                    continue
                writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
                await writer.drain()
                if self._outcome is not None and not self._outcome.done():
                    self._outcome.set_result(Outcome(path.endswith("/response"), False, json.loads(body or b"null")))
        writer.close()

    async def _give(self, event: Any, writer: asyncio.StreamWriter) -> None:
        self.function.invocations += 1
        payload = json.dumps(event).encode()
        head = [
            "HTTP/1.1 200 OK",
            "content-type: application/json",
            f"content-length: {len(payload)}",
            f"lambda-runtime-aws-request-id: 8476a536-e9f4-11e8-9739-{self.function.invocations:012x}",
            f"lambda-runtime-deadline-ms: {int((time.time() + self.function.ahead + self.function.seconds) * 1000)}",
            f"lambda-runtime-invoked-function-arn: arn:aws:lambda:{self.function.region}:{ACCOUNT}:function:{self.function.name}",
        ]
        writer.write("\r\n".join([*head, "", ""]).encode() + payload)
        await writer.drain()


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """The body of a request."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int((await reader.readline()).strip() or b"0", 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


class Function:
    """A function, with the processes that it has. The seed says at which call each of them is killed; without one, none is."""

    def __init__(self, name: str, program: Path, variables: dict[str, str], upstreams: dict[str, str], region: str, log: Path, seconds: int):
        self.name, self.program, self.variables, self.upstreams = name, program, variables, upstreams
        self.region, self.log, self.seconds = region, log, seconds
        self.clock = clock_of(program.parent)
        # The seconds that its clock is ahead.
        self.ahead = 0
        self.seed: int | None = None
        self.started = self.kills = self.calls = self.invocations = 0
        self.errors: list[str] = []
        self._idle: list[Environment] = []

    async def invoke(self, event: Any, fatal: bool = False) -> Outcome:
        """Runs an event in a process that has nothing to do, or in a new one. A fatal event ends it at one of its first calls."""
        environment = self._idle.pop() if self._idle else await self._start()
        if fatal:
            environment.dies_at = environment.calls + self._random().randint(1, CALLS_OF_A_FATAL_EVENT)
        outcome = await environment.invoke(event)
        if environment.is_alive():
            self._idle.append(environment)
        else:
            await environment.stop()
        if not outcome.ok and not outcome.killed:
            self.errors.append(json.dumps(outcome.answer)[:400])
        return outcome

    async def pass_time(self, seconds: int) -> None:
        """Sets its clock ahead, when nothing runs. The next invocation is a cold start."""
        await self.stop()
        self.ahead += seconds

    async def stop(self) -> None:
        """Ends all of its processes."""
        while self._idle:
            await self._idle.pop().stop()

    async def _start(self) -> Environment:
        self.started += 1
        chance = self._random()
        dies_at = 0 if self.seed is None else chance.randint(1, CALLS_OF_A_PROCESS)
        environment = Environment(self, dies_at, chance.random() < 0.5)
        await environment.start()
        return environment

    def _random(self) -> Random:
        return Random(f"{self.seed} {self.name} {self.region} {self.started} {self.invocations}")


class Asynchronous:
    """Lambda's queue of asynchronous invocations of a function. A failed one is kept until a minute has passed."""

    def __init__(self, function: Function, concurrency: int):
        self.function = function
        self.failed: list[tuple[Any, list[Outcome]]] = []
        self.done = self.given_up = 0
        self.later: list[tuple[Any, bool, list[Outcome]]] = []
        self._events: asyncio.Queue[tuple[Any, bool, list[Outcome]]] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._work()) for _ in range(concurrency)]

    def send(self, event: Any, fatal: bool = False) -> None:
        """Puts an event in."""
        self._events.put_nowait((event, fatal, []))

    def waiting(self) -> int:
        """The events that are not begun."""
        return self._events.qsize()

    async def rest(self) -> None:
        """Waits until each event is done, given up, or kept."""
        joined = asyncio.create_task(self._events.join())
        await asyncio.wait({joined, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        raise_of(self._tasks)

    async def again(self) -> None:
        """Tries those again that are kept."""
        for one in self.later:
            self._events.put_nowait(one)
        self.later = []

    async def stop(self) -> None:
        """Takes no more events."""
        await cancelled(self._tasks)

    async def _work(self) -> None:
        while True:
            event, fatal, attempts = await self._events.get()
            attempts.append(await self.function.invoke(event, fatal))
            if attempts[-1].ok:
                self.done += 1
            elif len(attempts) < ATTEMPTS:
                self.later.append((event, fatal, attempts))
            else:
                self.failed.append((event, attempts))
            self._events.task_done()


class Mapping:
    """The event source mapping of a queue: batches of ten, whose messages are deleted unless the answer names them. Those of a killed process stay hidden
    until a minute has passed."""

    def __init__(self, function: Function, region: Region, queue: str, concurrency: int):
        self.function, self.region, self.queue = function, region, queue
        self.batches = self.delivered_again = 0
        self.later: list[dict[str, Any]] = []
        self._tasks = [asyncio.create_task(self._work()) for _ in range(concurrency)]

    async def rest(self) -> None:
        """Waits until no message is due or being worked on."""
        while await asyncio.to_thread(self.region.waiting, self.queue) != len(self.later):
            raise_of(self._tasks)
            await asyncio.sleep(0.1)

    async def again(self) -> None:
        """Delivers those again that are hidden."""
        hidden, self.later = self.later, []
        for message in hidden:
            named = {"QueueUrl": self.queue, "ReceiptHandle": message["ReceiptHandle"]}
            await asyncio.to_thread(self.region.sqs.change_message_visibility, **named, VisibilityTimeout=0)

    async def stop(self) -> None:
        """Takes no more messages."""
        await cancelled(self._tasks)

    async def _work(self) -> None:
        sqs = self.region.sqs
        while True:
            answer = await asyncio.to_thread(sqs.receive_message, QueueUrl=self.queue, MaxNumberOfMessages=10, AttributeNames=["All"], WaitTimeSeconds=0)
            messages = answer.get("Messages", [])
            if not messages:
                await asyncio.sleep(0.1)
                continue
            self.batches += 1
            self.delivered_again += sum(message["Attributes"]["ApproximateReceiveCount"] != "1" for message in messages)
            outcome = await self.function.invoke({"Records": [self._record(message) for message in messages]})
            failed = {one["itemIdentifier"] for one in outcome.answer["batchItemFailures"]} if outcome.ok else {one["MessageId"] for one in messages}
            for message in messages:
                if message["MessageId"] in failed:
                    self.later.append(message)
                else:
                    await asyncio.to_thread(sqs.delete_message, QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])

    def _record(self, message: dict[str, Any]) -> dict[str, Any]:
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": {},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:{self.region.region}:{ACCOUNT}:{self.queue.rpartition('/')[2]}",
            "awsRegion": self.region.region,
        }


def raise_of(tasks: list[asyncio.Task[None]]) -> None:
    """Raises what has ended one of them: none ends by itself."""
    for task in tasks:
        if task.done():
            task.result()


async def cancelled(tasks: list[asyncio.Task[None]]) -> None:
    """Ends them."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def clock_of(directory: Path) -> Path:
    """The library that sets a function's clock ahead, compiled."""
    library = directory / "clock.so"
    if not library.exists():
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(CLOCK)], check=True)
    return library
