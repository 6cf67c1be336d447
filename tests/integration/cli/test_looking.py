"""`agenttower status`, `doctor`, `projections`: how a tower is, on a real one."""

import os
import platform
import re
import signal
import sqlite3
from pathlib import Path

from projections.registry import PROJECTIONS
from tests.integration.cli.conftest import Desk, Terminal, agenttower, columns

NAMES = [projection.name for projection in PROJECTIONS]


def test_status(desk: Desk, terminal: Terminal) -> None:
    desk.layout()
    found = desk.json("status")
    running = desk.tower.running
    assert (found["pid"], found["node"], found["http"], found["tmux"]) == (
        running.pid,
        "local",
        running.http,
        str(desk.tower.tmux_socket),
    )
    assert found["ready"] is True
    assert 0 < found["uptime_s"] < 3600
    assert {row["name"] for row in found["projections"]} == set(NAMES)
    assert found["layouts"]["ready"] >= 1
    assert found["panes"]["ready"] == 3 * found["layouts"]["ready"]
    assert found["executions"] == {"requested": 0, "running": 0, "retrying": 0, "paused": 0}
    lines = dict(re.split(r" {2,}", line, maxsplit=1) for line in desk.ok("status").out.splitlines()[:10])
    assert lines["tower"] == f"node local, pid {running.pid}, ready"
    assert lines["http"] == running.http
    assert lines["layouts"] == f"{found['layouts']['ready']} ready"
    assert "@" not in lines["broker"]
    assert lines["executions"] == "none"
    shown = terminal.agenttower(desk.home, "status")
    assert shown[0] == f"tower       node local, pid {running.pid}, ready"
    assert columns("\n".join(shown[11:]))[0] == ["READ MODEL", "STATE", "POSITION", "LAG", "REASON"]


def test_projections(desk: Desk) -> None:
    desk.layout()
    listed = desk.json("projections", "list")
    rows = columns(desk.ok("projections", "list").out)
    assert [row[0] for row in rows[1:]] == [item["name"] for item in listed["items"]]
    assert {row[1] for row in rows[1:]} == {"running"}


def contents(home: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every read model."""
    with sqlite3.connect(home / "tower.sqlite") as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        kept = sorted(name for name in names if name != "projections")
        return {name: sorted(database.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in kept}


def test_a_rebuild_gives_the_same_rows_while_the_tower_serves(desk: Desk) -> None:
    desk.layout()
    end = desk.json("status")["position"]
    desk.json("layout", "list")
    before = contents(desk.home)
    rebuilt = desk.json("projections", "rebuild")
    assert rebuilt["rebuilt"] == NAMES
    assert rebuilt["position"] == end
    assert contents(desk.home) == before
    made = desk.layout()
    assert desk.json("layout", "show", made["layout_id"])["state"] == "ready"
    assert {item["state"] for item in desk.json("projections", "list")["items"]} == {"running"}


def test_a_rebuild_needs_no_tower(own_desk: Desk) -> None:
    own_desk.layout()
    before = contents(own_desk.home)
    own_desk.tower.stop()
    done = own_desk.ok("projections", "rebuild", "layouts")
    assert done.out.startswith("Read model layouts is rebuilt from ")
    assert contents(own_desk.home) == before
    own_desk.tower.start()
    assert len(own_desk.json("layout", "list")["items"]) == 1


def test_a_rebuild_where_no_tower_ever_ran(short_tmp: Path) -> None:
    done = agenttower(short_tmp, "projections", "rebuild")
    assert done.code == 1
    assert f"there is no log in {short_tmp}" in done.err


# --- doctor --------------------------------------------------------------------------------------------------------


def test_doctor_with_a_tower(desk: Desk) -> None:
    done = desk.ok("doctor")
    lines = done.out.splitlines()
    assert all(line.startswith(("✓ ", "! ")) for line in lines), done
    assert f"✓ tower: pid {desk.tower.running.pid} is ready at {desk.tower.running.http}" in lines
    assert any(line.startswith("✓ tmux: tmux ") for line in lines)
    assert any(line.startswith("✓ nats-server: ") for line in lines)
    found = desk.json("doctor")
    assert found["ok"] is True
    assert {check["name"] for check in found["checks"]} >= {"python", "tmux", "nats-server", "home", "database"}


def test_doctor_names_what_is_missing(short_tmp: Path) -> None:
    bare = short_tmp / "bin"
    bare.mkdir()
    done = agenttower(short_tmp, "doctor", PATH=str(bare))
    assert done.code == 1
    assert "✗ tmux: missing: apt-get install tmux" in done.out


def test_doctor_names_faulty_settings(short_tmp: Path) -> None:
    done = agenttower(short_tmp, "doctor", AGENTTOWER_HTTP="7700", AGENTTOWER_NOD="x")
    assert done.code == 1
    assert "✗ settings: AGENTTOWER_HTTP: expected address:port" in done.out
    assert "! settings: AGENTTOWER_NOD is no setting; did you mean AGENTTOWER_NODE?" in done.out


def test_doctor_names_a_home_and_a_database_that_cannot_be(short_tmp: Path) -> None:
    (short_tmp / "file").write_text("")
    done = agenttower(short_tmp / "file" / "home", "doctor", XDG_CONFIG_HOME=str(short_tmp))
    assert done.code == 1
    assert "✗ home: " in done.out
    url = "postgresql://agenttower:secret-word@127.0.0.1:9/nothing"
    done = agenttower(short_tmp, "doctor", AGENTTOWER_DATABASE_URL=url)
    assert done.code == 1
    assert "✗ database: " in done.out
    assert "secret-word" not in done.out


def test_doctor_names_a_broker_that_does_not_answer(short_tmp: Path) -> None:
    done = agenttower(short_tmp, "doctor", AGENTTOWER_NATS_URL="nats://me:secret-word@127.0.0.1:9")
    assert done.code == 1
    assert "✗ broker: " in done.out
    assert "secret-word" not in done.out


def test_doctor_names_a_python_that_cannot_run_executions(short_tmp: Path) -> None:
    assert f"✓ workers: Python {platform.python_version()}, in " in agenttower(short_tmp, "doctor").out
    old = short_tmp / "old"
    old.write_text("#!/bin/sh\necho 3.9.2\n")
    old.chmod(0o755)
    for program, said in ((old, "3.9.2 is too old"), (short_tmp / "none", f"{short_tmp / 'none'} does not run")):
        done = agenttower(short_tmp, "doctor", AGENTTOWER_WORKER_PYTHON=str(program))
        assert done.code == 1
        assert f"✗ workers: {said}: " in done.out


def test_doctor_sees_what_a_killed_tower_left(own_desk: Desk) -> None:
    pid = own_desk.tower.running.pid
    os.kill(pid, signal.SIGKILL)
    own_desk.tower.kill()
    done = own_desk.ok("doctor")
    assert f"tower.json is stale: pid {pid} has ended" in done.out


def test_doctor_warns_of_login_sessions() -> None:
    from adapters.cli.doctor import SCOPE_LINE, login_session
    from adapters.settings import Settings

    inside = "0::/user.slice/user-1000.slice/session-3.scope\n"
    found = login_session(Settings(home=Path("/nowhere")), own_cgroup=lambda: inside)
    assert found is not None
    assert (found.level, found.fix) == ("warning", SCOPE_LINE)
    scope = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-u5.scope\n"
    assert login_session(Settings(home=Path("/nowhere")), own_cgroup=lambda: scope) is None
