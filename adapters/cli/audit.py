"""`agenttower audit verify`: recompute the hash chain over the log, read from the broker itself."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli import output
from adapters.cli.client import quiet_logs
from adapters.cli.command import Cli, Json, register
from adapters.cli.failures import Failure
from adapters.cli.place import NATS_FILE

if TYPE_CHECKING:
    from adapters.cli.chain import Verdict


def add(_app: typer.Typer, groups: dict[str, typer.Typer]) -> None:
    register(groups["audit"], "verify")(verify)


def verify(
    cli: Cli,
    first: Annotated[int | None, typer.Option("--from", min=1, metavar="POSITION", help="First position.")] = None,
    last: Annotated[int | None, typer.Option("--to", min=1, metavar="POSITION", help="Last position.")] = None,
    as_json: Json = False,
) -> None:
    """Recompute the hash chain of the event log, and say where it is broken first."""
    if first is not None and last is not None and last < first:
        raise typer.BadParameter(f"{last} is before --from {first}", param_hint="--to")
    import asyncio

    from adapters.cli.chain import verify_log

    quiet_logs()
    # A broker of its own answers also while no tower runs.
    cli.place.need_files()
    found = cli.place.running()
    node = found.node if found else cli.place.node or "local"
    url = cli.place.secret(NATS_FILE) if (cli.place.home / NATS_FILE).exists() else cli.running.nats
    with _progress(quiet=as_json) as progress:
        verdict = asyncio.run(verify_log(url, node, first, last, progress))
    if as_json:
        output.say_json(verdict.as_json())
    else:
        _print(verdict)
    if verdict.broken is not None:
        broken = verdict.broken
        raise Failure(
            f"position {broken.position}: {broken.reason}",
            f"everything up to {broken.position - 1} is as recorded; compare with a backup from there on",
            code="audit_chain_broken",
            details=broken._asdict(),
        )
    if (entry := verdict.unrecorded) is not None:
        raise Failure(
            f"position {entry.position}, {entry.subject}: {entry.reason}",
            "it changed nothing; a running tower records it with its next event. Find out who may publish on "
            "tower.evt.>: docs/security.md",
            code="audit_foreign_entry",
            details=entry._asdict(),
        )


def _print(verdict: "Verdict") -> None:
    if verdict.broken is None:
        since = f", anchored at {verdict.anchor}" if verdict.anchor else ""
        output.say(
            f"The audit log is unbroken: {verdict.events} events, positions {verdict.first} to {verdict.last}{since}, "
            f"in {verdict.elapsed_s:.1f} s"
        )
        output.say(f"chain value {verdict.chain}")
    for entry in verdict.foreign:
        known = "recorded as such" if entry.recorded else "not recorded as such"
        output.say(f"foreign entry at {entry.position}, {known}: {entry.subject}: {entry.reason}")


class _progress:  # noqa: N801, used as a statement
    """A progress bar on a terminal's stderr, nothing elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None

    def __enter__(self) -> Callable[[int, int], None]:
        out = output.console(stderr=True)
        if not self._quiet and out.is_terminal:
            from rich.progress import Progress

            self._bar = Progress(console=out, transient=True)
            self._task = self._bar.add_task("Verifying", total=None)
            self._bar.start()
        return self._show

    def __exit__(self, *_exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _show(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total or None)
