"""What can be asked of agents. The last one is the tower's own: what it saw of an adopted pane."""

from typing import Annotated

from msgspec import Meta

from domain.agents.events import Gone
from domain.layouts.commands import Id, Name
from domain.messages import Request


class AgentAdopt(Request, frozen=True):
    """Register a pane that the tower did not make. The pane itself is never touched."""

    container_id: Id
    tmux_pane_id: Name
    label: Name
    role: Name | None = None
    capability: Name | None = None


class AgentReport(Request, frozen=True):
    """The session id that the agent in a managed pane gave itself: 1 to 256 printable characters. A successor of the
    pane resumes it, where its launch profile says how."""

    pane_id: Id
    agent_session: Annotated[str, Meta(max_length=1024)]


class AgentRecordGone(Request, frozen=True):
    agent_id: str
    reason: Gone
