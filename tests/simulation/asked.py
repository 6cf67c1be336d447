"""What the log must say of commands about sessions and background sessions."""

from collections.abc import Sequence
from typing import Any, Final

from domain.background import commands as bc
from domain.background import events as be
from domain.background.events import BackgroundState
from domain.executions.events import SessionEmitted
from domain.messages import Request
from domain.node import CommandRejected
from domain.sessions import commands as sc
from domain.sessions import events as se
from domain.sessions.state import exists
from domain.tower import Tower

SESSION_REQUESTS: Final = (
    sc.SessionSpawn,
    sc.SessionEmit,
    sc.SessionCancel,
    sc.SessionEnd,
    bc.BackgroundStart,
    bc.BackgroundStop,
    bc.TriggerFire,
)


def of_sessions(request: Request, events: Sequence[Any]) -> bool:
    """Whether the events are those of this very request."""
    first = events[0]
    match request:
        case _ if isinstance(first, CommandRejected):
            return True
        case sc.SessionSpawn():
            return isinstance(first, se.SessionSpawned) and request.session_id in (None, first.session_id)
        case sc.SessionEmit():
            return isinstance(first, SessionEmitted) and (first.name, first.data) == (request.name, request.data)
        case sc.SessionCancel() | sc.SessionEnd():
            return isinstance(first, se.SessionEvent)
        case bc.BackgroundStart():
            return isinstance(first, be.BackgroundStarting) and first.background_id == request.background_id
        case bc.BackgroundStop():
            return isinstance(first, be.BackgroundStopped) and first.background_id == request.background_id
        case bc.TriggerFire():
            return isinstance(first, be.TriggerTold) and first.background_id == request.name
        case _:
            return False


def stands(request: Request, state: Tower) -> bool:
    """Whether what was asked was so before."""
    backgrounds = state.backgrounds.known
    match request:
        case sc.SessionSpawn():
            return request.session_id is not None and exists(request.session_id, state.sessions)
        case sc.SessionCancel() | sc.SessionEnd():
            return exists(request.session_id, state.sessions)
        case bc.BackgroundStart():
            there = backgrounds[request.background_id or ""].state
            return there in (BackgroundState.STARTING, BackgroundState.RUNNING)
        case bc.BackgroundStop():
            return backgrounds[request.background_id or ""].state is BackgroundState.STOPPED
        case _:
            return False
