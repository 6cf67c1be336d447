"""What must hold of the firings of a log: none is lost, recorded twice, consumed twice, or run twice untold."""

from collections import Counter
from collections.abc import Sequence

from domain import tower
from domain.background import events as e
from domain.background.listeners import Listeners
from domain.envelope import Recorded
from domain.executions.events import SessionEmitted
from domain.sessions.events import SessionSpawned
from domain.tower import Tower


def open_runs(state: Tower) -> list[str]:
    backgrounds = state.backgrounds
    waiting = [f"{each.background_id} has firings that wait" for each in backgrounds.known.values() if each.waiting]
    return [*waiting, *(f"the run {session_id} has no end" for session_id in backgrounds.runs)]


def firings_again(log: Sequence[Recorded]) -> list[str]:
    """What is wrong with the firings of a log that has come to rest: lost, recorded twice, consumed twice, run twice
    without another attempt."""
    fired: Counter[str] = Counter()
    closed: Counter[str] = Counter()
    runs: Counter[tuple[str, int]] = Counter()
    again: set[tuple[str, int]] = set()
    wrong: list[str] = []
    for record in log:
        match record.event:
            case e.TriggerFired(trigger_id=trigger_id):
                fired[trigger_id] += 1
            case e.TriggerDropped(trigger_id=trigger_id):
                closed[trigger_id] += 1
            case e.BackgroundStopped(dropped=dropped):
                closed.update(dropped)
            case e.BackgroundRunStarted() as run:
                runs[run.trigger_id, run.attempt] += 1
                if run.attempt > 1 and (run.trigger_id, run.attempt - 1) not in again:
                    wrong.append(f"attempt {run.attempt} of {run.trigger_id} began without a reason")
            case e.BackgroundRunEnded(again=True) as run:
                again.add((run.trigger_id, run.attempt))
            case e.BackgroundRunEnded() as run:
                closed[run.trigger_id] += 1
            case _:
                pass
    wrong += [f"the firing {each} was recorded {count} times" for each, count in fired.items() if count > 1]
    wrong += [f"the firing {each} was consumed {closed[each]} times" for each in fired if closed[each] != 1]
    wrong += [f"{run} began {count} times" for run, count in runs.items() if count > 1]
    return wrong + _unheard(log)


def _unheard(log: Sequence[Recorded]) -> list[str]:
    """Emitted events of which a listener was not told, and sessions of runs that were spawned twice."""
    listeners, state = Listeners(), Tower()
    heard: Counter[tuple[str, str]] = Counter()
    wanted: Counter[tuple[str, str]] = Counter()
    spawned: Counter[str] = Counter()
    for record in log:
        match record.event:
            case SessionEmitted() as emitted:
                wanted.update((emitted.name, each.background_id) for each in listeners.of(emitted.name, frozenset()))
            case e.TriggerFired(event_name=str(name)) | e.TriggerRefused(event_name=str(name)):
                heard[name, record.event.background_id] += 1
            case SessionSpawned(session_id=session_id):
                spawned[session_id] += 1
            case _:
                pass
        state = tower.evolve(state, record.event)
        listeners = state.backgrounds.listeners
    wrong = [f"{each} was told {heard[each]} times, not {n}" for each, n in wanted.items() if heard[each] != n]
    return wrong + [f"the session {each} was spawned {n} times" for each, n in spawned.items() if n > 1]
