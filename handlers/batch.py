"""One batch: commands decided one after another on a tentative ledger, their events ready to be appended.

Nothing here waits and nothing is kept: the writer appends `entries` and then keeps `ledger`, or forgets the batch.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import structlog

from domain import catalogue, tower
from domain.envelope import CHAIN_HEADER, Envelope, Recorded, encode, encode_data, link, subject_of
from domain.errors import INTERNAL_ERROR_MESSAGE, UNRECORDED, Rejection
from domain.executions.commands import ExecutionAnswer
from domain.executions.events import ExecutionStarted
from domain.messages import ORIGIN_PATTERN, Command, Event, Facts, Request
from domain.node import CommandRejected
from domain.sends import PaneSend
from domain.tower import Tower
from handlers import wire
from handlers.inbox import Asked, FollowUp
from handlers.ledger import COMMANDS_AT_HEADER, Ledger
from handlers.ports import Entry, Ids
from handlers.refusals import HostOnlyRefusals
from handlers.seen import SeenIds, key_of

MAX_EVENTS: Final = 1_000
"""Messages of one append, at most."""

SEPARABLE: Final = (ExecutionStarted,)
"""Of a decision, what the log may lack though it has what came before: it is asked for again by itself."""

_log = structlog.get_logger(__name__)


class Prepared(msgspec.Struct, frozen=True, eq=False):
    """A command that was read: either its request, or the refusal that reading it gave."""

    source: Asked | FollowUp
    command_id: str | None
    name: str
    origin: str
    request: Request | None
    refusal: Rejection | None = None
    uuid: UUID | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None


class Decision(msgspec.Struct, eq=False):
    """What the batch holds for one command.

    `key`: its id among the seen ones. `events` were newly recorded. `seen_at`: the log holds the command at this
    position. `same_as`: an earlier command of this batch has the same id.
    """

    prepared: Prepared
    key: bytes | None = None
    code: str = "accepted"
    refusal: Rejection | None = None
    events: tuple[Event, ...] = ()
    result: dict[str, object] | None = None
    position: int = 0
    replay: bool = False
    seen_at: int | None = None
    same_as: "Decision | None" = None


def prepare(item: Asked | FollowUp) -> Prepared:
    """Read one waiting command; a payload that cannot be read becomes a refusal."""
    if isinstance(item, FollowUp):
        name = catalogue.request_name(item.request)
        return Prepared(
            item,
            item.id,
            name,
            item.origin,
            item.request,
            correlation_id=item.correlation_id,
            causation_id=item.causation_id,
            traceparent=item.traceparent,
        )
    name = f"{item.noun}.{item.verb}"
    try:
        payload, command_uuid = wire.decode_payload(item.payload)
    except Rejection as refusal:
        return Prepared(item, wire.claimed_id(item.payload), name, item.origin, None, refusal.with_traceback(None))
    try:
        if ORIGIN_PATTERN.match(item.origin) is None:
            raise Rejection("host_only", "this origin is not known")
        request, refusal = wire.decode_request(name, payload), None
    except Rejection as refused:
        request, refusal = None, refused.with_traceback(None)
    return Prepared(
        item,
        payload.id,
        name,
        item.origin,
        request,
        refusal,
        command_uuid,
        payload.correlationid,
        None,
        payload.traceparent,
    )


def admits(prepared: Prepared, at: datetime, state: Tower, seen: SeenIds) -> bool:
    """Whether a text to send, or a secret answer, would be taken on this state, so that it is worth a file."""
    request, command_id = prepared.request, prepared.command_id
    if not isinstance(request, PaneSend | ExecutionAnswer) or prepared.refusal is not None or command_id is None:
        return False
    if seen.position(key_of(prepared.origin, command_id)) is not None:
        return False
    command = Command(id=command_id, origin=prepared.origin, request=request, facts=Facts(at=at))
    return tower.admits(command, state)


class Batch:
    """Decides prepared commands in order. `full` is True when the next command must wait for another batch."""

    def __init__(self, ledger: Ledger, *, node: str, ids: Ids, seen: SeenIds, refusals: HostOnlyRefusals) -> None:
        self.ledger = ledger
        self.entries: list[Entry] = []
        self.recorded: list[Recorded] = []
        self.decisions: list[Decision] = []
        self._node = node
        self._ids = ids
        self._seen = seen
        self._refusals = refusals
        self._by_key: dict[bytes, Decision] = {}

    def add(self, prepared: Prepared, facts: Facts) -> bool:
        """Decide one command; False if its events do not fit any more and it must open the next batch."""
        decision = self._decide(prepared, facts)
        if len(decision.events) > MAX_EVENTS:
            # No batch will ever take it: an answer, and not a wait for the next one.
            _log.error("decision too long", command=prepared.name, events=len(decision.events))
            self._refuse(decision, Rejection("internal_error", INTERNAL_ERROR_MESSAGE), facts.at)
        events = decision.events
        if len(self.entries) + len(events) > MAX_EVENTS:
            return False
        first = len(self.entries)
        self._record(decision, events, facts.at)
        self.decisions.append(decision)
        if decision.key is not None and events:
            self._by_key[decision.key] = decision
        durable = prepared.source.durable_sequence if isinstance(prepared.source, Asked) else None
        if durable is not None and durable > self.ledger.commands_at:
            self.ledger = msgspec.structs.replace(self.ledger, commands_at=durable)
            if events:
                # Here too: of an append without an answer the log may have no more than this.
                self._stamp(first)
        return True

    def finish(self) -> None:
        """Stamp the command position on the last entry; call once, before the append."""
        if self.entries and self.ledger.commands_at:
            self._stamp(-1)

    def _stamp(self, place: int) -> None:
        entry = self.entries[place]
        headers = {**entry.headers, COMMANDS_AT_HEADER: str(self.ledger.commands_at)}
        self.entries[place] = msgspec.structs.replace(entry, headers=headers)

    def _decide(self, prepared: Prepared, facts: Facts) -> Decision:
        key = None if prepared.command_id is None else key_of(prepared.origin, prepared.command_id)
        decision = Decision(prepared, key, position=self.ledger.position)
        known = None if key is None else self._by_key.get(key) or self._seen.position(key)
        if known is not None:
            decision.replay = True
            decision.seen_at, decision.same_as = (known, None) if isinstance(known, int) else (None, known)
            return decision
        try:
            self._decide_new(prepared, facts, decision)
        except Rejection as refusal:
            self._refuse(decision, refusal, facts.at)
        except Exception:  # noqa: BLE001 (one bad decision must not end the writer)
            _log.exception("decision failed", command_id=prepared.command_id, command=prepared.name)
            self._refuse(decision, Rejection("internal_error", INTERNAL_ERROR_MESSAGE), facts.at)
        return decision

    def _decide_new(self, prepared: Prepared, facts: Facts, decision: Decision) -> None:
        if prepared.uuid is not None and isinstance(prepared.source, Asked):
            age_s = self._seen.age_if_expired(prepared.uuid, prepared.source.queued_at or facts.at)
            if age_s is not None:
                raise Rejection(
                    "command_expired",
                    f"the command's id was made {age_s:.0f} s ago; ids are taken for 24 h, and 5 min ahead",
                    age_s=round(age_s),
                )
        if prepared.refusal is not None:
            raise prepared.refusal
        assert prepared.request is not None
        assert prepared.command_id is not None
        command = Command(id=prepared.command_id, origin=prepared.origin, request=prepared.request, facts=facts)
        decision.events = tower.decide(command, self.ledger.tower)
        if decision.events:
            decision.result = tower.result(decision.events)
        else:
            decision.result = tower.standing(prepared.request, self.ledger.tower, prepared.origin)
            decision.replay = bool(decision.result.get("replay", False))

    def _refuse(self, decision: Decision, refusal: Rejection, at: datetime) -> None:
        prepared = decision.prepared
        # Its traceback holds this decision: a cycle for each refusal, which only the garbage collector would end.
        decision.code, decision.refusal, decision.events = refusal.code, refusal.with_traceback(None), ()
        if refusal.code in UNRECORDED or prepared.command_id is None:
            return
        count = 1
        if refusal.code == "host_only":
            count = self._refusals.count_to_record(prepared.origin, at)
        if count:
            noun, _, verb = prepared.name.partition(".")
            decision.events = (
                CommandRejected(
                    command_id=prepared.command_id,
                    noun=noun,
                    verb=verb,
                    code=refusal.code,
                    message=refusal.message,
                    details=refusal.details,
                    count=count,
                ),
            )

    def _record(self, decision: Decision, events: Sequence[Event], at: datetime) -> None:
        prepared = decision.prepared
        if not events:
            return
        state, position, chain = self.ledger.tower, self.ledger.position, self.ledger.chain
        source, command_id = f"/tower/{self._node}", prepared.command_id or ""
        for number, event in enumerate(events):
            entry = catalogue.event_type(event)
            envelope = Envelope(
                id=self._ids.uuid7(),
                source=source,
                type=entry.wire_name,
                subject=catalogue.aggregate_id(event),
                time=at,
                node=self._node,
                kind=entry.kind,
                sequence=tower.next_sequence(state, event),
                actor=prepared.origin,
                commandid=command_id,
                correlationid=prepared.correlation_id or command_id,
                causationid=prepared.causation_id or msgspec.UNSET,
                traceparent=prepared.traceparent or msgspec.UNSET,
                data=encode_data(event),
            )
            payload = encode(envelope)
            chain = link(chain, payload)
            position += 1
            state = tower.evolve(state, event)
            joined = number > 0 and not isinstance(event, SEPARABLE)
            self.entries.append(Entry(subject_of(envelope), payload, {CHAIN_HEADER: chain.hex()}, joined))
            self.recorded.append(Recorded(position, envelope, event))
        decision.position = position
        self.ledger = Ledger(tower=state, position=position, chain=chain, commands_at=self.ledger.commands_at)
