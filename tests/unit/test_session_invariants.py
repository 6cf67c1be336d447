"""The invariants of sessions over random requests and reports of all kinds.

C1 a turn starts once and ends at most once · C2 one turn at a time in a session · C3 turns start in the order of their
acceptance · C4 what has ended on purpose starts nothing that was not accepted before, and is never resumed · C5 memory
is the fold of the log, from a snapshot too · C6 sessions with something to do are known as such
"""

from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain import tower
from domain.errors import Rejection
from domain.messages import HOST, TOWER, Command, Event, Facts, Request
from domain.sessions import commands as c
from domain.sessions import events as e
from domain.sessions.events import SessionState
from domain.sessions.state import next_turn
from domain.tower import Tower
from handlers import snapshots
from handlers.ledger import Ledger
from tests.unit.builders import facts
from tests.unit.talks import FRESH, prepared, spawn

SESSIONS = st.sampled_from(["a", "b", "c", "d"])
ENDS = st.sampled_from(["completed", "completed", "failed", "cancelled", "timed_out"])


class Node(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.state = Tower()
        self.clock = timedelta()
        self.started: dict[str, list[int]] = {}
        self.ends: set[tuple[str, int]] = set()
        self.ended: set[str] = set()

    def ask(self, request: Request, origin: str = TOWER, given: Facts | None = None) -> None:
        """Only a rejection may be raised."""
        known = given or facts(after=self.clock)
        command = Command(id="c", origin=origin, request=request, facts=known)
        try:
            events = tower.decide(command, self.state)
        except Rejection:
            return
        for event in events:
            self._check(event)
            self.state = tower.evolve(self.state, event)
        assert isinstance(tower.result(events) if events else tower.standing(request, self.state), dict)

    def _check(self, event: Event) -> None:
        match event:
            case e.SessionTurnStarted(session_id=session_id, turn=turn):
                before = self.started.setdefault(session_id, [])
                assert before == sorted(before), "C3"
                assert turn not in before, "C1"
                assert not before or before[-1] < turn, "C3"
                assert not before or (session_id, before[-1]) in self.ends, "C2"
                before.append(turn)
            case e.TurnEnd(session_id=session_id, turn=int(turn)):
                assert turn in self.started.get(session_id, []), "C1"
                assert (session_id, turn) not in self.ends, "C1"
                self.ends.add((session_id, turn))
            case e.SessionEnded(session_id=session_id):
                self.ended.add(session_id)
            case e.SessionInstructed(session_id=session_id) | e.SessionSpawned(session_id=session_id):
                assert session_id not in self.ended, "C4"
            case e.SessionResumed(session_id=session_id, reason="asked"):
                assert session_id not in self.ended, "C4"
            case _:
                pass

    @rule(session=SESSIONS, parent=st.none() | SESSIONS, background=st.booleans(), timeout=st.sampled_from([None, 5.0]))
    def spawns(self, session: str, parent: str | None, background: bool, timeout: float | None) -> None:
        options: dict[str, Any] = {"parent_session_id": parent, "background": background, "timeout": timeout}
        self.ask(spawn(session, **options), HOST, prepared(FRESH, after_s=self.clock.total_seconds()))

    @rule(session=SESSIONS)
    def instructs(self, session: str) -> None:
        self.ask(c.SessionInstruct(session_id=session, instruction="More."), HOST)

    @rule(session=SESSIONS, instruction=st.none() | st.just("Again."))
    def resumes(self, session: str, instruction: str | None) -> None:
        self.ask(c.SessionResume(session_id=session, instruction=instruction), HOST)

    @rule(session=SESSIONS)
    def cancels(self, session: str) -> None:
        self.ask(c.SessionCancel(session_id=session), HOST)

    @rule(session=SESSIONS)
    def ends_it(self, session: str) -> None:
        self.ask(c.SessionEnd(session_id=session), HOST)

    @rule(session=SESSIONS, restarted=st.booleans())
    def begins(self, session: str, restarted: bool) -> None:
        """The effect, when a runtime is ready."""
        first = next_turn(session, self.state.sessions)
        turn = 1 if first is None else first.turn
        self.ask(c.SessionRecordTurnStarted(session_id=session, turn=turn, restarted=restarted))

    @rule(session=SESSIONS, state=ENDS, late=st.booleans())
    def ends_turn(self, session: str, state: Any, late: bool) -> None:
        known = self.state.sessions.known.get(session)
        turn = 1 if known is None or known.running is None or late else known.running.turn
        self.ask(c.SessionRecordTurnEnded(session_id=session, turn=turn, state=state))

    @rule(session=SESSIONS)
    def loses(self, session: str) -> None:
        known = self.state.sessions.known.get(session)
        turn = 1 if known is None or known.running is None else known.running.turn
        self.ask(c.SessionRecordTurnLost(session_id=session, turn=turn))

    @rule(session=SESSIONS, seconds=st.sampled_from([0, 3, 6]))
    def is_late(self, session: str, seconds: int) -> None:
        self.clock += timedelta(seconds=seconds)
        self.ask(c.SessionRecordTimedOut(session_id=session))

    @rule()
    def is_restarted(self) -> None:
        """C5: from a snapshot."""
        stored = snapshots.Snapshot(digest="d", ledger=Ledger(tower=self.state), horizon_s=0.0)
        read = snapshots.decode(snapshots.encode(stored), "d")
        assert read is not None
        assert read.ledger.tower == self.state
        self.state = read.ledger.tower

    @invariant()
    def sessions_are_sound(self) -> None:
        sessions = self.state.sessions
        assert set(sessions.active) == {each for each, session in sessions.known.items() if session.active}, "C6"
        for session_id, session in sessions.known.items():
            assert (session.state is SessionState.RUNNING) == (session.running is not None), "C2"
            assert session_id not in sessions.ended
            assert not session.ending or session.active, "what has ended and rests is a tombstone"
            turns = [each.turn for each in session.waiting]
            assert turns == sorted(turns)


Node.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestNode = Node.TestCase
