"""What the caller of a command about background sessions is told: from its events, or from the state for a repeat."""

from collections.abc import Sequence

from domain.background import commands as c
from domain.background import events as e
from domain.background.decide import found
from domain.background.state import Backgrounds
from domain.messages import Event, Request, Result


def result(events: Sequence[Event]) -> Result | None:
    """Of an accepted command, from its events; None if they are of another kind."""
    first = events[0]
    match first:
        case e.TriggerFired():
            session_id = next((each.session_id for each in events if isinstance(each, e.BackgroundRunStarted)), None)
            told = {"trigger_id": first.trigger_id, "background_id": first.background_id, "state": first.placed}
            return told | {"session_id": session_id, "replay": False}
        case e.TriggerRefused():
            told = {"trigger_id": first.trigger_id, "background_id": first.background_id, "state": "refused"}
            return told | {"reason": first.reason, "replay": False}
        case e.BackgroundStarting():
            return {"background_id": first.background_id, "state": "starting", "replay": False}
        case e.BackgroundStopped() if first.reason == "asked":
            return {"background_id": first.background_id, "state": "stopped", "replay": False}
        case e.BackgroundEvent():
            declared = [each.background_id for each in events if isinstance(each, e.BackgroundDeclared)]
            return {"background_id": first.background_id, "declared": declared, "recorded": True}
        case _:
            return None


def standing(request: Request, state: Backgrounds) -> Result | None:
    """Of a command that changed nothing; None if it is of another kind."""
    match request:
        case c.BackgroundStart() | c.BackgroundStop():
            there = found(request.background_id, request.name, state)
            return {"background_id": there.background_id, "state": str(there.state), "replay": True}
        case c.BackgroundDeclare():
            return {"declared": [], "recorded": False}
        case c.TriggerRecordFired():
            told = request.trigger_id is not None and request.trigger_id in state.told.known
            return {"background_id": request.background_id, "recorded": False, "replay": told}
        case (
            c.BackgroundRecordRunning()
            | c.BackgroundRecordFailed()
            | c.BackgroundRecordRestartDue()
            | c.BackgroundRecordRunEnded()
        ):
            return {"background_id": request.background_id, "recorded": False}
        case _:
            return None
