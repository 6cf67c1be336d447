"""The look-ups that a decision needs: templates, profiles, tmux session names, fresh ids.

Gathered for a whole batch at once, before any of it is decided, so that deciding stays pure and never waits.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

import structlog

from domain.agents.commands import AgentAdopt, AgentReport
from domain.background.firing import MAX_DEPTH
from domain.bundles.commands import BundleOverlayAdd, BundleOverlayRemove, BundleReload
from domain.containers import ContainerScan
from domain.executions.commands import (
    ExecutionAnswer,
    ExecutionRequest,
    SessionCheckpoint,
    SessionFork,
    SessionRestore,
)
from domain.layouts.commands import LayoutCreate, LayoutRestore, PaneRecreate, PaneRegister, PaneRemove
from domain.layouts.templates import MAX_SLOTS
from domain.messages import Facts, Request, TmuxPane
from domain.promises import PromiseCreate
from domain.sends import PaneSend
from domain.sessions.commands import SessionInstruct, SessionResume, SessionSpawn
from handlers.ports import (
    Ids,
    Launching,
    SeenPane,
    TerminalError,
    TerminalGone,
    Terminals,
    TerminalUnreachable,
    Texts,
    Vault,
)
from handlers.session_facts import SessionFacts, Wanted

LAUNCHES: Final = (LayoutCreate, LayoutRestore, PaneRecreate, PaneRemove)
"""Requests whose decision needs launch profiles; that of the policy's own removal does."""

SESSION_CHECK_S: Final = 0.5
"""How long the session-name check may take; one that cannot tell does not reject. As long for a pane to adopt."""

_log = structlog.get_logger(__name__)


class FactFinder:
    def __init__(
        self,
        *,
        ids: Ids,
        launching: Launching,
        terminals: Terminals,
        vault: Vault,
        texts: Texts,
        worker_waits: Callable[[str], bool] = lambda _session_id: False,
        restart_backoff_s: float = 1.0,
        sessions: SessionFacts | None = None,
        max_causation_depth: int = MAX_DEPTH,
    ) -> None:
        """`sessions`: None where no session is spawned."""
        self._ids = ids
        self._launching = launching
        self._terminals = terminals
        self._vault = vault
        self._restart_backoff_s = restart_backoff_s
        self._texts = texts
        self._sessions_of_bundles = sessions
        self._worker_waits = worker_waits
        self._max_causation_depth = max_causation_depth

    async def gather(
        self, requests: Iterable[Request], at: datetime, admits: Callable[[int], bool] = lambda _: True
    ) -> dict[int, Facts | None]:
        """The facts of each request, by its place in `requests`; None when the disk failed them.

        `admits` says whether the text of the request at a place would be taken now; only then it is kept.
        """
        requests = list(requests)
        creates = [request for request in requests if isinstance(request, LayoutCreate)]
        sessions = await self._sessions({request.container_id for request in creates})
        panes = await self._panes({request.container_id for request in requests if isinstance(request, AgentAdopt)})
        directories = await self._directories(creates)
        launching = await self._launching.current() if any(isinstance(each, LAUNCHES) for each in requests) else None
        templates = launching.templates if launching else {}
        profiles = launching.digests() if launching else {}
        facts: dict[int, Facts | None] = {}
        plain = Facts(
            at=at,
            profiles=profiles,
            restart_backoff_s=self._restart_backoff_s,
            max_causation_depth=self._max_causation_depth,
        )
        for place, request in enumerate(requests):
            match request:
                case LayoutCreate(working_dir=str(value)) if value and directories[value] is None:
                    facts[place] = None
                case LayoutCreate():
                    template = templates.get(request.template_name)
                    facts[place] = Facts(
                        at=at,
                        ids=self._fresh(1 + (len(template.panes) if template else 0)),
                        templates=templates,
                        profiles=profiles,
                        tmux_sessions=sessions.get(request.container_id),
                        working_dir_digest=directories.get(request.working_dir) if request.working_dir else None,
                    )
                case PaneRecreate():
                    facts[place] = Facts(at=at, ids=self._fresh(1), profiles=profiles)
                case LayoutRestore():
                    facts[place] = Facts(at=at, ids=self._fresh(MAX_SLOTS), profiles=profiles)
                case AgentAdopt():
                    facts[place] = Facts(at=at, ids=self._fresh(1), tmux_panes=panes.get(request.container_id))
                case PaneSend(text=text):
                    facts[place] = await self._sending(text, at) if admits(place) else plain
                case ExecutionAnswer(value=str(text)):
                    facts[place] = await self._sending(text, at) if admits(place) else plain
                case ExecutionRequest(session_id=session_id):
                    waits = session_id is not None and self._worker_waits(session_id)
                    facts[place] = Facts(at=at, ids=self._fresh(2), worker_waits=waits)
                case PaneRegister() | ContainerScan() | AgentReport() | PromiseCreate():
                    facts[place] = Facts(at=at, ids=self._fresh(1))
                case SessionSpawn() | SessionInstruct() | SessionResume():
                    facts[place] = await self._session(request, plain)
                case BundleReload() | BundleOverlayAdd() | BundleOverlayRemove():
                    facts[place] = Facts(at=at, ids=self._fresh(1))
                case SessionCheckpoint() | SessionRestore() | SessionFork():
                    facts[place] = Facts(at=at, ids=self._fresh(1))
                case _:
                    facts[place] = plain
        return facts

    @staticmethod
    def none(at: datetime) -> Facts:
        """The facts of a command that could not be read."""
        return Facts(at=at)

    def _fresh(self, count: int) -> tuple[str, ...]:
        return tuple(self._ids.uuid7() for _ in range(count))

    async def _sessions(self, container_ids: set[str]) -> Mapping[str, frozenset[str] | None]:
        answers = await asyncio.gather(*(self._sessions_of(container_id) for container_id in sorted(container_ids)))
        return dict(zip(sorted(container_ids), answers, strict=True))

    async def _sessions_of(self, container_id: str) -> frozenset[str] | None:
        try:
            async with asyncio.timeout(SESSION_CHECK_S):
                return await self._terminals.of(container_id).sessions()
        except TerminalGone:
            return frozenset()
        except (TimeoutError, TerminalUnreachable, TerminalError, KeyError) as error:
            _log.warning("session names unknown", container_id=container_id, reason=str(error))
            return None

    async def _panes(self, container_ids: set[str]) -> Mapping[str, tuple[TmuxPane, ...] | None]:
        answers = await asyncio.gather(*(self._panes_of(container_id) for container_id in sorted(container_ids)))
        return dict(zip(sorted(container_ids), answers, strict=True))

    async def _panes_of(self, container_id: str) -> tuple[TmuxPane, ...] | None:
        try:
            async with asyncio.timeout(SESSION_CHECK_S):
                return tuple(listed(pane) for pane in await self._terminals.of(container_id).panes())
        except TerminalGone:
            return ()
        except (TimeoutError, TerminalUnreachable, TerminalError, KeyError) as error:
            _log.warning("panes unknown", container_id=container_id, reason=str(error))
            return None

    async def _sending(self, text: str, at: datetime) -> Facts | None:
        send_id = self._ids.uuid7()
        try:
            return Facts(at=at, ids=(send_id,), text_digest=await self._texts.keep(send_id, text))
        except OSError as error:
            _log.error("a text to send could not be kept", reason=str(error))
            return None

    async def _session(self, request: Wanted, plain: Facts) -> Facts | None:
        if self._sessions_of_bundles is None:
            return plain
        try:
            return await self._sessions_of_bundles.of(request, plain)
        except OSError as error:
            _log.error("what a session needs could not be kept", reason=str(error))
            return None

    async def _directories(self, creates: Iterable[LayoutCreate]) -> Mapping[str, str | None]:
        """Digest of each working directory; None for one that could not be kept."""
        wanted = sorted({request.working_dir for request in creates if request.working_dir})
        return {value: await self._kept(value) for value in wanted}

    async def _kept(self, value: str) -> str | None:
        try:
            return await self._vault.put(value)
        except OSError as error:
            _log.error("a working directory could not be kept", reason=str(error))
            return None


def listed(pane: SeenPane) -> TmuxPane:
    """A pane as the rules look at it."""
    return TmuxPane(
        tmux_pane_id=pane.tmux_pane_id,
        pid=pane.pid,
        session_name=pane.session_name,
        title=pane.title,
        dead=pane.dead,
        pane_id=pane.pane_id,
    )
