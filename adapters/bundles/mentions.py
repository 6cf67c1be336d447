"""`@namespace:path`, `@path` and `@~/…` in texts; what stands in code is none."""

import re
from typing import Final

MAX_DEPTH: Final = 3

_FENCED: Final = re.compile(r"^(?P<fence>```+|~~~+)[^\n]*\n.*?(?:^(?P=fence)[^\n]*$|\Z)", re.DOTALL | re.MULTILINE)
_IN_LINE: Final = re.compile(r"(?<!`)(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)", re.DOTALL)
_MENTION: Final = re.compile(r"(?<![A-Za-z0-9_.+`/-])@(?P<name>~?[A-Za-z0-9_./-][A-Za-z0-9_:./~-]*)")


def mentions(text: str) -> list[str]:
    """What follows each @, once, in order, without the punctuation that ends a sentence."""
    plain = _IN_LINE.sub(" ", _FENCED.sub("\n", text))
    found = (match["name"].rstrip(".:,") for match in _MENTION.finditer(plain))
    return list(dict.fromkeys(name for name in found if name))


def means_a_file(name: str) -> bool:
    """Whether somebody who writes it can only have meant a file; `@alice` may be a person."""
    return ":" in name or "/" in name or name.startswith("~") or bool(re.search(r"\.[A-Za-z]{1,5}\Z", name))
