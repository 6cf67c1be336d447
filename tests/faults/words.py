"""Words that are sent to panes, and how often each of them was typed."""

import re
from collections import Counter
from pathlib import Path

from tests.faults.book import Driver
from tests.waiting import eventually

_WORD = re.compile(r"word-\d+-end")


def word_of(number: int) -> str:
    """What is sent to a pane as the command of that number in the book."""
    return f"word-{number}-end"


def typed(home: Path) -> Counter[str]:
    """How often each word was typed: the terminal echoes it and cat says it again, both into the pane's log."""
    logs = b"".join(path.read_bytes() for path in (home / "logs" / "panes").glob("*.log"))
    return Counter(
        {word: -(-count // 2) for word, count in Counter(_WORD.findall(logs.decode("utf-8", "replace"))).items()}
    )


def typed_again(home: Path) -> list[str]:
    return [f"{word} was typed {count} times" for word, count in typed(home).items() if count > 1]


async def type_into(driver: Driver, pane_id: str) -> None:
    """A word of its own, and wait for the end of its sending."""
    await driver.ask("pane", "send", {"pane_id": pane_id, "text": word_of(len(driver.book.sent))})

    async def ended() -> bool:
        return not (await driver.state()).sends.open

    await driver.or_died(eventually(ended, "the text is typed"))
