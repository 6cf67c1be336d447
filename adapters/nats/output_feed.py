"""The output of one execution out of `TOWER_OUTPUT_{node}`: what is there, then what comes, until it has ended."""

from typing import Final, Self

import msgspec

from adapters.nats import subjects
from adapters.nats.connection import ApiError
from adapters.nats.output import ATTEMPT_HEADER, OFFSET_HEADER
from adapters.nats.pulling import Lost, StreamReader, open_again
from adapters.nats.wire import Disconnected, NoAnswer, NoResponders, WireClient, headers_of
from handlers.execution_ports import OutputError

WINDOW: Final = 16
"""Messages of up to 64 KiB that are held for a slow reader."""


class OutputPiece(msgspec.Struct, frozen=True, kw_only=True):
    """`sequence` is its place in the stream, to go on reading after it. `offset` is how many bytes its attempt had
    written before: more than one has read means that some in the middle was not kept."""

    sequence: int
    stream: str
    text: str
    attempt: int
    offset: int

    @property
    def end(self) -> int:
        """The offset of what follows it."""
        return self.offset + len(self.text.encode())


class OutputFeed:
    """Iterate it; each step gives pieces in order, at least one. After `finish()` it stops behind the last piece.

    Survives the broker's restarts. Close it (`contextlib.aclosing`) when done. A slow reader holds back only itself.
    """

    def __init__(
        self, client: WireClient, node: str, execution_id: str, *, after: int = 0, ended: bool = False
    ) -> None:
        """From behind the sequence `after`. `ended`: nothing will be written any more, or that is not to be waited
        for."""
        self._reader = StreamReader(
            client,
            subjects.output_stream(node),
            _piece,
            after=after,
            window=WINDOW,
            filter_subject=f"{subjects.output_prefix(node, execution_id)}.*",
        )
        self._is_open = False
        self._ended = ended
        self._is_whole = False
        self._until: int | None = None

    def finish(self, position: int | None = None) -> None:
        """All output is in the stream by now; the last of it at `position`, where that is known (0 for none)."""
        self._ended = True
        self._until = position
        self._reader.wake()

    async def open(self) -> None:
        """Done by the first step otherwise, which waits for a broker that is away. Raises `OutputError`."""
        try:
            await self._open()
        except (ApiError, NoAnswer, NoResponders) as error:
            raise OutputError(str(error)) from error

    async def _open(self) -> None:
        whole = self._ended
        await self._reader.open()
        self._is_open, self._is_whole = True, whole

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[OutputPiece]:
        while True:
            if self._until is not None and self._reader.last >= self._until and not self._reader.holds:
                raise StopAsyncIteration
            if not self._is_open or (self._ended and not self._is_whole):
                # At the end too: a new consumer is told how much there is behind what was read.
                await self._open_patiently()
            if self._is_whole and self._reader.exhausted:
                raise StopAsyncIteration
            try:
                if pieces := await self._reader.next():
                    return pieces
            except Lost as lost:
                await self._again(str(lost))

    async def _open_patiently(self) -> None:
        try:
            await self._open()
        except (ApiError, Disconnected, NoResponders) as error:
            await self._again(str(error))
        except NoAnswer as error:
            if not self._is_open:
                # As nobody answers whoever may not read.
                raise OutputError(str(error)) from error
            await self._again(str(error))

    async def _again(self, why: str) -> None:
        whole = self._ended
        try:
            await open_again(self._reader, why)
        except ApiError as error:
            raise OutputError(str(error)) from error
        self._is_open, self._is_whole = True, whole

    async def aclose(self) -> None:
        await self._reader.close()


def _piece(sequence: int, _stamp: bytes, subject: bytes, header: bytes, payload: bytes) -> OutputPiece:
    headers = headers_of(header) if header else {}
    return OutputPiece(
        sequence=sequence,
        stream=subject.rpartition(b".")[2].decode(),
        text=payload.decode("utf-8", "replace"),
        attempt=_number(headers.get(ATTEMPT_HEADER)),
        offset=_number(headers.get(OFFSET_HEADER)),
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdigit() else 0
