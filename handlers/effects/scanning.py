"""Looks which containers there are, and what stands in their tmux servers that the tower did not make.

Listens to `container.scan_requested`; sends `container.record_found` and `container.record_scan`. Scans that wait are
answered by one look. Each start looks by itself before recovery, so that recovery knows its containers.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import structlog

from domain.containers import (
    ContainerFacts,
    ContainerRecordFound,
    ContainerRecordScan,
    ContainerScanRequested,
    UnmanagedPane,
    record_found,
)
from domain.envelope import Recorded
from domain.tower import Tower
from handlers.effects.follow_ups import FollowUps
from handlers.effects.stages import MARKER
from handlers.ports import (
    ContainerEngine,
    ContainersUnreachable,
    NoContainerEngine,
    SeenPane,
    TerminalError,
    TerminalGone,
    Terminals,
)

START_S: Final = 3.0
"""How long the engine may take at a start, which waits for it."""

ENGINE_S: Final = 10.0
"""How long it may take for a scan that was asked for."""

LIST_S: Final = 3.0
"""How long one container may take to list its panes."""

LISTED_AT_ONCE: Final = 8
"""Containers that are listed at the same time."""

PANES_A_CONTAINER: Final = 200
CHARACTERS: Final = 200
"""Of a title, a command, the name of a session."""

SCAN_BYTES: Final = 256 * 1024
"""Encoded panes of one scan: it is one event, and a message has its limit."""

REASON_CHARACTERS: Final = 2_000

_log = structlog.get_logger(__name__)

Listings = Mapping[str, Sequence[SeenPane] | str]
"""Container id -> its panes, or why they could not be listed."""


class Scanning:
    """Observer of the writer. `instance` makes the command ids of one start; `state` gives the state as the writer has
    it now."""

    def __init__(
        self,
        *,
        engine: ContainerEngine,
        terminals: Terminals,
        follow_ups: FollowUps,
        instance: str,
        state: Callable[[], Tower],
    ) -> None:
        self._engine = engine
        self._terminals = terminals
        self._follow_ups = follow_ups
        self._instance = instance
        self._state = state
        self._waiting: dict[str, None] = {}
        self._asked = asyncio.Event()
        self._records = 0

    @property
    def scans_open(self) -> int:
        return len(self._state().containers.open_scans)

    async def look_at_start(self) -> None:
        """Record what changed while no tower ran; an engine that cannot be asked changes nothing."""
        try:
            await self._find(START_S, because_of=None)
        except NoContainerEngine:
            pass
        except ContainersUnreachable as error:
            _log.warning("containers are not looked for at this start", reason=str(error))

    def start(self, state: Tower) -> None:
        """Take up the scans that were open; from here on requests are followed."""
        for scan_id in sorted(state.containers.open_scans):
            self._wait_for(scan_id)

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        for record in recorded:
            if isinstance(record.event, ContainerScanRequested):
                self._wait_for(record.event.scan_id)

    async def run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            scan_ids, self._waiting = tuple(self._waiting), {}
            try:
                found = await self._scan(scan_ids[0])
            except Exception:  # noqa: BLE001 (one bad scan must not end the tower, nor stay open for ever)
                _log.exception("scan failed")
                found = ContainerRecordScan(scan_id="", reason="the scan failed; the tower's log says why")
            for scan_id in scan_ids:
                self._follow_ups.send(scan_id, "scanned", msgspec.structs.replace(found, scan_id=scan_id))

    def _wait_for(self, scan_id: str) -> None:
        self._waiting[scan_id] = None
        self._asked.set()

    async def _scan(self, scan_id: str) -> ContainerRecordScan:
        reasons: list[str] = []
        try:
            await self._find(ENGINE_S, because_of=scan_id)
        except ContainersUnreachable as error:
            reasons.append(str(error))
        known = self._state().containers.known
        return report(scan_id, known, await self._list_all(known), reasons)

    async def _find(self, within_s: float, *, because_of: str | None) -> None:
        """Ask the engine and record what changed. Raises `ContainersUnreachable`."""
        try:
            async with asyncio.timeout(within_s):
                containers = await self._engine.scan()
        except TimeoutError as error:
            raise ContainersUnreachable(f"the container engine gave no answer in {within_s:g} s") from error
        request = ContainerRecordFound(containers=tuple(containers))
        while record_found(request, self._state().containers):
            self._records += 1
            step = f"containers:{self._records}"
            outcome = await self._follow_ups.ask(self._instance, step, request, because_of=because_of)
            if outcome["status"] != "accepted":
                raise ContainersUnreachable(f"what was found is not recorded: {outcome['error']['code']}")

    async def _list_all(self, known: Mapping[str, ContainerFacts]) -> Listings:
        """The panes of every running container; a stopped one has none."""
        turns = asyncio.Semaphore(LISTED_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            listings = {
                container_id: group.create_task(self._list(container_id, turns))
                for container_id in sorted(known)
                if known[container_id].running
            }
        return {container_id: listing.result() for container_id, listing in listings.items()}

    async def _list(self, container_id: str, turns: asyncio.Semaphore) -> Sequence[SeenPane] | str:
        try:
            async with turns, asyncio.timeout(LIST_S):
                return await self._terminals.of(container_id).panes()
        except TerminalGone:
            return ()
        except TimeoutError:
            return f"no answer in {LIST_S:g} s"
        except TerminalError as error:
            return str(error) or "tmux does not answer"


def report(
    scan_id: str, known: Mapping[str, ContainerFacts], listings: Listings, reasons: Sequence[str]
) -> ContainerRecordScan:
    """What is to be recorded, within the limits; what they left out is among the reasons."""
    said, listed, unmanaged, room = list(reasons), list[str](), list[UnmanagedPane](), SCAN_BYTES
    for container_id, listing in listings.items():
        name = known[container_id].name
        if isinstance(listing, str):
            said.append(f"{name}: {listing}")
            continue
        listed.append(container_id)
        every = unmanaged_panes(container_id, listing)
        taken: list[UnmanagedPane] = []
        for pane in every[:PANES_A_CONTAINER]:
            room -= len(msgspec.json.encode(pane))
            if room < 0:
                break
            taken.append(pane)
        unmanaged += taken
        if len(taken) < len(every):
            said.append(f"{name}: {len(every) - len(taken)} of {len(every)} unmanaged panes left out")
    return ContainerRecordScan(
        scan_id=scan_id,
        listed=tuple(listed),
        unmanaged=tuple(unmanaged),
        reason="; ".join(said)[:REASON_CHARACTERS] or None,
    )


def unmanaged_panes(container_id: str, seen: Sequence[SeenPane]) -> tuple[UnmanagedPane, ...]:
    """Those that the tower neither made nor is making, in order of their places."""
    theirs = (pane for pane in seen if pane.pane_id is None and not pane.title.startswith(MARKER))
    in_order = sorted(theirs, key=lambda pane: (pane.session_name, pane.window_index, pane.pane_index))
    return tuple(
        UnmanagedPane(
            container_id=container_id,
            tmux_pane_id=pane.tmux_pane_id,
            session_name=pane.session_name[:CHARACTERS],
            window_index=pane.window_index,
            pane_index=pane.pane_index,
            pid=pane.pid,
            command=pane.command[:CHARACTERS],
            title=pane.title[:CHARACTERS],
        )
        for pane in in_order
    )
