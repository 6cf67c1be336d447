"""The queries of the predecessor's methods: their parameters, and what they answer."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from domain.errors import Rejection, unseen

Name = Annotated[str, Meta(max_length=200)]
Position = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`after`: answer only when the read model reflects this position of the log, else `read_model_behind`."""

    after: Position | None = None


class LayoutList(Parameters, frozen=True, kw_only=True):
    container_id: Name | None = None
    state: Name | None = None
    limit: int = 50
    cursor: Annotated[str, Meta(max_length=2000)] | None = None


class LayoutDetail(Parameters, frozen=True, kw_only=True):
    layout_id: Name
    include_terminal_panes: bool = False


class PaneList(LayoutList, frozen=True, kw_only=True):
    layout_id: Name | None = None


class PaneDetail(Parameters, frozen=True, kw_only=True):
    pane_id: Name
    include_predecessor_chain: bool = False


Row = Mapping[str, Any]


class Page(Protocol):
    @property
    def items(self) -> Sequence[Row]: ...

    @property
    def next_cursor(self) -> str | None: ...

    @property
    def position(self) -> int: ...


class Models(Protocol):
    """The read models as one caller sees them. They raise `Rejection` and `DatabaseTrouble`; None is not found."""

    async def layouts(self, *, container_id: str | None, state: str | None, limit: int, cursor: str | None) -> Page: ...

    async def layout(self, layout_id: str, /, *, include_terminal_panes: bool) -> Row | None: ...

    async def panes(
        self, *, container_id: str | None, layout_id: str | None, state: str | None, limit: int, cursor: str | None
    ) -> Page: ...

    async def pane(self, pane_id: str, /, *, include_predecessor_chain: bool) -> Row | None: ...

    async def no_pane(self, pane_id: str, caller: str, /) -> Rejection: ...

    async def wait_for(self, position: int, timeout_s: float, *, model: str | None) -> None: ...


async def layouts(models: Models, _caller: str, asked: LayoutList) -> Row:
    return _shown(
        await models.layouts(container_id=asked.container_id, state=asked.state, limit=asked.limit, cursor=asked.cursor)
    )


async def layout(models: Models, caller: str, asked: LayoutDetail) -> Row:
    found = await models.layout(asked.layout_id, include_terminal_panes=asked.include_terminal_panes)
    if found is None:
        missing = Rejection("managed_layout_not_found", f"no layout {asked.layout_id}", layout_id=asked.layout_id)
        raise unseen(caller, missing)
    return found


async def panes(models: Models, _caller: str, asked: PaneList) -> Row:
    return _shown(
        await models.panes(
            container_id=asked.container_id,
            layout_id=asked.layout_id,
            state=asked.state,
            limit=asked.limit,
            cursor=asked.cursor,
        )
    )


async def pane(models: Models, caller: str, asked: PaneDetail) -> Row:
    found = await models.pane(asked.pane_id, include_predecessor_chain=asked.include_predecessor_chain)
    if found is None:
        raise await models.no_pane(asked.pane_id, caller)
    return found


def _shown(page: Page) -> Row:
    return {"items": page.items, "next_cursor": page.next_cursor, "position": page.position}
