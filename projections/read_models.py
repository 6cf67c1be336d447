"""The queries, each in one read transaction together with the position that its rows reflect."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from domain.envelope import Recorded
from domain.errors import Rejection, protected, unseen
from domain.layouts.state import MAX_GENERATIONS
from projections import (
    agents,
    background,
    bundles,
    commands,
    containers,
    events,
    execution_models,
    executions,
    layouts,
    scope,
    session_models,
    sessions,
)
from projections.agents import AGENTS
from projections.background_models import BackgroundQueries
from projections.containers import CONTAINERS, UNMANAGED_PANES
from projections.event_filter import conditions
from projections.events import EVENTS
from projections.layouts import LAYOUTS
from projections.paging import DEFAULT_LIMIT, Order, Page, Query, invalid
from projections.panes import PANES
from projections.rows import (
    AGENT_STATES,
    LAYOUT_ORDER,
    NO_PANES,
    PANE_ORDER,
    WITHIN,
    Item,
    checked_origin,
    checked_state,
    counted,
    filtered,
    one,
    pane_counts,
    shown,
    snapshot,
)
from projections.tables import indexable, storable

T = TypeVar("T")

_panes: Any = PANES.table.c
_agents: Any = AGENTS.table.c
_events: Any = EVENTS.table.c
_containers: Any = CONTAINERS.table.c
_unmanaged: Any = UNMANAGED_PANES.table.c

_AGENT_ORDER: Final = Order((_agents.state_rank, _agents.container_id, _agents.label, _agents.id))
_CONTAINER_ORDER: Final = Order((_containers.state_rank, _containers.name, _containers.id))
_UNMANAGED_ORDER: Final = Order(
    (_unmanaged.session_name, _unmanaged.window_index, _unmanaged.pane_index, _unmanaged.id)
)
_EVENT_ORDER: Final = Order((_events.position,))

MODELS: Final = {
    "layouts": layouts.PROJECTION,
    "panes": layouts.PROJECTION,
    "agents": agents.PROJECTION,
    "containers": containers.PROJECTION,
    "bundles": bundles.PROJECTION,
    "executions": executions.PROJECTION,
    "promises": executions.PROJECTION,
    "sessions": sessions.PROJECTION,
    "background_sessions": background.PROJECTION,
    "triggers": background.PROJECTION,
    "events": events.PROJECTION,
    "commands": events.PROJECTION,
}
"""Read model -> the projection that fills it."""


class ReadModels(BackgroundQueries):
    """`head` tells the last position of the log. Raises `Rejection` (`validation_failed`, `read_model_behind`), and
    `DatabaseTrouble` while the database cannot be asked."""

    def seen_from(self, container_id: str, /) -> "ReadModels":
        """The same read models, narrowed to what a peer in that container may see: lists hold its own rows, what is
        of another container is not found."""
        return ReadModels(self._database, self._progress, self._head, within=container_id)

    # --- layouts, panes, agents ------------------------------------------------------------------------------------

    async def layouts(
        self,
        *,
        container_id: str | None = None,
        state: str | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Page:
        """By state, then newest first, then id descending."""
        filters = {"container_id": container_id, "state": checked_state(state), WITHIN: self._within}
        query = Query("layouts", LAYOUT_ORDER, filters, limit, cursor)
        statement = query.apply(filtered(sa.select(LAYOUTS.table), filters))

        def work(connection: sa.Connection) -> Page:
            position = snapshot(connection, layouts.PROJECTION)
            rows = connection.execute(statement).mappings().all()
            items = [shown(row) for row in rows[: query.limit]]
            counts = pane_counts(connection, [item["id"] for item in items])
            return Page([i | counts.get(i["id"], NO_PANES) for i in items], query.next_cursor(rows), position)

        return await self._read(layouts.PROJECTION, work)

    async def layout(self, layout_id: str, /, *, include_terminal_panes: bool = False) -> Item | None:
        """With its `panes` by slot: those that stand for a slot, and on demand those removed or recreated as well."""
        panes = sa.select(PANES.table).where(_panes.layout_id == storable(layout_id))
        if not include_terminal_panes:
            panes = panes.where(counted())
        panes = panes.order_by(_panes.slot, _panes.chain_depth, _panes.id)

        def work(connection: sa.Connection) -> Item | None:
            snapshot(connection, layouts.PROJECTION)
            item = one(connection, LAYOUTS.table, layout_id, within=self._within)
            if item is None:
                return None
            counts = pane_counts(connection, [layout_id]).get(layout_id, NO_PANES)
            return item | counts | {"panes": [shown(row) for row in connection.execute(panes).mappings()]}

        return await self._read(layouts.PROJECTION, work)

    async def panes(
        self,
        *,
        container_id: str | None = None,
        layout_id: str | None = None,
        state: str | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Page:
        """By state, layout, index in tmux (those without one last), id."""
        filters = {
            "container_id": container_id,
            "layout_id": layout_id,
            "state": checked_state(state),
            WITHIN: self._within,
        }
        query = Query("panes", PANE_ORDER, filters, limit, cursor)
        return await self._page(layouts.PROJECTION, query, filtered(sa.select(PANES.table), filters), shown)

    async def pane(self, pane_id: str, /, *, include_predecessor_chain: bool = False) -> Item | None:
        """`predecessor_chain`: the panes before it, most recent first, without itself, at most 15."""

        def work(connection: sa.Connection) -> Item | None:
            snapshot(connection, layouts.PROJECTION)
            item = one(connection, PANES.table, pane_id, within=self._within)
            if item is None or not include_predecessor_chain:
                return item
            chain: list[Item] = []
            before = item["predecessor_id"]
            while before is not None and len(chain) < MAX_GENERATIONS - 1:
                predecessor = one(connection, PANES.table, before)
                if predecessor is None:
                    break
                chain.append(predecessor)
                before = predecessor["predecessor_id"]
            return item | {"predecessor_chain": chain}

        return await self._read(layouts.PROJECTION, work)

    async def no_pane(self, pane_id: str, caller: str, /) -> Rejection:
        """The refusal for an id that is no pane: whether it is an adopted agent that `caller` sees, or nothing."""
        agent = await self.agent(pane_id)
        if agent is not None and agent["origin"] == "adopted":
            return protected(pane_id)
        return unseen(caller, Rejection("managed_pane_not_found", f"no pane {pane_id}", pane_id=pane_id))

    async def agents(
        self,
        *,
        container_id: str | None = None,
        state: str | None = None,
        origin: str | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Page:
        """By state of the pane (adopted ones: running as ready, gone as removed), container, label, id."""
        filters = {
            "container_id": container_id,
            "state": checked_state(state, AGENT_STATES),
            "origin": checked_origin(origin),
            WITHIN: self._within,
        }
        query = Query("agents", _AGENT_ORDER, filters, limit, cursor)
        statement = filtered(sa.select(AGENTS.table).where(_agents.id.is_not(None)), filters)
        return await self._page(agents.PROJECTION, query, statement, shown)

    async def agent(self, agent_id: str, /) -> Item | None:
        def work(connection: sa.Connection) -> Item | None:
            snapshot(connection, agents.PROJECTION)
            return one(connection, AGENTS.table, agent_id, within=self._within)

        return await self._read(agents.PROJECTION, work)

    # --- containers ------------------------------------------------------------------------------------------------

    async def containers(
        self, *, state: str | None = None, limit: int = DEFAULT_LIMIT, cursor: str | None = None
    ) -> Page:
        """By state (running, stopped, gone), name, id; the machine itself among them."""
        if state is not None and state not in containers.RANKS:
            raise invalid("state", f"one of {', '.join(containers.RANKS)}")
        # A peer inside a container sees its own alone.
        filters = {"state": state, "id": self._within}
        query = Query("containers", _CONTAINER_ORDER, filters, limit, cursor)
        statement = filtered(sa.select(CONTAINERS.table), filters)
        return await self._page(containers.PROJECTION, query, statement, containers.shown)

    async def container(self, container_id: str, /) -> Item | None:
        def work(connection: sa.Connection) -> Item | None:
            snapshot(connection, containers.PROJECTION)
            if self._within not in (None, container_id):
                return None
            wanted = sa.select(CONTAINERS.table).where(_containers.id == storable(container_id))
            row = connection.execute(wanted).mappings().first()
            return None if row is None else containers.shown(row)

        return await self._read(containers.PROJECTION, work)

    async def unmanaged_panes(
        self, container_id: str, /, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None
    ) -> Page:
        """Those that the last scan of a container listed, by session, window and place; none of an unknown one."""
        wanted = storable(container_id)
        scan = sa.select(_containers.scan_id).where(_containers.id == wanted).scalar_subquery()
        filters = {"container_id": container_id, WITHIN: self._within}
        query = Query("unmanaged_panes", _UNMANAGED_ORDER, filters, limit, cursor)
        statement = filtered(sa.select(UNMANAGED_PANES.table).where(_unmanaged.scan_id == scan), filters)
        return await self._page(containers.PROJECTION, query, statement, containers.shown)

    # --- executions, promises --------------------------------------------------------------------------------------

    async def executions(self, **asked: Any) -> Page:
        """Open ones first (running, requested, retrying, paused), then newest first; without code and value."""
        return await self._read(executions.PROJECTION, execution_models.execution_page(**asked).work)

    async def execution(self, execution_id: str, /, *, wait_s: float = 0) -> Item | None:
        """At its end, or as it is after `wait_s` seconds."""
        return await execution_models.settled(
            lambda: self._read(executions.PROJECTION, partial(execution_models.execution, execution_id=execution_id)),
            self.changes,
            ("execution", execution_id),
            wait_s,
        )

    async def promises(self, **asked: Any) -> Page:
        """Pending ones first, then newest first."""
        page = execution_models.promise_page(**asked, owner=self._within)
        return await self._read(executions.PROJECTION, page.work)

    async def promise(self, promise_id: str, /, *, wait_s: float = 0) -> Item | None:
        """Settled, or as it is after `wait_s` seconds."""
        kind, _, execution_id = promise_id.partition(":")
        of = {"exec": "execution", "spawn": "session"}.get(kind) if ":" not in execution_id else None
        read = partial(execution_models.promise, promise_id=promise_id, owner=self._within)
        return await execution_models.settled(
            lambda: self._read(executions.PROJECTION, read),
            self.changes,
            ("promise", promise_id) if of is None else (of, execution_id),
            wait_s,
        )

    # --- sessions --------------------------------------------------------------------------------------------------

    async def sessions(self, **asked: Any) -> Page:
        """Those that have something to do first, then newest first; output cut."""
        return await self._read(sessions.PROJECTION, session_models.session_page(**asked).work)

    async def session(self, session_id: str, /, *, wait_s: float = 0, turn: int | None = None) -> Item | None:
        """When it has nothing to do, or has ended this `turn`, or as it is after `wait_s` seconds."""
        work = partial(session_models.session, session_id=session_id)
        read = partial(self._read, sessions.PROJECTION, work)
        return await session_models.rested(read, self.changes, session_id, wait_s, turn)

    # --- events, commands ------------------------------------------------------------------------------------------

    async def events(
        self,
        *,
        kind: str | None = None,
        id: str | None = None,  # noqa: A002
        type: str | None = None,  # noqa: A002
        actor: str | None = None,
        correlation_id: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        after_position: int | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Page:
        """CloudEvents with `position`, ascending. `id` is an aggregate's; `type` with or without prefix and version;
        `since` is included, `until` is not."""
        filters = {
            "kind": kind,
            "subject": id,
            "type_name": type,
            "actor": actor,
            "correlation_id": correlation_id,
            "since": since,
            "until": until,
            "after_position": after_position,
        }
        query = Query("events", _EVENT_ORDER, filters | {WITHIN: self._within}, limit, cursor)
        statement = sa.select(_events.position, _events.payload).where(*conditions(**filters))
        if self._within is None:
            return await self._page(events.PROJECTION, query, statement, _cloud_event)
        return await self._own_events(query, statement.where(scope.about(self._within)))

    async def _own_events(self, query: Query, statement: sa.Select[*tuple[Any, ...]]) -> Page:
        statement = query.apply(statement)

        def work(connection: sa.Connection) -> Page:
            position = min(snapshot(connection, events.PROJECTION), scope.known_until(connection))
            rows = connection.execute(statement.where(_events.position <= position)).mappings().all()
            return Page([_cloud_event(row) for row in rows[: query.limit]], query.next_cursor(rows), position)

        return await self._read(events.PROJECTION, work)

    async def command(self, command_id: str, /, *, actor: str | None = None) -> Item | None:
        """The outcome of a command as far as the log tells; `actor` tells apart origins that used the same id."""
        actor = actor if self._within is None else self._within
        wanted = _events.command_id == indexable(command_id)
        statement = sa.select(_events.position, _events.payload).where(wanted).order_by(_events.position)
        if actor is not None:
            statement = statement.where(_events.actor == storable(actor))

        def work(connection: sa.Connection) -> list[Recorded]:
            snapshot(connection, events.PROJECTION)
            found = [events.recorded_of(position, payload) for position, payload in connection.execute(statement)]
            # An id counts for its origin alone: the first one that used it.
            return [recorded for recorded in found if recorded.envelope.actor == found[0].envelope.actor]

        recorded = await self._read(events.PROJECTION, work)
        return commands.outcome(command_id, recorded) if recorded else None

    # --- how far ---------------------------------------------------------------------------------------------------

    async def projections(self) -> list[Item]:
        """One row a projection. `lag` is in events; `stalled_s` says how long one that lags has not moved."""
        head, now = await self._head(), asyncio.get_running_loop().time()
        return [status.row(head, now) for status in self._progress]

    async def wait_for(self, position: int, timeout_s: float, *, model: str | None = None) -> None:
        """Until the read model `model` (one of `MODELS`; all of them when None) reflects `position`, else
        `read_model_behind`: past the deadline, or at once when its projection is stopped before."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        names = [status.name for status in self._progress] if model is None else [MODELS[model].name]
        if model == "events" and self._within is not None:
            # Which events a container's peer may see is known from the other read models.
            names = [status.name for status in self._progress]
        for name in names:
            await self._progress.reached(name, position, deadline - loop.time())


def _cloud_event(row: Mapping[Any, Any]) -> Item:
    return events.cloud_event(row["position"], row["payload"])
