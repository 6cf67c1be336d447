"""The single writer of a node: take, decide, append, keep, answer.

`step()` is the whole engine, over ports, so that a simulator can drive it; `run()` is a loop around it. State is kept
in memory, rebuilt from snapshot and tail, and never ahead of the log: a batch is kept only after its append, and its
outcomes are sent only then. What an append without an answer did is read from the log before anything is decided again.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
import structlog

from domain import tower
from domain.catalogue import UndecodableEvent
from domain.envelope import Recorded
from domain.errors import Rejection
from domain.node import CommandRejected, NodeClaim, NodeClaimed
from domain.tower import Tower
from handlers import snapshots, wire
from handlers.batch import Batch, Decision, Prepared, admits, prepare
from handlers.facts import FactFinder
from handlers.foreign import ForeignEntries
from handlers.inbox import Asked, FollowUp, Inbox
from handlers.ledger import Ledger, passed_over, replay
from handlers.ports import (
    Answer,
    Clock,
    EventLog,
    Ids,
    LogFull,
    LogUnavailable,
    Outcomes,
    WrongLastPosition,
)
from handlers.recorded import events_of
from handlers.refusals import HostOnlyRefusals
from handlers.seen import SeenIds, key_of

MAX_TAKEN: Final = 500
"""Commands of one step, at most."""

GATHERED_FROM: Final = 8
GATHERED_TO: Final = 100
"""How many askers are waited for, so that they share an append: up to about a hundred, it takes as long as for two."""

PATIENCE: Final = 0.25
"""How long they are waited for, as a part of what the last append took."""

MAX_PATIENCE_S: Final = 0.005

RETRY_S: Final = 0.5
"""Wait after a log that gave no answer or was full, before the next try."""


class SteppedDown(Exception):
    """Another tower writes this node: says which."""


class Observer(Protocol):
    """Who follows the node's events in this process. Called in the writer's task: must not wait."""

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        """Events are in the log, in order; `state` is the state after the last."""
        ...


class Meter(Protocol):
    """Who measures the writer. Called in the writer's task: must not wait."""

    def step_done(self, decisions: Sequence[Decision], events: int, decide_s: float, append_s: float) -> None: ...


class Writer:
    """Owns the node's ledger. `recover()` first, `claim()` second, then `run()` or `step()`s, all from one task."""

    def __init__(
        self,
        *,
        node: str,
        instance: str,
        log: EventLog,
        inbox: Inbox,
        outcomes: Outcomes,
        facts: FactFinder,
        snapshot_store: snapshots.SnapshotStore,
        clock: Clock,
        ids: Ids,
        observers: Sequence[Observer] = (),
        meters: Sequence[Meter] = (),
    ) -> None:
        self.node = node
        self.instance = instance
        self.ledger = Ledger()
        self._log_port = log
        self._inbox = inbox
        self._outcomes = outcomes
        self._facts = facts
        self._snapshot_store = snapshot_store
        self._clock = clock
        self._ids = ids
        self._observers = observers
        self._meters = meters
        self._seen = SeenIds()
        self._refusals = HostOnlyRefusals()
        self._carried: list[Asked | FollowUp] = []
        self._foreign = ForeignEntries(node)
        self._conflicts = 0
        self._recovered: Sequence[Recorded] = ()
        """What appends without an answer have recorded, until who asked for it is answered."""
        self._hoped = 1
        self._patience_s = 0.0
        self._claimed = False
        self._digest = snapshots.schema_digest()
        self._snapshot_position = 0
        self._snapshot_task: asyncio.Task[None] | None = None
        self._say = structlog.get_logger(__name__).bind(node=node)

    # --- memory ----------------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Snapshot and tail into memory. Raises `LogUnavailable`, `BrokenLog`, `UndecodableEvent`."""
        try:
            data, segments = await self._snapshot_store.load(), await self._snapshot_store.segments()
        except OSError as error:
            self._say.warning("snapshot ignored: it cannot be read; replaying the whole log", reason=str(error))
            data, segments = None, {}
        snapshot = None if data is None else snapshots.decode(data, self._digest)
        if data is not None and snapshot is None:
            self._say.warning("snapshot ignored: unreadable, or written by other code; replaying the whole log")
        end = await self._log_port.last_position()
        if snapshot is not None and snapshot.ledger.position > end:
            self._say.warning("snapshot ignored: it is ahead of the log", snapshot=snapshot.ledger.position, log=end)
            snapshot = None
        if snapshot is not None:
            self.ledger = snapshot.ledger
            self._seen.horizon_s = snapshot.horizon_s
            for hour, records in sorted(segments.items()):
                self._seen.load(hour, records, self.ledger.position)
        self._snapshot_position = self.ledger.position
        await self._replay_tail()
        self._say.info("state in memory", position=self.ledger.position, from_snapshot=self._snapshot_position)

    async def claim(self, pid: int, host: str) -> None:
        """Record that this tower writes the node. Raises `SteppedDown` if another claims it at the same time."""
        request = NodeClaim(node=self.node, instance=self.instance, pid=pid, host=host)
        while self.ledger.tower.instance != self.instance:
            before = self.ledger.tower.instance
            # An append that failed has left the claim of the try before.
            if not self._carried:
                self._carried.append(FollowUp(id=self._ids.uuid7(), request=request))
            await self._decide_and_append([])
            if self.ledger.tower.instance not in (self.instance, before):
                raise SteppedDown(f"another tower claimed node {self.node} while this one started")
        self._claimed = True
        self._carried = self._foreign.before(self._carried)

    async def _replay_tail(self) -> None:
        """Read what the log holds beyond the ledger, remembering its command ids."""
        ledger, previous = self.ledger, b""
        recorded: list[Recorded] = []
        async for stored_batch in self._log_port.read(ledger.position):
            for stored in stored_batch:
                if self._foreign.takes(stored):
                    ledger = passed_over(ledger, stored)
                    continue
                ledger, record = replay(ledger, stored)
                self._foreign.recorded_to(ledger.tower.foreign_to)
                key = key_of(record.envelope.actor, record.envelope.commandid)
                if key != previous:
                    self._seen.add(key, record.position, record.envelope.time)
                    previous = key
                if self._claimed:
                    recorded.append(record)
                    self._check_claim(record)
            self._seen.forget(self._clock.now())
        self.ledger = ledger
        if recorded:
            self._recovered = [*self._recovered, *recorded]
            self._tell_committed(recorded)

    def _check_claim(self, record: Recorded) -> None:
        match record.event:
            case NodeClaimed(instance=instance, pid=pid, host=host) if instance != self.instance:
                raise SteppedDown(f"node {self.node} was claimed by another tower: pid {pid} on {host}")
            case _:
                pass

    # --- the engine ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Steps until cancelled. Raises `SteppedDown`, or `BrokenLog` when the log is not this node's any more."""
        while True:
            await self.step()

    async def step(self) -> None:
        """Take what waits (at least one command), decide it, append, keep, answer."""
        taken: Sequence[Asked | FollowUp] = []
        if not self._carried:
            taken = await self._inbox.take(MAX_TAKEN, hoped=self._hoped, patience_s=self._patience_s)
        await self._decide_and_append(taken)

    async def _decide_and_append(self, taken: Sequence[Asked | FollowUp]) -> None:
        items = [*self._carried, *taken]
        self._carried = items
        started = self._clock.monotonic()
        batch, rest = await self._decide(items)
        decided = self._clock.monotonic()
        try:
            if batch.entries:
                await self._log_port.append(batch.entries, expected_last=self.ledger.position)
        except WrongLastPosition:
            await self._after_conflict()
            return
        except LogUnavailable as error:
            self._say.warning("the log gave no answer; reading what it holds", reason=str(error))
            await self._reread()
            return
        except LogFull as error:
            await self._after_full(batch, rest, str(error))
            return
        appended = self._clock.monotonic()
        self._conflicts = 0
        self._carried = rest
        self._keep(batch)
        await self._answer(batch.decisions)
        if not rest:
            self._recovered = ()
        self._hope_for(len(batch.decisions), appended - decided)
        for meter in self._meters:
            meter.step_done(batch.decisions, len(batch.entries), decided - started, appended - decided)
        self._snapshot_if_due()

    def _hope_for(self, answered: int, append_s: float) -> None:
        """Who was answered asks again about now: together with those who wait already, they make the next batch.

        Else two crowds of askers form, each waiting out the other's append.
        """
        crowd = min(answered + len(self._inbox), GATHERED_TO)
        self._hoped = crowd if crowd >= GATHERED_FROM else 1
        self._patience_s = min(PATIENCE * append_s, MAX_PATIENCE_S)

    async def _decide(self, items: Sequence[Asked | FollowUp]) -> tuple[Batch, list[Asked | FollowUp]]:
        prepared = [prepare(item) for item in items]
        at = self._clock.now()
        known = [each for each in prepared if each.request is not None]
        requests = [each.request for each in known if each.request is not None]
        now, seen = self.ledger.tower, self._seen
        facts = await self._facts.gather(requests, at, lambda place: admits(known[place], at, now, seen))
        by_item = {id(each): facts[place] for place, each in enumerate(known)}
        batch = Batch(self.ledger, node=self.node, ids=self._ids, seen=self._seen, refusals=self._refusals)
        for place, each in enumerate(prepared):
            found = by_item.get(id(each), self._facts.none(at))
            if found is None:
                busy = "what this command needs could not be kept on the tower's disk; ask again"
                refusal = Rejection("tower_busy", busy, queued=len(self._inbox))
                each, found = msgspec.structs.replace(each, refusal=refusal), self._facts.none(at)
            if not batch.add(each, found):
                batch.finish()
                return batch, list(items[place:])
        batch.finish()
        return batch, []

    def _keep(self, batch: Batch) -> None:
        self.ledger = batch.ledger
        self._foreign.recorded_to(self.ledger.tower.foreign_to)
        if not batch.recorded:
            return
        at = batch.recorded[-1].envelope.time
        for decision in batch.decisions:
            if decision.events and decision.key is not None:
                self._seen.add(decision.key, decision.position - len(decision.events) + 1, at)
        self._tell_committed(batch.recorded)

    def _tell_committed(self, recorded: Sequence[Recorded]) -> None:
        for observer in self._observers:
            observer.committed(recorded, self.ledger.tower)

    # --- what can go wrong with an append --------------------------------------------------------------------------

    async def _after_conflict(self) -> None:
        """Somebody else appended, or an append of ours whose answer was lost stands there: read on, decide again."""
        self._conflicts += 1
        if self._conflicts >= 2:
            raise SteppedDown(f"another writer appends to node {self.node}: fenced out twice in a row")
        before = self.ledger
        await self._reread()
        if self.ledger.position > before.position and self.ledger.chain == before.chain:
            self._conflicts = 0

    async def _reread(self) -> None:
        self._refusals = HostOnlyRefusals()
        while True:
            try:
                await self._replay_tail()
                self._carried = self._foreign.before(self._carried)
                return
            except LogUnavailable as error:
                self._say.warning("the log cannot be read; trying again", reason=str(error))
                await self._clock.sleep(RETRY_S)

    async def _after_full(self, batch: Batch, rest: Sequence[Asked | FollowUp], reason: str) -> None:
        """A full log refuses new commands and forgets nothing: queued commands and the tower's own are kept."""
        self._say.error("the event log is full: commands are refused until there is room", reason=reason)
        kept: list[Asked | FollowUp] = []
        refused: list[Answer] = []
        for decision in batch.decisions:
            source = decision.prepared.source
            if isinstance(source, FollowUp) or source.durable_sequence is not None:
                kept.append(source)
                continue
            busy = Rejection("tower_busy", "the event log is full; try again", queued=len(self._inbox))
            refused += self._answers_for(decision, _rejection(decision.prepared, busy, self.ledger.position))
        self._carried = [*kept, *rest]
        await self._outcomes.answer(refused)
        await self._clock.sleep(RETRY_S)
        if self._carried and len(self._inbox):
            self._carried += await self._inbox.take(max(1, MAX_TAKEN - len(self._carried)))

    # --- answers ---------------------------------------------------------------------------------------------------

    async def _answer(self, decisions: Sequence[Decision]) -> None:
        answers: list[Answer] = []
        for decision in decisions:
            answers += self._answers_for(decision, await self._outcome(decision))
        if answers:
            await self._outcomes.answer(answers)

    def _answers_for(self, decision: Decision, outcome: dict[str, object]) -> list[Answer]:
        prepared, source = decision.prepared, decision.prepared.source
        payload = msgspec.json.encode(outcome)
        if source.on_outcome is not None:
            source.on_outcome(payload)
        if isinstance(source, FollowUp):
            return []
        return [Answer(prepared.origin, prepared.command_id or "", payload, source.reply_to)]

    async def _outcome(self, decision: Decision) -> dict[str, object]:
        prepared = decision.prepared
        if decision.seen_at is not None:
            return await self._recorded_outcome(prepared, decision.seen_at)
        if decision.same_as is not None:
            return {**await self._outcome(decision.same_as), "replay": True}
        if decision.refusal is not None:
            return _rejection(prepared, decision.refusal, decision.position)
        result = decision.result or {}
        return wire.accepted(prepared.command_id or "", result, decision.position, replay=decision.replay)

    async def _recorded_outcome(self, prepared: Prepared, position: int) -> dict[str, object]:
        """The outcome of a command that the log holds, from its events."""
        command_id = prepared.command_id or ""
        try:
            events = await events_of(command_id, position, self._recovered, self._log_port)
        except (LogUnavailable, UndecodableEvent) as error:
            self._say.warning("outcome not readable", command_id=command_id, reason=str(error))
            events = []
        if not events:
            message = "this command was decided before; its outcome cannot be read now, ask again"
            return _rejection(prepared, Rejection("tower_busy", message, queued=len(self._inbox)), position)
        last = events[-1]
        match last.event:
            case CommandRejected() as refused:
                return wire.rejected(command_id, refused.code, refused.message, refused.details, last.position)
            case _:
                result = tower.result([record.event for record in events])
                return wire.accepted(command_id, result, last.position, replay=True)

    # --- snapshots -------------------------------------------------------------------------------------------------

    def _snapshot_if_due(self) -> None:
        running = self._snapshot_task is not None and not self._snapshot_task.done()
        if not running and self.ledger.position - self._snapshot_position >= snapshots.INTERVAL:
            self._snapshot_task = asyncio.get_running_loop().create_task(self.snapshot())

    async def snapshot(self) -> None:
        """Write a snapshot of the present ledger and the ids seen since the last one."""
        if self._foreign.request is not None:
            # It would hide entries that are not recorded yet.
            return
        dropped = self._seen.forget(self._clock.now())
        ledger, segments = self.ledger, self._seen.take_unsaved()
        snapshot = snapshots.Snapshot(digest=self._digest, ledger=ledger, horizon_s=self._seen.horizon_s)
        self._snapshot_position = ledger.position
        try:
            await self._snapshot_store.save(snapshot, segments, dropped)
        except OSError as error:
            self._say.error("snapshot not written; the next start replays more of the log", reason=str(error))
            self._seen.restore_unsaved(segments)

    async def close(self) -> None:
        """The last snapshot, at a clean stop."""
        if self._snapshot_task is not None:
            await self._snapshot_task
        if self.ledger.position > self._snapshot_position:
            await self.snapshot()


def _rejection(prepared: Prepared, refusal: Rejection, position: int) -> dict[str, object]:
    return wire.rejected(prepared.command_id, refusal.code, refusal.message, refusal.details, position)
