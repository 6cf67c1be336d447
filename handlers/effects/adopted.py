"""Adopted agents, which the tower only looks at: what a listing of their container's panes says of them."""

from collections.abc import Sequence

from domain.agents.commands import AgentRecordGone
from domain.agents.decide import gone_among
from domain.agents.state import Agent
from handlers.facts import listed
from handlers.ports import SeenPane

STEP = "gone"
"""The step of the follow-up: an agent goes once."""


def lost_agents(adopted: Sequence[Agent], seen: Sequence[SeenPane]) -> tuple[AgentRecordGone, ...]:
    """Those whose pane vanished or whose process ended. `adopted` were known before the look."""
    panes = [listed(pane) for pane in seen]
    judged = ((agent, gone_among(agent, panes)) for agent in adopted)
    return tuple(AgentRecordGone(agent_id=agent.agent_id, reason=gone) for agent, gone in judged if gone is not None)
