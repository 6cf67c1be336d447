"""The restart policy `on_failure`: which death is answered by a restart, after how long, and when the pane rests.

The decision is taken with the death itself and recorded beside it: `pane.restart_scheduled` with the time that it is
due, or `pane.restart_given_up`. The effect in `handlers/effects/restarting.py` sends `pane.remove` and `pane.recreate`
as the actor `policy` when the time has come. What anybody else does to the pane meanwhile cancels it.
"""

from collections.abc import Container
from datetime import timedelta
from typing import Final

from domain.agents.state import Agents
from domain.layouts import commands as c
from domain.layouts import events as e
from domain.layouts.guards import (
    check_container_known,
    check_labels_free,
    check_session_free,
    known_pane,
    profile_digest,
    removed,
)
from domain.layouts.state import MAX_GENERATIONS, Layouts, Pane, PaneState
from domain.messages import Event, Facts

ON_FAILURE: Final = "on_failure"

WINDOW: Final = timedelta(minutes=10)
MOST_IN_WINDOW: Final = 5
"""Restarts of one chain within `WINDOW`. The first waits for the back-off, each further one twice as long."""


def after_exit(pane: Pane, exit_code: int | None, facts: Facts) -> tuple[Event, ...]:
    """What the policy makes of the end of a running process. An end that tmux lost is taken for a failure."""
    return () if exit_code == 0 else after_loss(pane, facts)


def after_loss(pane: Pane, facts: Facts) -> tuple[Event, ...]:
    """What the policy makes of a failure: the restart is scheduled, or the pane rests; once a pane."""
    if pane.restart != ON_FAILURE or pane.restart_due_at is not None or pane.restart_given_up is not None:
        return ()
    if pane.chain_depth >= MAX_GENERATIONS - 1:
        return (e.PaneRestartGivenUp(pane_id=pane.pane_id, layout_id=pane.layout_id, reason="chain_too_deep"),)
    earlier = tuple(at for at in pane.restarts if at > facts.at - WINDOW)
    if len(earlier) >= MOST_IN_WINDOW:
        return (e.PaneRestartGivenUp(pane_id=pane.pane_id, layout_id=pane.layout_id, reason="too_many"),)
    due_at = facts.at + timedelta(seconds=facts.restart_backoff_s * 2 ** len(earlier))
    return (e.PaneRestartScheduled(pane_id=pane.pane_id, layout_id=pane.layout_id, due_at=due_at, earlier=earlier),)


def cancelled(pane: Pane) -> tuple[Event, ...]:
    """The end of a restart that is open, for whoever acts on the pane in the policy's place."""
    if not pane.restart_open:
        return ()
    return (e.PaneRestartCancelled(pane_id=pane.pane_id, layout_id=pane.layout_id),)


def remove_to_restart(
    request: c.PaneRemove, facts: Facts, state: Layouts, containers: Container[str], agents: Agents
) -> tuple[Event, ...]:
    """The policy's own removal: nothing once the restart was cancelled or done. Raises what the recreation would raise,
    so that a pane that cannot be made anew stays as it is."""
    pane = known_pane(request.pane_id, state, agents)
    if not pane.restart_open or pane.state is PaneState.REMOVED:
        return ()
    check_recreatable(pane, facts, state, containers, agents)
    return removed(pane)


def check_recreatable(pane: Pane, facts: Facts, state: Layouts, containers: Container[str], agents: Agents) -> str:
    """The digest of its profile, where nothing keeps the pane from being made anew as it was. A pane that lives holds
    its own label."""
    layout = state.layouts[pane.layout_id]
    check_container_known(pane.container_id, containers)
    digest = profile_digest(pane.launch_profile, facts)
    check_session_free(layout.container_id, layout.tmux_session_name, layout.layout_id, None, state)
    if not pane.live:
        check_labels_free(pane.container_id, (pane.label,), state, agents)
    return digest
