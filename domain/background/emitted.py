"""What others are told of a run: why it ran, and the custom event of its end."""

from typing import Any, Final, cast

import msgspec

from domain.background.commands import DATA_BYTES
from domain.background.state import Background, Backgrounds, Outcome, Run
from domain.executions.events import SessionEmitted
from domain.sessions.state import Sessions

CAUSE_BYTES: Final = DATA_BYTES // 2
"""Of what triggered a run, as JSON, in the events of its end: they may trigger others, and so on."""

OUTPUT_CHARACTERS: Final = 8 * 1024
"""Of an output that is cut, at either end."""


def of_run(there: Background, run: Run, outcome: Outcome) -> SessionEmitted | None:
    """The custom event of a run that ended; None if none was declared."""
    definition = there.definition
    name = definition.on_complete_emit if outcome.success else definition.on_error_emit
    if name is None:
        return None
    data: dict[str, Any] = {
        "trigger": trigger_of(run),
        "session_id": run.session_id,
        "session_name": run.session_name,
        "background_session": there.name,
        "output": outcome.output,
        "success": outcome.success,
    }
    if not outcome.success:
        data |= {"error": outcome.error, "error_type": outcome.error_type}
    return SessionEmitted(session_id=run.session_id, name=name, data=bounded(data), depth=run.fired.depth + 1)


def sources_of(session_id: str, sessions: Sessions, backgrounds: Backgrounds) -> frozenset[str]:
    """By what a source is known: its id, its name, and the name of the background session whose run it is."""
    session = sessions.known.get(session_id) or sessions.ended.get(session_id)
    names = {session_id} if session is None else {session_id, session.session_name}
    background_id, _ = backgrounds.runs.get(session_id, ("", ""))
    background = backgrounds.known.get(background_id)
    return frozenset(names if background is None else {*names, background.name})


def trigger_of(run: Run) -> dict[str, Any]:
    """Why it ran, as the events of its end tell it. Data that is too long is left out, and that is told."""
    fired = run.fired
    optional = ("file_path", "change_type", "source_session_id", "event_name")
    told: dict[str, Any] = {
        "trigger_id": fired.trigger_id,
        "type": fired.type,
        "source": fired.source,
        "timestamp": fired.timestamp.isoformat(),
        **{name: getattr(fired, name) for name in optional if getattr(fired, name) is not None},
        "attempt": run.attempt,
    }
    if _size(fired.data) > CAUSE_BYTES:
        return {**told, "data": None, "truncated": True}
    return {**told, "data": fired.data}


def bounded(data: Any) -> Any:
    """At most `DATA_BYTES` as JSON: the middle of a long output is left out."""
    if _size(data) <= DATA_BYTES or not isinstance(data, dict):
        return data
    told = cast(dict[str, Any], data)
    output = str(told.get("output") or "")
    cut = f"{output[:OUTPUT_CHARACTERS]}\n…\n{output[-OUTPUT_CHARACTERS:]}"
    return {**told, "output": cut, "truncated": True}


def _size(data: Any) -> int:
    return len(msgspec.json.encode(data))
