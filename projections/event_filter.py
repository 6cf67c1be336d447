"""Conditions of the audit query, checked: an unknown kind or type, or a time that is none, is `validation_failed`."""

from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from domain import catalogue
from projections.events import EVENTS
from projections.paging import invalid
from projections.tables import indexable, instant, storable

_KINDS: Final = frozenset(entry.kind for entry in catalogue.EVENTS)
_MAX_POSITION: Final = 2**63 - 1


def _type_names() -> dict[str, tuple[str, ...]]:
    """Every way to write a type -> its wire names of all versions: an old event is shown in today's version."""
    names: dict[str, tuple[str, ...]] = {}
    for entry in catalogue.EVENTS:
        unversioned = entry.wire_name.rpartition(".v")[0]
        versions = tuple(f"{unversioned}.v{version}" for version in range(1, entry.version + 1))
        names |= dict.fromkeys((entry.name, unversioned, *versions), versions)
    return names


_TYPES: Final = _type_names()


def conditions(
    *,
    kind: str | None,
    subject: str | None,
    type_name: str | None,
    actor: str | None,
    correlation_id: str | None,
    since: datetime | str | None,
    until: datetime | str | None,
    after_position: int | None,
) -> list[sa.ColumnElement[bool]]:
    """What the rows must meet, all of it. `since` is included, `until` is not; naive times are UTC."""
    columns: Any = EVENTS.table.c
    found: list[sa.ColumnElement[bool]] = []
    if kind is not None:
        if kind not in _KINDS:
            raise invalid("kind", f"one of {', '.join(sorted(_KINDS))}")
        found.append(columns.kind == kind)
    if subject is not None:
        found.append(columns.subject == storable(subject))
    if type_name is not None:
        if type_name not in _TYPES:
            raise invalid("type", f"no type of event is called {type_name}")
        found.append(columns.type.in_(_TYPES[type_name]))
    if actor is not None:
        found.append(columns.actor == storable(actor))
    if correlation_id is not None:
        found.append(columns.correlation_id == indexable(correlation_id))
    if since is not None:
        found.append(columns.time >= _time("since", since))
    if until is not None:
        found.append(columns.time < _time("until", until))
    if after_position is not None:
        if not 0 <= after_position <= _MAX_POSITION:
            raise invalid("after_position", "0 or more")
        found.append(columns.position > after_position)
    return found


def _time(field: str, value: datetime | str) -> str:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return instant(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError) as error:
        raise invalid(field, "a time such as 2026-01-02T03:04:05Z") from error
