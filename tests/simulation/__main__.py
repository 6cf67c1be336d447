"""`python -m tests.simulation`: one seed, told twice, or new ones for some minutes. `make simulate` calls it."""

import argparse
import faulthandler
import secrets
import sys
import time
import traceback
from collections.abc import Callable

from tests.simulation.world import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="tell this one")
    parser.add_argument("--minutes", type=float, default=1.0, help="search with new seeds for so long")
    parser.add_argument("--count", type=int, help="so many seeds, from --seed on")
    parser.add_argument("--verbose", action="store_true", help="every port call and log line")
    arguments = parser.parse_args()
    show = say if arguments.verbose else None
    if arguments.seed is not None and arguments.count is None:
        return 0 if _told_twice(arguments.seed, show) else 1
    faulthandler.dump_traceback_later(arguments.minutes * 60 + 30, exit=True)
    started, told, failed = time.monotonic(), 0, []
    seed = secrets.randbits(48) if arguments.seed is None else arguments.seed
    while time.monotonic() - started < arguments.minutes * 60 and told != arguments.count:
        if not _told_twice(seed, None, once=told % 10 != 0):
            failed.append(seed)
        seed, told = seed + 1, told + 1
    say(f"{told} worlds in {time.monotonic() - started:.0f} s, {len(failed)} failed")
    for seed in failed:
        say(f"make simulate SEED={seed}")
    return 1 if failed else 0


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _told_twice(seed: int, show: Callable[[str], None] | None, *, once: bool = False) -> bool:
    try:
        story = run(seed, show=show)
        if not once and run(seed, show=None).digest != story.digest:
            say(f"seed {seed} has two stories\nmake simulate SEED={seed}")
            return False
    except Exception:  # noqa: BLE001 (whatever ended it, the search goes on)
        traceback.print_exc()
        return False
    if show is not None:
        show(str(story))
    return True


if __name__ == "__main__":
    sys.exit(main())
