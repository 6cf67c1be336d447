"""The issue directory: files that come, change and go are told as issues, once each, over restarts too."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.system import SystemClock, SystemIds
from adapters.triggers import issue_files
from adapters.triggers.inotify import Inotify
from adapters.triggers.issue_files import IssueFault
from adapters.triggers.issues import IssueDirectory
from handlers.trigger_ports import Notice


class Board:
    """`next(n)` takes n events, told as recorded: their names and issue ids."""

    def __init__(self, directory: IssueDirectory) -> None:
        self.notices = directory.watch()

    async def take(self) -> Notice:
        async with asyncio.timeout(20):
            return await anext(self.notices)

    async def next(self, count: int = 1) -> list[tuple[str, str]]:
        return [(notice.name, notice.data["issue_id"]) for notice in [await self.whole() for _ in range(count)]]

    async def whole(self) -> Notice:
        notice = await self.take()
        assert notice.after is not None
        await notice.after({})
        return notice


Open = Callable[[], AbstractAsyncContextManager[Board]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "issues"
    made.mkdir()
    return made


@pytest.fixture
def tracker(folder: Path, tmp_path: Path) -> Open:
    @asynccontextmanager
    async def start() -> AsyncIterator[Board]:
        inotify = Inotify()
        clock, ids = SystemClock(), SystemIds()
        directory = IssueDirectory(folder, state=tmp_path / "state", inotify=inotify, clock=clock, ids=ids)
        board = Board(directory)
        try:
            yield board
        finally:
            await board.notices.aclose()
            await directory.stop()
            inotify.close()

    return start


def write(folder: Path, name: str, body: str = "", **fields: Any) -> None:
    """As a careful program does: whole or not at all."""
    front = "".join(f"{key}: {value}\n" for key, value in fields.items())
    text = f"---\n{front}---\n{body}" if name.endswith(".md") else front
    (folder / f".{name}.tmp").write_text(text)
    os.replace(folder / f".{name}.tmp", folder / name)


async def test_the_life_of_an_issue(tracker: Open, folder: Path) -> None:
    async with tracker() as board:
        write(folder, "12.md", "It breaks.\n", title="A bug", labels="[urgent]", due="2026-02-01")
        created = await board.whole()
        assert (created.name, created.data) == (
            "issue:created",
            {
                "issue_id": "12",
                "title": "A bug",
                "state": "open",
                "blocked_by": [],
                "waits_for": [],
                "new": True,
                "file": "12.md",
                "body": "It breaks.",
                "fields": {"labels": ["urgent"], "due": "2026-02-01"},
            },
        )
        write(folder, "12.md", "It breaks often.\n", title="A bug")
        assert await board.next() == [("issue:updated", "12")]
        write(folder, "12.md", title="A bug", state="Done")
        assert await board.next() == [("issue:closed", "12")]
        write(folder, "12.md", title="A bug", state="open")
        assert await board.next() == [("issue:updated", "12")]
        (folder / "12.md").unlink()
        gone = await board.whole()
        assert (gone.name, gone.data["deleted"], gone.data["title"]) == ("issue:closed", True, "A bug")


async def test_what_waits_for_others_is_told_when_the_last_is_over(tracker: Open, folder: Path) -> None:
    write(folder, "a.yaml", title="first")
    write(folder, "b.yaml", title="second", blocked_by="[a, c]")
    async with tracker() as board:
        assert await board.next(2) == [("issue:created", "a"), ("issue:blocked", "b")]
        write(folder, "c.yaml", state="closed")
        write(folder, "a.yaml", state="resolved")
        assert await board.next(2) == [("issue:closed", "a"), ("issue:unblocked", "b")]
        write(folder, "c.yaml", state="open")
        assert await board.next(2) == [("issue:blocked", "b"), ("issue:updated", "c")]
        (folder / "c.yaml").unlink()
        assert await board.next(2) == [("issue:unblocked", "b"), ("issue:closed", "c")]


async def test_what_changed_while_no_tower_ran_is_told_and_nothing_else(tracker: Open, folder: Path) -> None:
    write(folder, "1.yaml", title="one")
    write(folder, "2.yaml", title="two")
    async with tracker() as board:
        assert await board.next(2) == [("issue:created", "1"), ("issue:created", "2")]
    write(folder, "2.yaml", state="closed")
    write(folder, "3.yaml", title="three")
    os.utime(folder / "1.yaml")
    async with tracker() as board:
        assert await board.next(2) == [("issue:closed", "2"), ("issue:created", "3")]


async def test_what_was_not_recorded_is_told_again_as_the_same(tracker: Open, folder: Path) -> None:
    write(folder, "1.yaml", title="one")
    async with tracker() as board:
        first = await board.take()
    async with tracker() as board:
        again = await board.whole()
        assert (again.id, again.name, again.data) == (first.id, first.name, first.data)
        write(folder, "2.yaml", title="two")
        assert await board.next() == [("issue:created", "2")]


async def test_a_file_that_cannot_be_read_is_as_it_was(tracker: Open, folder: Path) -> None:
    write(folder, "1.yaml", title="one")
    async with tracker() as board:
        assert await board.next() == [("issue:created", "1")]
        (folder / "1.yaml").write_text("title: [")
        write(folder, "2.yaml", title="two")
        assert await board.next() == [("issue:created", "2")]
    async with tracker() as board:
        write(folder, "3.yaml", title="three")
        assert await board.next() == [("issue:created", "3")]
        write(folder, "1.yaml", title="mended")
        assert await board.next() == [("issue:updated", "1")]


async def test_a_folder_that_comes_later(tracker: Open, folder: Path) -> None:
    os.rmdir(folder)
    async with tracker() as board:
        waiting = asyncio.create_task(board.next())
        os.mkdir(folder)
        write(folder, "1.md", title="one")
        assert await waiting == [("issue:created", "1")]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("x.md", "---\ntitle: no end\n", "no end"),
        ("x.yaml", "- a\n- list\n", "field: value"),
        ("x.yaml", "title: [", "not YAML"),
        ("x.yaml", "blocked_by: [{a: 1}]", "a list of ids"),
        ("x.yaml", f"title: {'x' * 2000}", "too long"),
    ],
)
def test_what_is_no_issue_says_why(name: str, text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(IssueFault, match=fault):
        issue_files.read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "text", "title", "body"),
    [
        ("a.md", "# The heading\n\ntext", "The heading", "# The heading\n\ntext"),
        ("a.md", "only text", "a", "only text"),
        ("a.yaml", "", "a", ""),
        ("a.yaml", "body: some\n1: odd key", "a", "some"),
        ("a.md", "\ufeff---\ntitle: marked\n---\nbody", "marked", "body"),
    ],
)
def test_forms_of_files(name: str, text: str, title: str, body: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    issue = issue_files.read(tmp_path / name)
    assert (issue.issue_id, issue.title, issue.body) == ("a", title, body)
