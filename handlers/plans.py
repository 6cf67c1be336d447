"""The plans that sessions were spawned with: each a file by its digest, so that a restart finds what was promised."""

from collections import OrderedDict
from typing import Any, Final

import msgspec

from domain.sessions.messages import Message
from handlers.execution_ports import Blobs

KEPT: Final = 256
"""Plans in memory, the ones that were used last."""


class StoredPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All that a session runs on: its plan as a plain map, and the texts that stand before every conversation."""

    plan: dict[str, Any]
    texts: tuple[Message, ...] = ()

    @property
    def runtime(self) -> dict[str, Any]:
        return self.plan.get("runtime") or {}

    @property
    def permissions(self) -> dict[str, Any]:
        return self.plan.get("permissions") or {}


class Plans:
    """Raises `OSError`."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._kept: OrderedDict[str, StoredPlan] = OrderedDict()

    async def keep(self, plan: StoredPlan) -> str:
        """Its digest, once it is a file. Reads none."""
        digest = await self._blobs.put(msgspec.json.encode(plan, order="deterministic"))
        self._remember(digest, plan)
        return digest

    async def of(self, digest: str) -> StoredPlan:
        there = self._kept.get(digest)
        if there is None:
            data = await self._blobs.get(digest)
            if data is None:
                raise FileNotFoundError(f"the plan {digest} is gone")
            there = msgspec.json.decode(data, type=StoredPlan)
        self._remember(digest, there)
        return there

    def _remember(self, digest: str, plan: StoredPlan) -> None:
        self._kept[digest] = plan
        self._kept.move_to_end(digest)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
