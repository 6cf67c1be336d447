"""The README, held to what is true: its commands run, its output is what they print, its tables are complete.

Above a block stands what it is. `runs`: in a shell, in this order; `runs in a terminal of its own`: until it is ended;
`shows`: what the block before it prints; `shows: COMMAND`: what that prints. In shown output ids, numbers and blanks
stand for any others, and `…` for whatever is there.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from adapters.cli.child_tower import ChildTower
from adapters.settings import ENV_PREFIX, Settings
from domain.errors import DETAILS, http_status
from tests.needs import need
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEADLINE_S = 90
HTTP = "127.0.0.1:7700"


class Block(NamedTuple):
    line: int
    mark: str
    language: str
    text: str


def blocks() -> list[Block]:
    found: list[Block] = []
    pattern = re.compile(r"(?:^<!-- (?P<mark>[^>]*?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
    for match in pattern.finditer(README):
        line = README.count("\n", 0, match.start()) + 1
        found.append(Block(line, match["mark"] or "", match["language"], match["text"]))
    return found


_TOKENS = re.compile(
    r"(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})|(?P<hex>\b[0-9a-f]{64}\b|\b[0-9a-f]{16}\b|\b[0-9a-f]{8}\b)"
    r"|(?P<number>\d+(?:\.\d+)?)|(?P<blank> +)|(?P<any>…)"
)
_KEPT = re.compile(r"(?:signal |generation |m|s|%|v)\d+|1m\+2s|2m\+2s|kill -9|127\.0\.0\.1")
"""Numbers that mean something."""


def pattern_of(line: str) -> re.Pattern[str]:
    """What a line of shown output stands for."""
    parts: list[str] = []
    at = 0
    while at < len(line):
        kept = _KEPT.match(line, at)
        token = _TOKENS.match(line, at)
        if kept is not None and (token is None or token.lastgroup == "number"):
            parts.append(re.escape(kept[0]))
            at = kept.end()
        elif token is not None:
            size = len(token[0])
            parts.append(
                {
                    "uuid": r"[0-9a-f-]{36}",
                    "hex": rf"[0-9a-f]{{{size}}}",
                    "number": r"\d+(?:\.\d+)?",
                    "blank": " +",
                    "any": ".*",
                }[str(token.lastgroup)]
            )
            at = token.end()
        else:
            parts.append(re.escape(line[at]))
            at += 1
    return re.compile("".join(parts))


def assert_shows(shown: str, printed: str, line: int) -> None:
    """Every shown line is printed, in this order; between two without `…` between them nothing else."""
    lines = [text.rstrip() for text in printed.splitlines()]
    at, gap = 0, True
    for text in shown.splitlines():
        if text.strip() == "…":
            gap = True
            continue
        wanted = pattern_of(text.rstrip())
        places = range(at, len(lines)) if gap else range(at, min(at + 1, len(lines)))
        found = next((place for place in places if wanted.fullmatch(lines[place])), None)
        assert found is not None, f"README.md:{line}: {text!r} is not what is printed:\n" + "\n".join(lines[at:])
        at, gap = found + 1, False


# --- what runs -----------------------------------------------------------------------------------------------------


class Shell:
    """Runs the README's blocks against a tower in a temporary home."""

    def __init__(self, tower: ChildTower) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("AGENTTOWER_", "XDG_"))}
        programs = str(Path(sys.executable).parent)
        self._environment = {
            **kept,
            "PATH": f"{programs}{os.pathsep}{kept.get('PATH', '')}",
            "AGENTTOWER_HOME": str(tower.home),
            "AGENTTOWER_HTTP": "127.0.0.1:0",
            "XDG_CONFIG_HOME": str(tower.home / "config"),
        }
        self._tower = tower

    def run(self, block: Block) -> str:
        """What a block prints; every command of it must succeed."""
        text = block.text.replace(HTTP, self._tower.running.http.removeprefix("http://"))
        done = subprocess.run(
            ["bash", "-eu", "-c", text],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, f"README.md:{block.line}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, block: Block, out: Path) -> "subprocess.Popen[bytes]":
        with out.open("wb") as stream:
            return subprocess.Popen(
                ["bash", "-eu", "-c", f"exec {block.text}" if "=" not in block.text else block.text],
                cwd=ROOT,
                env=self._environment,
                stdout=stream,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ctrl-C in that terminal."""
    os.killpg(process.pid, signal.SIGINT)
    process.wait(DEADLINE_S)


@pytest.fixture
def tower() -> Iterator[ChildTower]:
    """A temporary home; the README itself starts the tower in it."""
    need("tmux", "curl")
    with ChildTower(node="local") as made:
        yield made


async def test_the_commands_run_and_print_what_is_shown(tower: ChildTower) -> None:
    shell = Shell(tower)
    going_on: list[subprocess.Popen[bytes]] = []
    printed = ""
    try:
        for number, block in enumerate(blocks()):
            if block.mark == "runs":
                printed = shell.run(block)
            elif block.mark == "runs in a terminal of its own":
                out = tower.home / f"terminal-{number}"
                going_on.append(shell.start(block, out))
                printed = await shown_by(out)
                if "agenttower up" in block.text:
                    await eventually(tower.place.running, "the tower runs", timeout_s=DEADLINE_S)
            elif block.mark == "shows":
                assert_shows(block.text, printed, block.line)
    finally:
        for process in reversed(going_on):
            end(process)


async def shown_by(out: Path) -> str:
    """What a command that goes on has printed once it has printed some lines."""
    return await eventually(
        lambda: text if (text := out.read_text()).count("\n") >= 3 else "", f"{out} has lines", timeout_s=DEADLINE_S
    )


def test_the_output_of_commands_by_themselves_is_what_is_shown() -> None:
    need("tmux")
    marked = [block for block in blocks() if block.mark.startswith("shows: ")]
    assert marked
    for block in marked:
        _, *words = shlex.split(block.mark.removeprefix("shows: "))
        kept = {key: value for key, value in os.environ.items() if not key.startswith("AGENTTOWER_")}
        done = subprocess.run(
            [sys.executable, "-m", "adapters.cli", *words],
            env=kept,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=True,
        )
        assert_shows(block.text, done.stdout, block.line)


def test_every_shell_block_is_known() -> None:
    """What does not run says so by standing here: it needs make, docker or systemd, or is for the reader's shell."""
    unmarked = [block.text.strip() for block in blocks() if block.language == "sh" and not block.mark]
    assert unmarked == [
        "make demo\nmake test",
        'export PATH="$PWD/.venv/bin:$PATH"',
        next(block.text.strip() for block in blocks() if "docker run --detach" in block.text),
        "docker compose up --build",
        "systemd-run --user --scope agenttower up",
    ]


def test_a_wrong_output_would_be_found() -> None:
    assert_shows("a 1f2e3d4c ready 17\n…\nend", "a 00000000   ready 4\nx\ny\nend\n", 1)
    for shown in ("a ready", "signal 8", "first\nthird"):
        with pytest.raises(AssertionError):
            assert_shows(shown, "a failed\nsignal 9\nfirst\nsecond\nthird\n", 1)


# --- tables --------------------------------------------------------------------------------------------------------


def table(head: str) -> list[list[str]]:
    """The rows of the table with this first line."""
    _, found, rest = README.partition(f"\n{head}\n")
    assert found, head
    rows = rest.partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_every_setting_is_listed_with_its_default() -> None:
    rows = {row[0].strip("`"): row for row in table("| setting | environment | default |")}
    assert set(rows) == set(Settings.model_fields)
    for name, row in rows.items():
        assert row[1] == f"`{ENV_PREFIX}{name.upper()}`"
        default = Settings.model_fields[name].default
        if isinstance(default, str | float):
            assert row[2].startswith(f"`{default}`"), name


def test_every_error_code_is_listed() -> None:
    listed = [code for row in table("| code | what it means, what to do |") for code in re.findall(r"`(\w+)`", row[0])]
    assert sorted(listed) == sorted(DETAILS)


def test_every_http_status_is_listed() -> None:
    rows = {int(row[0]): row[1] for row in table("| status | when |")}
    assert set(rows) == {200, *(http_status(code) for code in DETAILS)}
    for code in DETAILS:
        named = [status for status, said in rows.items() if f"`{code}`" in said]
        assert named in ([], [http_status(code)])


def test_every_file_that_is_linked_is_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
