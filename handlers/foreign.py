"""Entries of the log that the tower did not write: passed over by every reader, and named by the log itself.

Whoever may publish on `tower.evt…` past the broker's accounts can add an entry, and nobody can take it out again. It
changes no state and no read model, and the node goes on; the writer records an event that says where it stands.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import structlog
from uuid_utils import NAMESPACE_URL, uuid5

from domain.envelope import Stored, foreign
from domain.node import NodeRecordForeign
from handlers.inbox import Asked, FollowUp

_NAMESPACE: Final = uuid5(NAMESPACE_URL, "agenttower:foreign-entries")
_log = structlog.get_logger(__name__)


class ForeignEntries:
    """Those that were read and are not recorded yet, as the request that records them."""

    def __init__(self, node: str) -> None:
        self._node = node
        self.request: NodeRecordForeign | None = None

    def takes(self, stored: Stored) -> bool:
        """Whether an entry that was read is such a one."""
        if (reason := foreign(stored)) is None:
            return False
        self._add(stored, reason)
        return True

    def _add(self, stored: Stored, reason: str) -> None:
        _log.error(
            "the log holds an entry that the tower did not write: passed over",
            position=stored.position,
            subject=stored.subject,
            reason=reason,
            remedy="find out who may publish there: docs/security.md",
        )
        if self.request is None:
            self.request = NodeRecordForeign(
                node=self._node,
                position=stored.position,
                last_position=stored.position,
                count=1,
                subject=stored.subject,
                reason=reason,
            )
        else:
            self.request = msgspec.structs.replace(
                self.request, last_position=stored.position, count=self.request.count + 1
            )

    def recorded_to(self, position: int) -> None:
        """The log names all up to `position`."""
        if self.request is not None and self.request.last_position <= position:
            self.request = None

    def before(self, items: Sequence[Asked | FollowUp]) -> list[Asked | FollowUp]:
        """`items`, and before them the command that records the entries: the same id for the same ones."""
        if self.request is None:
            return list(items)
        command_id = str(uuid5(_NAMESPACE, f"{self._node}:{self.request.last_position}"))
        rest = (item for item in items if not (isinstance(item, FollowUp) and item.id == command_id))
        return [FollowUp(id=command_id, request=self.request), *rest]
