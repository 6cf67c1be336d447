"""State of background sessions.

    from                       event           to        why
    -                          declared        stopped   the configuration or a bundle says so
    stopped, failed            starting        starting  asked, with its parent, or the wait of a restart is over
    any but stopped            starting        starting  its definition is another one
    starting                   running         running   all triggers are watched
    starting, running          failed          failed    a watch ended with an exception; `restart_at`: starts again
    any but stopped            stopped         stopped   asked, with its parent, or not declared any more

It listens while it starts, runs, or waits for its restart. What was stopped with its parent, or is not declared any
more, is forgotten with the end of its last run.

    firing    fired -> waiting | run;  waiting -> run | dropped;  run -> consumed | again
"""

from datetime import datetime
from typing import Final

import msgspec
from immutables import Map
from msgspec.structs import replace

from domain.background.definition import ROUTED, Definition
from domain.background.events import BackgroundState, Source, TriggerFired
from domain.background.listeners import Listeners

REMEMBERED: Final = 20_000
"""Firings that were told by id, and sessions below runs, which are remembered: the last ones."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How the session of a run ended. `output` as its event has it."""

    success: bool
    output: str = ""
    error: str | None = None
    error_type: str | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A firing that was taken and is not consumed. `outcome`: of its session, until that is recorded."""

    fired: TriggerFired
    session_id: str
    session_name: str
    attempt: int
    trigger_count: int
    outcome: Outcome | None = None


class Background(msgspec.Struct, frozen=True, kw_only=True):
    """`number`: of its declaration on the node, from 1. `waiting`: firings in order; `running` by trigger id.
    `trigger_count`: firings that were taken. `restarts`: when the latest ones were due. `ticks`: of timers, by the
    place of the trigger; `ticked`: when the last one of each was due; `since`: when they began to count. `over`: it
    cannot be started again."""

    background_id: str
    name: str
    number: int
    definition: Definition
    definition_digest: str
    source: Source
    parent_session_id: str | None = None
    bundle: str | None = None
    folder: str = ""
    state: BackgroundState = BackgroundState.STOPPED
    waiting: tuple[TriggerFired, ...] = ()
    running: Map[str, Run] = Map()
    trigger_count: int = 0
    last_trigger: datetime | None = None
    restarts: tuple[datetime, ...] = ()
    restart_at: datetime | None = None
    error: str | None = None
    ticks: Map[int, int] = Map()
    ticked: Map[int, datetime] = Map()
    since: datetime | None = None
    over: bool = False

    @property
    def listens(self) -> bool:
        """Firings are taken."""
        if self.state is BackgroundState.FAILED:
            return self.restart_at is not None
        return self.state is not BackgroundState.STOPPED

    @property
    def has_room(self) -> bool:
        return len(self.running) < self.definition.pool_size

    @property
    def watched(self) -> tuple[int, ...]:
        """Places of the triggers that somebody has to watch."""
        return tuple(at for at, each in enumerate(self.definition.triggers) if each.type not in ROUTED)


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers by text, the last `REMEMBERED` ones."""

    known: Map[str, int] = Map()
    order: Map[int, str] = Map()
    count: int = 0

    def with_(self, key: str, value: int) -> "Remembered":
        if key in self.known:
            return replace(self, known=self.known.set(key, value))
        known, order = self.known.set(key, value), self.order.set(self.count, key)
        if len(order) > REMEMBERED:
            first = self.count + 1 - len(order)
            known, order = known.delete(order[first]), order.delete(first)
        return Remembered(known=known, order=order, count=self.count + 1)


class Backgrounds(msgspec.Struct, frozen=True, kw_only=True):
    """`declared`: how many there ever were. `listeners`: who hears which names. `children`: parent session -> those
    that it declares. `runs`: session of a run -> (background session, trigger id). `told`: ids of firings; `depths`:
    of runs' sessions, and of those below them."""

    known: Map[str, Background] = Map()
    declared: int = 0
    listeners: Listeners = Listeners()
    children: Map[str, tuple[str, ...]] = Map()
    runs: Map[str, tuple[str, str]] = Map()
    told: Remembered = Remembered()
    depths: Remembered = Remembered()

    def named(self, name: str) -> tuple[Background, ...]:
        """Those of this name that are not over, in the order of their declaration."""
        found = (each for each in self.known.values() if each.name == name and not each.over)
        return tuple(sorted(found, key=lambda each: each.number))

    def declared_by(self, source: Source, parent_session_id: str | None) -> tuple[Background, ...]:
        """In the order of their declaration."""
        found = (
            each
            for each in self.known.values()
            if (each.source, each.parent_session_id) == (source, parent_session_id) and not each.over
        )
        return tuple(sorted(found, key=lambda each: each.number))

    def run_of(self, session_id: str) -> Run | None:
        """The run that has this session, while it is open."""
        background_id, trigger_id = self.runs.get(session_id, ("", ""))
        background = self.known.get(background_id)
        return None if background is None else background.running.get(trigger_id)

    def depth_of(self, session_id: str) -> int:
        """How many runs led to what this session does; 0 outside of runs."""
        return self.depths.known.get(session_id, 0)
