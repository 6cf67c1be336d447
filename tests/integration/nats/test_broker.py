"""The embedded broker: ready, private, back after a crash, gone with its tower."""

import asyncio
import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from adapters.nats.broker import BrokerFailed, EmbeddedBroker
from adapters.nats.connection import BrokerProblem, check_broker, connect, without_credentials
from adapters.nats.disk import DiskWatch
from adapters.nats.log import JetStreamLog
from adapters.nats.server_config import container_user
from adapters.nats.store_lock import StoreLocked
from adapters.nats.streams import ensure_streams
from adapters.nats.wire import WireClient
from handlers.ports import Entry
from tests.integration.conftest import NODE, Connected
from tests.waiting import eventually

TOWER = """
import asyncio, os, sys
from pathlib import Path
from adapters.nats.broker import EmbeddedBroker

async def main():
    async with EmbeddedBroker(Path(sys.argv[1]), "local") as broker:
        print(broker.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def alive(pid: int) -> bool:
    """Running; a zombie that nobody has waited for has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def command_line(pid: int | None) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestStart:
    async def test_it_answers_when_start_returns(self, broker: EmbeddedBroker, connected: Connected) -> None:
        client = await connected(broker.tower_url)
        await check_broker(client)
        assert client.server["host"] == "127.0.0.1"

    async def test_secrets_are_in_private_files_and_last(self, short_tmp: Path) -> None:
        async with EmbeddedBroker(short_tmp, NODE) as broker:
            first = broker.tower_url
            folder = short_tmp / "nats"
            assert mode(folder) == 0o700
            assert mode(folder / "users.json") == mode(folder / "server.conf") == mode(folder / "tower.lock") == 0o600
            password = first.split(":")[2].split("@")[0]
            assert len(password) >= 32
            log = (folder / "server.log").read_text() + (folder / "server.out").read_text()
            assert password not in log
            assert password not in command_line(broker.pid)
        async with EmbeddedBroker(short_tmp, NODE) as broker:
            assert broker.tower_url.split("@")[0] == first.split("@")[0]

    async def test_acknowledged_means_on_disk(self, broker: EmbeddedBroker) -> None:
        assert '"sync_interval": "always"' in (broker.log_path.parent / "server.conf").read_text()

    async def test_a_fixed_port_and_address(self, short_tmp: Path, connected: Connected) -> None:
        async with EmbeddedBroker(short_tmp / "a", NODE) as first:
            port = first.port
        async with EmbeddedBroker(short_tmp / "b", NODE, listen=f"127.0.0.2:{port}") as broker:
            assert broker.tower_url.endswith(f"@127.0.0.2:{port}")
            await check_broker(await connected(broker.tower_url))
            with pytest.raises(BrokerFailed, match="address already in use"):
                await EmbeddedBroker(short_tmp / "c", NODE, listen=f"127.0.0.2:{port}").start()

    async def test_after_a_failed_start_the_store_is_free(self, short_tmp: Path) -> None:
        with pytest.raises(BrokerFailed):
            await EmbeddedBroker(short_tmp, NODE, listen="203.0.113.7:4000").start()
        async with EmbeddedBroker(short_tmp, NODE) as broker:
            assert broker.pid is not None


class TestStop:
    async def test_the_server_is_gone_and_its_data_stays(self, short_tmp: Path) -> None:
        for round_number in range(3):
            async with EmbeddedBroker(short_tmp, NODE) as broker:
                pid = broker.pid
                client = await connect(broker.tower_url, name="test")
                assert await ensure_streams(client, NODE) == []
                log = JetStreamLog(client, NODE)
                assert await log.last_position() == round_number
                await log.append([Entry("tower.evt.local.a.b.c", b"x", {})], expected_last=round_number)
                await client.close()
            assert pid is not None
            assert not alive(pid)


class TestCrash:
    async def test_it_comes_back_on_its_port_with_its_data(
        self, broker: EmbeddedBroker, tower_nats: WireClient
    ) -> None:
        log = JetStreamLog(tower_nats, NODE)
        last = await log.append([Entry("tower.evt.local.a.b.c", b"x", {})] * 3, expected_last=0)
        port = broker.port
        for restarts in (1, 2):
            pid = broker.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda: not tower_nats.is_connected, "the lost connection")
            await eventually(lambda count=restarts: broker.restarts == count, "the restart")
            await broker.wait_ready()
            assert broker.port == port
            assert broker.pid not in (None, pid)
            await eventually(lambda: tower_nats.is_connected, "the reconnect")
            assert await log.last_position() == last
            last = await log.append([Entry("tower.evt.local.a.b.c", b"y", {})], expected_last=last)

    async def test_a_server_that_cannot_start_is_tried_again(self, broker: EmbeddedBroker, short_tmp: Path) -> None:
        config = short_tmp / "nats" / "server.conf"
        text = config.read_text()
        config.write_text("nonsense {")
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        out = short_tmp / "nats" / "server.out"
        await eventually(lambda: "Parse error" in out.read_text(), "the failed start")
        config.write_text(text)
        await broker.wait_ready(60)
        assert broker.restarts == 1

    async def test_stopping_while_it_is_down(self, short_tmp: Path) -> None:
        broker = EmbeddedBroker(short_tmp, NODE)
        await broker.start()
        (short_tmp / "nats" / "server.conf").write_text("nonsense {")
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        await eventually(lambda: broker.pid is None, "the end of the server")
        await asyncio.wait_for(broker.stop(), 10)
        async with EmbeddedBroker(short_tmp, NODE) as again:
            assert again.pid is not None


class TestTowerKilled:
    async def test_the_broker_ends_with_its_tower_and_the_store_is_free(self, short_tmp: Path) -> None:
        for _ in range(2):
            tower = await asyncio.create_subprocess_exec(
                sys.executable, "-c", TOWER, str(short_tmp), stdout=asyncio.subprocess.PIPE
            )
            assert tower.stdout is not None
            broker_pid = int(await asyncio.wait_for(tower.stdout.readline(), 30))
            assert alive(broker_pid)
            tower.kill()
            await tower.wait()
            await eventually(lambda pid=broker_pid: not alive(pid), "the end of the broker")

    async def test_a_second_start_on_the_store_names_the_holder(self, short_tmp: Path) -> None:
        tower = await asyncio.create_subprocess_exec(
            sys.executable, "-c", TOWER, str(short_tmp), stdout=asyncio.subprocess.PIPE
        )
        assert tower.stdout is not None
        await asyncio.wait_for(tower.stdout.readline(), 30)
        with pytest.raises(StoreLocked, match=rf"in use by process {tower.pid}\b"):
            await EmbeddedBroker(short_tmp, NODE).start()
        tower.kill()
        await tower.wait()
        # Its broker may still be closing the store: a start waits for it instead of failing.
        async with EmbeddedBroker(short_tmp, NODE) as broker:
            assert broker.pid is not None

    async def test_in_one_process_too(self, broker: EmbeddedBroker, short_tmp: Path) -> None:
        with pytest.raises(StoreLocked, match=rf"in use by process {os.getpid()}\b"):
            await EmbeddedBroker(short_tmp, NODE).start()
        assert broker.pid is not None

    def test_only_the_main_thread_may_start_it(self, short_tmp: Path) -> None:
        async def elsewhere() -> None:
            await asyncio.to_thread(asyncio.run, EmbeddedBroker(short_tmp, NODE).start())

        with pytest.raises(RuntimeError, match="main thread"):
            asyncio.run(elsewhere())


class TestReload:
    async def test_a_user_is_added_without_a_disconnection(
        self, broker: EmbeddedBroker, tower_nats: WireClient, connected: Connected
    ) -> None:
        container = "c" * 64
        await broker.reload([container_user(NODE, container, "secret")])
        client = await connected(broker.url(container), inbox_prefix=f"_INBOX.{container}")
        assert client.is_connected
        assert tower_nats.stats["reconnects"] == 0


class TestDisk:
    def test_appends_are_refused_while_little_is_left(self, short_tmp: Path) -> None:
        space = [(10**12, 10**9), (10**12, 10**7), (10**8, 10**7), (10**8, 10**6)]
        watch = DiskWatch(short_tmp, lambda _path: space.pop(0))
        assert watch.shortage() is None
        assert watch.shortage() == f"only 9765 KiB are free on the disk of {short_tmp}"
        assert watch.shortage() is None
        assert "976 KiB" in (watch.shortage() or "")

    def test_a_restart_is_due_once_there_is_room_again(self, short_tmp: Path) -> None:
        free = [10**9, 10**7, 10**9, 10**3, 10**3, 10**7, 10**9, 10**9]
        watch = DiskWatch(short_tmp, lambda _path: (10**12, free.pop(0)))
        assert [watch.is_over() for _ in list(free)] == [False] * 6 + [True, False]

    async def test_the_real_disk_has_room(self, broker: EmbeddedBroker) -> None:
        assert broker.shortage() is None


class TestConnecting:
    async def test_what_is_missing_is_said_plainly(self, broker: EmbeddedBroker, connected: Connected) -> None:
        with pytest.raises(BrokerProblem, match=r"cannot connect .*127\.0\.0\.1:1: .*refused|Connect call failed"):
            await connect("nats://user:hidden@127.0.0.1:1", name="test")
        with pytest.raises(BrokerProblem, match="Authorization Violation") as refused:
            await connect(f"nats://tower:hidden@127.0.0.1:{broker.port}", name="test")
        assert "hidden" not in str(refused.value)
        with pytest.raises(BrokerProblem, match="may not use it"):
            await check_broker(await connected(broker.answers_url), timeout_s=0.5)

    async def test_old_and_bare_brokers_are_refused(self, broker: EmbeddedBroker, connected: Connected) -> None:
        client = await connected(broker.tower_url)
        client.server["version"] = "2.12.3"
        with pytest.raises(BrokerProblem, match=r"nats-server 2\.12\.3; AgentTower needs 2\.14 or newer"):
            await check_broker(client)
        client.server.update(version="2.14.0", jetstream=False)
        with pytest.raises(BrokerProblem, match="without JetStream"):
            await check_broker(client)

    def test_credentials_are_not_shown(self) -> None:
        assert without_credentials("nats://a:b@h:1,tls://c:d@i:2 x") == ("nats://<redacted>@h:1,tls://<redacted>@i:2 x")

    async def test_one_of_several_addresses_is_enough(self, broker: EmbeddedBroker, connected: Connected) -> None:
        client = await connected(f"nats://127.0.0.1:1,{broker.tower_url}")
        assert client.is_connected
