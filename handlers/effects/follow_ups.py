"""Sending back what happened: commands with deterministic ids, so that a repetition after a crash is recognised."""

import asyncio
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import msgspec

from domain.messages import Request
from handlers.inbox import FollowUp, Inbox

_NAMESPACE: Final = uuid5(NAMESPACE_URL, "agenttower:follow-up")


def follow_up_id(subject_id: str, step: str) -> str:
    """The same id for the same step of the same thing (a pane, an event, a run of the tower)."""
    return str(uuid5(_NAMESPACE, f"{subject_id}:{step}"))


class FollowUps:
    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def send(self, subject_id: str, step: str, request: Request) -> None:
        """Send and go on."""
        self._inbox.submit(FollowUp(id=follow_up_id(subject_id, step), request=request))

    async def ask(self, subject_id: str, step: str, request: Request) -> dict[str, Any]:
        """Send and wait for the outcome, after its commit."""
        outcome: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def answered(encoded: bytes) -> None:
            if not outcome.done():
                outcome.set_result(encoded)

        self._inbox.submit(FollowUp(id=follow_up_id(subject_id, step), request=request, on_outcome=answered))
        return msgspec.json.decode(await outcome)
