"""Files, HTTP and commands of this machine, for code in workers that may have them: the `Machine` port."""

import asyncio
import contextlib
import os
import signal
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx

from handlers.execution_ports import Allowed, Fetched, MachineError, NotAllowed, Ran

FILE_BYTES: Final = 8 * 1024 * 1024
ANSWER_BYTES: Final = 8 * 1024 * 1024
STREAM_BYTES: Final = 1024 * 1024
"""Of what a command prints, each of its two streams."""

LONGEST_SILENCE_S: Final = 3600.0
"""Of a server; whoever asks has a limit of their own."""

REDIRECTS: Final = 5
_MOVED: Final = frozenset({301, 302, 303, 307, 308})


class LocalMachine:
    """`env` and `working_dir`: of the commands."""

    def __init__(self, *, working_dir: Path, env: Mapping[str, str]) -> None:
        self._working_dir = working_dir
        self._env = env

    async def read_file(self, path: str, allowed: Allowed) -> str:
        return await asyncio.to_thread(self._read, path, allowed)

    async def write_file(self, path: str, text: str, allowed: Allowed) -> None:
        data = text.encode()
        if len(data) > FILE_BYTES:
            raise MachineError(f"{len(data)} bytes, not at most {FILE_BYTES}")
        await asyncio.to_thread(self._write, path, data, allowed)

    async def fetch(
        self, url: str, method: str, headers: Mapping[str, str], body: str | None, allowed: Allowed
    ) -> Fetched:
        # No proxy and no credentials of the tower's own environment.
        async with httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=LONGEST_SILENCE_S) as client:
            for _ in range(REDIRECTS + 1):
                _check_host(url, allowed)
                try:
                    async with client.stream(method, url, headers=dict(headers), content=body) as answer:
                        if answer.status_code not in _MOVED or "location" not in answer.headers:
                            return await _fetched(answer)
                        before, url = url, urljoin(url, answer.headers["location"])
                        if answer.status_code in (301, 302, 303) and method not in ("GET", "HEAD"):
                            method, body = "GET", None
                        if _host(before) != _host(url):
                            headers = {name: value for name, value in headers.items() if not _private(name)}
                except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                    raise MachineError(str(error) or type(error).__name__) from error
            raise MachineError(f"more than {REDIRECTS} redirects")

    async def run(self, argv: Sequence[str]) -> Ran:
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                cwd=self._working_dir,
                env=dict(self._env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise MachineError(str(error)) from error
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            stdout, stderr = await asyncio.gather(_all_of(process.stdout), _all_of(process.stderr))
            return Ran(exit_code=await process.wait(), stdout=stdout, stderr=stderr)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def _read(self, path: str, allowed: Allowed) -> str:
        try:
            # A pipe without a writer would be waited for.
            fd = os.open(self._working_dir / path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            # What lies outside is not told apart from what is not there.
            _check_path(os.path.realpath(self._working_dir / path), allowed)
            raise MachineError(str(error)) from error
        with os.fdopen(fd, "rb") as file:
            _check_path(_real(fd), allowed)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise MachineError(f"{path} is no file")
            data = file.read(FILE_BYTES + 1)
        if len(data) > FILE_BYTES:
            raise MachineError(f"{path} has more than {FILE_BYTES} bytes")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise MachineError(f"{path} is no UTF-8 text: {error}") from error

    def _write(self, path: str, data: bytes, allowed: Allowed) -> None:
        real = os.path.realpath(self._working_dir / path)
        _check_path(real, allowed)
        try:
            # The path was followed before: a link that stands there by now is not.
            fd = os.open(real, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
            with os.fdopen(fd, "wb") as file:
                _check_path(_real(fd), allowed)
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise MachineError(f"{path} is no file")
                file.truncate(0)
                file.write(data)
        except (OSError, ValueError) as error:
            raise MachineError(str(error)) from error


def _real(fd: int) -> str:
    """The path of what was opened, whatever links led to it."""
    return os.readlink(f"/proc/self/fd/{fd}")


def _check_path(real: str, allowed: Allowed) -> None:
    if not allowed(real):
        raise NotAllowed(f"{real} is not among the paths of this session")


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{(parts.hostname or '').lower()}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _check_host(url: str, allowed: Allowed) -> None:
    try:
        host = _host(url)
    except ValueError as error:
        raise MachineError(str(error)) from error
    if urlsplit(url).scheme not in ("http", "https") or not allowed(host):
        raise NotAllowed(f"{host} is not among the hosts of this session")


def _private(header: str) -> bool:
    return header.lower() in ("authorization", "cookie", "proxy-authorization")


async def _fetched(answer: httpx.Response) -> Fetched:
    data = bytearray()
    async for piece in answer.aiter_bytes():
        data += piece
        if len(data) > ANSWER_BYTES:
            raise MachineError(f"an answer of more than {ANSWER_BYTES} bytes")
    text = bytes(data).decode(answer.encoding or "utf-8", "replace")
    return Fetched(status=answer.status_code, headers=dict(answer.headers), text=text)


async def _all_of(stream: asyncio.StreamReader) -> str:
    data = bytearray()
    while piece := await stream.read(65_536):
        data += piece
        if len(data) > STREAM_BYTES:
            raise MachineError(f"a command that prints more than {STREAM_BYTES} bytes")
    return bytes(data).decode("utf-8", "backslashreplace")
