"""One bundle file: YAML, or markdown with YAML front matter, whose body is the instruction. Blocking."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from adapters.bundles.problems import invalid, misshapen
from adapters.files.yaml_lines import Document, FaultyText, printable, values
from domain.bundles.merging import plain
from domain.bundles.shapes import faults

MAX_FILE_BYTES: Final = 1024 * 1024

SUFFIXES: Final = (".md", ".yaml", ".yml")

_FRONT_MATTER: Final = re.compile(r"---[ \t]*\r?\n(?P<head>.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


class FrontMatter(NamedTuple):
    """`document` holds a mapping; `offset` is added to its lines to have those of the file."""

    document: Document
    offset: int
    body: str


class BundleFile(NamedTuple):
    """A file without faults of shape."""

    path: Path
    given: Mapping[str, Any]
    body: str
    document: Document
    offset: int

    def where(self, *place: str | int) -> str:
        """File and line of a place in it."""
        return f"{self.path}:{self.document.line(place) + self.offset}"


def text_of(path: Path, content: bytes) -> str:
    """Raises `BundleProblem` for what is no text."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise invalid(path, line, "", "UTF-8 text", "other bytes") from None


def front_matter(path: Path, text: str) -> FrontMatter:
    """The front matter of a markdown text, an empty mapping if it has none. Raises `BundleProblem`."""
    found = _FRONT_MATTER.match(text)
    if found is None:
        return FrontMatter(Document({}, {(): 1}), 0, text.strip())
    return FrontMatter(_document(path, found["head"], 1), 1, text[found.end() :].strip())


def bundle_file(path: Path, content: bytes, *, top: bool) -> BundleFile:
    """Raises `BundleProblem` with every fault of shape."""
    text = text_of(path, content)
    if path.suffix == ".md":
        document, offset, body = front_matter(path, text)
    else:
        document, offset, body = _document(path, text, 0), 0, ""
    if wrong := faults(document.value, top=top):
        raise misshapen(path, [(document.line(fault.path) + offset, fault) for fault in wrong])
    return BundleFile(path, document.value, body, document, offset)


def _document(path: Path, text: str, offset: int) -> Document:
    try:
        found = values(text)
    except FaultyText as error:
        line, reason = error.faults[0]
        raise invalid(path, None if line is None else line + offset, "", f"YAML ({reason})") from None
    if len(found) > 1:
        raise invalid(path, found[1].line(()) + offset, "", "one YAML document", "several")
    if not found:
        return Document({}, {(): 1})
    try:
        msgspec.json.encode(plain(found[0].value))
    except (ValueError, OverflowError) as error:
        raise invalid(path, None, "", f"values that JSON can hold ({printable(str(error))})") from None
    return found[0]
