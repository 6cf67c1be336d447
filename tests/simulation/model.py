"""What the log says, folded apart from every writer, and all that must hold of it after each append (safety)."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from domain import catalogue, tower
from domain.agents import commands as ac
from domain.agents import events as ae
from domain.background.events import BackgroundRunStarted
from domain.containers import ContainerGone, ContainerScan, ContainerScanned, ContainerScanRequested
from domain.envelope import Recorded, Stored
from domain.errors import UNRECORDED
from domain.executions import commands as xc
from domain.executions import events as xe
from domain.layouts import commands as c
from domain.layouts import events as e
from domain.layouts.recreating import lost_panes
from domain.layouts.restarts import MOST_IN_WINDOW
from domain.layouts.state import CAPACITY, TRANSITIONS, Layouts, PaneState, aggregate
from domain.messages import POLICY, Request
from domain.node import CommandRejected
from domain.promises import PromiseResolved
from domain.sends import PaneSend, PaneSendRequested
from domain.tower import Tower
from handlers.ledger import Ledger, replay
from handlers.ports import Answer
from tests.simulation.asked import SESSION_REQUESTS, of_sessions, stands
from tests.simulation.stores import private_digest

Key = tuple[str, str]
"""Origin and id of a command."""


class Violation(AssertionError):
    """Something that must hold does not."""


class Model:
    """`ledgers[position]` is the ledger after that position; `records` are the events in order. `report` is told of
    what does not hold. `removed`: containers that the engine ever lost."""

    def __init__(self, start: Ledger, report: Callable[[str], None], removed: AbstractSet[str] = frozenset()) -> None:
        self._removed = removed
        self.lost_with_container: set[str] = set()
        self.ledgers = [start]
        self.records: list[Recorded] = []
        self.by_command: dict[Key, list[Recorded]] = {}
        self.asked: dict[Key, tuple[str, Mapping[str, Any] | None]] = {}
        self.queued_only: dict[Key, int] = {}
        self.decided: set[Key] = set()
        self._ended: set[str] = set()
        self._sequences: dict[tuple[str, str], int] = {}
        self._report = report

    @property
    def tower(self) -> Tower:
        return self.ledgers[-1].tower

    @property
    def layouts(self) -> Layouts:
        return self.tower.layouts

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            self._report(what)

    # --- the log ---------------------------------------------------------------------------------------------------

    def appended(self, batch: Sequence[Stored]) -> None:
        """One append was recorded."""
        before = len(self.records)
        for stored in batch:
            try:
                ledger, record = replay(self.ledgers[-1], stored)
            except Exception as error:
                self._report(f"the log cannot be replayed: {error}")
                raise
            self._check_sequence(record)
            self._check_transition(record, self.layouts)
            self._check_restart(record, self.layouts)
            self._check_container(record)
            self._check_end(record)
            self._check_run(record)
            self.ledgers.append(ledger)
            self.records.append(record)
        self._check_once(self.records[before:])
        self._check_position(self.records[before:])
        self._check_state(self.records[before:])

    def _check_sequence(self, record: Recorded) -> None:
        """Gapless an aggregate."""
        envelope = record.envelope
        aggregate_id = (envelope.kind, envelope.subject)
        if envelope.kind != "command":
            expected = self._sequences.get(aggregate_id, 0) + 1
            self._sequences[aggregate_id] = expected
            self.expect(
                envelope.sequence == expected,
                f"position {record.position}: sequence {envelope.sequence} of {aggregate_id}, not {expected}",
            )

    def _check_transition(self, record: Recorded, before: Layouts) -> None:
        event = record.event
        if isinstance(event, e.PaneStateChanged):
            pane = before.panes[event.pane_id]
            self.expect(
                pane.state is event.from_ and (event.from_, event.to, event.failed_stage) in TRANSITIONS,
                f"position {record.position}: pane {event.pane_id} is {pane.state}, and moves {event}",
            )

    def _check_restart(self, record: Recorded, before: Layouts) -> None:
        """The policy makes anew what it was to make anew, once, and not too often."""
        event = record.event
        if isinstance(event, e.PaneRestartScheduled):
            self.expect(len(event.earlier) < MOST_IN_WINDOW, f"position {record.position}: restarted too often {event}")
        if isinstance(event, e.PaneRecreated):
            by_policy, due = record.envelope.actor == POLICY, before.panes[event.predecessor_id].restart_open
            self.expect(by_policy == due, f"position {record.position}: recreated by policy {by_policy}, due {due}")

    def _check_container(self, record: Recorded) -> None:
        """Only what the engine lost is gone, and a scan ends once."""
        match record.event:
            case e.PaneStateChanged(pane_id=pane_id, reason="container gone"):
                self.lost_with_container.add(pane_id)
            case ContainerGone(container_id=container_id):
                self.expect(container_id in self._removed, f"container {container_id} is gone, and was never removed")
            case ContainerScanned(scan_id=scan_id):
                self.expect(scan_id in self.tower.containers.open_scans, f"scan {scan_id} ends, and is not open")
            case _:
                pass

    def _check_once(self, records: Sequence[Recorded]) -> None:
        """A command's events are all recorded by one append, next to each other."""
        fresh: dict[Key, list[Recorded]] = {}
        for record in records:
            key = (record.envelope.actor, record.envelope.commandid)
            self.expect(key not in self.by_command, f"command {key} is recorded twice: {record.event}")
            known = fresh.setdefault(key, [])
            self.expect(
                not known or known[-1].position == record.position - 1, f"events of command {key} do not stand together"
            )
            known.append(record)
        self.by_command |= fresh
        for key, events in fresh.items():
            self._check_asked_for(key, [each.event for each in events])

    def _check_end(self, record: Recorded) -> None:
        """An execution has one end."""
        if isinstance(record.event, xe.ExecutionEnd):
            execution_id = record.event.execution_id
            self.expect(execution_id not in self._ended, f"execution {execution_id} has two ends")
            self._ended.add(execution_id)

    def _check_run(self, record: Recorded) -> None:
        """Never more of one background session than its pool has places."""
        if isinstance(record.event, BackgroundRunStarted) and record.event.attempt == 1:
            there = self.tower.backgrounds.known[record.event.background_id]
            self.expect(there.has_room, f"position {record.position}: {len(there.running)} runs of {there.name}")

    def _check_position(self, records: Sequence[Recorded]) -> None:
        """The log says itself how far the durable door was read."""
        at = self.ledgers[-1].commands_at
        self.expect(at >= self.ledgers[-1 - len(records)].commands_at, "the position of the durable door went back")
        for record in records:
            sequence = self.queued_only.get((record.envelope.actor, record.envelope.commandid), 0)
            self.expect(
                at >= sequence,
                f"command {sequence} of the durable door is recorded, the log says it was read up to {at}",
            )

    def _check_state(self, records: Sequence[Recorded]) -> None:
        layouts = self.layouts
        touched = {record.envelope.subject for record in records if record.envelope.kind == "layout"}
        touched |= {record.event.layout_id for record in records if isinstance(record.event, e.PaneStateChanged)}
        for layout_id in sorted(touched):
            layout = layouts.layouts[layout_id]
            self.expect(
                aggregate(layouts.present_panes(layout_id)) == (layout.state, layout.failed_stage),
                f"layout {layout_id} is {layout.state}, its panes say otherwise",
            )
            self.expect((layout.state is PaneState.REMOVED) != (layout_id in layouts.open_layouts), "open_layouts")
        for record in records:
            if isinstance(record.event, ContainerGone):
                live = [p for p in layouts.panes.values() if p.live and p.container_id == record.event.container_id]
                self.expect(not live, f"container {record.event.container_id} is gone, and panes in it live")
        if any(isinstance(record.event, e.PaneCreated) for record in records):
            self._check_capacity_and_names(layouts)

    def _check_capacity_and_names(self, layouts: Layouts) -> None:
        self.expect(len(layouts.open_layouts) <= CAPACITY, f"L1: {len(layouts.open_layouts)} layouts stand")
        labels: set[tuple[str, str]] = set()
        sessions: set[tuple[str, str]] = set()
        for layout_id in layouts.open_layouts:
            layout = layouts.layouts[layout_id]
            live = [pane for pane in layouts.panes_of(layout_id) if pane.live]
            for pane in live:
                self.expect((pane.container_id, pane.label) not in labels, f"L2: label {pane.label} twice")
                labels.add((pane.container_id, pane.label))
            if live:
                session = (layout.container_id, layout.tmux_session_name)
                self.expect(session not in sessions, f"L3: session {session} twice")
                sessions.add(session)

    def _check_asked_for(self, key: Key, events: Sequence[Any]) -> None:
        """The events are those of this very request."""
        request = self.request(key)
        match events[0]:
            case e.LayoutCreated() as created if isinstance(request, c.LayoutCreate):
                fits = (
                    (created.container_id, created.tmux_session_name, created.template_name, created.idempotency_key)
                    == (request.container_id, request.tmux_session_name, request.template_name, request.idempotency_key)
                ) and created.working_dir_digest == _digest(request.working_dir)
            case e.PaneCreated() as created if isinstance(request, c.PaneRecreate):
                fits = created.predecessor_id == request.predecessor_pane_id
            case e.PaneStateChanged() as changed if isinstance(request, c.PaneRemove):
                fits = changed.pane_id == request.pane_id
            case e.PaneStateChanged() as changed if isinstance(request, c.LayoutRemove):
                fits = changed.layout_id == request.layout_id
            case PaneSendRequested() as sending if isinstance(request, PaneSend):
                fits = (sending.pane_id, sending.bytes_) == (request.pane_id, len(request.text))
            case e.LayoutRestored() as restored if isinstance(request, c.LayoutRestore):
                fits = restored.layout_id == request.layout_id
            case e.PaneRestartCancelled() as cancelled if isinstance(request, c.PaneRemove):
                fits = cancelled.pane_id == request.pane_id
            case e.PaneRestartCancelled() as cancelled if isinstance(request, c.PaneRecreate):
                fits = cancelled.pane_id == request.predecessor_pane_id
            case e.PaneRestartCancelled() as cancelled if isinstance(request, c.LayoutRemove):
                fits = cancelled.layout_id == request.layout_id
            case xe.ExecutionRequested() as wanted if isinstance(request, xc.ExecutionRequest):
                fits = wanted.code == request.code and request.session_id in (None, wanted.session_id)
            case xe.ExecutionCancelRequested() | xe.ExecutionCancelled() if isinstance(request, xc.ExecutionCancel):
                fits = events[0].execution_id == request.execution_id
            case PromiseResolved() as resolved if isinstance(request, xc.ExecutionAnswer):
                fits = resolved.promise_id.startswith(f"exec:{request.execution_id}:input:")
            case _ if isinstance(request, SESSION_REQUESTS):
                fits = of_sessions(request, events)
            case ContainerScanRequested():
                fits = isinstance(request, ContainerScan)
            case CommandRejected():
                fits = True
            case _ if isinstance(request, ac.AgentAdopt) and isinstance(events[-1], ae.AgentAdopted):
                adopted = events[-1]
                fits = (adopted.container_id, adopted.tmux_pane_id, adopted.label) == (
                    (request.container_id, request.tmux_pane_id, request.label)
                )
            case _ if isinstance(request, ac.AgentReport) and isinstance(events[-1], ae.AgentReported):
                told = events[-1]
                fits = (told.pane_id, told.agent_session) == (request.pane_id, request.agent_session)
            case _:
                fits = key not in self.asked
        self.expect(fits, f"command {key} asked {self.asked.get(key)}, and recorded {events[0]}")

    def text_of(self, send_id: str) -> tuple[str, str] | None:
        """Pane and text of a recorded `pane.send`."""
        for key, records in self.by_command.items():
            match records[0].event:
                case PaneSendRequested() as sending if sending.send_id == send_id:
                    request = self.request(key)
                    return (sending.pane_id, request.text) if isinstance(request, PaneSend) else None
                case _:
                    pass
        return None

    def request(self, key: Key) -> Request | None:
        """What was asked; None for what cannot be read, and for the tower's own."""
        name, data = self.asked.get(key, ("", None))
        entry = catalogue.request_type(name)
        if entry is None or data is None:
            return None
        try:
            return msgspec.convert(data, entry.request)
        except msgspec.ValidationError:
            return None

    # --- what is said of it ----------------------------------------------------------------------------------------

    def check_memory(self, who: str, ledger: Ledger) -> None:
        """A writer's memory is the fold of the log."""
        self.expect(ledger.position < len(self.ledgers), f"{who}: memory is ahead of the log")
        folded = self.ledgers[ledger.position]
        self.expect(
            (ledger.tower, ledger.chain) == (folded.tower, folded.chain),
            f"{who}: memory at position {ledger.position} is not what the log says",
        )

    def check_outcome(self, answer: Answer) -> None:
        """An outcome says what the log says, and is sent after it stands there."""
        outcome = msgspec.json.decode(answer.payload)
        key = (answer.origin, answer.command_id)
        self.decided.add(key)
        position = outcome["position"]
        self.expect(position < len(self.ledgers), f"outcome {outcome} is ahead of the log")
        records = self.by_command.get(key, [])
        if outcome["status"] == "accepted":
            self._check_accepted(key, outcome, records)
            return
        code = outcome["error"]["code"]
        self.expect(code != "internal_error", f"command {key} {self.asked.get(key)}: {outcome}")
        if code in UNRECORDED:
            # That it cannot be read now is no statement about the command.
            self.expect(not records or code in ("tower_busy", "command_expired"), f"{outcome}, and it is recorded")
        elif records or code != "host_only":
            said = [record.event for record in records]
            self.expect(
                len(said) == 1 and isinstance(said[0], CommandRejected) and said[0].code == code,
                f"outcome {outcome}, recorded is {said}",
            )

    def _check_accepted(self, key: Key, outcome: Mapping[str, Any], records: Sequence[Recorded]) -> None:
        if records:
            self.expect(outcome["position"] == records[-1].position, f"{outcome}: not the position of its last event")
            result = msgspec.to_builtins(tower.result([record.event for record in records]))
            self.expect(outcome["result"] == result, f"{outcome}: its events say {result}")
            return
        request, state = self.request(key), self.ledgers[outcome["position"]].tower
        layouts = state.layouts
        match request:
            case c.PaneRemove():
                done = layouts.panes[request.pane_id].state is PaneState.REMOVED
            case c.LayoutRemove():
                done = all(pane.state is PaneState.REMOVED for pane in layouts.panes_of(request.layout_id))
            case c.LayoutRestore():
                done = not lost_panes(request.layout_id, layouts)
            case c.LayoutCreate():
                done = (request.container_id, "create", request.idempotency_key) in layouts.idempotency
            case ac.AgentAdopt():
                done = (request.container_id, request.tmux_pane_id) in state.agents.places
            case ac.AgentReport():
                agent = state.agents.known[layouts.panes[request.pane_id].agent_id or ""]
                done = agent.agent_session == request.agent_session
            case c.PaneRecreate():
                container_id = layouts.panes[request.predecessor_pane_id].container_id
                done = (container_id, "recreate", request.idempotency_key) in layouts.idempotency
            case xc.ExecutionRequest() | xc.ExecutionCancel() | xc.ExecutionAnswer():
                done = True
            case _ if isinstance(request, SESSION_REQUESTS):
                done = stands(request, state)
            case _:
                done = False
        self.expect(done, f"accepted without an event, but not done before: {self.asked.get(key)} {outcome}")
        if done and request is not None:
            expected = msgspec.to_builtins(tower.standing(request, state))
            self.expect(outcome["result"] == expected, f"{outcome}: the state says {expected}")


def _digest(value: str | None) -> str | None:
    return None if value is None else private_digest(value)
