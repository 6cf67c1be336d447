"""Worlds of fixed seeds, which are the same for everybody, and of fresh ones. Each is told twice."""

import os
import secrets
import subprocess
import sys

import pytest

from tests.needs import ROOT
from tests.simulation.world import run

CHUNK = 25


def tell_twice(seed: int) -> None:
    story = run(seed)
    assert run(seed).digest == story.digest, f"two stories of one seed\nmake simulate SEED={seed}"


@pytest.mark.parametrize("chunk", range(6))
def test_fixed_seeds(chunk: int) -> None:
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        tell_twice(seed)


@pytest.mark.parametrize("_chunk", range(2))
def test_fresh_seeds(_chunk: int) -> None:
    first = secrets.randbits(48)
    for seed in range(first, first + CHUNK):
        tell_twice(seed)


def test_a_seed_is_the_same_story_in_another_process() -> None:
    """Whatever the hashes of strings are there."""
    code = "from tests.simulation.world import run; print([run(seed).digest for seed in range(20)])"
    stories = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in (1, 2)
    }
    assert len(stories) == 1
