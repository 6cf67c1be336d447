"""Stories of triggers: a watched folder, a timer, an issue directory."""

import json
import os
from pathlib import Path
from typing import Any

from domain.background.events import BackgroundState, TriggerFired
from domain.envelope import Recorded
from domain.executions.events import SessionEmitted
from tests.faults.book import Book, Driver
from tests.faults.child import NODE, Child
from tests.faults.stories import Story, linger
from tests.waiting import eventually


def configure(child: Child, **options: Any) -> None:
    """One that runs each second, one for each change of the files in `watched`; issues in `issues`."""
    for name in ("watched", "issues"):
        (child.home / name).mkdir(exist_ok=True)
    worker = str(worker_of(child))
    files = {"type": "file_change", "config": {"path": str(child.home / "watched"), "debounce_ms": 50}}
    timer = {"type": "timer", "config": {"interval_seconds": 1}}
    common = {"bundle": worker, "queue_size": 1000, "instruction": "Go.", **options}
    sessions = [{"name": "files", "triggers": [files], **common}, {"name": "clock", "triggers": [timer], **common}]
    path = settings_of(child)
    path.parent.mkdir(parents=True, exist_ok=True)
    # JSON is YAML.
    told = {"background_sessions": sessions, "issues": {"bugs": str(child.home / "issues")}}
    path.write_text(json.dumps(told))


def worker_of(child: Child) -> Path:
    """The bundle of runs."""
    path = child.home / "echo.yaml"
    path.write_text("bundle: {name: echo}\nruntime: {kind: echo}\n")
    return path


def settings_of(child: Child) -> Path:
    return child.home / "config" / "agenttower" / "agenttower.yaml"


def put(child: Child, name: str, text: str = "text") -> None:
    """Whole or not at all, in the folder that `name` begins with."""
    path = child.home / name
    hidden = child.home / f"{path.name}.part"
    hidden.write_text(text)
    os.replace(hidden, path)


def named(log: list[Recorded]) -> list[str]:
    """The paths that firings say were created, as often as they say it."""
    fired = [each.event for each in log if isinstance(each.event, TriggerFired) and each.event.type == "file_change"]
    return [path for event in fired for path, kind in event.data["changes"].items() if kind == "created"]


async def watching(driver: Driver) -> None:
    """Until both run: what changed before their first start is no change."""

    async def look() -> bool:
        known = (await driver.state()).backgrounds.known.values()
        return [each.state for each in known if not each.over].count(BackgroundState.RUNNING) == 2

    await driver.or_died(eventually(look, "both background sessions run", timeout_s=60))


class Watched(Story):
    """A tick, a file, an issue; then the watches end."""

    async def prepare(self, child: Child, book: Book) -> None:
        configure(child)

    async def tell(self, driver: Driver) -> None:
        child = driver.child
        number = child.starts
        begun = await driver.or_died(driver.position())
        await watching(driver)
        put(child, f"watched/f{number}")
        put(child, f"issues/i{number}.yaml", f"title: issue {number}")

        async def told() -> bool:
            events = [each.event for each in await driver.recorded() if each.position > begun]
            fired = {event.type for event in events if isinstance(event, TriggerFired)}
            return fired >= {"file_change", "timer"} and any(isinstance(event, SessionEmitted) for event in events)

        await driver.or_died(eventually(told, "a tick, a file and an issue are told", timeout_s=60))
        for name in ("files", "clock"):
            await driver.ask("background", "stop", {"name": name})
        await linger(driver)

    async def tidy(self, child: Child) -> None:
        settings_of(child).unlink(missing_ok=True)


class Deaf(Watched):
    """What the tracker knows cannot be kept."""

    async def prepare(self, child: Child, book: Book) -> None:
        await super().prepare(child, book)
        place = self._place(child)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            place.rename(child.home / f"known{child.starts}")
        place.write_text("no folder")

    async def tell(self, driver: Driver) -> None:
        await linger(driver)

    async def tidy(self, child: Child) -> None:
        self._place(child).unlink()
        await super().tidy(child)

    @staticmethod
    def _place(child: Child) -> Path:
        return child.home / "nodes" / NODE / "triggers" / "issues" / "bugs"
