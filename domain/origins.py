"""Who may ask what: the operator and the tower itself everything, a bench peer what is in its own container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain import promises as dp
from domain.agents import commands as ac
from domain.errors import host_only
from domain.layouts import commands as lc
from domain.messages import HOST, ORIGIN_PATTERN, POLICY, TOWER, Command, Request
from domain.sends import PaneSend

if TYPE_CHECKING:
    from domain.tower import Tower


def check_origin(command: Command[Request], state: Tower) -> None:
    """The operator and the tower itself act everywhere, a bench peer in its own container only.

    A reserved request touches nothing and is no secret: every peer that can be resolved learns that it is reserved.
    """
    if command.origin in (HOST, TOWER, POLICY):
        return
    resolved = ORIGIN_PATTERN.match(command.origin) is not None
    if resolved and isinstance(
        command.request, dp.PromiseCreate | dp.PromiseResolve | dp.PromiseReject | dp.PromiseCancel
    ):
        _check_owner(command.request, command.origin, state.promises)
        return
    if resolved and isinstance(command.request, lc.PanePromote):
        return
    if not resolved or _container_of(command.request, state) != command.origin:
        raise host_only()


def _check_owner(request: dp.PromiseCreate | dp.Settle, origin: str, promises: dp.Promises) -> None:
    """A peer makes promises, and settles those that it made."""
    promise = promises.known.get(request.id or "")
    if promise is None and isinstance(request, dp.PromiseCreate) and not dp.reserved(request.id):
        return
    if promise is None or promise.owner != origin:
        raise host_only()


def _container_of(request: Request, state: Tower) -> str | None:
    layouts = state.layouts
    match request:
        case lc.LayoutCreate():
            return request.container_id
        case lc.LayoutRemove() | lc.LayoutRestore():
            layout = layouts.layouts.get(request.layout_id)
            return None if layout is None else layout.container_id
        case ac.AgentAdopt():
            return request.container_id
        case lc.PaneRemove() | ac.AgentReport() | PaneSend():
            return _container_of_pane(request.pane_id, state)
        case lc.PaneRecreate():
            return _container_of_pane(request.predecessor_pane_id, state)
        case _:
            return None


def _container_of_pane(pane_id: str, state: Tower) -> str | None:
    """Of a managed pane, or of an adopted agent that is taken for one."""
    pane = state.layouts.panes.get(pane_id)
    if pane is not None:
        return pane.container_id
    agent = state.agents.known.get(pane_id)
    return None if agent is None else agent.container_id
