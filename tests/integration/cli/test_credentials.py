"""`agenttower credentials`: what it writes opens exactly one container's door, at once, and until it is revoked."""

import json
from pathlib import Path
from typing import Any

import nats
import pytest
from nats import errors
from nats.aio.client import Client

from adapters.nats.connection import BrokerProblem, connect
from adapters.system import SystemIds
from tests.integration.cli.conftest import Desk, agenttower
from tests.waiting import eventually

CONTAINER = "c" * 64
OTHER = "d" * 64


async def connected(file: Path) -> Client:
    """Plain nats-py, as the command's output says."""
    c: dict[str, Any] = json.loads(file.read_text())  # noqa: ASYNC240  one small file

    async def quiet(_error: Exception) -> None:
        return

    return await nats.connect(
        c["connect_url"], inbox_prefix=c["inbox_prefix"].encode(), allow_reconnect=False, error_cb=quiet
    )


async def refused(file: Path) -> None:
    c: dict[str, Any] = json.loads(file.read_text())  # noqa: ASYNC240  one small file
    with pytest.raises(BrokerProblem):
        await connect(c["connect_url"], name="refused")


async def test_a_container_speaks_to_the_tower_at_once_and_nobody_is_disconnected(desk: Desk, tmp_path: Path) -> None:
    operator = await nats.connect((desk.home / "nats.url").read_text(), allow_reconnect=False)
    file = tmp_path / "bench.json"
    said = desk.ok("credentials", "issue", "--container", CONTAINER, "--out", str(file)).out
    assert str(file) in said
    assert "nats.connect(" in said
    assert file.stat().st_mode & 0o777 == 0o600
    client = await connected(file)
    answer = json.loads((await client.request(f"tower.req.local.{CONTAINER}.pane.remove", b"{}", timeout=30)).data)
    assert answer["error"]["code"] == "validation_failed"
    with pytest.raises((errors.TimeoutError, errors.NoRespondersError)):
        await client.request(f"tower.req.local.{OTHER}.pane.remove", b"{}", timeout=0.3)
    command = {
        "id": SystemIds().uuid7(),
        "data": {"container_id": OTHER, "template_name": "1m+2s", "tmux_session_name": "theirs"},
        "origin": "host",
        "actor": "host",
    }
    spoofed = await client.request(
        f"tower.req.local.{CONTAINER}.layout.create", json.dumps(command).encode(), timeout=30
    )
    assert json.loads(spoofed.data)["error"]["code"] == "validation_failed"
    del command["origin"], command["actor"]
    theirs = await client.request(
        f"tower.req.local.{CONTAINER}.layout.create", json.dumps(command).encode(), timeout=30
    )
    assert (json.loads(theirs.data)["error"]["code"], json.loads(theirs.data)["error"]["details"]) == ("host_only", {})
    desk.ok("credentials", "issue", "--container", "e" * 64, "--out", str(tmp_path / "another.json"))
    desk.ok("credentials", "revoke", "--container", "e" * 64)
    await operator.flush()
    await client.flush()
    assert operator.is_connected
    assert client.is_connected
    await operator.close()
    await client.close()


async def test_issued_again_the_old_password_is_refused_and_its_connections_are_closed(
    desk: Desk, tmp_path: Path
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    desk.json("credentials", "issue", "--container", OTHER, "--out", str(old))
    client = await connected(old)
    desk.json("credentials", "issue", "--container", OTHER, "--out", str(new))
    await eventually(lambda: client.is_closed, "the end of the old connection")
    await refused(old)
    await (await connected(new)).close()
    listed = desk.json("credentials", "list")
    assert OTHER in [row["user"] for row in listed["items"]]
    assert "password" not in json.dumps(listed)
    last = await connected(new)
    desk.ok("credentials", "revoke", "--container", OTHER)
    await eventually(lambda: last.is_closed, "the end of the last connection")
    await refused(new)
    assert desk.run("credentials", "revoke", "--container", OTHER).code == 1


async def test_an_observer_reads_and_does_nothing_else(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "observer.json"
    desk.json("credentials", "issue", "--observer", "--out", str(file))
    client = await connected(file)
    info = await client.jetstream().stream_info("TOWER_EVENTS_local")
    assert info.state.messages > 0
    with pytest.raises((errors.TimeoutError, errors.NoRespondersError)):
        await client.request("tower.req.local.host.pane.remove", b"{}", timeout=0.3)
    await client.close()


async def test_what_is_issued_while_no_tower_runs_is_in_force_at_the_next_start(own_desk: Desk, tmp_path: Path) -> None:
    own_desk.tower.stop()
    file = tmp_path / "bench.json"
    said = own_desk.ok("credentials", "issue", "--container", CONTAINER, "--out", str(file)).out
    assert "No broker runs" in said
    own_desk.tower.start()
    address = (own_desk.home / "nats.url").read_text().rpartition("@")[2]
    c = json.loads(file.read_text())
    client = await nats.connect(
        f"nats://{c['user']}:{c['password']}@{address}", inbox_prefix=c["inbox_prefix"].encode()
    )
    assert (await client.request(f"tower.req.local.{CONTAINER}.a.b", b"{}", timeout=30)).data
    await client.close()


def test_for_a_broker_of_its_own_an_account_is_printed(tmp_path: Path) -> None:
    done = agenttower(
        tmp_path,
        *("credentials", "issue", "--container", CONTAINER),
        AGENTTOWER_NATS_URL="nats://tower:secret@broker.example:4222",
    )
    assert done.code == 0, done
    assert f'"PEER-{CONTAINER}": ' in done.out
    assert "secret" not in done.out
    written = json.loads((tmp_path / "credentials" / f"{CONTAINER[:12]}.json").read_text())
    assert written["url"] == "nats://broker.example:4222"


@pytest.mark.parametrize("words", [(), ("--observer", "--container", CONTAINER)])
def test_whom_they_are_for_must_be_said(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert agenttower(tmp_path, "credentials", "issue", *words).code == 2


def test_nothing_issued_yet_is_said(tmp_path: Path) -> None:
    assert "No container has credentials" in agenttower(tmp_path, "credentials", "list").out
