"""Events as they stand in the log, a log in memory for when order and contents must be chosen, and random histories."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

import msgspec

from domain import catalogue, tower
from domain.agents.commands import AgentRecordGone, AgentReport
from domain.agents.events import Gone
from domain.bundles import commands as bc
from domain.containers import ContainerRecordFound, ContainerRecordScan, ContainerScan, knowing
from domain.envelope import CHAIN_HEADER, Envelope, Stored, encode, encode_data, subject_of
from domain.errors import Rejection
from domain.executions import commands as x
from domain.executions.events import ExecutionError
from domain.executions.state import Execution, startable
from domain.layouts import commands as c
from domain.layouts.events import PaneState
from domain.messages import HOST, POLICY, TOWER, Command, Event, PaneSlot, Request, Template
from domain.node import CommandRejected
from domain.promises import PromiseCreate, PromiseResolve
from domain.tower import Tower
from handlers.effects.restarting import open_restarts
from tests.integration.projections.backgrounds import of_backgrounds
from tests.integration.projections.conversed import of_sessions
from tests.unit import builders as b
from tests.unit.talks import PREPARED

GUARDED = PaneSlot(role="master", capability="plan", label="g{n}", restart="on_failure")
TEMPLATES = {**b.TEMPLATES, "guarded": Template(name="guarded", panes=(GUARDED,) * 4)}


def stored(event: Event, position: int, *, command_id: str = "command", actor: str = HOST, sequence: int = 1) -> Stored:
    """At `position`, one second after the one before."""
    entry = catalogue.event_type(event)
    envelope = Envelope(
        id=f"event-{position}",
        source="/tower/local",
        type=entry.wire_name,
        subject=catalogue.aggregate_id(event),
        time=b.AT + timedelta(seconds=position),
        node="local",
        kind=entry.kind,
        sequence=sequence,
        actor=actor,
        commandid=command_id,
        correlationid=f"correlation-of-{command_id}",
        data=encode_data(event),
    )
    return Stored(position, subject_of(envelope), encode(envelope), CHAINED)


CHAINED = {CHAIN_HEADER: "00" * 32}
"""Readers of projections do not follow the chain; an entry without is not the tower's."""


def undecodable(position: int, kind: str) -> Stored:
    return Stored(position, f"tower.evt.local.{kind}.some-id.happened", b"no event", CHAINED)


class ListLog:
    """The `Source` port over a list; what is appended reaches those who follow at once."""

    def __init__(self, entries: Iterable[Stored] = (), *, batch: int = 500) -> None:
        self.entries = list(entries)
        self._batch = batch
        self._changed = asyncio.Condition()

    @property
    def last(self) -> int:
        return self.entries[-1].position if self.entries else 0

    async def record(self, *events: Event, command_id: str = "command", actor: str = HOST) -> int:
        """The position of the last one."""
        first = self.last + 1
        return await self.append(
            *(stored(event, first + n, command_id=command_id, actor=actor) for n, event in enumerate(events))
        )

    async def append(self, *entries: Stored) -> int:
        self.entries.extend(entries)
        async with self._changed:
            self._changed.notify_all()
        return self.last

    def _next(self, after: int, end: int) -> Sequence[Stored]:
        return [entry for entry in self.entries if after < entry.position <= end][: self._batch]

    async def last_position(self) -> int:
        return self.last

    async def read(self, after: int, until: int | None = None) -> AsyncGenerator[Sequence[Stored], None]:
        end = self.last if until is None else min(until, self.last)
        while batch := self._next(after, end):
            after = batch[-1].position
            yield batch

    async def follow(self, after: int) -> AsyncGenerator[Sequence[Stored], None]:
        while True:
            while batch := self._next(after, self.last):
                after = batch[-1].position
                yield batch
            async with self._changed:
                while self.last <= after:
                    await self._changed.wait()


def random_history(
    seed: int, commands: int, *, executions: float = 0.15, backgrounds: float = 0.05, sessions: float = 0
) -> tuple[list[Stored], Tower]:
    """What a tower records of random commands, refusals included, and its state afterwards. `executions`,
    `backgrounds`, `sessions`: the shares of those that are about these."""
    random, state, entries = Random(seed), Tower(containers=knowing((HOST, b.BENCH))), list[Stored]()
    for number in range(commands):
        seen = [b.in_tmux(f"%{place}", random.choice([77, 78])) for place in range(5)]
        facts = b.facts(
            *(f"{number:04}-{n}" for n in range(6)), after=timedelta(seconds=number), panes=seen, templates=TEMPLATES
        )
        facts = msgspec.structs.replace(facts, spawn=PREPARED)
        asked_of = _of_executions if random.random() < executions else _random_request
        if backgrounds and random.random() < backgrounds:
            asked_of = of_backgrounds
        if sessions and random.random() < sessions:
            asked_of = of_sessions
        request, origin = asked_of(random, state), random.choice([HOST, HOST, b.BENCH])
        if isinstance(request, PromiseCreate) and (request.id or "").startswith("exec:"):
            origin = TOWER
        elif asked_of is of_sessions:
            origin = HOST
        restarts = open_restarts(state.layouts)
        if restarts and random.random() < 0.3:
            request, origin = _of_the_policy(*random.choice(restarts), state), POLICY
        command = Command(id=f"command-{number}", origin=origin, request=request, facts=facts)
        try:
            events = tower.decide(command, state)
        except Rejection as refused:
            events = (_rejected(command, refused),)
        for event in events:
            position = len(entries) + 1
            sequence = tower.next_sequence(state, event)
            entries.append(stored(event, position, command_id=command.id, actor=command.origin, sequence=sequence))
            state = tower.evolve(state, event)
    return entries, state


def _rejected(command: Command[Request], refused: Rejection) -> CommandRejected:
    noun, _, verb = catalogue.request_name(command.request).partition(".")
    return CommandRejected(
        command_id=command.id,
        noun=noun,
        verb=verb,
        code=refused.code,
        message=refused.message,
        details=msgspec.json.decode(msgspec.json.encode(refused.details)),
    )


def _random_request(random: Random, state: Tower) -> Request:
    if random.random() < 0.04:
        return _about_containers(random, state)
    if random.random() < 0.04:
        return _about_bundles(random, state)
    layouts, panes = sorted(state.layouts.layouts), sorted(state.layouts.panes)
    if not panes or random.random() < 0.08:
        name = f"session-{random.randrange(10**6)}"
        return b.create(random.choice(["1m+2s", "2m+2s", "guarded"]), name, container=random.choice([HOST, b.BENCH]))
    pane_id = random.choice(panes)
    pane = state.layouts.panes[pane_id]
    asked: list[Request] = [
        c.PaneRemove(pane_id=pane_id),
        b.recreate(pane_id, key=random.choice([None, f"again-{random.randrange(50)}"])),
        c.PaneRecordExited(pane_id=pane_id, exit_code=random.randrange(256)),
        c.PaneRecordExited(pane_id=pane_id, signal=9),
        c.PaneRecordVanished(pane_id=pane_id),
        c.PaneFail(pane_id=pane_id, stage="pane_create", reason="no space"),
        c.PaneRecordLaunchExited(pane_id=pane_id, elapsed_ms=3, exit_code=127),
    ]
    if random.random() < 0.1:
        return _of_agents(random, pane_id, state)
    if random.random() < 0.1:
        asked.append(c.LayoutRestore(layout_id=random.choice(layouts)))
    if random.random() < 0.03:
        asked.append(c.LayoutRemove(layout_id=random.choice(layouts)))
    if pane.state is PaneState.CREATING and random.random() < 0.9:
        return _next_step(random, pane_id, pane.next_stage)
    if pane.state is PaneState.READY and random.random() < 0.3:
        return c.PaneRecordExited(pane_id=pane_id, exit_code=random.randrange(3))
    return random.choice(asked)


def _of_the_policy(pane_id: str, _due_at: datetime, state: Tower) -> Request:
    """The half of a restart that is to be done."""
    removed = state.layouts.panes[pane_id].state is PaneState.REMOVED
    return b.recreate(pane_id) if removed else c.PaneRemove(pane_id=pane_id)


def _of_agents(random: Random, pane_id: str, state: Tower) -> Request:
    standing = sorted(state.agents.places.values()) or ["nobody"]
    place, label = f"%{random.randrange(6)}", random.choice(["m1", "s1", "reviewer", "writer"])
    return random.choice(
        (
            b.adopt(place, label, container=random.choice([HOST, b.BENCH])),
            AgentReport(pane_id=pane_id, agent_session=f"session-{random.randrange(9)}"),
            AgentRecordGone(agent_id=random.choice(standing), reason=random.choice(list(Gone))),
        )
    )


def _about_bundles(random: Random, state: Tower) -> Request:
    uri, waiting = f"/b/{random.randrange(3)}", tuple(sorted(state.bundles.reloads))[:2]
    known, digest = sorted(state.bundles.known), f"digest-{random.randrange(3)}"
    if known and random.random() < 0.3:
        return bc.BundleReload(bundle=random.choice(known))
    if random.random() < 0.3:
        return bc.BundleRecordFailed(
            uri=uri,
            code="bundle_invalid",
            message=f"line {random.randrange(9)}",
            details={"line": 3},
            reason="changed",
            serving=random.random() < 0.7,
            reload_ids=waiting,
        )
    return bc.BundleRecordPrepared(
        uri=uri,
        name=f"b{uri[-1]}",
        version="1.0.0",
        description="",
        digest=digest,
        reason="changed",
        warnings=("odd",) * random.randrange(2),
        prepare_s=0.25,
        reload_ids=waiting,
    )


def _about_containers(random: Random, state: Tower) -> Request:
    """The one with layouts comes and goes; others are only seen."""
    open_scans = sorted(state.containers.open_scans)
    if open_scans and random.random() < 0.7:
        panes = (
            b.unmanaged_pane(container_id, f"%{n}", pid=random.randrange(1, 99))
            for container_id in (HOST, b.BENCH)
            for n in range(random.randrange(4))
        )
        listed = (HOST, b.BENCH) if random.random() < 0.8 else (HOST,)
        return ContainerRecordScan(scan_id=random.choice(open_scans), listed=listed, unmanaged=tuple(panes))
    if random.random() < 0.5:
        return ContainerScan()
    names = [b.BENCH] if random.random() < 0.9 else []
    names += random.sample([b.OTHER_BENCH, "d" * 64], random.randrange(3))
    return ContainerRecordFound(
        containers=tuple(b.bench(name, running=random.random() < 0.7, name=f"bench-{name[:3]}") for name in names)
    )


def _of_executions(random: Random, state: Tower) -> Request:
    """Mostly what the tower would report next."""
    executions = state.executions
    startables = startable(executions)
    if startables and random.random() < 0.6:
        chosen = startables[0]
        assert isinstance(chosen, Execution)
        return x.ExecutionRecordStarted(execution_id=chosen.execution_id, attempt=chosen.attempt + 1)
    known = sorted(executions.open)
    if not known or random.random() < 0.3:
        return x.ExecutionRequest(
            code="print('é\0')",
            session_id=random.choice(["s", "t", None]),
            idempotency_key=random.choice([None, f"key-{random.randrange(20)}"]),
            retry=random.choice([None, "safe", x.Retry(max_attempts=2, backoff_s=0, then="pause")]),
            priority=random.randrange(10),
        )
    execution_id = random.choice(known)
    attempt, error = executions.open[execution_id].attempt, ExecutionError(exception_type="E", message="é", code="c")
    this: dict[str, Any] = {"execution_id": execution_id, "attempt": attempt, "output_position": random.randrange(9)}
    asked: list[Request] = [
        x.ExecutionRecordCompleted(**this, repr="'x'", value={"a": [1, None]}, execution_time=0.1 + 0.2),
        x.ExecutionRecordCompleted(**this, repr="y" * 300, mode="simple_sync"),
        x.ExecutionRecordFailed(**this, error=error),
        x.ExecutionRecordTimedOut(**this, error=error),
        x.ExecutionRecordCancelled(**this, worker_restarted=True),
        x.ExecutionRecordLost(**this),
        x.ExecutionRecordRetryDue(execution_id=execution_id, attempt=attempt + 1),
        x.ExecutionResume(execution_id=execution_id),
        x.ExecutionCancel(execution_id=execution_id),
        x.ExecutionAnswer(execution_id=execution_id, value=random.choice(["yes", None])),
        PromiseCreate(id=f"promise-{random.randrange(9)}", timeout=random.choice([None, 5.0]), data={"é": "\0"}),
        PromiseResolve(id=f"promise-{random.randrange(9)}", value=random.randrange(3)),
        PromiseCreate(id=f"exec:{execution_id}:input:1", data={"prompt": "?", "secret": False}),
    ]
    return random.choice(asked)


def _next_step(random: Random, pane_id: str, stage: str) -> Request:
    match stage:
        case "pane_create":
            index = random.randrange(4)
            return c.PaneRecordSpawned(pane_id=pane_id, tmux_pane_id=f"%{index}", tmux_pane_index=index, pid=4711)
        case "launch_command":
            return c.PaneRecordLaunchSettled(pane_id=pane_id, elapsed_ms=500)
        case "registration":
            return c.PaneRegister(pane_id=pane_id)
        case _ if random.random() < 0.2:
            return c.PaneRecordLogFailed(pane_id=pane_id, reason="disk full")
        case _:
            return c.PaneRecordLogAttached(pane_id=pane_id, path=f"panes/{pane_id}.log")
