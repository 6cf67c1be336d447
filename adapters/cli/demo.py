"""`agenttower demo`: a layout is made, broken, repaired and recovered before your eyes, with real parts throughout."""

import os
import signal
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import typer

from adapters.cli import output
from adapters.cli.client import Row, command
from adapters.cli.command import Cli, register
from adapters.cli.doctor import python, tmux
from adapters.cli.events import what
from adapters.cli.failures import Failure
from adapters.cli.panes import PANE_COLUMNS, pane_cells
from adapters.cli.settling import event_name, settled

if TYPE_CHECKING:
    from adapters.cli.child_tower import ChildTower

TEMPLATE: Final = "1m+2s"
SESSION: Final = "demo"
WIDTH: Final = 80
TRAIL_COLUMNS: Final = ("POS", "TIME", "EVENT", "PANE", "BY", "WHAT")
SEEN_WITHIN_S: Final = 20.0
"""How long the demo waits for something to be seen before it says that it failed."""


def add(app: typer.Typer, _groups: dict[str, typer.Typer]) -> None:
    register(app, "demo")(demo)


def demo(_cli: Cli) -> None:
    """Show what a tower does: create, break, repair, crash, recover, verify. Nothing of it stays."""
    for finding in (python(), tmux()):
        if finding.level == "broken":
            raise Failure(f"{finding.name}: {finding.said}", finding.fix)
    from adapters.cli.child_tower import ChildTower
    from adapters.system import SystemClock

    before = signal.signal(signal.SIGTERM, _interrupt)
    clock = SystemClock()
    started = clock.monotonic()
    try:
        with ChildTower() as tower:
            Demo(tower).run()
            _heading("Cleaning up")
        _must(not tower.home.exists(), "the tower and its tmux server have ended, their folder is removed")
        output.say()
        output.say(f"That was AgentTower, in {clock.monotonic() - started:.0f} s. Yours: `agenttower up`")
    except KeyboardInterrupt:
        output.note("\nInterrupted; the tower, its tmux server and its folder are removed.")
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


class Demo:
    """The steps, in order; each says what it does, does it, and checks what came of it."""

    def __init__(self, tower: "ChildTower") -> None:
        from adapters.system import SystemClock

        self._tower = tower
        self._clock = SystemClock()

    def run(self) -> None:
        output.say(f"A tower of its own in {self._tower.home}, removed at the end.")
        output.say("All its parts are real: nats-server, tmux, SQLite, processes and signals.")
        self.start()
        layout = self.create()
        victim = self.break_one(layout)
        self.repair(layout, victim)
        self.crash(layout["id"])
        self.audit()

    def start(self) -> None:
        _heading("Starting a tower", "agenttower up")
        took_s = self._tower.start()
        running = self._tower.running
        output.say(f"  http {running.http}, broker {output.address(running.nats)}")
        _must(True, f"it is ready after {took_s:.1f} s")

    def create(self) -> Row:
        _heading("Creating a layout", f"agenttower layout create --template {TEMPLATE} --session-name {SESSION}")
        started = self._clock.monotonic()
        outcome = self._ask(
            "layout",
            "create",
            {"container_id": "host", "template_name": TEMPLATE, "tmux_session_name": SESSION},
        )
        layout_id = outcome["result"]["layout_id"]
        layout = self._settled(layout_id, outcome["position"])
        _panes(layout)
        took_s = self._clock.monotonic() - started
        _must(
            layout["state"] == "ready" and len(layout["panes"]) == 3,
            f"the layout is {layout['state']} after {took_s:.1f} s: all panes run and log, as agents",
        )
        return layout

    def break_one(self, layout: Row) -> Row:
        victim = next(pane for pane in layout["panes"] if pane["label"] == "s1")
        _heading(f"Breaking pane {victim['label']}", f"kill -9 {victim['pid']}")
        after = self._position()
        started = self._clock.monotonic()
        os.kill(victim["pid"], signal.SIGKILL)
        self._wait_for("pane.process_exited", victim["id"], after)
        took_s = self._clock.monotonic() - started
        changed = self._wait_for("pane.state_changed", victim["id"], after)
        now = self._layout(layout["id"], changed)
        _panes(now)
        broken = next(pane for pane in now["panes"] if pane["id"] == victim["id"])
        _must(
            broken["state"] == "degraded" and broken["failed_stage"] == "process_exited" and broken["signal"] == 9,
            f"seen {took_s * 1000:.0f} ms after the kill: {broken['state']}, {broken['failed_stage']}, "
            f"signal {broken['signal']}",
        )
        _must(now["state"] == "degraded", f"the layout is {now['state']}; its other panes go on")
        return broken

    def repair(self, layout: Row, victim: Row) -> None:
        _heading("Removing and recreating it", "agenttower pane remove s1; agenttower pane recreate s1")
        removed = self._ask("pane", "remove", {"pane_id": victim["id"]})
        gone = self._tower.queries.get(f"/v1/panes/{victim['id']}", after=removed["position"])
        _must(gone["state"] == "removed", f"pane {output.short(victim['id'])} is {gone['state']}")
        outcome = self._ask("pane", "recreate", {"predecessor_pane_id": victim["id"]})
        made_id = outcome["result"]["pane_id"]
        now = self._settled(layout["id"], outcome["position"])
        _panes(now)
        made = next((pane for pane in now["panes"] if pane["id"] == made_id), {})
        _must(
            made.get("state") == "ready" and made.get("label") == victim["label"] and now["state"] == "ready",
            f"pane {output.short(made_id)} stands in its place; the layout is {now['state']} again",
        )

    def crash(self, layout_id: str) -> None:
        pid = self._tower.running.pid
        _heading("Crashing the tower, and starting it again", f"kill -9 {pid}; agenttower up")
        before = self._layout(layout_id)
        after = self._position()
        self._tower.kill()
        _must(all(_lives(pane["pid"]) for pane in before["panes"]), "the tower is dead, the panes live on")
        took_s = self._tower.start()
        _must(self._tower.running.pid != pid, f"another tower is ready after {took_s:.1f} s")
        position = self._wait_for("layout.recovery_reattached", layout_id, after)
        now = self._layout(layout_id, position)
        _panes(now)
        same = [_identity(pane) for pane in now["panes"]] == [_identity(pane) for pane in before["panes"]]
        _must(now["state"] == "ready" and same, "it found every pane again: the same processes, the layout is ready")

    def audit(self) -> None:
        _heading("The audit trail", "agenttower events query; agenttower audit verify")
        events = list(self._tower.queries.items("/v1/events"))
        output.table(TRAIL_COLUMNS, _trail(events), wide=("WHAT",), wrap=True, pipe_width=WIDTH)
        names = {event_name(event) for event in events}
        wanted = {"layout.created", "pane.process_exited", "pane.removed", "pane.recreated"}
        _must(wanted <= names, f"{len(events)} events tell the whole story")
        verdict = _verdict(self._tower)
        _must(
            verdict.broken is None and verdict.events == verdict.last >= len(events),
            f"the hash chain over {verdict.events} events is unbroken: …{verdict.chain[-16:]}",
        )

    def _ask(self, noun: str, verb: str, data: dict[str, object]) -> Row:
        return command(self._tower.place, self._tower.running, noun, verb, data)

    def _settled(self, layout_id: str, after: int) -> Row:
        return settled(self._tower.queries, layout_id, after=after, title="", quiet=True)

    def _layout(self, layout_id: str, after: int | None = None) -> Row:
        return self._tower.queries.get(f"/v1/layouts/{layout_id}", after=after)

    def _position(self) -> int:
        return int(self._tower.queries.get("/v1/projections")["position"])

    def _wait_for(self, name: str, subject: str, after: int) -> int:
        """The position of the first such event after a position. Raises `Failure` past the deadline."""
        try:
            for position, event in self._tower.queries.stream(after=after, timeout_s=SEEN_WITHIN_S):
                if event_name(event) == name and event["subject"] == subject:
                    return position
        except TimeoutError:
            pass
        raise Failure(f"no {name} of {subject} within {SEEN_WITHIN_S:g} s")


def _verdict(tower: "ChildTower") -> Any:
    import asyncio

    from adapters.cli.chain import verify_log
    from adapters.cli.place import NATS_FILE

    url = tower.place.secret(NATS_FILE)
    return asyncio.run(verify_log(url, tower.running.node, None, None, lambda _done, _total: None))


def _trail(events: list[Row]) -> list[tuple[Any, ...]]:
    """Rows of `TRAIL_COLUMNS`: here a pane goes by its label."""
    labels = {event["subject"]: event["data"]["label"] for event in events if event_name(event) == "pane.created"}
    return [
        (
            event["position"],
            output.clock_time(event["time"]),
            event_name(event),
            labels.get(event["subject"], "-"),
            event["actor"],
            what({key: value for key, value in event["data"].items() if key != "label"}),
        )
        for event in events
    ]


def _identity(pane: Row) -> tuple[Any, ...]:
    return pane["id"], pane["tmux_pane_id"], pane["pid"]


def _lives(pid: int) -> bool:
    from adapters.cli.place import alive

    return alive(pid)


def _heading(text: str, line: str = "") -> None:
    from rich.text import Text

    output.say()
    out = output.console()
    out.print(Text(text, style="bold"))
    if line:
        out.print(Text(f"$ {line}", style="dim"))


def _panes(layout: Row) -> None:
    output.table(PANE_COLUMNS, [pane_cells(pane) for pane in layout["panes"]], wide=("AT",))


def _must(true: bool, said: str) -> None:
    """Say what is so; end the demo when it is not."""
    from rich.text import Text

    out = output.console()
    out.print(Text.assemble(("✓ ", "green") if true else ("✗ ", "red"), said))
    if not true:
        raise Failure(f"not as expected: {said}", "please report this together with what is above")
