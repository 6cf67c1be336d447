"""The stages of the spawn pipeline for some panes of one layout.

`pane_create` makes the panes in tmux; after the settle time `finish` goes through launch_command, registration and
log_attach. Each looks first at what is there, so that a repetition after a crash or a lost answer makes nothing twice.
Every outcome is a command back to the writer.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from domain.agents.state import session_to_resume
from domain.layouts import commands as c
from domain.layouts.guards import session_key
from domain.layouts.labels import MARKER
from domain.layouts.state import Layout, Layouts, Pane, PaneState, Stage
from domain.tower import Tower
from handlers.effects.follow_ups import FollowUps
from handlers.effects.pane_places import PanePlaces
from handlers.effects.retrying import with_retries
from handlers.ports import (
    Clock,
    Launching,
    LaunchProfile,
    PaneToCreate,
    SeenPane,
    SessionExists,
    Terminal,
    TerminalError,
    TerminalGone,
    Vault,
)

AGENT_SESSION: Final = "{agent_session}"
"""Stands for a reported session id in the words of a profile's `resume`."""

_log = structlog.get_logger(__name__)


def pending_title(pane: Pane) -> str:
    """`@MANAGED:<token>:<label>`."""
    return f"{MARKER}{pane.marker}:{pane.label}"


async def seen_panes(terminal: Terminal) -> Sequence[SeenPane]:
    """All panes; none when no server runs."""
    try:
        return await terminal.panes()
    except TerminalGone:
        return ()


def living_session(layout: Layout, siblings: Sequence[SeenPane]) -> str | None:
    """The name of the layout's session, if it lives with one of its panes: the one of its name, else the one of the
    tower's that a person has renamed. A person's own session, into which panes were moved, is not it."""
    name = session_key(layout.tmux_session_name)
    names = [seen.session_name for seen in siblings if seen.own_session or seen.session_name == name]
    return name if name in names else next(iter(names), None)


def argv_of(profile: LaunchProfile, agent_session: str | None) -> tuple[str, ...]:
    """What a pane runs. A session id stays within the words that name it, whatever it holds."""
    if agent_session is None or not profile.resume:
        return profile.command
    return tuple(word.replace(AGENT_SESSION, agent_session) for word in profile.resume)


class Stages:
    def __init__(
        self, *, follow_ups: FollowUps, clock: Clock, launching: Launching, vault: Vault, places: PanePlaces
    ) -> None:
        self._follow_ups = follow_ups
        self._clock = clock
        self._launching = launching
        self._vault = vault
        self._places = places

    # --- pane_create -----------------------------------------------------------------------------------------------

    async def create(self, terminal: Terminal, layout: Layout, panes: Sequence[Pane], state: Tower) -> None:
        """Make those of `panes` that are not there; a pane that cannot be made fails alone where that is possible."""
        working_dir, lost = await self._working_dir(layout)
        profiles = (await self._launching.current()).profiles
        wanted: list[tuple[Pane, PaneToCreate]] = []
        for pane in panes:
            profile = profiles.get(pane.launch_profile)
            if profile is None or profile.digest != pane.launch_digest:
                self._fail(pane, Stage.PANE_CREATE, "profile_changed")
            elif lost:
                self._fail(pane, Stage.PANE_CREATE, "working_dir_lost")
            else:
                argv = argv_of(profile, session_to_resume(pane, state.layouts, state.agents))
                wanted.append((pane, self._to_create(pane, profile, argv, working_dir)))
        if not wanted:
            return
        try:
            made = await with_retries(lambda: self._make(terminal, layout, wanted, state.layouts), self._clock)
        except TerminalError as error:
            for pane, _ in wanted:
                self._fail(pane, Stage.PANE_CREATE, reason_of(error))
            return
        for pane, _ in wanted:
            seen = made[pane.pane_id]
            spawned = c.PaneRecordSpawned(
                pane_id=pane.pane_id,
                tmux_pane_id=seen.tmux_pane_id,
                tmux_pane_index=seen.pane_index,
                pid=seen.pid,
            )
            self._follow_ups.send(pane.pane_id, "spawned", spawned)

    async def _make(
        self, terminal: Terminal, layout: Layout, wanted: Sequence[tuple[Pane, PaneToCreate]], layouts: Layouts
    ) -> Mapping[str, SeenPane]:
        """The wanted panes as they stand in tmux afterwards, by pane id."""
        there = {seen.pane_id: seen for seen in await seen_panes(terminal) if seen.pane_id is not None}
        missing = [(pane, to_create) for pane, to_create in wanted if pane.pane_id not in there]
        for pane, _ in missing:
            remains = there.pop(pane.predecessor_id, None) if pane.predecessor_id else None
            if remains is not None and remains.pane_id is not None:
                await terminal.kill_pane(remains.tmux_pane_id, remains.pane_id)
        to_create = [each for _, each in missing]
        siblings = [there[pane.pane_id] for pane in layouts.panes_of(layout.layout_id) if pane.pane_id in there]
        made: Sequence[SeenPane] = ()
        session = living_session(layout, siblings)
        if to_create and session is not None:
            made = await terminal.add_panes(session, to_create)
        elif to_create:
            made = await self._start_session(terminal, layout, missing)
        return {**there, **{seen.pane_id: seen for seen in made if seen.pane_id is not None}}

    async def _start_session(
        self, terminal: Terminal, layout: Layout, missing: Sequence[tuple[Pane, PaneToCreate]]
    ) -> Sequence[SeenPane]:
        """The layout's session anew; panes that are recreated join one that a person's own pane kept alive."""
        panes = [to_create for _, to_create in missing]
        try:
            return await terminal.create_session(layout.tmux_session_name, panes)
        except SessionExists:
            if any(pane.predecessor_id is None for pane, _ in missing):
                raise
            return await terminal.add_panes(layout.tmux_session_name, panes)

    def _to_create(
        self, pane: Pane, profile: LaunchProfile, argv: tuple[str, ...], working_dir: str | None
    ) -> PaneToCreate:
        return PaneToCreate(
            pane_id=pane.pane_id,
            title=pending_title(pane),
            argv=argv,
            env={
                **self._places.tower_of(pane.container_id),
                **profile.env,
                "AGENTTOWER_PANE_ID": pane.pane_id,
                "AGENTTOWER_LABEL": pane.label,
            },
            working_dir=working_dir or profile.working_dir,
            log_path=self._places.of(pane.container_id, pane.pane_id).written,
        )

    async def _working_dir(self, layout: Layout) -> tuple[str | None, bool]:
        """The layout's working directory, and whether it was given but is known no more."""
        if layout.working_dir_digest is None:
            return None, False
        try:
            value = await self._vault.get(layout.working_dir_digest)
        except OSError as error:
            _log.error("a working directory cannot be read", layout_id=layout.layout_id, reason=str(error))
            value = None
        return value, value is None

    # --- launch_command, registration, log_attach ------------------------------------------------------------------

    async def finish(self, terminal: Terminal, panes: Sequence[Pane], elapsed_ms: int) -> None:
        """The stages after the settle time, each pane from its first one not done."""
        try:
            listed = await with_retries(lambda: seen_panes(terminal), self._clock)
        except TerminalError as error:
            for pane in panes:
                self._fail(pane, pane.next_stage, reason_of(error))
            return
        there = {seen.pane_id: seen for seen in listed}
        for pane in panes:
            seen = there.get(pane.pane_id)
            if seen is None:
                self._follow_ups.send(pane.pane_id, "vanished", c.PaneRecordVanished(pane_id=pane.pane_id))
            else:
                await self._finish_one(terminal, pane, seen, elapsed_ms)

    async def _finish_one(self, terminal: Terminal, pane: Pane, seen: SeenPane, elapsed_ms: int) -> None:
        pane_id = pane.pane_id
        if not (pane.launch_settled or pane.launch_exited):
            self._launched(pane, seen, elapsed_ms)
        if pane.agent_id is None:
            self._follow_ups.send(pane_id, "registered", c.PaneRegister(pane_id=pane_id))
        path = self._places.of(pane.container_id, pane_id)

        async def attach() -> None:
            # Also where it is piped: the program behind the pipe may be unable to write.
            if not seen.dead:
                await terminal.attach_log(seen.tmux_pane_id, pane_id, path.written)
            await terminal.set_title(seen.tmux_pane_id, pane_id, pane.label)

        try:
            await with_retries(attach, self._clock)
        except TerminalError as error:
            failed = c.PaneRecordLogFailed(pane_id=pane_id, reason=reason_of(error))
            self._follow_ups.send(pane_id, "log_failed", failed)
        else:
            self._follow_ups.send(pane_id, "log_attached", c.PaneRecordLogAttached(pane_id=pane_id, path=path.read))

    def _launched(self, pane: Pane, seen: SeenPane, elapsed_ms: int) -> None:
        if seen.dead:
            exited = c.PaneRecordLaunchExited(
                pane_id=pane.pane_id, elapsed_ms=elapsed_ms, exit_code=seen.exit_code, signal=seen.signal
            )
            self._follow_ups.send(pane.pane_id, "launch_exited", exited)
        else:
            settled = c.PaneRecordLaunchSettled(pane_id=pane.pane_id, elapsed_ms=elapsed_ms)
            self._follow_ups.send(pane.pane_id, "launch_settled", settled)

    def _fail(self, pane: Pane, stage: Stage, reason: str) -> None:
        if pane.state is not PaneState.CREATING:
            return
        request = c.PaneFail(pane_id=pane.pane_id, stage=PIPELINE[stage], reason=reason)
        self._follow_ups.send(pane.pane_id, f"failed:{stage}", request)


PIPELINE: Final[Mapping[Stage, c.PipelineStage]] = {
    Stage.PANE_CREATE: "pane_create",
    Stage.LAUNCH_COMMAND: "launch_command",
    Stage.REGISTRATION: "registration",
    Stage.LOG_ATTACH: "log_attach",
}


def reason_of(error: TerminalError) -> str:
    """One line for people: `session_exists`, or what tmux said."""
    return "session_exists" if isinstance(error, SessionExists) else str(error).splitlines()[0][:200]
