"""What the handlers need from the outside, as small Protocols. Adapters and the simulator implement them.

Every call may fail before its effect or after it with the answer lost; the exceptions below say what is known.
"""

from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from domain.containers import ContainerFacts
from domain.envelope import Stored
from domain.messages import Template


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock, timezone-aware UTC. It may step."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for time-outs and latencies."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait out a back-off or a settle time; never used to wait for a condition."""
        ...


class Ids(Protocol):
    def uuid7(self) -> str:
        """A fresh UUIDv7 in text form."""
        ...


# --- the event log -------------------------------------------------------------------------------------------------


class Entry(msgspec.Struct, frozen=True):
    """One message to append: subject, payload, headers (chain value, command position). `joined`: never without the
    one before it."""

    subject: str
    payload: bytes
    headers: Mapping[str, str]
    joined: bool = False


class LogError(Exception):
    """The event log did not take or give something. The subclasses say what is known."""


class WrongLastPosition(LogError):
    """Somebody else appended: nothing of this batch was recorded."""


class LogFull(LogError):
    """The log refuses new events (no space): nothing of this batch was recorded."""


class LogUnavailable(LogError):
    """No answer: the batch may or may not have been recorded; read the tail to know."""


class EventLog(Protocol):
    """The node's events in order. Positions are stream sequences from 1."""

    async def append(self, entries: Sequence[Entry], *, expected_last: int) -> int:
        """Append in order if the last position is `expected_last`; the position of the last entry.

        After `LogUnavailable` some of the first may be there, what is joined with its predecessor or not at all; after
        any other failure nothing is.
        """
        ...

    async def last_position(self) -> int:
        """0 for an empty log."""
        ...

    def read(self, after: int, until: int | None = None) -> AsyncIterator[Sequence[Stored]]:
        """Entries after `after`, in batches, up to `until` or to what was the end when the call was made."""
        ...

    async def get(self, position: int) -> Stored | None:
        """One entry; None if there is none at that position."""
        ...


# --- asking and answering ------------------------------------------------------------------------------------------


class Answer(msgspec.Struct, frozen=True):
    """An encoded outcome for one asker. `reply_to` is answered only if it is an inbox of `origin`."""

    origin: str
    command_id: str
    payload: bytes
    reply_to: str | None


class Outcomes(Protocol):
    async def answer(self, answers: Sequence[Answer]) -> None:
        """Publish outcomes, best effort: what is lost is answered from the log when it is asked again."""
        ...


# --- durable time --------------------------------------------------------------------------------------------------


class Due(msgspec.Struct, frozen=True):
    """A schedule that fired: its name and payload, as scheduled."""

    name: str
    payload: bytes


class TimerError(Exception):
    """The broker did not take a schedule, or its answer was lost. Scheduling or cancelling again is safe."""


class Timers(Protocol):
    """Schedules held by the broker. `name` is dot-separated subject tokens; scheduling a name again replaces it.

    All but `due` raise `TimerError`.
    """

    async def at(self, name: str, when: datetime, payload: bytes) -> None: ...

    async def every(self, name: str, interval_s: int, payload: bytes) -> None: ...

    async def cancel(self, name: str) -> None: ...

    def due(self) -> AsyncIterator[Due]:
        """Fired schedules, at least once each, acknowledged when the next one is asked for."""
        ...


# --- terminals (tmux) ----------------------------------------------------------------------------------------------


class TerminalError(Exception):
    """tmux refused: its text says why. Not transient."""


class TerminalGone(TerminalError):
    """No server or no socket: nothing of ours can be alive in this container."""


class TerminalUnreachable(TerminalError):
    """No answer in time, or the container could not be reached: nothing is known, try again."""


class SessionExists(TerminalError):
    """A tmux session of that name is there already."""


class PaneNotThere(TerminalError):
    """No pane of that id carries our id and has a living process: nothing was done."""


class PaneToCreate(msgspec.Struct, frozen=True, kw_only=True):
    """A pane to make: `pane_id` becomes the user option `@agenttower_pane_id`, `title` the pending marker title."""

    pane_id: str
    title: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str | None
    log_path: str


class SeenPane(msgspec.Struct, frozen=True, kw_only=True):
    """One tmux pane as listed. `pane_id` is our user option, None for a pane that is not ours.

    `exit_code` and `signal` are known only for dead panes, and not always then. `own_session`: its session was made by
    the tower, whatever it is called by now.
    """

    pane_id: str | None
    tmux_pane_id: str
    pid: int
    session_name: str
    own_session: bool = False
    window_index: int
    pane_index: int
    title: str
    command: str
    dead: bool
    exit_code: int | None
    signal: int | None
    piped: bool


class Terminal(Protocol):
    """The tmux server of one container."""

    async def sessions(self) -> frozenset[str]:
        """Names of its sessions, the tower's own control session left out. `TerminalGone`: no server runs."""
        ...

    async def panes(self) -> Sequence[SeenPane]:
        """All panes of all sessions but the tower's own control session."""
        ...

    async def create_session(self, session_name: str, panes: Sequence[PaneToCreate]) -> Sequence[SeenPane]:
        """A new session with these panes, tiled, each with title, user option and log pipe from its first byte, in
        one command sequence. Starts the server when none runs. Raises `SessionExists`."""
        ...

    async def add_panes(self, session_name: str, panes: Sequence[PaneToCreate]) -> Sequence[SeenPane]:
        """Split further panes into a living session, dressed as in `create_session`. `TerminalError` if it is gone."""
        ...

    async def attach_log(self, tmux_pane_id: str, pane_id: str, log_path: str) -> None:
        """Pipe the pane's output to the end of `log_path`, if it is not piped already. `TerminalError` if no pane of
        that id carries our `pane_id`: after its server ended another one may bear the number."""
        ...

    async def set_title(self, tmux_pane_id: str, pane_id: str, title: str) -> None:
        """`TerminalError` as in `attach_log`."""
        ...

    async def kill_pane(self, tmux_pane_id: str, pane_id: str) -> None:
        """Kill the pane if it still carries our `pane_id`; one already gone, with its server or alone, is success."""
        ...

    async def send_text(self, tmux_pane_id: str, pane_id: str, text: str, *, enter: bool) -> bool:
        """Paste a text into the pane, as one bracketed paste where the program asks for that, then press Enter.

        Enter comes as a key of its own, when the program has taken the paste: the pane's cursor line has changed, or
        300 ms have passed. Whether it changed. Raises `PaneNotThere` before anything is typed; after any other error
        the text may have been typed, so never send it again.
        """
        ...

    async def look(self) -> Sequence[SeenPane]:
        """`panes()` as soon as something may have died or vanished (hook, process end), else after 500 ms.

        Never misses what happened between two calls. Dead panes come with their status where tmux can be made to tell.
        """
        ...

    async def close(self) -> None: ...


class Terminals(Protocol):
    def of(self, container_id: str) -> Terminal:
        """The terminal of a registered container; the same object each time."""
        ...


# --- containers ----------------------------------------------------------------------------------------------------


class ContainersUnreachable(Exception):
    """The container engine gave no answer: says why. Nothing is known."""


class NoContainerEngine(ContainersUnreachable):
    """No engine is installed here. That says nothing of containers which were known: they are not gone."""


class ContainerEngine(Protocol):
    """The engine that runs bench containers (docker, podman)."""

    async def scan(self) -> Sequence[ContainerFacts]:
        """Every container it knows, stopped ones included: one that is left out is gone, and its panes with it.

        Raises `ContainersUnreachable`.
        """
        ...


# --- catalogues and private values ---------------------------------------------------------------------------------


class LaunchProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A named argv with env and working directory; `digest` is over all of them. Never recorded in an event.

    `resume` takes the place of `command` when the agent's own session id is known, in each `{agent_session}` of it.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = {}
    working_dir: str | None = None
    resume: tuple[str, ...] | None = None
    digest: str = ""


class LaunchSet(msgspec.Struct, frozen=True, kw_only=True):
    """Templates and launch profiles by name, as they stood together at one moment."""

    templates: Mapping[str, Template]
    profiles: Mapping[str, LaunchProfile]

    def digests(self) -> Mapping[str, str]:
        """Name -> digest of every profile."""
        return {name: profile.digest for name, profile in self.profiles.items()}


class Launching(Protocol):
    """The operator's templates and launch profiles, with the built-in ones."""

    async def current(self) -> LaunchSet:
        """What they are now, changes since the last call included. Bounded in time and never failing: while the disk
        does not answer, what was known last."""
        ...


class Texts(Protocol):
    """Texts to send, outside the log: each in a private file named by its digest. All raise `OSError`."""

    async def keep(self, send_id: str, text: str) -> str:
        """The digest, which nobody can tell the text from without the key of this store; another for each send."""
        ...

    async def get(self, digest: str) -> str | None: ...

    async def drop(self, digest: str) -> None:
        """One that is gone is no error."""
        ...

    async def prune(self, kept: Container[str], before: datetime) -> None:
        """Drop what is not in `kept` and older than `before`: of commands that were refused, or never recorded."""
        ...


class PaneLogs(Protocol):
    """The log files of panes on this machine. Raises `OSError`."""

    async def prune(self, removed: Callable[[str], bool], now: datetime) -> None:
        """Delete the logs of panes that are `removed` (asked by pane id) and were known to be so for long enough."""
        ...


class Vault(Protocol):
    """Private values by digest, outside the log (working directories). Both raise `OSError`."""

    async def put(self, value: str) -> str: ...

    async def get(self, digest: str) -> str | None: ...
