"""One event of every type of background sessions and triggers, with a value in every field that may have one."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from domain.background import definition as bd
from domain.background import events as bg

AT: Final = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
DIGEST: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
SESSION: Final = "notebook"
WORKERS: Final = "bg-coding-workers-0001"
DEFINITION: Final = bd.Definition(
    name="coding-workers",
    bundle="workers/coding-worker",
    triggers=(bd.TriggerDefinition(type="session_event", config={"event_names": ["issue:created"]}),),
    pool_size=3,
    queue_size=50,
    overflow="drop_oldest",
    coalesce="latest",
    instruction="Work on {event.data[issue_id]}",
    on_complete_emit="work:completed",
    on_error_emit="work:failed",
    start_on_parent_start=False,
    stop_on_parent_stop=False,
    restart_on_failure=False,
    max_restarts=5,
    restart_window=30.0,
    timeout=600.0,
)
FIRING: Final[dict[str, Any]] = {
    "trigger_id": DIGEST[:32],
    "background_id": WORKERS,
    "trigger": 1,
    "type": "session_event",
    "source": "lead",
    "timestamp": AT,
    "data": {"issue_id": "I-7"},
    "file_path": "/srv/issues/I-7.md",
    "change_type": "created",
    "source_session_id": "lead",
    "event_name": "issue:created",
    "depth": 3,
}

EXAMPLES: Final = (
    bg.BackgroundDeclared(
        background_id=WORKERS,
        name="coding-workers",
        definition=DEFINITION,
        definition_digest=DIGEST[:32],
        source="bundle",
        parent_session_id=SESSION,
        bundle="/bundles/foreman",
        folder="/bundles/foreman",
    ),
    bg.BackgroundStarting(background_id=WORKERS, reason="parent"),
    bg.BackgroundRunning(background_id=WORKERS),
    bg.BackgroundFailed(
        background_id=WORKERS,
        error="the folder cannot be watched",
        error_type="OSError",
        restart_count=1,
        restart_at=AT + timedelta(seconds=1),
    ),
    bg.BackgroundStopped(background_id=WORKERS, reason="parent", dropped=(DIGEST[:32],)),
    bg.BackgroundRunStarted(
        background_id=WORKERS,
        trigger_id=DIGEST[:32],
        session_id="worker",
        session_name="coding-workers-7",
        attempt=2,
        trigger_count=7,
        warnings=("{event.data[issue_id]} is nothing that this firing has",),
    ),
    bg.BackgroundRunEnded(
        background_id=WORKERS,
        trigger_id=DIGEST[:32],
        session_id="worker",
        attempt=1,
        success=False,
        output="half of it",
        error="the tower ended while this turn ran",
        error_type="lost",
        again=True,
    ),
    bg.TriggerFired(**FIRING, placed="waiting"),
    bg.TriggerRefused(**FIRING, reason="queue_full"),
    bg.TriggerDropped(trigger_id=DIGEST[:32], background_id=WORKERS, reason="coalesced"),
)
