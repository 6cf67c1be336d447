"""What is wrong with a bundle, in the words and details of its error codes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from domain.bundles.shapes import ShapeFault
from handlers.bundle_ports import BundleProblem

MAX_FAULTS: Final = 20
"""Faults told of one file."""

MAX_SEARCHED: Final = 50


def invalid(file: Path, line: int | None, field: str, expected: str, found: str = "") -> BundleProblem:
    """One fault. `line` counts from 1; None where the whole file is at fault."""
    details = {"file": str(file), "line": line, "field": field, "expected": expected}
    return BundleProblem("bundle_invalid", _line(file, line, field, expected, found), details)


def misshapen(file: Path, faults: Sequence[tuple[int, ShapeFault]]) -> BundleProblem:
    """All faults of a file, at least one, each with its line; the details are those of the first."""
    told = [_line(file, line, fault.field, fault.expected, fault.found) for line, fault in faults[:MAX_FAULTS]]
    line, first = faults[0]
    details = {"file": str(file), "line": line, "field": first.field, "expected": first.expected}
    return BundleProblem("bundle_invalid", told[0], details, faults=told)


def not_found(what: str, searched: Sequence[str], *, named_in: str = "") -> BundleProblem:
    """`named_in`: where it is wanted, file and line. `searched`: every place, with the reason where there is one."""
    places = list(dict.fromkeys(searched))[:MAX_SEARCHED]
    where = f"{named_in}: " if named_in else ""
    message = f"{where}{what} is not found; searched: {', '.join(places) or 'nowhere'}"
    return BundleProblem("bundle_not_found", message, {"bundle": what, "searched": places})


def cycle(chain: Sequence[str]) -> BundleProblem:
    return BundleProblem(
        "bundle_include_cycle", f"a bundle includes itself: {' -> '.join(chain)}", {"chain": list(chain)}
    )


def _line(file: Path, line: int | None, field: str, expected: str, found: str) -> str:
    where = f"{file}:{line}" if line is not None else str(file)
    field = f" {field}:" if field else ""
    return f"{where}:{field} expected {expected}{f', not {found}' if found else ''}"
