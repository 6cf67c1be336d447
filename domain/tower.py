"""The node: composes the aggregates, routes each command to its decider, holds the rules that cross them.

`decide` and `evolve` are pure. `result` gives the answer of an accepted command from its recorded events, so that it
can be given again from the log; `standing` gives it from the state for a command that changed nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from immutables import Map

from domain import catalogue
from domain import containers as containers_registry
from domain import promises as dp
from domain import sends as sending
from domain.agents import commands as ac
from domain.agents import decide as agents_decide
from domain.agents import events as ae
from domain.agents import state as agents_state
from domain.background import commands as bgc
from domain.background import decide as background_decide
from domain.background import events as bge
from domain.background import evolving as background_evolving
from domain.background import results as background_results
from domain.background import routing
from domain.background import state as background_state
from domain.bundles import commands as bc
from domain.bundles import decide as bundles_decide
from domain.bundles import events as be
from domain.bundles import state as bundles_state
from domain.containers import (
    ContainerGone,
    ContainerRecordFound,
    ContainerRecordScan,
    Containers,
    ContainerScan,
    ContainerScanRequested,
)
from domain.errors import Rejection
from domain.executions import commands as xc
from domain.executions import decide as executions_decide
from domain.executions import events as xe
from domain.executions import evolving as executions_evolving
from domain.executions import reports as executions_reports
from domain.executions import results as executions_results
from domain.executions import sessions as sessions_decide
from domain.executions import state as executions_state
from domain.layouts import commands as lc
from domain.layouts import decide as layouts_decide
from domain.layouts import events as le
from domain.layouts import results as layouts_results
from domain.layouts import state as layouts_state
from domain.messages import HOST, Command, Event, Facts, Request, Result
from domain.node import (
    CommandRejected,
    NodeClaim,
    NodeClaimed,
    NodeForeignEntriesFound,
    NodeRecordForeign,
    record_foreign,
)
from domain.origins import check_origin
from domain.sends import PaneSend, PaneSendRequested, SendEvent, Sends
from domain.sessions import commands as sc
from domain.sessions import decide as conversations_decide
from domain.sessions import emitting
from domain.sessions import events as se
from domain.sessions import evolving as conversations_evolving
from domain.sessions import reports as conversations_reports
from domain.sessions import results as conversations_results
from domain.sessions import state as conversations_state


class Tower(msgspec.Struct, frozen=True, kw_only=True):
    """The whole state of a node. `sequences`: (kind, aggregate id) -> events so far. `instance`: the claiming tower.
    `foreign_to`: the last entry of others in the log that is recorded as such, 0 for none."""

    containers: Containers = Containers()
    layouts: layouts_state.Layouts = layouts_state.Layouts()
    agents: agents_state.Agents = agents_state.Agents()
    sends: Sends = Sends()
    promises: dp.Promises = dp.Promises()
    executions: executions_state.Executions = executions_state.Executions()
    sessions: conversations_state.Sessions = conversations_state.Sessions()
    bundles: bundles_state.Bundles = bundles_state.Bundles()
    backgrounds: background_state.Backgrounds = background_state.Backgrounds()
    sequences: Map[tuple[str, str], int] = Map()
    instance: str | None = None
    foreign_to: int = 0


def decide(command: Command[Request], state: Tower) -> tuple[Event, ...]:
    """The events of a command and what follows from them at once; `()` when there is nothing to do. Raises
    `Rejection`."""
    check_origin(command, state)
    events = routing.marked(_decide(command, state), state.backgrounds)
    after = routing.consequences(events, command.facts, state.sessions, state.backgrounds, state.sequences)
    return (*events, *after) if after else events


def _decide(command: Command[Request], state: Tower) -> tuple[Event, ...]:
    # The many come first: each case that does not match costs a little.
    match command.request:
        case xc.ExecutionRequest(session_id=str(taken)) | xc.SessionFork(session_id=str(taken)) if (
            conversations_state.exists(taken, state.sessions)
        ):
            raise Rejection("session_exists", f"session {taken} was spawned from a bundle", session_id=taken)
        case xc.ExecutionRequest() | xc.ExecutionCancel() | xc.ExecutionResume() | xc.ExecutionAnswer() as asked:
            return executions_decide.decide(asked, command.origin, command.facts, state.executions, state.promises)
        case xc.ExecutionRecordStarted() | xc.ExecutionReport() | xc.ExecutionRecordRetryDue():
            told = cast(xc.Reported, command.request)
            return executions_reports.report(told, command.facts, state.executions)
        case NodeClaim() as claim:
            return (NodeClaimed(node=claim.node, instance=claim.instance, pid=claim.pid, host=claim.host),)
        case NodeRecordForeign() as found:
            return record_foreign(found, state.foreign_to)
        case ContainerScan():
            return containers_registry.scan(command.facts)
        case ContainerRecordFound() as found:
            return _record_found(found, state)
        case ContainerRecordScan() as scan:
            return containers_registry.record_scan(scan, state.containers)
        case ac.AgentAdopt() as adopt:
            return agents_decide.adopt(adopt, command.facts, state.agents, state.layouts, state.containers.known)
        case ac.AgentReport() as report:
            return agents_decide.report(report, command.facts, state.agents, state.layouts)
        case ac.AgentRecordGone() as gone_agent:
            return agents_decide.record_gone(gone_agent, state.agents)
        case PaneSend() as send:
            return sending.send(send, command.facts, state.sends, state.layouts, state.agents)
        case sending.PaneRecordSendBegun() | sending.PaneRecordTextSent() | sending.PaneRecordSendFailed() as told:
            return sending.report(told, state.sends, state.layouts)
        case dp.PromiseCreate() | dp.PromiseResolve() | dp.PromiseReject() | dp.PromiseCancel() | dp.PromiseExpire():
            return _of_promise(command.request, command, state)
        case sc.SessionSpawn() as spawn:
            return _spawn(spawn, command, state)
        case sc.SessionInstruct() | sc.SessionCancel() | sc.SessionEnd() | sc.SessionResume() as asked:
            return conversations_decide.decide(
                asked, command.origin, command.facts, state.sessions, state.executions.sessions
            )
        case (
            sc.SessionRecordTurnStarted()
            | sc.SessionRecordTurnEnded()
            | sc.SessionRecordTurnLost()
            | sc.SessionRecordTimedOut()
            | sc.SessionRecordStale()
        ) as told:
            return conversations_reports.report(told, command.facts, state.sessions)
        case sc.SessionEmit() | xc.SessionRecordEmitted() | xc.CapabilityRecordDenied() as said:
            return _said(said, command.facts, state)
        case request if isinstance(request, bgc.BackgroundRequest):
            of_background = cast(Command[bgc.BackgroundRequest], command)
            return background_decide.decide(of_background, state.backgrounds, state.sessions)
        case bc.BundleRequest() as asked:
            return bundles_decide.decide(asked, command.facts, state.bundles)
        case xc.SessionCheckpoint() | xc.SessionRestore() | xc.SessionFork() as asked:
            return sessions_decide.decide(asked, command.facts, state.executions)
        case xc.SessionRecordCheckpointed() | xc.SessionRecordRestored() | xc.SessionRecordWorkFailed() as told:
            return sessions_decide.report(told, state.executions)
        case _:
            routed = cast(Command[layouts_decide.LayoutRequest], command)
            return layouts_decide.decide(routed, state.layouts, state.containers.known, state.agents)


def _said(
    request: sc.SessionEmit | xc.SessionRecordEmitted | xc.CapabilityRecordDenied, facts: Facts, state: Tower
) -> tuple[Event, ...]:
    """By people, and by code in an execution or in a turn of a session."""
    match request:
        case sc.SessionEmit() | xc.SessionRecordEmitted(execution_id=None):
            return emitting.decide(request, state.sessions, state.executions.sessions)
        case xc.CapabilityRecordDenied(session_id=str()):
            return conversations_reports.deny(request, state.sessions)
        case _:
            return executions_reports.report(request, facts, state.executions)


def _of_promise(request: dp.Asked, command: Command[Request], state: Tower) -> tuple[Event, ...]:
    executions_decide.guard_promise(request, command.origin, state.executions)
    conversations_decide.guard_promise(request, state.sessions)
    return dp.decide(request, command.origin, command.facts, state.promises)


def _spawn(spawn: sc.SessionSpawn, command: Command[Request], state: Tower) -> tuple[Event, ...]:
    """With the background sessions that its bundle declares."""
    events = conversations_decide.decide(
        spawn, command.origin, command.facts, state.sessions, state.executions.sessions
    )
    spawned = events[0] if events else None
    if not isinstance(spawned, se.SessionSpawned):
        return events
    return (*events, *background_decide.with_children(spawned, command.facts, state.backgrounds))


def _record_found(found: ContainerRecordFound, state: Tower) -> tuple[Event, ...]:
    """What changed, with the panes and agents that are lost by it. A container is gone with the last of them."""
    changes = containers_registry.record_found(found, state.containers)
    gone = {change.container_id for change in changes if isinstance(change, ContainerGone)}
    lost, emptied = layouts_decide.lose_containers(gone, state.layouts)
    left, emptied = agents_decide.lose_containers(emptied, state.agents)
    kept = (change for change in changes if not isinstance(change, ContainerGone) or change.container_id in emptied)
    return (*kept, *lost, *left)


def admits(command: Command[PaneSend | xc.ExecutionAnswer], state: Tower) -> bool:
    """Whether the text would be taken on this state and must not be recorded: only then it is worth a file."""
    try:
        check_origin(command, state)
        match command.request:
            case PaneSend():
                sending.check(command.request, state.sends, state.layouts, state.agents)
                return True
            case xc.ExecutionAnswer():
                promise = executions_decide.question_of(command.request, state.executions, state.promises)
                return executions_decide.is_secret(promise.promise_id, state.executions)
    except Rejection:
        return False


def evolve(state: Tower, event: Event) -> Tower:
    """The state after an event. Total: odd history changes nothing."""
    key = catalogue.aggregate_key(event)
    match event:
        case xe.ExecutionEvent():
            changed: dict[str, Any] = {"executions": executions_evolving.evolve(state.executions, event)}
        case CommandRejected():
            return state
        case NodeClaimed():
            changed = {"instance": event.instance}
        case NodeForeignEntriesFound():
            changed = {"foreign_to": event.last_position}
        case le.PaneRegistered():
            changed = {
                "layouts": layouts_state.evolve(state.layouts, event),
                "agents": agents_state.evolve(state.agents, event),
            }
        case ae.AgentAdopted() | ae.AgentReported() | ae.AgentGone():
            changed = {"agents": agents_state.evolve(state.agents, event)}
        case dp.PromiseEvent():
            changed = {
                "promises": dp.evolve(state.promises, event),
                "executions": executions_evolving.evolve(state.executions, event),
            }
        case xe.NamespaceEvent() | xe.CapabilityDenied():
            changed = {"executions": executions_evolving.evolve(state.executions, event)}
        case se.SessionEvent():
            changed = {
                "sessions": conversations_evolving.evolve(state.sessions, event),
                "backgrounds": background_evolving.evolve(state.backgrounds, event),
            }
        case bge.BackgroundEvent() | bge.TriggerEvent():
            changed = {"backgrounds": background_evolving.evolve(state.backgrounds, event)}
        case be.BundleEvent():
            changed = {"bundles": bundles_state.evolve(state.bundles, event)}
        case SendEvent():
            changed = {"sends": sending.evolve(state.sends, event)}
        case _ if key[0] == "container":
            changed = {"containers": containers_registry.evolve(state.containers, event)}
        case _:
            changed = {"layouts": layouts_state.evolve(state.layouts, event)}
    sequences = state.sequences.set(key, state.sequences.get(key, 0) + 1)
    for closed in _closed(event, key[0], state, changed):
        if closed in sequences:
            sequences = sequences.delete(closed)
    return msgspec.structs.replace(state, sequences=sequences, **changed)


def _closed(event: Event, kind: str, before: Tower, changed: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """Kind and id of what is forgotten with this event: no event of it follows."""
    match kind:
        case "background" | "trigger":
            return background_evolving.closed(event, changed["backgrounds"])
        case "execution" | "promise":
            executions = executions_state.forgotten(before.executions, changed["executions"])
            of_execution = () if executions is None else (("execution", executions), ("capability", executions))
            promise = dp.forgotten(before.promises, changed.get("promises", before.promises))
            return of_execution if promise is None else (*of_execution, ("promise", promise))
        case _:
            return ()


def next_sequence(state: Tower, event: Event) -> int:
    """The `sequence` that this event gets if it is the next to be recorded."""
    return state.sequences.get(catalogue.aggregate_key(event), 0) + 1


def result(events: Sequence[Event]) -> Result:
    """The result of the accepted command that recorded these events (at least one)."""
    match events[0]:
        case ContainerScanRequested() as requested:
            return {"scan_id": requested.scan_id}
        case PaneSendRequested() as requested:
            return {"send_id": requested.send_id, "pane_id": requested.pane_id}
        case sending.PaneSendBegun() as begun:
            return {"send_id": begun.send_id, "begun": True}
        case be.BundleEvent() as asked:
            return bundles_decide.result(asked)
        case _:
            for event in events:
                if isinstance(event, ae.AgentAdopted | ae.AgentReported):
                    return agents_decide.result(event)
            told = executions_results.result(events[0]) or dp.result(events[0]) or conversations_results.result(events)
            told = told or background_results.result(events)
            return layouts_results.result(events) if told is None else told


def standing(request: Request, state: Tower, origin: str = HOST) -> Result:
    """The result of an accepted command of `origin` that changed nothing, from the state that made it a no-op."""
    match request:
        case lc.LayoutCreate() | lc.PaneRecreate() | lc.LayoutRestore() | lc.LayoutRemove() | lc.PaneRemove():
            return layouts_results.standing(request, state.layouts)
        case ac.AgentAdopt() | ac.AgentReport():
            return agents_decide.standing(request, state.agents, state.layouts)
        case dp.PromiseCreate() | dp.PromiseResolve() | dp.PromiseReject() | dp.PromiseCancel() | dp.PromiseExpire():
            return dp.standing(request, state.promises)
        case _:
            told = conversations_results.standing(request, state.sessions, origin)
            told = background_results.standing(request, state.backgrounds) if told is None else told
            if told is not None:
                return told
            return executions_results.standing(request, state.executions, state.promises, origin)
