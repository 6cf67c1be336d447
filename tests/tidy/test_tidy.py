"""The tree keeps the rules of `rules.py`, and each rule finds what is planted for it."""

import subprocess

import pytest

from tests.needs import GIT, ROOT
from tests.tidy.rules import FILE_LINES, FUNCTION_LINES, lock_problems, problems

LOCK = "requirements.lock"


@pytest.mark.needs("git")
def test_the_tree_is_tidy() -> None:
    listing = subprocess.run([*GIT, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    found: list[str] = []
    for path in filter(None, listing.stdout.split("\0")):
        file = ROOT / path
        content = file.read_bytes() if file.is_file() else b""
        if b"\0" not in content:
            found += (lock_problems if path == LOCK else problems)(path, content.decode())
    if found:
        pytest.fail("\n".join(found), pytrace=False)


BANNED = [
    ("domain/a.py", "from datetime import datetime\n\nt = datetime.now()", 3, "datetime.datetime.now is banned, take"),
    ("domain/a.py", "import datetime as dt\nf(dt.datetime.utcnow)", 2, "take the time from the command"),
    ("handlers/a.py", "from time import monotonic as m\nm()", 2, "time.monotonic is banned, take a Clock"),
    ("adapters/nats/a.py", "import time\ntime.time_ns()", 2, "time.time_ns is banned, take a Clock"),
    ("domain/a.py", "import uuid\nuuid.uuid4()", 2, "uuid.uuid4 is banned, take the id from the command"),
    ("handlers/a.py", "from uuid_utils.compat import uuid7\nuuid7()", 2, "uuid_utils.compat.uuid7 is banned, take Ids"),
    ("adapters/a.py", "import uuid_utils.compat\nuuid_utils.compat.uuid7()", 2, "uuid_utils.compat.uuid7 is banned"),
    ("adapters/a.py", "def f():\n  import asyncio as aio\n  aio.sleep(0.1)", 3, "asyncio.sleep is banned, wait for"),
    ("tests/unit/a.py", "import time\ntime.sleep(1)", 2, "time.sleep is banned, wait for the condition itself"),
    ("handlers/a.py", "import random\nrandom.choice([1])", 2, "random.choice is banned, take a random.Random(seed)"),
    ("domain/a.py", "import secrets\nsecrets.token_hex()", 2, "secrets.token_hex is banned, make secrets in adapters/"),
    ("tests/a.py", "from unittest.mock import Mock\nMock()", 2, "unittest.mock.Mock is banned, start the real part"),
    ("tests/a.py", "import unittest.mock", 1, "unittest.mock is banned, start the real part"),
    ("tests/a.py", "import pytest\npytest.skip()", 2, "pytest.skip is banned, say pytest.mark.needs (tests/needs.py)"),
    ("docs/a.md", "one\n\nTODO two", 3, "TODO is banned, finish it or leave it out"),
    ("Makefile", "cd /work/main", 1, "/work/ is a path of one machine, use a relative or a temporary one"),
    ("adapters/a.py", 'HOME = "/root/.x"', 1, "/root/ is a path of one machine"),
    ("adapters/http/a.py", 'request.headers["X-Tower-Origin"]', 1, '["origin"] is banned, who asks is read from'),
    ("adapters/rpc/a.py", 'parameters["origin"]', 1, '["origin"] is banned, who asks is read from'),
    ("adapters/http/a.py", 'request.headers.get("X-Forwarded-For")', 1, 'get("origin") is banned, who asks'),
    ("adapters/http/a.py", 'dict(scope["headers"]).get(b"origin")', 1, 'get("origin") is banned, who asks'),
    (
        "adapters/http/a.py",
        "class Body(Struct):\n  noun: str\n  origin: str",
        3,
        "the field origin is banned, who asks",
    ),
    ("adapters/http/a.py", "def f(origin: Annotated[str, Header()]): ...", 1, "the parameter origin is banned, who"),
    ("adapters/http/a.py", 'def f(x=Query(alias="origin")): ...', 1, 'alias="origin" is banned, who asks'),
    ("adapters/a.py", "def f():\n" + "  x = 1\n" * FUNCTION_LINES, 1, "f has 71 lines, at most 70: name its steps"),
    ("adapters/http/static/a.js", "x\n" * (FILE_LINES + 1), 401, "the file has 401 lines, at most 400: split it"),
]


@pytest.mark.parametrize(("path", "text", "line", "message"), BANNED)
def test_a_planted_breach_is_found_and_answered(path: str, text: str, line: int, message: str) -> None:
    (found,) = problems(path, text)
    assert found.startswith(f"{path}:{line}: ")
    assert message in found


TIDY = [
    ("adapters/system.py", "import time\nfrom uuid_utils.compat import uuid7\ntime.time(), uuid7()"),
    ("tests/unit/a.py", "import time\ntime.monotonic()"),
    ("handlers/a.py", "import asyncio\nasyncio.sleep(0)"),
    ("handlers/a.py", "import random\nrandom.Random(7)"),
    ("handlers/a.py", "clock.now(), self.time.time(), random.random()"),
    ("domain/a.py", "from uuid import uuid5\nuuid5(a, b)"),
    ("adapters/http/browser.py", 'request.headers.get("origin")'),
    ("adapters/http/a.py", 'peer.origin, {"origin": peer.origin}, submit(origin=peer.origin)'),
    ("adapters/http/a.py", "def f(origin: str): ..."),
    ("docs/a.md", "mktemp /tmp/x.XXXXXX, docs/work/plan, https://example.org/work/"),
    ("adapters/a.py", "def f():\n" + "  x = 1\n" * (FUNCTION_LINES - 1)),
    ("adapters/a.py", "x\n" * FILE_LINES),
]


@pytest.mark.parametrize(("path", "text"), TIDY)
def test_what_is_allowed_is_not_reported(path: str, text: str) -> None:
    assert problems(path, text) == []


@pytest.mark.parametrize(
    "line",
    ["--index-url x", "-i x", "--find-links x", "a @ file://x", "    # via -r https://example.org", "./wheels/a.whl"],
)
def test_an_address_in_the_lock_is_found(line: str) -> None:
    text = f"a==1 \\\n    --hash=sha256:00\n    # via b\n{line}\n"
    assert lock_problems(LOCK, text) == [f"{LOCK}:4: a lock holds names, versions and hashes only"]
