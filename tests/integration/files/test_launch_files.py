"""The operator's folders on a real disk (layouts.md, templates and launch profiles): what is read, in which order, when
it is read again; and what may lie there without holding the tower up."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.files.launch_folder import MAX_FILE_BYTES, MAX_FILES
from adapters.files.launching import Catalogue, LaunchFiles, LaunchFolders
from adapters.system import SystemClock
from tests.waiting import eventually

CLOCK = SystemClock()


def template(name: str, label: str = "lead") -> str:
    return f"name: {name}\npanes: [{{role: master, capability: plan, label: {label}}}]\n"


def profile(name: str, *words: str) -> str:
    return f"name: {name}\ncommand: [{', '.join(words) or name}]\n"


class Config:
    """An operator's configuration folder, and what a tower makes of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.templates = path / "templates"
        self.profiles = path / "launch_profiles"
        for folder in (self.templates, self.profiles):
            folder.mkdir(parents=True)
        self.files = LaunchFiles(path, CLOCK)

    def look(self) -> Catalogue:
        return LaunchFolders(self.path, CLOCK).look()

    def reasons(self) -> dict[str, str]:
        """Why files of `templates/` are skipped, by name; the one that is not is taken."""
        found = self.look()
        assert "good" in found.known.templates
        return {os.path.basename(problem.file): problem.reason for problem in found.template_problems}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = Config(tmp_path / "agenttower")
    (made.templates / "z-good.yaml").write_text(template("good"))
    return made


class TestWhichFiles:
    def test_the_built_in_ones_without_any_folder(self, tmp_path: Path) -> None:
        found = LaunchFolders(tmp_path / "nowhere", CLOCK).look()
        assert sorted(found.known.templates) == ["1m+2s", "2m+2s"]
        assert list(found.known.profiles) == ["shell"]
        assert (found.template_problems, found.profile_problems) == ((), ())

    def test_an_operators_name_wins_over_a_built_in(self, config: Config) -> None:
        (config.templates / "own.yaml").write_text(template("1m+2s"))
        (config.profiles / "own.yaml").write_text(profile("shell", "zsh"))
        found = config.look()
        assert len(found.known.templates["1m+2s"].panes) == 1
        assert found.known.profiles["shell"].command == ("zsh",)
        assert found.template_files["1m+2s"] == str(config.templates / "own.yaml")

    def test_a_later_file_over_an_earlier_in_sorted_order(self, config: Config) -> None:
        for name in ("b", "a", "B", "10", "9"):
            (config.profiles / f"{name}.yaml").write_text(profile("claude", f"from-{name}"))
        found = config.look()
        assert found.known.profiles["claude"].command == ("from-b",)
        (config.profiles / "b.yaml").unlink()
        assert config.look().known.profiles["claude"].command == ("from-a",)

    def test_only_files_that_end_in_yaml_and_those_in_yml_are_told(self, config: Config) -> None:
        for name in ("a.yml", "b.yaml~", ".c.yaml", "d.json", "README"):
            (config.templates / name).write_text(template(name[0]))
        assert config.reasons() == {"a.yml": "is not read: its name must end in .yaml"}
        assert not {"a", "b", "c", "d"} & config.look().known.templates.keys()

    def test_a_malformed_file_is_skipped_with_file_line_and_reason(self, config: Config) -> None:
        (config.templates / "bad.yaml").write_text("name: bad\npanes: 3\n")
        (config.profiles / "bad.yaml").write_text("name: bad\ncommand: claude\n")
        found = config.look()
        (first,), (second,) = found.template_problems, found.profile_problems
        assert (first.file, first.line) == (str(config.templates / "bad.yaml"), 2)
        assert (second.file, second.line) == (str(config.profiles / "bad.yaml"), 2)
        assert (
            second.reason == "command: expected a list of words, not one string: write it as [claude, --option, value]"
        )
        assert "good" in found.known.templates

    def test_the_digest_is_over_all_that_starts_a_pane(self, config: Config) -> None:
        digests: set[str] = set()
        for more in ("", "env: {A: b}\n", "env: {A: c}\n", "working_dir: /x\n", "resume: [claude, -r]\n"):
            (config.profiles / "p.yaml").write_text(profile("claude") + more)
            digests.add(config.look().known.profiles["claude"].digest)
        assert len(digests) == 5


class TestWhatMayLieThere:
    def test_nothing_holds_the_tower_up(self, config: Config) -> None:
        folder = config.templates
        (folder / "folder.yaml").mkdir()
        os.mkfifo(folder / "pipe.yaml")
        (folder / "loop.yaml").symlink_to("loop.yaml")
        (folder / "dangling.yaml").symlink_to("nowhere")
        (folder / "device.yaml").symlink_to("/dev/zero")
        (folder / "linked-pipe.yaml").symlink_to("pipe.yaml")
        with open(folder / "huge.yaml", "wb") as huge:
            huge.truncate(100 * 1024 * 1024)
        (folder / "latin.yaml").write_bytes(b"name: x\nlabel: \xe4\n")
        (folder / "binary.yaml").write_bytes(bytes(range(256)))
        (folder / "empty.yaml").touch()
        (folder / "bomb.yaml").write_text(
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{b}: &{b} [{','.join(['*' + a] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
        )
        (folder / os.fsdecode(b"na\xffme\n.yaml")).write_text("x")
        # Readable by nobody who reads it from its beginning, root included.
        (folder / "unreadable.yaml").symlink_to("/proc/self/mem")
        reasons = config.reasons()
        assert {name: reason.partition(":")[0] for name, reason in reasons.items()} == {
            "folder.yaml": "is a folder",
            "pipe.yaml": "is a pipe",
            "loop.yaml": "cannot be read",
            "dangling.yaml": "is a link to nothing",
            "device.yaml": "is a device",
            "linked-pipe.yaml": "is a pipe",
            "huge.yaml": "has 104857600 bytes",
            "latin.yaml": "is not UTF-8 text",
            "binary.yaml": "is not UTF-8 text",
            "empty.yaml": "nothing stands in it",
            "bomb.yaml": "more than 10000 values, each use of an alias counted",
            "na\\udcffme\\n.yaml": "expected name",
            "unreadable.yaml": "cannot be read",
        }

    def test_a_socket(self, config: Config, short_tmp: Path) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(short_tmp / "s"))
            (config.templates / "socket.yaml").symlink_to(short_tmp / "s")
            assert config.reasons()["socket.yaml"].startswith("is a socket")

    def test_as_many_bytes_and_files_as_are_read(self, config: Config) -> None:
        text = template("large")
        (config.templates / "large.yaml").write_text(text + "#" * (MAX_FILE_BYTES - len(text)))
        assert config.reasons() == {}
        (config.templates / "large.yaml").write_text(text + "#" * (MAX_FILE_BYTES - len(text) + 1))
        assert config.reasons()["large.yaml"].startswith("has 65537 bytes")
        for number in range(MAX_FILES + 1):
            (config.profiles / f"{number:04}.yaml").write_text(profile(f"p{number}"))
        found = config.look()
        assert len(found.known.profiles) == MAX_FILES + 1
        assert found.profile_problems[0].reason == "holds 257 files: only the first 256 are read"

    @pytest.mark.parametrize("what", ["file", "loop", "nothing", "device"])
    def test_in_place_of_the_folder(self, config: Config, what: str) -> None:
        config.profiles.rmdir()
        match what:
            case "file":
                config.profiles.write_text("x")
            case "loop":
                config.profiles.symlink_to(config.profiles)
            case "nothing":
                config.profiles.symlink_to("nowhere")
            case _:
                config.profiles.symlink_to("/dev/zero")
        found = config.look()
        (problem,) = found.profile_problems
        assert (problem.file, problem.line) == (str(config.profiles), None)
        assert problem.reason.startswith(("cannot be read: ", "is a link to nothing"))
        assert list(found.known.profiles) == ["shell"]

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
    @given(content=st.binary(max_size=200) | st.binary(max_size=20).map(lambda more: template("x").encode() + more))
    def test_any_bytes_are_a_template_or_a_problem(self, config: Config, content: bytes) -> None:
        (config.templates / "any.yaml").write_bytes(content)
        found = config.look()
        assert bool(found.template_problems) != (len(found.template_files) > 1)


@contextmanager
def going_on(work: Callable[[int], object]) -> Iterator[None]:
    """`work` again and again in a thread."""
    over = threading.Event()

    def run() -> None:
        number = 0
        while not over.is_set():
            work(number)
            number += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class TestWhenItIsRead:
    async def test_a_change_takes_effect_at_once(self, config: Config) -> None:
        file = config.profiles / "claude.yaml"
        assert "claude" not in (await config.files.current()).profiles
        for number in range(20):
            # The same length, and often the same time stamp as the one before.
            file.write_text(profile("claude", f"v{number:02}"))
            assert (await config.files.current()).profiles["claude"].command == (f"v{number:02}",)
        file.unlink()
        assert "claude" not in (await config.files.current()).profiles

    async def test_a_folder_that_appears_and_goes(self, tmp_path: Path) -> None:
        files = LaunchFiles(tmp_path / "agenttower", CLOCK)
        assert sorted((await files.current()).templates) == ["1m+2s", "2m+2s"]
        config = Config(tmp_path / "agenttower")
        (config.templates / "a.yaml").write_text(template("own"))
        assert "own" in (await files.current()).templates
        config.templates.rename(tmp_path / "away")
        assert "own" not in (await files.current()).templates

    async def test_a_file_that_did_not_change_is_not_read_again(self, config: Config) -> None:
        file = config.templates / "z-good.yaml"
        long_ago = CLOCK.now().timestamp() - 3600
        os.utime(file, (long_ago, long_ago))
        folders = LaunchFolders(config.path, CLOCK)

        def settled() -> bool:
            # Its change time is now, whatever utime says: sure only when that has passed.
            before = folders.look().known.templates["good"]
            return folders.look().known.templates["good"] is before

        await eventually(settled, "the file is not parsed again")

    def test_a_file_that_is_being_written_is_whole_or_a_problem(self, config: Config) -> None:
        file = config.templates / "changing.yaml"
        whole = "".join(f"---\n{template(f't{number}')}" for number in range(40))
        folders = LaunchFolders(config.path, CLOCK)

        def write(number: int) -> None:
            with open(file, "w") as out:
                for line in whole.splitlines(keepends=True):
                    out.write(line)
                    out.flush()

        write(0)
        with going_on(write):
            for _ in range(30):
                found = folders.look()
                assert "good" in found.known.templates
                taken = sum(name.startswith("t") for name in found.known.templates)
                assert bool(taken) != bool(found.template_problems)
        assert sum(name.startswith("t") for name in folders.look().known.templates) == 40

    def test_files_that_come_and_go_while_the_folder_is_read(self, config: Config) -> None:
        folders = LaunchFolders(config.path, CLOCK)

        def churn(number: int) -> None:
            new = config.templates / "new"
            new.write_text(template("come"))
            os.replace(new, config.templates / f"come-{number % 5}.yaml")
            (config.templates / f"come-{(number + 1) % 5}.yaml").unlink(missing_ok=True)

        with going_on(churn):
            for _ in range(50):
                found = folders.look()
                assert "good" in found.known.templates
                assert all("being written" in problem.reason for problem in found.template_problems)

    async def test_nothing_is_written_there(self, config: Config) -> None:
        (config.templates / "bad.yaml").write_text("x")
        paths = [config.path, *sorted(config.path.rglob("*"))]
        before = [(path, path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in paths]
        await config.files.current()
        config.look()
        paths = [config.path, *sorted(config.path.rglob("*"))]
        assert [(path, path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in paths] == before


class SlowFolders(LaunchFolders):
    """A disk that answers when it is let."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, CLOCK)
        self.answers = threading.Event()
        self.looks = 0

    def look(self) -> Catalogue:
        self.looks += 1
        self.answers.wait(60)
        return super().look()


class TestASlowDisk:
    async def test_a_decision_waits_for_a_bounded_time_and_takes_what_was_known_last(self, config: Config) -> None:
        assert "good" in (await config.files.current()).templates
        slow = SlowFolders(config.path)
        config.files._folders = slow
        (config.templates / "new.yaml").write_text(template("new"))
        started = CLOCK.monotonic()
        assert "new" not in (await config.files.look(0.05)).known.templates
        for _ in range(100):
            known = await config.files.current()
            assert "good" in known.templates
        # One wait in all: as long as the disk has not answered, nobody waits for it again.
        assert slow.looks == 1
        assert CLOCK.monotonic() - started < 30
        slow.answers.set()

        async def new() -> bool:
            return "new" in (await config.files.current()).templates

        await eventually(new, "the disk has answered")

    async def test_many_at_once_share_a_reading_that_began_after_them(self, config: Config) -> None:
        slow = SlowFolders(config.path)
        config.files._folders = slow
        first = asyncio.create_task(config.files.look(60))
        await eventually(lambda: slow.looks == 1)
        (config.templates / "new.yaml").write_text(template("new"))
        others = [asyncio.create_task(config.files.look(60)) for _ in range(50)]
        slow.answers.set()
        await first
        found = await asyncio.gather(*others)
        assert all("new" in catalogue.known.templates for catalogue in found)
        assert slow.looks == 2

    async def test_a_caller_that_gives_up_takes_nothing_from_the_others(self, config: Config) -> None:
        slow = SlowFolders(config.path)
        config.files._folders = slow
        given_up = asyncio.create_task(config.files.look(60))
        other = asyncio.create_task(config.files.look(60))
        await eventually(lambda: slow.looks == 1)
        given_up.cancel()
        slow.answers.set()
        assert "good" in (await other).known.templates
