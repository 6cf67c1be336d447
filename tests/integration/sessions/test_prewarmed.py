"""Spawning from a bundle that is in memory: what is written, and that nothing is read."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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
from tests.unit.builders import facts
from tests.unit.talks import BUNDLE, spawn

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
