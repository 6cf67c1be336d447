"""The names of a session: saved, proven, restored, merged, taken back, and never more of them held than needed."""

import os

import pytest

from adapters.executing.worker import WorkerFailed
from tests.integration.executing.conftest import Bench

MADE = """
import collections, math as m, functools
class Base:
    def __init__(self, n): self.n = n
    def twice(self): return self.n * 2
class Point(Base):
    kind = 'point'
@functools.lru_cache
def cached(n): return n + offset
def plain(n=[1]): return n
async def later(): return offset
square = lambda n: n * n
offset = 10
shared = [1, 2]
alias = shared
nested = {'points': [Point(3)], 'shared': shared}
bound = nested['points'][0].twice
Named = collections.namedtuple('Named', 'a b')
counter = collections.Counter('aab')
"""


async def test_a_restore_gives_back_what_the_names_were_to_each_other(bench: Bench) -> None:
    await bench.run(MADE)
    saved = await bench.engine.checkpoint(verify=True)
    assert len(saved.digest) == 64
    assert (saved.function_count, saved.class_count) == (4, 2)
    assert saved.unsaved.keys() == {"Named"}
    await bench.run("import os\nos._exit(1)")
    for check in (
        "shared is alias is nested['shared']",
        "plain.__globals__ is later.__globals__ is square.__globals__ is globals()",
        "isinstance(nested['points'][0], Point) and Point.__mro__[1] is Base and Point.__module__ == '__main__'",
        "bound() == 6 and bound.__self__ is nested['points'][0]",
        "(offset := 20) and cached(1) == 21 and square(3) == 9 and m.sqrt(4) == 2",
        "await later() == 20 and counter['a'] == 2",
        "import pickle\ntype(pickle.loads(pickle.dumps(Point(1)))) is Point",
    ):
        assert await bench.value(check) is True, check


async def test_a_definition_that_came_back_shows_its_source_and_can_be_saved_again(bench: Bench) -> None:
    await bench.run("def fail():\n    return 1 / 0")
    for _ in range(2):
        saved = await bench.engine.checkpoint()
        await bench.engine.restore(saved.reference, clear_existing=True)
    outcome = await bench.run("fail()")
    assert outcome.error is not None
    assert "    return 1 / 0\n" in outcome.error.traceback


UNSAVED = {
    "lock": "threading.Lock()",
    "connection": "socket.socket()",
    "generator": "(n for n in [1])",
    "thread": "threading.Thread()",
    "file": "open('file', 'w')",
    "frame": "sys._getframe()",
    "inner": "(lambda: (lambda: 1))()",
    "odd": "Odd()",
}


async def test_what_cannot_be_saved_is_told_by_name_and_reason_and_harms_nothing_else(bench: Bench) -> None:
    odd = "class Odd:\n    def __reduce__(self): raise ValueError('not me')\n"
    values = "\n".join(f"{name} = {code}" for name, code in UNSAVED.items())
    await bench.run(f"import socket, sys, threading\n{odd}{values}\nkept = [1]")
    saved = await bench.engine.checkpoint()
    assert saved.unsaved.keys() == UNSAVED.keys()
    assert "not me" in saved.unsaved["odd"]
    assert {"kept", "Odd", "socket"} <= set(saved.names)
    await bench.engine.restore(saved.reference, clear_existing=True)
    assert await bench.value("[kept, 'lock' in globals()]") == [[1], False]


async def test_a_verified_checkpoint_holds_only_what_a_fresh_process_can_load(bench: Bench) -> None:
    code = (
        "import os\nhere = os.getpid()\n"
        "class Bound:\n    def __reduce__(self): return (load, (here_of(),))\n"
        "def here_of(): return os.getpid()\n"
        "def load(pid):\n    if pid != os.getpid(): raise RuntimeError('another process')\n    return Bound()\n"
        "bound, kept = Bound(), [1]\nholder = [bound]\n"
    )
    await bench.run(code)
    assert "bound" in (await bench.engine.checkpoint()).names
    saved = await bench.engine.checkpoint(verify=True)
    assert saved.unsaved.keys() == {"bound", "holder"}
    assert "another process" in saved.unsaved["bound"]
    await bench.run("os._exit(1)")
    assert await bench.value("[kept, 'bound' in globals()]") == [[1], False]


MERGES = [
    ("overwrite", {"value": "saved", "call": "saved", "extra": "mine", "gone": "saved"}),
    ("preserve", {"value": "mine", "call": "mine", "extra": "mine", "gone": "saved"}),
    ("smart", {"value": "saved", "call": "mine", "extra": "mine", "gone": "saved"}),
]


@pytest.mark.parametrize(("strategy", "after"), MERGES, ids=[name for name, _ in MERGES])
async def test_a_restore_merges_by_a_strategy(bench: Bench, strategy: str, after: dict[str, str]) -> None:
    await bench.run("value = call = gone = 'saved'")
    saved = await bench.engine.checkpoint()
    await bench.run("del gone\nvalue = extra = 'mine'\ndef call(): return 'mine'")
    await bench.engine.restore(saved.reference, strategy=strategy)  # type: ignore[arg-type]
    told = "{name: globals()[name]() if callable(globals()[name]) else globals()[name] for name in "
    assert await bench.value(told + f"{sorted(after)}}}") == after


async def test_a_restore_never_touches_what_the_engine_keeps(bench: Bench) -> None:
    await bench.run("1 + 1")
    await bench.run("_ih[0] = 'x'\nmine = 1\nbefore = globals()")
    saved = await bench.engine.checkpoint()
    assert not set(saved.names) & {"_", "In", "Out", "_ih", "_oh", "tower", "__name__"}
    await bench.run("5")
    await bench.engine.restore(saved.reference, clear_existing=True)
    assert await bench.value("[_, Out[3], In[3], before is globals(), __name__, repr(tower)]") == [
        5,
        5,
        "5",
        True,
        "__main__",
        "<tower>",
    ]


async def test_a_file_that_is_no_checkpoint_changes_nothing(local_bench: Bench) -> None:
    await local_bench.run("mine = 1")
    saved = await local_bench.engine.checkpoint()
    os.truncate(saved.reference, saved.checkpoint_size - 3)
    with pytest.raises(WorkerFailed):
        await local_bench.engine.restore(saved.reference, clear_existing=True)
    assert await local_bench.value("mine") == 1


async def test_a_checkpoint_that_is_gone_costs_the_names_but_no_execution(local_bench: Bench) -> None:
    await local_bench.run("mine = 1")
    os.unlink((await local_bench.engine.checkpoint()).reference)
    await local_bench.run("import os\nos._exit(1)")
    assert await local_bench.value("'mine' in globals()") is False


async def test_what_is_kept_of_values_is_bounded(bench: Bench) -> None:
    await bench.run("big = lambda: ['x' * 1_000_000 for _ in range(20)]")
    for _ in range(6):
        await bench.run("big()")
    assert await bench.value("[list(Out), _ is Out[7]]") == [[5, 6, 7], True]


async def test_an_exception_holds_its_frames_for_one_cell_only(bench: Bench) -> None:
    code = (
        "import gc, weakref\nclass Held: pass\n\ndef f():\n    held = Held()\n    watch.append(weakref.ref(held))\n"
        "    try: 1 / 0\n    except ZeroDivisionError as error: raise ValueError from error\n\nwatch = []\nf()"
    )
    await bench.run(code)
    assert await bench.value("type(_exception).__name__") == "NoneType"
    await bench.run("1")
    assert await bench.value("gc.collect()\nwatch[0]() is None") is True


async def test_deleted_and_replaced_builtins_stay_so_for_cells_and_harm_nobody_else(bench: Bench) -> None:
    gone = ["len", "isinstance", "print", "dict", "BaseException", "__import__", "repr", "__build_class__"]
    await bench.run("import builtins\nfor name in " + repr(gone) + ": delattr(builtins, name)\nbuiltins.max = min")
    for name in gone[:3]:
        assert await bench.fails(name) == "NameError"
    assert await bench.value("max([1, 2])") == 1
    assert await bench.value("1 + 1") == 2


async def test_a_renamed_builtin_has_its_old_name_for_everybody_else(bench: Bench) -> None:
    await bench.run("import builtins\nlast = list(vars(builtins))[-1]\nbuiltins.other = vars(builtins).pop(last)")
    assert await bench.value("'other' in vars(builtins) and last not in vars(builtins)") is True
    code = "import threading\nfound = []\ndef look():\n"
    code += "    while 'other' in vars(builtins): pass\n    found.append(last in vars(builtins))\n"
    await bench.run(code + "looker = threading.Thread(target=look)\nlooker.start()")
    assert await bench.value("looker.join(5)\nfound") == [True]
