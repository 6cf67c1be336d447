"""Staying with one execution: prints what it prints, asks what it asks, cancels it on Ctrl-C, until it ends."""

import select
from typing import Any, Final

from adapters.cli import output
from adapters.cli.answering import Lines
from adapters.cli.client import Row
from adapters.cli.command import Cli
from adapters.cli.failures import Failure
from adapters.cli.following import (
    ENDS,
    Away,
    Back,
    Broken,
    Feed,
    Happened,
    Item,
    NotKept,
    Output,
    OutputEnded,
)
from adapters.cli.questions import Questions
from adapters.cli.staying import Screen, Stopping, stopping

BEFORE_S: Final = 0.1
"""A question waits for the end of what was printed before it, which comes on another way."""

AT_LAST_S: Final = 1.0
"""Though more and more is printed, it is asked then."""

SILENT_S: Final = 0.5
"""After so long an answer that did not arrive is sent again, and no more output comes of what is paused."""

_DOING: Final = {
    "requested": "waiting for its turn",
    "running": "running",
    "retrying": "waiting for the next attempt",
    "paused": "paused",
}
_BECOMES: Final = {
    "execution.started": "running",
    "execution.resumed": "requested",
    "execution.retry_scheduled": "retrying",
}


class Watched:
    """How it ended: `state`, the fields of its last event as `data`, `position` of that; what it printed, if that was
    not shown."""

    def __init__(self) -> None:
        self.state = ""
        self.data: dict[str, Any] = {}
        self.position = 0
        self.stdout: list[str] = []
        self.stderr: list[str] = []


def watch(cli: Cli, execution_id: str, position: int, lines: Lines, *, shows: bool, quiet: bool) -> Watched:
    """Until it has ended, and all its output is printed (`shows`) or kept (`quiet` too). Raises `Failure`."""
    row = cli.queries.get(f"/v1/executions/{execution_id}", after=position)
    with Feed(cli.place, execution_id, after=position, output=shows) as feed, stopping(feed) as asked:
        watching = _Watching(cli, feed, asked, row, lines, shows=shows, quiet=quiet)
        try:
            return watching.until_the_end()
        finally:
            watching.screen.elapsed.hide()


class _Watching:
    def __init__(
        self, cli: Cli, feed: Feed, stopping: Stopping, row: Row, lines: Lines, *, shows: bool, quiet: bool
    ) -> None:
        self.screen = Screen(quiet=quiet)
        self._cli = cli
        self._feed = feed
        self._stopping = stopping
        self._id: Final[str] = row["id"]
        self._lines = lines
        self._quiet = quiet
        self._watched = Watched()
        self._state: str = row["state"]
        self._is_away = False
        self._output_ended = not shows
        self._unasked_since = 0.0
        self._answers: list[tuple[int, str | None]] = []
        self._questions = Questions(lines)
        for question in row.get("input_requests") or ():
            self._questions.opened(int(question["n"]), question)
        if self._state in ENDS.values() or self._state == "paused":
            self._ended(self._state, row, position=0)

    def until_the_end(self) -> Watched:
        try:
            while not (self._watched.state and self._output_ended):
                self._step()
        except KeyboardInterrupt:
            self.screen.elapsed.hide()
            output.note(f"\nLeft: execution {self._id} goes on. `agenttower exec follow {output.short(self._id)}`")
            raise
        self.screen.elapsed.hide()
        self.screen.fresh_line()
        return self._watched

    def _step(self) -> None:
        wanted: list[Any] = [self._feed]
        if self._questions.is_open and not self._lines.is_ready:
            wanted.append(self._lines)
        ready, _, _ = select.select(wanted, [], [], self._patience_s)
        if not self._questions.is_unasked:
            self._unasked_since = self.screen.elapsed.seconds
        elif not ready or self.screen.elapsed.seconds - self._unasked_since > AT_LAST_S:
            self._questions.prompt()
        if self._watched.state == "paused" and not ready:
            # Output of a paused one has no end: it may go on.
            self._output_ended = True
        for item in self._feed.take():
            self._take(item)
        if self._lines in ready:
            self._lines.read()
        while self._questions.is_open and self._lines.is_ready:
            self._answers.append(self._questions.answered())
        while self._answers and not self._is_away and self._sent(*self._answers[0]):
            del self._answers[0]
        if not self._watched.state and self._stopping.begin():
            self._cancel()
        if not self._questions.is_open and self.screen.at_line_start:
            self.screen.elapsed.show("the tower is away" if self._is_away else _DOING.get(self._state, self._state))

    @property
    def _patience_s(self) -> float | None:
        if self._questions.is_unasked:
            return BEFORE_S
        return SILENT_S if self._answers or self._watched.state == "paused" else self.screen.elapsed.tick_s

    def _take(self, item: Item) -> None:
        match item:
            case Output():
                self._print(item)
            case NotKept():
                self._say(f"[{item.size_bytes} bytes of output were not kept]")
            case OutputEnded():
                self._output_ended = True
                if item.failure is not None:
                    self._say(f"The rest of the output cannot be shown: {item.failure.message}")
            case Happened():
                self._happened(item)
            case Away():
                self._is_away = True
                self._say("The tower is away; the execution is safe in its log. Waiting for it")
            case Back():
                self._is_away = False
                self._say("The tower is back")
            case Broken():
                if not self._watched.state:
                    raise item.failure

    def _happened(self, event: Happened) -> None:
        if event.name in ENDS:
            self._ended(ENDS[event.name], event.data, event.position)
        elif event.name == "execution.paused":
            self._ended("paused", event.data, event.position)
        elif event.name == "promise.created":
            self._asked(event)
        elif event.name.startswith("promise."):
            self._questions.settled(_number(event.subject), event.name)
        elif event.name in _BECOMES:
            self._state = _BECOMES[event.name]
            if event.name == "execution.retry_scheduled":
                self._say(f"Attempt {event.data['attempt']} {_WENT[event.data['reason']]}; it runs again")

    def _asked(self, event: Happened) -> None:
        data = event.data.get("data") or {}
        if data.get("kind") == "input":
            self.screen.elapsed.hide()
            self._questions.opened(_number(event.subject), data)

    def _ended(self, state: str, data: Row, position: int) -> None:
        self._watched.state, self._watched.data, self._watched.position = state, data, position
        self._questions.close()

    def _print(self, piece: Output) -> None:
        if self._quiet:
            (self._watched.stderr if piece.stream == "stderr" else self._watched.stdout).append(piece.text)
            return
        self.screen.elapsed.hide()
        if self._questions.is_on_its_line:
            output.note("")
        if self.screen.write(piece.stream, piece.text):
            self._questions.ask_below()

    def _sent(self, n: int, value: str | None) -> bool:
        """Whether an answer is done with. Nobody knows whether one without an outcome arrived: the same once more does
        no harm."""
        data: dict[str, object] = {"execution_id": self._id, "n": n, "value": value}
        try:
            Cli(self._cli.home, self._cli.node).command("execution", "answer", data, nulls=True)
        except Failure as failure:
            if failure.code in ("", "tower_busy", "temporarily_unavailable", "outcome_pending"):
                return False
            if failure.code == "validation_failed":
                self._say(str(failure.details.get("reason", failure.message)))
                self._questions.ask_again(n)
            elif failure.code not in ("promise_already_settled", "execution_already_ended"):
                raise
        return True

    def _cancel(self) -> None:
        self._say("Cancelling; Ctrl-C again leaves it to itself")
        self._questions.close()
        try:
            Cli(self._cli.home, self._cli.node).command("execution", "cancel", {"execution_id": self._id})
        except Failure as failure:
            if failure.code != "execution_already_ended":
                raise

    def _say(self, text: str) -> None:
        self.screen.elapsed.hide()
        if self._questions.is_on_its_line:
            output.note("")
        self.screen.say(text)
        self._questions.ask_below()


_WENT: Final = {"failed": "failed", "lost": "is lost"}


def _number(promise_id: str) -> int:
    return int(promise_id.rpartition(":")[2])
