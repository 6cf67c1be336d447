"""What a run is told: the defaults of each type, the fields of templates, and what a firing does not have."""

from typing import Any

import pytest

from domain.background.events import TriggerFired
from domain.background.instructions import fault, instruction
from tests.unit.builders import AT


def fired(type_: str = "session_event", data: Any = None, **fields: Any) -> TriggerFired:
    told: dict[str, Any] = {"trigger_id": "f", "background_id": "b", "trigger": 0, "source": "s", "timestamp": AT}
    return TriggerFired(**told, type=type_, data=data, placed="run", **fields)


class TestWithoutATemplate:
    def test_a_file(self) -> None:
        event = fired("file_change", {}, file_path="a b.py", change_type="modified")
        assert instruction(None, event, 1).text == "File changed: a b.py (modified)"

    @pytest.mark.parametrize("type_", ["session_event", "issue_event"])
    def test_an_event(self, type_: str) -> None:
        event = fired(type_, {"id": 7, "tags": ["ö"]}, event_name="issue:created")
        text = 'Event received: issue:created\n\nData:\n{\n  "id": 7,\n  "tags": [\n    "ö"\n  ]\n}'
        assert instruction(None, event, 1).text == text

    def test_a_timer(self) -> None:
        assert instruction(None, fired("timer", {"tick": 4, "interval": 60}), 9).text == "Timer triggered (tick 4)"

    def test_anything_else(self) -> None:
        assert instruction(None, fired("webhook", {"a": [1]}), 1).text == 'Triggered by webhook: {"a":[1]}'
        assert instruction(None, fired("manual"), 1).text == "Triggered by manual: null"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Work on {event.data[issue_id]}", "Work on I-7"),
        ("{event.data[files][1]} and {data[files][0]}", "b.py and a.py"),
        ("{event.data.who.name}", "Ada"),
        ("{data[who]}", '{"name":"Ada"}'),
        ("{name} {event.name} {event.event_name}", "issue:created issue:created issue:created"),
        ("{n}. {type} from {source}, {event.source_session_id}", "3. session_event from s, lead"),
        ("{event.depth}", "2"),
        ("{timestamp}", AT.isoformat()),
        ('{{"literal": true}}', '{"literal": true}'),
        ("{data[nothing]}", "null"),
        ("no field", "no field"),
    ],
)
def test_a_template_has_the_fields_of_its_firing(template: str, text: str) -> None:
    data = {"issue_id": "I-7", "files": ["a.py", "b.py"], "who": {"name": "Ada"}, "nothing": None}
    event = fired(data=data, event_name="issue:created", source_session_id="lead", depth=2)
    assert fault(template) is None
    assert instruction(template, event, 3) == (text, ())


@pytest.mark.parametrize("field", ["{event.data[other]}", "{data[files][9]}", "{data[issue_id][x]}", "{path}"])
def test_a_field_that_the_firing_does_not_have_stays_and_is_told(field: str) -> None:
    event = fired(data={"issue_id": "I-7", "files": []})
    made = instruction(f"At {field}!", event, 1)
    assert made.text == f"At {field}!"
    assert made.warnings == (f"{field} is nothing that this firing has",)


@pytest.mark.parametrize(
    "template",
    ["{", "}", "{}", "{colour}", "{event}", "{event.colour}", "{path.x}", "{n!r}", "{n:>5}", "{event.type[0]}", "{A}"],
)
def test_what_no_firing_can_have_is_an_error_when_it_is_declared(template: str) -> None:
    assert fault(template) is not None


def test_nothing_is_code() -> None:
    event = fired(data={"x": "y"})
    for template in ("{data.__class__}", "{event.data.__init__.__globals__}"):
        made = instruction(template, event, 1)
        assert made.text == template
        assert made.warnings
