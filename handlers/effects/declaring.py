"""Declares background sessions: those of the settings at each start, those of a bundle again when it was reloaded.

Listens to `bundle.reloaded`; sends `background.declare`. What the bundle of a new session declares stands in the append
of its spawn. Declaring again what is declared records nothing, so that a start simply does it for every session that
declares any or whose bundle changed.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import structlog

from domain.background.commands import BackgroundDeclare
from domain.background.reading import declared_in
from domain.bundles.events import BundleReloaded
from domain.envelope import Recorded
from domain.sessions.state import Session
from domain.tower import Tower
from handlers.bundle_ports import BundleProblem
from handlers.effects.follow_ups import FollowUps
from handlers.session_facts import INLINE, Prepared, folder_of, plain

_log = structlog.get_logger(__name__)


class Declaring:
    """Observer of the writer. `configured`: the definitions of the settings, as written, relative paths from `folder`.
    `instance` makes the command ids of one start."""

    def __init__(
        self,
        *,
        bundles: Prepared,
        follow_ups: FollowUps,
        instance: str,
        configured: Sequence[Mapping[str, Any]],
        folder: str,
    ) -> None:
        self._bundles = bundles
        self._follow_ups = follow_ups
        self._instance = instance
        self._configured = tuple(dict(each) for each in configured)
        self._folder = folder
        self._state = Tower()
        self._group: asyncio.TaskGroup | None = None

    def start(self, state: Tower) -> None:
        self._state = state

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._own(self._declare_configured())
                for session in tuple(self._state.sessions.known.values()):
                    if session.stale or session.session_id in self._state.backgrounds.children:
                        self._own(self._declare_again(session, f"start:{self._instance}"))
                await asyncio.Event().wait()
        finally:
            self._group = None

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        self._state = state
        if self._group is None:
            return
        for record in recorded:
            if isinstance(record.event, BundleReloaded):
                for session in tuple(state.sessions.known.values()):
                    if session.bundle.uri == record.event.uri and not session.ending:
                        self._own(self._declare_again(session, f"reloaded:{record.envelope.id}"))

    async def _declare_configured(self) -> None:
        declare = BackgroundDeclare(source="config", definitions=self._configured, folder=self._folder)
        if self._configured or self._state.backgrounds.declared_by("config", None):
            await self._asked(self._instance, "background:config", declare)

    async def _declare_again(self, session: Session, step: str) -> None:
        """What its bundle declares by now."""
        uri = session.bundle.uri
        if uri == INLINE:
            return
        try:
            # Each time it waits for a while.
            while (found := await self._bundles.find(uri)) is None:
                pass
        except BundleProblem as problem:
            _log.warning("background sessions are not read again", session_id=session.session_id, reason=str(problem))
            return
        definitions = declared_in(plain(found.plan))
        if definitions or session.session_id in self._state.backgrounds.children:
            declare = BackgroundDeclare(
                source="bundle",
                definitions=definitions,
                parent_session_id=session.session_id,
                bundle=uri,
                folder=folder_of(found),
            )
            await self._asked(session.session_id, f"declare:{step}", declare)

    async def _asked(self, subject_id: str, step: str, declare: BackgroundDeclare) -> None:
        """A refusal leaves those that are declared as they are."""
        outcome = await self._follow_ups.ask(subject_id, step, declare)
        if outcome["status"] != "accepted":
            error = outcome["error"]
            parent, reason = declare.parent_session_id, str(error["message"])
            _log.error("background sessions are not declared", parent=parent, code=error["code"], reason=reason)

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._group is not None
        self._group.create_task(work)
