"""What a session's program gets of the tower's environment, where it runs, and what errors do not tell."""

from adapters.runtimes.environment import environment_of, folder_of, without_secrets
from adapters.runtimes.kept import Kept
from adapters.runtimes.shapes import Shape
from handlers.session_ports import RuntimeSpec

TOWER = {"PATH": "/bin", "LC_ALL": "C", "API_KEY": "k-123456", "AWS_REGION": "x", "AWS_KEY": "y", "OTHER": "z"}
SPEC = RuntimeSpec(session_id="s", kind="command", env={"AGENTTOWER_SESSION_ID": "session-of-mine"})


def test_plain_variables_those_that_are_named_and_those_of_the_session() -> None:
    plain = {"PATH": "/bin", "LC_ALL": "C", **SPEC.env}
    assert environment_of(TOWER, Shape(), SPEC) == plain
    named = Shape(env=("AWS_*", "OTHER", "MISSING"))
    assert environment_of(TOWER, named, SPEC) == {**plain, "AWS_REGION": "x", "AWS_KEY": "y", "OTHER": "z"}


def test_secrets_are_taken_out_the_longest_first_and_no_ids() -> None:
    environment = {"KEY": "abcdef", "TOKEN": "abcdefgh", "PASSWORD": "short", "PATH": "/usr/bin", **SPEC.env}
    text = "abcdefgh abcdef short /usr/bin session-of-mine"
    assert without_secrets(text, environment) == "<redacted> <redacted> short /usr/bin session-of-mine"


def test_the_folder_is_the_sessions_unless_the_runtime_names_one() -> None:
    here, there = RuntimeSpec(session_id="s", kind="command", working_dir="below"), Shape(working_dir="/there")
    assert folder_of(Shape(), SPEC, "/place") == "/place"
    assert folder_of(Shape(), here, "/place") == "/place/below"
    assert folder_of(Shape(working_dir="deep"), here, "/place") == "/place/below/deep"
    assert folder_of(there, here, "/place") == "/there"


def test_of_long_output_both_ends_are_kept() -> None:
    kept = Kept(most=4)
    for piece in ("ab", "cdé", "fgh", "ij"):
        kept.add(piece)
    assert kept.text == "abcd\n[3 bytes left out]\nghij"
    assert kept.left_out_bytes == len("éf".encode())
    whole = Kept(most=4)
    whole.add("abcdefgh")
    assert (whole.text, whole.left_out_bytes) == ("abcdefgh", 0)
