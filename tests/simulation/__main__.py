"""`python -m tests.simulation`: the story of one seed, or new seeds for some minutes. `make simulate` calls it."""

import argparse
import os
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.world import run

CHUNK = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="tell this one twice, and compare")
    parser.add_argument("--minutes", type=float, default=1.0, help="search so long, with all processors")
    parser.add_argument("--verbose", action="store_true", help="with --seed: every port call and log line")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        failure = failure_of(arguments.seed, say if arguments.verbose else None)
        say(failure or f"seed {arguments.seed} holds")
        return 1 if failure else 0
    return search(arguments.minutes * 60)


def search(seconds: float) -> int:
    """1 if a seed failed. The first failures are told whole, all seeds at the end."""
    until = time.monotonic() + seconds
    told, failed = 0, list[int]()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for count, failures in pool.map(_failures, _chunks(until)):
            told += count
            for seed, failure in failures:
                failed.append(seed)
                say(failure if len(failed) <= 3 else f"make simulate SEED={seed}")
    say(f"{told} worlds, {len(failed)} failed{''.join(f' {seed}' for seed in failed)}")
    return 1 if failed else 0


def failure_of(seed: int, show: Callable[[str], None] | None = None) -> str:
    """What went wrong, or nothing."""
    try:
        story = run(seed, show=show)
        if run(seed).digest != story.digest:
            return f"seed {seed} has two stories\nmake simulate SEED={seed}"
    except Exception:  # noqa: BLE001 (whatever ended it, the search goes on)
        return traceback.format_exc()
    if show is not None:
        show(str(story))
    return ""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _chunks(until: float) -> Iterator[tuple[int, float]]:
    """Enough for the time there is; what is left over is not told."""
    first = secrets.randbits(48)
    for number in range(int(max(0.0, until - time.monotonic()) * (os.cpu_count() or 1)) + 1):
        yield first + number * CHUNK, until


def _failures(chunk: tuple[int, float]) -> tuple[int, list[tuple[int, str]]]:
    """How many worlds were told, and those that failed. `time.monotonic` is the same for all processes of a machine."""
    first, until = chunk
    if time.monotonic() > until:
        return 0, []
    found = ((seed, failure_of(seed)) for seed in range(first, first + CHUNK))
    return CHUNK, [(seed, failure) for seed, failure in found if failure]


if __name__ == "__main__":
    sys.exit(main())
