"""Who watches what for background sessions: begun, ended, failed and found again by the state alone."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from domain.background import events as e
from domain.background.commands import BackgroundRecordRestartDue, BackgroundStart, BackgroundStop
from domain.background.events import BackgroundState
from domain.messages import TOWER
from domain.tower import Tower
from handlers.trigger_ports import Firing, TriggerProblem
from tests.integration.triggers.node import Node, node
from tests.waiting import eventually

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Bell:
    """A type of the tests' own: rings when it is told to."""

    made: list["Bell"]

    def __init__(self) -> None:
        type(self).made.append(self)
        self.rings: asyncio.Queue[Firing | Exception | None] = asyncio.Queue()
        self.outcomes: list[Mapping[str, Any]] = []
        self.stopped = 0

    def configure(self, config: Mapping[str, Any], *, folder: str, state: Path) -> None:
        if config.get("wrong"):
            raise TriggerProblem("wrong", "is set")
        self.config, self.folder, self.state = config, folder, state

    async def watch(self) -> AsyncIterator[Firing]:
        while (ring := await self.rings.get()) is not None:
            if isinstance(ring, Exception):
                raise ring
            yield ring

    async def stop(self) -> None:
        self.stopped += 1
        if self.config.get("hangs"):
            await asyncio.get_running_loop().create_future()

    def ring(self, **fields: Any) -> None:
        async def after(outcome: Mapping[str, Any]) -> None:
            self.outcomes.append(outcome)

        self.rings.put_nowait(Firing(**{"source": "bell", "timestamp": NOW, "after": after, **fields}))


@pytest.fixture
def bells() -> type[Bell]:
    class Bells(Bell):
        made: list[Bell] = []  # noqa: RUF012 (of one test)

    return Bells


def with_bell(name: str = "one", **fields: Any) -> dict[str, Any]:
    config = fields.pop("config", {})
    return {"name": name, "triggers": [{"type": "bell", "config": config}], **fields}


async def test_it_runs_when_all_is_watched_and_tells_what_happens(tmp_path: Path, bells: type[Bell]) -> None:
    async with node(tmp_path, own={"bell": bells}) as made:
        made.declare(with_bell(config={"a": 1}), folder="/declared")
        there = await made.running()
        (bell,) = bells.made
        assert (bell.config, bell.folder) == ({"a": 1}, "/declared")
        assert bell.state == tmp_path / "of" / there.background_id / "0"
        bell.ring(data={"x": 1}, file_path="/f", change_type="created")
        fired = await made.fired()
        assert (fired.type, fired.source, fired.data, fired.timestamp) == ("bell", "bell", {"x": 1}, NOW)
        assert (fired.file_path, fired.change_type, fired.placed) == ("/f", "created", "run")
        await eventually(lambda: len(bell.outcomes) == 1)
        assert bell.outcomes[0]["status"] == "accepted"


async def test_what_is_told_twice_is_recorded_once(tmp_path: Path, bells: type[Bell]) -> None:
    async with node(tmp_path, own={"bell": bells}) as made:
        made.declare(with_bell())
        await made.running()
        for id_ in ("a", "a", "b", None, None):
            bells.made[0].ring(id=id_)
        await eventually(lambda: len(bells.made[0].outcomes) == 5)
        assert len(made.of(e.TriggerFired)) == 4
        assert {outcome["status"] for outcome in bells.made[0].outcomes} == {"accepted"}


async def test_a_patient_source_waits_for_room_and_loses_nothing(tmp_path: Path, bells: type[Bell]) -> None:
    async with node(tmp_path, own={"bell": bells}) as made:
        made.declare(with_bell(queue_size=1))
        await made.running()
        (bell,) = bells.made
        for number in range(5):
            bell.ring(id=str(number), data={"n": number})
        await eventually(lambda: len(bell.outcomes) == 2)
        for count in (3, 4, 5):
            made.end_run()
            await eventually(lambda count=count: len(bell.outcomes) == count)
        assert [each.data["n"] for each in made.of(e.TriggerFired)] == [0, 1, 2, 3, 4]


async def test_an_impatient_one_is_told_that_there_is_no_room(tmp_path: Path, bells: type[Bell]) -> None:
    async with node(tmp_path, own={"bell": bells}) as made:
        made.declare(with_bell(queue_size=1))
        await made.running()
        for _ in range(3):
            bells.made[0].ring(patient=False)
        await eventually(lambda: len(bells.made[0].outcomes) == 3)
        assert bells.made[0].outcomes[2]["error"]["code"] == "tower_busy"


async def test_an_exception_fails_it_and_the_restart_watches_anew(tmp_path: Path, bells: type[Bell]) -> None:
    async with node(tmp_path, own={"bell": bells}) as made:
        made.declare(with_bell())
        there = await made.running()
        bells.made[0].rings.put_nowait(OSError("the wire was cut"))
        failed = await made.told(e.BackgroundFailed)
        assert (failed.error, failed.error_type) == ("the wire was cut", "OSError")
        assert failed.restart_at is not None
        await eventually(lambda: bells.made[0].stopped == 1)
        await eventually(lambda: made.clock.now() >= (failed.restart_at or NOW))
        made.ask(BackgroundRecordRestartDue(background_id=there.background_id), TOWER)
        await made.running()
        assert len(bells.made) == 2


async def test_a_trigger_that_cannot_work_says_which_field(tmp_path: Path, bells: type[Bell]) -> None:
    async with node(tmp_path, own={"bell": bells}) as made:
        made.declare(with_bell(config={"wrong": True}), {"name": "two", "triggers": [{"type": "no_such_type"}]})
        await made.told(e.BackgroundFailed, 2)
        failed = {each.background_id: each for each in made.of(e.BackgroundFailed)}
        assert failed["bg-one-0001"].error == "wrong: is set"
        assert failed["bg-one-0001"].error_type == "trigger_invalid"
        assert "no installed package has a trigger no_such_type" in failed["bg-two-0002"].error


async def test_one_failing_trigger_ends_the_others_of_its_session_only(tmp_path: Path, bells: type[Bell]) -> None:
    async with node(tmp_path, own={"bell": bells}) as made:
        both = {"name": "one", "triggers": [{"type": "bell"}, {"type": "bell"}, {"type": "manual"}]}
        made.declare(both, with_bell("two"))
        await made.running()
        await made.running("two")
        bells.made[1].rings.put_nowait(ValueError())
        await made.told(e.BackgroundFailed)
        await eventually(lambda: [bell.stopped for bell in bells.made] == [1, 1, 0])
        bells.made[2].ring()
        assert (await made.fired()).background_id == "bg-two-0002"


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_stop_is_prompt_and_ends_its_watch(tmp_path: Path, bells: type[Bell], hangs: bool) -> None:
    async with node(tmp_path, own={"bell": bells}) as made:
        made.declare(with_bell(config={"hangs": hangs}))
        there = await made.running()
        bells.made[0].state.mkdir(parents=True)
        begun = time.monotonic()
        made.ask(BackgroundStop(name="one"))
        assert made.one().state is BackgroundState.STOPPED
        await eventually(lambda: made.triggering.watching == 0 and bells.made[0].stopped == 1)
        await eventually(lambda: not (tmp_path / "of" / there.background_id).exists())
        assert time.monotonic() - begun < 2
        made.ask(BackgroundStart(name="one"))
        await made.running()
        assert len(bells.made) == 2


async def test_another_definition_is_watched_instead(tmp_path: Path, bells: type[Bell]) -> None:
    async with node(tmp_path, own={"bell": bells}) as made:
        made.declare(with_bell(config={"a": 1}))
        await made.running()
        made.declare(with_bell(config={"a": 2}))
        await eventually(lambda: len(bells.made) == 2 and made.one().state is BackgroundState.RUNNING)
        assert (bells.made[0].stopped, bells.made[1].config) == (1, {"a": 2})
        made.declare()
        await eventually(lambda: bells.made[1].stopped == 1)


async def test_an_earlier_towers_session_is_watched_again_without_being_told(tmp_path: Path, bells: type[Bell]) -> None:
    async with node(tmp_path, own={"bell": bells}) as made:
        made.declare(with_bell(), with_bell("stopped"))
        await made.running()
        made.ask(BackgroundStop(name="stopped"))
        bells.made[0].ring(id="a")
        await made.fired()
    (tmp_path / "of" / "bg-gone-0009").mkdir(parents=True)
    async with node(tmp_path, own={"bell": bells}, state=made.state) as again:
        await eventually(lambda: again.triggering.watching == 1)
        bells.made[-1].ring(id="a")
        bells.made[-1].ring(id="b")
        await eventually(lambda: len(bells.made[-1].outcomes) == 2)
        assert [type(event) for event in again.events] == [e.TriggerFired]
        await eventually(lambda: not (tmp_path / "of" / "bg-gone-0009").exists())


async def test_one_that_was_starting_runs_after_the_crash(tmp_path: Path, bells: type[Bell]) -> None:
    made = Node(tmp_path, None, Tower(), {"bell": bells})
    made.declare(with_bell())
    assert made.one().state is BackgroundState.STARTING
    async with node(tmp_path, own={"bell": bells}, state=made.state) as again:
        await again.running()
    made.kinds.close()


async def test_files_fire_through_to_the_state(tmp_path: Path) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    config = {"path": str(folder), "debounce_ms": 50}
    async with node(tmp_path / "home") as made:
        made.declare({"name": "one", "triggers": [{"type": "file_change", "config": config}]})
        there = await made.running()
        assert made.triggering.how(there.background_id) == {0: "inotify"}
        (folder / "a").write_text("1")
        fired = await made.fired()
        assert (fired.type, fired.change_type, fired.file_path) == ("file_change", "created", str(folder / "a"))
    (folder / "b").write_text("1")
    async with node(tmp_path / "home", state=made.state) as again:
        assert (await again.fired()).data["changes"] == {"b": "created"}
        assert len(again.of(e.TriggerFired)) == 1


async def test_what_changes_while_it_is_stopped_is_nobodys(tmp_path: Path) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    config = {"path": str(folder), "debounce_ms": 50}
    async with node(tmp_path / "home") as made:
        made.declare({"name": "one", "triggers": [{"type": "file_change", "config": config}]})
        there = await made.running()
        made.ask(BackgroundStop(name="one"))
        await eventually(lambda: not (tmp_path / "home" / "of" / there.background_id).exists())
        (folder / "meanwhile").write_text("1")
        made.ask(BackgroundStart(name="one"))
        await made.running()
        (folder / "after").write_text("1")
        assert (await made.fired()).data["changes"] == {"after": "created"}
