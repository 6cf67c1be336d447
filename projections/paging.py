"""Pages of a list: limits, opaque cursors, and the rows after a cursor for any mix of directions.

A cursor holds the sort key of the last row shown, so that pages stay right while rows come, go and change: a row that
did not move is neither shown twice nor left out.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from domain.errors import Rejection
from projections.tables import storable

MAX_LIMIT: Final = 200
DEFAULT_LIMIT: Final = 50


class Page(msgspec.Struct, frozen=True):
    """`next_cursor` is None on the last page; `position` of the log is the one that the rows reflect."""

    items: list[dict[str, Any]]
    next_cursor: str | None
    position: int


class Order(msgspec.Struct, frozen=True):
    """Columns to sort by; those in `descending` go down. The last one is unique among equals of the others."""

    columns: tuple[sa.Column[Any], ...]
    descending: frozenset[str] = frozenset()

    def clauses(self) -> list[sa.ColumnElement[Any]]:
        return [column.desc() if column.name in self.descending else column.asc() for column in self.columns]

    def after(self, values: Sequence[Any]) -> sa.ColumnElement[bool]:
        """Rows that sort after `values`."""
        ways: list[sa.ColumnElement[bool]] = []
        for place, (column, value) in enumerate(zip(self.columns, values, strict=True)):
            equal = [c == v for c, v in zip(self.columns[:place], values, strict=False)]
            ways.append(sa.and_(*equal, column < value if column.name in self.descending else column > value))
        first = self.columns[0]
        bound = first <= values[0] if first.name in self.descending else first >= values[0]
        # Says nothing new, but lets an index on the first column begin at the cursor.
        return sa.and_(bound, sa.or_(*ways))


class Query:
    """One request for a page: its filters and its place, checked. Raises `validation_failed`."""

    def __init__(self, name: str, order: Order, filters: Mapping[str, Any], limit: int, cursor: str | None) -> None:
        if isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
            raise invalid("limit", f"1 to {MAX_LIMIT}")
        self.limit: Final = limit
        self._order = order
        given = {key: storable(str(value)) for key, value in filters.items() if value is not None}
        self._mark = hashlib.blake2b(msgspec.json.encode((name, sorted(given.items()))), digest_size=6).hexdigest()
        self._place = None if cursor is None else self._read(cursor)

    def apply(self, statement: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
        """One row more than the page holds, so that it is known whether there is a next one."""
        if self._place is not None:
            statement = statement.where(self._order.after(self._place))
        return statement.order_by(*self._order.clauses()).limit(self.limit + 1)

    def next_cursor(self, rows: Sequence[sa.RowMapping]) -> str | None:
        """From the rows of `apply`."""
        if len(rows) <= self.limit:
            return None
        last = rows[self.limit - 1]
        place = [last[column.name] for column in self._order.columns]
        return base64.urlsafe_b64encode(msgspec.json.encode([self._mark, *place])).decode().rstrip("=")

    def _read(self, cursor: str) -> list[Any]:
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            mark, *place = msgspec.json.decode(raw, type=list[str | int])
        except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
            raise invalid("cursor", "not a cursor of this interface") from error
        if mark != self._mark:
            raise invalid("cursor", "belongs to another query: filters stay the same from page to page")
        types = [int if isinstance(column.type, sa.BigInteger) else str for column in self._order.columns]
        if [type(value) for value in place] != types:
            raise invalid("cursor", "not a cursor of this interface")
        if not all(isinstance(value, str) or abs(value) < 2**63 for value in place):
            raise invalid("cursor", "not a cursor of this interface")
        return [storable(value) if isinstance(value, str) else value for value in place]


def invalid(field: str, reason: str) -> Rejection:
    return Rejection("validation_failed", f"{field}: {reason}", field=field, reason=reason)
