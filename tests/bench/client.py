"""The load, in a process of its own: any number of clients, each with one command under way at a time.

`python -m tests.bench.client '{"kind": …}'` runs one `Spec` and prints one `Figures` as JSON; `echo` answers raw
requests until it is ended. The raw kinds are plain nats-py, as a person would write it.
"""

import asyncio
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

import msgspec
import nats
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg

from adapters.nats.client import CommandClient, Door
from adapters.nats.connection import connect
from adapters.nats.wire import WireClient
from adapters.system import SystemIds
from domain.executions.state import END_NAMES
from tests.bench.machine import Load

RAW_STREAM = "BENCH_RAW"
RAW_SUBJECT = "bench.raw"
ECHO_SUBJECT = "bench.echo"
PAYLOAD = b"x" * 480
"""As long as the event of a refused command."""

Kind = Literal["request", "durable", "execution", "raw-request", "raw-publish", "raw-fenced", "echo"]
Call = Callable[[], Awaitable[object]]


class Spec(msgspec.Struct, frozen=True):
    kind: Kind
    url: str
    node: str
    clients: int
    warm_s: float = 0.5
    run_s: float = 3.0
    watched: dict[str, int] = {}
    """Processes whose processor time is measured: name -> pid."""


class Figures(msgspec.Struct, frozen=True):
    """`cores`: processors in use by process, `client` and `others` among them. `positions`: of the log, at the ends."""

    count: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cores: dict[str, float]

    @property
    def rate(self) -> float:
        return self.count / self.seconds


async def main(spec: Spec) -> None:
    if spec.kind == "echo":
        await _echo(spec)
        return
    if spec.kind == "execution":
        client = await connect(spec.url, name="bench")
        figures = await measured(spec, *await _executions(client, spec))
        await client.close()
    elif spec.kind in ("request", "durable"):
        client = await connect(spec.url, name="bench")
        call = _command(CommandClient(client, spec.node, ids=SystemIds()), spec.kind)
        figures = await measured(spec, *[call] * spec.clients)
        await client.close()
    else:
        raw = await nats.connect(spec.url)
        figures = await measured(spec, *[await _raw(raw, spec.kind)] * spec.clients)
        await raw.close()
    sys.stdout.buffer.write(msgspec.json.encode(figures) + b"\n")


def _command(client: CommandClient, door: Door) -> Call:
    ids = SystemIds()

    async def call() -> None:
        outcome = await client.ask("pane", "remove", {"pane_id": ids.uuid7()}, door=door)
        assert outcome["error"]["code"] == "managed_pane_not_found", outcome

    return call


async def _executions(client: WireClient, spec: Spec) -> list[Call]:
    """For each client `1+1` in a session of its own, which has run before: from the request to its durable end."""
    commands, ids = CommandClient(client, spec.node, ids=SystemIds()), SystemIds()
    ends: dict[str, asyncio.Future[str]] = {}

    async def told(message: Msg) -> None:
        _, _, _, _, execution_id, event = message.subject.split(".")
        if (waiting := ends.get(execution_id)) is not None:
            waiting.set_result(event)

    for event in END_NAMES:
        await client.subscribe(f"tower.evt.{spec.node}.execution.*.{event}", cb=told)

    async def run(session_id: str) -> None:
        execution_id = ids.uuid7()
        end = ends[execution_id] = asyncio.get_running_loop().create_future()
        data = {"id": execution_id, "session_id": session_id, "code": "1+1"}
        outcome = await commands.ask("execution", "request", data)
        assert outcome["status"] == "accepted", outcome
        async with asyncio.timeout(60):
            assert await end == "completed"
        del ends[execution_id]

    calls: list[Call] = [partial(run, f"bench-{number}-{ids.uuid7()}") for number in range(spec.clients)]
    await asyncio.gather(*(call() for call in calls))
    return calls


async def _raw(client: Client, kind: Kind) -> Call:
    stream = client.jetstream(timeout=30)
    if kind == "raw-request":
        return lambda: client.request(ECHO_SUBJECT, PAYLOAD, timeout=30)
    if kind == "raw-publish":
        return lambda: stream.publish(RAW_SUBJECT, PAYLOAD)
    last = (await stream.stream_info(RAW_STREAM)).state.last_seq

    async def fenced() -> None:
        nonlocal last
        headers = {"Nats-Expected-Last-Sequence": str(last)}
        last = (await stream.publish(RAW_SUBJECT, PAYLOAD, headers=headers)).seq

    return fenced


async def measured(spec: Spec, *calls: Call) -> Figures:
    """Each of `calls` again and again, all beside each other."""
    begins = time.monotonic() + spec.warm_s
    ends = begins + spec.run_s
    times: list[float] = []

    async def one(call: Call) -> None:
        while (started := time.perf_counter(), time.monotonic())[1] < ends:
            await call()
            if begins < time.monotonic() <= ends:
                times.append(time.perf_counter() - started)

    cores: dict[str, float] = {}

    async def watch() -> None:
        await asyncio.sleep(spec.warm_s)
        load, used = Load(spec.watched), _own_cpu_s()
        await asyncio.sleep(spec.run_s)
        mine = _own_cpu_s() - used
        cores.update(load.since(spec.run_s, [mine]), client=mine / spec.run_s)

    await asyncio.gather(watch(), *map(one, calls))
    times.sort()
    return Figures(
        count=len(times),
        seconds=spec.run_s,
        p50_ms=times[len(times) // 2] * 1000,
        p99_ms=times[min(len(times) - 1, len(times) * 99 // 100)] * 1000,
        cores=cores,
    )


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _echo(spec: Spec) -> None:
    client = await nats.connect(spec.url)

    async def answer(message: Msg) -> None:
        await message.respond(message.data)

    await client.subscribe(ECHO_SUBJECT, cb=answer)
    await client.flush()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(msgspec.json.decode(sys.argv[1], type=Spec)))
