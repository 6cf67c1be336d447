"""Subscriptions to what sessions tell, read at the broker: each at its own pace, and seen by whoever lists them."""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec
import structlog

from adapters.nats import subjects
from adapters.nats.connection import ApiError, js_api
from adapters.nats.log import stored_headers
from adapters.nats.pulling import Lost, StreamReader, open_again
from adapters.nats.wire import NoAnswer, NoResponders, WireClient
from domain.catalogue import UndecodableEvent
from domain.envelope import Stored
from domain.sessions.hearing import ToldEvent, heard, subjects_of
from domain.sessions.telling import Wanted, wrong_patterns

PREFIX: Final = "told-"
"""Of the names of their consumers."""

WINDOW: Final = 128
"""Entries that are held for a slow subscriber; more are left to the broker."""

_log = structlog.get_logger("nats")


class Subscription:
    """Iterate it: every event once, in order, for ever. In force from `open` on; survives the broker's restarts.

    `position` is that of the last event given: whoever subscribes after it goes on with the next one. `lag`: how many
    entries that may be wanted are behind it, as far as the broker has told. Close it.
    """

    def __init__(self, client: WireClient, node: str, wanted: Wanted, after: int | None) -> None:
        """From behind the position `after`; from now on with None. Raises `ValueError` for a name of no event."""
        wrong = wrong_patterns(wanted.names)
        if wrong is not None or not wanted.names:
            raise ValueError("no name of an event" if wrong is None else f"{wanted.names[wrong[0]]!r}: not {wrong[1]}")
        self._client = client
        self._stream = subjects.events_stream(subjects.checked_node(node))
        self._subjects = subjects_of(node)
        self._wanted = wanted
        self._after = after
        self._items: deque[Stored] = deque()
        self._reader: StreamReader[Stored] | None = None
        self.position = after or 0

    @property
    def lag(self) -> int:
        reader = self._reader
        return len(self._items) + (0 if reader is None else (reader.remaining or 0) + reader.holds)

    async def open(self) -> None:
        """Done when nothing that is recorded from here on is missed. Raises `ApiError`, `NoAnswer`, `NoResponders`."""
        after = self._after
        if after is None:
            after = int((await js_api(self._client, f"STREAM.INFO.{self._stream}"))["state"]["last_seq"])
        self.position = after
        metadata = {"wanted": msgspec.json.encode(self._wanted).decode()}
        reader = StreamReader(
            self._client,
            self._stream,
            _stored,
            after=after,
            window=WINDOW,
            filter_subjects=self._subjects,
            name_prefix=PREFIX,
            metadata=metadata,
        )
        self._reader = reader
        await reader.open()

    async def close(self) -> None:
        if self._reader is not None:
            await self._reader.close()

    async def __aenter__(self) -> Self:
        if self._reader is None:
            await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ToldEvent:
        assert self._reader is not None, "not open"
        while True:
            while self._items:
                stored = self._items.popleft()
                self.position = stored.position
                told = self._told(stored)
                if told is not None:
                    return told
            try:
                self._items.extend(await self._reader.next(limit=WINDOW))
            except Lost as lost:
                await open_again(self._reader, str(lost))

    def _told(self, stored: Stored) -> ToldEvent | None:
        try:
            return heard(stored, self._wanted)
        except UndecodableEvent as error:
            _log.error("event not readable", position=stored.position, reason=str(error))
            return None


async def subscribers(client: WireClient, node: str) -> Sequence[dict[str, Any]]:
    """The subscriptions that read at the broker: id, names, sources, position, lag. None while it does not answer."""
    stream, found = subjects.events_stream(node), []
    offset = 0
    try:
        while True:
            page = await js_api(client, f"CONSUMER.LIST.{stream}", {"offset": offset})
            consumers = page.get("consumers") or []
            found += [_row(each) for each in consumers if str(each["name"]).startswith(PREFIX)]
            offset += len(consumers)
            if not consumers or offset >= int(page.get("total", 0)):
                return found
    except (ApiError, NoAnswer, NoResponders) as error:
        _log.warning("subscriptions at the broker not known", reason=str(error))
        return []


def _row(consumer: dict[str, Any]) -> dict[str, Any]:
    try:
        wanted = msgspec.json.decode(consumer["config"]["metadata"]["wanted"], type=Wanted)
    except (LookupError, TypeError, msgspec.MsgspecError):
        wanted = Wanted(())
    return {
        "id": consumer["name"],
        "names": wanted.names,
        "sources": wanted.sources,
        "position": int(consumer.get("delivered", {}).get("stream_seq", 0)),
        "lag": int(consumer.get("num_pending", 0)),
    }


def _stored(sequence: int, _stamp: bytes, subject: bytes, header: bytes, payload: bytes) -> Stored:
    return Stored(sequence, subject.decode(), payload, stored_headers(header) if header else {})
