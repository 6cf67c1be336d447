"""`webhook`: what others deliver to `POST /v1/hooks/{name}`, signed with a secret that both sides know.

The signature is HMAC-SHA256 over the raw body, as `sha256=<hex>` in a header. The secret is read from a file or a
variable at each delivery and stands nowhere else. What is not signed right leaves no trace but a figure.
"""

import asyncio
import hashlib
import hmac
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from adapters.triggers import configs
from adapters.triggers.deliveries import Deliveries
from domain.errors import Rejection
from handlers.ports import Clock
from handlers.trigger_ports import Firing, TriggerProblem

SIGNATURE_HEADER: Final = "X-Hub-Signature-256"

DELIVERY_HEADERS: Final = ("x-github-delivery", "x-gitea-delivery", "webhook-id", "x-delivery-id", "idempotency-key")
"""By which senders call a delivery that they repeat, unless the config names another one."""

MAX_WAITING: Final = 1_000
"""Deliveries to one trigger that are not recorded yet."""

MAX_TEXT: Final = 200

EVENT_BYTES: Final = 224 * 1024
"""A body that is longer as JSON is kept as a file, which the event names."""

BODIES_KEPT: Final = 1_000
"""Files of long bodies of one trigger; the oldest go."""

Fate = Literal["accepted", "replayed", "left_out", "refused", "busy"]


class WebhookConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`name`: in the path, that of the background session if it is not given. One of both secrets. `events`: values of
    the header `event_header` for which it fires, all if none are given."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] | None = None
    secret_file: str | None = None
    secret_env: str | None = None
    header: str = SIGNATURE_HEADER
    delivery_header: str | None = None
    event_header: str = "X-GitHub-Event"
    events: tuple[str, ...] = ()


class Delivery(NamedTuple):
    """`headers` by lower-case names."""

    headers: Mapping[str, str]
    body: bytes
    outcome: asyncio.Future[Mapping[str, Any]]


class WebhookDoor:
    """Hands deliveries to the triggers of their name. `count` is called with what became of each."""

    def __init__(self, count: Callable[[Fate], None]) -> None:
        self._count = count
        self._hooks: dict[str, list[Webhook]] = {}

    def add(self, hook: "Webhook") -> None:
        self._hooks.setdefault(hook.name, []).append(hook)

    def remove(self, hook: "Webhook") -> None:
        left = [each for each in self._hooks.get(hook.name, ()) if each is not hook]
        if left:
            self._hooks[hook.name] = left
        else:
            self._hooks.pop(hook.name, None)

    async def take(self, name: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """How many triggers fired, after the commit. Raises `Rejection`: `unauthorized` for a wrong signature and for a
        name that nobody listens to alike, `tower_busy` where there is no room."""
        signed = [hook for hook in self._hooks.get(name, ()) if await hook.is_signed(headers, body)]
        if not signed:
            self._count("refused")
            raise Rejection("unauthorized", f"no hook {name} takes this signature")
        fates: list[Fate] = [await hook.deliver(headers, body) for hook in signed]
        for fate in fates:
            self._count(fate)
        if "busy" in fates:
            raise Rejection("tower_busy", f"too much waits for {name}; deliver it again", queued=MAX_WAITING)
        return {"fired": fates.count("accepted"), "replay": "replayed" in fates}


class Webhook:
    """A `TriggerSource`. `background`: the name of the background session."""

    def __init__(self, door: WebhookDoor, deliveries: Deliveries, clock: Clock, *, background: str) -> None:
        self._door = door
        self._deliveries = deliveries
        self._clock = clock
        self._background = background
        self._arrived: asyncio.Queue[Delivery] = asyncio.Queue()
        self._watching = asyncio.Event()
        self._open: set[asyncio.Future[Mapping[str, Any]]] = set()
        self.name = background

    @property
    def how(self) -> str:
        return f"POST /v1/hooks/{self.name}"

    def configure(self, config: Mapping[str, Any], *, folder: str, state: Path) -> None:
        self._config = configs.read(config, WebhookConfig)
        if (self._config.secret_file is None) == (self._config.secret_env is None):
            raise TriggerProblem("secret_file", "one of secret_file and secret_env says where the secret is")
        self._folder = folder
        self._bodies = state / "bodies"
        self.name = self._config.name or self._background

    async def watching(self) -> None:
        await self._watching.wait()

    async def watch(self) -> AsyncGenerator[Firing]:
        await asyncio.to_thread(self._secret)
        self._door.add(self)
        self._watching.set()
        while True:
            delivery = await self._arrived.get()
            yield self._firing(delivery, await asyncio.to_thread(self._data, delivery.body))

    async def stop(self) -> None:
        self._door.remove(self)
        for outcome in self._open:
            outcome.cancel()

    async def is_signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        given = headers.get(self._config.header.lower(), "")
        try:
            secret = await asyncio.to_thread(self._secret)
        except TriggerProblem:
            return False
        expected = f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"
        return hmac.compare_digest(given.strip().lower().encode(), expected.encode())

    async def deliver(self, headers: Mapping[str, str], body: bytes) -> Fate:
        """Of a delivery that is signed right."""
        if self._config.events and headers.get(self._config.event_header.lower()) not in self._config.events:
            return "left_out"
        delivery_id = self._delivery_id(headers)
        if delivery_id is not None and await self._deliveries.has(self._background, self.name, delivery_id):
            return "replayed"
        if len(self._open) >= MAX_WAITING:
            return "busy"
        outcome: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._open.add(outcome)
        outcome.add_done_callback(self._open.discard)
        self._arrived.put_nowait(Delivery(headers, body, outcome))
        try:
            told = await outcome
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return "busy"
        if told["status"] != "accepted":
            return "busy" if told["error"]["code"] == "tower_busy" else "left_out"
        if delivery_id is not None:
            await self._deliveries.keep(self._background, self.name, delivery_id)
        return "replayed" if told.get("replay") else "accepted"

    def _firing(self, delivery: Delivery, data: Mapping[str, Any]) -> Firing:
        delivery_id = self._delivery_id(delivery.headers)

        async def told(outcome: Mapping[str, Any]) -> None:
            if not delivery.outcome.done():
                delivery.outcome.set_result(outcome)

        return Firing(
            id=None if delivery_id is None else f"{self.name}:{delivery_id}",
            source=f"webhook:{self.name}",
            timestamp=self._clock.now(),
            data=data,
            after=told,
            patient=False,
        )

    def _delivery_id(self, headers: Mapping[str, str]) -> str | None:
        named = self._config.delivery_header
        names = DELIVERY_HEADERS if named is None else (named.lower(),)
        return next((headers[name][:MAX_TEXT] for name in names if headers.get(name)), None)

    def _data(self, body: bytes) -> Mapping[str, Any]:
        data = _read(body)
        if len(msgspec.json.encode(data)) <= EVENT_BYTES:
            return data
        digest = hashlib.blake2b(body, digest_size=16).hexdigest()
        path = self._bodies / digest
        self._bodies.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = sorted(self._bodies.iterdir(), key=lambda each: each.stat().st_mtime)
        for old in kept[: max(0, len(kept) + 1 - BODIES_KEPT)]:
            old.unlink(missing_ok=True)
        path.write_bytes(body)
        return {"body_file": str(path), "body_bytes": len(body)}

    def _secret(self) -> bytes:
        """Raises `TriggerProblem`."""
        if self._config.secret_env is not None:
            found = os.environ.get(self._config.secret_env, "")
            if not found:
                raise TriggerProblem("secret_env", f"the variable {self._config.secret_env} is not set")
            return found.encode()
        path = configs.path_of(self._config.secret_file, self._folder)
        try:
            found = Path(path).read_bytes().strip()
        except OSError as error:
            raise TriggerProblem("secret_file", f"{path} cannot be read: {error.strerror}") from error
        if not found:
            raise TriggerProblem("secret_file", f"{path} is empty")
        return found


def _read(body: bytes) -> Mapping[str, Any]:
    """The body's JSON object; anything else as `body`."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {"body": body.decode("utf-8", "backslashreplace")}
    return decoded if isinstance(decoded, dict) else {"body": decoded}
