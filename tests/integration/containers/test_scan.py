"""What a scan tells of real containers, through both command lines."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.containers.engine import CliEngine
from domain.containers import ContainerFacts
from handlers.ports import ContainersUnreachable, NoContainerEngine
from tests.integration.containers.engines import Container

Start = Callable[..., Container]
LABEL = "agenttower.test"


def scanner(
    cli: str | None, bench: Path, known: dict[str, ContainerFacts] | None = None, filters: tuple[str, ...] = ()
) -> CliEngine:
    return CliEngine(setting=cli, filters=filters, bench=bench, known=(known or {}).get)


async def found(engine: CliEngine, container: Container) -> ContainerFacts:
    return next(each for each in await engine.scan() if each.container_id == container.container_id)


def program(folder: Path, script: str) -> str:
    path = folder / "engine"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


async def test_a_plain_container_uses_the_tmux_of_root(cli: str, start: Start, tmp_path: Path):
    container = start()
    assert await found(scanner(cli, tmp_path), container) == ContainerFacts(
        container_id=container.container_id,
        name=container.name,
        running=True,
        uid=0,
        user="root",
        tmux_socket="/tmp/tmux-0/default",
    )


async def test_a_user_by_name_is_asked_for_inside_and_only_once(cli: str, start: Start, tmp_path: Path):
    container = start(user="dev")
    facts = await found(scanner(cli, tmp_path), container)
    assert (facts.user, facts.uid, facts.tmux_socket) == ("dev", 1000, "/tmp/tmux-1000/default")
    container.stop()
    again = await found(scanner(cli, tmp_path, {facts.container_id: facts}), container)
    assert (again.running, again.uid, again.tmux_socket) == (False, 1000, facts.tmux_socket)
    forgotten = await found(scanner(cli, tmp_path), container)
    assert (forgotten.uid, forgotten.tmux_socket) == (None, "")


async def test_labels_name_another_user_and_another_socket(cli: str, start: Start, tmp_path: Path):
    container = start(labels={"agenttower.user": "1000", "agenttower.tmux_socket": "/tmp/own.sock"})
    facts = await found(scanner(cli, tmp_path), container)
    assert (facts.user, facts.uid, facts.tmux_socket) == ("1000", 1000, "/tmp/own.sock")


async def test_the_bench_folder_is_found_among_the_mounts_if_it_can_be_written(cli: str, start: Start, tmp_path: Path):
    bench = tmp_path / "bench"
    bench.mkdir()
    written, read = start(mounts={tmp_path: "/other", bench: "/run/bench"}), start(mounts={bench: "/bench:ro"})
    assert (await found(scanner(cli, bench), written)).bench_dir == "/run/bench"
    assert (await found(scanner(cli, bench), read)).bench_dir is None
    assert (await found(scanner(cli, tmp_path / "another"), written)).bench_dir is None


async def test_its_logs_alone_may_be_written(cli: str, start: Start, tmp_path: Path):
    (tmp_path / "logs").mkdir()
    container = start(mounts={tmp_path: "/run/bench:ro", tmp_path / "logs": "/run/bench/logs"})
    assert (await found(scanner(cli, tmp_path), container)).bench_dir == "/run/bench"


async def test_paused_is_running_and_stopped_is_not(cli: str, start: Start, tmp_path: Path):
    container = start()
    container.pause()
    assert (await found(scanner(cli, tmp_path), container)).running
    container.unpause()
    container.stop()
    assert not (await found(scanner(cli, tmp_path), container)).running


async def test_filters_leave_containers_out(cli: str, start: Start, tmp_path: Path):
    wanted, other = start(labels={LABEL: "yes"}), start()
    ids = {each.container_id for each in await scanner(cli, tmp_path, filters=(f"label={LABEL}=yes",)).scan()}
    assert wanted.container_id in ids
    assert other.container_id not in ids
    assert not await scanner(cli, tmp_path, filters=(f"label={LABEL}=none",)).scan()
    with pytest.raises(ContainersUnreachable, match="filter"):
        await scanner(cli, tmp_path, filters=("nonsense=1",)).scan()


async def test_a_removed_one_is_not_told_any_more(cli: str, start: Start, tmp_path: Path):
    container = start()
    engine = scanner(cli, tmp_path)
    await found(engine, container)
    container.remove()
    assert container.container_id not in {each.container_id for each in await engine.scan()}


class TestWithoutAnEngine:
    async def test_none_is_installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(NoContainerEngine, match="docker nor podman"):
            await scanner(None, tmp_path).scan()
        with pytest.raises(NoContainerEngine, match="/nowhere/podman"):
            await scanner("/nowhere/podman", tmp_path).scan()

    async def test_the_first_of_docker_and_podman_is_taken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        for name in ("podman", "docker"):
            (tmp_path / name).write_text(f"#!/bin/sh\necho {name} >&2\nexit 1\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ContainersUnreachable, match="docker"):
            await scanner(None, tmp_path).scan()

    async def test_one_that_says_nothing_is_given_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("adapters.containers.engine.ASK_S", 0.3)
        async with asyncio.timeout(20):
            with pytest.raises(ContainersUnreachable, match="gave no answer"):
                # Its child, too: a helper of the engine would keep the output open.
                await scanner(program(tmp_path, "sleep 100000 & wait"), tmp_path).scan()

    @pytest.mark.parametrize(
        "inspect",
        [
            "echo '[]'; echo 'database is locked' >&2; exit 125",
            "echo 'database is locked' >&2; exit 125",
            "echo '{}'",
            "echo '[{\"Id\": 1}]'",
        ],
    )
    async def test_a_failure_is_not_taken_for_containers_that_are_gone(self, tmp_path: Path, inspect: str):
        script = f'case "$1" in ps) echo {"a" * 64};; inspect) {inspect};; esac'
        with pytest.raises(ContainersUnreachable):
            await scanner(program(tmp_path, script), tmp_path).scan()

    async def test_one_that_goes_between_two_questions_is_gone(self, tmp_path: Path):
        asked = tmp_path / "asked"
        script = (
            f'case "$1" in ps) [ -e {asked} ] || echo {"a" * 64}; : >{asked};;'
            " inspect) echo '[]'; echo 'no such object' >&2; exit 1;; esac"
        )
        assert await scanner(program(tmp_path, script), tmp_path).scan() == ()
