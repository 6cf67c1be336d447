"""`file_change` on real folders, by the kernel's notifications and by polling alike."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from adapters.triggers.file_change import FileChange
from adapters.triggers.inotify import Inotify, NoMoreWatches
from handlers.trigger_ports import TriggerProblem
from tests.integration.triggers.conftest import Watch
from tests.waiting import eventually


async def test_one_firing_names_all_of_a_burst(watch: Watch, folder: Path) -> None:
    (folder / "old.txt").write_text("before")
    (folder / "gone.txt").write_text("before")
    async with watch() as watched:
        (folder / "new.txt").write_text("1")
        (folder / "old.txt").write_text("after it")
        (folder / "gone.txt").unlink()
        firing = await watched.next()
    assert firing.data["changes"] == {"gone.txt": "deleted", "new.txt": "created", "old.txt": "modified"}
    assert firing.data["paths"] == ["gone.txt", "new.txt", "old.txt"]
    assert firing.data["base"] == str(folder)
    assert (firing.file_path, firing.change_type, firing.source) == (str(folder / "gone.txt"), "deleted", str(folder))
    assert len(watched.firings) == 1


async def test_what_was_there_before_is_no_change(watch: Watch, folder: Path) -> None:
    (folder / "old.txt").write_text("before")
    async with watch() as watched:
        (folder / "new.txt").write_text("1")
        assert await watched.changes() == {"new.txt": "created"}


async def test_the_last_change_is_told_though_it_comes_while_the_one_before_is_taken(
    watch: Watch, folder: Path
) -> None:
    async with watch() as watched:
        (folder / "a").write_text("1")
        await watched.unanswered()
        (folder / "a").write_text("22")
        (folder / "b").write_text("1")
        watched._go_on.set()
        assert await watched.changes(until="b") == {"a": "modified", "b": "created"}


async def test_saving_by_renaming_is_a_modification(watch: Watch, folder: Path) -> None:
    (folder / "text.md").write_text("old")
    async with watch() as watched:
        (folder / "text.md.new").write_text("new")
        os.replace(folder / "text.md.new", folder / "text.md")
        assert await watched.changes() == {"text.md": "modified"}


async def test_saving_with_a_backup_is_a_modification(watch: Watch, folder: Path) -> None:
    """As vim does with `backupcopy=no`: the old file becomes `text.md~`, a new one is written."""
    (folder / "text.md").write_text("old")
    async with watch() as watched:
        (folder / "4913").touch()
        (folder / "4913").unlink()
        os.rename(folder / "text.md", folder / "text.md~")
        (folder / "text.md").write_text("new text")
        (folder / "text.md~").unlink()
        assert await watched.changes() == {"text.md": "modified"}


async def test_a_move_is_told_with_where_it_was(watch: Watch, folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "one").write_text("1")
    (folder / "two").write_text("22")
    async with watch() as watched:
        os.rename(folder / "a", folder / "b")
        os.rename(folder / "two", folder / "b" / "deux")
        firing = await watched.next()
        assert firing.data["changes"] == {"b/one": "moved", "b/deux": "moved"}
        assert firing.data["moved_from"] == {"b/one": "a/one", "b/deux": "two"}
        (folder / "b" / "deux").write_text("333")
        assert await watched.changes() == {"b/deux": "modified"}


async def test_new_folders_are_watched_at_once_and_whole(watch: Watch, folder: Path, tmp_path: Path) -> None:
    brought = tmp_path / "brought"
    (brought / "x" / "y").mkdir(parents=True)
    (brought / "x" / "y" / "deep").write_text("1")
    async with watch() as watched:
        (folder / "p" / "q").mkdir(parents=True)
        (folder / "p" / "q" / "made").write_text("1")
        os.rename(brought, folder / "brought")
        told = await watched.changes()
        assert told == {"p/q/made": "created", "brought/x/y/deep": "created"}
        (folder / "p" / "q" / "made").write_text("22")
        (folder / "brought" / "x" / "y" / "deep").write_text("22")
        assert await watched.changes() == {"p/q/made": "modified", "brought/x/y/deep": "modified"}


async def test_a_folder_made_again_at_once_is_still_watched(watch: Watch, folder: Path) -> None:
    (folder / "sub" / "inner").mkdir(parents=True)
    (folder / "sub" / "inner" / "f").write_text("1")
    async with watch() as watched:
        shutil.rmtree(folder / "sub")
        (folder / "sub" / "inner").mkdir(parents=True)
        (folder / "sub" / "inner" / "f").write_text("22")
        assert await watched.changes() == {"sub/inner/f": "modified"}
        (folder / "sub" / "inner" / "g").write_text("1")
        assert await watched.changes() == {"sub/inner/g": "created"}


async def test_the_base_may_go_and_come_back(watch: Watch, tmp_path: Path) -> None:
    base = tmp_path / "above" / "base"
    base.mkdir(parents=True)
    (base / "f").write_text("1")
    async with watch(path=base) as watched:
        shutil.rmtree(base)
        assert await watched.changes() == {"f": "deleted"}
        base.mkdir()
        (base / "f").write_text("1")
        assert await watched.changes() == {"f": "created"}
        shutil.rmtree(tmp_path / "above")
        assert await watched.changes() == {"f": "deleted"}
        (base / "sub").mkdir(parents=True)
        (base / "sub" / "g").write_text("1")
        assert await watched.changes() == {"sub/g": "created"}
        os.rename(tmp_path / "above", tmp_path / "elsewhere")
        assert await watched.changes() == {"sub/g": "deleted"}
        os.rename(tmp_path / "elsewhere", tmp_path / "above")
        assert await watched.changes() == {"sub/g": "created"}


async def test_the_base_may_be_missing_at_first(watch: Watch, tmp_path: Path) -> None:
    async with watch(path=tmp_path / "later" / "base") as watched:
        (tmp_path / "later" / "base").mkdir(parents=True)
        (tmp_path / "later" / "base" / "f").write_text("1")
        assert await watched.changes() == {"f": "created"}


async def test_patterns_are_globs_and_what_is_ignored_is_not_even_watched(
    watch: Watch, folder: Path, inotify: Inotify
) -> None:
    (folder / ".git" / "objects").mkdir(parents=True)
    (folder / "src" / "deep" / "er").mkdir(parents=True)
    async with watch(patterns=["src/**/*.py", "*.md"]) as watched:
        for name in (".git/objects/x.py", "a.py", "src/b.txt", "src/deep/er/c.py", "src/d.py", "e.md", "src/f.md"):
            (folder / name).write_text("1")
        assert await watched.changes() == {"e.md": "created", "src/d.py": "created", "src/deep/er/c.py": "created"}
        if watched.source.how == "inotify":
            above = len(folder.parts) - 1
            assert inotify.watches == above + len(["", "src", "src/deep", "src/deep/er"])


async def test_links(watch: Watch, folder: Path, tmp_path: Path) -> None:
    """To a file: it is that file. To a folder: not entered, so that no circle is walked. To nothing: a file."""
    target = tmp_path / "target.txt"
    target.write_text("1")
    (tmp_path / "beside").mkdir()
    (folder / "file").symlink_to(target)
    (folder / "circle").symlink_to(folder)
    (folder / "beside").symlink_to(tmp_path / "beside")
    async with watch() as watched:
        target.write_text("22")
        assert await watched.changes() == {"file": "modified"}
        os.replace(_written(tmp_path / "other", "333"), target)
        assert await watched.changes() == {"file": "modified"}
        target.write_text("4444")
        assert await watched.changes() == {"file": "modified"}
        (tmp_path / "beside" / "unseen").write_text("1")
        (folder / "nowhere").symlink_to(tmp_path / "missing")
        assert await watched.changes() == {"nowhere": "created"}


async def test_a_linked_base_is_followed_and_may_be_turned(watch: Watch, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("1")
    (tmp_path / "current").symlink_to("first")
    async with watch(path=tmp_path / "current") as watched:
        (tmp_path / "first" / "new").write_text("1")
        assert await watched.changes() == {"new": "created"}
        (tmp_path / "turned").symlink_to("second")
        os.replace(tmp_path / "turned", tmp_path / "current")
        assert await watched.changes() == {"first": "deleted", "new": "deleted", "second": "created"}


async def test_a_name_that_is_not_utf8(watch: Watch, folder: Path) -> None:
    async with watch() as watched:
        name = b"caf\xe9 \xff.txt"
        _written(Path(os.fsdecode(os.fsencode(folder) + b"/" + name)), "1")
        firing = await watched.next()
    assert firing.data["changes"] == {"caf\\xe9 \\xff.txt": "created"}
    assert firing.data["bytes"] == {"caf\\xe9 \\xff.txt": "Y2Fm6SD/LnR4dA=="}
    assert firing.file_path == f"{folder}/caf\\xe9 \\xff.txt"


async def test_what_changed_while_no_tower_ran_is_found(watch: Watch, folder: Path) -> None:
    (folder / "same").write_text("1")
    (folder / "other").write_text("1")
    async with watch():
        pass
    (folder / "other").write_text("22")
    (folder / "new").write_text("1")
    async with watch() as watched:
        assert await watched.changes() == {"new": "created", "other": "modified"}


async def test_without_catching_up_it_is_taken_as_known(watch: Watch, folder: Path) -> None:
    async with watch(catch_up=False):
        pass
    (folder / "meanwhile").write_text("1")
    async with watch(catch_up=False) as watched:
        (folder / "after").write_text("1")
        assert await watched.changes() == {"after": "created"}


async def test_what_was_found_and_never_answered_is_told_again_as_the_same(watch: Watch, folder: Path) -> None:
    async with watch() as watched:
        (folder / "a").write_text("1")
        first = await watched.unanswered()
    (folder / "b").write_text("1")
    async with watch() as watched:
        again = await watched.next()
        assert (again.id, again.data) == (first.id, first.data)
        assert await watched.changes() == {"b": "created"}
    async with watch() as watched:
        (folder / "c").write_text("1")
        assert await watched.changes() == {"c": "created"}


async def test_a_state_that_cannot_be_read_is_begun_anew(watch: Watch, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "state" / "one").mkdir(parents=True)
    (tmp_path / "state" / "one" / "seen.sqlite").write_bytes(b"no database" * 1000)
    async with watch() as watched:
        (folder / "a").write_text("1")
        assert await watched.changes() == {"a": "created"}


async def test_a_folder_of_another_machine_is_polled(
    watch: Watch, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.triggers.file_change.polling_reason", lambda _base: "nfs4")
    async with watch(watch="auto") as watched:
        assert watched.source.how == "polling every 0.1 s (nfs4)"


async def test_without_more_watches_it_goes_on_by_polling(
    watch: Watch, folder: Path, inotify: Inotify, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watch(watch="inotify") as watched:

        def no_more(*_args: Any) -> bool:
            raise NoMoreWatches(28, "No space left on device")

        monkeypatch.setattr(inotify, "watch", no_more)
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_text("1")
        assert await watched.changes() == {"sub/a": "created"}
        assert watched.source.how == "polling every 0.1 s (inotify is at its limit)"
        (folder / "sub" / "b").write_text("1")
        assert await watched.changes() == {"sub/b": "created"}
        assert inotify.watches == 0


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"patterns": []}, "patterns"),
        ({"patterns": ["/abs"]}, "patterns"),
        ({"patterns": ["../up"]}, "patterns"),
        ({"patterns": ["a**b"]}, "patterns"),
        ({"debounce_ms": -1}, "debounce_ms"),
        ({"debounce": 5}, "debounce"),
        ({"path": 7}, "path"),
    ],
)
def test_a_wrong_config_is_refused_by_field(config: dict[str, Any], field: str, tmp_path: Path) -> None:
    from adapters.system import SystemClock, SystemIds

    source = FileChange(Inotify(), SystemClock(), SystemIds())
    with pytest.raises(TriggerProblem) as refused:
        source.configure(config, folder="/", state=tmp_path)
    assert refused.value.field == field


async def test_stopping_leaves_nothing_watched(watch: Watch, folder: Path, inotify: Inotify) -> None:
    async with watch():
        pass
    await eventually(lambda: inotify.watches == 0)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
