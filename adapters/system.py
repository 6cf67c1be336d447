"""The machine's clock and fresh ids: the only place that reads them."""

import asyncio
import time
from datetime import UTC, datetime

import uuid_utils


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SystemIds:
    def uuid7(self) -> str:
        return str(uuid_utils.uuid7())

    def uuid4(self) -> str:
        return str(uuid_utils.uuid4())
