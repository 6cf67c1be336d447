"""What stands on the tower's own disk, and the small ports: snapshots, private values, clock, ids, catalogues."""

import asyncio
import hashlib
from collections.abc import Callable, Container, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from uuid import UUID

from adapters.files.launching import with_digest
from domain.layouts.templates import BUILT_IN
from domain.messages import PaneSlot, Template
from handlers.ports import LaunchProfile, LaunchSet
from handlers.seen import RECORD
from handlers.snapshots import Snapshot, encode
from tests.simulation.loop import pause
from tests.simulation.wire import Wire

EPOCH = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
"""The wall clock at virtual time 0."""


class Disk:
    """Survives every process."""

    def __init__(self) -> None:
        self.snapshot: bytes | None = None
        self.segments: dict[int, bytes] = {}
        self.private: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.blobs: dict[str, bytes] = {}


class SimulatedSnapshots:
    """The `SnapshotStore` port. A save that fails may have come half way, a record of a segment included."""

    def __init__(self, disk: Disk, wire: Wire) -> None:
        self._disk = disk
        self._wire = wire

    async def load(self) -> bytes | None:
        return await self._wire.call("snapshots.load", lambda: self._disk.snapshot, OSError)

    async def segments(self) -> Mapping[int, bytes]:
        return await self._wire.call("snapshots.segments", lambda: dict(self._disk.segments), OSError)

    async def save(self, snapshot: Snapshot, segments: Mapping[int, bytes], dropped_hours: list[int]) -> None:
        data = encode(snapshot)
        for hour, records in segments.items():
            torn = partial(self._torn, hour, records)
            await self._wire.call("snapshots.append", lambda h=hour, r=records: self._append(h, r), torn)
        await self._wire.call("snapshots.replace", lambda: self._replace(data), OSError)
        for hour in dropped_hours:
            await self._wire.call("snapshots.drop", lambda h=hour: self._disk.segments.pop(h, None), OSError)

    def _append(self, hour: int, records: bytes) -> None:
        before = self._disk.segments.get(hour, b"")
        self._disk.segments[hour] = before[: len(before) - len(before) % RECORD.size] + records

    def _torn(self, hour: int, records: bytes, reason: str) -> OSError:
        """A full disk takes a part."""
        self._append(hour, records[: len(records) // 3])
        return OSError(reason)

    def _replace(self, data: bytes) -> None:
        self._disk.snapshot = data


def private_digest(value: str) -> str:
    return hashlib.blake2b(value.encode(), digest_size=16).hexdigest()


class SimulatedVault:
    def __init__(self, disk: Disk, wire: Wire) -> None:
        self._disk = disk
        self._wire = wire

    async def put(self, value: str) -> str:
        digest = private_digest(value)

        def keep() -> str:
            self._disk.private[digest] = value
            return digest

        return await self._wire.call("vault.put", keep, OSError)

    async def get(self, digest: str) -> str | None:
        return await self._wire.call("vault.get", lambda: self._disk.private.get(digest), OSError)


class SimulatedTexts:
    """The `Texts` port."""

    def __init__(self, disk: Disk, wire: Wire) -> None:
        self._disk = disk
        self._wire = wire

    async def keep(self, send_id: str, text: str) -> str:
        digest = private_digest(send_id + text)

        def keep() -> str:
            self._disk.texts[digest] = text
            return digest

        return await self._wire.call("vault.keep_text", keep, OSError)

    async def get(self, digest: str) -> str | None:
        return await self._wire.call("vault.get_text", lambda: self._disk.texts.get(digest), OSError)

    async def drop(self, digest: str) -> None:
        await self._wire.call("vault.drop_text", lambda: self._disk.texts.pop(digest, None), OSError)

    async def prune(self, kept: Container[str], before: datetime) -> None:
        """Nothing is old enough here."""
        await self._wire.call("vault.prune_texts", lambda: None, OSError)


class NoPaneLogs:
    """The `PaneLogs` port of a world in which programs print nothing."""

    async def prune(self, removed: Callable[[str], bool], now: datetime) -> None: ...


class SimulatedClock:
    """`ahead_s`: how far the wall clock of this machine has stepped from the right time."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=asyncio.get_running_loop().time() + self.ahead_s)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await pause(seconds)


class SimulatedIds:
    def __init__(self, random: Random, clock: SimulatedClock) -> None:
        self._random = random
        self._clock = clock

    def uuid7(self) -> str:
        stamp = int(self._clock.now().timestamp() * 1000)
        value = stamp << 80 | 7 << 76 | self._random.getrandbits(12) << 64 | 2 << 62 | self._random.getrandbits(62)
        return str(UUID(int=value))

    def uuid4(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))


class Catalogues:
    """The `Launching` port of a world. `profiles` may change under a running tower."""

    def __init__(self) -> None:
        solo = Template(name="solo", panes=(PaneSlot(role="master", capability="any", label="solo{n}"),))
        fixed = Template(name="fixed", panes=(PaneSlot(role="master", capability="any", label="captain"),))
        guarded = PaneSlot(role="master", capability="any", label="g{n}", restart="on_failure")
        named = PaneSlot(role="slave", capability="any", label="guard", restart="on_failure")
        self.templates: dict[str, Template] = {
            **BUILT_IN,
            "solo": solo,
            "fixed": fixed,
            "guarded": Template(name="guarded", panes=(guarded, named, guarded)),
        }
        self.profiles: dict[str, LaunchProfile] = {}
        for name, command in (("shell", "sh"), ("other", "other"), ("quits", "quits"), ("fails", "fails")):
            self.put(LaunchProfile(name=name, command=(command,)))

    def put(self, profile: LaunchProfile) -> None:
        self.profiles[profile.name] = with_digest(profile)

    async def current(self) -> LaunchSet:
        return LaunchSet(templates=self.templates, profiles=dict(self.profiles))
