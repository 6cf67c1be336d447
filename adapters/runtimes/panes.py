"""The tower's panes for sessions that talk to one: the `Panes` port of `pane.py`. An observer of the writer."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from domain.envelope import Recorded
from domain.errors import Rejection
from domain.layouts.events import PaneState, PaneStateChanged, Stage
from domain.layouts.state import Pane
from domain.sends import MAX_TEXT_BYTES, PaneSend, PaneSendFailed, PaneTextSent
from domain.tower import Tower
from handlers.effects.follow_ups import FollowUps
from handlers.session_ports import RuntimeFailed

REMEMBERED: Final = 1_000
"""Ends of texts to send that somebody may still ask for."""

Follow = Callable[[Mapping[str, Any]], Awaitable[AsyncIterator[bytes]]]
"""What a pane prints from now on, by its row. Raises `Rejection`."""


class TowerPanes:
    def __init__(self, *, follow_ups: FollowUps, follow: Follow, state: Callable[[], Tower]) -> None:
        self._follow_ups = follow_ups
        self._follow = follow
        self._state = state
        self._claimed: dict[str, str] = {}
        """Pane -> session."""
        self._gone: dict[str, list[asyncio.Future[str]]] = {}
        self._ends: OrderedDict[str, str | None] = OrderedDict()
        """Send -> why it failed, None when it was typed."""
        self._waiting: dict[str, asyncio.Future[str | None]] = {}

    # --- what happened ---------------------------------------------------------------------------------------------

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        for each in recorded:
            match each.event:
                case PaneTextSent(send_id=send_id):
                    self._sent(send_id, None)
                case PaneSendFailed(send_id=send_id, reason=reason):
                    self._sent(send_id, reason)
                case PaneStateChanged(pane_id=pane_id) if pane_id in self._gone:
                    why = _nobody_reads(state.layouts.panes[pane_id])
                    if why is not None:
                        self._tell_gone(pane_id, why)
                case _:
                    pass

    def _sent(self, send_id: str, failure: str | None) -> None:
        self._ends[send_id] = failure
        while len(self._ends) > REMEMBERED:
            self._ends.popitem(last=False)
        waiting = self._waiting.pop(send_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(failure)

    def _tell_gone(self, pane_id: str, why: str) -> None:
        for future in self._gone.pop(pane_id):
            if not future.done():
                future.set_result(why)

    # --- the port --------------------------------------------------------------------------------------------------

    def claim(self, session_id: str, container: str, pane: str) -> str:
        found = self._found(container, pane)
        holder = self._claimed.get(found.pane_id, session_id)
        if holder != session_id:
            raise RuntimeFailed("pane_not_ready", f"pane {pane} is that of session {holder}: end that first")
        why = _nobody_reads(found)
        if why is not None:
            raise RuntimeFailed("pane_not_ready", why)
        self._claimed[found.pane_id] = session_id
        return found.pane_id

    def _found(self, container: str, pane: str) -> Pane:
        tower = self._state()
        ids = [each.container_id for each in tower.containers.known.values() if each.name == container]
        labels = (tower.layouts.live_labels.get((each, pane)) for each in (container, *ids))
        pane_id = next((pane_id for pane_id in (pane, *labels) if pane_id in tower.layouts.panes), None)
        if pane_id is None:
            raise RuntimeFailed("pane_not_found", f"runtime.pane: there is none called {pane} in {container}")
        return tower.layouts.panes[pane_id]

    def release(self, session_id: str) -> None:
        for pane_id in [each for each, holder in self._claimed.items() if holder == session_id]:
            del self._claimed[pane_id]

    def gone(self, pane_id: str) -> asyncio.Future[str]:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        why = _nobody_reads(self._state().layouts.panes[pane_id])
        if why is not None:
            future.set_result(why)
            return future
        self._gone[pane_id] = [*(each for each in self._gone.get(pane_id, ()) if not each.done()), future]
        return future

    async def follow(self, pane_id: str) -> AsyncIterator[bytes]:
        pane = self._state().layouts.panes[pane_id]
        row = {
            "id": pane_id,
            "container_id": pane.container_id,
            "state": str(pane.state),
            "log_path": pane.log_path,
        }
        try:
            return await self._follow(row)
        except Rejection as error:
            raise RuntimeFailed("pane_not_ready", error.message) from error

    async def send(self, session_id: str, step: str, pane_id: str, text: str, *, enter: bool) -> None:
        size = len(text.encode("utf-8", "surrogatepass"))
        if not 1 <= size <= MAX_TEXT_BYTES or "\0" in text:
            told = f"{size} bytes; a pane takes 1 to {MAX_TEXT_BYTES} at once, and no NUL"
            raise RuntimeFailed("instruction_too_long" if size > MAX_TEXT_BYTES else "runtime_invalid", told)
        request = PaneSend(pane_id=pane_id, text=text, enter=enter)
        outcome = await self._follow_ups.ask(session_id, f"pane_send:{step}", request, because_of=session_id)
        if outcome["status"] != "accepted":
            raise RuntimeFailed("pane_not_ready", outcome["error"]["message"])
        failure = await self._end_of(outcome["result"]["send_id"])
        if failure is not None:
            type_ = "pane_gone" if failure in ("pane_gone", "process_ended") else "pane_not_ready"
            raise RuntimeFailed(type_, f"the text was not typed: {failure}")

    async def _end_of(self, send_id: str) -> str | None:
        if send_id in self._ends:
            return self._ends.pop(send_id)
        future = self._waiting.setdefault(send_id, asyncio.get_running_loop().create_future())
        try:
            return await asyncio.shield(future)
        finally:
            self._waiting.pop(send_id, None)


def _nobody_reads(pane: Pane) -> str | None:
    """Why nobody reads what is typed into it; None while somebody does, as far as is known."""
    if pane.state not in (PaneState.READY, PaneState.DEGRADED):
        return f"pane {pane.pane_id} is {pane.state}"
    if pane.failed_stage in (Stage.LAUNCH_COMMAND, Stage.PROCESS_EXITED):
        return f"the process of pane {pane.pane_id} has ended"
    return None
