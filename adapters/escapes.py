"""Terminal output as plain text: escape sequences and control characters taken out, bytes otherwise as they are."""

import re
from typing import Final

_HELD_BYTES: Final = 4096
"""A sequence longer than this is none."""

_NOISE: Final = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    rb"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: titles, links
    rb"|\x1b[PX^_][^\x1b]*\x1b\\"  # DCS, SOS, PM, APC
    rb"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"  # the short ones
    rb"|\r(?=\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)
_UNFINISHED: Final = re.compile(
    rb"(?:\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[PX^_][^\x1b]*\x1b?|[ -/]*)|\r)\Z",
)


class Plain:
    """Bytes in, text without the noise out; a sequence may be cut anywhere between two `feed`s."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        data = self._held + data
        cut = _UNFINISHED.search(data, max(0, len(data) - _HELD_BYTES))
        self._held = b"" if cut is None else data[cut.start() :]
        return _NOISE.sub(b"", data[: len(data) - len(self._held)])

    def end(self) -> bytes:
        """What was held back, when nothing follows."""
        held, self._held = self._held, b""
        return _NOISE.sub(b"", held)


def plain(data: bytes) -> bytes:
    """All of it at once."""
    text = Plain()
    return text.feed(data) + text.end()
