"""What code may ask of the tower, on a real tower: nothing but people and events, unless the settings list more."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.integration.durable.conftest import Runs

DENIED = "agenttower.capability.denied.v1"


@pytest.mark.parametrize(
    "asked",
    [
        "read_file('/etc/hostname')",
        "write_file('x', 'y')",
        "fetch('http://127.0.0.1/')",
        "run(['id'])",
        "spawn('b', 'i')",
    ],
)
async def test_by_default_it_is_denied(asked: str, runs: Runs) -> None:
    end = await runs.run(f"tower.{asked}")
    assert end["error"]["exception_type"] == "PermissionError"
    told = runs.desk.events(kind="capability", id=end["execution_id"])
    assert [(each["type"], each["data"]["capability"]) for each in told] == [(DENIED, asked.partition("(")[0])]


async def test_events_may_be_emitted(runs: Runs) -> None:
    assert await runs.value("tower.emit('work:progress', {'done': 3}); 1", session_id="emits") == 1
    told = await runs.of_session("emits", "emitted")
    assert (told["name"], told["data"]) == ("work:progress", {"done": 3})


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    line = await reader.readline()
    while (await reader.readline()).strip():
        pass
    if b"/away" in line:
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://localhost:1/\r\nContent-Length: 0\r\n\r\n")
    else:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello")
    await writer.drain()
    writer.close()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_what_the_settings_list_is_allowed_and_no_more(
    make_runs: Callable[..., Runs], short_tmp: Path, url: str
) -> None:
    inside, outside = short_tmp / "in", short_tmp / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "text").write_text("within")
    (outside / "text").write_text("without")
    (inside / "link").symlink_to(outside / "text")
    runs = make_runs(
        AGENTTOWER_CAPABILITIES=f'{{"read_file": ["{inside}"], "write_file": ["{inside}"], "fetch": ["127.0.0.1"],'
        ' "run": ["echo hi", "sh -c"]}'
    )

    async def value(code: str) -> object:
        return await asyncio.create_task(runs.value(code, session_id="may"))

    async def denied(code: str) -> bool:
        return (await runs.run(code, session_id="may"))["error"]["exception_type"] == "PermissionError"

    assert await value(f"tower.read_file({str(inside / 'text')!r})") == "within"
    assert await denied(f"tower.read_file({str(inside / 'link')!r})")
    assert await denied(f"tower.read_file({str(inside / '..' / 'out' / 'text')!r})")
    assert await value(f"tower.write_file({str(inside / 'new')!r}, 'made')") is None
    assert (inside / "new").read_text() == "made"
    assert await denied(f"tower.write_file({str(inside / 'link')!r}, 'x')")
    assert (outside / "text").read_text() == "without"
    assert await value(f"tower.fetch({url!r})['text']") == "hello"
    assert await denied(f"tower.fetch({(url + '/away')!r})"), "a redirect leads elsewhere"
    assert await value("tower.run(['echo', 'hi', 'there'])") == {"exit_code": 0, "stdout": "hi there\n", "stderr": ""}
    assert await denied("tower.run(['echo', 'no'])")
    end = await runs.run("tower.run(['sh', '-c', 'sleep 60'], timeout=0.3)", session_id="may")
    assert end["error"]["exception_type"] == "TimeoutError"
    end = await runs.run("tower.run(['sh', '-c', 'yes'])", session_id="may")
    assert end["error"]["exception_type"] == "RuntimeError"


ECHO = "{'bundle': {'name': 'echo'}, 'runtime': {'kind': 'echo', 'delay_s': %s}}"


async def test_sessions_may_be_spawned_if_the_settings_say_so(make_runs: Callable[..., Runs]) -> None:
    runs = make_runs(AGENTTOWER_CAPABILITIES='{"spawn": true}')
    echo = ECHO % 0
    spawned = await runs.value(f"tower.spawn({echo}, 'hello')")
    assert isinstance(spawned, dict)
    assert (spawned["state"], spawned["output"], spawned["turn_count"]) == ("completed", "hello", 1)
    aside = await runs.value(f"tower.spawn({echo}, 'hello', background=True)")
    assert isinstance(aside, dict) and "output" not in aside
    told = runs.desk.events(kind="session", id=spawned["session_id"])[0]["data"]
    assert (told["parent_session_id"], told["depth"], told["owner"]) == (None, 0, "tower")


async def test_what_nobody_waits_for_any_more_is_cancelled(make_runs: Callable[..., Runs]) -> None:
    runs = make_runs(AGENTTOWER_CAPABILITIES='{"spawn": true}')
    echo = ECHO % 5
    end = await runs.run(f"tower.spawn({echo}, 'a b c d e f g h', session_id='left')", timeout=2)
    assert end["event"] == "timed_out"
    await runs.of_session("left", "cancelled")
