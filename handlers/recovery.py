"""Recovery at start, before commands are taken: what stands in tmux is reattached, what is gone is failed.

Each registered container that ever had a layout is listed once, all at the same time. One that cannot be listed is left
as it is, and is tried again while the tower runs. What a removed pane left behind (a crash before its kill) is killed
here.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import structlog

from domain.layouts.commands import ContainerRecover
from domain.layouts.reports import AT_ONCE
from domain.layouts.state import Layouts, Pane
from domain.tower import Tower
from handlers.effects import adopted
from handlers.effects.follow_ups import FollowUps
from handlers.effects.watching import SECOND_LOOK_S, compare, doubtful, spawned_panes
from handlers.ports import Clock, SeenPane, Terminal, TerminalError, TerminalGone, Terminals

LIST_S: Final = 3.0
"""How long one container may take to list its panes."""

RETRY_S: Final = 5.0
"""Wait before a container that could not be listed is tried again."""

_log = structlog.get_logger(__name__)


class Recovery:
    """`instance` makes the command ids of one start; `state` gives the state as the writer has it now."""

    def __init__(
        self,
        *,
        terminals: Terminals,
        follow_ups: FollowUps,
        clock: Clock,
        instance: str,
        state: Callable[[], Tower],
    ) -> None:
        self._terminals = terminals
        self._follow_ups = follow_ups
        self._clock = clock
        self._instance = instance
        self._state = state

    async def run(self) -> frozenset[str]:
        """Recover every container; the ids of those that could not be listed."""
        container_ids = containers_to_recover(self._state())
        recovered = await asyncio.gather(*(self._recover(container_id) for container_id in container_ids))
        return frozenset(each for each, done in zip(container_ids, recovered, strict=True) if not done)

    async def retry(self, container_ids: frozenset[str]) -> None:
        """Try the unreachable ones again until each was listed."""
        while container_ids:
            await self._clock.sleep(RETRY_S)
            # One that went for good meanwhile has nothing left to recover.
            standing = sorted(container_ids & frozenset(containers_to_recover(self._state())))
            recovered = await asyncio.gather(*(self._recover(each) for each in standing))
            container_ids = frozenset(each for each, done in zip(standing, recovered, strict=True) if not done)

    async def _recover(self, container_id: str) -> bool:
        try:
            terminal = self._terminals.of(container_id)
            async with asyncio.timeout(LIST_S + SECOND_LOOK_S + LIST_S):
                seen = await self._list(terminal, container_id)
                await self._kill_remains(terminal, seen)
        except (TerminalError, TimeoutError) as error:
            _log.warning("container not recovered; trying again", container_id=container_id, reason=str(error))
            return False
        for lost in adopted.lost_agents(self._state().agents.adopted_in(container_id), seen):
            self._follow_ups.send(lost.agent_id, adopted.STEP, lost, spontaneous=True)
        present = tuple(sorted(each.pane_id for each in seen if each.pane_id is not None))
        layouts = self._state().layouts
        if not any(pane.live for pane in panes_in(layouts, container_id)):
            return True
        for number, portion in enumerate(portions(layouts, container_id)):
            here = {pane.pane_id for layout_id in portion for pane in layouts.panes_of(layout_id)}
            request = ContainerRecover(
                container_id=container_id,
                present_pane_ids=tuple(each for each in present if each in here),
                layout_ids=portion,
            )
            await self._follow_ups.ask(self._instance, f"recover:{container_id}:{number}", request)
        _log.info("container recovered", container_id=container_id, panes_present=len(present))
        return True

    async def _kill_remains(self, terminal: Terminal, seen: Sequence[SeenPane]) -> None:
        for remains in compare((), seen, self._state().layouts).left:
            if remains.pane_id is not None:
                await terminal.kill_pane(remains.tmux_pane_id, remains.pane_id)

    async def _list(self, terminal: Terminal, container_id: str) -> Sequence[SeenPane]:
        """Its panes; a second look when more than half of what is expected is missing."""
        try:
            async with asyncio.timeout(LIST_S):
                seen = await terminal.panes()
            layouts, agents = self._state().layouts, self._state().agents.adopted_in(container_id)
            expected = spawned_panes(layouts, container_id)
            gone, lost = compare(expected, seen, layouts).gone, adopted.lost_agents(agents, seen)
            if doubtful(gone, expected) or doubtful(lost, agents):
                await self._clock.sleep(SECOND_LOOK_S)
                seen = await terminal.panes()
        except TerminalGone:
            return ()
        return seen


def containers_to_recover(state: Tower) -> tuple[str, ...]:
    """Registered containers that ever had a layout, or have an adopted agent."""
    with_layouts = {layout.container_id for layout in state.layouts.layouts.values()}
    return tuple(sorted(each for each in with_layouts | state.agents.containers() if each in state.containers.known))


def portions(layouts: Layouts, container_id: str) -> Iterator[tuple[str, ...]]:
    """The container's layouts in groups of at most `AT_ONCE` live panes, so that no decision is too long."""
    group: list[str] = []
    size = 0
    for layout_id in sorted(layouts.open_layouts):
        if layouts.layouts[layout_id].container_id != container_id:
            continue
        live = sum(pane.live for pane in layouts.panes_of(layout_id))
        if group and size + live > AT_ONCE:
            yield tuple(group)
            group, size = [], 0
        group.append(layout_id)
        size += live
    if group:
        yield tuple(group)


def panes_in(layouts: Layouts, container_id: str) -> Iterator[Pane]:
    """The panes of the container's layouts that are not removed."""
    for layout_id in layouts.open_layouts:
        if layouts.layouts[layout_id].container_id == container_id:
            yield from layouts.panes_of(layout_id)
