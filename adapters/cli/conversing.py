"""Staying with one turn of a session: prints what it says as it says it, cancels the session on Ctrl-C."""

import select
import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from adapters.cli import output
from adapters.cli.client import Row
from adapters.cli.command import Cli
from adapters.cli.failures import Failure
from adapters.cli.following import Away, Back, Broken, Feed, Happened, Output, OutputEnded
from adapters.cli.place import Place
from adapters.cli.staying import Screen, Stopping, stopping

OUTCOMES: Final = {
    "session.turn_completed": "completed",
    "session.error": "error",
    "session.cancelled": "cancelled",
    "session.timed_out": "timed_out",
}
"""Event -> how the turn went."""

REST_S: Final = 2.0
"""How long the rest of the output is waited for when the turn has ended."""


class Said(NamedTuple):
    """`position`: its place in the stream of output."""

    position: int
    turn: int
    stream: str
    text: str


class SessionFeed(Feed):
    """The events and the output of one session, without an end."""

    def __init__(self, place: Place, session_id: str, *, after: int) -> None:
        super().__init__(place, session_id, after=after, output=False)
        self._session_id = session_id
        self._follows = [self._told, self._said]
        self.said: list[Said] = []

    def _told(self) -> None:
        for event in self._events_of({"kind": "session", "id": self._session_id}):
            self._put(event)

    def _said(self) -> None:
        path = f"/v1/executions/session:{self._session_id}/output"
        for sent in self._resumed("output", path, {}, None):
            piece = sent.data
            if text := piece.get("text"):
                # Before the wake-up, which is what makes the other thread look.
                self.said.append(Said(sent.id, int(piece.get("attempt", 0)), sent.name, text))
                self._put(Output(sent.name, ""))


class Turned(NamedTuple):
    """How a turn went: the fields of its last event."""

    state: str
    data: Mapping[str, Any]
    position: int
    text: str


def converse(cli: Cli, session_id: str, turn: int, position: int, *, quiet: bool) -> Turned:
    """Until the turn has ended and what it said is printed, or kept if `quiet`. Raises `Failure`."""
    with SessionFeed(cli.place, session_id, after=0) as feed, stopping(feed) as asked:
        conversing = _Conversing(cli, feed, asked, session_id, turn, position, quiet=quiet)
        try:
            return conversing.until_the_end()
        finally:
            conversing.screen.elapsed.hide()


class _Conversing:
    def __init__(
        self,
        cli: Cli,
        feed: SessionFeed,
        stopping: Stopping,
        session_id: str,
        turn: int,
        position: int,
        *,
        quiet: bool,
    ) -> None:
        self.screen = Screen(quiet=quiet)
        self._cli = cli
        self._feed = feed
        self._stopping = stopping
        self._id = session_id
        self._turn = turn
        self._since = position
        self._quiet = quiet
        self._doing = "waiting for its turn"
        self._end: Happened | None = None
        self._ended_at = 0.0
        self._said_to = 0
        self._text: list[str] = []

    def until_the_end(self) -> Turned:
        try:
            while not self._is_over:
                self._step()
        except KeyboardInterrupt:
            self.screen.elapsed.hide()
            output.note(f"\nLeft: session {self._id} goes on. `agenttower session show {output.short(self._id)}`")
            raise
        self.screen.elapsed.hide()
        if self._text and not self._quiet and not self._text[-1].endswith("\n"):
            # What comes next begins on a line of its own.
            output.say()
        assert self._end is not None
        return Turned(OUTCOMES[self._end.name], self._end.data, self._end.position, "".join(self._text))

    @property
    def _is_over(self) -> bool:
        """It has ended, and all that it said is there, or does not come."""
        if self._end is None:
            return False
        whole = self._said_to >= int(self._end.data.get("output_position") or 0)
        return whole or self.screen.elapsed.seconds - self._ended_at > REST_S

    def _step(self) -> None:
        patience_s = REST_S / 4 if self._end is not None else self.screen.elapsed.tick_s
        select.select([self._feed], [], [], patience_s)
        for item in self._feed.take():
            match item:
                case Happened():
                    self._happened(item)
                case Away():
                    self.screen.say("The tower is away; the session is safe in its log. Waiting for it")
                case Back():
                    self.screen.say("The tower is back")
                case Broken(failure):
                    raise failure
                case OutputEnded(failure) if failure is not None:
                    self._said_to = sys.maxsize
                    self.screen.say(f"The rest of the output cannot be shown: {failure.message}")
                case _:
                    pass
        while self._feed.said:
            self._print(self._feed.said.pop(0))
        if self._end is None and self._stopping.begin():
            self._cancel()
        if self.screen.at_line_start and self._end is None:
            self.screen.elapsed.show(self._doing)

    def _happened(self, event: Happened) -> None:
        if event.name == "session.turn_started" and event.data.get("turn") == self._turn:
            self._doing = "running"
        elif event.name in OUTCOMES and event.data.get("turn") in (self._turn, None) and event.position >= self._since:
            self._end = self._end or event
            self._ended_at = self.screen.elapsed.seconds

    def _print(self, piece: Said) -> None:
        if piece.turn != self._turn:
            return
        self._said_to = piece.position
        self._text.append(piece.text)
        if self._quiet:
            return
        self.screen.write(piece.stream, piece.text)

    def _cancel(self) -> None:
        self.screen.say("Cancelling; Ctrl-C again leaves it to itself")
        try:
            Cli(self._cli.home, self._cli.node).command("session", "cancel", {"session_id": self._id})
        except Failure as failure:
            if failure.code != "session_ended":
                raise


def said_of(row: Row, turn: int) -> str:
    """The output of a turn that has ended, from the read model."""
    found = next((each for each in row["turns"] if each["turn"] == turn), None)
    return "" if found is None else found["output"]
