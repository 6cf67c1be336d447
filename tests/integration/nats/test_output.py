"""Output on its way into the stream and out of it: in order, each piece once, whatever becomes of the broker."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import js_api
from adapters.nats.output import BrokerOutput
from adapters.nats.output_feed import OutputFeed, OutputPiece
from adapters.nats.wire import WireClient
from handlers.execution_ports import OutputError, Written, between_executions
from tests.integration.conftest import NODE
from tests.waiting import eventually

STREAM = "TOWER_OUTPUT_local"
KIB = 1024
DEADLINE_S = 60.0


@asynccontextmanager
async def sending(client: WireClient, **options: Any) -> AsyncIterator[BrokerOutput]:
    output = BrokerOutput(client, NODE, **options)
    task = asyncio.create_task(output.run())
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield output
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def output(tower_nats: WireClient) -> AsyncIterator[BrokerOutput]:
    async with sending(tower_nats) as output:
        yield output


async def kept(client: WireClient, execution_id: str, after: int = 0) -> list[OutputPiece]:
    """All that the stream holds of an execution."""
    async with aclosing(OutputFeed(client, NODE, execution_id, after=after, ended=True)) as feed:
        return [piece async for pieces in feed for piece in pieces]


def text(pieces: list[OutputPiece], stream: str = "stdout") -> str:
    return "".join(piece.text for piece in pieces if piece.stream == stream)


class TestWriting:
    async def test_what_is_written_is_in_the_stream_in_order_when_it_is_finished(
        self, output: BrokerOutput, tower_nats: WireClient
    ) -> None:
        for stream, words in (("stdout", "one ü\n"), ("stderr", "two\n"), ("stdout", "three\n")):
            await output.write("e1", 1, stream, words)  # type: ignore[arg-type]
        written = await output.finish("e1", 1)
        pieces = await kept(tower_nats, "e1")
        assert [(piece.stream, piece.text, piece.offset) for piece in pieces] == [
            ("stdout", "one ü\n", 0),
            ("stderr", "two\n", 7),
            ("stdout", "three\n", 11),
        ]
        assert written == Written(position=pieces[-1].sequence, written_bytes=17)

    async def test_an_execution_that_writes_nothing_costs_nothing(self, output: BrokerOutput) -> None:
        assert await output.finish("e1", 1) == Written(position=0, written_bytes=0)

    async def test_attempts_and_sessions_are_told_apart(self, output: BrokerOutput, tower_nats: WireClient) -> None:
        await output.write("e1", 1, "stdout", "first")
        await output.finish("e1", 1)
        await output.write("e1", 2, "stdout", "second")
        await output.write(between_executions("s" * 128), 0, "stdout", "late")
        for execution_id, attempt in (("e1", 2), (between_executions("s" * 128), 0)):
            await output.finish(execution_id, attempt)
        assert [(piece.attempt, piece.text, piece.offset) for piece in await kept(tower_nats, "e1")] == [
            (1, "first", 0),
            (2, "second", 0),
        ]
        assert text(await kept(tower_nats, between_executions("s" * 128))) == "late"
        for name in ("a.b", "*", "session:", "", "a" * 129):
            with pytest.raises(ValueError, match="characters"):
                await output.write(name, 1, "stdout", "x")

    async def test_what_comes_faster_than_it_is_taken_is_joined_and_cut_between_characters(
        self, output: BrokerOutput, tower_nats: WireClient
    ) -> None:
        lines = "".join(f"{number} ä\n" for number in range(20_000))
        for start in range(0, len(lines), 7):
            await output.write("e1", 1, "stdout", lines[start : start + 7])
        await output.write("e1", 1, "stdout", "€" * 100_000)
        written = await output.finish("e1", 1)
        pieces = await kept(tower_nats, "e1")
        assert text(pieces) == lines + "€" * 100_000
        assert written.written_bytes == len(text(pieces).encode())
        assert len(pieces) < len(lines) / 7 / 10
        assert max(len(piece.text.encode()) for piece in pieces) <= 64 * KIB

    async def test_head_and_tail_are_kept_of_what_is_too_long(self, tower_nats: WireClient) -> None:
        async with sending(tower_nats, max_output_bytes=8 * 1024 * KIB) as output:
            for number in range(500):
                await output.write("long", 1, "stdout", f"{number:05}" * (64 * KIB // 5))
            await output.write("other", 1, "stdout", "short")
            written, other = await output.finish("long", 1), await output.finish("other", 1)
        pieces = await kept(tower_nats, "long")
        size = sum(len(piece.text) for piece in pieces)
        assert 7 * 1024 * KIB < size <= 8 * 1024 * KIB
        assert written.truncated_bytes == written.written_bytes - size
        gaps = [after.offset - before.end for before, after in pairwise(pieces)]
        assert [gap for gap in gaps if gap] == [written.truncated_bytes]
        assert text(pieces).startswith("00000" * 13_000)
        assert text(pieces).endswith("00499" * 13_000)
        assert (other.truncated_bytes, text(await kept(tower_nats, "other"))) == (0, "short")


class TestTrouble:
    @pytest.mark.parametrize("window_s", [120, 0.1], ids=["repeats known", "repeats forgotten"])
    async def test_a_broker_that_is_killed_neither_loses_nor_doubles_anything(
        self, broker: EmbeddedBroker, tower_nats: WireClient, output: BrokerOutput, window_s: float
    ) -> None:
        config = (await js_api(tower_nats, f"STREAM.INFO.{STREAM}"))["config"]
        await js_api(tower_nats, f"STREAM.UPDATE.{STREAM}", {**config, "duplicate_window": int(window_s * 1e9)})

        async def write(execution_id: str) -> None:
            for number in range(1000):
                await output.write(execution_id, 1, "stdout" if number % 3 else "stderr", f"{number}|{'x' * 3000}\n")

        async def kill() -> None:
            for _ in range(2):
                before = (await js_api(tower_nats, f"STREAM.INFO.{STREAM}"))["state"]["last_seq"]

                async def goes_on(before: int = before) -> bool:
                    info = await js_api(tower_nats, f"STREAM.INFO.{STREAM}")
                    return info["state"]["last_seq"] > before + 5

                await eventually(goes_on, "output in the stream")
                assert broker.pid is not None
                restarts = broker.restarts
                os.kill(broker.pid, signal.SIGKILL)
                await eventually(lambda restarts=restarts: broker.restarts > restarts, "the restart")
                await broker.wait_ready()
                await eventually(lambda: tower_nats.is_connected, "the connection")

        await asyncio.gather(write("e1"), write("e2"), kill())
        for execution_id in ("e1", "e2"):
            written = await output.finish(execution_id, 1)
            pieces = await kept(tower_nats, execution_id)
            assert [piece.offset for piece in pieces[1:]] == [piece.end for piece in pieces[:-1]]
            lines = "".join(piece.text for piece in pieces).splitlines()
            assert [int(line.partition("|")[0]) for line in lines] == list(range(1000))
            assert written.position == pieces[-1].sequence
            assert written.written_bytes == pieces[-1].end

    async def test_whoever_writes_waits_while_the_broker_takes_nothing(
        self, broker: EmbeddedBroker, tower_nats: WireClient, output: BrokerOutput
    ) -> None:
        taken = 0

        async def write() -> None:
            nonlocal taken
            for _ in range(200):
                await output.write("e1", 1, "stdout", "y" * 64 * KIB)
                taken += 1

        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)
        writing = asyncio.create_task(write())
        await asyncio.sleep(0)
        await asyncio.wait({writing}, timeout=0.3)
        assert taken < 20
        os.kill(broker.pid, signal.SIGCONT)
        await writing
        await output.finish("e1", 1)
        assert len(text(await kept(tower_nats, "e1"))) == 200 * 64 * KIB

    async def test_a_broker_that_refuses_is_asked_again(self, tower_nats: WireClient, output: BrokerOutput) -> None:
        config = (await js_api(tower_nats, f"STREAM.INFO.{STREAM}"))["config"]
        await js_api(tower_nats, f"STREAM.UPDATE.{STREAM}", {**config, "max_msg_size": 10})
        await output.write("e1", 1, "stdout", "more than it takes")
        await output.write("e1", 1, "stdout", " and more")
        finishing = asyncio.create_task(output.finish("e1", 1))
        await eventually(lambda: output._trouble, "the refusal")
        assert not finishing.done()
        await js_api(tower_nats, f"STREAM.UPDATE.{STREAM}", {**config, "max_msg_size": -1})
        await finishing
        assert text(await kept(tower_nats, "e1")) == "more than it takes and more"


class TestReading:
    async def test_what_comes_is_followed_until_the_end_and_resumed_from_a_sequence(
        self, output: BrokerOutput, tower_nats: WireClient
    ) -> None:
        await output.write("e1", 1, "stdout", "before")
        feed = OutputFeed(tower_nats, NODE, "e1")
        got: list[OutputPiece] = []

        async def follow() -> None:
            async with aclosing(feed):
                async for pieces in feed:
                    got.extend(pieces)

        following = asyncio.create_task(follow())
        await eventually(lambda: text(got) == "before", "what was there")
        await output.write("e2", 1, "stdout", "of another")
        await output.write("e1", 1, "stdout", " after")
        await eventually(lambda: text(got) == "before after", "what came")
        await output.write("e1", 1, "stdout", " last")
        await output.finish("e1", 1)
        feed.finish()
        await following
        assert text(got) == "before after last"
        assert text(await kept(tower_nats, "e1", after=got[0].sequence)) == " after last"
        assert await kept(tower_nats, "e1", after=got[-1].sequence) == []
        assert await kept(tower_nats, "unknown") == []

    async def test_a_follower_survives_the_broker(
        self, broker: EmbeddedBroker, output: BrokerOutput, tower_nats: WireClient
    ) -> None:
        feed = OutputFeed(tower_nats, NODE, "e1")
        got: list[OutputPiece] = []

        async def follow() -> None:
            async with aclosing(feed):
                async for pieces in feed:
                    got.extend(pieces)

        following = asyncio.create_task(follow())
        await output.write("e1", 1, "stdout", "one ")
        await eventually(lambda: text(got) == "one ", "what came")
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        await output.write("e1", 1, "stdout", "two")
        await output.finish("e1", 1)
        feed.finish()
        await following
        assert text(got) == "one two"

    async def test_who_begins_to_read_when_the_broker_dies_reads_all_the_same(
        self, broker: EmbeddedBroker, output: BrokerOutput, tower_nats: WireClient
    ) -> None:
        await output.write("e1", 1, "stdout", "all")
        await output.finish("e1", 1)
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)
        reading = asyncio.create_task(kept(tower_nats, "e1"))
        await asyncio.sleep(0)
        os.kill(broker.pid, signal.SIGKILL)
        assert text(await reading) == "all"

    async def test_a_stream_that_is_not_there_is_told(self, tower_nats: WireClient) -> None:
        await js_api(tower_nats, f"STREAM.DELETE.{STREAM}")
        with pytest.raises(OutputError, match="stream not found"):
            await kept(tower_nats, "e1")
