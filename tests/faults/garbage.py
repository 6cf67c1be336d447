"""Bad commands by a seed: documents that hypothesis makes from the schemas, and what can befall their bytes."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from adapters.system import SystemIds
from tests.needs import ROOT

MAX_BYTES = 1024 * 1024
DEPTH = 100_000
ID = "@id@"
"""Stands for a fresh id until a command is sent."""


class Bad(NamedTuple):
    """`id`: the fresh id in it, if it is still one that the tower may read."""

    noun: str
    verb: str
    payload: bytes
    id: str


class Document(NamedTuple):
    noun: str
    verb: str
    fields: Any


NASTY = st.sampled_from(
    [
        "",
        "\0",
        "a\0b",
        "*",
        ">",
        "a.b",
        "tower.evt.x",
        "é" * 64,
        "\u202e",
        "😀",
        "x" * 200,
        "1m+2s",
        "host",
        ID,
        "-",
        "'",
    ]
)
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**63, max_value=2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | NASTY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


WELL_FORMED = 0.01
"""So many are commands, and refused for what they ask."""


def documents(count: int, seed_value: int) -> list[Document]:
    """So many payloads that nearly are commands, the same for the same seed."""
    found: list[Document] = []

    @seed(seed_value)
    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
    @given(st.one_of([_documents(path) for path in sorted((ROOT / "schemas" / "commands").glob("*.json"))]))
    def collect(document: Document) -> None:
        found.append(document)

    collect()
    return found


def _documents(path: Path) -> st.SearchStrategy[Document]:
    """A command by its schema, with fields that are left out, of another type, or unknown."""
    schema = json.loads(path.read_text())
    noun, verb = schema["title"].split(".")
    data = schema["$defs"][schema["properties"]["data"]["$ref"].rpartition("/")[2]]
    fields = {name: _values(each) | JUNK for name, each in data.get("properties", {}).items()}
    envelope = {
        "id": st.sampled_from([ID] * 9 + [""]) | JUNK.map(lambda junk: ID if isinstance(junk, str) else junk),
        "data": st.fixed_dictionaries({}, optional=fields) | _extended(st.fixed_dictionaries(fields)) | JUNK,
        "idempotency_key": st.none() | NASTY,
        "correlationid": st.none() | NASTY,
        "traceparent": st.none() | NASTY,
    }
    needed = {name: envelope.pop(name) for name in ("id", "data")}
    whole = _extended(st.fixed_dictionaries(needed, optional=envelope))
    address = st.sampled_from([(noun, verb)] * 8 + [("pane", "register"), ("node", "claim"), ("", ""), ("x", "y")])
    return st.builds(lambda to, document: Document(to[0], to[1], document), address, whole | JUNK)


def _values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    match schema:
        case {"anyOf": options}:
            return st.one_of([_values(option) for option in options])
        case {"type": "string"}:
            return st.text(max_size=12) | NASTY
        case {"type": "null"}:
            return st.none()
        case {"type": "object"}:
            return st.dictionaries(st.text(max_size=12) | NASTY, NASTY, max_size=3)
        case _:
            return JUNK


def _extended(objects: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Now and then with a field that nobody knows."""
    unknown = st.dictionaries(st.text(min_size=1, max_size=8), JUNK, max_size=1)
    return st.builds(lambda fields, more: {**more, **fields}, objects, unknown)


# --- what befalls their bytes -----------------------------------------------------------------------------------------


def bad_commands(documents: list[Document], count: int, rng: random.Random) -> Iterator[Bad]:
    ids = SystemIds()
    for number in range(count):
        document = documents[number % len(documents)]
        fresh = ids.uuid7()
        if rng.random() < WELL_FORMED:
            yield Bad("pane", "remove", json.dumps({"id": fresh, "data": {"pane_id": fresh}}).encode(), fresh)
            continue
        payload = json.dumps(document.fields, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
        payload = payload.replace(ID.encode(), fresh.encode())
        # Those that are made of a megabyte each are a few of all.
        harm = rng.choice(RARE) if rng.random() < 0.005 else rng.choice(HARMS)
        noun, verb = document.noun, document.verb
        if rng.random() < 0.05:
            noun = "".join(chr(rng.randrange(0x21, 0x7F)) for _ in range(rng.randrange(1, 30)))
            noun = noun.translate(str.maketrans("", "", ".*>"))
        yield Bad(noun or "none", verb or "none", harm(payload, fresh, rng), fresh)


def _as_it_is(payload: bytes, fresh: str, rng: random.Random) -> bytes:
    return payload


def _flipped(payload: bytes, fresh: str, rng: random.Random) -> bytes:
    changed = bytearray(payload)
    for _ in range(rng.randrange(1, 6)):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(payload: bytes, fresh: str, rng: random.Random) -> bytes:
    return payload[: rng.randrange(len(payload) + 1)]


def _raw(payload: bytes, fresh: str, rng: random.Random) -> bytes:
    return rng.randbytes(rng.randrange(200))


def _twice(payload: bytes, fresh: str, rng: random.Random) -> bytes:
    """The id, the data or a field of it stands there twice."""
    inner = rng.choice(('"pane_id":"a","pane_id":"b"', '"layout_id":"a","layout_id":"a"'))
    twice = rng.choice(("", f',"data":{{{inner}}}', f',"id":"{fresh}"'))
    return f'{{"id":"{fresh}","data":{{{inner}}}{twice}}}'.encode()


def _otherwise_encoded(payload: bytes, fresh: str, rng: random.Random) -> bytes:
    encoding = rng.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7", "cp037"))
    return payload.decode("utf-8", "replace").encode(encoding, "replace")


def _with_value(payload: bytes, fresh: str, rng: random.Random) -> bytes:
    value = rng.choice(
        (
            '"\\ud800"',
            '"\\u0000"',
            "9" * 400,
            "-1e999",
            "NaN",
            "1e400",
            '"\xff"',
            "\\",
            "{}}",
            "tru",
            '"\\x"',
            "[" * 2000,
        )
    )
    return f'{{"id":"{fresh}","data":{{"pane_id":{value}}}}}'.encode("latin-1")


def _followed(payload: bytes, fresh: str, rng: random.Random) -> bytes:
    return payload + rng.choice((b"\0", b"{}", payload, b"\n\n]", b"//"))


def _deep(payload: bytes, fresh: str, rng: random.Random) -> bytes:
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
    nested = opening * DEPTH + "1" + rng.choice(("", closing * DEPTH))
    return rng.choice((nested, f'{{"id":"{fresh}","data":{nested}}}')).encode()


def _large(payload: bytes, fresh: str, rng: random.Random) -> bytes:
    """About as much as a command may have, less, or more."""
    size = MAX_BYTES + rng.choice((-2_000, -200, 1, 100_000))
    document = {"id": fresh, "data": {"pane_id": "x" * (size - 100)}}
    return msgspec.json.encode(document)


Harm = Callable[[bytes, str, random.Random], bytes]

HARMS: tuple[Harm, ...] = (
    _as_it_is,
    _as_it_is,
    _as_it_is,
    _flipped,
    _flipped,
    _cut,
    _raw,
    _twice,
    _otherwise_encoded,
    _with_value,
    _followed,
)
RARE: tuple[Harm, ...] = (_deep, _large)
