"""The worlds find what is planted: each bug within 1,000 seeds, for the reason that it is planted for."""

import re

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.model import Violation
from tests.simulation.world import run

SEEDS = 1000


@pytest.mark.parametrize("name", BUGS)
def test_is_found(name: str) -> None:
    bug = BUGS[name]
    for seed in range(bug.first_seed, SEEDS):
        try:
            run(seed, bug.kit)
        except Violation as violation:
            if re.search(bug.said, str(violation)):
                return
    pytest.fail(f"{name}: not found in {SEEDS} worlds")


def test_a_failure_says_how_to_see_it_again() -> None:
    with pytest.raises(Violation) as failed:
        all(run(seed, BUGS["no dedup"].kit) for seed in range(SEEDS))
    assert re.search(r"make simulate SEED=\d+\Z", failed.value.__notes__[-1])
