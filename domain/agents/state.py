"""State of the agents registry, and `evolve`."""

import msgspec
from immutables import Map

from domain.agents import events as e
from domain.layouts.events import PaneRegistered
from domain.layouts.state import Layouts, Pane
from domain.messages import Event


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """`origin` is `managed` for panes that the tower created: they have a `pane_id`, adopted ones the other fields.

    `agent_session` is what the agent reported last.
    """

    agent_id: str
    origin: str
    pane_id: str | None = None
    agent_session: str | None = None
    container_id: str | None = None
    tmux_pane_id: str | None = None
    pid: int | None = None
    label: str | None = None
    gone: bool = False


class Agents(msgspec.Struct, frozen=True, kw_only=True):
    """Every agent that there ever was, and of the adopted ones that are not gone: `places`, (container, tmux pane id)
    -> agent, and `labels`, (container, label) -> agent."""

    known: Map[str, Agent] = Map()
    places: Map[tuple[str, str], str] = Map()
    labels: Map[tuple[str, str], str] = Map()

    def adopted_in(self, container_id: str) -> tuple[Agent, ...]:
        """The container's adopted agents that are not gone, in order of their ids."""
        ids = sorted(agent_id for (container, _), agent_id in self.places.items() if container == container_id)
        return tuple(self.known[agent_id] for agent_id in ids)

    def containers(self) -> frozenset[str]:
        """Those that have adopted agents."""
        return frozenset(container_id for container_id, _ in self.places)


def evolve(state: Agents, event: Event) -> Agents:
    match event:
        case PaneRegistered():
            agent = Agent(agent_id=event.agent_id, pane_id=event.pane_id, origin=event.origin)
            return msgspec.structs.replace(state, known=state.known.set(event.agent_id, agent))
        case e.AgentAdopted():
            return _adopted(state, event)
        case e.AgentReported() if event.agent_id in state.known:
            agent = msgspec.structs.replace(state.known[event.agent_id], agent_session=event.agent_session)
            return msgspec.structs.replace(state, known=state.known.set(event.agent_id, agent))
        case e.AgentGone() if event.agent_id in state.known:
            return _gone(state, state.known[event.agent_id])
        case _:
            return state


def _adopted(state: Agents, event: e.AgentAdopted) -> Agents:
    agent = Agent(
        agent_id=event.agent_id,
        origin=event.origin,
        container_id=event.container_id,
        tmux_pane_id=event.tmux_pane_id,
        pid=event.pid,
        label=event.label,
    )
    return Agents(
        known=state.known.set(event.agent_id, agent),
        places=state.places.set((event.container_id, event.tmux_pane_id), event.agent_id),
        labels=state.labels.set((event.container_id, event.label), event.agent_id),
    )


def _gone(state: Agents, agent: Agent) -> Agents:
    return Agents(
        known=state.known.set(agent.agent_id, msgspec.structs.replace(agent, gone=True)),
        places=_without(state.places, agent.container_id, agent.tmux_pane_id, agent.agent_id),
        labels=_without(state.labels, agent.container_id, agent.label, agent.agent_id),
    )


def _without(
    held: Map[tuple[str, str], str], container_id: str | None, name: str | None, agent_id: str
) -> Map[tuple[str, str], str]:
    if container_id is None or name is None or held.get((container_id, name)) != agent_id:
        return held
    return held.delete((container_id, name))


def session_to_resume(pane: Pane, layouts: Layouts, agents: Agents) -> str | None:
    """The session id that the pane's nearest predecessor of the same launch profile reported; None without one.

    One that another program reported says nothing to this one.
    """
    profile, before = pane.launch_profile, pane.predecessor_id
    while before is not None:
        predecessor = layouts.panes[before]
        agent = agents.known.get(predecessor.agent_id or "")
        if agent is not None and agent.agent_session is not None and predecessor.launch_profile == profile:
            return agent.agent_session
        before = predecessor.predecessor_id
    return None
