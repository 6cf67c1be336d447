"""Sending back what happened: commands with deterministic ids, so that a repetition after a crash is recognised."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from uuid_utils import NAMESPACE_URL, uuid5

from domain.envelope import Recorded
from domain.messages import TOWER, Request
from domain.tower import Tower
from handlers.inbox import FollowUp, Inbox

_NAMESPACE: Final = uuid5(NAMESPACE_URL, "agenttower:follow-up")

CAUSES: Final = 10_000
"""Panes, scans, executions whose latest event is remembered, the ones that changed last."""

CAUSING: Final = frozenset({"pane", "container", "execution", "session", "promise", "bundle", "background"})
"""Kinds of aggregates whose events make effects send commands."""


def follow_up_id(subject_id: str, step: str) -> str:
    """The same id for the same step of the same thing (a pane, an event, a run of the tower)."""
    return str(uuid5(_NAMESPACE, f"{subject_id}:{step}"))


class FollowUps:
    """An observer of the writer: a stage is done because of its pane's latest event, a scan because of its
    request, an attempt because of its start, and the command says so."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._causes: OrderedDict[str, tuple[str, str, str | None]] = OrderedDict()

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        for each in recorded:
            if each.envelope.kind in CAUSING:
                envelope = each.envelope
                traceparent = envelope.traceparent if isinstance(envelope.traceparent, str) else None
                self._causes[envelope.subject] = (envelope.id, envelope.correlationid, traceparent)
                self._causes.move_to_end(envelope.subject)
        while len(self._causes) > CAUSES:
            self._causes.popitem(last=False)

    def send(
        self,
        subject_id: str,
        step: str,
        request: Request,
        *,
        spontaneous: bool = False,
        origin: str = TOWER,
        on_outcome: Callable[[bytes], None] | None = None,
    ) -> None:
        """Send and go on. `spontaneous`: it happened by itself (a death), no event caused it. `on_outcome` is called
        with the encoded outcome, from the writer's task."""
        because_of = None if spontaneous else subject_id
        made = self._made(follow_up_id(subject_id, step), request, because_of, origin=origin, on_outcome=on_outcome)
        self._inbox.submit(made)

    async def ask(
        self, subject_id: str, step: str, request: Request, *, because_of: str | None = None
    ) -> dict[str, Any]:
        """Send and wait for the outcome, after its commit. `because_of`: the pane or scan whose event caused it."""
        outcome: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def answered(encoded: bytes) -> None:
            if not outcome.done():
                outcome.set_result(encoded)

        self._inbox.submit(self._made(follow_up_id(subject_id, step), request, because_of, on_outcome=answered))
        return msgspec.json.decode(await outcome)

    def _made(
        self,
        command_id: str,
        request: Request,
        because_of: str | None,
        *,
        origin: str = TOWER,
        on_outcome: Callable[[bytes], None] | None = None,
    ) -> FollowUp:
        none = (None, None, None)
        event_id, correlation_id, traceparent = none if because_of is None else self._causes.get(because_of, none)
        return FollowUp(
            id=command_id,
            request=request,
            origin=origin,
            causation_id=event_id,
            correlation_id=correlation_id,
            traceparent=traceparent,
            on_outcome=on_outcome,
        )
