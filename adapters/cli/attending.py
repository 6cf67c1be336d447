"""`agenttower session attach`: a session shown in this terminal, or in this pane, as it goes on; or posted to a URL."""

import select
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from adapters.cli import complete, output, references
from adapters.cli.answering import keyboard, standard_input
from adapters.cli.client import Row, Sent
from adapters.cli.command import Cli
from adapters.cli.failures import Failure
from adapters.cli.following import Away, Back, Broken, Feed, Happened
from adapters.cli.place import Place
from adapters.cli.posting import Poster
from adapters.cli.questions import Questions
from adapters.cli.staying import interrupts

if TYPE_CHECKING:
    from rich.console import Console

Policy = Literal["notify", "restart", "ignore"]

LAST: Final = frozenset({"end", "restart", "replaced"})
"""Behind one of these there is nothing."""

ASKS: Final = frozenset({"input_requested", "approval_requested"})
APPROVALS: Final = ("yes", "no")


def attach(
    cli: Cli,
    session: Annotated[
        str, typer.Argument(metavar="SESSION", help="Id, its beginning or end.", autocompletion=complete.sessions)
    ],
    name: Annotated[
        str | None, typer.Option(help="A name for this surface: one that attaches again under it takes its place.")
    ] = None,
    bundle_reloaded: Annotated[
        Policy, typer.Option(help="When its bundle was loaded anew: say so; also end when it rests; or nothing.")
    ] = "notify",
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Post each event there as JSON, until it is taken, in order.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="PLACE", help="Go on behind this id of an event, as it was shown or posted.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One event a line, with its id.")] = False,
) -> None:
    """Show a session as it goes on, from its beginning: what it is told, says and asks. You may answer.

    Ends with the session; Ctrl-C leaves it to itself. Runs on over a restart of the tower.
    """
    session_id = references.session_id(cli.queries, session)
    query = {"surface": name, "bundle_reloaded": bundle_reloaded}
    poster = None if webhook is None else Poster(webhook, session_id)
    with SurfaceFeed(cli.place, session_id, query, since) as feed:
        if poster is not None:
            _post_all(feed, poster)
        else:
            _Attending(cli, feed, session_id, as_json=as_json).until_the_end()


class SurfaceFeed(Feed):
    """The events of a surface, by the names that they have there."""

    def __init__(self, place: Place, session_id: str, query: Mapping[str, object], since: str | None) -> None:
        super().__init__(place, session_id, after=0, output=False)
        self._path = f"/v1/sessions/{session_id}/stream"
        self._query = query
        self._since = since
        self._follows = [self._shown]

    def _shown(self) -> None:
        for sent in self._resumed("surface", self._path, self._query, self._since):
            self._put(Happened(sent.name, sent.place, sent.data, 0))
            if sent.name in LAST:
                return


def _post_all(feed: SurfaceFeed, poster: Poster) -> None:
    while True:
        select.select([feed], [], [])
        for item in feed.take():
            match item:
                case Happened(name, place, data, _):
                    poster.post(Sent(0, name, data, place))
                    if name in LAST:
                        return
                case Broken(failure):
                    raise failure
                case _:
                    pass


class _Attending:
    def __init__(self, cli: Cli, feed: SurfaceFeed, session_id: str, *, as_json: bool) -> None:
        self._cli = cli
        self._feed = feed
        self._id = session_id
        self._as_json = as_json
        self._lines = keyboard() if as_json else standard_input()
        self._questions = Questions(self._lines)
        self._promises: list[str] = []
        """Of the questions, which are counted from 0."""
        self._out: Console = output.console()
        self._at_line_start = True
        self._over = False

    def until_the_end(self) -> None:
        try:
            with interrupts(self._feed, signal.default_int_handler):
                while not self._over:
                    self._step()
        except KeyboardInterrupt:
            output.note("")
        finally:
            self._questions.close()

    def _step(self) -> None:
        answers = self._questions.is_open and not self._as_json
        if answers:
            self._fresh_line()
            self._questions.prompt()
        if answers and self._lines.is_ready:
            self._answer()
            return
        ready, _, _ = select.select([self._feed, *([self._lines] if answers else [])], [], [])
        if self._lines in ready:
            self._lines.read()
        for item in self._feed.take():
            match item:
                case Happened(name, place, data, _):
                    self._happened(name, place, data)
                case Away():
                    self._aside("The tower is away; the session is safe in its log. Waiting for it")
                case Back():
                    self._aside("The tower is back")
                case Broken(failure):
                    raise failure
                case _:
                    pass

    def _happened(self, name: str, place: str, data: Row) -> None:
        self._over = self._over or name in LAST
        if self._as_json:
            output.say_json({"id": place, "event": name, "data": data})
        elif name == "output":
            self._write(data["text"])
        elif name in ASKS:
            self._promises.append(data["promise_id"])
            self._questions.opened(len(self._promises) - 1, _question(name, data))
        elif name == "answered":
            if data["promise_id"] in self._promises:
                number = self._promises.index(data["promise_id"])
                self._questions.settled(number, f"promise.{data['state']}")
        elif text := told(name, data):
            self._note(text)

    def _answer(self) -> None:
        number, line = self._questions.answered()
        value: object = line
        if line is None:
            if not self._lines.is_terminal:
                # Nobody is here to answer; somebody elsewhere may be.
                self._questions.close()
            return
        promise_id = self._promises[number]
        try:
            Cli(self._cli.home, self._cli.node).command("promise", "resolve", {"id": promise_id, "value": value})
        except Failure as failure:
            if failure.code != "promise_already_settled":
                raise
            self._aside("(answered elsewhere)")

    def _write(self, text: str) -> None:
        """As it was printed; a question below it is asked again."""
        self._questions.ask_below()
        if self._questions.is_open and not self._at_line_start:
            output.note("")
        from rich.text import Text

        self._out.print(Text(text), end="", soft_wrap=True)
        self._out.file.flush()
        self._at_line_start = text.endswith("\n")

    def _note(self, text: str) -> None:
        from rich.text import Text

        self._fresh_line()
        self._questions.ask_below()
        self._out.print(Text(text, style="dim"), soft_wrap=True)

    def _aside(self, text: str) -> None:
        """On stderr: no part of the session."""
        if not self._as_json:
            self._fresh_line()
        self._questions.ask_below()
        output.note(text)

    def _fresh_line(self) -> None:
        if not self._at_line_start:
            self._out.print()
            self._at_line_start = True


def told(name: str, data: Mapping[str, Any]) -> str:
    """What a person is told of an event besides output and questions; empty for nothing."""
    match name:
        case "spawned":
            return f"{data['session_name']}, from {data['bundle']['name']}"
        case "instructed":
            return "\n".join(f"> {line}" for line in (data.get("instruction") or "(long)").splitlines())
        case "error":
            return f"{data['error_type']}: {data['error']}"
        case "cancelled" | "timed_out":
            return f"({name.replace('_', ' ')})"
        case "stop_requested":
            return f"(to be stopped: {data['reason'].replace('_', ' ')})"
        case "bundle_reloaded":
            return "(its bundle was loaded anew; it keeps what it was spawned from)"
        case "truncated":
            return f"({data['bytes']} bytes are not kept)"
        case "restart":
            return "(its bundle was loaded anew: spawn it again)"
        case "replaced":
            return "(shown elsewhere, under the same name)"
        case "end":
            return "(ended)"
        case _:
            return ""


def _question(name: str, data: Mapping[str, Any]) -> Row:
    asked = data.get("data")
    fields: Mapping[str, Any] = asked if isinstance(asked, Mapping) else {}
    choices = fields.get("choices") or (APPROVALS if name == "approval_requested" else None)
    return {"prompt": str(fields.get("prompt") or "? "), "choices": choices, "secret": False}
