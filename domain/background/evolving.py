"""`evolve`: the state of background sessions after an event. Total: what does not fit changes nothing."""

from immutables import Map
from msgspec.structs import replace

from domain.background import events as e
from domain.background.definition import ROUTED, TIMER, Definition
from domain.background.events import BackgroundState
from domain.background.state import Background, Backgrounds, Outcome, Run
from domain.messages import Event
from domain.sessions import events as se


def evolve(state: Backgrounds, event: Event) -> Backgrounds:
    match event:
        case e.BackgroundDeclared():
            return _declared(state, event)
        case e.TriggerRefused():
            there = state.known.get(event.background_id)
            return _told(state if there is None else _with(state, _ticked(there, event)), event)
        case e.BackgroundEvent() | e.TriggerFired() | e.TriggerDropped():
            background = state.known.get(event.background_id)
            return state if background is None else _of_one(state, background, event)
        case se.SessionEvent():
            return _of_session(state, event)
        case _:
            return state


def _of_one(state: Backgrounds, there: Background, event: Event) -> Backgrounds:
    match event:
        case e.BackgroundStarting():
            restarts = () if event.reason == "asked" else there.restarts
            anew = event.reason in ("asked", "parent") or there.since is None
            changed = replace(
                there,
                state=BackgroundState.STARTING,
                restarts=restarts,
                restart_at=None,
                error=None,
                over=False,
                since=event.at if anew or event.reason == "declared" else there.since,
                ticked=Map() if anew else there.ticked,
            )
            listeners = state.listeners.with_(there.number, there.background_id, there.definition)
            return _with(replace(state, listeners=listeners), changed)
        case e.BackgroundRunning() if there.state is BackgroundState.STARTING:
            return _with(state, replace(there, state=BackgroundState.RUNNING))
        case e.BackgroundFailed():
            return _failed(state, there, event)
        case e.BackgroundStopped():
            over = event.reason in ("parent", "withdrawn")
            changed = replace(
                there, state=BackgroundState.STOPPED, waiting=(), restarts=(), restart_at=None, error=None, over=over
            )
            state = replace(state, listeners=state.listeners.without(there.background_id))
            return _forgotten(_with(state, changed), changed)
        case e.TriggerFired():
            ticks = there.ticks
            if event.type == TIMER:
                ticks = ticks.set(event.trigger, ticks.get(event.trigger, 0) + 1)
            there = _ticked(replace(there, waiting=(*there.waiting, event), ticks=ticks), event)
            return _told(_with(state, there), event)
        case e.TriggerDropped():
            kept = tuple(each for each in there.waiting if each.trigger_id != event.trigger_id)
            return _with(state, replace(there, waiting=kept))
        case e.BackgroundRunStarted():
            return _run_started(state, there, event)
        case e.BackgroundRunEnded():
            return _run_ended(state, there, event)
        case _:
            return state


def _declared(state: Backgrounds, event: e.BackgroundDeclared) -> Backgrounds:
    there = state.known.get(event.background_id)
    if there is not None:
        same = _same(there, event.definition)
        changed = replace(
            there,
            definition=event.definition,
            definition_digest=event.definition_digest,
            bundle=event.bundle,
            folder=event.folder,
            ticks=Map({at: count for at, count in there.ticks.items() if at in same}),
            ticked=Map({at: due for at, due in there.ticked.items() if at in same}),
        )
        return _with(state, changed)
    made = Background(
        background_id=event.background_id,
        name=event.name,
        number=state.declared + 1,
        definition=event.definition,
        definition_digest=event.definition_digest,
        source=event.source,
        parent_session_id=event.parent_session_id,
        bundle=event.bundle,
        folder=event.folder,
    )
    children = state.children
    if event.parent_session_id is not None:
        mine = children.get(event.parent_session_id, ())
        children = children.set(event.parent_session_id, (*mine, event.background_id))
    return _with(replace(state, declared=state.declared + 1, children=children), made)


def _same(there: Background, definition: Definition) -> set[int]:
    """The triggers that stay as and where they are."""
    pairs = zip(there.definition.triggers, definition.triggers, strict=False)
    return {at for at, (old, new) in enumerate(pairs) if old == new}


def _ticked(there: Background, event: e.TriggerTold) -> Background:
    """A timer's firing has the time at which it was due."""
    return there if event.type != TIMER else replace(there, ticked=there.ticked.set(event.trigger, event.timestamp))


def _failed(state: Backgrounds, there: Background, event: e.BackgroundFailed) -> Backgrounds:
    restarts = there.restarts
    if event.restart_at is not None:
        earlier = event.restart_count - 1
        restarts = (*(restarts[-earlier:] if earlier > 0 else ()), event.restart_at)
    else:
        state = replace(state, listeners=state.listeners.without(there.background_id))
    changed = replace(
        there, state=BackgroundState.FAILED, restarts=restarts, restart_at=event.restart_at, error=event.error
    )
    return _with(state, changed)


def _told(state: Backgrounds, event: e.TriggerTold) -> Backgrounds:
    """What the log itself brings is told once."""
    if event.type in ROUTED:
        return state
    return replace(state, told=state.told.with_(event.trigger_id, 0))


def _run_started(state: Backgrounds, there: Background, event: e.BackgroundRunStarted) -> Backgrounds:
    before = there.running.get(event.trigger_id)
    waits = next((each for each in there.waiting if each.trigger_id == event.trigger_id), None)
    fired = waits if before is None else before.fired
    if fired is None:
        return state
    run = Run(
        fired=fired,
        session_id=event.session_id,
        session_name=event.session_name,
        attempt=event.attempt,
        trigger_count=event.trigger_count,
    )
    changed = replace(
        there,
        waiting=tuple(each for each in there.waiting if each is not waits),
        running=there.running.set(event.trigger_id, run),
        trigger_count=max(there.trigger_count, event.trigger_count),
        last_trigger=fired.timestamp if before is None else there.last_trigger,
    )
    state = replace(
        state,
        runs=state.runs.set(event.session_id, (event.background_id, event.trigger_id)),
        depths=state.depths.with_(event.session_id, fired.depth + 1),
    )
    return _with(state, changed)


def _run_ended(state: Backgrounds, there: Background, event: e.BackgroundRunEnded) -> Backgrounds:
    if event.session_id in state.runs:
        state = replace(state, runs=state.runs.delete(event.session_id))
    if event.again or event.trigger_id not in there.running:
        return state
    changed = replace(there, running=there.running.delete(event.trigger_id))
    return _forgotten(_with(state, changed), changed)


def _of_session(state: Backgrounds, event: se.SessionEvent) -> Backgrounds:
    if isinstance(event, se.SessionSpawned):
        above = state.depth_of(event.parent_session_id or "")
        # A run's own session is known by its run, at whose depth its parent has no part.
        if above == 0 or event.session_id in state.depths.known:
            return state
        return replace(state, depths=state.depths.with_(event.session_id, above))
    run = state.run_of(event.session_id)
    outcome = None if run is None else outcome_of(event)
    if run is None or outcome is None or run.outcome is not None:
        return state
    background = state.known[state.runs[event.session_id][0]]
    changed = replace(run, outcome=outcome)
    return _with(state, replace(background, running=background.running.set(run.fired.trigger_id, changed)))


def outcome_of(event: se.SessionEvent) -> Outcome | None:
    """What this event makes the outcome of a run; None if it ends none."""
    match event:
        case se.SessionCompleted():
            return Outcome(success=True, output=event.output)
        case se.SessionError():
            return Outcome(success=False, output=event.output, error=event.error, error_type=event.error_type)
        case se.SessionTimedOut():
            return Outcome(success=False, output=event.output, error="its time was over", error_type="timed_out")
        case se.SessionCancelled():
            return Outcome(success=False, output=event.output, error="it was cancelled", error_type="cancelled")
        case _:
            return None


def _forgotten(state: Backgrounds, there: Background) -> Backgrounds:
    """Without one that is over, after its last run."""
    if not there.over or there.running:
        return state
    children = state.children
    parent = there.parent_session_id
    if parent is not None and parent in children:
        others = tuple(each for each in children[parent] if each != there.background_id)
        children = children.set(parent, others) if others else children.delete(parent)
    return replace(state, known=state.known.delete(there.background_id), children=children)


def _with(state: Backgrounds, background: Background) -> Backgrounds:
    return replace(state, known=state.known.set(background.background_id, background))


def closed(event: Event, after: Backgrounds) -> tuple[tuple[str, str], ...]:
    """Kind and id of what has had its last event with this one."""
    match event:
        case e.TriggerRefused() | e.TriggerDropped():
            return (("trigger", event.trigger_id),)
        case e.BackgroundStopped():
            triggers = tuple(("trigger", each) for each in event.dropped)
        case e.BackgroundRunEnded() if not event.again:
            triggers = (("trigger", event.trigger_id),)
        case _:
            return ()
    forgotten = () if event.background_id in after.known else (("background", event.background_id),)
    return (*triggers, *forgotten)
