"""What a session says, in the answer to whoever has given it something to do."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from domain.errors import Rejection
from domain.sessions.state import promise_id

SPAWN_WAIT_S: Final = 300.0
"""How long the answer to a foreground spawn waits for its outcome, unless the caller says otherwise."""

_TOLD: Final = ("state", "output", "output_digest", "turn_count", "error", "error_type", "exit_code")

Row = Mapping[str, Any]


class SessionModels(Protocol):
    async def wait_for(self, position: int, timeout_s: float, *, model: str | None) -> None: ...

    async def promise(self, promise_id: str, /, *, wait_s: float) -> Row | None: ...

    async def session(self, session_id: str, /, *, wait_s: float, turn: int | None) -> Row | None: ...


def wait_of(noun: str, verb: str, parameters: dict[str, Any]) -> float:
    """Seconds, taken out of the parameters of a call: `wait`, at most 300. Raises `Rejection`."""
    if noun != "session":
        return 0
    wait_s = parameters.pop("wait", None)
    if wait_s is None:
        return SPAWN_WAIT_S if verb == "spawn" and not parameters.get("background") else 0
    if isinstance(wait_s, bool) or not isinstance(wait_s, int | float) or not 0 <= wait_s <= SPAWN_WAIT_S:
        reason = f"seconds, 0 to {SPAWN_WAIT_S:g}"
        raise Rejection("validation_failed", f"wait: {reason}", field="wait", reason=reason)
    return float(wait_s)


async def with_output(
    models: SessionModels, verb: str, outcome: Row, wait_s: float, seen_timeout_s: float
) -> dict[str, Any]:
    """The result of an accepted command, with what came of it within `wait_s` seconds. Raises `Rejection` when the read
    models are behind for `seen_timeout_s`."""
    result = dict(outcome["result"])
    session_id, turn = result["session_id"], result.get("turn")
    await models.wait_for(outcome["position"], seen_timeout_s, model="sessions")
    if verb != "spawn":
        return result | told(await models.session(session_id, wait_s=wait_s, turn=turn), turn)
    await models.wait_for(outcome["position"], seen_timeout_s, model="promises")
    await models.promise(promise_id(session_id), wait_s=wait_s)
    return result | told(await models.session(session_id, wait_s=0, turn=None), 1)


def told(found: Row | None, turn: int | None) -> dict[str, Any]:
    """Of the session, and of the turn that was waited for."""
    if found is None:
        return {}
    of_turn = next((each for each in found["turns"] if each["turn"] == turn), {})
    own = {name: of_turn[name] for name in _TOLD if name in of_turn and name != "state"}
    return {name: found[name] for name in _TOLD} | own
