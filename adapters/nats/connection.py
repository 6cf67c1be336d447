"""Connecting to a broker: for ever, quietly about credentials, and plain about what a broker lacks."""

import asyncio
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from nats import errors
from nats.aio.client import Server

from adapters.nats.wire import NoAnswer, NoResponders, WireClient

REQUIRED_VERSION: Final = (2, 14)
FIRST_DELAY_S: Final = 0.05
LAST_DELAY_S: Final = 3.0

_log = structlog.get_logger("nats")
_CREDENTIALS: Final = re.compile(r"//[^/@\s]*@")


class BrokerProblem(Exception):
    """The broker cannot be used as it is; the text says what is missing, for a person to act on."""


def without_credentials(text: str) -> str:
    """`text` with the user information of every URL replaced."""
    return _CREDENTIALS.sub("//<redacted>@", text)


def reconnect_delay_s(attempt: int) -> float:
    """Jittered exponential back-off before reconnect attempt number `attempt` (from 0), in seconds."""
    if attempt == 0:
        return random.uniform(0, FIRST_DELAY_S)
    return random.uniform(0.5, 1.0) * min(LAST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempt, 16))


def _next_server(servers: list[Server], _info: dict[str, Any]) -> tuple[Server, float]:
    server = min(servers, key=lambda candidate: candidate.reconnects)
    return server, reconnect_delay_s(server.reconnects)


async def connect(
    url: str,
    *,
    name: str,
    inbox_prefix: str = "_INBOX",
    credentials: Path | None = None,
    timeout_s: float = 5.0,
) -> WireClient:
    """Connect once, then stay connected for ever. `url` may be several addresses separated by commas.

    Raises `BrokerProblem` when the first connection cannot be made.
    """
    client = WireClient()
    log = _log.bind(connection=name)
    servers = [part.strip() for part in url.split(",") if part.strip()]
    failures = 0

    async def failed(error: Exception) -> None:
        nonlocal failures
        if not client.settled:
            # nats-py would try for ever; the first connection tries each address once.
            failures += 1
            if failures >= len(servers):
                raise error
        log.warning("broker error", kind=type(error).__name__, error=without_credentials(str(error)))

    async def disconnected() -> None:
        await client.lost()
        if not client.is_closed:
            log.warning("broker connection lost")

    async def reconnected() -> None:
        log.info("broker connection restored")
        await client.found()

    options: dict[str, Any] = {"user_credentials": str(credentials)} if credentials is not None else {}
    try:
        async with asyncio.timeout(timeout_s * max(1, len(servers))):
            await client.connect(
                servers,
                name=name,
                inbox_prefix=inbox_prefix,
                error_cb=failed,
                disconnected_cb=disconnected,
                reconnected_cb=reconnected,
                connect_timeout=timeout_s,  # type: ignore[arg-type]
                allow_reconnect=False,
                ping_interval=10,
                max_outstanding_pings=2,
                reconnect_to_server_handler=_next_server,
                max_reconnect_attempts=-1,
                pending_size=8 * 1024 * 1024,
                **options,
            )
    except (errors.Error, OSError, TimeoutError, ValueError) as error:
        await client.abandon()
        where = ", ".join(without_credentials(server) for server in servers)
        why = without_credentials(str(error)) or type(error).__name__
        raise BrokerProblem(f"cannot connect to the broker at {where}: {why}") from None
    client.settle()
    return client


def version_of(text: str) -> tuple[int, int]:
    """`2.15.1-beta` to (2, 15); (0, 0) for what is no version."""
    match = re.match(r"v?(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


async def check_broker(client: WireClient, *, timeout_s: float = 5.0) -> None:
    """Raises `BrokerProblem` unless the broker is new enough and has JetStream enabled for this user."""
    version = str(client.server.get("version", "unknown"))
    required = ".".join(map(str, REQUIRED_VERSION))
    if version_of(version) < REQUIRED_VERSION:
        raise BrokerProblem(
            f"the broker is nats-server {version}; AgentTower needs {required} or newer (atomic batches, schedules)"
        )
    if not client.server.get("jetstream", False):
        raise BrokerProblem("the broker runs without JetStream; start nats-server with a `jetstream` block (-js)")
    try:
        await js_api(client, "INFO", timeout_s=timeout_s)
    except ApiError as error:
        raise BrokerProblem(f"JetStream is not usable by this broker user: {error.description}") from None
    except (NoResponders, NoAnswer):
        raise BrokerProblem(
            "JetStream does not answer: it is disabled for this account, out of storage, or the user may not use it"
        ) from None


class ApiError(Exception):
    """The JetStream API refused. `code` is HTTP-like, `err_code` names the reason."""

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(f"{description} ({err_code})")
        self.code = code
        self.err_code = err_code
        self.description = description


async def js_api(
    client: WireClient, subject: str, request: Mapping[str, Any] | None = None, *, timeout_s: float = 5.0
) -> dict[str, Any]:
    """One JetStream API request, `subject` without the `$JS.API.` prefix.

    Raises `ApiError`, `NoResponders` (no JetStream, or it is starting) or `NoAnswer`.
    """
    payload = b"" if request is None else msgspec.json.encode(request)
    reply = await client.ask(f"$JS.API.{subject}", payload, timeout_s=timeout_s)
    answer: dict[str, Any] = msgspec.json.decode(reply.payload)
    raise_api_error(answer)
    return answer


def raise_api_error(answer: Mapping[str, Any]) -> None:
    """Raises `ApiError` if a JetStream answer or publish acknowledgement holds an error."""
    error = answer.get("error")
    if error:
        raise ApiError(error.get("code", 0), error.get("err_code", 0), error.get("description", "unknown error"))
