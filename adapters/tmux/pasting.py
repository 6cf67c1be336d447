"""Typing a text into a pane: a paste, a look whether the program took it, then Enter as a key of its own.

Agents swallow an Enter that comes together with a paste. Nobody tells when a program has read its input; what can be
seen is the line that the cursor is on.
"""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Final

from adapters.tmux.link import Link
from adapters.tmux.quoting import Command, sequence
from adapters.tmux.sequences import is_ours, pane_target
from handlers.ports import PaneNotThere

SEEN_S: Final = 0.3
"""How long a paste may take to show."""

LOOK_EVERY_S: Final = 0.01
STILL_S: Final = 0.03
"""A cursor line that has changed and stays as it is for so long: the program has taken what there was."""

_CURSOR: Final = "#{cursor_y} #{cursor_x} #{history_size}"
_TYPED: Final = "agenttower-typed"

Line = tuple[str, str]
"""Where the cursor is, and the text of its line."""


async def send_text(link: Link, tmux_pane_id: str, pane_id: str, text: str, *, enter: bool) -> bool:
    """Whether the text was seen to arrive. Raises `PaneNotThere` before anything is typed."""
    before = await _cursor_line(link, tmux_pane_id, pane_id)
    await _type(link, tmux_pane_id, pane_id, pasted(text), bracketed=True)
    seen = await _taken(link, tmux_pane_id, pane_id, before)
    if enter:
        # A paste as well, of the one byte that the key sends: in copy mode tmux would take the key for itself.
        await _type(link, tmux_pane_id, pane_id, "\r", bracketed=False)
    return seen


def pasted(text: str) -> str:
    """The text as it goes into the buffer. One line end is one line feed, which tmux types as Enter would be.

    A text must not end the bracket that it is pasted in: what follows would be taken for keys.
    """
    lines = text.replace("\r\n", "\n")
    return lines.replace("\x1b[200~", "\u241b[200~").replace("\x1b[201~", "\u241b[201~")


async def _type(link: Link, tmux_pane_id: str, pane_id: str, text: str, *, bracketed: bool) -> None:
    """In one sequence, so that what is typed meets no other pane than the one that carries our id."""
    typed = await link.run(paste(tmux_pane_id, pane_id, text, bracketed=bracketed))
    if _TYPED not in typed:
        raise PaneNotThere(f"no living pane {pane_id} at {tmux_pane_id}")


def paste(tmux_pane_id: str, pane_id: str, text: str, *, bracketed: bool) -> list[Command]:
    """Prints `_TYPED` if the pane is ours, lives, and got the text."""
    target, buffer = pane_target(tmux_pane_id), f"agenttower-{secrets.token_hex(8)}"
    # -r: a buffer's line feeds are typed as carriage returns otherwise, which is what a paste wants.
    how = ["-p"] if bracketed else ["-r"]
    type_it = sequence(
        [["paste-buffer", *how, "-d", "-b", buffer, "-t", target], ["display-message", "-p", _TYPED]],
    )
    forget_it = sequence([["delete-buffer", "-b", buffer]])
    return [
        ["set-buffer", "-b", buffer, "--", text],
        ["if-shell", "-F", "-t", target, _living(target, pane_id), type_it, forget_it],
    ]


def _living(target: str, pane_id: str) -> str:
    return f"#{{&&:{is_ours(target, pane_id)},#{{==:#{{pane_dead}},0}}}}"


async def _taken(link: Link, tmux_pane_id: str, pane_id: str, before: Line) -> bool:
    """Until the cursor line has changed and rests, at most `SEEN_S`; whether it changed."""
    loop = asyncio.get_running_loop()
    end = loop.time() + SEEN_S
    last, changed_at = before, 0.0
    while (now := loop.time()) < end and not (last != before and now - changed_at >= STILL_S):
        line = await _cursor_line(link, tmux_pane_id, pane_id)
        if line != last:
            last, changed_at = line, loop.time()
        await asyncio.sleep(LOOK_EVERY_S)
    return last != before


async def _cursor_line(link: Link, tmux_pane_id: str, pane_id: str) -> Line:
    target = pane_target(tmux_pane_id)
    look = sequence([["display-message", "-p", "-t", target, _CURSOR], ["capture-pane", "-p", "-t", target]])
    lines = await link.run([["if-shell", "-F", "-t", target, is_ours(target, pane_id), look]], repeatable=True)
    if not lines:
        raise PaneNotThere(f"no pane {pane_id} at {tmux_pane_id}")
    return _line(lines)


def _line(lines: Sequence[str]) -> Line:
    cursor, *screen = lines
    row = int(cursor.partition(" ")[0])
    # Empty lines at the end are not printed by every tmux.
    return cursor, screen[row] if row < len(screen) else ""
