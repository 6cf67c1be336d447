"""`POST /v1/hooks/{name}`: what is signed right fires once, what is not leaves no trace."""

import asyncio
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from adapters.http.gate import MAX_BODY_BYTES
from adapters.system import SystemClock
from adapters.triggers.deliveries import Deliveries
from adapters.triggers.webhooks import Webhook, WebhookDoor
from handlers.trigger_ports import Firing, TriggerProblem
from tests.integration.http.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = b"what both sides know"


def signature(body: bytes, secret: bytes = SECRET) -> str:
    return f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"


class Hooks:
    """A server with a door, triggers behind it, and what they told. `outcome`: what each firing becomes."""

    def __init__(self, world: World, tmp_path: Path) -> None:
        self._world = world
        self._tmp_path = tmp_path
        self._tasks: list[asyncio.Task[None]] = []
        self._sources: list[Webhook] = []
        self.counted: Counter[str] = Counter()
        self.fired: list[Firing] = []
        self.outcome: Mapping[str, Any] = {"status": "accepted", "result": {}, "replay": False}
        self.deliveries = Deliveries(tmp_path / "deliveries.sqlite")
        self.door = WebhookDoor(lambda fate: self.counted.update([fate]))
        (tmp_path / "secret").write_bytes(SECRET + b"\n")

    async def start(self) -> None:
        self.client = await self._world.serve(hook=self.door.take)

    async def add(self, background: str = "deploy", **config: Any) -> Webhook:
        source = Webhook(self.door, self.deliveries, SystemClock(), background=background)
        given = {"secret_file": "secret", **config}
        source.configure(
            {key: value for key, value in given.items() if value is not None},
            folder=str(self._tmp_path),
            state=self._tmp_path / "state",
        )
        self._sources.append(source)
        self._tasks.append(asyncio.create_task(self._take(source)))
        async with asyncio.timeout(10):
            await source.watching()
        return source

    async def _take(self, source: Webhook) -> None:
        async for firing in source.watch():
            self.fired.append(firing)
            assert firing.after is not None
            await firing.after(self.outcome)

    async def post(self, body: bytes | dict[str, Any], name: str = "deploy", **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        signed = {"X-Hub-Signature-256": signature(content)} | {key.replace("_", "-"): v for key, v in headers.items()}
        return await self.client.post(f"/v1/hooks/{name}", content=content, headers=signed)

    async def end(self) -> None:
        for source in self._sources:
            await source.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.deliveries.close()


@pytest_asyncio.fixture(loop_scope="module")
async def hooks(shared_world: World, tmp_path: Path) -> AsyncIterator[Hooks]:
    async with AsyncExitStack() as stack:
        made = Hooks(shared_world, tmp_path)
        stack.push_async_callback(made.end)
        await made.start()
        yield made


async def test_a_signed_delivery_fires_with_its_body_and_needs_no_token(hooks: Hooks) -> None:
    await hooks.add()
    answer = await hooks.post({"issue": {"number": 7}}, X_GitHub_Delivery="d-1", Host="hooks.example.org")
    assert (answer.status_code, answer.json()) == (200, {"fired": 1, "replay": False})
    firing = hooks.fired[0]
    assert (firing.data, firing.source, firing.id) == ({"issue": {"number": 7}}, "webhook:deploy", "deploy:d-1")
    assert SECRET.decode() not in str(firing)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "sha256=",
        "sha256=" + "0" * 64,
        signature(b"{}", b"another secret"),
        signature(b"{} "),
        signature(b"{}").removeprefix("sha256="),
        signature(b"{}").replace("sha256", "sha1"),
        "sha256=\u00e9",
    ],
)
async def test_a_wrong_signature_is_401_and_a_figure(hooks: Hooks, given: str) -> None:
    await hooks.add()
    headers = {b"X-Hub-Signature-256": given.encode("latin-1")}
    answer = await hooks.client.post("/v1/hooks/deploy", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    assert hooks.fired == []
    assert hooks.counted == {"refused": 1}


async def test_a_name_that_nobody_listens_to_looks_the_same(hooks: Hooks) -> None:
    answer = await hooks.post({}, name="nobody")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")


async def test_a_delivery_that_comes_again_is_taken_once_for_ever(hooks: Hooks, tmp_path: Path) -> None:
    source = await hooks.add()
    assert (await hooks.post({"n": 1}, X_GitHub_Delivery="d-1")).json() == {"fired": 1, "replay": False}
    assert (await hooks.post({"n": 1}, X_GitHub_Delivery="d-1")).json() == {"fired": 0, "replay": True}
    await source.stop()
    hooks.deliveries.close()
    hooks.deliveries = Deliveries(tmp_path / "deliveries.sqlite")
    await hooks.add()
    assert (await hooks.post({"n": 1}, X_GitHub_Delivery="d-1")).json() == {"fired": 0, "replay": True}
    assert (await hooks.post({"n": 2}, X_GitHub_Delivery="d-2")).json() == {"fired": 1, "replay": False}
    assert [firing.data for firing in hooks.fired] == [{"n": 1}, {"n": 2}]


async def test_one_that_was_not_recorded_may_come_again(hooks: Hooks) -> None:
    await hooks.add()
    accepted = hooks.outcome
    hooks.outcome = {"status": "rejected", "error": {"code": "tower_busy", "message": "", "details": {}}}
    assert (await hooks.post({}, X_GitHub_Delivery="d-1")).status_code == 503
    hooks.outcome = accepted
    assert (await hooks.post({}, X_GitHub_Delivery="d-1")).json() == {"fired": 1, "replay": False}


async def test_a_body_has_at_most_a_mebibyte(hooks: Hooks) -> None:
    await hooks.add()
    assert (await hooks.post(b"x" * MAX_BODY_BYTES)).status_code == 200
    answer = await hooks.post(b"x" * (MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert len(hooks.fired) == 1


async def test_a_long_body_is_kept_as_a_file(hooks: Hooks) -> None:
    await hooks.add()
    body = json.dumps({"text": "x" * 300_000}).encode()
    assert (await hooks.post(body)).status_code == 200
    data = hooks.fired[0].data
    assert data["body_bytes"] == len(body)
    assert await asyncio.to_thread(Path(data["body_file"]).read_bytes) == body


async def test_what_is_no_json_object_is_told_as_body(hooks: Hooks) -> None:
    await hooks.add()
    for body in (b"plain \xff text", b"[1, 2]", b""):
        assert (await hooks.post(body)).status_code == 200
    assert [firing.data for firing in hooks.fired] == [{"body": "plain \\xff text"}, {"body": [1, 2]}, {"body": ""}]


async def test_header_names_and_kinds_of_events_can_be_set(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_OF_TESTS", "other")
    config = {"secret_file": None, "secret_env": "HOOK_OF_TESTS", "header": "X-Signed", "delivery_header": "X-Id"}
    await hooks.add(**config, name="ci", event_header="X-Kind", events=["push"])
    signed = signature(b"{}", b"other")
    for kind, fired in (("push", 1), ("ping", 0)):
        answer = await hooks.post(b"{}", name="ci", X_Signed=signed, X_Id=kind, X_Kind=kind)
        assert answer.json() == {"fired": fired, "replay": False}
    assert [firing.id for firing in hooks.fired] == ["ci:push"]


async def test_two_triggers_of_one_name_each_have_their_own_secret(hooks: Hooks, tmp_path: Path) -> None:
    (tmp_path / "second").write_bytes(b"second")
    await hooks.add("one", name="both")
    await hooks.add("two", name="both", secret_file="second")
    assert (await hooks.post(b"{}", name="both")).json()["fired"] == 1
    answer = await hooks.post(b"{}", name="both", X_Hub_Signature_256=signature(b"{}", b"second"))
    assert answer.json()["fired"] == 1
    assert len(hooks.fired) == 2


async def test_a_secret_that_is_turned_is_the_new_one_at_once(hooks: Hooks, tmp_path: Path) -> None:
    await hooks.add()
    (tmp_path / "secret").write_bytes(b"turned")
    assert (await hooks.post(b"{}")).status_code == 401
    assert (await hooks.post(b"{}", X_Hub_Signature_256=signature(b"{}", b"turned"))).status_code == 200


async def test_after_its_stop_nobody_takes_it(hooks: Hooks) -> None:
    source = await hooks.add()
    await source.stop()
    assert (await hooks.post(b"{}")).status_code == 401


async def test_only_posts_are_let_in_without_a_token(hooks: Hooks) -> None:
    answer = await hooks.client.get("/v1/hooks/deploy", headers={"Host": "elsewhere.example"})
    assert answer.status_code == 403
    assert (await hooks.client.delete("/v1/hooks/deploy")).status_code == 401


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({}, "secret_file"),
        ({"secret_file": "a", "secret_env": "B"}, "secret_file"),
        ({"secret": "plain"}, "secret"),
        ({"secret_file": "a", "name": "a/b"}, "name"),
    ],
)
async def test_a_wrong_config_is_refused_by_field(
    config: dict[str, Any], field: str, hooks: Hooks, tmp_path: Path
) -> None:
    source = Webhook(hooks.door, hooks.deliveries, SystemClock(), background="b")
    with pytest.raises(TriggerProblem) as refused:
        source.configure(config, folder=str(tmp_path), state=tmp_path)
    assert refused.value.field == field


async def test_without_its_secret_it_does_not_begin(hooks: Hooks, tmp_path: Path) -> None:
    source = Webhook(hooks.door, hooks.deliveries, SystemClock(), background="b")
    source.configure({"secret_file": "missing"}, folder=str(tmp_path), state=tmp_path)
    with pytest.raises(TriggerProblem, match="cannot be read"):
        await anext(source.watch())
