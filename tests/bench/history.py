"""Logs with a past: valid events with their chain, decided by the real deciders, appended in whole batches.

The past is half layouts of four panes that were made, ran and were removed, half refused commands.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import msgspec

from adapters.files.launching import built_in
from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import connect
from adapters.nats.log import JetStreamLog
from adapters.nats.streams import ensure_streams
from adapters.system import SystemIds
from domain.layouts import commands as c
from domain.layouts.templates import BUILT_IN
from domain.messages import HOST, Facts, Request
from handlers.batch import Batch, prepare
from handlers.inbox import FollowUp
from handlers.ledger import Ledger
from handlers.ports import Entry
from handlers.refusals import HostOnlyRefusals
from handlers.seen import SeenIds

TEMPLATE = "2m+2s"
PANES = len(BUILT_IN[TEMPLATE].panes)
REFUSED_A_LAYOUT = 48
"""About as many as a layout has events in its life."""

_ids = SystemIds()
_profiles = built_in().digests()
_sessions = count()

Step = tuple[Request, Facts]


class Past(msgspec.Struct, frozen=True):
    """What a log was filled with."""

    events: int
    subjects: int


def create_step(at: datetime, container_id: str = HOST) -> Step:
    facts = Facts(
        at=at,
        ids=tuple(_ids.uuid7() for _ in range(PANES + 1)),
        templates=BUILT_IN,
        profiles=_profiles,
        tmux_sessions=frozenset(),
    )
    session = f"bench-{next(_sessions)}"
    return c.LayoutCreate(container_id=container_id, template_name=TEMPLATE, tmux_session_name=session), facts


def spawn_steps(pane_ids: tuple[str, ...], at: datetime) -> Iterator[Step]:
    """The pipeline of each pane, to ready."""
    facts = Facts(at=at)
    for index, pane_id in enumerate(pane_ids):
        yield c.PaneRecordSpawned(pane_id=pane_id, tmux_pane_id=f"%{index}", tmux_pane_index=index, pid=index), facts
        yield c.PaneRecordLaunchSettled(pane_id=pane_id, elapsed_ms=500), facts
        yield c.PaneRegister(pane_id=pane_id), Facts(at=at, ids=(_ids.uuid7(),))
        yield c.PaneRecordLogAttached(pane_id=pane_id, path=f"/logs/{pane_id}.log"), facts


def _steps() -> Iterator[Step]:
    while True:
        at = datetime.now(UTC)
        create, facts = create_step(at)
        yield create, facts
        layout_id, *pane_ids = facts.ids
        yield from spawn_steps(tuple(pane_ids), at)
        yield c.LayoutRemove(layout_id=layout_id), Facts(at=at)
        for _ in range(REFUSED_A_LAYOUT):
            yield c.PaneRemove(pane_id=_ids.uuid7()), Facts(at=at)


def batches(node: str) -> Iterator[tuple[int, list[Entry]]]:
    """For ever: the position before a batch, and the batch."""
    ledger, seen, refusals, steps = Ledger(), SeenIds(), HostOnlyRefusals(), _steps()
    request, facts = next(steps)
    while True:
        batch = Batch(ledger, node=node, ids=_ids, seen=seen, refusals=refusals)
        while batch.add(prepare(FollowUp(id=_ids.uuid7(), request=request, origin=HOST)), facts):
            request, facts = next(steps)
        batch.finish()
        yield ledger.position, batch.entries
        ledger = batch.ledger


async def fill(home: Path, node: str, *, subjects: int = 0, events: int = 0) -> Past:
    """Fill the store of the embedded broker of `home` until it holds as many subjects and events."""
    known: set[str] = set()
    async with EmbeddedBroker(home, node) as broker:
        client = await connect(broker.tower_url, name="bench")
        try:
            await ensure_streams(client, node)
            log = JetStreamLog(client, node)
            for position, entries in batches(node):
                if len(known) >= subjects and position >= events:
                    return Past(position, len(known))
                if subjects:
                    known.update(entry.subject for entry in entries)
                await log.append(entries, expected_last=position)
        finally:
            await client.close()
    raise AssertionError("the batches have no end")
