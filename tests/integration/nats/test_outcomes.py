"""Answers go to inboxes of whoever asked and to the outcomes stream, whatever reply subject a peer names."""

import asyncio

import pytest

from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import js_api
from adapters.nats.outcomes import InboxOutcomes, may_answer
from adapters.nats.wire import WireClient, publication
from handlers.ports import Answer
from tests.integration.conftest import NODE, Connected
from tests.waiting import eventually

CONTAINER = "a" * 64
OTHER = "b" * 64
EVENT_SUBJECT = "tower.evt.local.pane.p1.created"


@pytest.fixture
async def answers(broker: EmbeddedBroker, connected: Connected) -> WireClient:
    return await connected(broker.answers_url)


async def stored(client: WireClient, stream: str) -> int:
    return (await js_api(client, f"STREAM.INFO.{stream}_{NODE}"))["state"]["messages"]


@pytest.mark.parametrize(
    ("origin", "reply_to", "answered"),
    [
        ("host", "_INBOX.abc", True),
        ("host", "_INBOX.abc.1", True),
        ("host", f"_INBOX.{CONTAINER}.1", True),
        (CONTAINER, f"_INBOX.{CONTAINER}.1", True),
        (CONTAINER, "_INBOX.abc", False),
        (CONTAINER, f"_INBOX.{OTHER}.1", False),
        (CONTAINER, f"_INBOX.{CONTAINER}", False),
        (CONTAINER, f"_INBOX.{CONTAINER}x.1", False),
        (CONTAINER, "_R_.x.y", True),
        ("tower", "_R_.x.y", False),
        ("tower", "_INBOX.abc", False),
        ("policy", "_INBOX.abc", False),
        ("host", None, False),
        ("host", "", False),
        ("host", "_INBOX", False),
        ("host", "_INBOX.", False),
        ("host", "_INBOX..a", False),
        ("host", "_INBOX.*", False),
        ("host", "_INBOX.>", False),
        ("host", "_INBOX.a b", False),
        ("host", "_INBOX.a\r\nPUB tower.evt.local.a.b.c 0", False),
        ("host", "_INBOX.a\n", False),
        ("host", "_INBOX.ä", False),
        ("host", "_INBOX." + "a" * 300, False),
        ("host", EVENT_SUBJECT, False),
        ("host", "tower.out.local.host.x", False),
        ("host", "$JS.API.STREAM.PURGE.TOWER_EVENTS_local", False),
    ],
)
def test_who_is_answered_where(origin: str, reply_to: str | None, answered: bool) -> None:
    assert may_answer(origin, reply_to) is answered


async def test_an_outcome_goes_to_the_inbox_and_into_the_stream(answers: WireClient, tower_nats: WireClient) -> None:
    outcomes = InboxOutcomes(answers, NODE)
    async with tower_nats.expecting() as (inbox, future):
        await outcomes.answer([Answer("host", "id-1", b"{1}", inbox), Answer(CONTAINER, "id-2", b"{2}", None)])
        assert (await asyncio.wait_for(future, 10)).payload == b"{1}"
    for origin, command_id, payload in (("host", "id-1", b"{1}"), (CONTAINER, "id-2", b"{2}")):

        async def kept(subject: str = f"tower.out.{NODE}.{origin}.{command_id}") -> bytes:
            request = b'{"last_by_subj":"%s"}' % subject.encode()
            return (await tower_nats.ask(f"$JS.API.DIRECT.GET.TOWER_OUTCOMES_{NODE}", request)).payload

        assert await eventually(kept, "the outcome in the stream") == payload


async def test_a_reply_subject_inside_the_log_is_not_answered(answers: WireClient, tower_nats: WireClient) -> None:
    outcomes = InboxOutcomes(answers, NODE)
    await outcomes.answer(
        [
            Answer("host", "", b"{}", EVENT_SUBJECT),
            Answer("host", "", b"{}", "tower.cmd.local.host.a.b"),
            Answer("host", "x.y z", b"{}", None),
            Answer("nobody", "id", b"{}", "_INBOX.x"),
        ]
    )
    await answers.flush()
    for stream in ("TOWER_EVENTS", "TOWER_COMMANDS", "TOWER_OUTCOMES"):
        assert await stored(tower_nats, stream) == 0


async def test_even_without_our_check_the_broker_refuses_it(answers: WireClient, tower_nats: WireClient) -> None:
    await answers.send(publication(EVENT_SUBJECT, b"{}") + publication("tower.out.local.host.id", b"{}"))
    await answers.flush()
    # The permitted one of the same write shows that both were handled.
    assert await eventually(lambda: stored(tower_nats, "TOWER_OUTCOMES")) == 1
    assert await stored(tower_nats, "TOWER_EVENTS") == 0
    assert answers.is_connected


async def test_without_a_broker_outcomes_are_dropped(answers: WireClient) -> None:
    await answers.close()
    await InboxOutcomes(answers, NODE).answer([Answer("host", "id", b"{}", "_INBOX.x")])
