"""A tower whose clock a test may step: `python -m tests.faults.stepped up …`.

The file that `AT_CLOCK_FILE` names holds the seconds that its wall clock is ahead of the machine's (behind: negative),
read at each look. Long sleeps, the minute between two purges of the command queue, are cut to `LONGEST_SLEEP_S`.
"""

import os
from datetime import datetime, timedelta
from pathlib import Path

import adapters.engine
from adapters.cli.main import main
from adapters.system import SystemClock

VARIABLE = "AT_CLOCK_FILE"
LONGEST_SLEEP_S = 2.0


class SteppedClock(SystemClock):
    def now(self) -> datetime:
        try:
            ahead_s = float(Path(os.environ[VARIABLE]).read_text())
        except (OSError, ValueError):
            ahead_s = 0.0
        return super().now() + timedelta(seconds=ahead_s)

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, LONGEST_SLEEP_S))


if __name__ == "__main__":
    adapters.engine.SystemClock = SteppedClock
    main()
