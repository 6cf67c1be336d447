"""How the calls of one process reach the outside: late, not at all, or with the answer lost; and the trace of them."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Final, TypeVar

import msgspec

from tests.simulation.loop import pause

T = TypeVar("T")

PORTS: Final = (
    "log",
    "commands",
    "outcomes",
    "timers",
    "tmux",
    "typing",
    "containers",
    "snapshots",
    "vault",
    "database",
)
"""`typing` is the part of tmux that types: where all of tmux is bad, few panes come so far that they are sent text."""

KEPT_LINES: Final = 60


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Chances a call. `before`: it fails without effect. `after`: it has its effect and its answer is lost. `late`: it
    is given up and has its effect later, where a broker may do that. `slow`: it takes up to `slow_s`, not `delay_s`.
    """

    before: float = 0.0
    after: float = 0.0
    late: float = 0.0
    slow: float = 0.0
    delay_s: float = 0.0
    slow_s: float = 0.0


CALM: Final = Rates()


def drawn_rates(random: Random) -> dict[str, Rates]:
    """By port. Some ports of a world are bad, the others behave."""
    bad = random.sample(PORTS, random.choice((0, 1, 2, 3, 4, len(PORTS))))
    return {port: _bad(random) if port in bad else Rates(delay_s=_delay_s(random)) for port in PORTS}


def _bad(random: Random) -> Rates:
    worst = random.choice((0.05, 0.2, 0.5))
    return Rates(
        before=random.uniform(0, worst),
        after=random.uniform(0, worst),
        late=random.uniform(0, worst) if random.random() < 0.3 else 0.0,
        slow=random.uniform(0, worst) if random.random() < 0.5 else 0.0,
        delay_s=_delay_s(random),
        slow_s=random.choice((1.0, 5.0, 45.0)),
    )


def _delay_s(random: Random) -> float:
    return random.choice((0.0, 0.001, 0.01, 0.1))


class Trace:
    """Every port call and its result, as a digest of all and the last lines. `show` gets each line as it comes."""

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.calls = 0
        self._show = show

    def add(self, process: str, what: str) -> None:
        line = f"{asyncio.get_running_loop().time():12.6f} {process:5} {what}"
        self._digest.update(line.encode())
        self.calls += 1
        self._keep(line)

    def note(self, what: str) -> None:
        """A line that is no part of the story."""
        self._keep(f"{asyncio.get_running_loop().time():12.6f}       {what}")

    def _keep(self, line: str) -> None:
        self.lines.append(line)
        if self._show is not None:
            self._show(line)

    def digest(self) -> str:
        return self._digest.hexdigest()


class Faults:
    """What goes wrong in a world, and when. Off: every call succeeds at once."""

    def __init__(self, random: Random, trace: Trace, rates: dict[str, Rates] | None = None, crash: float = 0.0) -> None:
        self.random = random
        self.trace = trace
        self.on = rates is not None
        self.crash = crash
        self.down: set[str] = set()
        self._rates = rates or {}
        self._scripted: list[tuple[str, str]] = []

    def spoil(self, random: Random, ports: Sequence[str]) -> None:
        """Some of these are bad too."""
        self._rates |= {port: _bad(random) for port in ports if random.random() < 0.5}

    def of(self, port: str) -> Rates:
        return self._rates.get(port, CALM) if self.on else CALM

    @contextmanager
    def scripted(self, call: str, fault: str) -> Iterator[None]:
        """Within the block every call of this name has the fault `before` or `after`."""
        self._scripted.append((call, fault))
        try:
            yield
        finally:
            self._scripted.remove((call, fault))

    def draw(self, name: str, late: bool) -> str | None:
        for call, fault in self._scripted:
            if call == name:
                return fault
        port = name.partition(".")[0]
        if self.on and port in self.down:
            return "before"
        rates = self.of(port)
        if rates is CALM:
            return None
        chance = self.random.random()
        for fault, rate in (("before", rates.before), ("after", rates.after), ("late", rates.late if late else 0.0)):
            if chance < rate:
                return fault
            chance -= rate
        return None

    def some(self) -> bool:
        """Whether only a part of an append happens."""
        rates = self.of("log")
        return rates is not CALM and self.random.random() < rates.after

    def delay_s(self, name: str) -> float:
        rates = self.of(name.partition(".")[0])
        if rates.slow and self.random.random() < rates.slow:
            return self.random.uniform(0, rates.slow_s)
        return self.random.uniform(0, rates.delay_s) if rates.delay_s else 0.0


class Process:
    """One run of a program as the operating system sees it. A killed one does nothing outside any more."""

    def __init__(self, name: str, *, mortal: bool = False) -> None:
        self.name = name
        self.mortal = mortal
        self.alive = True
        self.task: asyncio.Task[None] | None = None

    def kill(self) -> None:
        if self.alive:
            self.alive = False
            if self.task is not None:
                self.task.cancel()


class Wire:
    """The port calls of one process. An effect is one indivisible change outside."""

    def __init__(self, process: Process, faults: Faults) -> None:
        self.process = process
        self.faults = faults

    async def call(
        self,
        name: str,
        effect: Callable[[], T],
        failure: Callable[[str], Exception],
        *,
        detail: str = "",
        late: bool = False,
    ) -> T:
        """What `effect` gives or raises, or `failure` when nothing or nothing certain is known."""
        trace, own = self.faults.trace, self.process.name
        if not self.process.alive:
            raise asyncio.CancelledError
        fault = self.faults.draw(name, late)
        try:
            await self._pass(name)
        except asyncio.CancelledError:
            # Given up or killed when the request may have left already.
            if self.faults.on and self.faults.random.random() < 0.5:
                self._happen_unheard(name, effect)
            raise
        if fault == "before":
            trace.add(own, f"{name} {detail} FAILS")
            raise failure("no answer")
        if fault == "late":
            trace.add(own, f"{name} {detail} GIVEN UP")
            loop = asyncio.get_running_loop()
            loop.call_later(self.faults.random.uniform(0, 20), self._happen_unheard, name, effect)
            raise failure("no answer in time")
        try:
            result = effect()
        except Exception as error:
            trace.add(own, f"{name} {detail} -> {type(error).__name__}: {error}")
            raise
        if fault == "after":
            trace.add(own, f"{name} {detail} ANSWER LOST")
            raise failure("no answer")
        trace.add(own, f"{name} {detail}")
        await self._pass(name)
        return result

    async def _pass(self, name: str) -> None:
        """Time passes, and the process may be killed here."""
        faults = self.faults
        if self.process.mortal and faults.on and faults.random.random() < faults.crash:
            faults.trace.add(self.process.name, f"KILLED at {name}")
            self.process.kill()
        delay_s = faults.delay_s(name) if self.process.alive else 0.0
        if delay_s:
            await pause(delay_s)
        else:
            await asyncio.sleep(0)
        if not self.process.alive:
            raise asyncio.CancelledError

    def _happen_unheard(self, name: str, effect: Callable[[], T]) -> None:
        try:
            effect()
        except Exception as error:  # noqa: BLE001 (nobody is there to hear the answer)
            self.faults.trace.add(self.process.name, f"{name} unheard -> {type(error).__name__}: {error}")
        else:
            self.faults.trace.add(self.process.name, f"{name} unheard")


def calm_wire() -> Wire:
    """For the contract suites: nothing goes wrong unless it is scripted."""
    return Wire(Process("test"), Faults(Random(0), Trace()))
