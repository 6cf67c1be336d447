"""`agenttower audit verify`: an untouched log verifies, a touched one is named at its first wrong position, quickly."""

import json
from collections.abc import AsyncGenerator, Sequence

import msgspec
import pytest

from adapters.cli.chain import Verdict, verified
from adapters.nats.connection import connect
from adapters.nats.log import JetStreamLog
from adapters.nats.wire import WireClient
from domain.envelope import CHAIN_HEADER, GENESIS, Stored, link
from handlers.ports import Entry
from tests.integration.cli.conftest import Desk, Terminal

EVENTS = 20_000
AT_LEAST_PER_S = 2_000
"""Of a busy machine; `make bench` measures it."""


def chained(payloads: Sequence[bytes], chain: bytes = GENESIS) -> list[Entry]:
    entries: list[Entry] = []
    for payload in payloads:
        chain = link(chain, payload)
        entries.append(Entry("tower.evt.local.pane.x.y", payload, {CHAIN_HEADER: chain.hex()}))
    return entries


async def filled(log: JetStreamLog, entries: Sequence[Entry]) -> None:
    for start in range(0, len(entries), 1000):
        await log.append(entries[start : start + 1000], expected_last=start)


async def verdict_on(log: object, first: int | None = None, last: int | None = None) -> Verdict:
    return await verified(log, first, last, lambda done, total: None)


def payloads(count: int) -> list[bytes]:
    return [msgspec.json.encode({"number": number, "text": "x" * 400}) for number in range(1, count + 1)]


async def test_an_untouched_log_of_many_events_verifies_quickly(event_log: JetStreamLog) -> None:
    entries = chained(payloads(EVENTS))
    await filled(event_log, entries)
    verdict = await verdict_on(event_log)
    assert verdict.broken is None
    assert (verdict.first, verdict.last, verdict.events) == (1, EVENTS, EVENTS)
    assert verdict.chain == entries[-1].headers[CHAIN_HEADER]
    assert verdict.events / verdict.elapsed_s > AT_LEAST_PER_S


async def test_a_part_is_anchored_at_the_event_before_it(event_log: JetStreamLog) -> None:
    entries = chained(payloads(30))
    await filled(event_log, entries)
    verdict = await verdict_on(event_log, 11, 20)
    assert verdict.broken is None
    assert (verdict.first, verdict.last, verdict.events, verdict.anchor) == (11, 20, 10, 10)
    assert verdict.chain == entries[19].headers[CHAIN_HEADER]
    beyond = await verdict_on(event_log, 11, 99)
    assert (beyond.last, beyond.broken) == (30, None)


async def test_an_empty_log_verifies(event_log: JetStreamLog) -> None:
    verdict = await verdict_on(event_log)
    assert verdict.broken is None
    assert verdict.events == 0


@pytest.mark.parametrize("change", ["payload", "header", "no header", "order"])
async def test_the_first_wrong_position_is_named(event_log: JetStreamLog, change: str) -> None:
    entries = chained(payloads(20))
    wrong = entries[9]
    if change == "payload":
        entries[9] = Entry(wrong.subject, wrong.payload + b" ", wrong.headers)
    elif change == "header":
        entries[9] = Entry(wrong.subject, wrong.payload, {CHAIN_HEADER: "00" * 32})
    elif change == "no header":
        entries[9] = Entry(wrong.subject, wrong.payload, {})
    else:
        entries[9], entries[10] = entries[10], entries[9]
    await filled(event_log, entries)
    verdict = await verdict_on(event_log)
    assert verdict.broken is not None
    assert verdict.broken.position == 10
    assert verdict.events == 9
    before = await verdict_on(event_log, None, 9)
    assert before.broken is None


async def test_a_rewritten_tail_shows_against_a_chain_value_that_was_noted(event_log: JetStreamLog) -> None:
    """Whoever may rewrite everything from a position on can make the chain fit again: its last value then differs."""
    honest = chained(payloads(20))
    forged = [*honest[:9], *chained([b'{"forged":1}'], bytes.fromhex(honest[8].headers[CHAIN_HEADER]))]
    await filled(event_log, forged)
    verdict = await verdict_on(event_log)
    assert verdict.broken is None
    assert verdict.chain != honest[9].headers[CHAIN_HEADER]


class Missing(JetStreamLog):
    """The real log without one position: the stream forbids its deletion."""

    def __init__(self, client: WireClient, position: int) -> None:
        super().__init__(client, "local")
        self._position = position

    async def read(self, after: int, until: int | None = None) -> AsyncGenerator[Sequence[Stored], None]:
        async for batch in super().read(after, until):
            yield [stored for stored in batch if stored.position != self._position]


async def test_a_missing_event_is_named(event_log: JetStreamLog, tower_nats: WireClient) -> None:
    await filled(event_log, chained(payloads(20)))
    verdict = await verdict_on(Missing(tower_nats, 7))
    assert verdict.broken is not None
    assert verdict.broken.position == 7
    assert "1 events are gone" in verdict.broken.reason
    end = await verdict_on(Missing(tower_nats, 20))
    assert end.broken is not None
    assert end.broken.position == 20


# --- on a tower ----------------------------------------------------------------------------------------------------


def test_verify_says_how_much_it_read(desk: Desk, terminal: Terminal) -> None:
    desk.layout()
    end = desk.json("status")["position"]
    done = desk.ok("audit", "verify")
    assert done.out.startswith(f"The audit log is unbroken: {end} events, positions 1 to {end}, in ")
    found = desk.json("audit", "verify", "--from", "3", "--to", "9")
    assert (found["ok"], found["first"], found["last"], found["events"], found["anchor"]) == (True, 3, 9, 7, 2)
    assert len(found["chain"]) == 64
    lines = terminal.agenttower(desk.home, "audit", "verify")
    assert lines[0].startswith("The audit log is unbroken")


async def test_an_event_that_the_tower_did_not_write_is_named(own_desk: Desk) -> None:
    own_desk.layout()
    assert own_desk.json("audit", "verify")["foreign"] == []
    passwords = json.loads((own_desk.home / "nats" / "users.json").read_bytes())
    operator = (own_desk.home / "nats.url").read_text()
    url = f"nats://tower:{passwords['tower']}@{operator.rpartition('@')[2]}"
    client = await connect(url, name="intruder")
    log = JetStreamLog(client, "local")
    end = await log.last_position()
    await log.append([Entry("tower.evt.local.pane.x.y", b"{}", {})], expected_last=end)
    await client.close()
    done = own_desk.run("audit", "verify", "--json")
    assert done.code == 1
    assert json.loads(done.out)["broken"] is None
    assert '"code": "audit_foreign_entry"' in done.err
    assert f"position {end + 1}, tower.evt.local.pane.x.y: it carries no Tower-Chain header" in done.err
    # The tower passes over it, and the log says so.
    own_desk.layout()
    found = own_desk.json("audit", "verify")
    assert (found["ok"], found["broken"]) == (True, None)
    assert [(entry["position"], entry["recorded"]) for entry in found["foreign"]] == [(end + 1, True)]
    shown = own_desk.ok("audit", "verify").out
    assert f"foreign entry at {end + 1}, recorded as such: tower.evt.local.pane.x.y" in shown
    (event,) = own_desk.json("events", "query", "--type", "node.foreign_entries_found")["items"]
    assert (event["data"]["position"], event["data"]["subject"]) == (end + 1, "tower.evt.local.pane.x.y")
    assert own_desk.json("projections", "list")["items"][0]["state"] == "running"
