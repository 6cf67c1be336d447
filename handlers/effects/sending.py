"""Types texts into panes.

Listens to `pane.send_requested`; sends `pane.record_send_begun`, `pane.record_text_sent` and `pane.record_send_failed`.
The worker of the pane's container does it, in order of acceptance with its other work. The begin is in the log before
the first key is typed: what a restart finds begun is `interrupted`, and never typed again.
"""

import structlog

from domain import sends as s
from domain.sends import Send, SendFailure
from handlers.effects.follow_ups import FollowUps
from handlers.effects.retrying import with_retries
from handlers.effects.stages import seen_panes
from handlers.ports import (
    Clock,
    PaneNotThere,
    SeenPane,
    Terminal,
    TerminalError,
    TerminalGone,
    Terminals,
    TerminalUnreachable,
    Texts,
)

_log = structlog.get_logger(__name__)


class Sending:
    """One text at a time, as the worker of its container asks."""

    def __init__(self, *, terminals: Terminals, follow_ups: FollowUps, clock: Clock, texts: Texts) -> None:
        self._terminals = terminals
        self._follow_ups = follow_ups
        self._clock = clock
        self._texts = texts

    async def perform(self, container_id: str | None, send: Send) -> None:
        """`send` as the state has it when its turn comes: to its end, which is told. None: its container is gone."""
        if send.begun:
            failure = "interrupted"
        elif container_id is None:
            failure = "pane_gone"
        else:
            try:
                failure = await self._type(container_id, send)
            except Exception:  # noqa: BLE001 (whatever it was, nobody may wait for the end of this text for ever)
                _log.exception("sending failed", send_id=send.send_id, pane_id=send.pane_id)
                failure = "unreachable"
        if failure is not None:
            failed = s.PaneRecordSendFailed(pane_id=send.pane_id, send_id=send.send_id, reason=failure)
            self._follow_ups.send(send.pane_id, f"send_failed:{send.send_id}", failed)
        await self._drop(send)

    async def _type(self, container_id: str, send: Send) -> SendFailure | None:
        """Why it was not sent; None when it was, or had been ended already."""
        text = await self._text(send)
        if text is None:
            return "text_lost"
        try:
            terminal = self._terminals.of(container_id)
            seen = await with_retries(lambda: _find(terminal, send.pane_id), self._clock)
        except TerminalError as error:
            return _failure(error)
        if seen is None:
            return "pane_gone"
        if seen.dead:
            return "process_ended"
        if not await self._begin(send):
            return "pane_gone"
        try:
            arrived = await terminal.send_text(seen.tmux_pane_id, send.pane_id, text, enter=send.enter)
        except TerminalError as error:
            _log.warning("a text was not sent", send_id=send.send_id, pane_id=send.pane_id, reason=str(error)[:200])
            return _failure(error)
        told = s.PaneRecordTextSent(pane_id=send.pane_id, send_id=send.send_id, seen=arrived)
        self._follow_ups.send(send.pane_id, f"text_sent:{send.send_id}", told)
        return None

    async def _begin(self, send: Send) -> bool:
        """Whether the log has it that the text may be typed from now on."""
        begun = s.PaneRecordSendBegun(pane_id=send.pane_id, send_id=send.send_id)
        outcome = await self._follow_ups.ask(send.send_id, "begun", begun)
        return outcome["status"] == "accepted" and bool(outcome["result"].get("begun"))

    async def _text(self, send: Send) -> str | None:
        try:
            return await self._texts.get(send.digest)
        except OSError as error:
            _log.error("a text to send cannot be read", send_id=send.send_id, reason=str(error))
            return None

    async def _drop(self, send: Send) -> None:
        try:
            await self._texts.drop(send.digest)
        except OSError as error:
            _log.error("a sent text is left on the disk", send_id=send.send_id, reason=str(error))


async def _find(terminal: Terminal, pane_id: str) -> SeenPane | None:
    return next((seen for seen in await seen_panes(terminal) if seen.pane_id == pane_id), None)


def _failure(error: TerminalError) -> SendFailure:
    match error:
        case PaneNotThere() | TerminalGone():
            return "pane_gone"
        case TerminalUnreachable():
            return "unreachable"
        case _:
            return "refused"
