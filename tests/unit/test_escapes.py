"""Terminal output as text: what is taken out, wherever it is cut."""

import pytest

from adapters.escapes import Plain, plain

CASES = {
    b"plain\n": b"plain\n",
    b"a\r\nb\r\n": b"a\nb\n",
    b"10%\r20%\r\n": b"10%\r20%\n",
    b"\x1b[1;31mred\x1b[0m \x1b[2K\x1b[?2004h$ ": b"red $ ",
    b"\x1b]0;title\x07x\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\": b"xlink",
    b"\x1bPq#0;2\x1b\\sixel": b"sixel",
    b"\x1b(B\x1b=\x1b>\x1b7\x1b8\x1bM": b"",
    b"bell\x07 back\x08 nul\x00 tab\t": b"bell back nul tab\t",
    "é漢\x1b[1m\u009b".encode(): "é漢\u009b".encode(),
    b"\xff\xfe\x1b[mraw": b"\xff\xferaw",
}


@pytest.mark.parametrize("given", CASES, ids=repr)
def test_sequences_are_taken_out_and_the_rest_stays(given: bytes) -> None:
    assert plain(given) == CASES[given]


@pytest.mark.parametrize("given", CASES, ids=repr)
def test_they_may_be_cut_anywhere(given: bytes) -> None:
    for cut in range(len(given)):
        text = Plain()
        assert text.feed(given[:cut]) + text.feed(given[cut:]) + text.end() == CASES[given], cut
    bytewise = Plain()
    assert b"".join(bytewise.feed(bytes([each])) for each in given) + bytewise.end() == CASES[given]


def test_what_never_ends_is_not_held_back_for_ever() -> None:
    text = Plain()
    shown = text.feed(b"\x1b]0;" + b"x" * 10_000)
    assert len(shown) > 5_000
    assert text.feed(b"after").endswith(b"after")
