"""What stands in a file of templates or launch profiles (layouts.md, templates and launch profiles): what is taken, and
for what is not the line and the reason."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.files.launch_models import profiles_in, templates_in
from adapters.files.yaml_lines import MAX_VALUES, Fault, FaultyText, documents
from domain.layouts.templates import MAX_SLOTS
from domain.messages import PaneSlot, Template
from handlers.ports import LaunchProfile

EXAMPLES = Path(__file__).parents[2] / "examples"

SOLO = "name: solo\npanes:\n- {role: master, capability: plan, label: lead"
CLAUDE = "name: claude\ncommand: [claude]\n"


def faults(text: str, *, profiles: bool = False) -> list[tuple[int | None, str]]:
    with pytest.raises(FaultyText) as raised:
        _ = profiles_in(text) if profiles else templates_in(text)
    return [(fault.line, fault.reason) for fault in raised.value.faults]


class TestTemplates:
    def test_the_example(self) -> None:
        (review,) = templates_in((EXAMPLES / "templates" / "review.yaml").read_text())
        slave = PaneSlot(role="slave", capability="code", label="s{n}", launch="claude", restart="on_failure")
        assert review == Template(
            name="review",
            panes=(PaneSlot(role="master", capability="plan", label="m{n}", launch="claude"), slave, slave),
        )

    def test_launch_restart_and_count_have_defaults(self) -> None:
        (solo,) = templates_in(SOLO + "}")
        assert solo.panes == (
            PaneSlot(role="master", capability="plan", label="lead", launch="shell", restart="never"),
        )

    def test_names_are_free(self) -> None:
        (named,) = templates_in(SOLO.replace("solo", "1m + 2s/ä") + "}")
        assert named.name == "1m + 2s/ä"

    @pytest.mark.parametrize("count", [1, 2, MAX_SLOTS])
    def test_1_to_64_panes(self, count: int) -> None:
        (many,) = templates_in(SOLO.replace("lead", '"s{n}"') + f", count: {count}}}")
        assert len(many.panes) == count

    def test_0_or_65_panes(self) -> None:
        assert faults("name: none\npanes: []") == [(2, "panes: expected 1 to 64 panes in all, not 0")]
        text = SOLO.replace("lead", '"s{n}"') + ", count: 64}\n- {role: master, capability: x, label: b}"
        assert faults(text) == [(2, "panes: expected 1 to 64 panes in all, not 65")]

    def test_a_literal_label_stands_for_one_pane(self) -> None:
        reason = "panes: the label lead stands for more than one pane: write lead{n}"
        assert faults(SOLO + ", count: 2}") == [(2, reason)]
        assert faults(SOLO + "}\n- {role: slave, capability: x, label: lead}") == [(2, reason)]

    @pytest.mark.parametrize(
        ("field", "said"),
        [
            ("count: 0", "count: expected a whole number from 1 to 64"),
            ("count: 65", "count: expected a whole number from 1 to 64"),
            ('count: "2"', "count: expected a whole number from 1 to 64"),
            ("count: 1.5", "count: expected a whole number from 1 to 64"),
            ("count: 0x_", "count: expected a whole number from 1 to 64"),
            ("restart: always", "restart: expected never or on_failure"),
            ("restart: no", "restart: expected never or on_failure"),
            ("launch: [claude]", "launch: expected text, not a list"),
            ('launch: "a b"', "launch: expected 1 to 64 characters of A-Z a-z 0-9 _ . -"),
            ("lanch: claude", "lanch is no key here; did you mean launch?"),
            (
                "zzz: 1",
                "zzz is no key here; known are role, capability, label, launch, restart, count",
            ),
        ],
    )
    def test_a_fault_names_its_line_and_what_is_expected(self, field: str, said: str) -> None:
        text = f"name: solo\npanes:\n- role: master\n  capability: plan\n  label: lead\n  {field}\n"
        assert faults(text) == [(6, f"panes[0].{said}")]

    @pytest.mark.parametrize("label", ["a b", "{m}", "{n", "x" * 65, "é", '"a:b"', '""', "a{n}{x}"])
    def test_a_label_is_an_identifier_with_n(self, label: str) -> None:
        text = f"name: solo\npanes:\n- role: master\n  capability: plan\n  label: '{label}'\n"
        ((line, reason),) = faults(text)
        assert (line, reason.partition(":")[0]) == (5, "panes[0].label")

    def test_all_faults_of_a_file_are_told_in_order(self) -> None:
        text = "panes:\n- {role: master, label: x}\n- 3\nnam: y\n"
        assert faults(text) == [
            (1, "name is missing: expected 1 to 128 printable characters"),
            (2, "panes[0].capability is missing: expected 1 to 64 printable characters"),
            (3, "panes[1]: expected role: …, capability: …, label: …, launch: …, restart: …, count: …"),
            (4, "nam is no key here; did you mean name?"),
        ]


class TestProfiles:
    def test_the_example(self) -> None:
        (claude,) = profiles_in((EXAMPLES / "launch_profiles" / "claude.yaml").read_text())
        assert claude == LaunchProfile(
            name="claude",
            command=("claude", "--dangerously-skip-permissions"),
            env={"FOO": "bar"},
            working_dir="/workspace",
            resume=("claude", "--resume", "{agent_session}"),
        )

    def test_only_name_and_command_are_needed(self) -> None:
        assert profiles_in(CLAUDE) == (LaunchProfile(name="claude", command=("claude",)),)

    def test_a_string_is_an_error_that_says_how_to_write_it(self) -> None:
        text = "name: claude\ncommand: claude --model opus\n"
        said = "expected a list of words, not one string: write it as [claude, --option, value]"
        assert faults(text, profiles=True) == [(2, f"command: {said}")]
        assert faults(CLAUDE + "resume: claude -r\n", profiles=True) == [(3, f"resume: {said}")]

    @pytest.mark.parametrize(
        ("lines", "line", "said"),
        [
            ("command: []", 2, "command: expected a list of words, such as [claude, --model, opus]"),
            ("command: ['']", 2, "command: the first word names the program: it may not be empty"),
            ("command: [a, 1]", 2, "command[1]: expected text, not a number: put it in quotes"),
            ('command: ["a\\0"]', 2, "command[0]: no argument or value holds a NUL character"),
            ("command: [a]\nenv:\n  PORT: 8080", 4, "env.PORT: expected text, not a number: put it in quotes"),
            ("command: [a]\nenv:\n  ON: yes", 4, "the key ON is not text: put it in quotes"),
            ("command: [a]\nenv:\n  A: yes", 4, "env.A: expected text, not true or false: put it in quotes"),
            ("command: [a]\nenv:\n  A: 2026-01-02", 4, "env.A: expected text, not a date: put it in quotes"),
            ("command: [a]\nenv:\n  A:", 4, "env.A: expected text, not nothing: put it in quotes"),
            ("command: [a]\nenv:\n  7: x", 4, "the key 7 is not text: put it in quotes"),
            (
                "command: [a]\nenv:\n  A-B: x",
                4,
                "env.A-B: expected names of variables: A-Z a-z 0-9 _, no digit first",
            ),
            ("command: [a]\nworking_dir: work", 3, "working_dir: expected an absolute path, such as /workspace"),
            ("command: [a]\nenviron: {}", 3, "environ is no key here; did you mean env?"),
        ],
    )
    def test_faults(self, lines: str, line: int, said: str) -> None:
        assert faults(f"name: claude\n{lines}\n", profiles=True) == [(line, said)]

    def test_no_reason_repeats_a_value_that_may_be_a_secret(self) -> None:
        text = "name: x\ncommand: x --key hidden\nenv: {A_TOKEN: [hidden], B: {hidden: 1}}\nworking_dir: hidden\n"
        assert not [
            reason for _, reason in faults(text, profiles=True) if "hidden" in reason.replace("env.B.hidden", "")
        ]


class TestDocuments:
    def test_several_in_a_file(self) -> None:
        assert [profile.name for profile in profiles_in(f"{CLAUDE}---\nname: b\ncommand: [b]\n---\n")] == [
            "claude",
            "b",
        ]

    def test_a_file_is_taken_whole_or_not_at_all(self) -> None:
        assert faults(f"{CLAUDE}---\nname: b\n", profiles=True) == [
            (4, "command is missing: expected a list of words, such as [claude, --model, opus]")
        ]

    def test_a_name_stands_once_in_a_file(self) -> None:
        assert faults(f"{CLAUDE}---\n{CLAUDE}", profiles=True) == [(4, "the name claude stands here again")]

    @pytest.mark.parametrize("text", ["", "# nothing\n", "---\n---\n"])
    def test_an_empty_file_is_no_template(self, text: str) -> None:
        assert faults(text) == [(None, "nothing stands in it: expected name: …, panes: …")]

    @pytest.mark.parametrize(
        ("text", "line", "said"),
        [
            ("name: a\nname: b\n", 2, "name stands here again, first on line 1"),
            ("- name: a\n", 1, "expected name: …, panes: …"),
            ("name: a\n\tpanes: 3\n", 2, "not YAML: "),
            ("name: [a\n", 2, "not YAML: "),
            ("a: b\nname: x\0\n", 2, "not YAML: the character \\x00 may not stand here"),
            ('name: "\\UFFFFFFFF"', 1, "not YAML: "),
            ("name: *nowhere\n", 1, "not YAML: "),
            (
                "!!python/object/apply:os.system ['true']\n",
                1,
                "the tag tag:yaml.org,2002:python/object/apply:os.system",
            ),
            ("name: !secret x\n", 1, "the tag !secret is not taken"),
            ("? [a, b]\n: c\n", 1, "a key is text"),
        ],
    )
    def test_what_is_no_such_yaml(self, text: str, line: int, said: str) -> None:
        ((at, reason), *_) = faults(text)
        assert (at, reason[: len(said)]) == (line, said)

    def test_aliases_and_merges_are_written_out(self) -> None:
        text = "name: a\ncommand: [&run a, *run]\n---\nname: b\ncommand: [b]\nenv:\n  <<: {C: e, A: x}\n  A: o\n"
        first, second = profiles_in(text)
        assert first.command == ("a", "a")
        assert second.env == {"A": "o", "C": "e"}

    def test_bombs(self) -> None:
        levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
        ((_, reason),) = faults("l0: &l0 [x]\n" + "\n".join(levels))
        assert reason == f"more than {MAX_VALUES} values, each use of an alias counted"
        for text in ("a: &a [*a]", "a: &a {<<: *a}", "a: &a {b: *a}", "a: &a {<<: [*a, *a, *a]}"):
            ((_, reason),) = faults(text)
            assert "nested deeper than 20" in reason or str(MAX_VALUES) in reason, text

    @pytest.mark.parametrize("opening", ["[", "{", "- ", "? ", "[{", "{a: "])
    def test_deep_nesting(self, opening: str) -> None:
        ((_, reason), *_) = faults(opening * 2000)
        assert reason.startswith(("not read: nested deeper", "nested deeper", "not YAML"))


PIECES = (
    *("name", "panes", "command", "env", ": ", "- ", "[", "]", "{", "}", "\n", "  ", "&a ", "*a", "<<: ", "---\n"),
    *('"', "'", "|\n", "!!set ", "? ", "# ", "x", "1", "~", "\\UFFFFFFFF", "\\ud800", "\0", "%", "\t", "\r"),
)


@given(
    st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
    | st.text(max_size=60)
    | st.binary(max_size=60).map(lambda content: content.decode("latin-1"))
)
@example('"\\ud800"')
@example("0x_: 1")
@example("a: " + "9" * 5000)
def test_any_text_is_things_or_faults(text: str) -> None:
    for parse in (templates_in, profiles_in):
        found: tuple[Fault, ...] = ()
        try:
            things = parse(text)
        except FaultyText as error:
            things, found = (), error.faults
        assert bool(things) != bool(found)
        assert all(fault.reason.isprintable() and (fault.line or 1) >= 1 for fault in found)


def test_lines_of_places() -> None:
    (document,) = documents("a:\n  - b\n  - c: d\n")
    assert [document.line(path) for path in ((), ("a",), ("a", 1), ("a", 1, "c"), ("a", 1, "nowhere"))] == [
        1,
        1,
        3,
        3,
        3,
    ]
