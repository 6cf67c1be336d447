"""The log of a pane as text, as far as it goes or as it goes on."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from starlette.types import Send

from adapters.escapes import Plain
from adapters.http.stream import Streaming, Streams


class LogStream(Streaming):
    """`blocks` are its bytes; terminal sequences are taken out of them unless `raw`."""

    media_type = "text/plain"

    def __init__(self, blocks: AsyncIterator[bytes], *, streams: Streams, raw: bool) -> None:
        super().__init__(streams)
        # A browser that follows shows each part at once.
        self.headers["x-accel-buffering"] = "no"
        self._blocks: Any = blocks
        self._raw = raw

    async def pump(self, send: Send) -> None:
        text = Plain()
        async with aclosing(self._blocks):
            async for block in self._blocks:
                body = block if self._raw else text.feed(block)
                if body:
                    await send({"type": "http.response.body", "body": body, "more_body": True})
        if rest := text.end():
            await send({"type": "http.response.body", "body": rest, "more_body": True})
