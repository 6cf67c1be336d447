"""`list-panes` as `SeenPane`s. Programs choose titles and command names, so nothing in them may pass for structure."""

import secrets
from collections.abc import Iterable, Sequence

from adapters.tmux.address import CONTROL_SESSION_PREFIX
from adapters.tmux.quoting import Command
from handlers.ports import SeenPane

PANE_OPTION = "@agenttower_pane_id"
SESSION_OPTION = "@agenttower_session"

# Not a named class: the colon would end the modifier.
_CONTROL = "[\x01-\x1f\x7f]"

_FIELDS = (
    "#{" + PANE_OPTION + "}",
    "#{pane_id}",
    "#{pane_pid}",
    "#{window_index}",
    "#{pane_index}",
    "#{pane_dead}",
    "#{pane_dead_status}",
    "#{pane_dead_signal}",
    "#{pane_pipe}",
    "#{" + SESSION_OPTION + "}",
    "#{session_name}",
    # A line feed in a title or a process name would begin a line of its own.
    "#{s/" + _CONTROL + "/?/:pane_title}",
    "#{s/" + _CONTROL + "/?/:pane_current_command}",
)


class Listing:
    """One `list-panes` request: the command to run and the reader of its output. The separator is random each time."""

    def __init__(self) -> None:
        self._separator = f"|{secrets.token_hex(8)}|"

    def command(self, *words: str) -> Command:
        """`list-panes` with the given scope (`-a`, or `-s -t SESSION`)."""
        return ["list-panes", *words, "-F", self._separator + self._separator.join(_FIELDS)]

    def read(self, lines: Iterable[str]) -> tuple[SeenPane, ...]:
        """The panes, each once, the control sessions' left out; lines of other commands are passed over.

        A window linked into several sessions (an operator's grouped session) counts for the one that the tower made.
        """
        seen: dict[str, SeenPane] = {}
        for line in lines:
            _, *fields = line.split(self._separator)
            if len(fields) != len(_FIELDS) or fields[10].startswith(CONTROL_SESSION_PREFIX):
                continue
            pane = _pane(fields)
            if pane.tmux_pane_id not in seen or fields[9]:
                seen[pane.tmux_pane_id] = pane
        return tuple(seen.values())


def _pane(fields: Sequence[str]) -> SeenPane:
    (
        own_id,
        tmux_pane_id,
        pid,
        window_index,
        pane_index,
        dead,
        status,
        signal,
        piped,
        own_session,
        session,
        title,
        command,
    ) = fields
    return SeenPane(
        pane_id=own_id or None,
        tmux_pane_id=tmux_pane_id,
        pid=int(pid),
        session_name=session,
        own_session=bool(own_session),
        window_index=int(window_index),
        pane_index=int(pane_index),
        title=title,
        command=command,
        dead=dead == "1",
        exit_code=int(status) if status else None,
        signal=int(signal) if signal else None,
        piped=piped == "1",
    )
