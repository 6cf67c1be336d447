"""What happens to a tower before it is to die at a crash point: which story reaches which point.

A story is told on a home where others were told before. `prepare` runs first, without a crash point, and leaves no
tower running; then a tower starts that carries the point, and `tell` acts until that tower has died.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from typing import Any

from adapters.cli.child_tower import NO_ENGINE
from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import connect, js_api
from adapters.nats.subjects import events_stream, timers_stream
from adapters.nats.wire import WireClient
from domain.layouts.state import PaneState
from domain.tower import Tower
from tests.faults.book import Book, Driver, driving
from tests.faults.check import at_rest
from tests.faults.child import NODE, Child, Died
from tests.faults.words import type_into
from tests.integration.containers.engines import podman
from tests.needs import need
from tests.waiting import eventually

LINGERS_S = 30.0
STALE_S = 400.0
"""Older than a pending marker may be."""


GUARDED = """\
name: guarded
panes: [{role: master, capability: plan, label: "g{n}", restart: on_failure}]
"""


class Story:
    """`prepare` and `tidy` are for what surrounds the tower; `tell` raises `Died` when the point was reached."""

    async def prepare(self, child: Child, book: Book) -> None: ...

    async def tell(self, driver: Driver) -> None: ...

    async def tidy(self, child: Child) -> None: ...


async def create(driver: Driver, *, door: Any = "request", **fields: Any) -> list[str]:
    """A layout of three panes in a fresh session; their ids. Empty when it got no answer."""
    name = f"s{len(driver.book.sent)}"
    data = {"container_id": "host", "template_name": "1m+2s", "tmux_session_name": name, **fields}
    sent = await driver.ask("layout", "create", data, door=door)
    return [pane["pane_id"] for pane in sent.result["panes"]] if sent.result else []


async def ready(driver: Driver) -> list[str]:
    """A layout that has come to rest."""
    panes = await create(driver)
    await driver.or_died(at_rest(driver))
    return panes


async def adopted(driver: Driver) -> None:
    """A pane of the operator's own, and the command that makes an agent of it."""
    name = f"own{len(driver.book.sent)}"
    made = await asyncio.to_thread(driver.child.tmux, "new-session", "-d", "-P", "-F", "#{pane_id}", "-s", name)
    data = {"container_id": "host", "tmux_pane_id": made.strip(), "label": name}
    await driver.ask("agent", "adopt", data)


async def state_of(driver: Driver) -> Tower:
    return await driver.or_died(driver.state())


async def linger(driver: Driver) -> None:
    """Give the point time to be reached."""
    try:
        async with asyncio.timeout(LINGERS_S):
            await driver.child.died.wait()
    except TimeoutError:
        return
    raise await driver.child.ended()


async def a_life(child: Child, book: Book) -> None:
    """A tower without a crash point makes a layout and is killed."""
    await child.start()
    async with driving(child, book) as driver:
        await ready(driver)
    await child.kill()


class Life(Story):
    """Created through both doors, asked again, broken, removed, recreated, removed as a whole, with an adopted agent
    beside; then a clean stop."""

    async def tell(self, driver: Driver) -> None:
        first = await create(driver, working_dir=str(driver.child.home))
        first_sent = driver.book.sent[-1]
        second = await create(driver, door="durable")
        second_sent = driver.book.sent[-1]
        await driver.or_died(at_rest(driver))
        await driver.or_died(driver.again(first_sent))
        await adopted(driver)
        if first:
            await type_into(driver, first[1])
            await driver.or_died(_killed_process(driver, first[1]))
            await driver.ask("pane", "remove", {"pane_id": first[0]}, door="durable")
            await driver.or_died(at_rest(driver))
            await driver.ask("pane", "recreate", {"predecessor_pane_id": first[0]})
        if second and second_sent.result is not None:
            await driver.ask("layout", "remove", {"layout_id": second_sent.result["layout_id"]})
        await driver.or_died(at_rest(driver))


async def _killed_process(driver: Driver, pane_id: str) -> None:
    """SIGKILL what runs in a pane, and wait until the tower has seen it."""
    for pane in driver.child.panes():
        if pane.pane_id == pane_id:
            driver.child.hit(pane, whole=False)

    async def seen() -> bool:
        state = await driver.state()
        return state.layouts.panes[pane_id].state is not PaneState.READY

    await eventually(seen, "the death is recorded")


class Lingering(Life):
    async def tell(self, driver: Driver) -> None:
        await super().tell(driver)
        await linger(driver)


class Due(Story):
    """The sweep's timer fires."""

    async def tell(self, driver: Driver) -> None:
        await driver.or_died(driver.wire.ask(f"tower.due.{NODE}.sweep", b"{}"))
        await linger(driver)


class Vanishing(Story):
    """Most panes are gone at once while their tmux server lives."""

    async def tell(self, driver: Driver) -> None:
        await ready(driver)
        await asyncio.to_thread(_kill_panes, driver.child)
        await linger(driver)


def _kill_panes(child: Child) -> None:
    """All by one command, so that nobody sees some of them gone."""
    child.tmux("new-session", "-d", "-s", f"theirs{child.starts}")
    child.tmux(*(word for pane in child.panes() for word in ("kill-pane", "-t", pane.tmux_pane_id, ";")))


class Lost(Story):
    """Most panes went while no tower ran."""

    async def prepare(self, child: Child, book: Book) -> None:
        await a_life(child, book)
        await asyncio.to_thread(_kill_panes, child)

    async def tell(self, driver: Driver) -> None:
        await linger(driver)


class Remains(Story):
    """A tower died between the removal of a pane and its end in tmux."""

    async def prepare(self, child: Child, book: Book) -> None:
        await child.start(crash_at="spawning.kill.kill_pane.before")
        async with driving(child, book) as driver:
            try:
                panes = await ready(driver)
                await driver.ask("pane", "remove", {"pane_id": panes[0]})
                await linger(driver)
            except Died:
                return
        raise AssertionError("the pane was killed after all")


class FrozenAtStart(Story):
    """The tmux server does not answer when the tower starts."""

    async def prepare(self, child: Child, book: Book) -> None:
        await a_life(child, book)
        child.freeze_tmux()

    async def tell(self, driver: Driver) -> None:
        await linger(driver)

    async def tidy(self, child: Child) -> None:
        child.thaw_tmux()


class Frozen(Story):
    """It stops answering while a layout is made and others are watched."""

    async def tell(self, driver: Driver) -> None:
        await ready(driver)
        driver.child.freeze_tmux()
        await create(driver)
        await linger(driver)

    async def tidy(self, child: Child) -> None:
        child.thaw_tmux()


class Joined(Story):
    """A pane is recreated in a session that only a pane of the operator's own kept alive."""

    async def tell(self, driver: Driver) -> None:
        panes = await ready(driver)
        mine = [pane for pane in driver.child.panes() if pane.pane_id in panes]
        driver.child.tmux("new-window", "-d", "-t", f"{mine[0].session}:")
        for pane in mine:
            driver.child.tmux("kill-pane", "-t", pane.tmux_pane_id)

        async def failed() -> bool:
            state = await driver.state()
            return all(state.layouts.panes[pane_id].state is PaneState.FAILED for pane_id in panes)

        await driver.or_died(eventually(failed, "all are failed"))
        await driver.ask("pane", "recreate", {"predecessor_pane_id": panes[0]})
        await linger(driver)


class Restarted(Story):
    """A pane that has a restart policy dies."""

    async def prepare(self, child: Child, book: Book) -> None:
        folder = child.home / "config" / "agenttower" / "templates"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "guarded.yaml").write_text(GUARDED)

    async def tell(self, driver: Driver) -> None:
        panes = await create(driver, template_name="guarded")
        await driver.or_died(at_rest(driver))
        await driver.or_died(_killed_process(driver, panes[0]))
        await linger(driver)


class Unpiped(Story):
    """Somebody takes the log off new panes before it is looked at."""

    async def tell(self, driver: Driver) -> None:
        for _ in range(5):
            panes = await create(driver)
            await driver.or_died(asyncio.to_thread(_unpipe, driver.child, panes))
            await driver.or_died(at_rest(driver))


def _unpipe(child: Child, pane_ids: Collection[str]) -> None:
    for pane in child.panes():
        if pane.pane_id in pane_ids:
            child.tmux("pipe-pane", "-t", pane.tmux_pane_id)


class Stale(Story):
    """A pane that was still being made when its tower died is too old for the next one, and stands in tmux."""

    async def prepare(self, child: Child, book: Book) -> None:
        await child.start(crash_at="spawning._settle.sleep.before")
        async with driving(child, book) as driver:
            try:
                await create(driver)
                await linger(driver)
            except Died:
                child.step_clock(STALE_S)
                return
        raise AssertionError("it did not die while the launch settled")

    async def tell(self, driver: Driver) -> None:
        state = await state_of(driver)
        there = {pane.pane_id for pane in driver.child.panes()}
        failed = [each for each in state.layouts.panes.values() if each.state is PaneState.FAILED]
        for pane in failed:
            if pane.pane_id in there and not pane.successor_id:
                await driver.ask("pane", "recreate", {"predecessor_pane_id": pane.pane_id})
        await linger(driver)

    async def tidy(self, child: Child) -> None:
        child.step_clock(0)


class Scanned(Story):
    """A scan is asked for while panes stand in tmux."""

    async def tell(self, driver: Driver) -> None:
        await ready(driver)
        await driver.ask("container", "scan", {})
        await linger(driver)


class Found(Story):
    """The engine has a container that no tower has seen."""

    def __init__(self) -> None:
        self._engine = ExitStack()

    async def prepare(self, child: Child, book: Book) -> None:
        need("podman", "runc")
        engine = self._engine.enter_context(podman())
        await asyncio.to_thread(engine.start)
        child.container_cli = str(engine.cli)

    async def tell(self, driver: Driver) -> None:
        await linger(driver)

    async def tidy(self, child: Child) -> None:
        child.container_cli = NO_ENGINE
        await asyncio.to_thread(self._engine.close)


class BrokerGone(Story):
    """The broker is killed while commands are decided."""

    async def tell(self, driver: Driver) -> None:
        for _ in range(5):
            driver.child.kill_broker()
            await driver.or_died(driver.post("pane", "remove", {"pane_id": "nobody"}))


class LogFull(Story):
    """The event stream takes no more."""

    async def tell(self, driver: Driver) -> None:
        name = events_stream(NODE)
        held = (await js_api(driver.wire, f"STREAM.INFO.{name}"))["state"]["bytes"]
        await change_stream(driver.wire, name, {"max_bytes": held})
        await asyncio.gather(*(driver.ask("pane", "remove", {"pane_id": "nobody"}) for _ in range(5)))
        await linger(driver)

    async def tidy(self, child: Child) -> None:
        await change_stopped(child, events_stream(NODE), {"max_bytes": -1})


class TimersRefused(Story):
    """The broker takes no schedule."""

    async def prepare(self, child: Child, book: Book) -> None:
        await a_life(child, book)
        await change_stopped(child, timers_stream(NODE), {"max_msg_size": 1})

    async def tell(self, driver: Driver) -> None:
        await linger(driver)

    async def tidy(self, child: Child) -> None:
        await change_stopped(child, timers_stream(NODE), {"max_msg_size": -1})


async def change_stream(wire: WireClient, name: str, changes: Mapping[str, object]) -> None:
    config = (await js_api(wire, f"STREAM.INFO.{name}"))["config"]
    await js_api(wire, f"STREAM.UPDATE.{name}", {**config, **changes})


async def change_stopped(child: Child, name: str, changes: Mapping[str, object]) -> None:
    """The same on the store of a home without a tower."""
    async with EmbeddedBroker(child.home, NODE) as broker:
        wire = await connect(broker.tower_url, name="faults")
        try:
            await change_stream(wire, name, changes)
        finally:
            await wire.close()
