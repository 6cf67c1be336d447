"""The agents registry: every pane that is registered as an agent."""

import msgspec
from immutables import Map

from domain.layouts.events import PaneRegistered
from domain.messages import Event


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """`origin` is `managed` for panes that the tower created."""

    agent_id: str
    pane_id: str
    origin: str


Agents = Map[str, Agent]


def evolve(state: Agents, event: Event) -> Agents:
    match event:
        case PaneRegistered():
            agent = Agent(agent_id=event.agent_id, pane_id=event.pane_id, origin=event.origin)
            return state.set(event.agent_id, agent)
        case _:
            return state
