"""What a cell gives: the value of its last expression, its repr, the names it leaves."""

from collections.abc import Callable

import msgspec
import pytest

from adapters.worker.modes import Classifier
from tests.integration.executing.conftest import Bench

MANAGED = """
from contextlib import asynccontextmanager
@asynccontextmanager
async def c():
    yield 4

async with c() as found:
    pass
found
"""

VALUES = [
    ("1 + 1", 2),
    ("x = 3\ny = x * 2\ny", 6),
    ("def f(a):\n    return a + 1\n\nf(41)", 42),
    ("x = 1", None),
    ("for i in range(3):\n    pass", None),
    ("[i for i in range(3)]", [0, 1, 2]),
    ("{'a': [1, None, True, 'ü', 2.5]}", {"a": [1, None, True, "ü", 2.5]}),
    ("await asyncio.sleep(0, 7)", 7),
    ("[await asyncio.sleep(0, i) for i in range(3)]", [0, 1, 2]),
    ("async def g():\n    return await asyncio.sleep(0, 5)\n\nawait g()", 5),
    ("async def numbers():\n    for i in range(3):\n        yield i\n\n[i async for i in numbers()]", [0, 1, 2]),
    (MANAGED, 4),
    ("asyncio.run(asyncio.sleep(0, 8))", 8),
]


@pytest.mark.parametrize(("code", "value"), VALUES, ids=[code[:40] for code, _ in VALUES])
async def test_the_value_is_that_of_the_last_expression(bench: Bench, code: str, value: object) -> None:
    await bench.run("import asyncio")
    assert await bench.value(code) == value


async def test_half_a_surrogate_pair_is_a_value_where_no_utf_8_is_on_the_way(local_bench: Bench) -> None:
    assert await local_bench.value("'\\ud800'") == "\ud800"


CHANGED = ["(1, 2)", "{1: 2}", "float('nan')", "{1, 2}", "b'x'", "object()", "type('S', (str,), {})('x')", "2 ** 80"]


@pytest.mark.parametrize("code", CHANGED)
async def test_a_value_that_json_would_change_is_told_by_its_repr_alone(bench: Bench, code: str) -> None:
    outcome = await bench.run(code)
    assert outcome.value is not None
    assert repr(outcome.value) == "UNSET"
    assert outcome.repr


async def test_a_repr_that_raises_or_never_ends_is_replaced(bench: Bench) -> None:
    for body in ("raise ValueError", "raise KeyboardInterrupt", "while True: pass", "return 5"):
        outcome = await bench.run(f"class Odd:\n    def __repr__(self):\n        {body}\n\nOdd()")
        assert outcome.repr == "<unrepresentable Odd>"


async def test_a_giant_repr_is_cut(bench: Bench) -> None:
    outcome = await bench.run("'x' * 50_000_000")
    assert outcome.repr is not None
    # In the log a repr is shorter than in a worker's frame.
    assert 64 * 1024 <= len(outcome.repr) <= 1024 * 1024
    assert outcome.truncated


async def test_names_live_on_and_functions_see_what_is_bound_later(bench: Bench) -> None:
    await bench.run("def f():\n    return later")
    assert await bench.fails("f()") == "NameError"
    await bench.run("later = 5")
    assert await bench.value("f()") == 5
    await bench.run("def set_it():\n    global later\n    later += 1\n\nset_it()")
    assert await bench.value("later") == 6
    await bench.run("async def set_again():\n    global later\n    later += 1\n\nawait set_again()")
    assert await bench.value("f()") == 7


async def test_history_is_kept_as_ipython_keeps_it(bench: Bench) -> None:
    await bench.run("10")
    await bench.run("x = 1")
    await bench.run("20")
    await bench.run("None")
    assert await bench.value("[_, __]") == [20, 10]
    assert await bench.value("[Out[1], Out[3], In[1], _i]") == [10, 20, "10", "[_, __]"]


async def test_user_code_has_a_main_module_of_its_own_and_sees_nothing_of_ours(bench: Bench) -> None:
    assert await bench.value("__name__") == "__main__"
    assert await bench.value("import __main__\n__main__.__dict__ is globals()") is True
    (bench.folder / "frames.py").write_text("WHOSE = 'the user'")
    assert await bench.value("import frames\nframes.WHOSE") == "the user"
    ours = "[name for name in sys.modules if name.split('.')[0] in ('adapters', 'handlers', 'domain', 'projections')]"
    assert await bench.value(f"import sys\n{ours}") == []
    assert await bench.value("sys.path[0]") == str(bench.folder)
    pickled = "import pickle\nclass P:\n    pass\n\nisinstance(pickle.loads(pickle.dumps(P())), P)"
    assert await bench.value(pickled) is True


MODES = [
    ("await x", "top_level_await", ()),
    ("async def f(): pass", "async_def", ()),
    ("from time import sleep as s\ns(0)", "blocking_sync", ("time.sleep",)),
    ("import requests as r\nif False: r.get('u')", "blocking_sync", ("requests.get",)),
    ("import urllib.request\nif False: urllib.request.urlopen('u')", "blocking_sync", ("urllib.request.urlopen",)),
    ("import socket\nif False: socket.socket().recv(1)", "blocking_sync", ("socket.socket.recv",)),
    ("import socket\nif False:\n    s = socket.socket()\n    s.recv(1)", "blocking_sync", ("socket.socket.recv",)),
    ("import subprocess\nif False: subprocess.run('x')", "blocking_sync", ("subprocess.run",)),
    ("import os\nif False: os.system('x')", "blocking_sync", ("os.system",)),
    ("from pathlib import Path\nif False: Path('x').read_text()", "blocking_sync", ("pathlib.Path.read_text",)),
    ("if False: open('x')", "blocking_sync", ("open",)),
    ("sleep = len\nsleep('')", "simple_sync", ()),
    ("1 +", "unknown", ()),
]


@pytest.mark.parametrize(("code", "mode", "blocking"), MODES, ids=[code[:40] for code, _, _ in MODES])
async def test_modes(bench: Bench, code: str, mode: str, blocking: tuple[str, ...]) -> None:
    outcome = await bench.run(code)
    assert (outcome.mode, outcome.blocking) == (mode, blocking)


async def test_a_transaction_takes_names_back(bench: Bench) -> None:
    await bench.run("kept = 1\nlist_ = []")
    await bench.fails("kept = 2\nnew = 3\nlist_.append(1)\n1 / 0", transaction="rollback_on_failure")
    assert await bench.value("[kept, 'new' in globals(), list_]") == [1, False, [1]]
    await bench.run("kept = 2", transaction="rollback_always")
    assert await bench.value("kept") == 1
    await bench.run("kept = 3\nnew = 4", transaction="rollback_on_failure")
    assert await bench.value("[kept, new]") == [3, 4]


async def test_a_local_name_is_not_what_it_hides(bench: Bench) -> None:
    outcome = await bench.run("def open(): return 1\nclass sleep: pass\nopen(), sleep()")
    assert (outcome.mode, outcome.blocking) == ("simple_sync", ())


async def test_what_blocks_is_a_setting(make_local_bench: Callable[..., Bench]) -> None:
    lists = {"blocking_calls": ("slow.call",), "blocking_methods": {"slow.Thing": ("wait",)}}
    async with make_local_bench(**lists) as bench:
        (bench.folder / "slow.py").write_text("def call(): pass\nclass Thing:\n    def wait(self): pass\n")
        assert (await bench.run("import slow\nslow.call()\nslow.Thing().wait()")).blocking == (
            "slow.call",
            "slow.Thing.wait",
        )
        assert (await bench.run("import time\ntime.sleep(0)")).mode == "simple_sync"


def test_trees_are_kept_by_use_and_only_so_many() -> None:
    classifier = Classifier(size=2)
    first, second = (classifier.tree(code, "<cell>")[0] for code in ("1", "2"))
    assert classifier.tree("1", "<cell>")[0] is first
    classifier.tree("3", "<cell>")
    assert classifier.tree("1", "<cell>")[0] is first
    assert classifier.tree("2", "<cell>")[0] is not second


LARGE = [
    ("list(range(5_000_000))", "[0, 1, 2, "),
    ("{n: str(n) for n in range(300_000)}", "{0: '0', 1: '1', "),
    ("[[list(range(3_000_000))]] * 2", "[[[0, 1, 2, "),
    ("b'x' * 100_000_000", "b'xxx"),
    ("'🙂' * 20_000_000", "'🙂🙂"),
]


@pytest.mark.parametrize(("code", "begin"), LARGE, ids=[code for code, _ in LARGE])
async def test_the_repr_of_a_giant_is_cut_without_being_made(bench: Bench, code: str, begin: str) -> None:
    outcome = await bench.run(code)
    assert outcome.repr is not None
    assert outcome.repr.startswith(begin)
    assert outcome.truncated
    assert len(outcome.repr.encode()) <= 1024 * 1024
    assert repr(outcome.value) == "UNSET"


async def test_a_large_container_has_python_s_own_repr(bench: Bench) -> None:
    for code in (
        "list(range(20_000))",
        "dict.fromkeys(range(20_000))",
        "tuple('ab') * 9_000",
        "[([n], {n: {n}}, (n,), [], set()) for n in range(5_000)]",
        "set(range(20_000))",
    ):
        outcome = await bench.run(code)
        assert outcome.repr == repr(eval(code))
        assert not outcome.truncated
    assert (await bench.run("frozenset(range(20_000))")).repr == repr(frozenset(range(20_000)))


@pytest.mark.parametrize(
    ("code", "travels"),
    [
        ("'\\0' * 1_390_000", True),
        ("'\\0' * 1_400_000", False),
        ("'🙂' * 690_000", True),
        ("'🙂' * 710_000", False),
        ("[-1.2345678901234567e-300] * 300_000", True),
        ("[-1.2345678901234567e-300] * 340_000", False),
    ],
)
async def test_a_value_travels_up_to_8_mib_of_json(local_bench: Bench, code: str, travels: bool) -> None:
    outcome = await local_bench.run(code)
    assert (outcome.value == eval(code)) is travels
    assert (outcome.value is msgspec.UNSET) is not travels


async def test_values_that_refer_to_themselves_or_double_at_each_step(bench: Bench) -> None:
    assert (await bench.run("a = []\na.append(a)\na")).repr == "[[...]]"
    outcome = await bench.run("b = 'x'\nfor _ in range(60): b = [b, b]\nb is None or 5")
    assert outcome.value == 5
    assert (await bench.run("c = 1\nfor _ in range(100): c = [c]\nc")).value is msgspec.UNSET


async def test_a_value_of_some_megabytes_travels_whole(bench: Bench) -> None:
    assert await bench.value("'x' * 5_000_000") == "x" * 5_000_000
    assert await bench.value("list(range(300_000))") == list(range(300_000))


async def test_errors_are_told_within_limits(bench: Bench) -> None:
    code = "error = ValueError('m' * 50_000_000)\nfor _ in range(1000): error.add_note('n' * 100_000)\nraise error"
    outcome = await bench.run(code)
    assert outcome.error is not None
    assert outcome.error.exception_type == "ValueError"
    assert len(outcome.error.message) == 64 * 1024
    assert (len(outcome.error.notes), len(outcome.error.notes[0])) == (100, 4 * 1024)
    assert len(outcome.error.traceback) < 300_000
    assert outcome.error.traceback.startswith("Traceback")
    assert await bench.value("1") == 1


async def test_all_names_may_be_deleted(bench: Bench) -> None:
    await bench.run("mine = 1\nglobals().clear()")
    assert await bench.value("class C: pass\n[C.__module__, __name__, 'mine' in globals(), In[-1][:5]]") == [
        "__main__",
        "__main__",
        False,
        "class",
    ]


async def test_what_an_exit_was_is_kept(bench: Bench) -> None:
    await bench.run("import sys\nsys.exit('bye')")
    assert await bench.value("_exit_code") == "bye"
