"""Waiting for what a session says: the answer to its command holds the outcome as well."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import Request

from adapters.http.executions import settled
from adapters.http.services import ReadModels
from domain.sessions.state import promise_id

SPAWN_WAIT_S: Final = 300.0
"""How long the answer to a foreground spawn waits for its outcome, unless the caller says otherwise."""

_TOLD: Final = ("state", "output", "output_digest", "turn_count", "error", "error_type", "exit_code")


async def with_outcome(request: Request, verb: str, outcome: Mapping[str, Any], wait_s: float) -> dict[str, Any]:
    """`outcome` of an accepted command, with what came of it within `wait_s` seconds in its result."""
    result = dict(outcome["result"])
    session_id = result.get("session_id")
    if not wait_s or session_id is None:
        return dict(outcome)
    services = request.app.state.services
    models: ReadModels = services.read_models
    await models.wait_for(outcome["position"], services.after_timeout_s, model="sessions")
    if verb == "spawn":
        await models.wait_for(outcome["position"], services.after_timeout_s, model="promises")
        name = promise_id(session_id)
        await settled(request, wait_s, lambda left_s: models.promise(name, wait_s=left_s))
        found = await models.session(session_id, wait_s=0, turn=None)
        return {**outcome, "result": result | _told(found, 1)}
    turn = result.get("turn")
    found = await settled(request, wait_s, lambda left_s: models.session(session_id, wait_s=left_s, turn=turn))
    return {**outcome, "result": result | _told(found, turn)}


def _told(found: Mapping[str, Any] | None, turn: int | None) -> dict[str, Any]:
    """Of the session, and of the turn that was waited for."""
    if found is None:
        return {}
    of_turn = next((each for each in found["turns"] if each["turn"] == turn), {})
    own = {name: of_turn[name] for name in _TOLD if name in of_turn and name != "state"}
    return {name: found[name] for name in _TOLD} | own
