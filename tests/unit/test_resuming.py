"""What a pane runs whose predecessor's agent reported its session."""

from handlers.effects.stages import argv_of
from handlers.ports import LaunchProfile

PLAIN = LaunchProfile(name="claude", command=("claude",))
RESUMING = LaunchProfile(
    name="claude",
    command=("claude",),
    resume=("claude", "--resume", "{agent_session}", "--name=again-{agent_session}-{agent_session}", "{other}"),
)


def test_a_first_pane_runs_the_command():
    assert argv_of(RESUMING, None) == ("claude",)


def test_a_successor_resumes_what_was_reported():
    assert argv_of(RESUMING, "s1") == ("claude", "--resume", "s1", "--name=again-s1-s1", "{other}")


def test_a_profile_that_does_not_say_how_runs_its_command():
    assert argv_of(PLAIN, "s1") == ("claude",)


def test_whatever_a_session_id_holds_it_makes_no_word_and_no_placeholder_of_its_own():
    held = "a b; rm -rf $(x) '\" {agent_session} {other} %s #{pane_id}"
    assert argv_of(RESUMING, held)[:3] == ("claude", "--resume", held)
