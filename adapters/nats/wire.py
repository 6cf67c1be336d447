"""A nats-py client with a faster way in and out: the only file that relies on nats-py's internals.

nats-py spends most of the time of a bulk read in its parser, in header decoding and in one queue a subscription.
`WireClient` splits the same bytes with a tight loop and hands messages of *raw* subscriptions, undecoded, to a plain
function; everything else takes nats-py's own path. What was not sent when the connection broke is dropped rather than
sent later, so that no append arrives after its time-out because of a reconnect, and waiting requests fail at once.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, NamedTuple

from nats import errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

RawCallback = Callable[[bytes, bytes, bytes, bytes], None]
"""Called in the read loop with subject, reply subject, header block (b"" for none) and payload. Must not block."""

CLOSE_S: Final = 5.0
"""How long the end of a connection may take; then its socket is left to the kernel."""

_HEADER_START: Final = b"NATS/1.0"
_HEADER_LINE: Final = _HEADER_START + b"\r\n"
_CRLF: Final = b"\r\n"


class NoResponders(Exception):
    """Nobody listens on the subject."""


class NoAnswer(Exception):
    """The deadline passed or the connection broke: whether the other side acted is unknown."""


class Disconnected(NoAnswer):
    """The connection broke, or is not there: it is made again by itself."""


class Reply(NamedTuple):
    """An undecoded answer to `WireClient.ask`. `status` is 0 unless the broker sent a status line."""

    header: bytes
    payload: bytes

    @property
    def status(self) -> int:
        return status_of(self.header)


def status_of(header: bytes) -> int:
    """The number of a `NATS/1.0 503 …` line, 0 for an ordinary message."""
    if header.startswith(_HEADER_LINE) or not header:
        return 0
    token = header[9:12]
    return int(token) if token.isdigit() else 0


def headers_of(block: bytes) -> dict[str, str]:
    """Header block to a dict; a status line is left out. The last of repeated names wins."""
    headers: dict[str, str] = {}
    for line in block.decode("utf-8", "replace").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name] = value.strip()
    return headers


def header_block(headers: Mapping[str, str]) -> bytes:
    """`headers` as they stand on the wire. Raises ValueError for a line break or a colon in a name."""
    lines = ["NATS/1.0"]
    for name, value in headers.items():
        line = f"{name}: {value}"
        if "\r" in line or "\n" in line or ":" in name or " " in name:
            raise ValueError(f"header {name!r} cannot be sent")
        lines.append(line)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def publication(subject: str, payload: bytes, *, reply: str = "", block: bytes = b"") -> bytes:
    """One PUB or HPUB command; `subject` and `reply` must have been checked."""
    if block:
        size = len(block)
        return b"HPUB %s %s %d %d\r\n%s%s\r\n" % (
            subject.encode(),
            reply.encode(),
            size,
            size + len(payload),
            block,
            payload,
        )
    return b"PUB %s %s %d\r\n%s\r\n" % (subject.encode(), reply.encode(), len(payload), payload)


class _Parser:
    """Splits what the socket gave into protocol lines; the interface of `nats.protocol.parser.Parser`."""

    def __init__(self, client: "WireClient") -> None:
        self._client = client
        self.reset()

    def reset(self) -> None:
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = 0

    async def parse(self, data: bytes = b"") -> None:
        if self._have:
            # Chunks of a large message are joined once, when it is complete.
            self._chunks.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._chunks)
            self._chunks.clear()
            self._have = self._need = 0
        rest = await self._consume(data)
        if rest < len(data):
            left = data[rest:]
            self._chunks.append(left)
            self._have = len(left)

    async def _consume(self, data: bytes) -> int:
        """Handle all whole commands of `data`; the offset of the first that is not whole."""
        raw = self._client.raw
        size = len(data)
        at = 0
        while at < size:
            end = data.find(_CRLF, at)
            if end < 0:
                self._need = size - at + 1
                return at
            line = data[at:end]
            if line.startswith(b"HMSG "):
                args = line.split()
                header_size, total = int(args[-2]), int(args[-1])
                reply = args[3] if len(args) == 6 else b""
            elif line.startswith(b"MSG "):
                args = line.split()
                header_size, total = 0, int(args[-1])
                reply = args[3] if len(args) == 5 else b""
            else:
                at = end + 2
                await self._control(line)
                continue
            start = end + 2
            stop = start + total
            if stop + 2 > size:
                self._need = stop + 2 - at
                return at
            middle = start + header_size
            sid = int(args[2])
            callback = raw.get(sid)
            if callback is None:
                await self._client._process_msg(sid, args[1], reply, data[middle:stop], data[start:middle])
            else:
                try:
                    callback(args[1], reply, data[start:middle], data[middle:stop])
                except Exception as error:  # noqa: BLE001  a failing reader must not end the read loop of all others
                    await self._client._error_cb(error)
            at = stop + 2
        return at

    async def _control(self, line: bytes) -> None:
        client = self._client
        if line.startswith(b"PING"):
            await client._process_ping()
        elif line.startswith(b"PONG"):
            await client._process_pong()
        elif line.startswith(b"INFO "):
            info: dict[str, Any] = json.loads(line[5:])
            client.server.update(info)
            await client._process_info(info)
        elif line.startswith(b"-ERR"):
            await client._process_err(line[4:].strip().decode("utf-8", "replace").lower())
        elif line and not line.startswith(b"+OK"):
            raise errors.ProtocolError


class WireClient(Client):
    """nats-py's client plus raw subscriptions, raw publishing and requests that know about lost connections."""

    def __init__(self) -> None:
        super().__init__()
        self.raw: dict[int, RawCallback] = {}
        self.reconnected: list[Callable[[], None]] = []
        """Plain functions called after every reconnect: whoever reads a stream makes its consumer anew."""
        self._ps = _Parser(self)  # type: ignore[assignment]
        self._waiting: dict[bytes, asyncio.Future[Reply]] = {}
        self._reply_prefix = ""
        self._mux: asyncio.Task[None] | None = None
        self._token = 0
        self._found = asyncio.Event()
        self.settled = False

    def settle(self) -> None:
        """The first connection stands: from now on reconnect for ever instead of failing."""
        self.settled = True
        self.options["allow_reconnect"] = True

    async def close(self) -> None:
        """Also where the broker has ended the connection at this very moment, and somebody waits for that already."""
        task = asyncio.current_task()
        try:
            async with asyncio.timeout(CLOSE_S):
                await super().close()
        except (OSError, TimeoutError):
            await self.abandon()
        except asyncio.CancelledError:
            # The end of a socket is one future for all who wait for it: cancelled with another of them, not with us.
            if task is not None and task.cancelling():
                raise

    async def abandon(self) -> None:
        """Close the socket of a first connection that failed; nothing else was started."""
        if self._transport is not None:
            self._transport.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._transport.wait_closed()

    @property
    def server(self) -> dict[str, Any]:
        """What the broker said about itself (INFO): version, jetstream, max_payload."""
        return self._server_info

    async def subscribe_raw(self, subject: str, callback: RawCallback) -> Subscription:
        """Subscribe without queue, task or decoding. End it with `unsubscribe_raw`."""
        sid = self._sid + 1
        self.raw[sid] = callback
        try:
            subscription = await self.subscribe(subject)
        except BaseException:
            self.raw.pop(sid, None)
            raise
        return subscription

    async def unsubscribe_raw(self, subscription: Subscription) -> None:
        self.raw.pop(subscription._id, None)
        if not self.is_closed and not self.is_draining:
            await subscription.unsubscribe()

    async def drain_raw(self, subscription: Subscription) -> None:
        """End the interest, handle everything that the broker had sent before, then unsubscribe."""
        if self.is_connected:
            await self._send_unsubscribe(subscription._id)
            with contextlib.suppress(errors.Error):
                await self.flush()
        self.raw.pop(subscription._id, None)
        self._remove_sub(subscription._id)

    async def send(self, commands: bytes) -> None:
        """Send ready `publication` commands. Raises `NoAnswer` when there is no connection: nothing is kept back."""
        if not self.is_connected:
            raise Disconnected("no connection to the broker")
        await self._send_command(commands)
        await self._flush_pending()

    async def ask(
        self, subject: str, payload: bytes = b"", *, block: bytes = b"", timeout_s: float = 5.0, before: bytes = b""
    ) -> Reply:
        """One request. `before` is sent in the same write, ahead of it (the earlier messages of an atomic batch).

        Raises `NoResponders` or `NoAnswer`.
        """
        async with self.expecting() as (inbox, future):
            try:
                async with asyncio.timeout(timeout_s):
                    await self.send(before + publication(subject, payload, reply=inbox, block=block))
                    answer = await future
            except TimeoutError:
                raise NoAnswer(f"no answer from {subject} within {timeout_s:g} s") from None
        if answer.status == 503 and not answer.payload:
            raise NoResponders(subject)
        return answer

    @contextlib.asynccontextmanager
    async def expecting(self) -> AsyncGenerator[tuple[str, asyncio.Future[Reply]], None]:
        """An inbox for one message, and the future that gets it (or `NoAnswer` when the connection breaks)."""
        if not self._reply_prefix:
            await self._start_mux()
        self._token += 1
        token = b"%d" % self._token
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[token] = future
        try:
            yield self._reply_prefix + token.decode(), future
        finally:
            del self._waiting[token]
            # A failure that nobody waited for is no fault.
            if future.done() and not future.cancelled():
                future.exception()

    async def _start_mux(self) -> None:
        # Shared by concurrent first requests and not ended by the cancellation of one of them.
        if self._mux is None:
            self._mux = asyncio.create_task(self._subscribe_mux())
        try:
            await asyncio.shield(self._mux)
        except errors.Error as error:
            self._mux = None
            raise NoAnswer(str(error)) from error

    async def _subscribe_mux(self) -> None:
        prefix = self.new_inbox() + "."
        await self.subscribe_raw(prefix + "*", self._answered)
        self._reply_prefix = prefix

    def _answered(self, subject: bytes, reply: bytes, header: bytes, payload: bytes) -> None:
        future = self._waiting.get(subject[len(self._reply_prefix) :])
        if future is not None and not future.done():
            future.set_result(Reply(header, payload))

    async def lost(self) -> None:
        """nats-py's disconnected callback: forget what was not sent, fail whoever waits."""
        self._pending = []
        self._pending_data_size = 0
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Disconnected("the connection to the broker broke"))

    async def reconnected_within(self, timeout_s: float) -> None:
        """Wait for the next reconnect, at most `timeout_s`: the back-off of whoever needs the broker."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._found.wait()
        except TimeoutError:
            pass

    async def found(self) -> None:
        """nats-py's reconnected callback."""
        waiters, self._found = self._found, asyncio.Event()
        waiters.set()
        for function in list(self.reconnected):
            function()

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        # nats-py writes its PING past what is still to be sent, so that a flush would end before it was flushed.
        if self.is_connected:
            self._pongs.append(asyncio.Future() if future is None else future)
            await self._send_command(b"PING\r\n")
            await self._flush_pending()

    async def _process_err(self, err_msg: str) -> None:
        # nats-py closes for ever on most errors ("slow consumer", an expired or replaced user); ours reconnects.
        if "permissions violation" in err_msg or "invalid subject" in err_msg:
            await super()._process_err(err_msg)
            return
        error = errors.Error(f"nats: {err_msg}")
        await self._error_cb(error)
        await self._process_op_err(error)
