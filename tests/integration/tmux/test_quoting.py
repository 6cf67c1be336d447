"""Arguments through tmux's command parser and back, byte for byte."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.tmux.control import ControlConnection
from adapters.tmux.oneshot import run_once
from adapters.tmux.quoting import quote
from handlers.ports import TerminalError
from tests.integration.tmux.support import Server

# What the parser knows, often and in any order; else any text. tmux keeps options as UTF-8, so no lone surrogates here.
_PARSED = st.lists(
    st.sampled_from([*"\\\"'$~#{}%;|&()<>*?=-@ \n\r\t\x1b\x7f\x01", "#{pane_id}", "%if", "ä", "\\n", "u0041"])
)
_TEXTS = st.one_of(_PARSED.map("".join), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))


@pytest.fixture
def loop_and_server(server: Server) -> Iterator[tuple[asyncio.Runner, ControlConnection]]:
    with asyncio.Runner() as runner:
        connecting = ControlConnection.connect(server.address(), start_server=True, timeout_s=30)
        connection = runner.run(connecting)
        yield runner, connection
        runner.run(connection.close())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(texts=st.lists(_TEXTS, min_size=1, max_size=20))
@example(texts=["~", "~/x", "a~", " ~", "", "-g", "--", "\\", "a\nb", "#{version}", "$HOME", "%begin", "{", "a;", ";"])
def test_tmux_reads_back_what_was_quoted(
    loop_and_server: tuple[asyncio.Runner, ControlConnection], short_tmp: Path, texts: list[str]
) -> None:
    runner, connection = loop_and_server
    commands: list[list[str]] = []
    for index, text in enumerate(texts):
        # By an option as well: there the text is an argument of its own, without a letter before it.
        commands += [
            ["set-buffer", "-b", f"b{index}", "x" + text],
            ["save-buffer", "-b", f"b{index}", str(short_tmp / f"b{index}")],
            ["set-option", "-s", f"@text{index}", text],
        ]
    runner.run(connection.run(commands, timeout_s=30))
    lines = runner.run(
        connection.run([["display-message", "-p", f"#{{n:@text{index}}}"] for index in range(len(texts))], timeout_s=30)
    )
    for index, text in enumerate(texts):
        assert (short_tmp / f"b{index}").read_bytes() == ("x" + text).encode()
        assert int(lines[index]) == len(text.encode())


@pytest.mark.parametrize("text", ['it\'s; "$HOME" ~ #{pid}\n{ } % \\', "~", "日本 🗼", "-x"])
async def test_a_single_process_reads_the_same_lines(server: Server, text: str):
    server.tmux("new-session", "-d", "sleep 1000")
    await run_once(server.address(), [["set-buffer", "-b", "b", "--", text]], start_server=False, timeout_s=30)
    assert server.tmux("show-buffer", "-b", "b") == text


def test_what_no_argument_can_hold():
    with pytest.raises(TerminalError, match="NUL"):
        quote("a\0b")


async def test_bytes_that_are_no_utf8_arrive_too(server: Server, short_tmp: Path):
    server.tmux("new-session", "-d", "sleep 1000")
    text = b"a\xff\xfeb".decode("utf-8", "surrogateescape")
    target = short_tmp / "buffer"
    commands = [["set-buffer", "-b", "b", "--", text], ["save-buffer", "-b", "b", str(target)]]
    await run_once(server.address(), commands, start_server=False, timeout_s=30)
    assert target.read_bytes() == b"a\xff\xfeb"
