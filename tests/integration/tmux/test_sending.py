"""Text typed into real programs: what they read, byte for byte, and whether it was seen to arrive."""

import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import pytest

from adapters.tmux import pasting
from adapters.tmux.terminal import TmuxTerminal
from handlers.ports import PaneToCreate, SeenPane
from tests.integration.tmux.support import Server, processes_of
from tests.waiting import eventually

_READER = """
import os, sys, termios, time, tty
bracketed, slow, target = sys.argv[1] == 'bracketed', sys.argv[2] == 'slow', sys.argv[3]
tty.setraw(0)
os.write(1, (b'\\x1b[?2004h' if bracketed else b'') + b'> ')
while True:
    # One chunk is one read, as in an agent's input loop.
    chunk = os.read(0, 1 << 20)
    if slow:
        time.sleep(0.1)
    with open(target, 'ab') as file:
        file.write(repr(chunk).encode() + b'\\n')
    os.write(1, str(len(chunk)).encode() + b' ')
"""


def reader(server: Server, target: Path, *, bracketed: bool, slow: bool = False) -> PaneToCreate:
    """A program in raw mode that notes each chunk that it reads."""
    mode = "bracketed" if bracketed else "plain"
    return server.pane("p1", sys.executable, "-c", _READER, mode, "slow" if slow else "quick", str(target))


async def chunks(target: Path, count: int) -> list[bytes]:
    def read() -> list[bytes] | None:
        lines = target.read_text().splitlines() if target.exists() else []
        return [eval(line) for line in lines] if len(lines) >= count else None

    found = await eventually(read, f"{count} chunks")
    assert found is not None
    return found


async def started(terminal: TmuxTerminal, server: Server, pane: PaneToCreate, prompt: str) -> SeenPane:
    """The pane, once it shows its prompt."""
    made = (await terminal.create_session("s", [pane]))[0]
    await eventually(lambda: prompt in screen(server, made), f"{pane.argv[0]} shows its prompt")
    return made


def screen(server: Server, seen: SeenPane) -> str:
    return server.tmux("capture-pane", "-p", "-t", seen.tmux_pane_id).rstrip()


async def send(terminal: TmuxTerminal, seen: SeenPane, text: str, *, enter: bool = True) -> bool:
    assert seen.pane_id is not None
    return await terminal.send_text(seen.tmux_pane_id, seen.pane_id, text, enter=enter)


class TestRawPrograms:
    async def test_enter_is_a_key_of_its_own_after_the_paste(
        self, terminal: TmuxTerminal, server: Server, short_tmp: Path
    ) -> None:
        seen = await started(terminal, server, reader(server, short_tmp / "read", bracketed=True), ">")
        assert await send(terminal, seen, "hello\nworld")
        assert await chunks(short_tmp / "read", 2) == [b"\x1b[200~hello\rworld\x1b[201~", b"\r"]

    async def test_brackets_only_where_the_program_asked_for_them(
        self, terminal: TmuxTerminal, server: Server, short_tmp: Path
    ) -> None:
        seen = await started(terminal, server, reader(server, short_tmp / "read", bracketed=False), ">")
        assert await send(terminal, seen, "hello\r\nworld", enter=False)
        assert await send(terminal, seen, "-x #{pane_id} $HOME \\ \"'` ~ \té漢\x7f")
        assert await chunks(short_tmp / "read", 3) == [
            b"hello\rworld",
            "-x #{pane_id} $HOME \\ \"'` ~ \té漢\x7f".encode(),
            b"\r",
        ]

    async def test_a_program_that_takes_its_time_still_gets_enter_apart(
        self, terminal: TmuxTerminal, server: Server, short_tmp: Path
    ) -> None:
        seen = await started(terminal, server, reader(server, short_tmp / "read", bracketed=True, slow=True), ">")
        assert await send(terminal, seen, "hello")
        assert await chunks(short_tmp / "read", 2) == [b"\x1b[200~hello\x1b[201~", b"\r"]

    async def test_a_text_cannot_end_the_bracket_that_it_is_in(
        self, terminal: TmuxTerminal, server: Server, short_tmp: Path
    ) -> None:
        seen = await started(terminal, server, reader(server, short_tmp / "read", bracketed=True), ">")
        assert await send(terminal, seen, "a\x1b[201~\rrm\x1b[200~", enter=False)
        assert b"".join(await chunks(short_tmp / "read", 1)) == "\x1b[200~a␛[201~\rrm␛[200~\x1b[201~".encode()

    async def test_64_kib(self, terminal: TmuxTerminal, server: Server, short_tmp: Path) -> None:
        seen = await started(terminal, server, reader(server, short_tmp / "read", bracketed=False), ">")
        text = "".join(chr(number) for number in range(1, 128) if number not in (10, 13)) * 525
        text = text[: 64 * 1024 - 1] + "x"
        assert await send(terminal, seen, text, enter=False)

        def whole() -> bool:
            lines = (short_tmp / "read").read_text().splitlines()
            return b"".join(eval(line) for line in lines) == text.encode()

        await eventually(whole, "all of it arrives as it was sent")

    async def test_a_pane_in_copy_mode_gets_both(self, terminal: TmuxTerminal, server: Server, short_tmp: Path) -> None:
        seen = await started(terminal, server, reader(server, short_tmp / "read", bracketed=False), ">")
        server.tmux("copy-mode", "-t", seen.tmux_pane_id)
        assert await send(terminal, seen, "hello")
        assert await chunks(short_tmp / "read", 2) == [b"hello", b"\r"]
        assert server.tmux("display-message", "-p", "-t", seen.tmux_pane_id, "#{pane_in_mode}") == "1"


class TestLinePrograms:
    async def test_cat(self, terminal: TmuxTerminal, server: Server) -> None:
        made = (await terminal.create_session("s", [server.pane("p1", "cat")]))[0]
        assert await send(terminal, made, "hello")
        await eventually(lambda: screen(server, made).split("\n") == ["hello", "hello"], "cat gives the line back")

    async def test_bash_runs_a_paste_of_several_lines_at_one_enter(
        self, terminal: TmuxTerminal, server: Server
    ) -> None:
        pane = server.pane("p1", "bash", "--norc", "--noprofile", env={"PS1": "at> ", "TERM": "tmux"})
        seen = await started(terminal, server, pane, "at>")
        assert await send(terminal, seen, "x=1\necho $((x+1))$((x+1))", enter=False)
        assert "22" not in screen(server, seen)
        assert await send(terminal, seen, " # now")
        await eventually(lambda: "\n22\n" in screen(server, seen) + "\n", "both lines have run")

    async def test_a_stopped_program_is_not_seen_to_take_it_and_gets_it_later(
        self, terminal: TmuxTerminal, server: Server, short_tmp: Path
    ) -> None:
        program = reader(server, short_tmp / "read", bracketed=False)
        # As a child's child: tmux lets none of its own stay stopped.
        shell = msgspec.structs.replace(program, argv=("sh", "-c", '"$@"; true', "sh", *program.argv))
        seen = await started(terminal, server, shell, ">")
        (pid,) = processes_of(seen.pid)
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        assert not await send(terminal, seen, "hello")
        assert pasting.SEEN_S <= time.monotonic() - began < 5
        os.kill(pid, signal.SIGCONT)

        async def all_read() -> bool:
            return b"".join(await chunks(short_tmp / "read", 1)) == b"hello\r"

        await eventually(all_read, "the text and Enter")


async def test_nothing_is_left_in_the_buffers(terminal: TmuxTerminal, server: Server) -> None:
    made = await terminal.create_session("s", [server.pane("p1", "cat"), server.pane("p2", "cat")])
    await send(terminal, made[0], "hello")
    with pytest.raises(pasting.PaneNotThere):
        await terminal.send_text(made[0].tmux_pane_id, "p2", "hello", enter=True)
    server.tmux("kill-pane", "-t", made[1].tmux_pane_id)
    with pytest.raises(pasting.PaneNotThere):
        await send(terminal, made[1], "hello")
    assert server.tmux("list-buffers") == ""


async def test_while_no_control_connection_is_to_be_had(
    terminal: TmuxTerminal, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Single processes serve, and do the same."""
    made = (await terminal.create_session("s", [server.pane("p1", "cat")]))[0]
    link = terminal._link

    async def none(*, start_server: bool = False) -> None:
        return None

    monkeypatch.setattr(link, "connection", none)
    assert await send(terminal, made, '-x \\ "$HOME" é')
    await eventually(lambda: screen(server, made) == '-x \\ "$HOME" é\n-x \\ "$HOME" é', "cat gives it back")
