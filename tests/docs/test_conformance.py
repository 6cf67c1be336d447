"""docs/conformance.md: every rule names tests, and they are there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("conformance*.md"))
HEADS = {"rule", "---"}


def rows(page: Path) -> list[tuple[str, list[str]]]:
    """Rule and test ids of each row of the page's tables."""
    found: list[tuple[str, list[str]]] = []
    for line in page.read_text().splitlines():
        if not line.startswith("|"):
            continue
        *rule, held_by = line.strip("|").split("|")
        if rule[0].strip() not in HEADS and not set(line) <= set("|- "):
            found.append(("|".join(rule).strip(), re.findall(r"`([^`]+)`", held_by)))
    return found


@cache
def names_in(path: Path) -> frozenset[str]:
    """`test_a`, `TestB`, `TestB::test_c`."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}::{each.name}"
                for each in node.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return frozenset(names)


def test_there_are_pages() -> None:
    assert PAGES
    assert all(rows(page) for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_rule_names_tests_that_are_there(page: Path) -> None:
    wrong: list[str] = []
    for rule, held_by in rows(page):
        if not held_by:
            wrong.append(f"{rule}: no test")
        for each in held_by:
            file, _, name = each.partition("::")
            path = ROOT / "tests" / file
            if not path.is_file() or (name and name not in names_in(path)):
                wrong.append(f"{rule}: there is no {each}")
    assert wrong == []
