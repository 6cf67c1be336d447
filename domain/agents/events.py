"""Events of agents. Names and fields are the stored form; a change is a new version with an upcaster.

That a managed pane was registered is told by `pane.registered`.
"""

from enum import StrEnum

from domain.messages import Event


class Gone(StrEnum):
    """Why an adopted agent is not there any more."""

    VANISHED = "vanished"
    EXITED = "exited"
    CONTAINER_GONE = "container_gone"


class AgentAdopted(Event, frozen=True):
    """A pane that the tower did not make was registered as an agent. `tmux_pane_id` as `%12`, `pid` of its process:
    together they tell it from a later pane of the same number."""

    agent_id: str
    container_id: str
    tmux_pane_id: str
    pid: int
    session_name: str
    label: str
    role: str | None = None
    capability: str | None = None
    origin: str = "adopted"


class AgentReported(Event, frozen=True):
    """The agent of a managed pane told its own session id."""

    agent_id: str
    pane_id: str
    agent_session: str
    origin: str = "managed"


class AgentGone(Event, frozen=True):
    """An adopted agent's pane vanished, its process ended, or its container went."""

    agent_id: str
    container_id: str
    tmux_pane_id: str
    reason: Gone
    origin: str = "adopted"
