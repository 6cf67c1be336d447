"""Bugs, planted into the real parts: what the worlds must find. Each says what it breaks and which check sees it."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from domain.background.state import Background
from domain.containers import ContainerRecordFound
from domain.executions.events import ExecutionStarted
from domain.executions.state import Execution
from domain.layouts.commands import LayoutCreate
from domain.layouts.state import Layout, Layouts, Pane
from domain.messages import Request
from domain.sends import Send, SendFailure
from domain.tower import Tower
from handlers import writer
from handlers.batch import Batch
from handlers.effects.background import BackgroundRuns
from handlers.effects.executing import Executing
from handlers.effects.follow_ups import FollowUps
from handlers.effects.restarting import Restarting
from handlers.effects.scanning import Scanning
from handlers.effects.sending import Sending
from handlers.effects.stages import Stages, seen_panes
from handlers.effects.sweeping import Sweeping
from handlers.facts import FactFinder
from handlers.inbox import Asked, FollowUp
from handlers.ports import (
    ContainersUnreachable,
    Due,
    Entry,
    PaneToCreate,
    SeenPane,
    Terminal,
    TerminalUnreachable,
    TimerError,
)
from handlers.seen import SeenIds
from handlers.writer import Writer
from projections.progress import Stop
from projections.projector import Projector
from tests.simulation.commands import NotQueued, SimulatedDurableDoor
from tests.simulation.log import SimulatedLog
from tests.simulation.loop import pause
from tests.simulation.tower import Kit


class _Forgetful(SeenIds):
    """Knows no id: a command that is asked again is decided again."""

    def position(self, key: bytes) -> int | None:
        return None


class _NoDedup(Writer):
    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self._seen = _Forgetful()


class _OutcomeFirst(Writer):
    """Answers what it has decided before the log has taken it."""

    async def _decide(self, items: Sequence[Asked | FollowUp]) -> tuple[Batch, list[Asked | FollowUp]]:
        decided, rest = await super()._decide(items)
        await self._answer(decided.decisions)
        return decided, rest


class _NoFence(SimulatedLog):
    """Appends wherever the log ends now."""

    async def append(self, entries: Sequence[Entry], *, expected_last: int) -> int:
        return await super().append(entries, expected_last=len(self.stream.entries))


class _NoPosition(Batch):
    """Does not say in the log how far commands were read."""

    def _stamp(self, place: int) -> None:
        return


class _AppendFailed(Writer):
    """log: takes an append without an answer for one that did not happen, and appends again behind what is there."""

    async def _reread(self) -> None:
        await self._clock.sleep(0.5)


class _AppendsBehind(SimulatedLog):
    """Once an append had no answer, the next goes behind whatever is there."""

    _unanswered = False

    async def append(self, entries: Sequence[Entry], *, expected_last: int) -> int:
        expected = len(self.stream.entries) if self._unanswered else expected_last
        self._unanswered = True
        last = await super().append(entries, expected_last=expected)
        self._unanswered = False
        return last


class _MadeFailed(Stages):
    """tmux: takes a creation without an answer for one that did not happen, and creates again without looking."""

    async def _make(
        self, terminal: Terminal, layout: Layout, wanted: Sequence[tuple[Pane, PaneToCreate]], layouts: Layouts
    ) -> dict[str, SeenPane]:
        panes = [to_create for _, to_create in wanted]
        for last in (False, True):
            try:
                return await self._create_blindly(terminal, layout, panes)
            except TerminalUnreachable:
                if last:
                    raise
        raise AssertionError

    async def _create_blindly(
        self, terminal: Terminal, layout: Layout, panes: Sequence[PaneToCreate]
    ) -> dict[str, SeenPane]:
        if layout.tmux_session_name in await terminal.sessions():
            made = await terminal.add_panes(layout.tmux_session_name, panes)
        else:
            made = await terminal.create_session(layout.tmux_session_name, panes)
        return {seen.pane_id: seen for seen in made if seen.pane_id is not None}


class _TypesAgain(Sending):
    """texts: types a text again when the first try gave no answer."""

    async def _type(self, container_id: str, send: Send) -> SendFailure | None:
        failure = await super()._type(container_id, send)
        text = await self._text(send)
        if failure == "unreachable" and text is not None:
            terminal = self._terminals.of(container_id)
            for seen in await seen_panes(terminal):
                if seen.pane_id == send.pane_id:
                    await terminal.send_text(seen.tmux_pane_id, send.pane_id, text, enter=send.enter)
        return failure


class _ReadFailed(SimulatedDurableDoor):
    """commands: takes what an unanswered read carried for delivered."""

    async def _read(self, after: int) -> int:
        try:
            return await super()._read(after)
        except NotQueued:
            return min(after + 1, self._queue.last)


class _Forgets(Restarting):
    """Does not take up what was to be restarted when the tower before it died."""

    def start(self, state: Tower) -> None:
        self._state = state


class _Halves(FollowUps):
    """Loses the first of the two commands of a restart."""

    def send(self, subject_id: str, step: str, request: Request, **options: Any) -> None:
        if step != "restart:remove":
            super().send(subject_id, step, request, **options)


class _RecreatesOnly(Restarting):
    """Recreates what still stands."""

    def __init__(self, **parts: Any) -> None:
        parts["follow_ups"] = _Halves(parts["follow_ups"]._inbox)
        super().__init__(**parts)


class _ScheduleFailed(Sweeping):
    """timers: takes a schedule without an answer for one that is not there, and does without."""

    refused = False

    async def schedule(self) -> None:
        try:
            await self._timers.every("sweep", 60, b"{}")
        except TimerError:
            self.refused = True

    async def take(self, due: Due) -> None:
        if self.refused:
            await asyncio.Event().wait()
        await super().take(due)


class _RunsAgain(Executing):
    """Takes what had started in an earlier tower for what may begin."""

    def _lost(self, execution: Execution) -> None:
        if execution.throwaway:
            super()._lost(execution)
        else:
            self._own(self._run_again(execution))

    async def _run_again(self, execution: Execution) -> None:
        self._take(execution)
        while not self._seats[execution.session_id].opened:
            await pause(0.1)
        ids = {"execution_id": execution.execution_id, "session_id": execution.session_id}
        self._begin(ExecutionStarted(**ids, attempt=execution.attempt))


class _RunsForgotten(BackgroundRuns):
    """Does not take up the runs that an earlier tower had begun."""

    def _take_up(self, there: Background) -> None:
        return


class _KeepFailed(FactFinder):
    """vault: takes a value without an answer for one that is not kept, and does without."""

    async def _directories(self, creates: Iterable[LayoutCreate]) -> Mapping[str, str | None]:
        return {value: digest or "" for value, digest in (await super()._directories(creates)).items()}


class _SaveFailed(Writer):
    """snapshots: forgets the ids of a save that was not answered, as if the next one held them."""

    async def snapshot(self) -> None:
        kept = self._seen.restore_unsaved
        self._seen.restore_unsaved = lambda segments: None
        try:
            await super().snapshot()
        finally:
            self._seen.restore_unsaved = kept


class _WriteFailed(Projector):
    """database: takes a transaction without an answer for one that its events do not allow, and stops."""

    async def _wait_out(self, trouble: str) -> None:
        for status in self.progress:
            self.progress.stopped(status.name, Stop(trouble, "", status.position))
        await asyncio.Event().wait()


class _NothingFound(Scanning):
    """containers: takes an engine that does not answer for one that has no containers."""

    async def _find(self, within_s: float, *, because_of: str | None) -> None:
        try:
            await super()._find(within_s, because_of=because_of)
        except ContainersUnreachable:
            nothing = ContainerRecordFound(containers=())
            await self._follow_ups.ask(self._instance, f"nothing:{because_of}", nothing)


class Bug(msgspec.Struct, frozen=True):
    """`said`: what the failure says, as a regular expression. `first_seed`: where the search begins, not far
    before the first world that shows it."""

    kit: Kit
    said: str
    first_seed: int = 0


BUGS: Mapping[str, Bug] = {
    "no dedup": Bug(Kit(writer=_NoDedup), "is recorded twice"),
    "outcome before commit": Bug(Kit(writer=_OutcomeFirst), "ahead of the log|recorded is|not done before"),
    "no fence": Bug(Kit(log=_NoFence), "hash chain does not continue"),
    "position not recorded": Bug(Kit(patches=((writer, "Batch", _NoPosition),)), "the log says it was read up to"),
    "log: lost answer": Bug(Kit(writer=_AppendFailed, log=_AppendsBehind), "hash chain does not continue"),
    "commands: lost answer": Bug(Kit(door=_ReadFailed), "was queued and is not decided"),
    "tmux: lost answer": Bug(Kit(stages=_MadeFailed), "tmux has pane .* times"),
    "containers: lost answer": Bug(Kit(scanning=_NothingFound), "is gone, and was never removed"),
    "texts: lost answer": Bug(Kit(sending=_TypesAgain), "typed .* times", first_seed=940),
    "timers: lost answer": Bug(Kit(sweeping=_ScheduleFailed), "the sweep"),
    "restarts forgotten": Bug(Kit(restarting=_Forgets), "has failed and is not restarted"),
    "restarts without their removal": Bug(Kit(restarting=_RecreatesOnly), "has failed and is not restarted"),
    "executions: run again": Bug(Kit(executing=_RunsAgain), "attempt .* runs .* times"),
    "runs forgotten": Bug(Kit(runs=_RunsForgotten), "the run .* has no end"),
    "vault: lost answer": Bug(Kit(facts=_KeepFailed), "and recorded LayoutCreated"),
    "database: lost answer": Bug(Kit(projector=_WriteFailed), "read model .* is stopped", first_seed=110),
    "snapshots: lost answer": Bug(Kit(writer=_SaveFailed), "is recorded twice", first_seed=155),
}
