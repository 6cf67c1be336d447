"""What `agenttower doctor` says of containers: which engine, how many containers, whether tmux is in them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from domain.containers import ContainerFacts

if TYPE_CHECKING:
    from adapters.settings import Settings

TMUX_S: Final = 5.0
ASKED_AT_ONCE: Final = 8
NAMED: Final = 5
"""Containers without tmux that are named."""


class Said(NamedTuple):
    level: Literal["good", "warning"]
    said: str
    fix: str = ""


def look_at_containers(settings: "Settings") -> Said:
    from adapters.containers.cli import find_cli
    from handlers.ports import ContainersUnreachable

    cli = find_cli(settings.container_cli)
    if cli is None and settings.container_cli is not None:
        missing = f"{settings.container_cli} is not there: layouts on this machine only"
        return Said("warning", missing, "install it, or correct AGENTTOWER_CONTAINER_CLI")
    if cli is None:
        return Said("good", "neither docker nor podman is installed: layouts on this machine only")
    try:
        return asyncio.run(_look(cli, settings.container_filter, settings.home / "bench"))
    except ContainersUnreachable as error:
        return Said("warning", f"{cli}: {error}", "start the engine, or name another with AGENTTOWER_CONTAINER_CLI")


async def _look(cli: str, filters: Sequence[str], bench: Path) -> Said:
    from adapters.containers.cli import ask
    from adapters.containers.engine import CliEngine

    version = (await ask(cli, ("--version",), timeout_s=TMUX_S)).output.decode("utf-8", "replace").strip()
    found = await CliEngine(setting=cli, filters=filters, bench=bench, known=lambda _: None).scan()
    running = [each for each in found if each.running]
    turns = asyncio.Semaphore(ASKED_AT_ONCE)
    answers = await asyncio.gather(*(_tmux(cli, each, turns) for each in running))
    without = [f"{each.name} ({why})" for each, why in zip(running, answers, strict=True) if why is not None]
    said = f"{version} ({cli}): {len(found)} containers, {len(running)} running"
    if without:
        named = ", ".join(without[:NAMED]) + (", …" if len(without) > NAMED else "")
        return Said("warning", f"{said}, without tmux: {named}", "install tmux in them: apt-get install tmux")
    return Said("good", f"{said}, tmux in all of these" if running else said)


async def _tmux(cli: str, container: ContainerFacts, turns: asyncio.Semaphore) -> str | None:
    """None where tmux is there; else why not."""
    from adapters.containers.executing import exec_words
    from adapters.containers.inside import run_inside
    from handlers.ports import ContainersUnreachable

    try:
        async with turns:
            ran = await run_inside(exec_words(cli, container), ("tmux", "-V"), timeout_s=TMUX_S)
    except ContainersUnreachable as error:
        return str(error).splitlines()[0][:100]
    return None if ran.exit_code == 0 else "missing"
