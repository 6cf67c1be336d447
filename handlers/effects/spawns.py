"""Sessions that code spawns: `tower.spawn`, by the same rules as everybody's.

Sends `session.spawn`, below the session that asks where that was made from a bundle, and `session.cancel` for what
nobody waits for any more; listens to the outcomes of sessions, which foreground ones are answered with.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from domain.envelope import Recorded
from domain.sessions import commands as sc
from domain.sessions import events as se
from domain.tower import Tower
from handlers.effects.capabilities import Asking, Reply
from handlers.effects.follow_ups import FollowUps

REMEMBERED: Final = 1_000
"""Outcomes that somebody may still ask for."""


class Spawns:
    """An observer of the writer."""

    def __init__(self, *, follow_ups: FollowUps) -> None:
        self._follow_ups = follow_ups
        self._outcomes: OrderedDict[str, Reply] = OrderedDict()
        self._waiting: dict[str, asyncio.Future[Reply]] = {}

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        for each in recorded:
            reply = _outcome(each.event)
            if reply is None:
                continue
            session_id = each.envelope.subject
            self._outcomes[session_id] = reply
            while len(self._outcomes) > REMEMBERED:
                self._outcomes.popitem(last=False)
            waiting = self._waiting.pop(session_id, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(reply)

    async def spawn(self, asking: Asking, number: int, asked: Mapping[str, Any]) -> Reply:
        """What the session says that is asked for as the `number`-th thing; at once, for one in the background. A
        bundle that is still being prepared is told as such."""
        parent = asking.session_id if asking.execution_id is None else None
        try:
            request = msgspec.convert({**asked, "parent_session_id": parent}, sc.SessionSpawn)
        except msgspec.ValidationError as error:
            return Reply("failed", message=f"spawn: {error}")
        step, cause = f"spawn:{asking.attempt}:{number}", asking.execution_id or asking.session_id
        outcome = await self._follow_ups.ask(asking.source, step, request, because_of=cause)
        if outcome["status"] != "accepted":
            return Reply("failed", message=f"spawn: {outcome['error']['code']}: {outcome['error']['message']}")
        told = {name: outcome["result"][name] for name in ("session_id", "promise_id", "state")}
        if request.background:
            return Reply("ok", told)
        try:
            reply = await self._outcome_of(told["session_id"])
        except asyncio.CancelledError:
            if parent is None:
                # Below a session, its end is that of those below it.
                cancel = sc.SessionCancel(session_id=told["session_id"])
                self._follow_ups.send(told["session_id"], "left", cancel)
            raise
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
