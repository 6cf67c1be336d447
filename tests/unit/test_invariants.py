"""The invariants of layouts.md over random requests of all kinds, each under its label.

L1 capacity · L2 label unique · L3 session and slot unique among living panes · L4 idempotent: the same again emits
nothing new · L5 chains linear and at most 16 deep · L6 a layout's state is that of its panes · L7 sequences gapless ·
L8 memory is the fold of the log, from any snapshot on · L9 indexes are what a recomputation gives · L10 nothing acts
on an adopted agent
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from domain import tower
from domain.agents.commands import AgentRecordGone, AgentReport
from domain.agents.events import Gone
from domain.containers import knowing
from domain.errors import Rejection
from domain.layouts import commands as c
from domain.layouts import events as e
from domain.messages import HOST, POLICY, TOWER, Command, Event, Request
from domain.node import NodeClaim
from domain.tower import Tower
from handlers import snapshots
from handlers.ledger import Ledger
from tests.unit.books import Books, aggregate
from tests.unit.builders import BENCH, OTHER_BENCH, adopt, create, facts, in_tmux, recreate
from tests.unit.given import fold

CONTAINERS = (HOST, BENCH)
SESSIONS = ("work", "a.b", "a_b", "review", "x", "y")
KEYS = st.sampled_from([None, None, "k1", "k2"])
ORIGINS = st.sampled_from([HOST] * 6 + [TOWER, BENCH, OTHER_BENCH])
NUMBERS = st.integers(min_value=0, max_value=60)
UNKNOWN = 60
BROKEN = {("degraded", "process_exited"), ("failed", "pane_vanished")}


def reports(pane_id: str) -> tuple[Request, ...]:
    """Everything that the tower may report of one pane; the first four lead it to ready."""
    return (
        c.PaneRecordSpawned(pane_id=pane_id, tmux_pane_id="%1", tmux_pane_index=0, pid=100),
        c.PaneRecordLaunchSettled(pane_id=pane_id, elapsed_ms=500),
        c.PaneRegister(pane_id=pane_id),
        c.PaneRecordLogAttached(pane_id=pane_id, path="log"),
        c.PaneRecordLaunchExited(pane_id=pane_id, elapsed_ms=40, exit_code=127),
        c.PaneRecordLogFailed(pane_id=pane_id, reason="disk full"),
        c.PaneFail(pane_id=pane_id, stage="registration", reason="locked"),
        c.PaneRecordExited(pane_id=pane_id, exit_code=1),
        c.PaneRecordVanished(pane_id=pane_id),
    )


class Node(RuleBasedStateMachine):
    """A node with two containers. Label, key and session collisions are likely: few names, many requests."""

    def __init__(self) -> None:
        super().__init__()
        self.state = Tower(containers=knowing(CONTAINERS))
        self.books = Books()
        self.events: list[Event] = []
        self.ids = 0
        self.clock = timedelta()

    # --- asking --------------------------------------------------------------------------------------------------

    def _decide(self, request: Request, origin: str, **looked_up: Any) -> tuple[Event, ...] | Rejection:
        """Only a rejection may be raised. Every attempt gets fresh ids, as the writer would give it."""
        fresh = tuple(f"id-{self.ids + number}" for number in range(5))
        self.ids += 5
        known = facts(*fresh, after=self.clock, **looked_up)
        command = Command(id="command", origin=origin, request=request, facts=known)
        try:
            return tower.decide(command, self.state)
        except Rejection as rejection:
            return rejection

    def ask(self, request: Request, origin: str = HOST, **looked_up: Any) -> tuple[Event, ...] | Rejection:
        outcome = self._decide(request, origin, **looked_up)
        if isinstance(outcome, Rejection):
            if outcome.code == "host_only":
                assert (origin in (BENCH, OTHER_BENCH), outcome.details) == (True, {})
            return outcome
        for event in outcome:
            sequence = tower.next_sequence(self.state, event)
            self.state = tower.evolve(self.state, event)
            self.books.write([event])
            assert sequence == self.books.sequences[aggregate(event)], "L7 sequences gapless"
        self.events += outcome
        if outcome:
            assert isinstance(tower.result(outcome), dict)
        else:
            assert isinstance(tower.standing(request, self.state), dict)
        return outcome

    def again(self, request: Request, origin: str = HOST, **looked_up: Any) -> None:
        """L4: doing again what was done emits nothing."""
        assert self._decide(request, origin, **looked_up) == (), f"L4 idempotent: {request}"

    def pane(self, number: int) -> str:
        """A pane that is known, the newest most often, or one that is not."""
        known = list(self.books.panes)
        return known[-1 - number % len(known)] if known and number < UNKNOWN else "unknown"

    def layout(self, number: int) -> str:
        known = list(self.books.layouts)
        return known[-1 - number % len(known)] if known and number < UNKNOWN else "unknown"

    # --- what happens --------------------------------------------------------------------------------------------

    @initialize(count=st.sampled_from([0, 0, 39]), ready=st.booleans())
    def fill(self, count: int, ready: bool) -> None:
        for number in range(count):
            self.ask(create("solo", f"filled-{number}"))
        if ready:
            for pane_id in list(self.books.panes):
                self._lead_to_ready(pane_id)

    @rule(
        template=st.sampled_from(["solo", "lead", "lead", "1m+2s", "2m+2s", "none"]),
        container=st.sampled_from([*CONTAINERS, *CONTAINERS, *CONTAINERS, "nowhere"]),
        session=st.sampled_from([*SESSIONS, "b a d"]),
        key=KEYS,
        overrides=st.sampled_from([{}, {}, {}, {}, {"slave:s2": "claude"}, {"master:m1": "gone"}]),
        sessions=st.sampled_from([None, (), ("a:b",)]),
        origin=ORIGINS,
    )
    def create(
        self,
        template: str,
        container: str,
        session: str,
        key: str | None,
        overrides: dict[str, str],
        sessions: Iterable[str] | None,
        origin: str,
    ) -> None:
        request = create(template, session, container=container, key=key, overrides=overrides)
        outcome = self.ask(request, origin, sessions=sessions)
        if key is not None and not isinstance(outcome, Rejection):
            self.again(request, origin, sessions=[session])
            self.again(create("none", "other", container=container, key=key), origin)

    @rule(number=NUMBERS, key=KEYS, override=st.sampled_from([None, None, "claude", "gone"]), origin=ORIGINS)
    def recreate(self, number: int, key: str | None, override: str | None, origin: str) -> None:
        request = recreate(self.pane(number), key=key, override=override)
        outcome = self.ask(request, origin)
        if key is not None and not isinstance(outcome, Rejection):
            self.again(request, origin)

    @rule(count=st.integers(min_value=1, max_value=3), container=st.sampled_from(CONTAINERS))
    def crowd(self, count: int, container: str) -> None:
        for _ in range(count):
            self.ask(create("solo", f"crowd-{self.ids}", container=container))

    @rule(number=NUMBERS, times=st.sampled_from([1, 2, 16]))
    def fail_and_recreate(self, number: int, times: int) -> None:
        pane_id = self.pane(number)
        for _ in range(times):
            self.ask(c.PaneRecordVanished(pane_id=pane_id), TOWER)
            outcome = self.ask(recreate(pane_id))
            if isinstance(outcome, Rejection):
                break
            pane_id = next(iter(reversed(self.books.panes)))

    @rule(number=NUMBERS, origin=ORIGINS)
    def remove_pane(self, number: int, origin: str) -> None:
        request = c.PaneRemove(pane_id=self.pane(number))
        if not isinstance(self.ask(request, origin), Rejection):
            self.again(request, origin)

    @rule(number=NUMBERS, origin=ORIGINS)
    def remove_layout(self, number: int, origin: str) -> None:
        request = c.LayoutRemove(layout_id=self.layout(number))
        outcome = self.ask(request, origin)
        if not isinstance(outcome, Rejection) and self.state.layouts.layouts[request.layout_id].state == "removed":
            self.again(request, origin)

    @rule(
        number=NUMBERS,
        which=st.lists(st.integers(min_value=0, max_value=8), min_size=1, max_size=4),
        done=st.integers(min_value=0, max_value=4),
        origin=st.sampled_from([TOWER, TOWER, TOWER, BENCH]),
    )
    def report(self, number: int, which: list[int], done: int, origin: str) -> None:
        """Some stages of the pipeline in order, then anything at all."""
        told = reports(self.pane(number))
        for request in (*told[:done], *(told[place] for place in which)):
            if not isinstance(self.ask(request, origin), Rejection):
                self.again(request, origin)

    @rule(number=NUMBERS)
    def become_ready(self, number: int) -> None:
        for pane_id in self.books.layouts[self.layout(number)].panes if self.layout(number) != "unknown" else ():
            self._lead_to_ready(pane_id)

    def _lead_to_ready(self, pane_id: str) -> None:
        for request in reports(pane_id)[:4]:
            self.ask(request, TOWER)

    @rule(number=NUMBERS, origin=ORIGINS)
    def restore_layout(self, number: int, origin: str) -> None:
        request = c.LayoutRestore(layout_id=self.layout(number))
        outcome = self.ask(request, origin)
        if isinstance(outcome, Rejection):
            return
        restored = [event for event in outcome if isinstance(event, e.LayoutRestored)]
        if not any(each.chain_too_deep or each.conflicts for each in restored):
            self.again(request, origin)

    @rule(number=NUMBERS, halves=st.sampled_from([1, 2, 2]))
    def restart(self, number: int, halves: int) -> None:
        """What the policy sends, due or not."""
        pane_id = self.pane(number)
        for request in (c.PaneRemove(pane_id=pane_id), recreate(pane_id))[:halves]:
            if not isinstance(self.ask(request, POLICY), Rejection):
                self.again(request, POLICY)

    @rule(minutes=st.sampled_from([0, 1, 4, 5]))
    def sweep(self, minutes: int) -> None:
        self.clock += timedelta(minutes=minutes)
        self.ask(c.PaneSweep(), TOWER)
        self.again(c.PaneSweep(), TOWER)

    @rule(container=st.sampled_from(CONTAINERS), seen=st.sampled_from(["all", "none", "every other"]))
    def recover(self, container: str, seen: str) -> None:
        present = tuple(self.books.panes)[:: {"all": 1, "every other": 2}.get(seen, 1)] if seen != "none" else ()
        request = c.ContainerRecover(container_id=container, present_pane_ids=present)
        self.ask(request, TOWER)
        settled = self.state.layouts
        self.ask(request, TOWER)
        assert self.state.layouts == settled, "L4 idempotent: recovery on a stable tree"

    @rule(
        place=st.sampled_from(["%7", "%8", "%9"]),
        pid=st.sampled_from([77, 77, 78]),
        label=st.sampled_from(["m1", "s1", "lead", "reviewer"]),
        container=st.sampled_from(CONTAINERS),
        origin=ORIGINS,
    )
    def adopt(self, place: str, pid: int, label: str, container: str, origin: str) -> None:
        request, there = adopt(place, label, container=container), [in_tmux(place, pid)]
        if not isinstance(self.ask(request, origin, panes=there), Rejection):
            self.again(request, origin, panes=there)

    @rule(number=NUMBERS, session=st.sampled_from(["s", "t"]), origin=ORIGINS)
    def tell_session(self, number: int, session: str, origin: str) -> None:
        request = AgentReport(pane_id=self.pane(number), agent_session=session)
        if not isinstance(self.ask(request, origin), Rejection):
            self.again(request, origin)

    @rule(number=NUMBERS)
    def lose_agent(self, number: int) -> None:
        known = sorted(self.state.agents.known) or ["unknown"]
        request = AgentRecordGone(agent_id=known[number % len(known)], reason=Gone.VANISHED)
        self.ask(request, TOWER)
        self.again(request, TOWER)

    @rule(number=NUMBERS)
    def act_on_an_adopted_agent(self, number: int) -> None:
        """L10: by no command."""
        adopted = sorted(agent.agent_id for agent in self.state.agents.known.values() if agent.pane_id is None)
        if not adopted:
            return
        agent_id = adopted[number % len(adopted)]
        told = reports(agent_id)
        for request in (c.PaneRemove(pane_id=agent_id), recreate(agent_id), *told):
            outcome = self.ask(request, TOWER)
            assert outcome == () or (
                isinstance(outcome, Rejection) and outcome.code == "managed_pane_protected_adopted"
            )

    @rule(origin=ORIGINS)
    def promote(self, origin: str) -> None:
        outcome = self.ask(c.PanePromote(), origin)
        assert isinstance(outcome, Rejection)
        assert outcome.code == "not_implemented"

    @rule()
    def claim(self) -> None:
        self.ask(NodeClaim(node="local", instance="i", pid=1, host="h"), TOWER)

    # --- what always holds ---------------------------------------------------------------------------------------

    @invariant()
    def capacity(self) -> None:
        standing = self.books.standing()
        assert len(standing) <= 40, "L1 capacity"
        assert set(self.state.layouts.open_layouts) == standing, "L9 open layouts"

    @invariant()
    def labels(self) -> None:
        held = self.books.labels()
        assert {label: panes for label, panes in held.items() if len(panes) > 1} == {}, "L2 label unique"
        agents = self.books.agents
        assert dict(self.state.agents.labels) == {label: agent for agent, (_, label) in agents.items()}, "L9 agents"
        assert dict(self.state.agents.places) == {place: agent for agent, (place, _) in agents.items()}, "L9 agents"
        assert set(self.state.agents.labels) & set(held) == set(), "L2 label unique, adopted agents among them"
        assert dict(self.state.layouts.live_labels) == {label: pane for label, (pane,) in held.items()}, "L9 labels"

    @invariant()
    def places(self) -> None:
        assert [place for place, count in self.books.places().items() if count > 1] == [], "L3 session and slot unique"

    @invariant()
    def chains(self) -> None:
        for pane_id, pane in self.books.panes.items():
            assert len(pane.successors) <= 1, "L5 chains linear"
            assert pane.depth <= 15, "L5 chains at most 16 deep"
            before = self.books.panes[pane.predecessor].depth if pane.predecessor else -1
            assert pane.depth == before + 1, "L5 depth"
            assert self.state.layouts.panes[pane_id].successor_id == next(iter(pane.successors), None)

    @invariant()
    def layout_states(self) -> None:
        for layout_id, entry in self.books.layouts.items():
            expected = self.books.layout_state(layout_id)
            layout = self.state.layouts.layouts[layout_id]
            assert (layout.state, layout.failed_stage) == expected, "L6 a layout's state is that of its panes"
            assert (entry.reported, entry.reported_stage) == expected, "L6 and its events say so"

    @invariant()
    def restarts(self) -> None:
        for pane in self.state.layouts.panes.values():
            planned = pane.restart_due_at is not None or pane.restart_given_up is not None
            assert pane.restart == "on_failure" or not planned, "L11 only what has the policy is restarted"
            assert len(pane.restarts) <= 5, "L11 five restarts count"
            if pane.restart_open:
                broken = (pane.state, pane.failed_stage) in BROKEN or pane.state == "removed"
                assert broken, f"L11 what is to be restarted has failed, {pane}"

    @invariant()
    def sequences(self) -> None:
        assert dict(self.state.sequences) == dict(self.books.sequences), "L7 sequences gapless"

    def teardown(self) -> None:
        """L8, at eight cuts of the history: the state read back from a snapshot and the tail."""
        empty = Tower(containers=knowing(CONTAINERS))
        cuts = sorted({len(self.events) * part // 8 for part in range(9)})
        for start, end in zip([0, *cuts], cuts, strict=False):
            empty = fold(self.events[start:end], empty)
            assert fold(self.events[end:], read_back(empty)) == self.state, (
                f"L8 fold from a snapshot after {end} events"
            )


def read_back(state: Tower) -> Tower:
    """The state as a start reads it from a snapshot."""
    written = snapshots.encode(snapshots.Snapshot(digest="d", ledger=Ledger(tower=state), horizon_s=0.0))
    read = snapshots.decode(written, "d")
    assert read is not None
    return read.ledger.tower


TestInvariants = Node.TestCase
TestInvariants.settings = settings(max_examples=100, stateful_step_count=40)
