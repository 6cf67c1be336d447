"""The connection to a tower: what is asked of it, and who hears what it records."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final, Self

import httpx
import msgspec
import structlog
from msgspec import UNSET

from adapters.nats import subjects
from adapters.nats.client import CommandClient
from adapters.nats.connection import connect
from adapters.nats.subscribing import Subscription
from adapters.nats.wire import NoAnswer, NoResponders, WireClient, headers_of
from adapters.system import SystemIds
from domain.catalogue import UndecodableEvent
from domain.envelope import Stored, decode
from domain.errors import Rejection
from domain.executions.state import END_NAMES, asked_by
from domain.messages import Event
from domain.sessions.hearing import ToldEvent
from domain.sessions.telling import Wanted

OUTCOME_S: Final = 30.0
RETRY_S: Final = 1.0

Heard = Callable[[Event], None]
Look = Callable[[], Coroutine[Any, Any, None]]

_log = structlog.get_logger("remote")


class RemoteTower:
    """One connection, shared by any number of engines. `http_url`: of the tower's HTTP interface, from where values
    over 256 KiB are fetched; without it they are left out. `token` where the interface wants one for queries."""

    def __init__(
        self, nats_url: str, *, node: str = "local", http_url: str | None = None, token: str | None = None
    ) -> None:
        self._url = nats_url
        self._http_url = http_url
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._ids = SystemIds()
        self.node: Final = subjects.checked_node(node)
        self._listeners: dict[str, Heard] = {}
        self._lookers: set[Look] = set()
        self._looking: set[asyncio.Task[None]] = set()
        self.client: WireClient
        self._commands: CommandClient

    async def __aenter__(self) -> Self:
        """Raises `BrokerProblem`."""
        self.client = await connect(self._url, name="remote engine")
        self._commands = CommandClient(self.client, self.node, ids=self._ids)
        for name in sorted(END_NAMES):
            await self.client.subscribe_raw(self._subject("execution", "*", name), self._recorded)
        await self.client.subscribe_raw(self._subject("promise", "*", "created"), self._recorded)
        for name in ("checkpointed", "restored", "work_failed"):
            await self.client.subscribe_raw(self._subject("session", "*", name), self._recorded)
        await self.client.flush()
        self.client.reconnected.append(self._look_again)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for task in tuple(self._looking):
            task.cancel()
        await self.client.close()

    async def large_value(self, execution_id: str) -> Any:
        """UNSET where it cannot be had."""
        if self._http_url is None:
            return UNSET
        path = f"/v1/executions/{execution_id}"
        try:
            async with httpx.AsyncClient(
                base_url=self._http_url, headers=self._headers, trust_env=False, timeout=2 * OUTCOME_S
            ) as client:
                # Until the read model has its end, too.
                await client.get(path, params={"wait": OUTCOME_S})
                answer = (await client.get(f"{path}/value")).raise_for_status()
                return msgspec.json.decode(answer.content)
        except (httpx.HTTPError, msgspec.MsgspecError) as error:
            _log.warning("a large value is not fetched", execution_id=execution_id, reason=str(error))
            return UNSET

    async def subscribe(
        self, names: Sequence[str], sources: Sequence[str] = (), *, after: int | None = None
    ) -> Subscription:
        """What sessions tell under these names (`work:completed`, `work:*`, `*`), of these sources, all without any;
        from behind the position `after`, from now on without it. In force when this returns: nothing that is emitted
        later is missed. Iterate it, and close it (`async with`). A slow reader holds back only itself.

        Raises `ValueError` for what is no name.
        """
        subscription = Subscription(self.client, self.node, Wanted(tuple(names), tuple(sources)), after)
        try:
            await subscription.open()
        except BaseException:
            await subscription.close()
            raise
        return subscription

    async def wait_for_event(
        self,
        names: Sequence[str],
        timeout: float | None = None,
        sources: Sequence[str] = (),
        *,
        after: int | None = None,
    ) -> ToldEvent:
        """The next event of these names; `timeout` in seconds. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout), await self.subscribe(names, sources, after=after) as told:
            return await anext(told)

    async def emit(self, name: str, data: Any = None, session_id: str | None = None) -> dict[str, Any]:
        """Tell whoever listens. Raises as `ask`."""
        return await self.ask("session", "emit", {"name": name, "data": data, "session_id": session_id})

    def new_id(self) -> str:
        return self._ids.uuid7()

    async def ask(self, noun: str, verb: str, data: dict[str, Any]) -> dict[str, Any]:
        """The result of an accepted command. Raises `Rejection`, `NoTower`, `Undecided`."""
        outcome = await self._commands.ask(noun, verb, data, timeout_s=OUTCOME_S)
        if outcome["status"] == "accepted":
            return outcome["result"]
        error = outcome["error"]
        raise Rejection(error["code"], error["message"], **error["details"])

    @contextlib.contextmanager
    def hearing(self, key: str, heard: Heard, look: Look) -> Iterator[None]:
        """Within: `heard` gets the events of the execution or session `key`; `look` is called after a lost
        connection, to look up what was missed."""
        self._listeners[key] = heard
        self._lookers.add(look)
        try:
            yield
        finally:
            self._listeners.pop(key, None)
            self._lookers.discard(look)

    async def last_event(self, kind: str, aggregate_id: str, name: str = ">") -> Event | None:
        """The last recorded one of an aggregate. Waits for the broker."""
        request = msgspec.json.encode({"last_by_subj": self._subject(kind, aggregate_id, name)})
        while True:
            try:
                reply = await self.client.ask(f"$JS.API.DIRECT.GET.{subjects.events_stream(self.node)}", request)
            except (NoAnswer, NoResponders):
                await self.client.reconnected_within(RETRY_S)
                continue
            if reply.status:
                return None
            return _event(headers_of(reply.header)["Nats-Subject"], reply.payload)

    def _subject(self, kind: str, aggregate_id: str, name: str) -> str:
        return f"tower.evt.{self.node}.{kind}.{aggregate_id}.{name}"

    def _recorded(self, subject: bytes, reply: bytes, header: bytes, payload: bytes) -> None:
        aggregate_id = subject.split(b".")[4].decode()
        asked = asked_by(aggregate_id)
        heard = self._listeners.get(aggregate_id if asked is None else asked[0])
        if heard is not None and (event := _event(subject.decode(), payload)) is not None:
            heard(event)

    def _look_again(self) -> None:
        for look in self._lookers:
            task = asyncio.get_running_loop().create_task(look())
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)


def _event(subject: str, payload: bytes) -> Event | None:
    try:
        return decode(Stored(0, subject, payload, {})).event
    except UndecodableEvent as error:
        _log.warning("an event cannot be read", subject=subject, reason=str(error))
        return None
