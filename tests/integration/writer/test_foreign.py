"""Entries in the log that the tower did not write: they change nothing, and the log itself names them."""

from collections.abc import Sequence

import pytest

from adapters.nats.log import JetStreamLog
from domain.envelope import decode, foreign
from domain.node import NodeForeignEntriesFound
from handlers.ledger import BrokenLog
from handlers.ports import Entry
from tests.integration.writer.conftest import CountedLog, Node, Seat, layout

SUBJECT = "tower.evt.local.pane.some-id.removed"
REASON = "it carries no Tower-Chain header: the tower did not write it"


async def intrude(log: JetStreamLog, *entries: Entry) -> int:
    """The position of the last one."""
    last = await log.last_position()
    for entry in entries or (Entry(SUBJECT, b"anything", {}),):
        last = await log.append([entry], expected_last=last)
    return last


async def found(node: Node, seat: Seat) -> list[NodeForeignEntriesFound]:
    events = [decode(each).event async for batch in seat.log.read(0) for each in batch if foreign(each) is None]
    return [event for event in events if isinstance(event, NodeForeignEntriesFound)]


class BesetLog(CountedLog):
    """Somebody appends right before the tower does, three times in a row."""

    left = 3

    async def append(self, entries: Sequence[Entry], *, expected_last: int) -> int:
        if self.left:
            self.left -= 1
            await super().append([Entry(SUBJECT, b"anything", {})], expected_last=await self.last_position())
        return await super().append(entries, expected_last=expected_last)


class TestARunningTower:
    async def test_goes_on_and_records_what_it_found(self, node: Node):
        seat = await node.running()
        at = await intrude(seat.log)
        assert (await seat.outcome("layout.create", layout("one")))["status"] == "accepted"
        expected = NodeForeignEntriesFound(
            node="local", position=at, last_position=at, count=1, subject=SUBJECT, reason=REASON
        )
        assert await found(node, seat) == [expected]
        assert (await seat.outcome("layout.create", layout("two")))["status"] == "accepted"
        assert await found(node, seat) == [expected]

    async def test_many_are_recorded_together(self, node: Node):
        seat = await node.running()
        last = await intrude(seat.log, *(Entry(SUBJECT, b"%d" % number, {}) for number in range(5)))
        await seat.outcome("layout.create", layout("one"))
        (event,) = await found(node, seat)
        assert (event.position, event.last_position, event.count) == (last - 4, last, 5)

    async def test_a_forged_event_changes_no_state(self, node: Node):
        """Even one that the tower could have written: the claim of another tower, which would end this one."""
        seat = await node.running()
        claim = (await seat.log_events())[0]
        stored = await seat.log.get(claim.position)
        assert stored is not None
        payload = stored.payload.replace(seat.writer.instance.encode(), b"somebody-else")
        assert payload != stored.payload
        await intrude(seat.log, Entry(stored.subject, payload, {}))
        assert (await seat.outcome("layout.create", layout("one")))["status"] == "accepted"
        assert seat.writer.ledger.tower.instance == seat.writer.instance

    async def test_intruders_time_and_again_are_no_other_writer(self, node: Node):
        seat = await node.running(BesetLog)
        assert (await seat.outcome("layout.create", layout("one")))["status"] == "accepted"
        assert sum(event.count for event in await found(node, seat)) == 3

    async def test_a_repeated_command_is_answered_though_one_follows_its_events(self, node: Node):
        seat = await node.running()
        command_id = seat.ask("layout.create", layout("one"))
        (first,) = await seat.outcomes_of(command_id)
        await intrude(seat.log)
        again = await seat.outcome("layout.create", layout("one"), command_id=command_id)
        assert (again["status"], again["replay"], again["result"]) == ("accepted", True, first["result"])


class TestAStart:
    @pytest.mark.parametrize("snapshot", [True, False])
    async def test_passes_over_them_and_records_them_once(self, node: Node, snapshot: bool):
        before = await node.running()
        if snapshot:
            await before.writer.close()
        at = await intrude(before.log)
        after = await node.running(place="a" if snapshot else "b")
        assert [event.position for event in await node_found_after_a_step(node, after)] == [at]
        await after.writer.close()
        last = await node.running(place="c")
        await last.outcome("layout.create", layout("two"))
        assert [event.position for event in await found(node, last)] == [at]
        assert last.writer.ledger.tower.foreign_to == at

    async def test_a_snapshot_never_hides_one_that_is_not_recorded(self, node: Node):
        before = await node.running()
        await intrude(before.log)
        await before.writer._reread()
        await before.writer.close()
        after = await node.running(place="a")
        assert len(await node_found_after_a_step(node, after)) == 1

    async def test_an_entry_with_a_wrong_chain_value_is_no_intruder_but_a_log_that_was_changed(self, node: Node):
        before = await node.running()
        await intrude(before.log, Entry(SUBJECT, b"{}", {"Tower-Chain": "00" * 32}))
        with pytest.raises(BrokenLog, match=r"position 2: .*hash chain.*audit verify"):
            await node.running(place="b")


async def node_found_after_a_step(node: Node, seat: Seat) -> list[NodeForeignEntriesFound]:
    await seat.outcome("layout.create", layout("after"))
    return await found(node, seat)
