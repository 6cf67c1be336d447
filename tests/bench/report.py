"""What a part of the bench gives: tables for a person, and checks against the targets."""

from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`run_s`: seconds of one measurement; `rounds`: how often it is repeated, of which the best one counts (other
    work on the machine can only slow it down). `subjects`, `events`: sizes of the filled logs."""

    clients: tuple[int, ...] = (1, 64, 256)
    run_s: float = 3.0
    rounds: int = 3
    subjects: int = 200_000
    events: int = 100_000
    million: bool = False


class Check(msgspec.Struct, frozen=True):
    """One target: what was asked, what was reached, and whether it suffices."""

    what: str
    target: str
    reached: str
    met: bool


class Part(msgspec.Struct):
    """What one part found. `notes` stand below its table."""

    tables: list[Any] = []
    notes: list[str] = []
    checks: list[Check] = []


def table(title: str, *columns: str) -> Table:
    """The first column is text, the others are figures."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index == 0 else "right")
    return made


def rate(value: float) -> str:
    return f"{value:,.0f}"


def ms(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def percent(value: float) -> str:
    return f"{value * 100:.0f}%"


def show(console: Console, part: Part) -> None:
    for each in part.tables:
        console.print(each)
    for note in part.notes:
        console.print(f"  {note}", style="dim", highlight=False, markup=False)
    console.print()


def show_checks(console: Console, checks: list[Check]) -> None:
    if not checks:
        return
    summary = table("Targets", "what", "at least", "reached", "")
    for check in checks:
        mark = "[green]met[/]" if check.met else "[red]missed[/]"
        summary.add_row(check.what, check.target, check.reached, mark)
    console.print(summary)
