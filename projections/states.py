"""The order in which lists show the states of layouts and panes."""

from typing import Final

from domain.layouts.events import PaneState

_ORDER: Final = (PaneState.CREATING, PaneState.DEGRADED, PaneState.READY, PaneState.FAILED, PaneState.REMOVED)

RANKS: Final = {str(state): rank for rank, state in enumerate(_ORDER, 1)}
"""State -> 1 to 5, as lists are sorted."""

RUNNING: Final = "running"
GONE: Final = "gone"
"""States of an adopted agent; a managed one has that of its pane."""

AGENT_RANKS: Final = {**RANKS, RUNNING: RANKS[PaneState.READY], GONE: RANKS[PaneState.REMOVED]}
"""The same for agents."""
