"""What the log is told of an attempt's outcome: its output, its value, within the limits of one event."""

import pytest
from msgspec import UNSET

from domain.executions.commands import ExecutionRecordCompleted, ExecutionRecordFailed
from handlers.effects import ends
from handlers.execution_ports import Failure, Outcome, State, Written


@pytest.mark.parametrize("state", State)
def test_every_end_tells_where_its_output_is_and_what_of_it_was_not_kept(state: State) -> None:
    outcome = Outcome(execution_id="e1", state=state)
    told = ends.report(outcome, 2, Written(position=9, written_bytes=100, truncated_bytes=40))
    assert (told.attempt, told.output_position, told.truncated_bytes) == (2, 9, 40)
    silent = ends.report(outcome, 2, ends.NO_OUTPUT)
    assert (silent.output_position, silent.truncated_bytes) == (0, UNSET)


def test_what_keeps_to_a_workers_limits_is_told_whole() -> None:
    completed = ends.report(
        Outcome(execution_id="e1", state=State.COMPLETED, repr="r" * 1024 * 1024), 1, ends.NO_OUTPUT
    )
    assert isinstance(completed, ExecutionRecordCompleted)
    assert (len(completed.repr or ""), completed.truncated) == (1024 * 1024, False)
    error = Failure(exception_type="E", message="m" * 65_536, traceback="t" * 262_144, notes=("n" * 4096,) * 100)
    failed = ends.report(Outcome(execution_id="e1", state=State.FAILED, error=error), 1, ends.NO_OUTPUT)
    assert isinstance(failed, ExecutionRecordFailed)
    assert (failed.error.message, failed.error.traceback, failed.error.notes) == (
        error.message,
        error.traceback,
        error.notes,
    )


def test_a_large_value_is_told_by_its_digest() -> None:
    ended = ends.report(Outcome(execution_id="e1", state=State.COMPLETED, value="x"), 1, ends.NO_OUTPUT)
    assert isinstance(ended, ExecutionRecordCompleted)
    large = b"x" * 300_000
    beside = ends.with_value(ended, large, "d" * 64)
    assert isinstance(beside, ExecutionRecordCompleted)
    assert (beside.value, beside.value_digest, beside.value_bytes) == (UNSET, "d" * 64, 300_000)
    assert ends.with_value(ended, b'"x"', None) is ended
