"""The table of the predecessor's names is the one of layouts.md, and each command of it is one of today's."""

from adapters.rpc.methods import METHODS, Command
from domain import catalogue

HOST_NAMES = [method.operator_name for method in METHODS]
BENCH_NAMES = [method.bench_name for method in METHODS]


def test_the_table_is_that_of_the_design() -> None:
    assert [method.number for method in METHODS] == [f"M{number}" for number in range(1, 9)]
    assert HOST_NAMES == [
        "app.managed_layout_create",
        "app.managed_layout_list",
        "app.managed_layout_detail",
        "app.managed_pane_list",
        "app.managed_pane_detail",
        "app.managed_pane_remove",
        "app.managed_pane_recreate",
        "app.managed_pane_promote_from_adopted",
    ]
    assert BENCH_NAMES == [
        "managed.layout.create",
        "managed.layout.list",
        "managed.layout.detail",
        "managed.pane.list",
        "managed.pane.detail",
        "managed.pane.remove",
        "managed.pane.recreate",
        "managed.pane.promote_from_adopted",
    ]


def test_what_each_one_is() -> None:
    commands = {method.number: method.does for method in METHODS if isinstance(method.does, Command)}
    assert {number: f"{does.noun}.{does.verb}" for number, does in commands.items()} == {
        "M1": "layout.create",
        "M6": "pane.remove",
        "M7": "pane.recreate",
        "M8": "pane.promote",
    }
    for does in commands.values():
        entry = catalogue.request_type(f"{does.noun}.{does.verb}")
        assert entry is not None
        assert not entry.internal
