"""Answering commands, over a connection whose broker user may publish to inboxes and outcomes and nothing else."""

import re
from collections.abc import Sequence
from typing import Final

import structlog

from adapters.nats import subjects
from adapters.nats.wire import NoAnswer, WireClient, publication
from domain.messages import HOST, ORIGIN_PATTERN
from handlers.ports import Answer

MAX_REPLY_CHARACTERS: Final = 255
RECONNECT_S: Final = 1.0

_INBOX: Final = re.compile(r"(_INBOX|_R_)(\.[!-)+-\-/-=?-~]+)+\Z")
"""Tokens of printable ASCII without space, dot or wildcard."""

BROKER_REPLY: Final = "_R_."
"""A reply subject that the broker made for a request from another account. It lets no client name one."""

_log = structlog.get_logger("outcomes")


def may_answer(origin: str, reply_to: str | None) -> bool:
    """Whether `reply_to` is an inbox of `origin`: any for the operator, `_INBOX.{container}.…` for a container, or
    what the broker put in its place."""
    if reply_to is None or len(reply_to) > MAX_REPLY_CHARACTERS or _INBOX.match(reply_to) is None:
        return False
    if ORIGIN_PATTERN.match(origin) is None:
        return False
    return origin == HOST or reply_to.startswith((f"_INBOX.{origin}.", BROKER_REPLY))


class InboxOutcomes:
    """The `Outcomes` port. `client` must be the connection of the broker user `tower-answers`."""

    def __init__(self, client: WireClient, node: str) -> None:
        self._client = client
        self._node = subjects.checked_node(node)

    async def answer(self, answers: Sequence[Answer]) -> None:
        commands = b"".join(self._publications(answer) for answer in answers)
        if not commands:
            return
        if self._client.is_reconnecting:
            # Both connections of a tower come back at about the same time after a broker's restart.
            await self._client.reconnected_within(RECONNECT_S)
        try:
            await self._client.send(commands)
        except NoAnswer as error:
            _log.warning("outcomes not sent; they stay readable from the log", count=len(answers), reason=str(error))

    def _publications(self, answer: Answer) -> bytes:
        commands = b""
        if answer.reply_to is not None:
            if may_answer(answer.origin, answer.reply_to):
                commands = publication(answer.reply_to, answer.payload)
            else:
                _log.warning("reply subject refused", origin=answer.origin, command_id=answer.command_id)
        if ORIGIN_PATTERN.match(answer.origin) and subjects.TOKEN.match(answer.command_id):
            subject = subjects.outcome_subject(self._node, answer.origin, answer.command_id)
            commands += publication(subject, answer.payload)
        return commands
