"""Who is let in: token, Host, Origin, size of bodies; and what happens when an answer fails."""

import asyncio

import httpx
import pytest
import structlog

from adapters.http.browser import HostNames
from adapters.http.gate import MAX_BODY_BYTES
from adapters.system import SystemClock
from domain.errors import Rejection
from tests.integration.http.world import BEARER, TOKEN, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY = {"noun": "layout", "verb": "remove", "data": {"layout_id": "nobody"}}


async def post(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    return await client.post("/v1/commands", headers=headers, json=BODY)


async def test_the_right_token_lets_a_post_in(shared_world: World) -> None:
    assert (await post(shared_world.client, Authorization=f"Bearer {TOKEN}")).status_code == 404


WRONG = ["", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN, f"Basic {TOKEN}", f"bearer{TOKEN}"]


@pytest.mark.parametrize("given", [None, *WRONG])
async def test_no_other_token_does(shared_world: World, given: str | None) -> None:
    end = await shared_world.log.last_position()
    headers = {} if given is None else {"Authorization": given}
    answer = await post(shared_world.client, **headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "unauthorized"
    assert answer.json()["error"]["details"] == {}
    assert TOKEN not in answer.text
    assert await shared_world.log.last_position() == end


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "POST"])
async def test_only_reading_goes_without_a_token(shared_world: World, method: str) -> None:
    for path in ("/v1/layouts", "/v1/commands", "/nothing", "/healthz"):
        assert (await shared_world.client.request(method, path)).status_code == 401
    assert (await shared_world.client.get("/v1/layouts")).status_code == 200


async def test_a_wrong_token_is_refused_where_none_is_needed(shared_world: World) -> None:
    answer = await shared_world.client.get("/v1/layouts", headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401


async def test_beyond_loopback_everything_but_liveness_needs_the_token(shared_world: World) -> None:
    client = await shared_world.serve(bound_host="192.0.2.7")
    for path in ("/v1/layouts", "/v1/events", "/v1/events/stream", "/metrics", "/readyz", "/openapi.json", "/nothing"):
        assert (await client.get(path)).status_code == 401, path
    assert (await client.get("/healthz")).status_code == 200
    assert (await client.get("/v1/layouts", headers=BEARER)).status_code == 200


FOREIGN_HOSTS = ["evil.example", "evil.example:7700", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.7"]
FOREIGN_HOSTS += ["localhost@evil.example", "", "[::1", "127.0.0.1:x", "localhost/evil"]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
async def test_a_foreign_host_name_is_refused(shared_world: World, host: str) -> None:
    for headers in ({"Host": host}, {"Host": host, **BEARER}):
        answer = await shared_world.client.get("/v1/layouts", headers=headers)
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "request_refused"
        assert answer.json()["error"]["details"]["header"] == "Host"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "127.0.0.1:7700", "[::1]:7700"])
async def test_our_own_names_are_not(shared_world: World, host: str) -> None:
    assert (await shared_world.client.get("/v1/layouts", headers={"Host": host})).status_code == 200


async def test_bound_to_an_address_that_address_is_a_name_too() -> None:
    names = HostNames("192.0.2.7", {"tower.example"})
    for host in ("192.0.2.7:7700", "tower.example", "Tower.Example:7700"):
        names.check_headers({"host": host})
    with pytest.raises(Rejection):
        names.check_headers({"host": "192.0.2.8:7700"})


async def test_bound_to_all_addresses_any_address_is_but_no_name() -> None:
    names = HostNames("0.0.0.0")
    for host in ("192.0.2.7:7700", "[2001:db8::1]:7700", "localhost"):
        names.check_headers({"host": host})
    with pytest.raises(Rejection):
        names.check_headers({"host": "evil.example"})


async def test_pages_of_other_sites_are_refused_even_with_the_token(shared_world: World) -> None:
    end = await shared_world.log.last_position()
    port = shared_world.client.base_url.port
    foreign = [
        "http://evil.example",
        "null",
        "",
        f"http://localhost:{port}",
        "http://127.0.0.1",
        f"ftp://127.0.0.1:{port}",
    ]
    for origin in foreign:
        for request in (post(shared_world.client, Origin=origin, **BEARER), get(shared_world.client, Origin=origin)):
            answer = await request
            assert answer.status_code == 403, origin
            assert answer.json()["error"]["details"]["header"] == "Origin"
    assert await shared_world.log.last_position() == end


async def get(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    return await client.get("/v1/layouts", headers=headers)


async def test_our_own_pages_are_served_and_no_others_are_named(shared_world: World) -> None:
    answer = await get(shared_world.client, Origin=shared_world.url)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers


async def test_a_body_over_the_limit_is_refused_by_its_length(shared_world: World) -> None:
    answer = await shared_world.client.post("/v1/commands", headers=BEARER, content=b"x" * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"
    assert answer.json()["error"]["details"] == {"limit_bytes": MAX_BODY_BYTES}


async def test_a_body_over_the_limit_is_refused_without_a_length(shared_world: World) -> None:
    async def chunks():
        for _ in range(80):
            yield b"x" * 65536

    answer = await shared_world.client.post("/v1/commands", headers=BEARER, content=chunks())
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


async def test_a_body_at_the_limit_is_read(shared_world: World) -> None:
    answer = await shared_world.client.post("/v1/commands", headers=BEARER, content=b" " * MAX_BODY_BYTES)
    assert answer.status_code == 422


async def test_a_length_that_is_declared_too_large_is_refused_before_the_body(shared_world: World) -> None:
    port = shared_world.client.base_url.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = ["POST /v1/commands HTTP/1.1", "Host: localhost", f"Authorization: Bearer {TOKEN}"]
    writer.write("\r\n".join([*lines, "Content-Length: 99999999999", "", ""]).encode())
    async with asyncio.timeout(10):
        assert await reader.readline() == b"HTTP/1.1 413 Request Entity Too Large\r\n"
    writer.close()
    await writer.wait_closed()


async def test_a_failure_says_nothing_of_itself(shared_world: World) -> None:
    async def failing() -> int:
        raise ZeroDivisionError("a secret of the inside")

    client = await shared_world.serve(last_position=failing)
    with structlog.testing.capture_logs() as lines:
        answer = await client.get("/v1/events/stream")
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert line["path"] == "/v1/events/stream"
    assert line["exc_info"]
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert error["code"] == "internal_error"
    assert error["details"] == {}
    assert "Zero" not in answer.text
    assert "secret" not in answer.text


async def test_requests_one_after_another_do_not_wait_for_timers(shared_world: World) -> None:
    """Answers in two writes would wait 40 ms each for a delayed acknowledgement."""
    clock, client = SystemClock(), shared_world.client
    await client.get("/healthz")
    times: list[float] = []
    for _ in range(25):
        started = clock.monotonic()
        await client.get("/healthz")
        times.append(clock.monotonic() - started)
    assert sorted(times)[len(times) // 2] < 0.035
