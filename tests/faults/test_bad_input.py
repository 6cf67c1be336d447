"""Ten thousand bad commands through both doors and HTTP: each is refused with a code, and none leaves a trace."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import msgspec
import pytest

from adapters.nats.wire import NoAnswer, NoResponders, WireClient, header_block, publication
from domain.errors import DETAILS, UNRECORDED
from tests.faults.book import Book, Driver, driving
from tests.faults.check import check, rows_on_postgres, verified
from tests.faults.child import NODE, Child
from tests.faults.garbage import MAX_BYTES, Bad, bad_commands, documents
from tests.faults.stories import create

pytestmark = pytest.mark.needs("tmux")

COUNTS = [2_000, pytest.param(10_000, marks=pytest.mark.faults)]
SHARES = {"request": 9, "durable": 7, "http": 4}
"""Of twenty."""

PER_DOCUMENT = 10
AT_ONCE = 64
ANSWER_S = 60.0


class Fuzz:
    """What was sent and what came of it."""

    def __init__(self, driver: Driver, rng: random.Random) -> None:
        self.driver = driver
        self.codes: Counter[str] = Counter()
        self.held: set[str] = set()
        """Ids of commands that were well-formed by chance, and so stand in the log with their refusal."""
        self.not_held: set[str] = set()
        self._rng = rng

    def outcome(self, bad: Bad, outcome: dict[str, Any]) -> None:
        code = "accepted" if outcome["status"] == "accepted" else outcome["error"]["code"]
        self.codes[code] += 1
        assert code == "accepted" or set(outcome["error"]["details"]) == DETAILS[code], outcome
        assert code != "internal_error", bad
        (self.not_held if code in UNRECORDED else self.held).add(outcome["command_id"] or bad.id)

    async def request(self, bad: Bad) -> None:
        subject = f"tower.req.{NODE}.host.{bad.noun}.{bad.verb}"
        reply = await self.driver.wire.ask(subject, bad.payload, timeout_s=ANSWER_S)
        self.outcome(bad, msgspec.json.decode(reply.payload))

    async def durable(self, bad: Bad) -> None:
        async with self.driver.wire.expecting() as (inbox, answered):
            block = header_block({"Tower-Reply-To": inbox})
            subject = f"tower.cmd.{NODE}.host.{bad.noun}.{bad.verb}"
            queued = msgspec.json.decode((await self.driver.wire.ask(subject, bad.payload, block=block)).payload)
            if "error" in queued:
                assert len(bad.payload) + len(block) > MAX_BYTES, queued
                self.codes["not queued"] += 1
                return
            async with asyncio.timeout(ANSWER_S):
                self.outcome(bad, msgspec.json.decode((await answered).payload))

    async def http(self, bad: Bad, client: httpx.AsyncClient) -> None:
        kind = self._rng.choice(("application/json", "text/plain", "multipart/form-data", ""))
        body = bad.payload
        if self._rng.random() < 0.7:
            with suppress(ValueError, RecursionError):
                fields = msgspec.json.decode(body)
                if isinstance(fields, dict):
                    body = msgspec.json.encode({"noun": bad.noun, "verb": bad.verb, **fields})
        answer = await client.post("/commands", content=body, headers={"content-type": kind})
        found = answer.json()
        self.codes[f"http {answer.status_code}"] += 1
        assert answer.status_code < 500 or answer.status_code == 501, (bad, found)
        if "status" in found:
            self.outcome(bad, found)
        else:
            code, details = found["error"]["code"], found["error"]["details"]
            assert set(details) == DETAILS[code], found


async def everything(fuzz: Fuzz, commands: Iterator[Bad], count: int, rng: random.Random) -> None:
    """Each kind in its share, some at a time."""
    ways = rng.choices(list(SHARES), list(SHARES.values()), k=count)
    work = zip(ways, commands, strict=True)
    headers = {"Authorization": f"Bearer {fuzz.driver.child.token}"}
    async with httpx.AsyncClient(base_url=f"{fuzz.driver.child.http}/v1", headers=headers, timeout=ANSWER_S) as client:

        async def hand() -> None:
            for way, bad in work:
                match way:
                    case "request":
                        await fuzz.request(bad)
                    case "durable":
                        await fuzz.durable(bad)
                    case _:
                        await fuzz.http(bad, client)

        await asyncio.gather(*(hand() for _ in range(AT_ONCE)))


async def odd_subjects(wire: WireClient, rng: random.Random, count: int) -> None:
    """Subjects that nobody may use are dropped without an answer, those of no stream are refused by the broker."""
    tokens = ("host", "tower", "policy", NODE, "a" * 64, "G" * 64, "0" * 63, "é", "$JS", "x" * 300, "pane", "remove")
    for number in range(count):
        door = rng.choice(("req", "cmd"))
        subject = ".".join(["tower", door, NODE, *(rng.choice(tokens) for _ in range(rng.randrange(1, 8)))])
        if number % 50:
            await wire.send(publication(subject, rng.randbytes(20), reply="_INBOX.nobody"))
        else:
            with suppress(NoAnswer, NoResponders):
                await wire.ask(subject, b"{}", timeout_s=0.2)


async def garbage_on_the_http_port(child: Child, rng: random.Random, count: int) -> None:
    """No HTTP at all: the connection is ended, or answered with 400."""
    host, _, port = child.http.removeprefix("http://").rpartition(":")
    for _ in range(count):
        reader, writer = await asyncio.open_connection(host, int(port))
        lines = (
            b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n",
            b"POST /v1/commands HTTP/9.9\r\n\r\n",
            b"\0" * 5,
            b"\x16\x03\x01",
        )
        writer.write(rng.choice((rng.randbytes(300), *lines)) + b"\r\n\r\n")
        with suppress(OSError):
            writer.write_eof()
            async with asyncio.timeout(ANSWER_S):
                said = await reader.read()
            assert not said or said.split()[1][:1] in b"4", said
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", COUNTS)
async def test_bad_commands(count: int) -> None:
    rng = random.Random(7)
    commands = bad_commands(documents(count // PER_DOCUMENT, 7), count, rng)
    async with Child() as child:
        await child.start()
        book = Book()
        async with driving(child, book) as driver:
            fuzz = Fuzz(driver, rng)
            await everything(fuzz, commands, count, rng)
            await odd_subjects(driver.wire, rng, count // 20)
            await garbage_on_the_http_port(child, rng, count // 100)
            assert await create(driver), "a good command is taken afterwards"
            await check(driver)
            in_log = {
                record.envelope.commandid for record in await driver.recorded() if record.envelope.actor == "host"
            }
            assert not in_log & (fuzz.not_held - fuzz.held), "a malformed command is in the log"
            assert in_log <= fuzz.held | {sent.id for sent in book.sent}
            # Most were no commands at all, some were and are refused for what they ask.
            assert fuzz.codes["validation_failed"] >= count // 2, fuzz.codes
            assert any(code.endswith("_not_found") for code in fuzz.codes), "some were decided"
            # What was refused and recorded does not stop a read model, also where texts may hold no NUL.
            await rows_on_postgres(await driver.stored())
        await verified(child)
        said = (child.home / "tower.log").read_text()
        assert "Traceback" not in said, said[said.index("Traceback") - 500 :][:3000]
        assert await child.stop() == 0
        await child.nothing_left()
