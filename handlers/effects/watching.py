"""Sees panes die and vanish.

Compares what tmux shows with the state and sends `pane.record_exited` and `pane.record_vanished`, and
`agent.record_gone` of adopted agents; kills what carries the mark of a pane that is removed. One watcher a container;
it looks while the container has panes or adopted agents, and until nothing is left of the panes that were removed.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec
import structlog

from domain.agents.commands import AgentRecordGone
from domain.agents.events import AgentGone
from domain.agents.state import Agent
from domain.envelope import Recorded
from domain.layouts import commands as c
from domain.layouts.events import PaneRemoved, PaneStateChanged
from domain.layouts.state import Layouts, Pane, PaneState
from domain.messages import Request
from domain.tower import Tower
from handlers.effects import adopted
from handlers.effects.follow_ups import FollowUps
from handlers.ports import Clock, SeenPane, Terminal, TerminalError, TerminalGone, Terminals, TerminalUnreachable

SECOND_LOOK_S: Final = 2.0
"""Wait before believing that more than half of a container's panes are gone while its tmux server answers."""

RETRY_S: Final = 1.0
"""Wait after a container that did not answer."""

_log = structlog.get_logger(__name__)


class Findings(msgspec.Struct, frozen=True):
    """`gone`: live panes that tmux does not show. `exited`: running panes whose process ended. `left`: remains of
    removed panes."""

    gone: tuple[Pane, ...] = ()
    exited: tuple[SeenPane, ...] = ()
    left: tuple[SeenPane, ...] = ()


def spawned_panes(layouts: Layouts, container_id: str) -> tuple[Pane, ...]:
    """The container's live panes that were made in tmux."""
    return tuple(
        pane
        for layout_id in sorted(layouts.open_layouts)
        if layouts.layouts[layout_id].container_id == container_id
        for pane in layouts.panes_of(layout_id)
        if pane.live and pane.tmux_pane_id is not None
    )


def compare(expected: Sequence[Pane], seen: Sequence[SeenPane], layouts: Layouts) -> Findings:
    """What `seen` says of the panes that were `expected` before the look; `layouts` is the state after it."""
    there: Mapping[str, SeenPane] = {each.pane_id: each for each in seen if each.pane_id is not None}
    states = {pane_id: pane.state for pane_id in there if (pane := layouts.panes.get(pane_id)) is not None}
    return Findings(
        gone=tuple(pane for pane in expected if pane.pane_id not in there and layouts.panes[pane.pane_id].live),
        exited=tuple(each for pane_id, each in there.items() if each.dead and states.get(pane_id) is PaneState.READY),
        left=tuple(each for pane_id, each in there.items() if states.get(pane_id) is PaneState.REMOVED),
    )


def doubtful(gone: Collection[object], expected: Collection[object]) -> bool:
    """More than half gone at once: worth a second look before a fleet is failed by a bad answer."""
    return len(gone) * 2 > len(expected)


def reports(findings: Findings) -> tuple[tuple[str, str, Request], ...]:
    """(pane id, step, request) for each finding that is to be recorded."""
    exits = tuple(
        (seen.pane_id, "exited", c.PaneRecordExited(pane_id=seen.pane_id, exit_code=seen.exit_code, signal=seen.signal))
        for seen in findings.exited
        if seen.pane_id is not None
    )
    gone = tuple((pane.pane_id, "vanished", c.PaneRecordVanished(pane_id=pane.pane_id)) for pane in findings.gone)
    return (*exits, *gone)


class Watching:
    """Observer of the writer; `run` owns one watcher a container until cancelled."""

    def __init__(self, *, terminals: Terminals, follow_ups: FollowUps, clock: Clock) -> None:
        self._terminals = terminals
        self._follow_ups = follow_ups
        self._clock = clock
        self._state = Tower()
        self._changed: dict[str, asyncio.Event] = {}
        # Containers where a pane was removed and no look since has shown that nothing of it is left.
        self._uncleared: set[str] = set()
        # Sent and not to be sent again while the writer has not decided it: (pane id, step).
        self._reported: set[tuple[str, str]] = set()
        self._group: asyncio.TaskGroup | None = None

    def start(self, state: Tower) -> None:
        self._follow(state)

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        for record in recorded:
            if isinstance(record.event, PaneStateChanged):
                self._reported -= {(record.event.pane_id, step) for step in ("exited", "vanished")}
            if isinstance(record.event, AgentGone):
                self._reported.discard((record.event.agent_id, adopted.STEP))
            if isinstance(record.event, PaneRemoved):
                self._uncleared.add(state.layouts.panes[record.event.pane_id].container_id)
        # What was in a container that is gone went with it.
        self._uncleared = {each for each in self._uncleared if each in state.containers.known}
        self._follow(state)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            for container_id in self._changed:
                group.create_task(self._watch(container_id))
            await asyncio.Event().wait()

    def _follow(self, state: Tower) -> None:
        self._state = state
        layouts = state.layouts
        container_ids = {layouts.layouts[layout_id].container_id for layout_id in layouts.open_layouts}
        container_ids |= state.agents.containers()
        for container_id in sorted(container_ids - self._changed.keys()):
            self._changed[container_id] = asyncio.Event()
            if self._group is not None:
                self._group.create_task(self._watch(container_id))
        for changed in self._changed.values():
            changed.set()

    async def _watch(self, container_id: str) -> None:
        changed = self._changed[container_id]
        told: str | None = None
        while True:
            changed.clear()
            expected = spawned_panes(self._state.layouts, container_id)
            agents = self._state.agents.adopted_in(container_id)
            if not expected and not agents and container_id not in self._uncleared:
                await changed.wait()
                continue
            try:
                left = await self._look(self._terminals.of(container_id), expected, agents)
                if not left:
                    self._uncleared.discard(container_id)
                told = None
            except TerminalGone:
                self._report(compare(expected, (), self._state.layouts), adopted.lost_agents(agents, ()))
                self._uncleared.discard(container_id)
                # There is nothing to look at before something is made here again.
                await changed.wait()
            except TerminalError as error:
                # A container may stay stopped for days: each reason is told once.
                if str(error) != told:
                    told = str(error)
                    say = _log.warning if isinstance(error, TerminalUnreachable) else _log.error
                    say("panes cannot be looked at; trying again", container_id=container_id, reason=told)
                await self._clock.sleep(RETRY_S)

    async def _look(self, terminal: Terminal, expected: Sequence[Pane], agents: Sequence[Agent]) -> bool:
        """Report and clear what a look shows; whether something of a removed pane was left."""
        seen = await terminal.look()
        findings, lost = compare(expected, seen, self._state.layouts), adopted.lost_agents(agents, seen)
        if doubtful(findings.gone, expected) or doubtful(lost, agents):
            await self._clock.sleep(SECOND_LOOK_S)
            seen = await terminal.panes()
            findings, lost = compare(expected, seen, self._state.layouts), adopted.lost_agents(agents, seen)
        self._report(findings, lost)
        for seen in findings.left:
            if seen.pane_id is not None:
                await terminal.kill_pane(seen.tmux_pane_id, seen.pane_id)
        return bool(findings.left)

    def _report(self, findings: Findings, lost: Sequence[AgentRecordGone]) -> None:
        gone = ((request.agent_id, adopted.STEP, request) for request in lost)
        for subject_id, step, request in (*reports(findings), *gone):
            if (subject_id, step) not in self._reported:
                self._reported.add((subject_id, step))
                self._follow_ups.send(subject_id, step, request, spontaneous=True)
