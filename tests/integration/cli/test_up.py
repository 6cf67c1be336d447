"""`agenttower up`: says where everything is, ends cleanly, and says plainly why it cannot run."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.cli.conftest import DEADLINE_S, Desk, agenttower, environment
from tests.needs import need


@pytest.fixture
def home(short_tmp: Path) -> Iterator[Path]:
    need("tmux")
    yield short_tmp
    subprocess.run(["tmux", "-S", str(short_tmp / "tmux.sock"), "kill-server"], capture_output=True, check=False)


@contextmanager
def up(home: Path, *words: str) -> "Iterator[subprocess.Popen[str]]":
    with subprocess.Popen(
        [sys.executable, "-m", "adapters.cli", "up", "--http", "127.0.0.1:0", *words],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_ends_cleanly(home: Path, number: signal.Signals) -> None:
    with up(home, "--node", "north", "--log-format", "json") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        recorded = json.loads((home / "tower.json").read_text())
        assert recorded["pid"] == process.pid
        assert lines == [
            f"AgentTower runs: node north, pid {process.pid}. Ctrl-C stops it, panes live on.\n",
            f"  http    {recorded['http']}\n",
            f"  broker  nats://127.0.0.1:{recorded['nats'].rpartition(':')[2]}\n",
            f"  tmux    {home}/tmux.sock\n",
            f"  home    {home}\n",
        ]
        assert agenttower(home, "status", "--json").json["node"] == "north"
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
        assert out.startswith("The tower has stopped.")
        assert not (home / "tower.json").exists()
        assert all(json.loads(line)["node"] == "north" for line in err.splitlines())


def test_files_with_secrets_are_the_owners(desk: Desk) -> None:
    for name in ("http.token", "nats.url", "nats/users.json", "nats/server.conf"):
        assert (desk.home / name).stat().st_mode & 0o077 == 0, name
    assert "@" in (desk.home / "nats.url").read_text()


def test_a_second_one_on_the_same_home_is_refused(desk: Desk) -> None:
    done = desk.run("up")
    assert (done.code, done.out) == (1, "")
    assert f"a tower of node local runs already: pid {desk.tower.running.pid}, home {desk.home}" in done.err
    assert desk.json("status")["ready"] is True


def test_one_whose_file_was_lost_is_found_by_its_store(own_desk: Desk) -> None:
    pid = own_desk.tower.running.pid
    (own_desk.home / "tower.json").unlink()
    done = own_desk.run("up", "--http", "127.0.0.1:0")
    assert done.code == 1
    assert "the tower cannot run: " in done.err
    assert str(pid) in done.err


def test_an_address_in_use(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = agenttower(home, "up", "--http", address)
    assert done.code == 1
    assert "the tower cannot run: " in done.err
    assert "in use" in done.err
    assert "Traceback" not in done.err


def test_without_tmux(home: Path) -> None:
    empty = home / "bin"
    empty.mkdir()
    done = agenttower(home, "up", "--http", "127.0.0.1:0", PATH=str(empty))
    assert done.code == 1
    assert "tmux" in done.err
    assert "apt-get install tmux" in done.err
    assert "Traceback" not in done.err


def test_a_broker_that_does_not_answer(home: Path) -> None:
    done = agenttower(home, "up", "--http", "127.0.0.1:0", "--nats-url", "nats://me:secret-word@127.0.0.1:9")
    assert done.code == 1
    assert "the tower cannot run: " in done.err
    assert "secret-word" not in done.err
    assert "Traceback" not in done.err


def test_without_its_database_it_runs_and_says_so(home: Path) -> None:
    url = "postgresql://agenttower:secret-word@127.0.0.1:9/nothing"
    with up(home, "--database-url", url) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("AgentTower runs")
        shown = agenttower(home, "status")
        assert shown.code == 0
        assert "database: connection failed" in shown.out
        assert re.search(r"^layouts +not known$", shown.out, re.MULTILINE)
        assert agenttower(home, "status", "--json").json["layouts"] is None
        assert agenttower(home, "layout", "list").err.startswith("temporarily_unavailable: ")
        os.killpg(process.pid, signal.SIGTERM)
        _, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
        assert "secret-word" not in err


def test_faulty_flags(home: Path) -> None:
    done = agenttower(home, "up", "--http", "7700", "--launch-settle", "99")
    assert done.code == 1
    assert "--http: expected address:port" in done.err
    assert "--launch-settle: expected seconds" in done.err
