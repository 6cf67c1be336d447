"""`agenttower pane logs`: what a pane printed, its end or as it goes on.

Read from the file itself where that is on this machine, so that it is there while no tower runs; else asked of the
tower, which reads it in the container.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from adapters.cli import output, references
from adapters.cli.client import Row
from adapters.cli.command import Cli, Json
from adapters.cli.failures import Failure
from adapters.cli.panes import PaneReference
from adapters.cli.settling import event_name
from adapters.escapes import Plain, plain
from adapters.tailing import Tail, changes

LOOK_AGAIN_S: Final = 1.0
"""A belt: on file systems that tell of no changes, the file is looked at this often."""

FOLDERS: Final = ("logs/panes", "bench/logs/panes")
"""Below the home: where logs stand on this machine."""


def logs(
    cli: Cli,
    pane: PaneReference,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is printed from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines from the end; 0 for none.")] = 100,
    since_start: Annotated[bool, typer.Option("--since-start", help="All that is kept, not the last lines.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Keep terminal sequences, as the pane printed them.")] = False,
    as_json: Json = False,
) -> None:
    """Print what a pane printed, as text; follow it until the pane is removed."""
    if follow and as_json:
        raise typer.BadParameter("--json does not go with --follow", param_hint="--follow")
    found, tower = _found(cli, pane)
    wanted = None if since_start else lines
    if not found.get("log_path"):
        raise Failure(f"pane {found['id']} has no log: it is {found['state']}", "a log is attached once a pane runs")
    path = Path(found["log_path"])
    if tower and (cli.place.socket is not None or not _is_here(cli, path)):
        _from_tower(cli, found, wanted, follow=follow, raw=raw, as_json=as_json)
        return
    end = _End(cli, found, watched=tower and follow)
    tail = Tail(str(path))
    try:
        begun = tail.begin(wanted)
        if as_json:
            _say_json(found, b"".join(begun), raw=raw)
        else:
            _print(_followed(tail, path, begun, end) if follow else begun, raw=raw)
    except FileNotFoundError as error:
        raise Failure(f"the log {path} of pane {found['id']} is gone") from error
    except PermissionError as error:
        raise Failure(f"the log {path} cannot be read", "run this as the tower's user") from error
    finally:
        tail.close()
    end.say(tail.missed)


def _found(cli: Cli, reference: str) -> tuple[Row, bool]:
    """The pane, and whether a tower told of it; without one it goes by the id that its log is named for."""
    if cli.place.socket is not None or cli.place.running() is not None:
        position = cli.queries.get("/v1/panes", limit=1)["position"]
        return {**references.pane(cli.queries, reference), "position": position}, True
    logs = [path for folder in FOLDERS for path in sorted((cli.place.home / folder).glob("*.log"))]
    named = [path for path in logs if path.stem.startswith(reference) or path.stem.endswith(reference)]
    if not named:
        node, home = cli.place.node or "local", cli.place.home
        raise Failure(
            f"no tower runs for node {node} (home {home}): start one with `agenttower up`",
            f"no log there is of a pane whose id begins or ends with {reference!r}, and labels need a tower",
        )
    if len(named) > 1:
        raise Failure(f"{reference!r} stands for {len(named)} logs", "\n".join(path.stem for path in named[:8]))
    return {"id": named[0].stem, "state": "unknown", "log_path": str(named[0])}, False


def _is_here(cli: Cli, path: Path) -> bool:
    """In a container without the bench folder the log has a path that means nothing on this machine."""
    return any(path.is_relative_to(cli.place.home / folder) for folder in FOLDERS)


def _print(blocks: Iterator[bytes], *, raw: bool) -> None:
    text = Plain()
    for block in blocks:
        _emit(block if raw else text.feed(block))
    _emit(b"" if raw else text.end())


def _say_json(found: Row, data: bytes, *, raw: bool) -> None:
    text = (data if raw else plain(data)).decode("utf-8", "replace")
    lines = text.split("\n")
    output.say_json(
        {"pane_id": found["id"], "path": found["log_path"], "lines": lines[:-1] if not lines[-1] else lines}
    )


def _from_tower(cli: Cli, found: Row, lines: int | None, *, follow: bool, raw: bool, as_json: bool) -> None:
    query = {"lines": "all" if lines is None else lines, "follow": str(follow).lower()}
    blocks = cli.queries.read(f"/v1/panes/{found['id']}/log", query)
    if as_json:
        _say_json(found, b"".join(blocks), raw=raw)
        return
    _print(blocks, raw=raw)
    if follow:
        _say(f"The log of pane {found['id']} has ended")


class _End:
    """Learns from the tower that a pane is removed or recreated; there is nothing more to come then."""

    def __init__(self, cli: Cli, found: Row, *, watched: bool) -> None:
        self._pane_id = found["id"]
        self._reason = "removed" if watched and found["state"] == "removed" else None
        self.over = threading.Event()
        self.changed: Callable[[], None] = lambda: None
        if self._reason is not None:
            self.over.set()
        elif watched:
            after = found.get("position")
            threading.Thread(target=self._watch, args=(cli, after), daemon=True).start()

    def say(self, missed: bool) -> None:
        if missed:
            _say("Some output was gone before it could be shown: it came faster than it was read")
        if self._reason is not None:
            _say(f"Pane {self._pane_id} is {self._reason}")

    def _watch(self, cli: Cli, after: int | None) -> None:
        try:
            for _, event in cli.queries.stream({"kind": "pane"}, after=after):
                name, data = event_name(event), event.get("data", {})
                if name == "pane.removed" and event.get("subject") == self._pane_id:
                    self._reason = "removed"
                elif name == "pane.recreated" and data.get("predecessor_id") == self._pane_id:
                    self._reason = f"recreated as {data.get('pane_id')}"
                if self._reason is not None:
                    self.over.set()
                    self.changed()
                    return
        except (Failure, TimeoutError):
            return  # the tower is gone; the log may still be written


def _followed(tail: Tail, path: Path, begun: Iterator[bytes], end: _End) -> Iterator[bytes]:
    """What is there and what comes, until the end or an interrupt."""
    changed = threading.Event()
    end.changed = changed.set
    with changes(path, changed.set):
        yield from begun
        while not end.over.is_set():
            changed.clear()
            yield from tail.more()
            changed.wait(LOOK_AGAIN_S)
        yield from tail.more()


def _emit(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _say(text: str) -> None:
    """Not on stdout: that is the pane's."""
    typer.echo(text, err=True)
