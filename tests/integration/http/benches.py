"""Processes as they are in containers, without an engine: mount and PID namespaces of their own, cgroups named for a
container, the bench folder mounted read-only. What the kernel says of them is what it says of a container's.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from adapters.http.app import create_bench_app
from adapters.http.bench_socket import bind_bench, path_in, remove_bench
from adapters.http.server import HttpServer
from adapters.nats.connection import connect
from adapters.nats.outcomes import InboxOutcomes
from adapters.nats.rpc_door import RpcDoor
from adapters.nats.server_config import container_user
from adapters.nats.wire import WireClient
from adapters.rpc.calling import Calls
from domain.containers import ContainerFacts, ContainerRecordFound
from tests.integration.http.world import NODE, World, running_world
from tests.needs import need
from tests.waiting import eventually

BENCH = "ab" * 32
OTHER = "cd" * 32
MOUNTED = "/mnt"
"""Where the bench folder is inside a bench."""


class Told(NamedTuple):
    """What a client was answered; `status` 0: nothing, the connection was cut or never made."""

    status: int
    body: Any


def cgroup_mount() -> Path:
    """A hierarchy in which cgroups can be made: the unified one, or any of the old ones."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    found = sorted((kind != "cgroup2", path) for path, kind in mounts if kind in ("cgroup", "cgroup2"))
    for _, path in found:
        if os.access(path, os.W_OK):
            return Path(path)
    raise LookupError("no cgroup hierarchy can be written")


@contextlib.contextmanager
def cgroup(name: str) -> Iterator[Path]:
    """A cgroup of that path, below one of this test's own."""
    own = cgroup_mount() / f"at-{os.getpid()}-{os.urandom(4).hex()}"
    folder = own / name
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        while folder != own.parent:
            with contextlib.suppress(OSError):
                folder.rmdir()
            folder = folder.parent


async def asked(*argv: str) -> Told:
    """Of `argv`, which ends with curl and its options."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    text, _, status = out.decode().rpartition("\n")
    body: Any = text
    with contextlib.suppress(ValueError):
        body = json.loads(text)
    return Told(int(status or 0), body)


def curl(socket: str, path: str, *options: str, data: Any = None) -> list[str]:
    posted = [] if data is None else ["--data-binary", data if isinstance(data, str) else json.dumps(data)]
    words = ["curl", "-sS", "--max-time", "30", "--unix-socket", socket, "-w", "\n%{http_code}"]
    return [*words, *posted, *options, f"http://tower{path}"]


class Bench:
    """Runs clients inside of one bench; `name` is the path of its cgroup, `uid` that of its user."""

    def __init__(self, world: World, name: str, uid: int = 1234) -> None:
        self._folder = path_in(world.home).parent
        self._name = name
        self._uid = uid

    async def ask(self, path: str, *options: str, data: Any = None) -> Told:
        with cgroup(self._name) as group:
            mount = f'mount --bind "{self._folder}" {MOUNTED}; mount -o remount,bind,ro {MOUNTED}; exec "$@"'
            become = ["setpriv", "--reuid", str(self._uid), "--regid", str(self._uid), "--clear-groups"]
            client = curl(f"{MOUNTED}/tower.sock", path, *options, data=data)
            inside = ["sh", "-ec", mount, "bench", *become, *client]
            join = ["sh", "-ec", f'echo $$ > "{group}/cgroup.procs"; exec "$@"', "join"]
            unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
            return await asked(*join, *unshare, *inside)

    async def command(self, name: str, data: dict[str, Any], **fields: Any) -> Told:
        noun, _, verb = name.partition(".")
        return await self.ask("/v1/commands", data={"noun": noun, "verb": verb, "data": data, **fields})


class BenchWorld(NamedTuple):
    """`bench` and `other` are registered containers; `operator` and `peer` the broker connections of the operator and
    of `bench`."""

    world: World
    socket: Path
    bench: Bench
    other: Bench
    operator: WireClient
    peer: WireClient

    async def ask(self, path: str, *options: str, data: Any = None) -> Told:
        """As a process of this machine."""
        return await asked(*curl(str(self.socket), path, *options, data=data))


@asynccontextmanager
async def bench_world() -> AsyncIterator[BenchWorld]:
    need("tmux", "curl", "namespaces")
    async with running_world() as world:
        facts = tuple(ContainerFacts(container_id=each, name=each[:4]) for each in (BENCH, OTHER))
        await world.follow_up(ContainerRecordFound(containers=facts))
        path = await serve_bench(world)
        operator, peer = await _doors(world)
        yield BenchWorld(
            world, path, Bench(world, f"docker-{BENCH}.scope"), Bench(world, f"docker/{OTHER}"), operator, peer
        )


async def serve_bench(world: World) -> Path:
    """The path of the socket."""
    path = path_in(world.home)
    listening = bind_bench(path)
    world.stack.callback(remove_bench, path, listening)
    app = create_bench_app(world.services)
    await world.stack.enter_async_context(HttpServer(app, listening, url=f"unix:{path}"))
    return path


async def _doors(world: World) -> tuple[WireClient, WireClient]:
    await world.broker.reload([container_user(NODE, BENCH, "secret")])
    log = world.broker.log_path
    await eventually(lambda: "Reloaded server configuration" in log.read_text(), "the reload")
    tower = await connect(world.broker.tower_url, name="tower-rpc")
    answers = await connect(world.broker.answers_url, name="answers-rpc")
    operator = await connect(world.broker.operator_url, name="operator")
    peer = await connect(world.broker.url(BENCH), name="peer", inbox_prefix=f"_INBOX.{BENCH}")
    for client in (tower, answers, operator, peer):
        world.stack.push_async_callback(client.close)
    services = world.services
    calls = Calls(ask=services.ask, read_models=services.read_models, ids=services.ids)
    door = RpcDoor(tower, NODE, calls.call, InboxOutcomes(answers, NODE))
    await door.open()
    world.stack.push_async_callback(door.close)
    return operator, peer
