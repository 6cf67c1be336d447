"""The invariants of background sessions over random declarations, firings, ends, losses, stops and restarts.

B1 no run starts beyond the pool · B2 runs start in the order of their firings · B3 what was fired is consumed once, or
dropped and told · B4 memory is the fold of the log, from a snapshot too · B5 nothing runs beyond the depth · B6 who
listens is known as such · B7 one attempt of a firing at a time, and the next one only after a loss
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from immutables import Map

from domain import tower
from domain.background import commands as c
from domain.background import events as e
from domain.background.listeners import Listeners
from domain.background.state import Background
from domain.errors import Rejection
from domain.messages import TOWER, Command, Event, Facts, Request
from domain.sessions import commands as sc
from domain.tower import Tower
from handlers import snapshots
from handlers.ledger import Ledger
from tests.unit import talks
from tests.unit.builders import AT
from tests.unit.yards import declaration, emit

LIMIT = 3
MOST_RUNS = 2_000
"""Far more than four that all trigger each other make of what can wait."""
NAMES = ("a", "b", "c")
TRIGGERS = (
    {"type": "session_event", "config": {"event_names": ["a:done", "x:*"]}},
    {"type": "session_event", "config": {"event_names": ["b:done"]}},
    {"type": "session_event", "config": {"event_names": ["*"], "source_sessions": ["a", "lead"]}},
    {"type": "webhook", "config": {"name": "hook", "secret_env": "HOOK"}},
    {"type": "manual"},
)
DECLARATION = st.fixed_dictionaries(
    {
        "pool_size": st.integers(1, 3),
        "queue_size": st.integers(1, 3),
        "overflow": st.sampled_from(["block", "drop_oldest", "reject"]),
        "coalesce": st.sampled_from(["none", "none", "latest"]),
        "on_complete_emit": st.sampled_from([None, "a:done", "b:done", "x:y"]),
        "triggers": st.lists(st.sampled_from(TRIGGERS), min_size=1, max_size=3),
        "max_restarts": st.integers(0, 2),
    }
)


class Node(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.state = Tower()
        self.clock = timedelta()
        self.commands = 0
        self.log: list[Event] = []
        self.open: dict[str, list[str]] = {}
        self.closed: set[str] = set()
        self.lost: set[tuple[str, int]] = set()

    @property
    def known(self) -> tuple[Background, ...]:
        return tuple(sorted(self.state.backgrounds.known.values(), key=lambda each: each.number))

    def ask(self, request: Request, *, spawn: Facts | None = None) -> None:
        """Only a rejection may be raised."""
        self.commands += 1
        facts = spawn or Facts(at=AT + self.clock, max_causation_depth=LIMIT)
        command = Command(id=f"c{self.commands}", origin=TOWER, request=request, facts=facts)
        try:
            events = tower.decide(command, self.state)
        except Rejection:
            return
        for event in events:
            self._check(event)
            self.state = tower.evolve(self.state, event)
            self.log.append(event)
        assert isinstance(tower.result(events) if events else tower.standing(request, self.state), dict)

    def _check(self, event: Event) -> None:
        match event:
            case e.TriggerFired():
                assert event.depth <= LIMIT, "B5"
                assert event.trigger_id not in self.closed, "B3"
                self.open.setdefault(event.background_id, []).append(event.trigger_id)
            case e.TriggerDropped():
                self._close(event.background_id, [event.trigger_id])
            case e.BackgroundStopped():
                waiting = self.state.backgrounds.known[event.background_id].waiting
                assert event.dropped == tuple(each.trigger_id for each in waiting), "B3"
                self._close(event.background_id, event.dropped)
            case e.BackgroundRunStarted(attempt=1):
                there = self.state.backgrounds.known[event.background_id]
                assert len(there.running) < there.definition.pool_size, "B1"
                assert there.waiting[0].trigger_id == event.trigger_id, "B2"
                assert event.trigger_count == there.trigger_count + 1
            case e.BackgroundRunStarted():
                assert (event.trigger_id, event.attempt - 1) in self.lost, "B7"
            case e.BackgroundRunEnded(again=True):
                assert event.error_type == "lost", "B7"
                self.lost.add((event.trigger_id, event.attempt))
            case e.BackgroundRunEnded():
                self._close(event.background_id, [event.trigger_id])
            case _:
                pass

    def _close(self, background_id: str, trigger_ids: Iterable[str]) -> None:
        for trigger_id in trigger_ids:
            assert trigger_id in self.open[background_id], "B3"
            assert trigger_id not in self.closed, "B3"
            self.open[background_id].remove(trigger_id)
            self.closed.add(trigger_id)

    # --- what people and parents do --------------------------------------------------------------------------------

    @rule(declared=st.dictionaries(st.sampled_from(NAMES), DECLARATION, max_size=3))
    def the_configuration_declares(self, declared: dict[str, dict[str, Any]]) -> None:
        given = tuple(declaration(name, **fields) for name, fields in declared.items())
        self.ask(c.BackgroundDeclare(source="config", definitions=given))

    @rule(fields=DECLARATION)
    def a_session_declares(self, fields: dict[str, Any]) -> None:
        facts = talks.prepared(background_sessions=(declaration("own", **fields),))
        self.ask(talks.spawn("lead", session_name="lead"), spawn=facts)

    @rule()
    def the_session_ends(self) -> None:
        self.ask(sc.SessionCancel(session_id="lead"))

    @rule(name=st.sampled_from(NAMES), starts=st.booleans())
    def somebody_starts_or_stops(self, name: str, starts: bool) -> None:
        self.ask(c.BackgroundStart(name=name) if starts else c.BackgroundStop(name=name))

    @rule(name=st.sampled_from(NAMES))
    def somebody_fires(self, name: str) -> None:
        self.ask(c.TriggerFire(name=name))

    @rule(name=st.sampled_from(["a:done", "b:done", "x:z"]))
    def somebody_emits(self, name: str) -> None:
        self.ask(emit(name))

    # --- what the effects tell -------------------------------------------------------------------------------------

    @precondition(lambda self: self.known)
    @rule(place=st.integers(0, 3), trigger=st.integers(0, 2), number=st.integers(0, 5))
    def a_watch_fires(self, place: int, trigger: int, number: int) -> None:
        there = self.known[place % len(self.known)]
        told = {"trigger_id": f"w{number}", "source": "there", "timestamp": AT, "type": "webhook", "trigger": trigger}
        self.ask(c.TriggerRecordFired(background_id=there.background_id, **told))

    @precondition(lambda self: self.known)
    @rule(place=st.integers(0, 3), fails=st.booleans(), waits_s=st.sampled_from([0, 1, 4, 90]))
    def a_watch_stands_or_fails(self, place: int, fails: bool, waits_s: int) -> None:
        there = self.known[place % len(self.known)]
        digest: dict[str, str] = {"background_id": there.background_id, "definition_digest": there.definition_digest}
        if fails:
            self.ask(c.BackgroundRecordFailed(**digest, error="gone", error_type="OSError"))
        else:
            self.ask(c.BackgroundRecordRunning(**digest))
        self.clock += timedelta(seconds=waits_s)
        self.ask(c.BackgroundRecordRestartDue(background_id=there.background_id))

    @precondition(lambda self: self.state.backgrounds.runs)
    @rule(place=st.integers(0, 20), end=st.sampled_from(["completed", "completed", "failed", "lost", "never", "open"]))
    def a_run_goes_on(self, place: int, end: Any) -> None:
        """As the effects do it, from the spawn to the end."""
        session_id = sorted(self.state.backgrounds.runs)[place % len(self.state.backgrounds.runs)]
        background_id, trigger_id = self.state.backgrounds.runs[session_id]
        run = self.state.backgrounds.known[background_id].running[trigger_id]
        failure = c.BackgroundFailure(error="no bundle", error_type="bundle_not_found") if end == "never" else None
        if end != "never":
            self.ask(talks.spawn(session_id, session_name=run.session_name), spawn=talks.prepared())
            self.ask(sc.SessionRecordTurnStarted(session_id=session_id, turn=1))
        if end == "lost":
            self.ask(sc.SessionRecordTurnLost(session_id=session_id, turn=1))
        elif end in ("completed", "failed"):
            self.ask(sc.SessionRecordTurnEnded(session_id=session_id, turn=1, state=end, output="o"))
        ended = c.BackgroundRecordRunEnded(
            background_id=background_id, trigger_id=trigger_id, attempt=run.attempt, failure=failure
        )
        self.ask(ended)
        self.ask(ended)

    @precondition(lambda self: self.state.backgrounds.runs)
    @rule()
    def all_runs_come_to_their_end(self) -> None:
        """B5: what triggers itself comes to an end."""
        runs = 0
        while self.state.backgrounds.runs and runs < MOST_RUNS:
            self.a_run_goes_on(place=0, end="completed")
            runs += 1
        assert runs < MOST_RUNS, "B5"

    @rule()
    def the_tower_is_restarted(self) -> None:
        """B4: from a snapshot, and from the log."""
        stored = snapshots.Snapshot(digest="d", ledger=Ledger(tower=self.state), horizon_s=0.0)
        read = snapshots.decode(snapshots.encode(stored), "d")
        assert read is not None
        assert read.ledger.tower == self.state, "B4"
        folded = Tower()
        for event in self.log:
            folded = tower.evolve(folded, event)
        assert folded == self.state, "B4"
        self.state = read.ledger.tower

    # --- what holds always -----------------------------------------------------------------------------------------

    @invariant()
    def open_firings_wait_or_run(self) -> None:
        for there in self.state.backgrounds.known.values():
            held = [each.trigger_id for each in there.waiting] + list(there.running)
            assert sorted(held) == sorted(self.open.get(there.background_id, [])), "B3"
            assert not there.waiting or len(there.running) >= there.definition.pool_size, "there was room"

    @invariant()
    def runs_are_known_by_their_sessions(self) -> None:
        runs = {
            run.session_id: (there.background_id, trigger_id)
            for there in self.state.backgrounds.known.values()
            for trigger_id, run in there.running.items()
        }
        assert self.state.backgrounds.runs == Map(runs), "B7"

    @invariant()
    def who_listens_is_known(self) -> None:
        anew = Listeners()
        for there in self.known:
            if there.listens:
                anew = anew.with_(there.number, there.background_id, there.definition)
        by_pattern = self.state.backgrounds.listeners.by_pattern
        assert {key: set(value) for key, value in by_pattern.items()} == {
            key: set(value) for key, value in anew.by_pattern.items()
        }, "B6"

    @invariant()
    def only_open_firings_have_a_sequence(self) -> None:
        held = {each for ids in self.open.values() for each in ids}
        assert {key[1] for key in self.state.sequences if key[0] == "trigger"} == held
        ids = {key[1] for key in self.state.sequences if key[0] == "background"}
        assert ids == set(self.state.backgrounds.known)


Node.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestNode = Node.TestCase
