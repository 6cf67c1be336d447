"""Sessions that code in a session spawns: `tower.spawn`, by the same rules as everybody's.

Sends `session.spawn` below the session that asks; listens to the outcomes of sessions, which foreground ones are
answered with.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from domain.envelope import Recorded
from domain.sessions import commands as sc
from domain.sessions import events as se
from domain.tower import Tower
from handlers.effects.capabilities import Reply
from handlers.effects.follow_ups import FollowUps

REMEMBERED: Final = 1_000
"""Outcomes that somebody may still ask for."""


class Spawns:
    """An observer of the writer."""

    def __init__(self, *, follow_ups: FollowUps) -> None:
        self._follow_ups = follow_ups
        self._outcomes: dict[str, Reply] = {}
        self._waiting: dict[str, asyncio.Future[Reply]] = {}

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        for each in recorded:
            reply = _outcome(each.event)
            if reply is None:
                continue
            session_id = each.envelope.subject
            self._outcomes[session_id] = reply
            while len(self._outcomes) > REMEMBERED:
                del self._outcomes[next(iter(self._outcomes))]
            waiting = self._waiting.pop(session_id, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(reply)

    async def spawn(self, parent: str, turn: int, n: int, asked: Mapping[str, Any]) -> Reply:
        """What the n-th session says that a turn of `parent` spawns; at once, for one in the background. A bundle that
        is still being prepared is told as such. Never raises."""
        try:
            request = msgspec.convert({**asked, "parent_session_id": parent}, sc.SessionSpawn)
        except msgspec.ValidationError as error:
            return Reply("failed", message=f"spawn: {error}")
        outcome = await self._follow_ups.ask(parent, f"spawn:{turn}:{n}", request, because_of=parent)
        if outcome["status"] != "accepted":
            return Reply("failed", message=f"spawn: {outcome['error']['code']}: {outcome['error']['message']}")
        told = {name: outcome["result"][name] for name in ("session_id", "promise_id", "state")}
        if request.background:
            return Reply("ok", told)
        reply = await self._outcome_of(told["session_id"])
        return Reply("ok", {**told, **reply.value}) if reply.status == "ok" else reply

    async def _outcome_of(self, session_id: str) -> Reply:
        if session_id in self._outcomes:
            return self._outcomes[session_id]
        future = self._waiting[session_id] = asyncio.get_running_loop().create_future()
        try:
            return await future
        finally:
            self._waiting.pop(session_id, None)


def _outcome(event: object) -> Reply | None:
    match event:
        case se.SessionCompleted():
            told = {"state": "completed", "output": event.output, "turn_count": event.turn_count}
            return Reply("ok", told)
        case se.SessionError():
            return Reply("failed", message=f"{event.error_type}: {event.error}")
        case se.SessionCancelled():
            return Reply("cancelled", message="the session was cancelled")
        case se.SessionTimedOut():
            return Reply("timeout", message="the session's time was over")
        case _:
            return None
