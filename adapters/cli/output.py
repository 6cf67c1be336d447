"""What the CLI writes: tables for people, plain aligned text in a pipe, JSON for machines.

Colours and progress appear on a terminal only. Short ids are the last 8 characters: UUIDv7 ids that were made together
begin alike.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from adapters.cli.client import PAGE

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from adapters.cli.client import Queries

SHORT: Final = 8
NARROWEST: Final = 4
"""Columns that a column keeps, however narrow the terminal is."""
PIPE_WIDTH: Final = 100_000
"""Columns of plain text: nothing is cut or wrapped in a pipe."""

STATE_STYLES: Final = {
    "creating": "yellow",
    "ready": "green",
    "degraded": "magenta",
    "failed": "red",
    "serving": "green",
    "removed": "dim",
    "running": "green",
    "behind": "yellow",
    "stopped": "red",
    "gone": "dim",
    "requested": "yellow",
    "retrying": "yellow",
    "paused": "magenta",
    "completed": "green",
    "cancelled": "dim",
    "timed_out": "red",
    "lost": "red",
    "pending": "yellow",
    "resolved": "green",
    "rejected": "red",
}


def console(*, stderr: bool = False, pipe_width: int = PIPE_WIDTH) -> "Console":
    """A console for stdout or stderr as they are at the moment."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        return Console(file=stream, highlight=False)
    return Console(file=stream, highlight=False, width=pipe_width, no_color=True, force_terminal=False)


def card(kind: str, of: str, lines: "Iterable[tuple[str, str | Text]]") -> None:
    """One thing: its id, then a line for each name and value."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in lines:
        grid.add_row(name, Text(value) if isinstance(value, str) else value)
    out = console()
    write(Text.assemble(f"{kind} ", (of, "bold")), out)
    write(grid, out)


def say(text: str = "") -> None:
    """One line on stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """One line on stderr: for people, not for the next program of a pipe."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def say_json(value: Any) -> None:
    say(json.dumps(value, ensure_ascii=False))


def short(identifier: str | None) -> str:
    return identifier[-SHORT:] if identifier else "-"


def state(name: str | None) -> "Text":
    from rich.text import Text

    return Text(name or "-", style=STATE_STYLES.get(name or "", ""))


def container(identifier: str | None) -> str:
    """`host`, or the usual 12 digits of a container."""
    return identifier[:12] if identifier else "-"


def first_line(text: str | None) -> str:
    """Of code: the first line with something on it; `…` for more of them."""
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return f"{lines[0]} …" if len(lines) > 1 else lines[0] if lines else ""


def address(url: str) -> str:
    """A URL without its credentials, or what stands for them."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def now() -> datetime:
    from adapters.system import SystemClock

    return SystemClock().now()


def page(queries: "Queries", path: str, *, limit: int, **query: object) -> dict[str, Any]:
    """Up to `limit` rows of a list in the form of one page; longer than the tower's pages are, where asked for."""
    whole: dict[str, Any] = {"items": [], "next_cursor": None, "position": 0}
    while True:
        left = limit - len(whole["items"])
        found = queries.get(path, limit=min(PAGE, left), cursor=whole["next_cursor"], **query)
        whole = {**found, "items": [*whole["items"], *found["items"]]}
        if not whole["next_cursor"] or len(whole["items"]) >= limit:
            return whole


def more(found: dict[str, Any]) -> None:
    if found.get("next_cursor"):
        note(f"There are more than these {len(found['items'])}: --limit shows them.")


def age(then: str | datetime | None, now: datetime) -> str:
    """How long ago, in one unit: `12 s ago`, `5 min ago`, `3 h ago`, `8 d ago`."""
    if then is None:
        return "-"
    return f"{duration((now - when(then)).total_seconds())} ago"


def made_at(identifier: str) -> datetime | None:
    """When a UUIDv7 was made, from its first 48 bits; None for any other id."""
    digits = identifier.replace("-", "")
    if len(digits) != 32 or digits[12] != "7":
        return None
    try:
        return datetime.fromtimestamp(int(digits[:12], 16) / 1000, UTC)
    except (ValueError, OverflowError):
        return None


def duration(seconds: float) -> str:
    seconds = max(0.0, seconds)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def when(text: str | datetime) -> datetime:
    moment = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def clock_time(text: str) -> str:
    """Time of day in the local zone, with milliseconds."""
    return when(text).astimezone().strftime("%H:%M:%S.%f")[:-3]


def second(text: str) -> str:
    """Date and time of a time stamp, local, to the second."""
    return when(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    wide: Sequence[str] = (),
    wrap: bool = False,
    pipe_width: int = PIPE_WIDTH,
) -> None:
    """A table without lines. On a narrow terminal the columns named `wide` give way, cut or (`wrap`) on further lines;
    in a pipe nothing does, up to `pipe_width`."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    out = console(pipe_width=pipe_width)
    cells = [[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row] for row in rows]
    natural = [
        max(cell_len(column), *(row[index].cell_len for row in cells), 0) for index, column in enumerate(columns)
    ]
    widths = _fitted(natural, [column in wide for column in columns], out.width)
    drawn = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column, width in zip(columns, widths, strict=True):
        folds = wrap and column in wide
        drawn.add_column(column, no_wrap=not folds, overflow="fold" if folds else "ellipsis", width=width)
    for row in cells:
        drawn.add_row(*row)
    write(drawn, out)


def _fitted(natural: Sequence[int], gives_way: Sequence[bool], total: int) -> list[int]:
    """Widths of columns that stand two blanks apart: where `total` is too narrow, the widest that may gives way."""
    widths = list(natural)
    excess = sum(widths) + 2 * (len(widths) - 1) - total
    while excess > 0:
        index = max(range(len(widths)), key=lambda at: (gives_way[at], widths[at]))
        if not gives_way[index] or widths[index] <= NARROWEST:
            break
        widths[index] -= 1
        excess -= 1
    return widths


def write(drawn: object, out: "Console") -> None:
    """A renderable, without the blanks at line ends that a pipe need not carry."""
    if out.is_terminal:
        out.print(drawn)
        return
    with out.capture() as captured:
        out.print(drawn)
    for line in captured.get().splitlines():
        say(line.rstrip())
