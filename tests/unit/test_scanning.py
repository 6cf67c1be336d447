"""What a scan makes of the panes that tmux servers list."""

from typing import Any

import msgspec
import pytest

from domain.containers import ContainerFacts
from domain.messages import HOST
from handlers.effects.scanning import (
    CHARACTERS,
    PANES_A_CONTAINER,
    REASON_CHARACTERS,
    SCAN_BYTES,
    report,
    unmanaged_panes,
)
from handlers.ports import SeenPane
from tests.unit.builders import BENCH, bench, unmanaged_pane

KNOWN = {HOST: ContainerFacts(container_id=HOST, name=HOST), BENCH: bench()}


def seen(number: int = 1, **changes: Any) -> SeenPane:
    """A pane that somebody else made."""
    fields: dict[str, Any] = {
        "pane_id": None,
        "tmux_pane_id": f"%{number}",
        "pid": 7,
        "session_name": "mine",
        "window_index": 0,
        "pane_index": 0,
        "title": "notes",
        "command": "vim",
        "dead": False,
        "exit_code": None,
        "signal": None,
        "piped": False,
    }
    return SeenPane(**fields | changes)


class TestUnmanagedPanes:
    def test_are_those_that_somebody_else_made(self) -> None:
        assert unmanaged_panes(HOST, [seen()]) == (unmanaged_pane(),)

    def test_a_pane_that_carries_the_user_option_is_none(self) -> None:
        assert unmanaged_panes(HOST, [seen(pane_id="L-m1", title="whatever its program says")]) == ()

    @pytest.mark.parametrize("title", ["@MANAGED:token:m1", "@MANAGED:"])
    def test_a_pane_with_a_pending_marker_is_none(self, title: str) -> None:
        assert unmanaged_panes(HOST, [seen(title=title)]) == ()

    def test_stand_in_the_order_of_their_places(self) -> None:
        places = [("b", 0, 0), ("a", 10, 0), ("a", 2, 1), ("a", 2, 0)]
        listed = [
            seen(n, session_name=name, window_index=window, pane_index=pane)
            for n, (name, window, pane) in enumerate(places)
        ]
        assert [pane.tmux_pane_id for pane in unmanaged_panes(HOST, listed)] == ["%3", "%2", "%1", "%0"]

    def test_texts_are_cut(self) -> None:
        long = "x" * (CHARACTERS + 1)
        (pane,) = unmanaged_panes(HOST, [seen(title=long, command=long, session_name=long)])
        assert {len(pane.title), len(pane.command), len(pane.session_name)} == {CHARACTERS}


class TestTheReport:
    def test_names_the_containers_that_were_listed(self) -> None:
        found = report("scan", KNOWN, {BENCH: [seen()], HOST: []}, [])
        assert (found.scan_id, found.listed, found.reason) == ("scan", (BENCH, HOST), None)
        assert found.unmanaged == (unmanaged_pane(BENCH),)

    def test_says_what_could_not_be_asked(self) -> None:
        found = report("scan", KNOWN, {BENCH: "paused", HOST: []}, ["no daemon"])
        assert (found.listed, found.reason) == ((HOST,), "no daemon; bench: paused")

    def test_holds_so_many_panes_a_container_and_says_how_many_it_left_out(self) -> None:
        many = [seen(number) for number in range(PANES_A_CONTAINER + 5)]
        found = report("scan", KNOWN, {BENCH: many, HOST: [seen()]}, [])
        assert len(found.unmanaged) == PANES_A_CONTAINER + 1
        assert found.reason == f"bench: 5 of {PANES_A_CONTAINER + 5} unmanaged panes left out"

    def test_fits_one_message_however_many_containers_there_are(self) -> None:
        known = {f"{n:064x}": bench(f"{n:064x}") for n in range(20)}
        widest = [seen(n, title="\x01" * CHARACTERS, command="\x01" * CHARACTERS) for n in range(PANES_A_CONTAINER)]
        found = report("scan", known, dict.fromkeys(known, widest), [])
        assert len(msgspec.json.encode(found)) < 2 * SCAN_BYTES
        assert len(found.unmanaged) > 0
        assert found.reason is not None
        assert len(found.reason) <= REASON_CHARACTERS
