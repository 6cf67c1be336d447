"""To which container an event belongs, so that a peer in a container is told of its own only."""

from domain.messages import Event
from domain.tower import Tower


def container_of(event: Event, state: Tower) -> str | None:
    """The container that names itself in the event, or that of its layout, pane or agent; None for an event of no
    single container."""
    named: object = getattr(event, "container_id", None)
    if isinstance(named, str):
        return named
    layout = state.layouts.layouts.get(_text(event, "layout_id"))
    if layout is not None:
        return layout.container_id
    pane = state.layouts.panes.get(_text(event, "pane_id"))
    return None if pane is None else pane.container_id


def _text(event: Event, field: str) -> str:
    found: object = getattr(event, field, None)
    return found if isinstance(found, str) else ""
