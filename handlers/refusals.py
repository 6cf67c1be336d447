"""`host_only` refusals are recorded once a minute an origin, with how many there were since."""

from datetime import datetime, timedelta
from typing import Final

INTERVAL: Final = timedelta(minutes=1)


class HostOnlyRefusals:
    def __init__(self) -> None:
        self._recorded_at: dict[str, datetime] = {}
        self._waiting: dict[str, int] = {}

    def count_to_record(self, origin: str, at: datetime) -> int:
        """Refusals of this origin to record now, this one included; 0 while the minute has not passed."""
        last = self._recorded_at.get(origin)
        count = self._waiting.pop(origin, 0) + 1
        if last is not None and abs(at - last) < INTERVAL:
            self._waiting[origin] = count
            return 0
        self._recorded_at[origin] = at
        return count
