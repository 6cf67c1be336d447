"""The rules of agents: one function a command, its refusals first. Doing again what is done gives `()`."""

import re
from collections.abc import Collection, Container, Sequence
from typing import Final

from domain.agents import commands as c
from domain.agents import events as e
from domain.agents.state import Agent, Agents
from domain.errors import Rejection
from domain.layouts.events import PaneRegistered
from domain.layouts.guards import check_container_known, check_labels_free, known_pane
from domain.layouts.labels import MARKER
from domain.layouts.state import Layouts
from domain.messages import Event, Facts, Result, TmuxPane, check_identifier

SESSION_CHARACTERS: Final = 256
"""Of a reported session id, at most."""

LOST_AT_ONCE: Final = 50
"""Agents that one decision loses with their containers, at most: an append has its limit."""

_TMUX_PANE_ID: Final = re.compile(r"%[0-9]{1,18}\Z")


def adopt(
    request: c.AgentAdopt, facts: Facts, state: Agents, layouts: Layouts, containers: Container[str]
) -> tuple[Event, ...]:
    _check_adoption(request)
    check_container_known(request.container_id, containers)
    former = standing_at(request, state)
    if former is not None and not _gone_by(former, facts):
        return ()
    pane = _adoptable(request, facts)
    gone = () if former is None else lost([former], e.Gone.VANISHED)
    if former is None or former.label != request.label:
        check_labels_free(request.container_id, (request.label,), layouts, state)
    adopted = e.AgentAdopted(
        agent_id=facts.ids[0],
        container_id=request.container_id,
        tmux_pane_id=pane.tmux_pane_id,
        pid=pane.pid,
        session_name=pane.session_name,
        label=request.label,
        role=request.role,
        capability=request.capability,
    )
    return (*gone, adopted)


def _check_adoption(request: c.AgentAdopt) -> None:
    check_identifier("label", request.label)
    for field, value in (("role", request.role), ("capability", request.capability)):
        if value is not None:
            check_identifier(field, value)
    if _TMUX_PANE_ID.match(request.tmux_pane_id) is None:
        raise _refused("tmux_pane_id", "not an id of tmux: % and a number, as `list-panes -F '#{pane_id}'` shows it")


def standing_at(request: c.AgentAdopt, state: Agents) -> Agent | None:
    """The agent that was adopted in this place and, as far as is known, stands there."""
    agent_id = state.places.get((request.container_id, request.tmux_pane_id))
    return None if agent_id is None else state.known[agent_id]


def _gone_by(agent: Agent, facts: Facts) -> bool:
    """Another process runs there by now, or nothing is there: nobody has recorded it yet."""
    return facts.tmux_panes is not None and gone_among(agent, facts.tmux_panes) is not None


def gone_among(agent: Agent, seen: Collection[TmuxPane]) -> e.Gone | None:
    """Whether an adopted agent is gone, by the panes that its tmux shows."""
    pane = next((pane for pane in seen if pane.tmux_pane_id == agent.tmux_pane_id), None)
    if pane is None or pane.pid != agent.pid:
        return e.Gone.VANISHED
    return e.Gone.EXITED if pane.dead else None


def _adoptable(request: c.AgentAdopt, facts: Facts) -> TmuxPane:
    """The pane in tmux, if it may be adopted. That it cannot be looked at passes: nothing is recorded of that."""
    if facts.tmux_panes is None:
        raise Rejection("tower_busy", f"tmux of container {request.container_id} does not answer; try again", queued=0)
    pane = next((pane for pane in facts.tmux_panes if pane.tmux_pane_id == request.tmux_pane_id), None)
    if pane is None:
        raise _refused("tmux_pane_id", f"tmux of the container has no pane {request.tmux_pane_id}")
    if pane.pane_id is not None or pane.title.startswith(MARKER):
        raise _refused("tmux_pane_id", f"pane {request.tmux_pane_id} is managed: a tower made it")
    if pane.dead:
        raise _refused("tmux_pane_id", f"the process of pane {request.tmux_pane_id} has ended")
    return pane


def report(request: c.AgentReport, facts: Facts, state: Agents, layouts: Layouts) -> tuple[Event, ...]:
    """An agent that reports before its pane came to the registration stage is registered by that."""
    pane = known_pane(request.pane_id, layouts, state)
    _check_session(request.agent_session)
    if not pane.live:
        raise Rejection(
            "managed_pane_not_ready",
            f"pane {pane.pane_id} is {pane.state}: no agent runs there",
            pane_id=pane.pane_id,
            current_state=str(pane.state),
        )
    agent = state.known.get(pane.agent_id or "")
    if agent is not None and agent.agent_session == request.agent_session:
        return ()
    registered: tuple[Event, ...] = ()
    agent_id = pane.agent_id
    if agent_id is None:
        agent_id = facts.ids[0]
        registered = (PaneRegistered(pane_id=pane.pane_id, layout_id=pane.layout_id, agent_id=agent_id),)
    return (
        *registered,
        e.AgentReported(agent_id=agent_id, pane_id=pane.pane_id, agent_session=request.agent_session),
    )


def _check_session(value: str) -> None:
    if not 1 <= len(value) <= SESSION_CHARACTERS or not value.isprintable():
        raise _refused("agent_session", f"1 to {SESSION_CHARACTERS} printable characters")
    if value.startswith("-"):
        # It becomes a word of a command line, where it would be read as an option.
        raise _refused("agent_session", "a session id does not begin with a hyphen")


def record_gone(request: c.AgentRecordGone, state: Agents) -> tuple[Event, ...]:
    agent = state.known.get(request.agent_id)
    return () if agent is None or agent.gone else lost([agent], request.reason)


def lose_containers(container_ids: Collection[str], state: Agents) -> tuple[tuple[Event, ...], frozenset[str]]:
    """The adopted agents of containers that are gone, `LOST_AT_ONCE` at most. With the containers that have none
    after that."""
    agents = [agent for container_id in sorted(container_ids) for agent in state.adopted_in(container_id)]
    waiting = {agent.container_id for agent in agents[LOST_AT_ONCE:]}
    return lost(agents[:LOST_AT_ONCE], e.Gone.CONTAINER_GONE), frozenset(container_ids) - waiting


def lost(agents: Sequence[Agent], reason: e.Gone) -> tuple[Event, ...]:
    return tuple(
        e.AgentGone(
            agent_id=agent.agent_id,
            container_id=agent.container_id,
            tmux_pane_id=agent.tmux_pane_id,
            reason=reason,
        )
        for agent in agents
        if agent.container_id is not None and agent.tmux_pane_id is not None
    )


# --- what the caller is told ---------------------------------------------------------------------------------------


def result(event: e.AgentAdopted | e.AgentReported) -> Result:
    """Of the accepted command that recorded this event."""
    match event:
        case e.AgentAdopted():
            return _adoption(event.agent_id, event.container_id, event.tmux_pane_id, event.label, replay=False)
        case e.AgentReported():
            return _report(event.agent_id, event.pane_id, event.agent_session, replay=False)


def standing(request: c.AgentAdopt | c.AgentReport, state: Agents, layouts: Layouts) -> Result:
    """Of one that found done what it asks."""
    if isinstance(request, c.AgentAdopt):
        agent = standing_at(request, state)
        if agent is None:
            return {}
        return _adoption(agent.agent_id, request.container_id, request.tmux_pane_id, agent.label, replay=True)
    agent_id = layouts.panes[request.pane_id].agent_id
    return _report(agent_id, request.pane_id, request.agent_session, replay=True)


def _adoption(agent_id: str, container_id: str, tmux_pane_id: str, label: str | None, *, replay: bool) -> Result:
    return {
        "agent_id": agent_id,
        "container_id": container_id,
        "tmux_pane_id": tmux_pane_id,
        "label": label,
        "origin": "adopted",
        "replay": replay,
    }


def _report(agent_id: str | None, pane_id: str, agent_session: str, *, replay: bool) -> Result:
    return {"agent_id": agent_id, "pane_id": pane_id, "agent_session": agent_session, "replay": replay}


def _refused(field: str, reason: str) -> Rejection:
    return Rejection("validation_failed", f"{field}: {reason}", field=field, reason=reason)
