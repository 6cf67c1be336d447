"""Random requests and reports of sessions, mostly what the tower would report next."""

from random import Random
from typing import Any

from domain.messages import Request
from domain.sessions import commands as c
from domain.sessions.state import next_turn
from domain.tower import Tower
from tests.unit.talks import instruct, lost, spawn, started, turn_ended

NAMES = tuple(f"talk-{number}" for number in range(40))
ENDS = ("completed", "completed", "completed", "failed", "cancelled", "timed_out")


def of_sessions(random: Random, state: Tower) -> Request:
    sessions = state.sessions
    session_id = random.choice(NAMES)
    session = sessions.known.get(session_id)
    if session is None or random.random() < 0.05:
        parent = random.choice([None, None, *NAMES])
        options: dict[str, Any] = {"parent_session_id": parent, "background": random.random() < 0.3}
        return spawn(session_id, f"say {random.randrange(9)}", timeout=random.choice([None, 60.0]), **options)
    if random.random() < 0.6:
        if session.running is not None:
            said = {"output": "ü" * random.randrange(300), "execution_time": 0.25, "output_position": 7}
            return turn_ended(random.choice(ENDS), session.running.turn, session_id, **said)
        first = next_turn(session_id, sessions)
        if first is not None:
            return started(first.turn, session_id, restarted=random.random() < 0.2)
    return random.choice(
        (
            instruct(f"and {random.randrange(9)}", session_id),
            instruct("more", session_id),
            c.SessionResume(session_id=session_id, instruction=random.choice([None, "again"])),
            c.SessionRecordTimedOut(session_id=session_id),
            c.SessionRecordStale(session_id=session_id, from_digest="b" * 64, to_digest="c" * 64),
            c.SessionEnd(session_id=session_id) if random.random() < 0.2 else instruct("more", session_id),
            c.SessionCancel(session_id=session_id) if random.random() < 0.3 else instruct("more", session_id),
            lost(1 if session.running is None else session.running.turn, session_id),
        )
    )
