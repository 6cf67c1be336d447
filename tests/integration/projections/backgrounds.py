"""Random requests about background sessions: mostly what the tower would report next."""

from random import Random
from typing import Any

from domain.background import commands as c
from domain.background.events import BackgroundState
from domain.messages import Request
from domain.sessions.commands import SessionEmit
from domain.tower import Tower
from tests.unit.builders import AT

NAMES = ("watchers", "workers", "testers")


def definition(name: str, **changed: Any) -> dict[str, Any]:
    """As somebody writes it: fired by hand, by files and by what is emitted."""
    triggers = [
        {"type": "manual"},
        {"type": "file_change", "config": {"path": "."}},
        {"type": "session_event", "config": {"event_names": ["work:*"]}},
    ]
    return {"name": name, "bundle": "b", "triggers": triggers, **changed}


def _declare(random: Random) -> Request:
    options: list[dict[str, Any]] = [
        {"pool_size": 2, "queue_size": 2, "overflow": "drop_oldest", "on_complete_emit": "work:completed"},
        {"queue_size": 1, "overflow": "reject"},
        {"queue_size": 3, "coalesce": "latest", "instruction": "Look at {path}"},
    ]
    names = random.sample(NAMES, random.choice([1, 2, 3, 3]))
    definitions = tuple(definition(name, **random.choice(options)) for name in sorted(names))
    return c.BackgroundDeclare(source="config", definitions=definitions)


def of_backgrounds(random: Random, state: Tower) -> Request:
    known = sorted(state.backgrounds.known)
    if not known or random.random() < 0.05:
        return _declare(random)
    there = state.backgrounds.known[random.choice(known)]
    this = {"background_id": there.background_id}
    if there.state is BackgroundState.STARTING and random.random() < 0.7:
        return c.BackgroundRecordRunning(**this, definition_digest=there.definition_digest)
    if there.running and random.random() < 0.6:
        run = there.running[random.choice(sorted(there.running))]
        failure = c.BackgroundFailure(error="é\0", error_type=random.choice(["lost", "exit_status"]))
        return c.BackgroundRecordRunEnded(**this, trigger_id=run.fired.trigger_id, attempt=run.attempt, failure=failure)
    asked: list[Request] = [
        c.TriggerFire(name=there.background_id, data={"é": "\0", "n": random.randrange(9)}),
        c.TriggerFire(name=there.background_id, data="x" * 5000),
        c.TriggerRecordFired(
            **this,
            trigger=1,
            type="file_change",
            source="/srv/é",
            timestamp=AT,
            data={"paths": ["a"]},
            trigger_id=f"{random.randrange(30):032}",
            file_path="/srv/é/a",
            change_type="modified",
        ),
        SessionEmit(name="work:done", data=[1, None]),
        c.BackgroundRecordFailed(**this, definition_digest=there.definition_digest, error="é", error_type="OSError"),
        c.BackgroundRecordRestartDue(**this),
        c.BackgroundStart(**this),
    ]
    if random.random() < 0.1:
        return c.BackgroundStop(**this)
    return random.choice(asked)
