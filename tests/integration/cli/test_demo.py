"""`agenttower demo`: real from start to end, readable everywhere, and nothing of it stays."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Done, Terminal, environment
from tests.needs import need
from tests.waiting import eventually

LIMIT_S = 60
STEPS = (
    "Starting a tower",
    "Creating a layout",
    "Breaking pane s1",
    "Removing and recreating it",
    "Crashing the tower, and starting it again",
    "The audit trail",
    "Cleaning up",
)


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where the demo makes its folder, to see that none stays."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="at-") as folder:
        yield Path(folder)


def run_demo(temporary: Path, **more: str) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "adapters.cli", "demo"],
        env=environment(None, TMPDIR=str(temporary), **more),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Done(done)


def processes_below(folder: Path) -> list[str]:
    """Command lines of living processes that name the folder."""
    found: list[str] = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in words:
            found.append(words.decode(errors="replace"))
    return found


async def nothing_stays(temporary: Path) -> None:
    assert os.listdir(temporary) == []
    await eventually(lambda: not processes_below(temporary), "every process has ended")


@pytest.mark.needs("tmux")
async def test_in_a_pipe_it_is_plain_text_of_80_columns(temporary: Path) -> None:
    done = run_demo(temporary)
    assert done.code == 0, done
    lines = done.out.splitlines()
    assert [line for line in lines if line in STEPS] == list(STEPS)
    assert max(len(line) for line in lines) <= 80
    assert "\x1b" not in done.out
    assert "✗" not in done.out
    assert re.search(r"kill: degraded, process_exited, signal 9$", done.out, re.MULTILINE)
    assert "the same processes, the layout is ready" in done.out
    assert re.search(r"✓ the hash chain over \d+ events is unbroken", done.out)
    await nothing_stays(temporary)


async def test_on_a_terminal_of_80_columns(temporary: Path, terminal: Terminal) -> None:
    words = [sys.executable, "-m", "adapters.cli", "demo"]
    lines = terminal.run(*words, TMPDIR=str(temporary), LC_ALL="C.UTF-8")
    assert [line for line in lines if line in STEPS] == list(STEPS)
    # A line that is too long is broken by the terminal: nothing begins in the middle of a sentence.
    starts = [line for line in lines if line and not line.startswith((" ", "✓ ", "$ ", *STEPS))]
    broken = [line for line in starts if not re.match(r"(ID|POS|\w{8}|\d+) {2,}|A tower |All |That was ", line)]
    assert broken == []
    await nothing_stays(temporary)


@pytest.mark.needs("tmux")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted_it_cleans_up(temporary: Path, number: signal.Signals) -> None:
    with interruptible(temporary) as process:
        assert process.stdout is not None
        # In the middle: panes stand, a tower and a broker run.
        for line in process.stdout:
            if line.startswith("Breaking"):
                break
        process.send_signal(number)
        _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert "are removed" in err
    await nothing_stays(temporary)


def interruptible(temporary: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "adapters.cli", "demo"],
        env=environment(None, TMPDIR=str(temporary), PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_without_tmux_it_says_how_to_get_it(temporary: Path) -> None:
    empty = temporary / "bin"
    empty.mkdir()
    done = run_demo(temporary, PATH=str(empty))
    assert (done.code, done.out) == (1, "")
    assert done.err == "tmux: missing\napt-get install tmux\n"


def test_a_tower_of_the_users_is_left_alone(temporary: Path) -> None:
    """The demo looks at no setting of the environment or the user's file."""
    need("tmux")
    config = temporary / "config" / "agenttower"
    config.mkdir(parents=True)
    (config / "agenttower.yaml").write_text("nonsense: 1\n")
    variables = {"AGENTTOWER_HTTP": "nonsense", "XDG_CONFIG_HOME": str(temporary / "config")}
    done = run_demo(temporary, **variables)
    assert done.code == 0, done
