"""Hypothesis strategies for every type that stands in the log, made from the types themselves."""

from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

S = TypeVar("S", bound=msgspec.Struct)

TEXT = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
TIMES = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001


def values(cls: type[S], **chosen: st.SearchStrategy[Any]) -> st.SearchStrategy[S]:
    """Any value of a struct; `chosen` replaces the strategy of single fields."""
    fields = {field.name: _of(field.type) for field in _fields(cls) if field.name not in chosen} | chosen
    return st.builds(cls, **fields)


def _fields(cls: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    return info.fields


def _of(kind: inspect.Type) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.StructType(cls=cls):
            return values(cls)
        case inspect.UnionType(types=types):
            return st.one_of(*(_of(member) for member in types))
        case inspect.EnumType(cls=cls):
            return st.sampled_from(list(cls))
        case inspect.LiteralType(values=literals):
            return st.sampled_from(list(literals))
        case inspect.NoneType():
            return st.none()
        case inspect.DateTimeType():
            return TIMES
        case inspect.StrType(pattern=str() as pattern):
            return st.from_regex(pattern, fullmatch=True)
        case inspect.StrType():
            return TEXT
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType(ge=least, le=most):
            return st.integers(-(2**63) if least is None else least, 2**63 - 1 if most is None else most)
        case inspect.FloatType(gt=above, ge=least, le=most):
            low = least if above is None else above
            return st.floats(low, most, exclude_min=above is not None, allow_nan=False, allow_infinity=False)
        case inspect.VarTupleType(item_type=item):
            return st.lists(_of(item), max_size=4).map(tuple)
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(_of(key), _of(value), max_size=4)
        case inspect.AnyType():
            return JSON
        case _:
            raise TypeError(f"no strategy for {kind}")
