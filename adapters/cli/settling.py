"""Waiting until a layout has settled, by its events, with a display that follows on a terminal."""

from collections.abc import Callable
from typing import Any, Final

from adapters.cli.client import Queries, Row
from adapters.cli.failures import Failure

SETTLE_TIMEOUT_S: Final = 300.0
"""Longer than a stage with all its retries may take."""

_STEPS: Final = {
    "pane.created": "waiting for tmux",
    "pane.spawned": "spawned, settling",
    "pane.launch_settled": "running, registering",
    "pane.registered": "registered, attaching its log",
    "pane.log_attached": "log attached",
}
"""Event -> what a person reads while the pane is creating."""


def event_name(event: Row) -> str:
    """`pane.spawned` of `agenttower.pane.spawned.v1`."""
    return ".".join(str(event.get("type", "")).split(".")[1:3])


def settled(queries: Queries, layout_id: str, *, after: int, title: str, quiet: bool) -> Row:
    """The layout as soon as it is no longer creating. Raises `Failure` when it does not settle in time."""
    layout: Row = queries.get(f"/v1/layouts/{layout_id}", after=after)
    if layout["state"] != "creating":
        return layout
    steps = {pane["id"]: "" for pane in layout["panes"]}
    labels = {pane["id"]: pane["label"] for pane in layout["panes"]}
    with _display(title, labels, quiet=quiet) as show:
        show(steps)
        try:
            for position, event in queries.stream(after=after, timeout_s=SETTLE_TIMEOUT_S):
                data = event.get("data", {})
                if data.get("layout_id") != layout_id:
                    continue
                name = event_name(event)
                if name == "layout.state_changed" and data.get("to") != "creating":
                    layout = queries.get(f"/v1/layouts/{layout_id}", after=position)
                    if layout["state"] != "creating":
                        return layout
                elif event.get("subject") in steps:
                    step = data.get("to") if name == "pane.state_changed" else _STEPS.get(name)
                    steps[event["subject"]] = step or steps[event["subject"]]
                    show(steps)
        except TimeoutError:
            pass
    raise Failure(
        f"layout {layout_id} has not settled within {SETTLE_TIMEOUT_S:g} s",
        f"`agenttower layout show {layout_id}` says where it stands",
    )


class _display:  # noqa: N801, used as a statement
    """One line a pane, redrawn on a terminal; nothing elsewhere."""

    def __init__(self, title: str, labels: dict[str, str], *, quiet: bool) -> None:
        self._title = title
        self._labels = labels
        self._quiet = quiet
        self._live: Any = None

    def __enter__(self) -> Callable[[dict[str, str]], None]:
        from adapters.cli.output import console

        out = console(stderr=True)
        if not self._quiet and out.is_terminal:
            from rich.live import Live

            self._live = Live(console=out, transient=True, refresh_per_second=12)
            self._live.start()
        return self._show

    def __exit__(self, *_exc: object) -> None:
        if self._live is not None:
            self._live.stop()

    def _show(self, steps: dict[str, str]) -> None:
        if self._live is None:
            return
        from rich.console import Group
        from rich.spinner import Spinner

        from adapters.cli.output import STATE_STYLES

        lines = [
            Spinner("dots", f"{self._labels[pane]:<8} {step}", style=STATE_STYLES.get(step, "yellow"))
            for pane, step in steps.items()
        ]
        self._live.update(Group(self._title, *lines))
