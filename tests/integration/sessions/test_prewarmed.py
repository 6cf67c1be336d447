"""Spawning from a bundle that is in memory: what is written, and that nothing is read."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from adapters.bundles.watching import CLOCK_STEP_S
from adapters.cli.child_tower import ChildTower
from adapters.files.blobs import FileBlobs
from adapters.files.transcripts import FileTranscripts
from adapters.system import SystemIds
from domain.bundles.plan import Plan
from domain.sessions.state import Session
from domain.tower import Tower
from handlers.bundle_ports import ContextText, PreparedBundle
from handlers.effects.turns import opening_of
from handlers.plans import Plans
from handlers.session_facts import SessionFacts
from tests.integration.bundles.files import write
from tests.integration.sessions.conftest import Talks
from tests.integration.tower.conftest import Desk
from tests.needs import need
from tests.unit.builders import facts
from tests.unit.talks import BUNDLE, spawn
from tests.waiting import eventually

READ = PreparedBundle(
    uri="/bundles/reviewer",
    name="reviewer",
    version="1.2.0",
    description="",
    digest="b" * 64,
    plan=Plan(name="reviewer", runtime={"kind": "echo"}, tools=({"module": "bash"},)),
    instruction="You review.",
    context=(ContextText(name="reviewer:rules.md", text="Rules.", digest="c" * 64),),
)

_opened: list[str] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """`open` for reading, of whatever this process opens."""
    if event == "open" and _opened is not None:
        path, _, flags = arguments
        if not flags & (os.O_WRONLY | os.O_RDWR | os.O_DIRECTORY):
            _opened.append(str(path))


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The files that are read meanwhile."""
    global _opened
    sys.addaudithook(_audit)
    _opened = []
    yield _opened
    _opened = None


class Reads(FileSystemEventHandler):
    """Files that any process opens below some folders, but those that it has opened to write, by their names."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.written: list[str] = []

    def on_opened(self, event: FileSystemEvent) -> None:
        if not event.is_directory:
            self.opened.append(Path(os.fsdecode(event.src_path)).name)

    def on_closed(self, event: FileSystemEvent) -> None:
        self.written.append(Path(os.fsdecode(event.src_path)).name)

    @property
    def read(self) -> list[str]:
        return [name for name in self.opened if name not in self.written]


@contextmanager
def reads_below(*folders: Path) -> Iterator[Reads]:
    seen, watch = Reads(), Observer()
    for folder in folders:
        watch.schedule(seen, str(folder), recursive=True)
    watch.start()
    try:
        yield seen
    finally:
        watch.stop()
        watch.join()


class InMemory:
    async def find(self, reference: str) -> PreparedBundle | None:
        return READ


async def test_spawning_from_a_prepared_bundle_reads_no_file(tmp_path: Path, opened: list[str]) -> None:
    blobs, storage = FileBlobs(tmp_path / "blobs"), FileTranscripts(tmp_path / "transcripts")
    plans = Plans(blobs)
    given = SessionFacts(
        bundles=InMemory(), blobs=blobs, plans=plans, storage=storage, ids=SystemIds(), state=lambda: Tower()
    )
    # What the first one loads of Python itself is none of the bundle.
    await given.of(spawn(), facts())
    opened.clear()
    found = await given.of(spawn(), facts())
    assert found.spawn is not None
    assert (found.spawn.refusal, found.spawn.bundle_digest, found.spawn.runtime) == (None, "b" * 64, "echo")
    session = Session(
        session_id="s",
        session_name="reviewer",
        owner="host",
        bundle=BUNDLE,
        plan_digest=found.spawn.plan_digest,
        runtime="echo",
        request_digest="",
    )
    opening = await opening_of(session, plans, blobs, storage)
    assert [message.content for message in opening.before] == ["You review.", "Rules."]
    assert opened == []
    # And after a restart the plan is there.
    again = await opening_of(session, Plans(blobs), blobs, storage)
    assert again == opening
    assert len(opened) == 1


FILES = {
    "bundle.md": "---\nbundle: {name: warm}\nruntime: {kind: echo, context: text}\nincludes: [./base.yaml]\n"
    "context: {rules: rules.md}\n---\nBe brief.",
    "base.yaml": "bundle: {name: base}\ntools: [{module: tool-bash}]\n",
    "rules.md": "Rules.",
}


async def test_a_whole_tower_that_is_warm_reads_no_file_of_a_bundle(tmp_path: Path) -> None:
    """Seen by the file system, whoever reads."""
    need("tmux")
    folder = write(tmp_path / "warm", FILES)
    tower = ChildTower(variables={"SHELL": "/bin/sh", "AGENTTOWER_BUNDLES": str(folder)})
    desk = Desk(tower)
    talks = Talks(desk)
    try:
        # What was written just now is read once more, in case that it was during the first time.
        written_s = max(path.stat().st_ctime for path in (folder, *folder.iterdir()))
        await eventually(lambda: time.time() > written_s + 2 * CLOCK_STEP_S, "it was written some time ago")
        tower.start()
        with reads_below(folder) as of_bundle:
            for _ in range(3):
                said = (await talks.rest(talks.spawn("hello", "warm")))["output"]
                assert said.startswith("Be brief.") and "Rules." in said
            child = talks.spawn("x", "warm", parent_session_id=talks.spawn("above", "warm"), inherit_tools=True)
            await talks.rest(child)
            with reads_below(tower.home / "nodes" / "demo" / "blobs") as of_plans:
                await talks.rest(talks.spawn("again", "warm"))
            assert of_plans.read == [], "nor the plan that was kept for a restart"
            assert of_bundle.opened == []
            (folder / "rules.md").read_text()
            await eventually(lambda: of_bundle.opened == ["rules.md"], "the measure works")
    finally:
        desk.close()
        tower.remove()
